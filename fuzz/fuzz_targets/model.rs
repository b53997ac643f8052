//! See [`anthill_fuzz::model`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::model::run(data));
