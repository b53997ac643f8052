//! WebAssembly modules as task programs: the same result at the same cost on every engine.
//!
//! A module is named by the content id of its bytes. It goes through one metering pass
//! ([`instrument`]), and what comes out is run by whatever engine there is. `docs/SANDBOX.md` describes
//! what a module may use, what it imports, and what everything costs.

pub mod abi;
pub mod cost;
mod engine;
pub mod error;
pub mod floats;
pub mod host;
pub mod instrument;
mod interpreter;
#[cfg(feature = "jit")]
mod jit;
pub mod params;
mod run;
mod state;
pub mod vector;

use std::sync::{Arc, OnceLock};

use anthill_types::Cid;

use self::engine::{Engine, Translated};
pub use self::error::{ModuleCause, ModuleError};
use self::instrument::Instrumented;
use self::interpreter::Interpreter;
pub use self::params::{Grant, ModuleParams, Rights};
use crate::outcome::Fault;
use crate::{Limits, Program, Run, SandboxError};

/// A module that the compiler takes longer for than so many microseconds, by the pass's estimate, is
/// not compiled where a run waits for it: the interpreter runs it until [`Program::prepare`] is done.
pub const MAX_PROMPT: u64 = 1_000_000;
/// The same for a module that is not compiled at all.
pub const MAX_EFFORT: u64 = 20_000_000;

/// Fuel between two digests of a run's state.
pub const CHUNK: u64 = 1 << 31;

/// What a good module says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Its content id.
    pub id: Cid,
    /// Bytes before and after the metering pass.
    pub bytes: (usize, usize),
    /// Number of its functions.
    pub functions: usize,
    /// Pages of memory (64 KiB) at the start, and at most.
    pub pages: (u64, u64),
    /// Reference cost of its start, before the first step.
    pub start_cost: u64,
    /// Microseconds that a compiler may take for it, roughly: see [`MAX_PROMPT`].
    pub effort: u64,
}

/// Checks a module as a run would.
///
/// # Errors
/// [`ModuleError`] with the module's content id: what the submitter is told.
pub fn check(bytes: &[u8]) -> Result<ModuleInfo, ModuleError> {
    let id = Cid::of(bytes);
    let module =
        instrument::instrument(bytes).map_err(|cause| ModuleError { module: id, cause })?;
    Ok(ModuleInfo {
        id,
        bytes: (bytes.len(), module.bytes.len()),
        functions: module.functions,
        pages: module.pages,
        start_cost: run::start_fuel(bytes.len(), &module).div_ceil(cost::FUEL_PER_UNIT),
        effort: module.effort,
    })
}

/// Which engine runs modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Translates to machine code (feature `jit`).
    Jit,
    /// Interprets.
    Interpreter,
}

/// The engine of this build: cheap to clone.
#[derive(Clone)]
pub struct Wasm {
    engine: Arc<dyn Engine>,
    /// Takes what the compiler cannot.
    spare: Option<Arc<dyn Engine>>,
    kind: Kind,
}

impl Wasm {
    /// The best engine of this build, with room for so many instances at once.
    ///
    /// # Errors
    /// [`SandboxError::Lacks`]: the machine has no address space for them.
    pub fn new(slots: u32) -> Result<Self, SandboxError> {
        let kind = if cfg!(feature = "jit") { Kind::Jit } else { Kind::Interpreter };
        Self::with(kind, slots)
    }

    /// An engine of a kind.
    ///
    /// # Errors
    /// As [`Wasm::new`], and when the build lacks it.
    pub fn with(kind: Kind, slots: u32) -> Result<Self, SandboxError> {
        let interpreter: Arc<dyn Engine> = Arc::new(Interpreter::new());
        match kind {
            Kind::Interpreter => Ok(Self { engine: interpreter, spare: None, kind }),
            Kind::Jit => Ok(Self { engine: compiler(slots)?, spare: Some(interpreter), kind }),
        }
    }

    /// Which engine this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The program of a module's bytes: its id is their content id. Nothing is translated before the
    /// first run. The runs of a module that [`check`] refuses end with [`Fault::BadModule`].
    pub fn program(&self, bytes: &[u8]) -> Arc<dyn Program> {
        let (id, bytes) = (Cid::of(bytes), Arc::from(bytes));
        Arc::new(WasmProgram {
            wasm: self.clone(),
            id,
            bytes,
            loaded: OnceLock::new(),
            compiled: OnceLock::new(),
        })
    }

    /// One tick of the clock: called every 10 ms, it lets the runs ask their interrupts.
    pub fn tick(&self) {
        self.engine.tick();
    }

    /// Translates a module before its first run, at once: what would take long goes to the interpreter.
    fn translate(&self, module: &Instrumented) -> Result<Box<dyn Translated>, SandboxError> {
        match &self.spare {
            Some(spare) if module.effort > MAX_PROMPT => spare.translate(module),
            Some(spare) => self.engine.translate(module).or_else(|_| spare.translate(module)),
            None => self.engine.translate(module),
        }
    }
}

#[cfg(feature = "jit")]
fn compiler(slots: u32) -> Result<Arc<dyn Engine>, SandboxError> {
    Ok(Arc::new(jit::Jit::new(slots)?))
}

#[cfg(not(feature = "jit"))]
fn compiler(_: u32) -> Result<Arc<dyn Engine>, SandboxError> {
    Err(engine::lacks("the compiler", "this build has no feature `jit`"))
}

/// A module that is ready to run.
struct Loaded {
    module: Arc<Instrumented>,
    translated: Box<dyn Translated>,
}

/// Not a result: this node cannot run it. A refused module is one, [`Fault::BadModule`].
type Loading = Result<Option<Arc<Loaded>>, SandboxError>;

struct WasmProgram {
    wasm: Wasm,
    id: Cid,
    bytes: Arc<[u8]>,
    loaded: OnceLock<Loading>,
    /// By the compiler, when that took too long for a run to wait.
    compiled: OnceLock<Option<Arc<Loaded>>>,
}

impl WasmProgram {
    /// The module, by the best engine that has it now.
    fn load(&self) -> Loading {
        if let Some(Some(compiled)) = self.compiled.get() {
            return Ok(Some(compiled.clone()));
        }
        let load = || match instrument::instrument(&self.bytes) {
            Err(_) => Ok(None),
            Ok(module) => {
                let translated = self.wasm.translate(&module)?;
                Ok(Some(Arc::new(Loaded { module: Arc::new(module), translated })))
            }
        };
        self.loaded.get_or_init(load).clone()
    }

    /// The module by the compiler, when it has only the interpreter's because of its effort.
    fn compile(&self, loaded: &Loaded) -> Option<Arc<Loaded>> {
        let module = loaded.module.clone();
        let late = (MAX_PROMPT + 1..=MAX_EFFORT).contains(&module.effort);
        self.wasm.spare.as_ref().filter(|_| late)?;
        let translated = self.wasm.engine.translate(&module).ok()?;
        Some(Arc::new(Loaded { module, translated }))
    }

    fn begin(
        &self,
        params: &[u8],
        input: &[u8],
        limits: &Limits,
    ) -> Result<Result<run::WasmRun, Fault>, SandboxError> {
        let Some(parsed) = ModuleParams::from_bytes(params) else {
            return Ok(Err(Fault::BadInput));
        };
        let Some(loaded) = self.load()? else { return Ok(Err(Fault::BadModule)) };
        let task = run::Task {
            module: self.id,
            params_bytes: params.into(),
            params: Arc::new(parsed),
            input: Arc::from(input),
            module_bytes: self.bytes.len(),
        };
        Ok(Ok(run::WasmRun::new(loaded, task, limits)?))
    }
}

impl Program for WasmProgram {
    fn id(&self) -> Cid {
        self.id
    }

    fn start(
        &self,
        params: &[u8],
        input: &[u8],
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        self.start_within(params, input, &Limits::cost(u64::MAX))
    }

    fn start_within(
        &self,
        params: &[u8],
        input: &[u8],
        limits: &Limits,
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        let run = self.begin(params, input, limits)?;
        Ok(run.map(|run| Box::new(run) as Box<dyn Run>))
    }

    fn prepare(&self) {
        if let Ok(Some(loaded)) = self.load() {
            self.compiled.get_or_init(|| self.compile(&loaded));
        }
    }

    fn resume(
        &self,
        params: &[u8],
        input: &[u8],
        limits: &Limits,
        snapshot: &[u8],
    ) -> Result<Box<dyn Run>, SandboxError> {
        let wrong = |reason: String| SandboxError::Snapshot { program: self.id, reason };
        let run = self.begin(params, input, limits)?;
        let mut run = run.map_err(|fault| wrong(format!("its task is a {}", fault.name())))?;
        run.restore(snapshot).map_err(|reason| wrong(reason.to_string()))?;
        Ok(Box::new(run))
    }
}
