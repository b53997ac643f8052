//! The compiler: wasmtime with Cranelift, a pool of instances and copy-on-write images of memory.

use std::sync::Arc;

use wasmtime::{
    Caller, Config, Engine as Wasmtime, Error, Global, Instance, InstanceAllocationStrategy,
    InstancePre, Linker, Memory, Module, ModuleExport, PoolingAllocationConfig, Store, Trap,
    TypedFunc, UpdateDeadline, Val,
};

use super::cost::{MAX_PAGES, MAX_TABLE};
use super::engine::{Called, Data, Engine, Entry, Guest, Translated, lacks, link_host};
use super::host::{Ended, Host};
use super::instrument::{Instrumented, names};
use crate::{Interrupt, SandboxError};

/// Stack of a guest: 32 bytes for each slot that the pass lets it use.
const STACK: usize = 1 << 20;
/// Most bytes of an instance's own tables: 1,000 globals, 20,000 functions.
const INSTANCE: usize = 2 << 20;

type State = Data<Memory>;

/// The compiler.
pub struct Jit {
    engine: Wasmtime,
    linker: Linker<State>,
}

struct Compiled {
    engine: Wasmtime,
    ready: InstancePre<State>,
    exports: Arc<Exports>,
}

/// Where a module has its exports.
struct Exports {
    memory: ModuleExport,
    fuel: ModuleExport,
    step: ModuleExport,
    globals: Vec<ModuleExport>,
}

struct Running {
    store: Store<State>,
    instance: Instance,
    exports: Arc<Exports>,
    interrupt: Option<Arc<dyn Interrupt>>,
    awake: Option<Awake>,
}

/// What is looked up when an instance is first used: most of a start's time, which a virtual node
/// that waits need not spend.
#[derive(Clone)]
struct Awake {
    memory: Memory,
    fuel: Global,
    step: TypedFunc<i32, i32>,
}

impl Jit {
    /// A compiler with room for so many instances at once.
    ///
    /// # Errors
    /// [`SandboxError::Lacks`]: the address space is too small for them.
    pub fn new(slots: u32) -> Result<Self, SandboxError> {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_core_instances(slots).total_memories(slots).total_tables(slots);
        pool.max_memory_size((MAX_PAGES << 16) as usize).table_elements(MAX_TABLE as usize);
        pool.max_core_instance_size(INSTANCE).max_memories_per_module(1).max_tables_per_module(1);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        config.epoch_interruption(true).max_wasm_stack(STACK).memory_init_cow(true);
        config.wasm_simd(true).wasm_relaxed_simd(false).wasm_tail_call(false);
        config.wasm_multi_memory(false).wasm_extended_const(false).wasm_memory64(false);
        let failed = |e: Error| lacks("room for a pool of instances", format!("{e:#}"));
        let engine = Wasmtime::new(&config).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        fill(&mut linker).map_err(failed)?;
        Ok(Self { engine, linker })
    }
}

/// Ends the guest: what it was is in [`Host::fault`].
fn end(_: Ended) -> Error {
    Error::from(Trap::UnreachableCodeReached)
}

fn fill(linker: &mut Linker<State>) -> Result<(), Error> {
    link_host!(linker, Caller<'_, State>, end);
    Ok(())
}

impl Engine for Jit {
    fn translate(&self, module: &Instrumented) -> Result<Box<dyn Translated>, SandboxError> {
        let failed = |e: Error| lacks("room for the module", format!("{e:#}"));
        let translated = Module::new(&self.engine, &module.bytes).map_err(failed)?;
        let export = |name: &str| {
            translated
                .get_export_index(name)
                .ok_or_else(|| lacks("a module of the pass", "an export is missing"))
        };
        let globals: Result<Vec<ModuleExport>, SandboxError> =
            (0..module.globals).map(|n| export(&names::global(n))).collect();
        Ok(Box::new(Compiled {
            engine: self.engine.clone(),
            ready: self.linker.instantiate_pre(&translated).map_err(failed)?,
            exports: Arc::new(Exports {
                memory: export("memory")?,
                fuel: export(names::FUEL)?,
                step: export("step")?,
                globals: globals?,
            }),
        }))
    }

    fn tick(&self) {
        self.engine.increment_epoch();
    }
}

impl Translated for Compiled {
    fn instantiate(
        &self,
        host: Host,
        interrupt: Option<Arc<dyn Interrupt>>,
    ) -> Result<Box<dyn Guest>, SandboxError> {
        let mut store = Store::new(&self.engine, Data { host, memory: None });
        let room = |e: Error| lacks("room for one more instance", format!("{e:#}"));
        let instance = self.ready.instantiate(&mut store).map_err(room)?;
        let exports = self.exports.clone();
        Ok(Box::new(Running { store, instance, exports, interrupt, awake: None }))
    }
}

impl Running {
    /// The exports; `None` would be a module that the pass did not write.
    fn awake(&mut self) -> Option<Awake> {
        if self.awake.is_none() {
            let (instance, exports) = (self.instance, self.exports.clone());
            let mut export = |e: &ModuleExport| instance.get_module_export(&mut self.store, e);
            let memory = export(&exports.memory)?.into_memory()?;
            let fuel = export(&exports.fuel)?.into_global()?;
            let step = export(&exports.step)?.into_func()?.typed(&self.store).ok()?;
            let interrupt = self.interrupt.clone();
            self.store.epoch_deadline_callback(move |_| {
                let go_on = interrupt.as_ref().is_none_or(|i| i.go_on());
                Ok(if go_on { UpdateDeadline::Continue(1) } else { UpdateDeadline::Interrupt })
            });
            self.store.data_mut().memory = Some(memory);
            self.awake = Some(Awake { memory, fuel, step });
        }
        self.awake.clone()
    }

    fn named(&mut self, name: &str) -> Result<i32, Error> {
        let function = self.instance.get_typed_func::<(), ()>(&mut self.store, name)?;
        function.call(&mut self.store, ())?;
        Ok(0)
    }

    fn find(&mut self, number: usize) -> Option<Global> {
        let export = self.exports.globals.get(number)?;
        self.instance.get_module_export(&mut self.store, export)?.into_global()
    }
}

impl Guest for Running {
    fn call(&mut self, entry: Entry) -> Called {
        let Some(awake) = self.awake() else { return Called::Trapped };
        self.store.set_epoch_deadline(1);
        let ended = match entry {
            Entry::Step(n) => awake.step.call(&mut self.store, n.cast_signed()),
            Entry::Start => self.named(names::START),
            Entry::Initialize => self.named("_initialize"),
        };
        match ended {
            Ok(result) => Called::Returned(result),
            Err(e) if e.downcast_ref::<Trap>() == Some(&Trap::Interrupt) => Called::Stopped,
            Err(_) => Called::Trapped,
        }
    }

    fn fuel(&mut self) -> i64 {
        let fuel = self.awake().and_then(|awake| awake.fuel.get(&mut self.store).i64());
        fuel.unwrap_or(-1)
    }

    fn set_fuel(&mut self, fuel: i64) {
        if let Some(awake) = self.awake() {
            // The global is a mutable i64 by the pass.
            let _ = awake.fuel.set(&mut self.store, Val::I64(fuel));
        }
    }

    fn memory(&mut self) -> &[u8] {
        self.awake().map_or(&[], |awake| awake.memory.data(&self.store))
    }

    fn memory_of(&mut self, pages: u64) -> Option<&mut [u8]> {
        let memory = self.awake()?.memory;
        let more = pages.saturating_sub(memory.size(&self.store));
        memory.grow(&mut self.store, more).ok()?;
        Some(memory.data_mut(&mut self.store))
    }

    fn global(&mut self, number: usize) -> u64 {
        match self.find(number).map(|g| g.get(&mut self.store)) {
            Some(Val::I32(x)) => u64::from(x.cast_unsigned()),
            Some(Val::I64(x)) => x.cast_unsigned(),
            Some(Val::F32(bits)) => u64::from(bits),
            Some(Val::F64(bits)) => bits,
            _ => 0,
        }
    }

    fn set_global(&mut self, number: usize, bits: u64) {
        let Some(global) = self.find(number) else { return };
        let value = match global.get(&mut self.store) {
            Val::I32(_) => Val::I32((bits as u32).cast_signed()),
            Val::I64(_) => Val::I64(bits.cast_signed()),
            Val::F32(_) => Val::F32(bits as u32),
            _ => Val::F64(bits),
        };
        // The type is the global's own.
        let _ = global.set(&mut self.store, value);
    }

    fn host(&self) -> &Host {
        &self.store.data().host
    }

    fn host_mut(&mut self) -> &mut Host {
        &mut self.store.data_mut().host
    }
}
