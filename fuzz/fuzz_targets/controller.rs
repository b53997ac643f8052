//! See [`anthill_fuzz::controller`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::controller::run(data));
