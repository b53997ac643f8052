//! See [`anthill_fuzz::town`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::town::run(data));
