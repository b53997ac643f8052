//! Keys of the state tree: an ASCII prefix path, then fixed-width big-endian parts
//! (`docs/spec/protocol.md` 11).

use crate::ids::{AccountId, Cid, Digest, NodeKey, TaskId, ValidatorKey};
use crate::stake::UnbondingKind;

fn join(prefix: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = prefix.as_bytes().to_vec();
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// Prefix of all accounts.
pub const ACCOUNTS: &str = "/bank/account/";
/// Prefix of all payments.
pub const PAYMENTS: &str = "/bank/payment/";
/// Prefix of all nodes.
pub const NODES: &str = "/kv/val/node/";
/// Prefix of all tasks.
pub const TASKS: &str = "/kv/task/id/";
/// Prefix of all closed epochs.
pub const EPOCHS: &str = "/kv/poei/epoch/";

/// An account.
pub fn account(id: &AccountId) -> Vec<u8> {
    join(ACCOUNTS, &[&id.0])
}

/// The supply.
pub fn supply() -> Vec<u8> {
    b"/bank/supply".to_vec()
}

/// A payment by number.
pub fn payment(number: u64) -> Vec<u8> {
    join(PAYMENTS, &[&number.to_be_bytes()])
}

/// A node by its transport key.
pub fn node(key: &NodeKey) -> Vec<u8> {
    join(NODES, &[&key.0])
}

/// The node key that belongs to a validator key.
pub fn validator(key: &ValidatorKey) -> Vec<u8> {
    join("/kv/val/key/", &[&key.0])
}

/// The node key of an account.
pub fn operator(account: &AccountId) -> Vec<u8> {
    join("/kv/val/operator/", &[&account.0])
}

/// The validator set.
pub fn validator_set() -> Vec<u8> {
    b"/kv/val/set".to_vec()
}

/// A used admission.
pub fn admission(nonce: &Digest) -> Vec<u8> {
    join("/kv/val/admission/", &[&nonce.0])
}

/// The parameters.
pub fn params() -> Vec<u8> {
    b"/kv/gov/params".to_vec()
}

/// Where the chain stands.
pub fn chain() -> Vec<u8> {
    b"/kv/prop/chain".to_vec()
}

/// A task.
pub fn task(id: &TaskId) -> Vec<u8> {
    join(TASKS, &[&id.0])
}

/// Entry of the agenda: at a height, a task has something due.
pub fn agenda(height: u64, id: &TaskId) -> Vec<u8> {
    join("/kv/task/agenda/", &[&height.to_be_bytes(), &id.0])
}

/// First agenda key after a height's entries.
pub fn agenda_end(height: u64) -> Vec<u8> {
    join("/kv/task/agenda/", &[&height.saturating_add(1).to_be_bytes()])
}

/// Prefix of the agenda.
pub fn agenda_start() -> Vec<u8> {
    b"/kv/task/agenda/".to_vec()
}

/// Entry of the window list: a provisional result becomes final when this epoch begins.
pub fn window(epoch: u64, id: &TaskId) -> Vec<u8> {
    join("/kv/task/window/", &[&epoch.to_be_bytes(), &id.0])
}

/// First window key after an epoch's entries.
pub fn window_end(epoch: u64) -> Vec<u8> {
    join("/kv/task/window/", &[&epoch.saturating_add(1).to_be_bytes()])
}

/// Prefix of the window list.
pub fn window_start() -> Vec<u8> {
    b"/kv/task/window/".to_vec()
}

/// A closed epoch.
pub fn epoch(number: u64) -> Vec<u8> {
    join(EPOCHS, &[&number.to_be_bytes()])
}

/// Prefix of all unbonding pools.
pub const UNBONDING: &str = "/kv/val/unbonding/";

/// Prefix of all delegations.
pub const DELEGATIONS: &str = "/kv/val/delegation/";

/// What an account delegated to a node.
pub fn delegation(account: &AccountId, node: &NodeKey) -> Vec<u8> {
    join(DELEGATIONS, &[&account.0, &node.0])
}

/// Prefix of an account's delegations.
pub fn delegations_of(account: &AccountId) -> Vec<u8> {
    join(DELEGATIONS, &[&account.0])
}

/// Prefix of all proposals.
pub const PROPOSALS: &str = "/kv/gov/proposal/";

/// Number of proposals so far.
pub fn proposal_count() -> Vec<u8> {
    b"/kv/gov/count".to_vec()
}

/// A proposal by number.
pub fn proposal(number: u64) -> Vec<u8> {
    join(PROPOSALS, &[&number.to_be_bytes()])
}

/// Entry of the list of proposals that are open or wait for their execution.
pub fn open_proposal(number: u64) -> Vec<u8> {
    join("/kv/gov/open/", &[&number.to_be_bytes()])
}

/// Prefix of [`open_proposal`].
pub fn open_proposals() -> Vec<u8> {
    b"/kv/gov/open/".to_vec()
}

/// An account's vote on a proposal.
pub fn vote(number: u64, account: &AccountId) -> Vec<u8> {
    join("/kv/gov/vote/", &[&number.to_be_bytes(), &account.0])
}

/// Until which epoch an account's stake is bound by its votes.
pub fn vote_lock(account: &AccountId) -> Vec<u8> {
    join("/kv/gov/lock/", &[&account.0])
}

/// Marks an account as an identity that governance has vouched for.
pub fn identity(account: &AccountId) -> Vec<u8> {
    join(IDENTITIES, &[&account.0])
}

/// Prefix of [`identity`].
pub const IDENTITIES: &str = "/kv/gov/identity/";

/// Prefix of a node's unbonding pools.
pub fn unbonding_of(node: &NodeKey) -> Vec<u8> {
    join(UNBONDING, &[&node.0])
}

/// The unbonding pool of a node, an epoch and a kind.
pub fn unbonding(node: &NodeKey, matures: u64, kind: UnbondingKind) -> Vec<u8> {
    join(UNBONDING, &[&node.0, &matures.to_be_bytes(), &[kind as u8]])
}

/// Prefix of the parts of owners in unbonding pools.
pub const UNBONDING_OWNERS: &str = "/kv/val/unbonding-owner/";

/// Prefix of an owner's parts in unbonding pools.
pub fn unbonding_owned_by(owner: &AccountId) -> Vec<u8> {
    join(UNBONDING_OWNERS, &[&owner.0])
}

/// An owner's part in an unbonding pool.
pub fn unbonding_owner(
    node: &NodeKey,
    matures: u64,
    kind: UnbondingKind,
    owner: &AccountId,
) -> Vec<u8> {
    join(UNBONDING_OWNERS, &[&owner.0, &node.0, &matures.to_be_bytes(), &[kind as u8]])
}

/// Marks that a validator was slashed for contradictory votes of a height.
pub fn evidence(validator: &ValidatorKey, height: u64) -> Vec<u8> {
    join("/kv/val/evidence/", &[&validator.0, &height.to_be_bytes()])
}

/// Number of a parent's children; absent for none.
pub fn children_of(parent: &NodeKey) -> Vec<u8> {
    join("/kv/val/children/", &[&parent.0])
}

/// Prefix of all denominations but credits.
pub const DENOMINATIONS: &str = "/bank/denomination/";
/// Prefix of all balances in denominations but credits.
pub const BALANCES: &str = "/bank/balance/";
/// Prefix of all conditional escrows.
pub const ESCROWS: &str = "/bank/escrow/";
/// Prefix of all payment channels.
pub const CHANNELS: &str = "/bank/channel/";
/// Prefix of all edges.
pub const EDGES: &str = "/graph/edge/";
/// Prefix of all particles.
pub const PARTICLES: &str = "/graph/particle/";
/// Prefix of all neurons.
pub const NEURONS: &str = "/graph/neuron/";
/// Prefix of all names.
pub const NAMES: &str = "/kv/name/id/";
/// Prefix of all properties of accounts.
pub const PROPERTIES: &str = "/kv/prop/account/";

/// A text with its length in two bytes before it, so that none is the beginning of another.
fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// A denomination by number.
pub fn denomination(id: u64) -> Vec<u8> {
    join(DENOMINATIONS, &[&id.to_be_bytes()])
}

/// What an account holds of a denomination (credits are in [`account`]).
pub fn balance(denomination: u64, account: &AccountId) -> Vec<u8> {
    join(BALANCES, &[&denomination.to_be_bytes(), &account.0])
}

/// How many denominations, escrows and channels there are.
pub fn bank_totals() -> Vec<u8> {
    b"/bank/totals".to_vec()
}

/// A conditional escrow.
pub fn escrow(id: &Digest) -> Vec<u8> {
    join(ESCROWS, &[&id.0])
}

/// A payment channel.
pub fn channel(id: &Digest) -> Vec<u8> {
    join(CHANNELS, &[&id.0])
}

/// An edge of a neuron.
pub fn edge(neuron: &AccountId, from: &Cid, to: &Cid) -> Vec<u8> {
    join(EDGES, &[&neuron.0, &from.0, &to.0])
}

/// The same edge, listed under the particle in which it ends.
pub fn back_edge(to: &Cid, from: &Cid, neuron: &AccountId) -> Vec<u8> {
    join("/graph/back/", &[&to.0, &from.0, &neuron.0])
}

/// Prefix of the edges that end in a particle.
pub fn back_edges(to: &Cid) -> Vec<u8> {
    join("/graph/back/", &[&to.0])
}

/// A particle.
pub fn particle(cid: &Cid) -> Vec<u8> {
    join(PARTICLES, &[&cid.0])
}

/// A neuron.
pub fn neuron(account: &AccountId) -> Vec<u8> {
    join(NEURONS, &[&account.0])
}

/// The size of the graph.
pub fn graph_totals() -> Vec<u8> {
    b"/graph/totals".to_vec()
}

/// Prefix of what accounts had at stake when the newest epoch began.
pub const NEURON_STAKES: &str = "/graph/stake/";
/// Prefix of the masses of particles.
pub const FOCUS_SLICES: &str = "/graph/pi/";

/// What an account had at stake when the newest epoch began.
pub fn neuron_stake(account: &AccountId) -> Vec<u8> {
    join(NEURON_STAKES, &[&account.0])
}

/// The masses (8 bytes big-endian each) of the particles of a slice, in order of CID.
pub fn focus_slice(slice: u16) -> Vec<u8> {
    join(FOCUS_SLICES, &[&slice.to_be_bytes()])
}

/// The slice of a particle: the first 12 bits of its CID's digest.
pub fn slice_of(cid: &Cid) -> u16 {
    let [first, second, ..] = cid.0;
    u16::from_be_bytes([first, second]) >> 4
}

/// How the newest focus came about.
pub fn focus() -> Vec<u8> {
    b"/graph/focus".to_vec()
}

/// The list of all changes of the graph.
pub fn graph_log() -> Vec<u8> {
    b"/graph/log".to_vec()
}

/// A name.
pub fn name(name: &str) -> Vec<u8> {
    join(NAMES, &[&text(name)])
}

/// A name, listed under what it stands for and who holds it.
pub fn name_of(target: &Cid, owner: &AccountId, name: &str) -> Vec<u8> {
    join("/kv/name/cid/", &[&target.0, &owner.0, &text(name)])
}

/// Prefix of the names that stand for something.
pub fn names_of(target: &Cid) -> Vec<u8> {
    join("/kv/name/cid/", &[&target.0])
}

/// A property of an account.
pub fn property(account: &AccountId, key: &str) -> Vec<u8> {
    join(PROPERTIES, &[&account.0, &text(key)])
}

/// Prefix of an account's properties.
pub fn properties(account: &AccountId) -> Vec<u8> {
    join(PROPERTIES, &[&account.0])
}

/// Marks a chain that agrees by Snowman: its validators sign one block a height.
pub fn snowman() -> Vec<u8> {
    b"/kv/prop/snowman".to_vec()
}
