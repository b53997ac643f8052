//! Write a task for the sandbox in Rust: input, output, log, progress and keys.
//!
//! A task is a type with a [`Program::step`] that does a bounded piece of work, and one line:
//!
//! ```
//! use anthill_guest::{Program, Step, program};
//!
//! #[derive(Default)]
//! struct Echo;
//!
//! impl Program for Echo {
//!     fn step(&mut self, _: u32) -> Step {
//!         anthill_guest::output(&anthill_guest::input());
//!         Step::Done
//!     }
//! }
//!
//! program!(Echo);
//! ```
//!
//! Compiled for `wasm32-unknown-unknown` as a `cdylib` it is a module that `anthill run` runs. For any
//! other target the same functions talk to a host in the same thread, for tests: see `testing`.
//! `docs/SANDBOX.md` describes the functions below this crate, and what they cost.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;

#[cfg(target_arch = "wasm32")]
mod imports;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
#[cfg(not(target_arch = "wasm32"))]
use testing as imports;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    More,
    /// The output is complete.
    Done,
    /// The task cannot be done; a result too.
    GiveUp,
}

impl Step {
    /// What `step` returns to the host.
    pub fn code(self) -> i32 {
        match self {
            Self::More => 0,
            Self::Done => 1,
            Self::GiveUp => 2,
        }
    }
}

/// A task: its value lives from the first step to the last.
pub trait Program: Default {
    /// Does a piece of work of size `n`, which is the same number in every step of a task. A run can
    /// be paused, or moved to another machine, between two steps.
    fn step(&mut self, n: u32) -> Step;
}

/// Makes a type the program of this module.
#[macro_export]
macro_rules! program {
    ($program:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            static HELD: $crate::Held<$program> = $crate::Held::new();

            #[unsafe(no_mangle)]
            extern "C" fn step(n: u32) -> i32 {
                HELD.with(|program| $crate::Program::step(program, n)).code()
            }
        };
    };
}

#[cfg(target_arch = "wasm32")]
pub use held::Held;

#[cfg(target_arch = "wasm32")]
mod held {
    //! The one value of a module without threads.

    use core::cell::RefCell;

    /// Holds the program between steps.
    pub struct Held<T>(RefCell<Option<T>>);

    // SAFETY: a module of the sandbox has no threads.
    unsafe impl<T> Sync for Held<T> {}

    impl<T: Default> Held<T> {
        /// Nothing yet.
        pub const fn new() -> Self {
            Self(RefCell::new(None))
        }

        /// Calls a function with the value, which is made when it is first needed.
        pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
            f(self.0.borrow_mut().get_or_insert_with(T::default))
        }
    }

    impl<T: Default> Default for Held<T> {
        fn default() -> Self {
            Self::new()
        }
    }
}

/// Bytes of the input.
pub fn input_len() -> usize {
    imports::input_len()
}

/// Reads the input from an offset on; gives how many bytes there were.
pub fn read_input(offset: usize, to: &mut [u8]) -> usize {
    imports::read_input(offset, to)
}

/// The whole input.
pub fn input() -> Vec<u8> {
    let mut bytes = vec![0; input_len()];
    read_input(0, &mut bytes);
    bytes
}

/// The arguments of the task.
pub fn args() -> Vec<u8> {
    imports::args()
}

/// Adds to the output.
pub fn output(bytes: &[u8]) {
    imports::output(bytes);
}

/// Writes for the submitter; no part of the result, and cut at 64 KiB.
pub fn log(text: &str) {
    imports::log(text.as_bytes());
}

/// Says how much is done, and how much there is in all.
pub fn progress(done: u64, all: u64) {
    imports::progress(done, all);
}

/// Why a key cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// No grant of the task allows it.
    Denied,
    /// Keys and values hold too much.
    Full,
}

/// The value of a key; `None` when there is none.
///
/// # Errors
/// [`KeyError::Denied`].
pub fn kv_get(key: &[u8]) -> Result<Option<Vec<u8>>, KeyError> {
    let mut value = vec![0; 256];
    loop {
        let length = match imports::kv_get(key, &mut value) {
            -1 => return Ok(None),
            length => usize::try_from(length).map_err(|_| KeyError::Denied)?,
        };
        let fits = length <= value.len();
        value.resize(length, 0);
        if fits {
            return Ok(Some(value));
        }
    }
}

/// Sets the value of a key.
///
/// # Errors
/// [`KeyError`].
pub fn kv_put(key: &[u8], value: &[u8]) -> Result<(), KeyError> {
    match imports::kv_put(key, value) {
        0 => Ok(()),
        -3 => Err(KeyError::Full),
        _ => Err(KeyError::Denied),
    }
}
