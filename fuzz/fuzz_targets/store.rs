//! See [`anthill_fuzz::store`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::store::run(data));
