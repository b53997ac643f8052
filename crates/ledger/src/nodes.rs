//! Nodes: admission, bonds, offers, and who may be drawn.

use anthill_identity as identity;
use anthill_poei::Params;
use anthill_scheduler::{Candidate, fitness};
use anthill_types::governance::Counter;
use anthill_types::stake::Pool;
use anthill_types::state::{EpochCounts, NodeRecord};
use anthill_types::task::MAX_CAPABILITIES;
use anthill_types::transaction::Admit;
use anthill_types::{
    AccountId, Amount, BeaconValue, Digest, GenesisHash, NodeKey, Signature, Wire, keys,
};

use crate::bank;
use crate::error::{LedgerError, TransactionError};
use crate::state::State;

/// Most changes of offer by one node in one epoch.
pub const MAX_OFFERS: u64 = 64;
/// Most resource units that a node may offer per epoch.
pub const MAX_OFFER: u64 = 1 << 40;

/// Lets a newcomer in: checks the admission and both key proofs, and bonds what the issuer sponsors.
pub fn admit(
    state: &mut State<'_>,
    genesis: &GenesisHash,
    account: &AccountId,
    join: &Admit,
) -> Result<(), TransactionError> {
    check_admission(state, genesis, join)?;
    check_keys(state, genesis, account, join)?;
    check_offer(join.offered, &join.capabilities)?;
    let grant = &join.admission.admission;
    if grant.sponsored_bond > Amount::ZERO {
        bank::withdraw(state, &grant.issuer, grant.sponsored_bond, "the sponsored bond")?;
    }
    state.mark(keys::admission(&grant.nonce));
    let start = first_trust();
    let node = NodeRecord {
        account: *account,
        node: join.node,
        validator: join.validator,
        bond: grant.sponsored_bond,
        offered: join.offered,
        trust_a: 0,
        trust_b: 0,
        trust: start,
        counts: EpochCounts { offered: join.offered, ..EpochCounts::default() },
        rests_until: 0,
        unchecked: Amount::ZERO,
        slashed: Amount::ZERO,
        previous_score: None,
        capabilities: join.capabilities.clone(),
        beacon_head: join.beacon_head,
        beacon_generation: 0,
        delegated: Pool::default(),
        validates: false,
        jailed_until: 0,
        last_proposed: 0,
        parent: None,
        active_epochs: 0,
        focus: 0,
    };
    Ok(register(state, &node)?)
}

/// The trust of a newcomer, which is the threshold (`docs/spec/poei.md` 14).
pub fn first_trust() -> u64 {
    Params::default().threshold
}

/// Writes a node with its pointers.
pub fn register(state: &mut State<'_>, node: &NodeRecord) -> Result<(), LedgerError> {
    state.put_node(node)?;
    state.point(keys::operator(&node.account), &node.node);
    state.point(keys::validator(&node.validator), &node.node);
    Ok(())
}

fn check_admission(
    state: &State<'_>,
    genesis: &GenesisHash,
    join: &Admit,
) -> Result<(), TransactionError> {
    let grant = &join.admission.admission;
    if grant.genesis != *genesis {
        return Err(TransactionError::Admission("it is for another chain"));
    }
    if grant.expires_ms < state.chain().time_ms {
        return Err(TransactionError::Admission("it has expired"));
    }
    if state.has(&keys::admission(&grant.nonce))? {
        return Err(TransactionError::Admission("it was used already"));
    }
    if state.node_of_account(&grant.issuer)?.is_none() {
        return Err(TransactionError::Admission("its issuer has no node on this chain"));
    }
    let body = grant.to_bytes();
    let signed = identity::verify(
        &grant.issuer.0,
        "admission",
        &genesis.0,
        &body,
        &join.admission.signature.0,
    );
    signed.map_err(|_| TransactionError::Admission("its issuer's signature is wrong"))
}

fn check_keys(
    state: &State<'_>,
    genesis: &GenesisHash,
    account: &AccountId,
    join: &Admit,
) -> Result<(), TransactionError> {
    if state.node_of_account(account)?.is_some() {
        return Err(TransactionError::Invalid("this account has a node already"));
    }
    if state.node(&join.node)?.is_some() || state.node_of_validator(&join.validator)?.is_some() {
        return Err(TransactionError::Invalid("this node or validator key is bound already"));
    }
    if join.node.0 == join.validator.0 || account.0 == join.node.0 || account.0 == join.validator.0
    {
        return Err(TransactionError::Invalid("account, node and validator keys must differ"));
    }
    for (key, proof) in
        [(&join.node.0, &join.node_proof), (&join.validator.0, &join.validator_proof)]
    {
        identity::verify(key, "bind", &genesis.0, &account.0, &proof.0)
            .map_err(|_| TransactionError::Signature)?;
    }
    Ok(())
}

fn check_offer(units: u64, list: &[Digest]) -> Result<(), TransactionError> {
    if units > MAX_OFFER {
        return Err(TransactionError::Invalid("a node offers 2^40 units per epoch at most"));
    }
    if list.len() > MAX_CAPABILITIES || !list.windows(2).all(|w| w[0] < w[1]) {
        return Err(TransactionError::Invalid("at most 32 capabilities, in ascending order"));
    }
    Ok(())
}

/// True when a node can run a task that needs this.
pub fn is_capable(node: &NodeRecord, needs: Option<&Digest>) -> bool {
    needs.is_none_or(|n| node.capabilities.binary_search(n).is_ok())
}

/// Moves the sender's own credits into its node's bond.
pub fn bond(
    state: &mut State<'_>,
    account: &AccountId,
    amount: Amount,
) -> Result<(), TransactionError> {
    let mut node = state.node_of_account(account)?.ok_or(TransactionError::NotANode)?;
    bank::withdraw(state, account, amount, "the bond")?;
    node.bond = node.bond.checked_add(amount).ok_or(LedgerError::Overflow("bond"))?;
    Ok(state.put_node(&node)?)
}

/// Puts another account's node under the sender's: both have signed. A node with a parent has no
/// children, and a child has one parent.
pub fn adopt(
    state: &mut State<'_>,
    genesis: &GenesisHash,
    account: &AccountId,
    child: &NodeKey,
    consent: &Signature,
) -> Result<(), TransactionError> {
    let parent = state.node_of_account(account)?.ok_or(TransactionError::NotANode)?;
    let mut record = state.node(child)?.ok_or(TransactionError::NotANode)?;
    if record.account == *account {
        return Err(TransactionError::Invalid("a child is bonded to another account"));
    }
    if parent.parent.is_some() || state.has(&keys::children_of(child))? {
        return Err(TransactionError::Invalid("a parent cannot be a child, nor a child a parent"));
    }
    if record.parent.is_some() {
        return Err(TransactionError::Invalid("this node has a parent already"));
    }
    identity::verify(&child.0, "adopt", &genesis.0, &parent.node.0, &consent.0)
        .map_err(|_| TransactionError::Signature)?;
    change_children(state, &parent.node, |n| n.checked_add(1))?;
    record.parent = Some(parent.node);
    Ok(state.put_node(&record)?)
}

/// Takes the sender's node from under its parent.
pub fn leave_parent(state: &mut State<'_>, account: &AccountId) -> Result<(), TransactionError> {
    let mut record = state.node_of_account(account)?.ok_or(TransactionError::NotANode)?;
    let parent = record.parent.take();
    let parent = parent.ok_or(TransactionError::Invalid("this node has no parent"))?;
    change_children(state, &parent, |n| n.checked_sub(1))?;
    Ok(state.put_node(&record)?)
}

/// Counts a parent's children; the entry goes with the last.
fn change_children(
    state: &mut State<'_>,
    parent: &NodeKey,
    change: impl Fn(u64) -> Option<u64>,
) -> Result<(), LedgerError> {
    let key = keys::children_of(parent);
    let count = state.get::<Counter>(&key)?.unwrap_or_default().value;
    match change(count).ok_or(LedgerError::Overflow("children"))? {
        0 => {
            state.delete(&key);
            Ok(())
        }
        value => state.put(key, &Counter { value }),
    }
}

/// Changes what the sender's node offers.
pub fn offer(
    state: &mut State<'_>,
    account: &AccountId,
    units: u64,
    capabilities: &[Digest],
) -> Result<(), TransactionError> {
    check_offer(units, capabilities)?;
    let mut node = state.node_of_account(account)?.ok_or(TransactionError::NotANode)?;
    if node.counts.offers >= MAX_OFFERS {
        return Err(TransactionError::Invalid(
            "the offer was changed too often in this epoch: wait for the next",
        ));
    }
    node.counts.offers += 1;
    node.counts.offered = node.counts.offered.max(units);
    node.offered = units;
    node.capabilities = capabilities.to_vec();
    Ok(state.put_node(&node)?)
}

/// Commits a validator to a fresh beacon chain: the next generation, so that nobody can replay an
/// earlier renewal, whose values are known by now.
pub fn renew_beacon(
    state: &mut State<'_>,
    sender: &AccountId,
    head: &BeaconValue,
    generation: u64,
) -> Result<(), TransactionError> {
    let key = anthill_types::ValidatorKey(sender.0);
    let mut node = state.node_of_validator(&key)?.ok_or(TransactionError::NotANode)?;
    if node.beacon_generation.checked_add(1) != Some(generation)
        && !anthill_types::planted!(ReplayRenewal)
    {
        return Err(TransactionError::Invalid("not the next generation of the beacon chain"));
    }
    (node.beacon_head, node.beacon_generation) = (*head, generation);
    Ok(state.put_node(&node)?)
}

/// The nodes that may be drawn now for work that needs this, ascending by key.
pub fn candidates(
    state: &State<'_>,
    nodes: &[NodeRecord],
    needs: Option<&Digest>,
) -> Vec<Candidate> {
    let epoch = state.chain().epoch;
    nodes
        .iter()
        .filter(|n| n.rests_until <= epoch && is_capable(n, needs))
        .map(|n| Candidate {
            node: n.node,
            account: n.account,
            weight: fitness(n.trust, n.offered),
        })
        .collect()
}
