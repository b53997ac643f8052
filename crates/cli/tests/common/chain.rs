//! What must hold of a network whatever happened to it: one block at each height, each with a
//! certificate that a light client believes, and no acknowledged credit lost.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anthill_consensus::certificate::Certificate;
use anthill_light::HeaderChain;
use anthill_types::ids::from_hex;
use anthill_types::{Genesis, Handover, Header, ValidatorSet, Wire};
use serde_json::Value;

use super::{Dir, Node, anthill, micro, run_with, until};

/// Proof files that one call of `anthill verify` gets.
const BATCH: usize = 500;

/// The genesis of a node's network.
pub fn genesis(node: &Node) -> Genesis {
    Genesis::from_bytes(&std::fs::read(node.data.join("genesis.cbor")).unwrap()).unwrap()
}

/// The header at a height as a node shows it, once a light client believes it.
pub fn header(node: &Node, genesis: &Genesis, height: u64) -> (Header, Certificate) {
    let view = node.get(&format!("/api/headers/{height}"));
    let view = view.unwrap_or_else(|| panic!("{} has no block {height}", node.data.display()));
    let bytes = |name: &str| from_hex(view[name].as_str().unwrap()).unwrap();
    let header = Header::from_bytes(&bytes("header")).unwrap();
    let certificate = Certificate::from_bytes(&bytes("certificate")).unwrap();
    let set = signers(node, genesis, &header);
    anthill_light::verify_header(&genesis.hash(), &set, &header, &certificate)
        .unwrap_or_else(|e| panic!("{}: {e}", node.data.display()));
    assert_eq!(view["hash"], header.hash().to_string());
    (header, certificate)
}

/// The set that a header names, followed from the genesis through what the node shows.
fn signers(node: &Node, genesis: &Genesis, header: &Header) -> ValidatorSet {
    let mut chain = HeaderChain::new(genesis.hash(), genesis.validator_set());
    while chain.validators().hash() != header.validators {
        let view = node.get(&format!("/v1/light/handovers/{}", chain.height())).unwrap();
        let next = view["handovers"].as_array().and_then(|list| list.first().cloned());
        let next = next.unwrap_or_else(|| panic!("nobody names the set of {}", header.height));
        let handover = Handover::from_bytes(&from_hex(next.as_str().unwrap()).unwrap()).unwrap();
        chain.follow(handover).unwrap_or_else(|e| panic!("{}: {e}", node.data.display()));
    }
    chain.validators().clone()
}

/// Asks all nodes for all headers up to the lowest tip: one block at each height, on all nodes,
/// each signed by enough validators and linked to the one before. Gives the number of heights.
pub fn assert_one_chain(nodes: &[Node]) -> u64 {
    let genesis = genesis(&nodes[0]);
    let heights = nodes.iter().map(|n| n.status().unwrap()["height"].as_u64().unwrap());
    let lowest = heights.min().unwrap();
    let mut previous = None;
    for height in 1..=lowest {
        let (first, _) = header(&nodes[0], &genesis, height);
        for (i, node) in nodes.iter().enumerate().skip(1) {
            let (other, _) = header(node, &genesis, height);
            assert_eq!(first, other, "two blocks at height {height}: nodes 0 and {i}");
        }
        assert!(previous.is_none_or(|p| p == first.previous), "block {height} has another parent");
        previous = Some(first.hash());
    }
    lowest
}

/// Waits until all nodes show the same block, and gives its height and state root.
pub fn one_tip(nodes: &[Node]) -> (u64, String) {
    until("all nodes hold one block", || {
        let tips: Option<Vec<(u64, String)>> = nodes.iter().map(|n| tip(&n.status()?)).collect();
        let tips = tips?;
        tips.windows(2).all(|w| w[0] == w[1]).then(|| tips[0].clone())
    })
}

fn tip(status: &Value) -> Option<(u64, String)> {
    Some((status["height"].as_u64()?, status["root"].as_str()?.to_string()))
}

/// Every payment that some node has shown with a proof: it is acknowledged, and may never be lost.
pub struct Acknowledged {
    genesis: String,
    folder: PathBuf,
    payments: BTreeMap<u64, Value>,
    roots: BTreeMap<u64, String>,
}

impl Acknowledged {
    /// Nothing yet; proofs are kept in a folder of the test's.
    pub fn new(dir: &Dir, node: &Node) -> Self {
        let folder = dir.join("proofs");
        std::fs::create_dir_all(&folder).unwrap();
        let genesis = genesis(node).hash().to_string();
        Self { genesis, folder, payments: BTreeMap::new(), roots: BTreeMap::new() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.payments.len()
    }

    /// The newest height that some node has shown.
    pub fn height(&self) -> u64 {
        self.roots.last_key_value().map_or(0, |(height, _)| *height)
    }

    /// Notes all that a node shows now, with a saved proof of each payment; a node that does not
    /// answer (it is paused, say) shows nothing.
    pub fn look(&mut self, node: &Node) {
        let Some(status) = node.status() else { return };
        let (height, root) = tip(&status).unwrap();
        let known = self.roots.entry(height).or_insert_with(|| root.clone());
        assert_eq!(*known, root, "two state roots at height {height}");
        let Some(bank) = node.get("/api/credits?newest=1000") else { return };
        let held = micro(&bank["held"]) + micro(&bank["burned"]);
        assert_eq!(held, micro(&bank["minted"]), "{bank}");
        for payment in bank["newest"].as_array().unwrap() {
            let number = payment["number"].as_u64().unwrap();
            if let Some(known) = self.payments.get(&number) {
                assert_eq!(known, payment, "payment {number} has changed");
                continue;
            }
            let Some(proof) = node.get_bytes(&format!("/api/proofs/credits:{number}")) else {
                return;
            };
            std::fs::write(self.file("saved", number), proof).unwrap();
            self.payments.insert(number, payment.clone());
        }
    }

    fn file(&self, kind: &str, number: u64) -> PathBuf {
        self.folder.join(format!("{kind}-{number}.cbor"))
    }

    /// What `anthill verify` says of the proofs of one kind, by payment.
    fn verify(&self, kind: &str) -> BTreeMap<u64, Value> {
        let numbers: Vec<u64> = self.payments.keys().copied().collect();
        let mut said = BTreeMap::new();
        for batch in numbers.chunks(BATCH) {
            let mut command = anthill();
            command.args(["verify", "--json", "--genesis", &self.genesis]);
            command.args(batch.iter().map(|n| self.file(kind, *n)));
            let output = run_with(&mut command, &[]);
            assert_eq!(output.code, 0, "{kind}: {}", output.err);
            let all = output.json();
            let all = all.as_array().cloned().unwrap_or_else(|| vec![all]);
            assert_eq!(all.len(), batch.len());
            said.extend(batch.iter().copied().zip(all));
        }
        said
    }

    /// Checks from outside that no acknowledged payment is lost: the saved proofs hold, and every
    /// node gives a fresh proof of the same payment. Gives the number of proofs checked.
    pub fn assert_kept(&self, nodes: &[Node]) -> usize {
        let saved = self.verify("saved");
        for (number, proof) in &saved {
            assert_eq!(proof["subject"], format!("credits:{number}"));
        }
        for (i, node) in nodes.iter().enumerate() {
            node.assert_conserved();
            for (number, payment) in &self.payments {
                let held = node.get(&format!("/api/credits/{number}"));
                assert_eq!(held.as_ref(), Some(payment), "payment {number} on node {i}");
                let proof = node.get_bytes(&format!("/api/proofs/credits:{number}"));
                let proof = proof.unwrap_or_else(|| panic!("node {i} cannot prove {number}"));
                std::fs::write(self.file("fresh", *number), proof).unwrap();
            }
            for (number, fresh) in self.verify("fresh") {
                let paid = |v: &Value| v["statements"][0].clone();
                assert_eq!(paid(&fresh), paid(&saved[&number]), "payment {number} on node {i}");
            }
        }
        saved.len() * (nodes.len() + 1)
    }
}
