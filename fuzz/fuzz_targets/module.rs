//! See [`anthill_fuzz::module`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::module::run(data));
