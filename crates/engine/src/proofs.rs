//! Builds the proof bundles that the light client checks offline.

use std::collections::BTreeSet;

use anthill_ledger::focus::FocusProof;
use anthill_ledger::{Ledger, LedgerError};
use anthill_light::bundle::{ListProof, MAGIC, MAX_ENTRIES, MAX_HANDOVERS};
use anthill_light::{Bundle, Entry, Subject};
use anthill_types::block::ROOT_FOCUS;
use anthill_types::state::{EpochRecord, Payment, PaymentReason, Phase, TaskRecord};
use anthill_types::{Bytes, Handover, Wire, keys};
use thiserror::Error;

/// Most bytes of changes of the validator set in one proof.
const MAX_HANDOVER_BYTES: usize = 4 << 20;
/// Most tasks shown behind one reward.
const MAX_TASKS: usize = MAX_ENTRIES - 8;

/// Why no proof can be built.
#[derive(Debug, Error)]
pub enum ProveError {
    /// The subject is not in the state.
    #[error(
        "{0} does not exist (yet): see `anthill credits` and `anthill epoch` for what there is"
    )]
    Absent(String),
    /// No block was agreed yet.
    #[error("there is no block yet: try again in a moment")]
    NoBlock,
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Builds the proof of a subject against the newest block.
///
/// # Errors
/// The subject does not exist, or the ledger fails.
pub fn build(ledger: &Ledger, subject: &Subject) -> Result<Vec<u8>, ProveError> {
    let (block, certificate) = ledger.block(ledger.height())?.ok_or(ProveError::NoBlock)?;
    let may_be_absent = matches!(subject, Subject::Key(_));
    let first = subject.key();
    let mut others = explaining_keys(ledger, subject)?;
    others.remove(&first);
    let mut entries = Vec::with_capacity(others.len() + 1);
    for key in std::iter::once(first).chain(others) {
        let proof = ledger.prove(&key)?;
        let value = match proof.value {
            None if may_be_absent => Vec::new(),
            value => value.ok_or_else(|| ProveError::Absent(subject.to_string()))?,
        };
        entries.push(Entry {
            key: Bytes(key),
            value: Bytes(value),
            proof: Bytes(proof.proof.to_bytes()),
        });
    }
    let block_height = block.header.height;
    let bundle = Bundle {
        magic: MAGIC.to_string(),
        subject: subject.to_string(),
        genesis: ledger.genesis().clone(),
        header: block.header,
        certificate: Bytes(certificate),
        entries,
        handovers: handovers(ledger, block_height)?,
        lists: lists(ledger, subject)?,
    };
    Ok(bundle.to_bytes())
}

/// For a particle's focus, its leaf below the header's focus root.
fn lists(ledger: &Ledger, subject: &Subject) -> Result<Vec<ListProof>, ProveError> {
    let Subject::Focus(cid) = subject else { return Ok(Vec::new()) };
    let proof = ledger.prove_focus(cid)?;
    let proof = proof.ok_or_else(|| ProveError::Absent(subject.to_string()))?;
    let FocusProof { index, size, leaf, path } = proof;
    Ok(vec![ListProof { root: ROOT_FOCUS, index, size, leaf: Bytes(leaf), path }])
}

/// The changes of the validator set below a height: the newest that fit.
fn handovers(ledger: &Ledger, height: u64) -> Result<Vec<Handover>, ProveError> {
    let mut all = ledger.handovers(0, usize::MAX)?;
    all.retain(|h| h.header.height < height);
    let mut room = MAX_HANDOVER_BYTES;
    let fits = |h: &&Handover| {
        let size = h.to_bytes().len();
        let fits = size <= room;
        room -= size.min(room);
        fits
    };
    let newest = all.iter().rev().take(MAX_HANDOVERS).take_while(fits).count();
    Ok(all.split_off(all.len() - newest))
}

/// The keys that explain a subject: for a payment, what it was paid for; for focus, the graph's size.
fn explaining_keys(ledger: &Ledger, subject: &Subject) -> Result<BTreeSet<Vec<u8>>, ProveError> {
    let number = match subject {
        Subject::Credits(number) => number,
        // The size of the list, which its paths do not bind.
        Subject::Focus(_) => return Ok(BTreeSet::from([keys::graph_totals()])),
        _ => return Ok(BTreeSet::new()),
    };
    let state = ledger.state()?;
    let payment: Option<Payment> = state.get(&keys::payment(*number))?;
    let payment = payment.ok_or_else(|| ProveError::Absent(subject.to_string()))?;
    Ok(match payment.reason {
        PaymentReason::Task { task } => BTreeSet::from([keys::task(&task)]),
        PaymentReason::Slash { task, .. } => BTreeSet::from([keys::task(&task)]),
        PaymentReason::Equivocation { offender, .. } => BTreeSet::from([keys::node(&offender)]),
        PaymentReason::Epoch { epoch } => {
            let record: Option<EpochRecord> = state.get(&keys::epoch(epoch))?;
            let record = record.ok_or_else(|| ProveError::Absent(format!("epoch:{epoch}")))?;
            let mut found = reward_tasks(ledger, &payment, &record)?;
            found.insert(keys::epoch(epoch));
            found
        }
    })
}

/// The tasks that became final in the epoch with the node's own result.
fn reward_tasks(
    ledger: &Ledger,
    payment: &Payment,
    record: &EpochRecord,
) -> Result<BTreeSet<Vec<u8>>, ProveError> {
    let mut found = BTreeSet::new();
    for task in anthill_ledger::state::all_tasks(ledger.store().as_ref())? {
        if found.len() >= MAX_TASKS {
            break;
        }
        if earned_in(&task, payment, record) {
            found.insert(keys::task(&task.id));
        }
    }
    Ok(found)
}

fn earned_in(task: &TaskRecord, payment: &Payment, record: &EpochRecord) -> bool {
    let Phase::Final { result, height } = task.phase else { return false };
    let mine = |r: &anthill_types::state::Replica| {
        r.node == payment.node && !r.failed && r.result == Some(result)
    };
    task.spec.directed.is_none()
        && (record.from_height..record.to_height).contains(&height)
        && task.replicas.iter().any(mine)
}
