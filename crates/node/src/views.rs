//! The state as people and programs read it: plain values for JSON, tables and the dashboard.

use std::sync::Arc;

use anthill_ledger::conservation::Totals;
use anthill_ledger::{LedgerError, State};
use anthill_light::scores::{Scores, decimal};
use anthill_store::Store;
use anthill_types::ids::to_hex;
use anthill_types::state::{
    Account, EpochRecord, NodeRecord, Payment, PaymentReason, Phase, Supply, TaskRecord,
};
use anthill_types::{AccountId, TaskId, Wire, keys};
use serde::{Deserialize, Serialize};

use crate::events::phase_name;
use crate::shared::{FocusStatus, Shared};

/// A node of the network.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct NodeView {
    /// Node key, hexadecimal.
    pub node: String,
    /// Its account.
    pub account: String,
    /// It votes on blocks.
    pub validator: bool,
    /// It is connected to this node (or is this node).
    pub connected: bool,
    /// It is this node.
    pub own: bool,
    /// Credits at stake, rUv.
    pub bond: String,
    /// Credits lost by slashing, rUv.
    pub slashed: String,
    /// Trust at the start of this epoch, decimal.
    pub trust: String,
    /// Resource units that it offers per epoch.
    pub offered: u64,
    /// Final results in this epoch.
    pub tasks: u64,
    /// Results proved wrong in this epoch.
    pub wrong: u64,
    /// Missed deadlines in this epoch.
    pub late: u64,
    /// It draws no work until the next epoch.
    pub resting: bool,
}

/// Where this node stands.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct StatusView {
    /// Version of the program.
    pub version: String,
    /// Name of the network.
    pub chain: String,
    /// Genesis hash.
    pub genesis: String,
    /// This node's key.
    pub node: String,
    /// This node's account.
    pub account: String,
    /// `validator`, `worker` or `observer`.
    pub role: String,
    /// Newest height.
    pub height: u64,
    /// Its time, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// State root.
    pub root: String,
    /// Running epoch.
    pub epoch: u64,
    /// Milliseconds of chain time until it may close (0 when it is due).
    pub epoch_left_ms: u64,
    /// Waiting transactions.
    pub waiting: usize,
    /// Connected peers.
    pub peers: usize,
    /// Virtual nodes.
    pub virtual_nodes: usize,
    /// Tasks that run here.
    pub running: u64,
    /// Tasks done here since the start.
    pub done: u64,
    /// The owner has paused it.
    pub paused: bool,
    /// Share of each virtual node's time, percent.
    pub cpu: u8,
    /// The graph and its focus.
    pub focus: FocusView,
    /// All nodes of the network.
    pub nodes: Vec<NodeView>,
}

/// The graph, and the newest run of its focus.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct FocusView {
    /// Particles.
    pub particles: u64,
    /// Links of all neurons.
    pub links: u64,
    /// Height of the block that ran it; 0 while there is no particle.
    pub height: u64,
    /// Steps.
    pub iterations: u64,
    /// Sum of what the last step changed, of 2^62.
    pub residual: u64,
    /// Estimate of the spectral gap, decimal; none when an earlier process has made the run.
    pub gap: Option<String>,
}

/// An account's money.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct BalanceView {
    /// The account.
    pub account: String,
    /// Spendable, rUv.
    pub balance: String,
    /// In its node's bond, rUv.
    pub bond: String,
    /// It is this node's account.
    pub own: bool,
}

/// The bank as a whole.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct CreditsView {
    /// Minted so far, rUv.
    pub minted: String,
    /// Burned so far, rUv.
    pub burned: String,
    /// Held in balances, bonds and escrow, rUv; held + burned = minted.
    pub held: String,
    /// Number of payments made.
    pub payments: u64,
    /// The balances.
    pub accounts: Vec<BalanceView>,
    /// The newest payments, newest first.
    pub newest: Vec<PaymentView>,
}

/// A payment.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct PaymentView {
    /// Its number.
    pub number: u64,
    /// The receiving account.
    pub account: String,
    /// The node that earned it.
    pub node: String,
    /// How much, rUv.
    pub amount: String,
    /// How much of it went into the bond, rUv.
    pub bonded: String,
    /// Height of its block.
    pub height: u64,
    /// `task`, `epoch` or `slash`.
    pub reason: String,
    /// The task, for `task` and `slash`.
    pub task: Option<String>,
    /// The epoch, for `epoch`.
    pub epoch: Option<u64>,
    /// Who lost it, for `slash`.
    pub offender: Option<String>,
}

/// One participant of an epoch.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct EpochRowView {
    /// The node.
    pub node: String,
    /// Final results of drawn tasks.
    pub tasks: u64,
    /// Their reference cost.
    pub work: u64,
    /// Units that it offered.
    pub offered: u64,
    /// Efficiency, decimal.
    pub e: String,
    /// Quality, decimal.
    pub q: String,
    /// Impact, decimal: growth of the focus of the particles that its account has brought in.
    pub i: String,
    /// Trust, decimal.
    pub t: String,
    /// Smoothed score, decimal.
    pub score: String,
    /// Reward, rUv.
    pub reward: String,
    /// Number of the payment.
    pub payment: Option<u64>,
    /// Leaf hash, hexadecimal.
    pub leaf: String,
    /// Credits slashed so far, rUv.
    pub slashed: String,
}

/// A closed epoch.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct EpochView {
    /// Its number.
    pub epoch: u64,
    /// Chain time of its end, seconds.
    pub timestamp: u64,
    /// What was shared out, rUv.
    pub pool: String,
    /// Root over the leaves.
    pub root: String,
    /// TLR after it.
    pub tlr: String,
    /// Its first block.
    pub from_height: u64,
    /// The block that closed it.
    pub to_height: u64,
    /// The participants.
    pub rows: Vec<EpochRowView>,
    /// What is not measured yet and counts as 0.
    pub absent: Vec<String>,
}

/// A replica's part in a task.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct ReplicaView {
    /// The node.
    pub node: String,
    /// Its output, once revealed.
    pub output: Option<String>,
    /// It was late or wrong.
    pub failed: bool,
}

/// A task.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct TaskView {
    /// Its id.
    pub id: String,
    /// Who pays.
    pub submitter: String,
    /// Where it stands.
    pub phase: String,
    /// Height of its submission.
    pub submitted_at: u64,
    /// Its workers.
    pub replicas: Vec<ReplicaView>,
    /// Its output, once accepted.
    pub output: Option<String>,
    /// Reference cost, once accepted.
    pub cost: Option<u64>,
}

/// Status of this node and the network.
///
/// # Errors
/// The store fails.
pub fn status(shared: &Shared) -> Result<StatusView, LedgerError> {
    let state = shared.state()?;
    let chain = shared.status();
    let work = shared.fleet.stats();
    let own = shared.keys.node_key();
    let connected = shared.connected();
    let validators = state.validators()?;
    let view = |n: &NodeRecord| NodeView {
        node: n.node.to_string(),
        account: n.account.to_string(),
        validator: validators.validators.iter().any(|v| v.key == n.validator),
        connected: n.node == own || connected.contains(&n.node.0),
        own: n.node == own,
        bond: n.bond.to_string(),
        slashed: n.slashed.to_string(),
        trust: decimal(n.trust),
        offered: n.offered,
        tasks: n.counts.tasks,
        wrong: n.counts.bad_n,
        late: n.counts.late_n,
        resting: n.rests_until > chain.epoch,
    };
    let nodes: Vec<NodeView> = state.nodes()?.iter().map(view).collect();
    // A restored folder has another validator key than the set knows.
    let vote = shared.keys.validator_key();
    let votes = validators.validators.iter().any(|v| v.key == vote);
    let role = match nodes.iter().find(|n| n.own) {
        Some(_) if votes => "validator",
        Some(_) => "worker",
        None => "observer",
    };
    let ends = state.chain().epoch_start_ms + state.params()?.epoch_ms;
    Ok(StatusView {
        version: env!("CARGO_PKG_VERSION").to_string(),
        chain: shared.genesis.name.clone(),
        genesis: shared.genesis_hash.to_string(),
        node: own.to_string(),
        account: shared.keys.account_id().to_string(),
        role: role.to_string(),
        height: chain.height,
        time_ms: chain.time_ms,
        root: chain.root.to_string(),
        epoch: chain.epoch,
        epoch_left_ms: ends.saturating_sub(crate::driver::now_ms()),
        waiting: chain.waiting,
        peers: connected.len(),
        virtual_nodes: work.virtual_nodes,
        running: work.running,
        done: work.done,
        paused: shared.fleet.limits().is_paused(),
        cpu: shared.fleet.limits().cpu(),
        focus: focus_view(&chain.focus),
        nodes,
    })
}

fn focus_view(focus: &FocusStatus) -> FocusView {
    let FocusStatus { particles, links, height, iterations, residual, gap } = *focus;
    FocusView { particles, links, height, iterations, residual, gap: gap.map(decimal) }
}

/// A header of the chain with its certificate.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct HeaderView {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: String,
    /// The state root after its block.
    pub root: String,
    /// Its time, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The validator that proposed it.
    pub proposer: String,
    /// Transactions in its block.
    pub transactions: usize,
    /// Its canonical bytes, hexadecimal.
    pub header: String,
    /// The certificate's canonical bytes, hexadecimal: who signed it.
    pub certificate: String,
}

/// A header by height.
///
/// # Errors
/// The store fails.
pub fn header(store: &dyn Store, height: u64) -> Result<Option<HeaderView>, LedgerError> {
    let found = anthill_ledger::chain::stored_block(store, height)?;
    Ok(found.map(|(block, certificate)| HeaderView {
        height: block.header.height,
        hash: block.header.hash().to_string(),
        root: block.header.state_root.to_string(),
        time_ms: block.header.time_ms,
        proposer: block.header.proposer.to_string(),
        transactions: block.transactions.len(),
        header: to_hex(&block.header.to_bytes()),
        certificate: to_hex(&certificate),
    }))
}

/// The bank as of one block: all of it but the payments.
pub struct Bank {
    height: u64,
    totals: Totals,
    payments: u64,
    accounts: Vec<BalanceView>,
}

/// The bank as of the newest block: the given one, when that is of this block.
///
/// # Errors
/// The store fails, or the bank does not add up.
pub fn bank(shared: &Shared, kept: Option<Arc<Bank>>) -> Result<Arc<Bank>, LedgerError> {
    // All of one block: another may be committed while this is read.
    let frozen = shared.store.frozen()?;
    let state = State::open(frozen.as_ref())?;
    let height = state.chain().height;
    if let Some(bank) = kept.filter(|b| b.height == height) {
        return Ok(bank);
    }
    let totals = anthill_ledger::conservation::audit(frozen.as_ref())?;
    let supply: Supply = state.get(&keys::supply())?.unwrap_or_default();
    let own = shared.keys.account_id();
    let prefix = keys::ACCOUNTS.as_bytes();
    let mut accounts = Vec::new();
    for (key, value) in frozen.prefix(prefix, 10_000)? {
        let id = key.get(prefix.len()..).and_then(|k| k.try_into().ok()).map(AccountId);
        let Some(id) = id else { continue };
        let account = Account::from_bytes(&value)?;
        let bond = state.node_of_account(&id)?.map(|n| n.bond).unwrap_or_default();
        accounts.push(BalanceView {
            account: id.to_string(),
            balance: account.balance.to_string(),
            bond: bond.to_string(),
            own: id == own,
        });
    }
    Ok(Arc::new(Bank { height, totals, payments: supply.payments, accounts }))
}

/// The bank with its newest payments.
///
/// # Errors
/// The store fails.
pub fn credits(shared: &Shared, bank: &Bank, newest: u64) -> Result<CreditsView, LedgerError> {
    // Payments never change, so a block committed meanwhile does no harm.
    let state = shared.state()?;
    let mut payments = Vec::new();
    for number in (bank.payments.saturating_sub(newest)..bank.payments).rev() {
        payments.extend(payment(&state, number)?);
    }
    Ok(CreditsView {
        minted: bank.totals.minted.to_string(),
        burned: bank.totals.burned.to_string(),
        held: bank.totals.held.to_string(),
        payments: bank.payments,
        accounts: bank.accounts.clone(),
        newest: payments,
    })
}

/// A payment by number.
///
/// # Errors
/// The store fails.
pub fn payment(state: &State<'_>, number: u64) -> Result<Option<PaymentView>, LedgerError> {
    let payment: Option<Payment> = state.get(&keys::payment(number))?;
    Ok(payment.map(|p| {
        let (reason, task, epoch, offender) = match p.reason {
            PaymentReason::Task { task } => ("task", Some(task), None, None),
            PaymentReason::Epoch { epoch } => ("epoch", None, Some(epoch), None),
            PaymentReason::Slash { task, offender } => ("slash", Some(task), None, Some(offender)),
            PaymentReason::Equivocation { offender, .. } => {
                ("equivocation", None, None, Some(offender))
            }
        };
        PaymentView {
            number: p.number,
            account: p.account.to_string(),
            node: p.node.to_string(),
            amount: p.amount.to_string(),
            bonded: p.bonded.to_string(),
            height: p.height,
            reason: reason.to_string(),
            task: task.map(|t| t.to_string()),
            epoch,
            offender: offender.map(|o| o.to_string()),
        }
    }))
}

/// A closed epoch by number.
///
/// # Errors
/// The store fails.
pub fn epoch(state: &State<'_>, number: u64) -> Result<Option<EpochView>, LedgerError> {
    let record: Option<EpochRecord> = state.get(&keys::epoch(number))?;
    Ok(record.map(|r| EpochView {
        epoch: r.epoch,
        timestamp: r.timestamp,
        pool: r.pool.to_string(),
        root: r.root.to_string(),
        tlr: r.tlr.to_string(),
        from_height: r.from_height,
        to_height: r.to_height,
        rows: r.rows.iter().map(epoch_row).collect(),
        absent: vec!["flow is 0 until Proof of Flow measures it".to_string()],
    }))
}

fn epoch_row(row: &anthill_types::state::EpochRow) -> EpochRowView {
    let metrics = Scores::read(&row.message.0).unwrap_or_default();
    EpochRowView {
        node: row.node.to_string(),
        tasks: row.tasks,
        work: row.work,
        offered: row.offered,
        e: decimal(metrics.e),
        q: decimal(metrics.q),
        i: decimal(metrics.i),
        t: decimal(metrics.t),
        score: decimal(metrics.score),
        reward: row.reward.to_string(),
        payment: row.payment,
        leaf: anthill_types::ids::to_hex(&anthill_types::hash::sha3(&[&[0], &row.message.0])),
        slashed: row.slashed.to_string(),
    }
}

/// A task by id.
///
/// # Errors
/// The store fails.
pub fn task(state: &State<'_>, id: &TaskId) -> Result<Option<TaskView>, LedgerError> {
    Ok(state.task(id)?.map(|t| task_view(&t)))
}

/// A task's view.
pub fn task_view(task: &TaskRecord) -> TaskView {
    let result = match &task.phase {
        Phase::Provisional { result, .. } | Phase::Final { result, .. } => Some(*result),
        _ => None,
    };
    let replica = |r: &anthill_types::state::Replica| ReplicaView {
        node: r.node.to_string(),
        output: r.result.map(|x| x.output.to_string()),
        failed: r.failed,
    };
    TaskView {
        id: task.id.to_string(),
        submitter: task.submitter.to_string(),
        phase: phase_name(&task.phase).to_string(),
        submitted_at: task.submitted_at,
        replicas: task.replicas.iter().map(replica).collect(),
        output: result.map(|r| r.output.to_string()),
        cost: result.map(|r| r.cost),
    }
}
