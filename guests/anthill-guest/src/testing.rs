//! A host in the same thread, so that a guest's tests run without a sandbox.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::{Program, Step};

/// What the guest sees, and what it left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The input.
    pub input: Vec<u8>,
    /// The arguments.
    pub args: Vec<u8>,
    /// The output so far.
    pub output: Vec<u8>,
    /// The log so far.
    pub log: Vec<u8>,
    /// Work done, and work in all.
    pub progress: (u64, u64),
    /// Keys: all of them may be read and written.
    pub keys: BTreeMap<Vec<u8>, Vec<u8>>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::new(Host::default());
}

fn with<R>(f: impl FnOnce(&mut Host) -> R) -> R {
    HOST.with(|host| f(&mut host.borrow_mut()))
}

/// Runs a program to its end; gives how it ended and what it left.
pub fn run<P: Program>(host: Host, n: u32) -> (Step, Host) {
    with(|h| *h = host);
    let mut program = P::default();
    loop {
        let step = program.step(n);
        if step != Step::More {
            return (step, with(std::mem::take));
        }
    }
}

fn fill(to: &mut [u8], from: &[u8]) -> usize {
    let count = to.len().min(from.len());
    to[..count].copy_from_slice(&from[..count]);
    count
}

pub(crate) fn input_len() -> usize {
    with(|h| h.input.len())
}

pub(crate) fn read_input(offset: usize, to: &mut [u8]) -> usize {
    with(|h| fill(to, h.input.get(offset..).unwrap_or_default()))
}

pub(crate) fn args() -> Vec<u8> {
    with(|h| h.args.clone())
}

pub(crate) fn output(bytes: &[u8]) {
    with(|h| h.output.extend_from_slice(bytes));
}

pub(crate) fn log(bytes: &[u8]) {
    with(|h| h.log.extend_from_slice(bytes));
}

pub(crate) fn progress(done: u64, all: u64) {
    with(|h| h.progress = (done, all));
}

pub(crate) fn kv_get(key: &[u8], to: &mut [u8]) -> i32 {
    with(|h| {
        h.keys.get(key).map_or(-1, |value| {
            fill(to, value);
            value.len() as i32
        })
    })
}

pub(crate) fn kv_put(key: &[u8], value: &[u8]) -> i32 {
    with(|h| h.keys.insert(key.to_vec(), value.to_vec()));
    0
}
