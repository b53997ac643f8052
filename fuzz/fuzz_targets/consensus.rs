//! See [`anthill_fuzz::consensus`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::consensus::run(data));
