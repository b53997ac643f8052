//! See [`anthill_fuzz::proofs`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthill_fuzz::proofs::run(data));
