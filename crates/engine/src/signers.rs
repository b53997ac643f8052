//! The keys with which a node speaks for itself.

use anthill_identity::KeyPair;
use anthill_types::{AccountId, NodeKey, ValidatorKey};

/// The keys of one node.
#[derive(Clone)]
pub struct Signers {
    /// Money.
    pub account: KeyPair,
    /// Receipts and, in the transport, connections.
    pub node: KeyPair,
    /// Votes.
    pub validator: KeyPair,
    /// Seed of the beacon chains.
    pub beacon: [u8; 32],
    /// Secret from which the nonces of commitments come: the seed of the node's key, which its transport
    /// needs too.
    pub secret: [u8; 32],
}

impl Signers {
    /// The account's id.
    pub fn account_id(&self) -> AccountId {
        AccountId(self.account.public())
    }

    /// The node's key.
    pub fn node_key(&self) -> NodeKey {
        NodeKey(self.node.public())
    }

    /// The validator's key.
    pub fn validator_key(&self) -> ValidatorKey {
        ValidatorKey(self.validator.public())
    }
}
