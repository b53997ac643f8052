//! From a bundle to statements: every one follows from the signed state root alone.

use std::collections::BTreeMap;

use anthill_consensus::certificate::{Certificate, CertificateError};
use anthill_merkle::rfc9162::{self, Sha3Tree};
use anthill_merkle::smt::{Proof, ProofError};
use anthill_types::hash::sha3;
use anthill_types::ids::to_hex;
use anthill_types::state::{
    Account, EpochRecord, NodeRecord, Payment, PaymentReason, Phase, Replica, TaskRecord,
};
use anthill_types::{
    Amount, Checkpoint, DecodeError, GenesisHash, Header, NodeKey, TaskId, Wire, keys,
};
use thiserror::Error;

use crate::bundle::{Bundle, ListProof, MAGIC, MAX_ENTRIES, MAX_HANDOVERS, Subject, SubjectError};
use crate::focus::state_focus;
use crate::header::{HeaderChain, HeaderError};
use crate::scores::{Scores, decimal};

/// Why a proof is refused.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The file is not a canonical bundle.
    #[error("not a proof file: {0}")]
    Decode(#[from] DecodeError),
    /// It begins with other words than a bundle.
    #[error("not a proof file of this version: it begins with {0:?}, not {MAGIC:?}")]
    Magic(String),
    /// The subject is no subject.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// The certificate does not decode.
    #[error("the certificate is damaged: {0}")]
    Certificate(#[from] CertificateError),
    /// The header is not signed as it must be.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// An entry's path does not lead to the state root.
    #[error("entry {index}: {error}")]
    Entry {
        /// Its place.
        index: usize,
        /// What is wrong with the path.
        error: ProofError,
    },
    /// The path of a list does not lead to the header's root.
    #[error("the path of a particle's focus: {0}")]
    List(rfc9162::ProofError),
    /// Too many entries, not in order, or one too many.
    #[error("the entries are not those that {0} needs, in order")]
    Entries(String),
    /// The chain is not the one that was asked for.
    #[error("the proof is for chain {found}, not {expected}")]
    OtherChain {
        /// The bundle's chain.
        found: GenesisHash,
        /// The pinned chain.
        expected: GenesisHash,
    },
    /// The entries contradict one another.
    #[error("the proof does not add up: {0}")]
    Contradiction(&'static str),
}

/// One proved sentence with its place in the chain of reasons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// `block`, `payment`, `epoch`, `score`, `leaf`, `task`, `receipt`, `cancel`, `slash`, `account`, `node`,
    /// `focus`, `particle` or `key`.
    pub kind: &'static str,
    /// The sentence.
    pub text: String,
}

/// What a bundle proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The chain's name.
    pub genesis: GenesisHash,
    /// Its name for people.
    pub chain: String,
    /// The subject.
    pub subject: Subject,
    /// Height of the signed header.
    pub height: u64,
    /// Its time, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Its state root, hexadecimal.
    pub state_root: String,
    /// Validators that signed, and all of them.
    pub signers: (usize, usize),
    /// What is proved, from the payment down to the block.
    pub statements: Vec<Statement>,
}

/// Proved entries that no statement has used yet, and the statements so far.
pub(crate) struct Facts<'b> {
    /// Proved entries.
    pub entries: BTreeMap<&'b [u8], &'b [u8]>,
    /// Lists that no statement has used yet.
    pub lists: Vec<&'b ListProof>,
    /// The header that they are checked against.
    pub header: &'b Header,
    /// What was said so far.
    pub statements: Vec<Statement>,
}

impl<'b> Facts<'b> {
    /// Takes an entry's value, which no other statement may use.
    pub fn get<T: Wire>(&mut self, key: &[u8], what: &'static str) -> Result<T, VerifyError> {
        let value = self.entries.remove(key).ok_or(VerifyError::Contradiction(what))?;
        Ok(T::from_bytes(value)?)
    }

    /// Adds a sentence.
    pub fn say(&mut self, kind: &'static str, text: String) {
        self.statements.push(Statement { kind, text });
    }
}

/// Checks a bundle's bytes; `pin` is the genesis hash that the reader trusts, if he has one.
///
/// # Errors
/// [`VerifyError`]: any altered byte is one.
pub fn verify(bytes: &[u8], pin: Option<&GenesisHash>) -> Result<Verified, VerifyError> {
    verify_from(bytes, pin, None)
}

/// As [`verify`], but believes the validators of a checkpoint instead of those of the genesis; what
/// the bundle says of the time before it is not looked at.
///
/// # Errors
/// [`VerifyError`]; also when the bundle's header is older than the checkpoint.
pub fn verify_from(
    bytes: &[u8],
    pin: Option<&GenesisHash>,
    checkpoint: Option<&Checkpoint>,
) -> Result<Verified, VerifyError> {
    let bundle = Bundle::from_bytes(bytes)?;
    if bundle.magic != MAGIC {
        return Err(VerifyError::Magic(bundle.magic.chars().take(40).collect()));
    }
    let subject: Subject = bundle.subject.parse()?;
    let genesis = bundle.genesis.hash();
    if let Some(expected) = pin.filter(|p| **p != genesis) {
        return Err(VerifyError::OtherChain { found: genesis, expected: *expected });
    }
    // Signatures cost the most, so they come last; nothing is returned before they are checked.
    let mut facts = check_entries(&bundle, &subject)?;
    state_subject(&mut facts, &subject)?;
    if !facts.entries.is_empty() || !facts.lists.is_empty() {
        return Err(VerifyError::Entries(bundle.subject));
    }
    let signers = check_header(&bundle, genesis, checkpoint)?;
    let header = &bundle.header;
    let root = header.state_root.to_string();
    let (signed, all) = signers;
    facts.say(
        "block",
        format!(
            "block {} with state root {root} is signed by {signed} of {all} validators",
            header.height
        ),
    );
    Ok(Verified {
        genesis,
        chain: bundle.genesis.name.clone(),
        subject,
        height: header.height,
        time_ms: header.time_ms,
        state_root: root,
        signers,
        statements: facts.statements,
    })
}

/// Follows the validators from the genesis, or the checkpoint, to the header.
fn check_header(
    bundle: &Bundle,
    genesis: GenesisHash,
    checkpoint: Option<&Checkpoint>,
) -> Result<(usize, usize), VerifyError> {
    let mut chain = match checkpoint {
        Some(from) if from.genesis != genesis => {
            return Err(VerifyError::OtherChain { found: genesis, expected: from.genesis });
        }
        Some(from) => HeaderChain::from_checkpoint(from.clone())?,
        None => HeaderChain::new(genesis, bundle.genesis.validator_set()),
    };
    if bundle.handovers.len() > MAX_HANDOVERS {
        return Err(VerifyError::Entries(bundle.subject.clone()));
    }
    let begin = chain.height();
    for handover in bundle.handovers.iter().filter(|h| h.header.height > begin) {
        chain.follow(handover.clone())?;
    }
    let certificate = Certificate::from_bytes(&bundle.certificate.0)?;
    chain.advance(bundle.header.clone(), &certificate)?;
    Ok((certificate.signatures.len(), chain.validators().validators.len()))
}

fn check_entries<'b>(bundle: &'b Bundle, subject: &Subject) -> Result<Facts<'b>, VerifyError> {
    let wrong = || VerifyError::Entries(bundle.subject.clone());
    let subject_leads = bundle.entries.first().is_some_and(|e| e.key.0 == subject.key());
    let keys_rise = bundle.entries.iter().skip(1).map(|e| &e.key).is_sorted_by(|a, b| a < b);
    if bundle.entries.len() > MAX_ENTRIES || !subject_leads || !keys_rise {
        return Err(wrong());
    }
    let mut entries = BTreeMap::new();
    for (index, entry) in bundle.entries.iter().enumerate() {
        let at = |error| VerifyError::Entry { index, error };
        let proof = Proof::from_bytes(&entry.proof.0).map_err(at)?;
        let root = &bundle.header.state_root.0;
        if !anthill_types::planted!(SkipProofPath) {
            let value = Some(entry.value.0.as_slice()).filter(|v| !v.is_empty());
            proof.verify(root, &entry.key.0, value).map_err(at)?;
        }
        if entries.insert(entry.key.0.as_slice(), entry.value.0.as_slice()).is_some() {
            return Err(wrong());
        }
    }
    let lists = bundle.lists.iter().collect();
    Ok(Facts { entries, lists, header: &bundle.header, statements: Vec::new() })
}

fn state_subject(facts: &mut Facts<'_>, subject: &Subject) -> Result<(), VerifyError> {
    match subject {
        Subject::Credits(number) => state_payment(facts, *number),
        Subject::Epoch(number) => state_epoch(facts, *number).map(|_| ()),
        Subject::Task(id) => state_task(facts, id).map(|_| ()),
        Subject::Focus(cid) => state_focus(facts, cid),
        Subject::Key(key) => {
            let value = facts.entries.remove(key.as_slice());
            let value = value.ok_or(VerifyError::Contradiction("the key is missing"))?;
            let (key, value) = (to_hex(key), to_hex(value));
            facts.say(
                "key",
                if value.is_empty() {
                    format!("key {key} is not in the state")
                } else {
                    format!("key {key} has the value {value}")
                },
            );
            Ok(())
        }
        Subject::Account(id) => {
            let account: Account = facts.get(&keys::account(id), "the account is missing")?;
            facts.say("account", format!("account {id} has {} rUv", account.balance));
            Ok(())
        }
        Subject::Node(key) => {
            let node: NodeRecord = facts.get(&keys::node(key), "the node is missing")?;
            if node.node != *key {
                return Err(VerifyError::Contradiction("the node has another key"));
            }
            let text = format!(
                "node {key} of account {} has {} rUv at stake, lost {} by slashing, trust {}",
                node.account.short(),
                node.bond,
                node.slashed,
                decimal(node.trust)
            );
            facts.say("node", text);
            Ok(())
        }
    }
}

fn state_payment(facts: &mut Facts<'_>, number: u64) -> Result<(), VerifyError> {
    let payment: Payment = facts.get(&keys::payment(number), "the payment is missing")?;
    if payment.number != number {
        return Err(VerifyError::Contradiction("the payment has another number"));
    }
    let text = format!(
        "payment {number}: {} rUv to account {} for node {} in block {} ({} rUv of it into the bond)",
        payment.amount,
        payment.account.short(),
        payment.node.short(),
        payment.height,
        payment.bonded
    );
    facts.say("payment", text);
    match payment.reason {
        PaymentReason::Epoch { epoch } => state_reward(facts, &payment, epoch),
        PaymentReason::Task { task } => state_wage(facts, &payment, &task),
        PaymentReason::Slash { task, offender } => state_slash(facts, &task, &offender),
        PaymentReason::Equivocation { height, offender } => {
            let node: NodeRecord = facts.get(&keys::node(&offender), "the offender is missing")?;
            if node.slashed < payment.amount {
                return Err(VerifyError::Contradiction("the offender has not lost so much"));
            }
            let offender = offender.short();
            let text = format!(
                "validator node {offender} signed two votes at height {height} that exclude each \
                 other; half of what it lost goes to who showed them"
            );
            facts.say("slash", text);
            Ok(())
        }
    }
}

fn state_reward(facts: &mut Facts<'_>, payment: &Payment, epoch: u64) -> Result<(), VerifyError> {
    let record = state_epoch(facts, epoch)?;
    let row = record.rows.iter().find(|r| r.node == payment.node);
    let row = row.ok_or(VerifyError::Contradiction("the node has no leaf in the epoch"))?;
    if row.payment != Some(payment.number) || row.reward != payment.amount {
        return Err(VerifyError::Contradiction("the epoch's reward is another"));
    }
    let scores = Scores::read(&row.message.0);
    let scores = scores.ok_or(VerifyError::Contradiction("the leaf's message is not readable"))?;
    facts.say(
        "score",
        format!(
            "E {} Q {} I {} T {} give node {} the score {}",
            decimal(scores.e),
            decimal(scores.q),
            decimal(scores.i),
            decimal(scores.t),
            payment.node.short(),
            decimal(scores.score)
        ),
    );
    let leaf = sha3(&[&[0], &row.message.0]);
    let text = format!(
        "leaf {}: node {} earned {} of the pool's {} rUv",
        anthill_types::ids::to_hex(&leaf),
        payment.node.short(),
        row.reward,
        record.pool
    );
    facts.say("leaf", text);
    state_work(facts, payment, &record, row.tasks, row.work)
}

/// The tasks behind a reward: each became final in the epoch with the node's own result.
fn state_work(
    facts: &mut Facts<'_>,
    payment: &Payment,
    record: &EpochRecord,
    tasks: u64,
    work: u64,
) -> Result<(), VerifyError> {
    let prefix = keys::TASKS.as_bytes();
    let ids: Vec<TaskId> = facts
        .entries
        .keys()
        .filter_map(|k| k.strip_prefix(prefix)?.try_into().ok().map(TaskId))
        .collect();
    let mut sum = 0u64;
    for id in &ids {
        let task: TaskRecord = facts.get(&keys::task(id), "a task is missing")?;
        let Phase::Final { result, height } = task.phase else {
            return Err(VerifyError::Contradiction("a task of the reward is not final"));
        };
        let right = |r: &Replica| r.node == payment.node && !r.failed && r.result == Some(result);
        let in_epoch = (record.from_height..record.to_height).contains(&height);
        let drawn = task.spec.directed.is_none();
        if task.id != *id || !drawn || !in_epoch || !task.replicas.iter().any(right) {
            return Err(VerifyError::Contradiction("a task does not belong to the reward"));
        }
        sum = sum.saturating_add(result.cost);
        let text = format!(
            "task {}: output {} at cost {}, final in block {height}",
            id.short(),
            result.output,
            result.cost
        );
        facts.say("task", text);
    }
    let shown = ids.len() as u64;
    if shown > tasks || sum > work || (shown == tasks && sum != work) {
        return Err(VerifyError::Contradiction("the tasks' costs are not the work of the leaf"));
    }
    let text = format!("{shown} of the {tasks} tasks behind {work} units of work are shown");
    facts.say("receipt", text);
    Ok(())
}

/// What the offender answered, when it was a replica; else it was drawn to re-execute the task.
fn state_slash(
    facts: &mut Facts<'_>,
    task: &TaskId,
    offender: &NodeKey,
) -> Result<(), VerifyError> {
    let record = state_task(facts, task)?;
    let mut wrong = record.replicas.iter().filter(|r| r.node == *offender && r.failed);
    let how = match wrong.find_map(|r| r.result) {
        Some(result) => format!("its answer {} was proved wrong", result.output),
        None => "it signed a wrong answer when the task was run again".to_string(),
    };
    let (offender, task) = (offender.short(), task.short());
    let text = format!("node {offender} lost bond over task {task}: {how}; half is shared out");
    facts.say("slash", text);
    Ok(())
}

fn state_wage(facts: &mut Facts<'_>, payment: &Payment, id: &TaskId) -> Result<(), VerifyError> {
    let task = state_task(facts, id)?;
    if let Phase::Cancelled { height } = task.phase {
        return state_compensation(facts, payment, &task, height);
    }
    let Phase::Final { result, height } = task.phase else {
        return Err(VerifyError::Contradiction("the paid task is not final"));
    };
    let mine = |r: &&Replica| r.node == payment.node && !r.failed;
    let replica = task.replicas.iter().find(mine);
    let replica = replica.ok_or(VerifyError::Contradiction("the node did not work on the task"))?;
    if replica.result != Some(result) || height != payment.height {
        return Err(VerifyError::Contradiction("the node's receipt is not the final result"));
    }
    if task.terms.worker_pay(result.cost) != payment.amount {
        return Err(VerifyError::Contradiction("the payment is not the price of the task"));
    }
    let text = format!(
        "receipt: node {} computed {} at cost {}, and is paid {} of {} rUv",
        payment.node.short(),
        result.output,
        result.cost,
        payment.amount,
        task.terms.price(result.cost)
    );
    facts.say("receipt", text);
    Ok(())
}

/// What a worker got for a task that was taken back after it was drawn.
fn state_compensation(
    facts: &mut Facts<'_>,
    payment: &Payment,
    task: &TaskRecord,
    height: u64,
) -> Result<(), VerifyError> {
    if !task.replicas.iter().any(|r| r.node == payment.node && !r.failed) {
        return Err(VerifyError::Contradiction("the node was not drawn for the task"));
    }
    let limit = task.spec.cost_limit;
    if height != payment.height || task.terms.cancel_pay(limit) != payment.amount {
        return Err(VerifyError::Contradiction("the payment is not half the price of the task"));
    }
    let text = format!(
        "the submitter took the task back in block {height}: node {} had been drawn, and is paid {} \
         of {} rUv, half the price of the cost limit {limit}",
        payment.node.short(),
        payment.amount,
        task.terms.cancel_price(limit)
    );
    facts.say("cancel", text);
    Ok(())
}

fn state_task(facts: &mut Facts<'_>, id: &TaskId) -> Result<TaskRecord, VerifyError> {
    let task: TaskRecord = facts.get(&keys::task(id), "the task is missing")?;
    if task.id != *id {
        return Err(VerifyError::Contradiction("the task has another id"));
    }
    let phase = match &task.phase {
        Phase::Final { result, height } => {
            format!("final in block {height} with output {}", result.output)
        }
        Phase::Provisional { result, .. } => format!("provisional with output {}", result.output),
        Phase::Refunded { height } => format!("refunded in block {height}"),
        Phase::Cancelled { height } => format!("cancelled by its submitter in block {height}"),
        Phase::Doubted { .. } => "being re-executed".to_string(),
        Phase::Queued { .. } | Phase::Assigned { .. } => "under way".to_string(),
    };
    let text = format!(
        "task {} of account {}, submitted in block {}, is {phase}",
        id.short(),
        task.submitter.short(),
        task.submitted_at
    );
    facts.say("task", text);
    Ok(task)
}

fn state_epoch(facts: &mut Facts<'_>, number: u64) -> Result<EpochRecord, VerifyError> {
    let record: EpochRecord = facts.get(&keys::epoch(number), "the epoch is missing")?;
    let messages: Vec<&[u8]> = record.rows.iter().map(|r| r.message.0.as_slice()).collect();
    if rfc9162::root::<Sha3Tree>(&messages) != record.root.0 {
        return Err(VerifyError::Contradiction("the leaves do not give the epoch's root"));
    }
    let tlr = sha3(&[b"TLR", &record.previous_tlr.0, &record.root.0, &record.epoch.to_be_bytes()]);
    if record.epoch != number || tlr != record.tlr.0 {
        return Err(VerifyError::Contradiction("the epoch's root is not in its TLR"));
    }
    if record.rows.iter().map(|r| r.reward).sum::<Amount>() != record.pool {
        return Err(VerifyError::Contradiction("the rewards do not sum to the pool"));
    }
    let text = format!(
        "epoch {number}: {} nodes, root {}, TLR {}, {} rUv shared out exactly",
        record.rows.len(),
        record.root,
        record.tlr,
        record.pool
    );
    facts.say("epoch", text);
    Ok(record)
}
