//! See [`anthill_fuzz::redb`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::redb::run(data));
