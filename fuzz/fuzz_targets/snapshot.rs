//! See [`anthill_fuzz::snapshot`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::snapshot::run(data));
