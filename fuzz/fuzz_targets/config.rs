//! See [`anthill_fuzz::config`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::config::run(data));
