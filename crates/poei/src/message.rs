//! The canonical message of a node and its leaf (rules 8 and 9).

use anthill_merkle::rfc9162::{Sha3Tree, TreeHasher as _};

/// What a node signs about an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Efficiency, quality, impact, trust, in nano.
    pub metrics: [u64; 4],
    /// The smoothed score, in nano.
    pub score: u64,
    /// The node's public key.
    pub node: [u8; 32],
    /// Number of the epoch.
    pub epoch: u64,
    /// End of the epoch, in seconds.
    pub timestamp: u64,
    /// SHA3-256 of the attestation evidence, zeros for none.
    pub attestation: [u8; 32],
}

impl Message {
    /// Deterministic CBOR: a map whose keys are in the order of RFC 8949 4.2.1.
    pub fn to_bytes(&self) -> Vec<u8> {
        let [e, q, i, t] = self.metrics;
        let mut out = Vec::with_capacity(180);
        head(&mut out, 5, 9);
        for (key, value) in [("E", e), ("I", i), ("Q", q), ("T", t), ("score", self.score)] {
            text(&mut out, key);
            head(&mut out, 0, value);
        }
        text(&mut out, "node_id");
        bytes(&mut out, &self.node);
        text(&mut out, "epoch_id");
        head(&mut out, 0, self.epoch);
        text(&mut out, "timestamp");
        head(&mut out, 0, self.timestamp);
        text(&mut out, "attestation");
        bytes(&mut out, &self.attestation);
        out
    }
}

/// Leaf of a message: SHA3-256(0x00 || message).
pub fn leaf(message: &[u8]) -> [u8; 32] {
    Sha3Tree::leaf(message)
}

/// Head of a CBOR item: major type and the shortest form of its argument.
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let bytes = argument.to_be_bytes();
    let (info, from) = match argument {
        0..24 => (bytes[7], 8),
        24..0x100 => (24, 7),
        0x100..0x1_0000 => (25, 6),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 0),
    };
    out.push(major << 5 | info);
    out.extend(&bytes[from..]);
}

fn text(out: &mut Vec<u8>, text: &str) {
    head(out, 3, text.len() as u64);
    out.extend(text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    head(out, 2, bytes.len() as u64);
    out.extend(bytes);
}
