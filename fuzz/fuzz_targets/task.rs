//! See [`anthill_fuzz::task`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::task::run(data));
