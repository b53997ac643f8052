//! Receipts of virtual nodes and the unified flow records that a parent makes of them (seed 0, section 3.2).

use std::collections::BTreeMap;

use anthill_merkle::rfc9162::{self, Sha3Tree};
use anthill_types::hash::sha3;
use anthill_types::{Cid, Digest};

/// What a virtual node's proof engine states about one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VnReceipt {
    /// The virtual node.
    pub vn: u64,
    /// Its how-manieth task, from 0.
    pub sequence: u64,
    /// The program that ran.
    pub program: Cid,
    /// Its input.
    pub input: Cid,
    /// Its output (`Outcome::to_output`); that of no bytes when it was stopped before it had one.
    pub output: Cid,
    /// Reference cost.
    pub cost: u64,
}

impl VnReceipt {
    /// The receipt's digest: a leaf of the flow record.
    pub fn digest(&self) -> Digest {
        Digest(sha3(&[
            b"anthill virtual node receipt",
            &self.vn.to_be_bytes(),
            &self.sequence.to_be_bytes(),
            &self.program.to_binary(),
            &self.input.to_binary(),
            &self.output.to_binary(),
            &self.cost.to_be_bytes(),
        ]))
    }
}

/// One report from a virtual node to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Digest of the task's receipt.
    pub receipt: Digest,
    /// Reference cost.
    pub cost: u64,
    /// Time in the task's steps, microseconds.
    pub micros: u64,
    /// How the task ended.
    pub end: End,
}

/// How a task ended in its virtual node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an output.
    Output,
    /// With a fault.
    Fault,
    /// Stopped: nobody wanted its outcome any more.
    Stopped,
}

/// One virtual node's part of a flow record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Tasks that ended.
    pub tasks: u64,
    /// Of them with a fault.
    pub faults: u64,
    /// Of them stopped, because nobody wanted the outcome any more.
    pub stopped: u64,
    /// Reference cost.
    pub cost: u64,
    /// Time in steps, microseconds.
    pub micros: u64,
}

/// What a parent says about all its virtual nodes between two syncs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// Its number, from 0.
    pub number: u64,
    /// Digest of the record before; zeros for the first.
    pub previous: Digest,
    /// When it begins, milliseconds.
    pub from_ms: u64,
    /// When it ends.
    pub to_ms: u64,
    /// The virtual nodes that reported, ascending.
    pub shares: BTreeMap<u64, Share>,
    /// RFC 9162 root over the receipts' digests, in the order of virtual nodes and then of tasks.
    pub root: Digest,
}

impl FlowRecord {
    /// The record's digest, which the next one names.
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::with_capacity(128 + 48 * self.shares.len());
        for number in [self.number, self.from_ms, self.to_ms] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(self.previous.0);
        bytes.extend(self.root.0);
        for (vn, s) in &self.shares {
            for number in [*vn, s.tasks, s.faults, s.stopped, s.cost, s.micros] {
                bytes.extend(number.to_be_bytes());
            }
        }
        Digest(sha3(&[b"anthill flow record", &bytes]))
    }

    /// All shares together.
    pub fn total(&self) -> Share {
        self.shares.values().fold(Share::default(), |sum, s| Share {
            tasks: sum.tasks + s.tasks,
            faults: sum.faults + s.faults,
            stopped: sum.stopped + s.stopped,
            cost: sum.cost.saturating_add(s.cost),
            micros: sum.micros.saturating_add(s.micros),
        })
    }
}

/// Makes flow records of reports.
#[derive(Debug)]
pub struct Aggregator {
    number: u64,
    previous: Digest,
    from_ms: u64,
    open: BTreeMap<u64, (Share, Vec<Digest>)>,
}

impl Aggregator {
    /// Begins at a time.
    pub fn new(now_ms: u64) -> Self {
        Self { number: 0, previous: Digest([0; 32]), from_ms: now_ms, open: BTreeMap::new() }
    }

    /// Adds a report.
    pub fn add(&mut self, vn: u64, report: &Report) {
        let (share, receipts) = self.open.entry(vn).or_default();
        share.tasks += 1;
        share.faults += u64::from(report.end == End::Fault);
        share.stopped += u64::from(report.end == End::Stopped);
        share.cost = share.cost.saturating_add(report.cost);
        share.micros = share.micros.saturating_add(report.micros);
        receipts.push(report.receipt);
    }

    /// Ends the running record; `None` when nothing was reported, and then it runs on.
    pub fn close(&mut self, now_ms: u64) -> Option<FlowRecord> {
        if self.open.is_empty() {
            return None;
        }
        let open = std::mem::take(&mut self.open);
        let receipts: Vec<[u8; 32]> =
            open.values().flat_map(|(_, receipts)| receipts.iter().map(|r| r.0)).collect();
        let record = FlowRecord {
            number: self.number,
            previous: self.previous,
            from_ms: self.from_ms,
            to_ms: now_ms,
            shares: open.into_iter().map(|(vn, (share, _))| (vn, share)).collect(),
            root: Digest(rfc9162::root::<Sha3Tree>(&receipts)),
        };
        self.number += 1;
        self.previous = record.digest();
        self.from_ms = now_ms;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(vn: u64, sequence: u64) -> VnReceipt {
        let cid = |text: &[u8]| Cid::of(text);
        VnReceipt { vn, sequence, program: cid(b"p"), input: cid(b"i"), output: cid(b"o"), cost: 5 }
    }

    fn report(vn: u64, sequence: u64) -> Report {
        let end = if vn == 2 { End::Fault } else { End::Output };
        Report { receipt: receipt(vn, sequence).digest(), cost: 5, micros: 2, end }
    }

    #[test]
    fn a_record_holds_what_was_reported_and_names_the_one_before() {
        let mut parent = Aggregator::new(100);
        assert_eq!(parent.close(150), None);
        for (vn, sequence) in [(2, 0), (1, 0), (1, 1)] {
            parent.add(vn, &report(vn, sequence));
        }
        let first = parent.close(200).unwrap();
        assert_eq!((first.number, first.from_ms, first.to_ms), (0, 100, 200));
        assert_eq!(first.total(), Share { tasks: 3, faults: 1, stopped: 0, cost: 15, micros: 6 });
        let leaves = [(1, 0), (1, 1), (2, 0)].map(|(vn, s)| receipt(vn, s).digest().0);
        assert_eq!(first.root.0, rfc9162::root::<Sha3Tree>(&leaves));
        let proof = rfc9162::inclusion_proof::<Sha3Tree>(&leaves, 1).unwrap();
        let leaf = leaves[1];
        let held = rfc9162::verify_inclusion::<Sha3Tree>(&leaf, 1, 3, &proof, &first.root.0);
        assert!(held.is_ok(), "{held:?}");

        parent.add(1, &Report { end: End::Stopped, ..report(1, 2) });
        let second = parent.close(300).unwrap();
        assert_eq!((second.number, second.previous, second.from_ms), (1, first.digest(), 200));
        assert_eq!((second.total().stopped, second.total().faults), (1, 0));
    }

    #[test]
    fn every_field_counts() {
        let whole = receipt(1, 2);
        let others = [
            VnReceipt { vn: 3, ..whole },
            VnReceipt { sequence: 3, ..whole },
            VnReceipt { program: Cid::of(b"x"), ..whole },
            VnReceipt { input: Cid::of(b"x"), ..whole },
            VnReceipt { output: Cid::of(b"x"), ..whole },
            VnReceipt { cost: 6, ..whole },
        ];
        assert!(others.iter().all(|other| other.digest() != whole.digest()));
    }
}
