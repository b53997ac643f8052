//! The end of an epoch: records from settled state, scores, rewards, trust.

use std::collections::BTreeSet;

use anthill_poei::{Attestation, Outcome, Params, PoeiError, Record, Trust, score_epoch};
use anthill_store::Store;
use anthill_types::state::{EpochCounts, EpochRecord, EpochRow, NodeRecord, PaymentReason};
use anthill_types::{Amount, Bytes, ChainParams, Digest, NodeKey, keys};

use crate::error::LedgerError;
use crate::focus::impact::{self, Impact};
use crate::focus::stakes;
use crate::state::State;
use crate::validators;
use crate::{bank, governance};

/// Closes the running epoch when its time is over, and begins the next.
///
/// `store` is the committed state, before the block that is being executed.
pub fn close_if_due(state: &mut State<'_>, store: &dyn Store) -> Result<(), LedgerError> {
    let chain = state.chain().clone();
    let params = state.params()?;
    if chain.time_ms < chain.epoch_start_ms.saturating_add(params.epoch_ms) {
        return Ok(());
    }
    let record = close(state, &params, &impact::by_account(store)?)?;
    let mut next = state.chain().clone();
    next.tlr = record.tlr;
    next.epoch += 1;
    next.epoch_start_ms = chain.time_ms;
    next.epoch_start_height = chain.height;
    state.set_chain(next)?;
    governance::begin_epoch(state)?;
    stakes::write(state)
}

/// The nodes under which another node had a result that counts in this epoch.
fn parents(nodes: &[NodeRecord]) -> BTreeSet<NodeKey> {
    let worked = |n: &&NodeRecord| n.counts.tasks > 0 || n.counts.ok_n > 0;
    nodes.iter().filter(worked).filter_map(|n| n.parent).collect()
}

/// The epoch's input record of a node (`docs/spec/poei.md`). Flow is 0 until Proof of Flow measures
/// it.
fn record(
    node: &NodeRecord,
    parents: &BTreeSet<NodeKey>,
    impact: &Impact,
    timestamp: u64,
) -> Record {
    Record {
        node: node.node.0,
        work: node.counts.work,
        offered: node.counts.offered,
        flow: 0,
        ok: node.counts.ok,
        bad: node.counts.bad,
        focus_before: node.focus,
        focus_after: impact.get(&node.account).copied().unwrap_or(0),
        trust: node.trust,
        is_parent: parents.contains(&node.node),
        attestation: [0; 32],
        previous: node.previous_score,
        timestamp,
    }
}

fn poei_params(params: &ChainParams) -> Params {
    Params {
        e_ref: params.e_ref,
        kappa: params.kappa,
        weights: [params.weight_e, params.weight_q, params.weight_i, params.weight_t],
        threshold: params.trust_threshold,
        memory: params.score_memory,
        parent_ratio: params.parent_ratio,
        base_pool: params.base_pool.0,
    }
}

/// What the participants' rows would be if the running epoch ended with this state: E, Q, I, T and
/// the score so far. Nothing of it counts before the epoch is closed.
///
/// # Errors
/// The state cannot be read or scored.
pub fn provisional(
    state: &State<'_>,
    store: &dyn Store,
) -> Result<Vec<anthill_poei::Row>, LedgerError> {
    let (chain, params, nodes) = (state.chain(), state.params()?, state.nodes()?);
    let (parents, impact) = (parents(&nodes), impact::by_account(store)?);
    let records: Vec<Record> =
        nodes.iter().map(|n| record(n, &parents, &impact, chain.time_ms / 1000)).collect();
    let scored = score_epoch(chain.epoch, &chain.tlr.0, &records, &poei_params(&params));
    let failed = |e: PoeiError| LedgerError::Epoch { epoch: chain.epoch, reason: e.to_string() };
    Ok(scored.map_err(failed)?.rows)
}

fn close(
    state: &mut State<'_>,
    params: &ChainParams,
    impact: &Impact,
) -> Result<EpochRecord, LedgerError> {
    let chain = state.chain().clone();
    let mut nodes = state.nodes()?;
    let timestamp = chain.time_ms / 1000;
    let parents = parents(&nodes);
    let records: Vec<Record> =
        nodes.iter().map(|n| record(n, &parents, impact, timestamp)).collect();
    let scored = score_epoch(chain.epoch, &chain.tlr.0, &records, &poei_params(params));
    let scored =
        scored.map_err(|e| LedgerError::Epoch { epoch: chain.epoch, reason: e.to_string() })?;

    let mut minted = Amount::ZERO;
    let mut rows = Vec::with_capacity(scored.rows.len());
    for node in &mut nodes {
        let row = scored.rows.iter().find(|r| r.node == node.node.0);
        let reward = Amount(row.map_or(0, |r| r.reward));
        let mut payment = None;
        if reward > Amount::ZERO {
            minted = minted.checked_add(reward).ok_or(LedgerError::Overflow("pool"))?;
            let reason = PaymentReason::Epoch { epoch: chain.epoch };
            let paid = if anthill_types::planted!(RoundRewardUp) {
                Amount(reward.0.next_multiple_of(10))
            } else {
                reward
            };
            payment = Some(bank::pay(state, node, paid, reason)?);
        }
        if let Some(row) = row {
            rows.push(EpochRow {
                node: NodeKey(row.node),
                tasks: node.counts.tasks,
                work: node.counts.work,
                offered: node.counts.offered,
                message: Bytes(row.message.clone()),
                reward,
                payment,
                slashed: node.slashed,
            });
        }
        node.focus = impact.get(&node.account).copied().unwrap_or(0);
        begin_epoch(node, row.map(|r| r.score), chain.epoch)?;
        state.put_node(node)?;
    }
    bank::mint(state, minted)?;
    validators::elect(state, &mut nodes)?;
    if params.adaptive_weights == 1 {
        adapt(state, params, scored.adaptive_weights)?;
    }
    let record = EpochRecord {
        epoch: chain.epoch,
        timestamp,
        root: Digest(scored.root),
        previous_tlr: chain.tlr,
        tlr: Digest(scored.tlr),
        pool: minted,
        from_height: chain.epoch_start_height,
        to_height: chain.height,
        rows,
    };
    state.put(keys::epoch(chain.epoch), &record)?;
    Ok(record)
}

/// Sets the weights of the next epoch by the bounded adaptive rule (`docs/spec/poei.md` 13).
fn adapt(
    state: &mut State<'_>,
    params: &ChainParams,
    [weight_e, weight_q, weight_i, weight_t]: [u64; 4],
) -> Result<(), LedgerError> {
    let next = ChainParams { weight_e, weight_q, weight_i, weight_t, ..params.clone() };
    state.put(keys::params(), &next)
}

/// Moves a node's trust on by what the epoch counted, and empties the counts.
fn begin_epoch(node: &mut NodeRecord, score: Option<u64>, epoch: u64) -> Result<(), LedgerError> {
    let counts = std::mem::take(&mut node.counts);
    let failed = |e: PoeiError| LedgerError::Epoch { epoch, reason: e.to_string() };
    let before = Trust { a: u128::from(node.trust_a), b: u128::from(node.trust_b) };
    let outcome = Outcome { ok: counts.ok_n, bad: counts.bad_n, late: counts.late_n };
    let trust = before.after(outcome).map_err(failed)?;
    let small = |x: u128| u64::try_from(x).map_err(|_| LedgerError::Overflow("trust count"));
    (node.trust_a, node.trust_b) = (small(trust.a)?, small(trust.b)?);
    node.trust = trust.value(Attestation::SelfSigned).map_err(failed)?;
    node.previous_score = score;
    node.active_epochs += u64::from(counts.tasks > 0);
    node.counts = EpochCounts { offered: node.offered, ..EpochCounts::default() };
    Ok(())
}
