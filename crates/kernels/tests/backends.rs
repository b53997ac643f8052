//! Every backend of this machine gives the bits of the scalar reference.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_kernels::{Backend, testing};

/// Random shapes of each kernel.
const CASES: u32 = 1000;
/// What every machine must find; the browser's module and emulated processors are held to it too.
const PINNED: &str = include_str!("conformance.txt");

#[test]
fn every_backend_gives_the_pinned_bits() {
    assert!(Backend::available().contains(&Backend::best()));
    for backend in Backend::available() {
        backend.select().unwrap();
        assert_eq!(testing::conformance(CASES).unwrap(), PINNED, "{backend}");
    }
}

#[test]
fn what_is_not_there_is_refused_with_what_is() {
    let absent = Backend::ALL.into_iter().find(|b| !b.is_available()).unwrap();
    let said = absent.select().unwrap_err().to_string();
    assert!(said.contains(absent.name()) && said.contains("scalar"), "{said}");
    assert!("mmx".parse::<Backend>().unwrap_err().to_string().contains("avx2"));
    assert_eq!("avx2".parse::<Backend>(), Ok(Backend::Avx2));
}
