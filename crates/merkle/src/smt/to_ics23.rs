//! Conversion to ICS23 commitment proofs, which any ICS23 verifier checks with [`spec`].

use super::{Hash, INNER_DOMAIN, KeyHash, LEAF_DOMAIN, PLACEHOLDER, Tree, bit, key_hash};
use ics23::commitment_proof::Proof as Kind;

/// Key and value behind a key hash.
pub type Preimage = (Vec<u8>, Vec<u8>);

/// The ICS23 proof specification of this tree.
pub fn spec() -> ics23::ProofSpec {
    ics23::ProofSpec {
        leaf_spec: Some(leaf_op()),
        inner_spec: Some(ics23::InnerSpec {
            hash: ics23::HashOp::Sha256.into(),
            child_order: vec![0, 1],
            min_prefix_length: INNER_DOMAIN.len() as i32,
            max_prefix_length: INNER_DOMAIN.len() as i32,
            child_size: 32,
            empty_child: PLACEHOLDER.to_vec(),
        }),
        min_depth: 0,
        max_depth: 64,
        prehash_key_before_comparison: true,
    }
}

fn leaf_op() -> ics23::LeafOp {
    ics23::LeafOp {
        hash: ics23::HashOp::Sha256.into(),
        prehash_key: ics23::HashOp::Sha256.into(),
        prehash_value: ics23::HashOp::Sha256.into(),
        length: ics23::LengthOp::NoPrefix.into(),
        prefix: LEAF_DOMAIN.to_vec(),
    }
}

impl Tree {
    /// ICS23 proof of what `key` holds under [`Tree::root`]: existence, or absence by neighbours.
    ///
    /// `preimage` finds key and value behind a key hash of the tree; the answer is `None` when it
    /// does not know one that the proof needs, or when the tree is empty (ICS23 cannot say that).
    pub fn prove_ics23(
        &self,
        key: &[u8],
        mut preimage: impl FnMut(&KeyHash) -> Option<Preimage>,
    ) -> Option<ics23::CommitmentProof> {
        let position = key_hash(key);
        let proof = if self.get(&position).is_some() {
            Kind::Exist(self.existence(&position, &mut preimage)?)
        } else {
            let (before, after) = self.neighbours(&position);
            if before.is_none() && after.is_none() {
                return None;
            }
            let mut side = |at: Option<KeyHash>| match at {
                None => Some(None),
                Some(at) => self.existence(&at, &mut preimage).map(Some),
            };
            Kind::Nonexist(ics23::NonExistenceProof {
                key: key.to_vec(),
                left: side(before)?,
                right: side(after)?,
            })
        };
        Some(ics23::CommitmentProof { proof: Some(proof) })
    }

    fn existence(
        &self,
        position: &KeyHash,
        preimage: &mut impl FnMut(&KeyHash) -> Option<Preimage>,
    ) -> Option<ics23::ExistenceProof> {
        let (key, value) = preimage(position)?;
        let proof = self.prove_hash(position);
        let path = proof.siblings().iter().enumerate().rev();
        Some(ics23::ExistenceProof {
            key,
            value,
            leaf: Some(leaf_op()),
            path: path.map(|(depth, sibling)| inner_op(bit(position, depth), sibling)).collect(),
        })
    }
}

/// `hash(prefix || child || suffix)` that puts `sibling` on the other side of the child.
fn inner_op(child_is_right: bool, sibling: &Hash) -> ics23::InnerOp {
    let (prefix, suffix) = if child_is_right {
        ([INNER_DOMAIN, sibling].concat(), Vec::new())
    } else {
        (INNER_DOMAIN.to_vec(), sibling.to_vec())
    };
    ics23::InnerOp { hash: ics23::HashOp::Sha256.into(), prefix, suffix }
}
