//! The engines behind one trait: a compiler (feature `jit`) and an interpreter.

use std::sync::Arc;

use super::host::{Ended, Host};
use super::instrument::Instrumented;
use crate::{Interrupt, SandboxError};

/// What is called from outside.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    /// The start function.
    Start,
    /// `_initialize`.
    Initialize,
    /// `step(n)`.
    Step(u32),
}

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Called {
    /// It returned; 0 where the function gives nothing.
    Returned(i32),
    /// It trapped, or the host ended it.
    Trapped,
    /// The interrupt ended it.
    Stopped,
}

/// One instance of a module.
pub trait Guest: Send {
    /// Calls a function.
    fn call(&mut self, entry: Entry) -> Called;
    /// What is left in the fuel global.
    fn fuel(&mut self) -> i64;
    /// Sets the fuel global.
    fn set_fuel(&mut self, fuel: i64);
    /// The memory.
    fn memory(&mut self) -> &[u8];
    /// The memory, grown to at least so many pages; `None` when it cannot.
    fn memory_of(&mut self, pages: u64) -> Option<&mut [u8]>;
    /// Bits of a mutable global of the guest.
    fn global(&mut self, number: usize) -> u64;
    /// Sets a mutable global of the guest.
    fn set_global(&mut self, number: usize, bits: u64);
    /// The host's side.
    fn host(&self) -> &Host;
    /// The host's side, to change it.
    fn host_mut(&mut self) -> &mut Host;
}

/// A module that an engine has translated.
pub trait Translated: Send + Sync {
    /// A fresh instance.
    ///
    /// # Errors
    /// [`SandboxError::Lacks`]: this machine has no room for one more.
    fn instantiate(
        &self,
        host: Host,
        interrupt: Option<Arc<dyn Interrupt>>,
    ) -> Result<Box<dyn Guest>, SandboxError>;
}

/// Translates modules.
pub trait Engine: Send + Sync {
    /// Translates an instrumented module.
    ///
    /// # Errors
    /// [`SandboxError::Lacks`]: this engine cannot.
    fn translate(&self, module: &Instrumented) -> Result<Box<dyn Translated>, SandboxError>;
    /// One tick of the clock.
    fn tick(&self);
}

/// What a machine lacks.
pub fn lacks(what: &str, error: impl std::fmt::Display) -> SandboxError {
    SandboxError::Lacks {
        what: what.to_string(),
        hint: format!("{error}; run fewer virtual nodes at once, or give the task to another node"),
    }
}

/// The host's state and the memory that it reads and writes for the guest.
pub struct Data<M> {
    /// The state.
    pub host: Host,
    /// The memory, once there is an instance.
    pub memory: Option<M>,
}

impl<M: Copy> Data<M> {
    /// The memory; there is one before a guest runs.
    pub fn memory(&self) -> Result<M, Ended> {
        self.memory.ok_or(Ended)
    }
}

/// Gives a linker all functions of the host: both engines have the same interface here.
macro_rules! link_host {
    ($linker:expr, $caller:ty, $end:expr) => {{
        fn split<'c>(caller: &'c mut $caller) -> Result<(&'c mut [u8], &'c mut Host), Ended> {
            let memory = caller.data().memory()?;
            let (bytes, data) = memory.data_and_store_mut(caller);
            Ok((bytes, &mut data.host))
        }
        let linker = $linker;
        let m = crate::wasm::abi::MODULE;
        linker.func_wrap(m, "input_len", |c: $caller| c.data().host.input_len())?;
        linker.func_wrap(m, "input", |mut c: $caller, from: i32, at: i32, n: i32| {
            split(&mut c).and_then(|(b, h)| h.input(b, from, at, n)).map_err($end)
        })?;
        linker.func_wrap(m, "args_len", |c: $caller| c.data().host.args_len())?;
        linker.func_wrap(m, "args", |mut c: $caller, at: i32, n: i32| {
            split(&mut c).and_then(|(b, h)| h.args(b, at, n)).map_err($end)
        })?;
        linker.func_wrap(m, "output", |mut c: $caller, at: i32, n: i32| {
            split(&mut c).and_then(|(b, h)| h.put_output(b, at, n)).map_err($end)
        })?;
        linker.func_wrap(m, "log", |mut c: $caller, at: i32, n: i32| {
            split(&mut c).and_then(|(b, h)| h.put_log(b, at, n)).map_err($end)
        })?;
        linker.func_wrap(m, "progress", |mut c: $caller, done: i64, all: i64| {
            c.data_mut().host.set_progress(done, all);
        })?;
        linker.func_wrap(m, "kv_get", |mut c: $caller, k: i32, kn: i32, v: i32, vn: i32| {
            split(&mut c).and_then(|(b, h)| h.kv_get(b, (k, kn), (v, vn))).map_err($end)
        })?;
        linker.func_wrap(m, "kv_put", |mut c: $caller, k: i32, kn: i32, v: i32, vn: i32| {
            split(&mut c).and_then(|(b, h)| h.kv_put(b, (k, kn), (v, vn))).map_err($end)
        })?;
    }};
}
pub(super) use link_host;
