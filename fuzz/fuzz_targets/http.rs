//! See [`anthill_fuzz::http`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::http::run(data));
