//! See [`anthill_fuzz::canary`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::canary::run(data));
