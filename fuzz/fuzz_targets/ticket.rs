//! See [`anthill_fuzz::ticket`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::ticket::run(data));
