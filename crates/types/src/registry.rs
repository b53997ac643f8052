//! Names for content ids, and properties of accounts.

use minicbor::{Decode, Encode};

use crate::ids::{AccountId, Bytes, Cid};
use crate::wire;

/// Most properties that one transaction sets or deletes.
pub const MAX_PROPERTIES: usize = 64;
/// Longest key of a property, in bytes.
pub const MAX_PROPERTY_KEY: usize = 64;
/// Longest value of a property, in bytes: larger things belong into blobs, with their CID here.
pub const MAX_PROPERTY_VALUE: usize = 1024;

/// A name that is held until an epoch; what is kept after that is void, and goes when it is
/// registered again.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct NameRecord {
    /// Who holds it.
    #[n(0)]
    pub owner: AccountId,
    /// What it stands for.
    #[n(1)]
    pub target: Cid,
    /// The first epoch in which it is free again.
    #[n(2)]
    pub expires: u64,
    /// Height of the block that registered it.
    #[n(3)]
    pub registered: u64,
}

/// What is wrong with a name, or `None`.
///
/// Names are 3 to 64 lower-case ASCII letters, digits and hyphens, with none of the latter at an
/// end: no two of them look alike in any script, case or width, they need no normalisation (which
/// would differ between versions of Unicode), they fit into a path or host name as they are, and
/// none begins like an option. One of 64 hexadecimal digits would read like an id.
pub fn name_problem(name: &str) -> Option<&'static str> {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(3..=64).contains(&name.len()) || !name.bytes().all(letter) {
        return Some("a name is 3 to 64 lower-case ASCII letters, digits and hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Some("a name neither begins nor ends with a hyphen");
    }
    if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some("a name of 64 hexadecimal digits would read like an id");
    }
    None
}

/// A property to set.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Property {
    /// Its key: 1 to 64 of `a-z 0-9 . _ - /`.
    #[n(0)]
    pub key: String,
    /// Its value, at most 1024 bytes.
    #[n(1)]
    pub value: Bytes,
}

/// What is wrong with a property's key, or `None`.
pub fn property_key_problem(key: &str) -> Option<&'static str> {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/".contains(&b);
    let fits = (1..=MAX_PROPERTY_KEY).contains(&key.len()) && key.bytes().all(letter);
    (!fits).then_some("a property's key is 1 to 64 of the characters a-z 0-9 . _ - /")
}

/// A property of an account; the account and the key of the property are its key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct PropertyRecord {
    /// Its value.
    #[n(0)]
    pub value: Bytes,
    /// Height of the block that set it.
    #[n(1)]
    pub height: u64,
}

wire! {
    NameRecord = "name", max 256;
    PropertyRecord = "property", max 2048;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["abc", "a-b", "0x1", &"x".repeat(64), "ant--hill"] {
            assert_eq!(name_problem(good), None, "{good}");
        }
        let long = "a".repeat(65);
        let hex = "0".repeat(64);
        for bad in ["", "ab", &long, "Abc", "a_b", "a b", "-ab", "ab-", "caf\u{e9}", "a.b", &hex] {
            assert!(name_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn property_keys_are_plain() {
        for good in ["a", "web/home.page", &"k".repeat(64)] {
            assert_eq!(property_key_problem(good), None, "{good}");
        }
        for bad in ["", "A", "a b", "\u{e9}", &"k".repeat(65)] {
            assert!(property_key_problem(bad).is_some(), "{bad}");
        }
    }
}
