//! The host's functions, from inside a module.

use alloc::vec;
use alloc::vec::Vec;

mod host {
    //! The imports of `docs/SANDBOX.md`, as they are.

    #[link(wasm_import_module = "anthill")]
    unsafe extern "C" {
        pub(super) safe fn input_len() -> usize;
        pub(super) fn input(offset: usize, to: *mut u8, length: usize) -> usize;
        pub(super) safe fn args_len() -> usize;
        pub(super) fn args(to: *mut u8, length: usize) -> usize;
        pub(super) fn output(from: *const u8, length: usize);
        pub(super) fn log(from: *const u8, length: usize);
        pub(super) safe fn progress(done: u64, all: u64);
        pub(super) fn kv_get(key: *const u8, key_len: usize, to: *mut u8, length: usize) -> i32;
        pub(super) fn kv_put(key: *const u8, key_len: usize, from: *const u8, length: usize)
        -> i32;
    }
}

pub(crate) fn input_len() -> usize {
    host::input_len()
}

pub(crate) fn read_input(offset: usize, to: &mut [u8]) -> usize {
    // SAFETY: the host writes inside of the slice alone.
    unsafe { host::input(offset, to.as_mut_ptr(), to.len()) }
}

pub(crate) fn args() -> Vec<u8> {
    let mut bytes = vec![0; host::args_len()];
    // SAFETY: the host writes inside of the vector alone.
    unsafe { host::args(bytes.as_mut_ptr(), bytes.len()) };
    bytes
}

pub(crate) fn output(bytes: &[u8]) {
    // SAFETY: the host reads inside of the slice alone.
    unsafe { host::output(bytes.as_ptr(), bytes.len()) }
}

pub(crate) fn log(bytes: &[u8]) {
    // SAFETY: the host reads inside of the slice alone.
    unsafe { host::log(bytes.as_ptr(), bytes.len()) }
}

pub(crate) fn progress(done: u64, all: u64) {
    host::progress(done, all);
}

pub(crate) fn kv_get(key: &[u8], to: &mut [u8]) -> i32 {
    // SAFETY: the host reads the key and writes inside of the slice alone.
    unsafe { host::kv_get(key.as_ptr(), key.len(), to.as_mut_ptr(), to.len()) }
}

pub(crate) fn kv_put(key: &[u8], value: &[u8]) -> i32 {
    // SAFETY: the host reads inside of both slices alone.
    unsafe { host::kv_put(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
}
