//! Check headers, certificates and proofs without the state.
//!
//! A [`Bundle`] is one file that carries everything a stranger needs to check a statement about the
//! state offline: the genesis, one header with its certificate, and the state entries with their
//! paths to the header's state root. [`verify`] believes nothing in it that is not bound to the
//! signatures of more than two thirds of the genesis validators' stake.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod bundle;
pub mod explain;
mod focus;
pub mod header;
pub mod scores;

pub use bundle::{Bundle, Entry, Subject, SubjectError};
pub use explain::{Statement, Verified, VerifyError, verify, verify_from};
pub use header::{HeaderChain, HeaderError, verify_header};
