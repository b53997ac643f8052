//! See [`anthill_fuzz::cbor`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::cbor::run(data));
