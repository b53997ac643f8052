//! Modules of a fleet: which are kept, and one thread that readies them beside the runs.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anthill_sandbox::{Program, Sandbox};
use anthill_types::Cid;

use super::members::lock;

/// Modules that are kept ready.
const MOST_MODULES: usize = 256;
/// Modules that wait to be made ready; what comes on top is compiled by its first run, or stays with the
/// interpreter where a compiler takes long.
const MOST_WAITING: usize = 64;

/// The modules, oldest first, and the way to the thread.
pub(super) struct Modules {
    kept: Mutex<VecDeque<Cid>>,
    to_prepare: SyncSender<Arc<dyn Program>>,
}

impl Modules {
    /// Starts the thread: one, so that modules that take a compiler long hold at most one processor. A
    /// task whose module is not ready is interpreted meanwhile, and its virtual node is never held up.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let (to_prepare, programs): (_, Receiver<Arc<dyn Program>>) = sync_channel(MOST_WAITING);
        std::thread::Builder::new()
            .name("modules".into())
            .spawn(move || programs.iter().for_each(|program| program.prepare()))?;
        Ok(Self { kept: Mutex::default(), to_prepare })
    }

    /// Adds a module to what can be run, in place of the oldest one where there are many.
    pub fn install(&self, program: Arc<dyn Program>, sandbox: &RwLock<Sandbox>) -> Cid {
        let id = program.id();
        let mut sandbox = sandbox.write().unwrap_or_else(PoisonError::into_inner);
        if sandbox.has(&id) {
            return id;
        }
        // A full queue costs speed alone.
        let _ = self.to_prepare.try_send(program.clone());
        sandbox.install(program);
        let mut kept = lock(&self.kept);
        kept.push_back(id);
        if kept.len() > MOST_MODULES
            && let Some(oldest) = kept.pop_front()
        {
            sandbox.remove(&oldest);
        }
        id
    }
}
