//! A validator's beacon chain: preimages that it reveals one by one (`docs/spec/protocol.md` 7).

use anthill_types::BeaconValue;
use anthill_types::hash::sha3;

/// Values in one chain of a node: so many blocks can a validator propose before it must renew.
pub const LENGTH: usize = 1 << 16;

/// A hash chain from a seed: `values[i + 1] = SHA3-256(values[i])`; the last is the committed head.
pub struct BeaconChain {
    values: Vec<BeaconValue>,
}

impl BeaconChain {
    /// The chain of `length` reveals of a seed and a generation (how often it was renewed).
    pub fn new(seed: &[u8; 32], generation: u64, length: usize) -> Self {
        let first = sha3(&[b"beacon chain", seed, &generation.to_be_bytes()]);
        let mut values = Vec::with_capacity(length + 1);
        let mut value = BeaconValue(first);
        for _ in 0..=length {
            values.push(value);
            value = BeaconValue(sha3(&[&value.0]));
        }
        Self { values }
    }

    /// The committed end.
    pub fn head(&self) -> BeaconValue {
        self.values.last().copied().unwrap_or_default()
    }

    /// The preimage of `head` in this chain; `None` at the chain's start or for a foreign head.
    pub fn reveal(&self, head: &BeaconValue) -> Option<BeaconValue> {
        let at = self.values.iter().rposition(|v| v == head)?;
        self.values.get(at.checked_sub(1)?).copied()
    }

    /// How many reveals are left below `head`.
    pub fn left(&self, head: &BeaconValue) -> usize {
        self.values.iter().rposition(|v| v == head).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reveals_hash_to_the_head() {
        let chain = BeaconChain::new(&[1; 32], 0, LENGTH);
        let mut head = chain.head();
        for i in 0..10 {
            assert_eq!(chain.left(&head), LENGTH - i);
            let reveal = chain.reveal(&head).unwrap();
            assert_eq!(BeaconValue(sha3(&[&reveal.0])), head);
            head = reveal;
        }
        assert_eq!(chain.reveal(&BeaconValue([9; 32])), None);
        assert_ne!(BeaconChain::new(&[1; 32], 1, LENGTH).head(), chain.head());
    }
}
