//! The light client of a simulated cluster: what it asks, and what it must not believe.

use anthill_ledger::mempool::MAX_PER_SENDER;
use anthill_light::Subject;
use anthill_types::{NodeKey, TaskId};

use crate::world::World;

/// True for subjects that were seen in a block's writes.
fn is_written(subject: &Subject) -> bool {
    matches!(subject, Subject::Credits(_) | Subject::Epoch(_) | Subject::Task(_))
}

impl World {
    /// The light client asks a random node, and then believes nothing that was altered.
    pub(crate) fn probe(&mut self) {
        let up: Vec<usize> = self
            .nodes
            .iter()
            .filter(|n| n.process.is_some() && !n.tainted)
            .map(|n| n.index)
            .collect();
        let Some(node) = self.checks.rng.pick(&up).copied() else { return };
        let longest = self.nodes[node].process.as_ref().map_or(0, |p| p.engine.longest_queue());
        if longest > MAX_PER_SENDER {
            return self.breaks(format!("node {node} keeps {longest} transactions of one sender"));
        }
        let Some(subject) = self.subject(node) else { return };
        let Some(process) = &self.nodes[node].process else { return };
        let ledger = process.engine.ledger();
        let newest = ledger.height() == self.checks.newest();
        let proof = match anthill_engine::proofs::build(ledger, &subject) {
            Ok(proof) => proof,
            // What a block has written can be proved by whoever has the block.
            Err(error) if newest && is_written(&subject) => {
                return self.breaks(format!("node {node} cannot prove {subject}: {error}"));
            }
            Err(_) => return,
        };
        let pin = self.genesis.hash();
        let honest = match anthill_light::verify(&proof, Some(&pin)) {
            Ok(verified) => verified,
            Err(error) => {
                return self.breaks(format!("the light client refuses {subject}: {error}"));
            }
        };
        self.marks.hit("proof: verified");
        for _ in 0..4 {
            let mut altered = proof.clone();
            let place = self.checks.rng.below(altered.len() as u64) as usize;
            if let Some(byte) = altered.get_mut(place) {
                *byte ^= 1 << self.checks.rng.below(8);
            }
            match anthill_light::verify(&altered, Some(&pin)) {
                Ok(believed) if believed != honest => {
                    return self.breaks(format!("the light client believes an altered {subject}"));
                }
                Ok(_) => return self.breaks(format!("byte {place} of {subject} is not bound")),
                Err(_) => self.marks.hit("proof: altered and refused"),
            }
        }
    }

    fn subject(&mut self, node: usize) -> Option<Subject> {
        let rng = &mut self.checks.rng;
        let tasks: Vec<TaskId> = self.checks.tasks.keys().copied().collect();
        match rng.below(6) {
            0 if self.checks.payments > 0 => {
                Some(Subject::Credits(rng.below(self.checks.payments)))
            }
            1 if self.checks.epochs > 0 => Some(Subject::Epoch(rng.below(self.checks.epochs))),
            2 => rng.pick(&tasks).map(|id| Subject::Task(*id)),
            3 => self.focus_model.a_particle(rng).map(Subject::Focus),
            4 => Some(Subject::Account(self.nodes[node].signers.account_id())),
            _ => Some(Subject::Node(NodeKey(self.nodes[node].key()))),
        }
    }
}
