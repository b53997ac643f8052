//! Scoring of one epoch (rules 1 to 10).

use crate::message::{Message, leaf};
use crate::{Params, PoeiError, U, reward};
use anthill_merkle::rfc9162::{Sha3Tree, TreeHasher as _, root_of_hashes};
use std::collections::BTreeMap;

/// Most records of an epoch.
pub const MAX_RECORDS: usize = 1_000_000;
/// The whole focus mass (Q62).
const FOCUS_WHOLE: u64 = 1 << 62;
const UNIT: u128 = U as u128;

/// What settled state says about one node in one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The node's public key.
    pub node: [u8; 32],
    /// Reference cost of its final results of drawn tasks.
    pub work: u64,
    /// Resource units that it offered.
    pub offered: u64,
    /// Validated flow units x quality of service.
    pub flow: u64,
    /// Cost of its checked results that were right.
    pub ok: u64,
    /// Cost of its checked results that were wrong.
    pub bad: u64,
    /// Focus mass of its particles before the epoch (Q62).
    pub focus_before: u64,
    /// Focus mass of its particles after the epoch (Q62).
    pub focus_after: u64,
    /// Trust that stood at the epoch's start, in nano.
    pub trust: u64,
    /// Whether a child record under it had an accepted result.
    pub is_parent: bool,
    /// SHA3-256 of its attestation evidence, zeros for none.
    pub attestation: [u8; 32],
    /// Its smoothed score of the epoch before, in nano, if it took part.
    pub previous: Option<u64>,
    /// End of the epoch, in seconds.
    pub timestamp: u64,
}

/// The row of one participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The node's public key.
    pub node: [u8; 32],
    /// Efficiency, in nano.
    pub e: u64,
    /// Quality, in nano.
    pub q: u64,
    /// Impact, in nano.
    pub i: u64,
    /// Trust, in nano.
    pub t: u64,
    /// Weighted sum of the four, in nano.
    pub raw: u64,
    /// Score after smoothing, in nano.
    pub score: u64,
    /// The canonical message that the node signs.
    pub message: Vec<u8>,
    /// Its leaf in the epoch tree.
    pub leaf: [u8; 32],
    /// Whether the parent ratio applied.
    pub is_parent: bool,
    /// Reward in micro-credits.
    pub reward: u128,
}

/// An epoch, scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochResult {
    /// Participants in ascending order of node.
    pub rows: Vec<Row>,
    /// Root over the leaves.
    pub root: [u8; 32],
    /// Link of the epoch-root chain.
    pub tlr: [u8; 32],
    /// What is minted, in micro-credits: the sum of the rewards.
    pub pool: u128,
    /// Weights of the next epoch where the adaptive rule is switched on.
    pub adaptive_weights: [u64; 4],
}

/// `TLR_n = SHA3-256("TLR" || TLR_(n-1) || root_n || n)` (10).
pub fn tlr(previous: &[u8; 32], root: &[u8; 32], epoch: u64) -> [u8; 32] {
    Sha3Tree::digest(&[b"TLR", previous, root, &epoch.to_be_bytes()])
}

/// Weighted sum of E, Q, I, T (7).
pub fn raw_score(metrics: [u64; 4], weights: [u64; 4]) -> u64 {
    let products = metrics.iter().zip(weights).map(|(m, w)| u128::from(*m) * u128::from(w));
    (products.sum::<u128>() / UNIT) as u64
}

/// Scores `epoch` from its records, in any order.
///
/// # Errors
/// A [`PoeiError`] when a record or a parameter is out of bounds; nothing is scored then.
pub fn score_epoch(
    epoch: u64,
    previous_tlr: &[u8; 32],
    records: &[Record],
    params: &Params,
) -> Result<EpochResult, PoeiError> {
    params.check()?;
    let participants = participants(records, params)?;
    let means = Means::of(&participants);
    let mut rows: Vec<Row> =
        participants.iter().map(|record| row(epoch, record, &means, params)).collect();

    let scored: Vec<_> = participants.iter().copied().zip(rows.iter().map(|r| r.score)).collect();
    let offered_pool = reward::pool(params.base_pool, rows.len() as u64)?;
    let rewards = reward::rewards(&scored, offered_pool, params)?;
    for (row, reward) in rows.iter_mut().zip(&rewards) {
        row.reward = *reward;
    }
    let leaves: Vec<[u8; 32]> = rows.iter().map(|row| row.leaf).collect();
    let root = root_of_hashes::<Sha3Tree>(&leaves);
    Ok(EpochResult {
        adaptive_weights: adaptive_weights(&rows, params),
        rows,
        root,
        tlr: tlr(previous_tlr, &root, epoch),
        pool: rewards.iter().sum(),
    })
}

/// The records that take part, in ascending order of node (1); every record is checked.
fn participants<'r>(records: &'r [Record], params: &Params) -> Result<Vec<&'r Record>, PoeiError> {
    if records.len() > MAX_RECORDS {
        return Err(PoeiError::TooManyRecords(records.len()));
    }
    let mut by_node = BTreeMap::new();
    for record in records {
        let node = record.node;
        let previous = record.previous.unwrap_or(0);
        for (metric, value) in [("trust", record.trust), ("previous", previous)] {
            if value > U {
                return Err(PoeiError::AboveOne { node, metric, value });
            }
        }
        let value = record.focus_before.max(record.focus_after);
        if value > FOCUS_WHOLE {
            return Err(PoeiError::FocusAboveWhole { node, value });
        }
        if by_node.insert(node, record).is_some() {
            return Err(PoeiError::DuplicateNode(node));
        }
    }
    Ok(by_node.into_values().filter(|record| record.trust >= params.threshold).collect())
}

struct Means {
    flow: u128,
    gain: u128,
}

impl Means {
    fn of(participants: &[&Record]) -> Self {
        let mean = |count: fn(&Record) -> u64| {
            let sum = participants.iter().map(|record| u128::from(count(record))).sum::<u128>();
            sum.checked_div(participants.len() as u128).unwrap_or(0)
        };
        Self { flow: mean(|record| record.flow), gain: mean(gain) }
    }
}

/// Growth of focus mass (5).
fn gain(record: &Record) -> u64 {
    record.focus_after.saturating_sub(record.focus_before)
}

/// `U x / (x + mean)` (2).
fn share(x: u64, mean: u128) -> u128 {
    if x == 0 { 0 } else { UNIT * u128::from(x) / (u128::from(x) + mean) }
}

/// Efficiency (3): work per offered unit, coupled with the share of flow.
fn efficiency(record: &Record, mean_flow: u128, params: &Params) -> u64 {
    let kappa = u128::from(params.kappa);
    let reference = u128::from(record.offered) * u128::from(params.e_ref);
    let work = (u128::from(record.work) * UNIT * UNIT).checked_div(reference).unwrap_or(0);
    (((UNIT - kappa) * work.min(UNIT) + kappa * share(record.flow, mean_flow)) / UNIT) as u64
}

/// Quality (4): share of checked cost that was right.
fn quality(record: &Record) -> u64 {
    let checked = u128::from(record.ok) + u128::from(record.bad);
    (u128::from(record.ok) * UNIT).checked_div(checked).unwrap_or(0) as u64
}

fn row(epoch: u64, record: &Record, means: &Means, params: &Params) -> Row {
    let e = efficiency(record, means.flow, params);
    let q = quality(record);
    let i = share(gain(record), means.gain) as u64;
    let t = record.trust;
    let raw = raw_score([e, q, i, t], params.weights);
    let memory = u128::from(params.memory);
    let score = record.previous.map_or(raw, |previous| {
        (((UNIT - memory) * u128::from(raw) + memory * u128::from(previous)) / UNIT) as u64
    });
    let message = Message {
        metrics: [e, q, i, t],
        score,
        node: record.node,
        epoch,
        timestamp: record.timestamp,
        attestation: record.attestation,
    }
    .to_bytes();
    let (node, is_parent, leaf) = (record.node, record.is_parent, leaf(&message));
    Row { node, e, q, i, t, raw, score, message, leaf, is_parent, reward: 0 }
}

/// Weights of the next epoch (13); unchanged without participants.
fn adaptive_weights(rows: &[Row], params: &Params) -> [u64; 4] {
    if rows.is_empty() {
        return params.weights;
    }
    let mean = |metric: fn(&Row) -> u64| {
        let sum = rows.iter().map(|row| u128::from(metric(row))).sum::<u128>();
        (sum / rows.len() as u128) as u64
    };
    params.adapted([mean(|row| row.e), mean(|row| row.q), mean(|row| row.i), mean(|row| row.t)])
}
