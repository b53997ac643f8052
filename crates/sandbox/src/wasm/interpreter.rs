//! The interpreter: wasmi, where there is no compiler, and where a second opinion is wanted.

use std::sync::Arc;

use wasmi::{
    Caller, Config, Engine as Wasmi, Error, Global, Instance, Linker, Memory, Module, Store,
    TrapCode, TypedFunc, TypedResumableCall, Val, WasmResults,
};

use super::engine::{Called, Data, Engine, Entry, Guest, Translated, lacks, link_host};
use super::host::{Ended, Host};
use super::instrument::{Instrumented, names};
use crate::{Interrupt, SandboxError};

/// The engine's own fuel between two questions to the interrupt: some 10 ms.
const SLICE: u64 = 4_000_000;
/// More than the pass lets a guest use: 8 bytes for each slot, and room.
const STACK: usize = 4 << 20;
/// More calls than the pass lets a guest nest.
const CALLS: usize = 16_384;

type State = Data<Memory>;

/// The interpreter.
pub struct Interpreter {
    config: Config,
}

/// A module with an engine of its own: wasmi keeps translated code for as long as its engine lives, so
/// that one engine for all would grow with every module that a node ever ran.
struct Loaded {
    engine: Wasmi,
    linker: Linker<State>,
    module: Module,
    globals: usize,
}

struct Interpreted {
    store: Store<State>,
    instance: Instance,
    memory: Memory,
    fuel: Global,
    globals: Vec<Global>,
    step: TypedFunc<i32, i32>,
    interrupt: Option<Arc<dyn Interrupt>>,
}

impl Interpreter {
    /// The interpreter.
    pub fn new() -> Self {
        let mut config = Config::default();
        config.consume_fuel(true).set_max_recursion_depth(CALLS).set_max_stack_height(STACK);
        config.wasm_simd(true).wasm_relaxed_simd(false).wasm_tail_call(false);
        config.wasm_multi_memory(false).wasm_extended_const(false).ignore_custom_sections(true);
        // A stack goes with its call: kept ones would be kept for each module.
        config.set_max_cached_stacks(0);
        Self { config }
    }
}

/// Ends the guest: what it was is in [`Host::fault`].
fn end(_: Ended) -> Error {
    Error::from(TrapCode::UnreachableCodeReached)
}

fn fill(linker: &mut Linker<State>) -> Result<(), Error> {
    link_host!(linker, Caller<'_, State>, end);
    Ok(())
}

impl Engine for Interpreter {
    fn translate(&self, module: &Instrumented) -> Result<Box<dyn Translated>, SandboxError> {
        let engine = Wasmi::new(&self.config);
        let mut linker = Linker::new(&engine);
        fill(&mut linker).map_err(|e| lacks("the interpreter", e))?;
        let translated =
            Module::new(&engine, &module.bytes).map_err(|e| lacks("room for the module", e))?;
        Ok(Box::new(Loaded { engine, linker, module: translated, globals: module.globals }))
    }

    fn tick(&self) {}
}

impl Translated for Loaded {
    fn instantiate(
        &self,
        host: Host,
        interrupt: Option<Arc<dyn Interrupt>>,
    ) -> Result<Box<dyn Guest>, SandboxError> {
        let mut store = Store::new(&self.engine, Data { host, memory: None });
        let room = |e: Error| lacks("room for one more instance", e);
        store.set_fuel(SLICE).map_err(room)?;
        let instance = self.linker.instantiate_and_start(&mut store, &self.module).map_err(room)?;
        let missing = || lacks("a module of the pass", "an export is missing");
        let memory = instance.get_memory(&store, "memory").ok_or_else(missing)?;
        let fuel = instance.get_global(&store, names::FUEL).ok_or_else(missing)?;
        let globals: Option<Vec<Global>> =
            (0..self.globals).map(|n| instance.get_global(&store, &names::global(n))).collect();
        let step = instance.get_typed_func(&store, "step").map_err(room)?;
        store.data_mut().memory = Some(memory);
        let globals = globals.ok_or_else(missing)?;
        Ok(Box::new(Interpreted { store, instance, memory, fuel, globals, step, interrupt }))
    }
}

impl Interpreted {
    /// Runs a call in slices, and asks the interrupt between them.
    fn sliced<R: WasmResults>(
        &mut self,
        mut call: Result<TypedResumableCall<R>, Error>,
    ) -> Result<R, Called> {
        loop {
            let paused = match call {
                Ok(TypedResumableCall::Finished(result)) => return Ok(result),
                Ok(TypedResumableCall::OutOfFuel(paused)) => paused,
                Ok(TypedResumableCall::HostTrap(_)) | Err(_) => return Err(Called::Trapped),
            };
            if self.interrupt.as_ref().is_some_and(|i| !i.go_on()) {
                return Err(Called::Stopped);
            }
            let needed = paused.required_fuel().max(SLICE);
            if self.store.set_fuel(needed).is_err() {
                return Err(Called::Trapped);
            }
            call = paused.resume(&mut self.store);
        }
    }
}

impl Guest for Interpreted {
    fn call(&mut self, entry: Entry) -> Called {
        if self.store.set_fuel(SLICE).is_err() {
            return Called::Trapped;
        }
        let name = match entry {
            Entry::Step(n) => {
                let call = self.step.call_resumable(&mut self.store, n.cast_signed());
                return self.sliced(call).map_or_else(|e| e, Called::Returned);
            }
            Entry::Start => names::START,
            Entry::Initialize => "_initialize",
        };
        match self.instance.get_typed_func::<(), ()>(&self.store, name) {
            Ok(function) => {
                let call = function.call_resumable(&mut self.store, ());
                self.sliced(call).map_or_else(|e| e, |()| Called::Returned(0))
            }
            Err(_) => Called::Trapped,
        }
    }

    fn fuel(&mut self) -> i64 {
        self.fuel.get(&self.store).i64().unwrap_or(-1)
    }

    fn set_fuel(&mut self, fuel: i64) {
        // The global is a mutable i64 by the pass.
        let _ = self.fuel.set(&mut self.store, Val::I64(fuel));
    }

    fn memory(&mut self) -> &[u8] {
        self.memory.data(&self.store)
    }

    fn memory_of(&mut self, pages: u64) -> Option<&mut [u8]> {
        let more = pages.saturating_sub(self.memory.size(&self.store));
        self.memory.grow(&mut self.store, more).ok()?;
        Some(self.memory.data_mut(&mut self.store))
    }

    fn global(&mut self, number: usize) -> u64 {
        match self.globals.get(number).map(|g| g.get(&self.store)) {
            Some(Val::I32(x)) => u64::from(x.cast_unsigned()),
            Some(Val::I64(x)) => x.cast_unsigned(),
            Some(Val::F32(x)) => u64::from(x.to_bits()),
            Some(Val::F64(x)) => x.to_bits(),
            _ => 0,
        }
    }

    fn set_global(&mut self, number: usize, bits: u64) {
        let Some(global) = self.globals.get(number) else { return };
        let value = match global.get(&self.store) {
            Val::I32(_) => Val::I32((bits as u32).cast_signed()),
            Val::I64(_) => Val::I64(bits.cast_signed()),
            Val::F32(_) => Val::F32(f32::from_bits(bits as u32).into()),
            _ => Val::F64(f64::from_bits(bits).into()),
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
