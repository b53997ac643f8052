//! Tasks whose asker has gone: they leave the queue, or stop where they run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anthill_sandbox::Outcome;
use tokio::sync::oneshot;

use super::executor::{self, Ended};
use super::fleet::Inner;
use super::job::WorkError;
use super::members::{VirtualNode, lock};

/// Who waits for a task's outcome.
pub struct Asker {
    reply: oneshot::Sender<Result<Outcome, WorkError>>,
    gone: Arc<AtomicBool>,
}

impl Asker {
    /// True once nobody waits any more.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Ends when nobody waits any more.
    pub async fn gone(&mut self) {
        self.reply.closed().await;
    }

    /// Gives the outcome, if it is still wanted.
    pub fn answer(self, result: Result<Outcome, WorkError>) {
        let _ = self.reply.send(result);
    }

    /// Says whether nobody waits, to whom the asker itself is out of reach.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        self.gone.clone()
    }

    fn is(&self, gone: &Arc<AtomicBool>) -> bool {
        Arc::ptr_eq(&self.gone, gone)
    }
}

/// Held while an outcome is waited for; dropped before it came, it takes the task back.
pub(super) struct Wish<'f> {
    inner: &'f Inner,
    gone: Arc<AtomicBool>,
    granted: bool,
}

impl<'f> Wish<'f> {
    /// An asker, for the task, and the other end of it.
    pub fn new(inner: &'f Inner) -> (Self, Asker, oneshot::Receiver<Result<Outcome, WorkError>>) {
        let (reply, outcome) = oneshot::channel();
        let gone = Arc::<AtomicBool>::default();
        let asker = Asker { reply, gone: gone.clone() };
        (Self { inner, gone, granted: false }, asker, outcome)
    }

    /// The outcome, or why there is none, has come.
    pub fn granted(mut self) {
        self.granted = true;
    }
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        if !self.granted {
            self.inner.recall(&self.gone);
        }
    }
}

impl Inner {
    /// Takes a task back that nobody wants any more. Where a thread steps it at this moment, that thread
    /// sees the flag: after the step, or inside it at the next look of a guest's interrupt.
    fn recall(&self, gone: &Arc<AtomicBool>) {
        gone.store(true, Ordering::Relaxed);
        let mut state = self.lock();
        if let Some(at) = state.waiting.iter().position(|waiting| waiting.asker.is(gone)) {
            state.waiting.remove(at);
            return;
        }
        let runs_it = |node: &VirtualNode| {
            node.running.as_ref().is_some_and(|running| running.waiting.asker.is(gone))
        };
        let found = state.queues.iter_mut().find_map(|queue| {
            let at = queue.iter().position(runs_it)?;
            queue.remove(at)
        });
        if let Some(node) = found {
            drop(state);
            return executor::settle(self, node, Ended::Stopped);
        }
        // Who stands still does so on, without the task.
        if let Some(node) = state.suspended.values_mut().find(|node| runs_it(node))
            && let Some(running) = node.running.take()
        {
            *lock(&node.member.running) = None;
            executor::report(self, node, &running, None);
        }
    }
}
