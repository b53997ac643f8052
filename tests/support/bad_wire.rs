//! Checks a wire type against its shape: the good encoding is accepted, and each bad input meets
//! exactly the error that its fault asks for.

use anthill_types::{DecodeError, Wire};

use super::shapes::{Bad, Fault, Shape, reason};

/// Least number of bad inputs of one shape.
const LEAST: usize = 40;

/// Checks one type; gives how many bad inputs were tried.
pub fn check<T: Wire + std::fmt::Debug>(shape: &Shape) -> usize {
    let good = shape.sample();
    let read = T::from_bytes(&good).unwrap_or_else(|e| panic!("{}: a good one: {e}", T::NAME));
    assert_eq!(read.to_bytes(), good, "{}", T::NAME);
    let bad = shape.bad_inputs();
    assert!(bad.len() >= LEAST, "{}: only {} bad inputs", T::NAME, bad.len());
    for case in &bad {
        meets::<T>(case);
    }
    let (what, len, max) = (T::NAME, T::MAX + 1, T::MAX);
    let error = T::from_bytes(&vec![0x80; len]).unwrap_err();
    assert_eq!(error, DecodeError::TooLong { what, len, max });
    bad.len() + 1
}

fn meets<T: Wire + std::fmt::Debug>(case: &Bad) {
    let name = T::NAME;
    let error = match T::from_bytes(&case.bytes) {
        Ok(value) => panic!("{name}, {}: accepted as {value:?}", case.what),
        Err(error) => error,
    };
    let fits = match (&case.fault, &error) {
        (Fault::NotCanonical, DecodeError::NotCanonical { what }) => *what == name,
        (fault, DecodeError::Malformed { what, reason: said }) => {
            let (begin, end) = reason(fault);
            *fault != Fault::NotCanonical
                && *what == name
                && said.starts_with(&begin)
                && said.ends_with(&end)
        }
        _ => false,
    };
    assert!(fits, "{name}, {}: {:?} was expected, not: {error}", case.what, case.fault);
}
