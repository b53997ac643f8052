//! Canonical form: altered encodings of generated values, with the crate `dcbor` as the oracle.
//!
//! Bytes 0 and 1 choose a type and a value; the others alter its encoding. What any of our decoders
//! accepts, the oracle must read as deterministic CBOR and write back to the same bytes.

use std::fmt::Debug;

use anthill_types::Wire;
use anthill_types::testing::{Generate, Source, Visitor, each_type};

use crate::input::Input;

struct Chosen<'a, 'b> {
    skip: usize,
    seed: u8,
    input: &'a mut Input<'b>,
}

impl Visitor for Chosen<'_, '_> {
    fn visit<T: Wire + Generate + PartialEq + Debug>(&mut self) {
        if let Some(skip) = self.skip.checked_sub(1) {
            self.skip = skip;
            return;
        }
        self.skip = usize::MAX;
        let value = T::generate(&mut Source::new(&format!("{} {}", T::NAME, self.seed)));
        let mut bytes = value.to_bytes();
        assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(&value), "{}", T::NAME);
        let original = bytes.clone();
        self.input.alter(&mut bytes, 4);
        let accepted = T::from_bytes(&bytes);
        if let Ok(found) = &accepted {
            assert_eq!(*found == value, bytes == original, "{}: two encodings", T::NAME);
            read_by_oracle(T::NAME, &bytes);
        }
    }
}

/// dcbor wants text in Unicode's NFC, which `docs/spec/protocol.md` 1 does not ask for.
fn read_by_oracle(name: &str, bytes: &[u8]) {
    match dcbor::CBOR::try_from_data(bytes) {
        Ok(read) => assert_eq!(read.to_cbor_data(), bytes, "{name}: the oracle writes otherwise"),
        Err(dcbor::Error::NonCanonicalString) => {}
        Err(error) => panic!("{name}: accepted here, and the oracle says: {error}"),
    }
}

/// Alters one encoding and compares the verdicts.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (skip, seed) = (input.below(18), input.byte());
    each_type(&mut Chosen { skip, seed, input: &mut input });
}
