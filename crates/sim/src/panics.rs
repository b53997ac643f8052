//! Panics of a store on a disk that was damaged on purpose: part of a run, and no news.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs something that may panic, and need not tell of it when it is `expected`.
pub(crate) fn catch(expected: bool, act: impl FnOnce()) -> std::thread::Result<()> {
    let before = EXPECTED.replace(expected);
    let done = catch_unwind(AssertUnwindSafe(act));
    EXPECTED.set(before);
    done
}

/// From now on expected panics print nothing: who reads a campaign's output would take them for breaks.
pub fn keep_expected_ones_quiet() {
    let tell = take_hook();
    set_hook(Box::new(move |panic| {
        if !EXPECTED.get() {
            tell(panic);
        }
    }));
}
