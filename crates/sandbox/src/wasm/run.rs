//! One run of a module: steps, fuel, digests and snapshots, the same for every engine.

use std::cell::OnceCell;
use std::sync::Arc;

use anthill_types::{Cid, planted};

use super::engine::{Called, Entry, Guest};
use super::host::Host;
use super::instrument::Instrumented;
use super::params::ModuleParams;
use super::state::{self, Done, Owner};
use super::{CHUNK, Loaded, cost};
use crate::outcome::Fault;
use crate::{Limits, Progress, Run, SandboxError};

/// The most fuel of a run: far from the ends of the global's type.
const MOST: u64 = 1 << 60;

/// What is run.
pub struct Task {
    /// The module.
    pub module: Cid,
    /// Its parameters, as they came.
    pub params_bytes: Box<[u8]>,
    /// Its parameters.
    pub params: Arc<ModuleParams>,
    /// Its input.
    pub input: Arc<[u8]>,
    /// Bytes of the module.
    pub module_bytes: usize,
}

/// A run.
pub struct WasmRun {
    loaded: Arc<Loaded>,
    task: Task,
    guest: Box<dyn Guest>,
    limit: u64,
    done: Done,
    /// Made when it is first needed: it reads the whole input.
    owner: OnceCell<Owner>,
}

/// Fuel of a run's start: the module's bytes and its first memory.
pub fn start_fuel(bytes: usize, module: &Instrumented) -> u64 {
    bytes as u64 * cost::PER_MODULE_BYTE + module.pages.0 * cost::PER_PAGE
}

/// What snapshots and digests of a run belong to.
fn owner<'o>(cell: &'o OnceCell<Owner>, task: &Task) -> &'o Owner {
    cell.get_or_init(|| Owner {
        module: task.module,
        task: state::task_hash(&task.params_bytes, &task.input),
    })
}

impl WasmRun {
    /// A run that has not begun.
    ///
    /// # Errors
    /// [`SandboxError::Lacks`]: there is no room for it.
    pub fn new(loaded: Arc<Loaded>, task: Task, limits: &Limits) -> Result<Self, SandboxError> {
        let host = Host::new(task.params.clone(), task.input.clone());
        let guest = loaded.translated.instantiate(host, limits.interrupt.clone())?;
        let limit = limits.cost.saturating_mul(cost::FUEL_PER_UNIT).min(MOST);
        Ok(Self { loaded, task, guest, limit, done: Done::default(), owner: OnceCell::new() })
    }

    /// Goes on where a snapshot was made.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), &'static str> {
        let module = &self.loaded.module;
        let owner = owner(&self.owner, &self.task);
        self.done = state::read(snapshot, self.guest.as_mut(), module, owner)?;
        if planted!(MeterAnew) {
            self.done.used = 0;
        }
        Ok(())
    }

    /// Takes fuel outside of the guest.
    fn charge(&mut self, fuel: u64) -> Result<(), Fault> {
        self.done.used = self.done.used.saturating_add(fuel);
        if self.done.used > self.limit { Err(Fault::CostLimit) } else { Ok(()) }
    }

    /// Calls the guest, and takes over what it used.
    fn call(&mut self, entry: Entry) -> Result<Option<i32>, Fault> {
        let given = (self.limit - self.done.used).cast_signed();
        self.guest.set_fuel(given);
        let called = self.guest.call(entry);
        let left = self.guest.fuel();
        self.done.used = self.done.used.saturating_add_signed(given.saturating_sub(left));
        let fault = self.guest.host().fault;
        match called {
            Called::Stopped => Ok(None),
            _ if left < 0 => Err(Fault::CostLimit),
            Called::Trapped => Err(fault.unwrap_or(Fault::Trap)),
            Called::Returned(code) => Ok(Some(code)),
        }
    }

    /// The start function and `_initialize`, before the first step.
    fn begin(&mut self) -> Result<bool, Fault> {
        self.done.begun = true;
        self.charge(start_fuel(self.task.module_bytes, &self.loaded.module))?;
        let module = &self.loaded.module;
        let entries = [(module.start, Entry::Start), (module.initialize, Entry::Initialize)];
        for (_, entry) in entries.into_iter().filter(|(there, _)| *there) {
            if self.call(entry)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A digest of the state where a chunk of fuel is used up.
    fn commit(&mut self) {
        let used = self.done.used;
        let last = self.done.chunks.last().map_or(0, |(used, _)| *used);
        if used / CHUNK > last / CHUNK {
            let module = &self.loaded.module;
            let owner = owner(&self.owner, &self.task);
            let digest = state::digest(self.guest.as_mut(), module, owner, used);
            self.done.chunks.push((used, digest));
        }
    }
}

impl Run for WasmRun {
    fn step(&mut self) -> Result<Progress, Fault> {
        if !self.done.begun && !self.begin()? {
            return Ok(Progress::Stopped);
        }
        if !planted!(FreeSteps) {
            self.charge(cost::PER_STEP)?;
        }
        let Some(code) = self.call(Entry::Step(self.task.params.steps))? else {
            return Ok(Progress::Stopped);
        };
        match code {
            0 => {
                self.commit();
                Ok(Progress::More)
            }
            1 => Ok(Progress::Done(self.guest.host_mut().result())),
            _ => Err(Fault::GaveUp),
        }
    }

    fn cost(&self) -> u64 {
        self.done.used.div_ceil(cost::FUEL_PER_UNIT)
    }

    fn snapshot(&mut self) -> Option<Vec<u8>> {
        let module = &self.loaded.module;
        let owner = owner(&self.owner, &self.task);
        Some(state::write(self.guest.as_mut(), module, owner, &self.done))
    }

    fn progress(&self) -> Option<(u64, u64)> {
        self.guest.host().progress
    }

    fn commitment(&self) -> Option<[u8; 32]> {
        (!self.done.chunks.is_empty()).then(|| state::root(&self.done.chunks))
    }

    fn log(&self) -> &[u8] {
        &self.guest.host().log
    }
}
