//! Denominations, balances, multi-sends and conditional escrow: what is asked for and what is kept.

use minicbor::{Decode, Encode};

use crate::amount::Amount;
use crate::hash::sha3;
use crate::ids::{AccountId, Digest};
use crate::wire;

/// The number of credits among the denominations: they are kept in [`crate::state::Account`].
pub const CREDITS: u64 = 0;
/// Most outputs of one multi-send.
pub const MAX_OUTPUTS: usize = 256;
/// Most decimals of a denomination: 2^128 has 39 digits.
pub const MAX_DECIMALS: u8 = 30;

/// A new denomination, as its issuer asks for it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct CreateDenomination {
    /// Short name for tables: 2 to 12 capital ASCII letters and digits. It need not be unique.
    #[n(0)]
    pub symbol: String,
    /// Name for people: 1 to 64 bytes without control characters.
    #[n(1)]
    pub name: String,
    /// Digits after the point when people read amounts, at most [`MAX_DECIMALS`].
    #[n(2)]
    pub decimals: u8,
    /// Most units that may ever be minted; none: no limit but 2^128 - 1.
    #[n(3)]
    pub cap: Option<Amount>,
    /// The issuer may mint more later.
    #[n(4)]
    pub mintable: bool,
    /// Units minted to the issuer at once.
    #[n(5)]
    pub supply: Amount,
}

impl CreateDenomination {
    /// What is wrong with it, or `None`.
    pub fn problem(&self) -> Option<&'static str> {
        let letter = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        if !(2..=12).contains(&self.symbol.len()) || !self.symbol.bytes().all(letter) {
            return Some("a symbol is 2 to 12 capital ASCII letters and digits");
        }
        if !(1..=64).contains(&self.name.len()) || self.name.chars().any(char::is_control) {
            return Some("a denomination's name has 1 to 64 bytes and no control characters");
        }
        if self.decimals > MAX_DECIMALS {
            return Some("a denomination has at most 30 decimals");
        }
        if self.cap.is_some_and(|cap| cap < self.supply) {
            return Some("the first supply is above the cap");
        }
        if !self.mintable && self.supply == Amount::ZERO {
            return Some("a denomination that is never minted needs a first supply");
        }
        None
    }
}

/// A denomination with its supply, by number; held + burned = minted.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Denomination {
    /// Who made it, and may mint it if anybody may.
    #[n(0)]
    pub issuer: AccountId,
    /// How it was asked for.
    #[n(1)]
    pub terms: CreateDenomination,
    /// Units minted so far.
    #[n(2)]
    pub minted: Amount,
    /// Units burned so far.
    #[n(3)]
    pub burned: Amount,
    /// Height of the block that made it.
    #[n(4)]
    pub height: u64,
}

/// What an account holds of a denomination other than credits; absent when it holds nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct Balance {
    /// Units.
    #[n(0)]
    pub amount: Amount,
    /// Height of the block that changed it last.
    #[n(1)]
    pub height: u64,
}

/// How many denominations, escrows and channels there are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct BankTotals {
    /// Denominations made so far beside credits; the next gets one more as its number.
    #[n(0)]
    pub denominations: u64,
    /// Open conditional escrows.
    #[n(1)]
    pub escrows: u64,
    /// Channels that are not closed.
    #[n(2)]
    pub channels: u64,
}

/// One output of a multi-send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Output {
    /// The receiver.
    #[n(0)]
    pub to: AccountId,
    /// Units.
    #[n(1)]
    pub amount: Amount,
}

/// Money locked for somebody under a condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct OpenEscrow {
    /// Who gets it when it is released.
    #[n(0)]
    pub payee: AccountId,
    /// In what ([`CREDITS`] or another denomination).
    #[n(1)]
    pub denomination: u64,
    /// Units.
    #[n(2)]
    pub amount: Amount,
    /// SHA3-256 of the 32 bytes that release it.
    #[n(3)]
    pub lock: Option<Digest>,
    /// Who may release or refund it.
    #[n(4)]
    pub arbiter: Option<AccountId>,
    /// The first height at which it can be refunded on request, and no longer released.
    #[n(5)]
    pub expires: u64,
}

/// An escrow that is open; its key is absent before and after.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct EscrowRecord {
    /// Whose money it is.
    #[n(0)]
    pub payer: AccountId,
    /// What was agreed.
    #[n(1)]
    pub terms: OpenEscrow,
    /// Height of the block that opened it.
    #[n(2)]
    pub opened: u64,
}

/// Name of the escrow that the payer's transaction with this sequence number opens.
pub fn escrow_id(payer: &AccountId, sequence: u64) -> Digest {
    Digest(sha3(&[b"escrow", &payer.0, &sequence.to_be_bytes()]))
}

wire! {
    CreateDenomination = "new denomination", max 1024;
    Denomination = "denomination", max 1024;
    Balance = "balance", max 64;
    BankTotals = "bank totals", max 64;
    EscrowRecord = "escrow", max 1024;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denominations_are_checked() {
        let good = CreateDenomination {
            symbol: "ANT".into(),
            name: "ant".into(),
            decimals: 2,
            cap: None,
            mintable: false,
            supply: Amount(1),
        };
        assert_eq!(good.problem(), None);
        type Change = fn(&mut CreateDenomination);
        let bad: [(Change, &str); 9] = [
            (|d| d.symbol = "A".into(), "symbol"),
            (|d| d.symbol = "ANTHILLANTHIL".into(), "symbol"),
            (|d| d.symbol = "ant".into(), "symbol"),
            (|d| d.name = String::new(), "name"),
            (|d| d.name = "a".repeat(65), "name"),
            (|d| d.name = "a\u{7}".into(), "control"),
            (|d| d.decimals = 31, "decimals"),
            (|d| d.cap = Some(Amount::ZERO), "cap"),
            (|d| d.supply = Amount::ZERO, "first supply"),
        ];
        for (change, word) in bad {
            let mut wrong = good.clone();
            change(&mut wrong);
            assert!(wrong.problem().is_some_and(|p| p.contains(word)), "{wrong:?}");
        }
    }
}
