//! See [`anthill_fuzz::focus_load`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::focus_load::run(data));
