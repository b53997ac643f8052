//! Every type that comes over a wire or out of a file, behind one signature; the only place that names
//! where the types live.

use std::fmt::Debug;

use anthill_consensus::Certificate;
use anthill_engine::wire::{Announcement, Blocks, Frame, JoinReply, JoinRequest, Request};
use anthill_light::Bundle;
use anthill_merkle::smt::Proof;
use anthill_node::programs::cipher::{cipher_params, decrypt_params, encrypt_params};
use anthill_node::programs::decode::Flow;
use anthill_node::programs::matching::{MatchInput, MatchOutput};
use anthill_sandbox::codec;
use anthill_types::bank::{Balance, BankTotals, CreateDenomination, Denomination, EscrowRecord};
use anthill_types::channel::{ChannelRecord, ChannelTerms, ChannelUpdate, SignedChannelUpdate};
use anthill_types::governance::{CountedVote, Counter, Proposal};
use anthill_types::graph::{
    Edge, FocusRecord, GraphLog, GraphTotals, Neuron, NeuronStake, Particle,
};
use anthill_types::registry::{NameRecord, PropertyRecord};
use anthill_types::stake::{Delegation, Evidence, Unbonding};
use anthill_types::state::{
    Account, ChainState, EpochRecord, NodeRecord, Payment, Supply, TaskRecord,
};
use anthill_types::{
    Admission, Block, ChainParams, Checkpoint, Genesis, Handover, Header, Receipt, SignedAdmission,
    SignedTransaction, TaskSpec, Transaction, ValidatorSet, Wire,
};

/// A decoder that checks its own result: true when the bytes are a value of the type.
pub type Door = (&'static str, fn(&[u8]) -> bool);

/// All of them. The order is part of the corpus (the first byte of an input names a door): append.
pub const DOORS: [Door; 60] = [
    (ValidatorSet::NAME, wire::<ValidatorSet>),
    (Header::NAME, wire::<Header>),
    (Block::NAME, wire::<Block>),
    (ChainParams::NAME, wire::<ChainParams>),
    (Genesis::NAME, wire::<Genesis>),
    (TaskSpec::NAME, wire::<TaskSpec>),
    (Receipt::NAME, wire::<Receipt>),
    (Admission::NAME, wire::<Admission>),
    (SignedAdmission::NAME, wire::<SignedAdmission>),
    (Transaction::NAME, wire::<Transaction>),
    (SignedTransaction::NAME, wire::<SignedTransaction>),
    (Account::NAME, wire::<Account>),
    (Supply::NAME, wire::<Supply>),
    (Payment::NAME, wire::<Payment>),
    (NodeRecord::NAME, wire::<NodeRecord>),
    (TaskRecord::NAME, wire::<TaskRecord>),
    (EpochRecord::NAME, wire::<EpochRecord>),
    (ChainState::NAME, wire::<ChainState>),
    (Frame::NAME, wire::<Frame>),
    (Request::NAME, wire::<Request>),
    (Blocks::NAME, wire::<Blocks>),
    (Announcement::NAME, wire::<Announcement>),
    (JoinRequest::NAME, wire::<JoinRequest>),
    (JoinReply::NAME, wire::<JoinReply>),
    (Bundle::NAME, wire::<Bundle>),
    ("certificate", certificate),
    ("consensus message", message),
    ("state proof", proof),
    ("task output", output),
    (CreateDenomination::NAME, wire::<CreateDenomination>),
    (Denomination::NAME, wire::<Denomination>),
    (Balance::NAME, wire::<Balance>),
    (BankTotals::NAME, wire::<BankTotals>),
    (EscrowRecord::NAME, wire::<EscrowRecord>),
    (Edge::NAME, wire::<Edge>),
    (Particle::NAME, wire::<Particle>),
    (Neuron::NAME, wire::<Neuron>),
    (GraphTotals::NAME, wire::<GraphTotals>),
    (NameRecord::NAME, wire::<NameRecord>),
    (PropertyRecord::NAME, wire::<PropertyRecord>),
    (ChannelTerms::NAME, wire::<ChannelTerms>),
    (ChannelUpdate::NAME, wire::<ChannelUpdate>),
    (SignedChannelUpdate::NAME, wire::<SignedChannelUpdate>),
    (ChannelRecord::NAME, wire::<ChannelRecord>),
    (Delegation::NAME, wire::<Delegation>),
    (Unbonding::NAME, wire::<Unbonding>),
    (Evidence::NAME, wire::<Evidence>),
    (Handover::NAME, wire::<Handover>),
    (Checkpoint::NAME, wire::<Checkpoint>),
    (Counter::NAME, wire::<Counter>),
    (Proposal::NAME, wire::<Proposal>),
    (CountedVote::NAME, wire::<CountedVote>),
    ("match input", match_input),
    ("match output", match_output),
    ("decoder flow", flow),
    ("cipher parameters", cipher),
    ("decompression limit", decompression),
    (NeuronStake::NAME, wire::<NeuronStake>),
    (FocusRecord::NAME, wire::<FocusRecord>),
    (GraphLog::NAME, wire::<GraphLog>),
];

/// What decodes is encoded back to the same bytes, and these decode to the same value.
fn wire<T: Wire + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(value) = T::from_bytes(bytes) else { return false };
    assert!(bytes.len() <= T::MAX, "{} past its bound", T::NAME);
    let again = value.to_bytes();
    assert_eq!(again, bytes, "{} has two encodings", T::NAME);
    assert_eq!(T::from_bytes(&again).as_ref(), Ok(&value));
    true
}

fn certificate(bytes: &[u8]) -> bool {
    let Ok(value) = Certificate::from_bytes(bytes) else { return false };
    assert_eq!(value.to_bytes(), bytes, "a certificate has two encodings");
    true
}

/// Whether it is canonical is checked inside; its height must not depend on what follows it.
fn message(bytes: &[u8]) -> bool {
    let found = anthill_consensus::message_height(bytes);
    assert_eq!(found, anthill_consensus::message_height(bytes));
    found.is_some()
}

fn proof(bytes: &[u8]) -> bool {
    let Ok(value) = Proof::from_bytes(bytes) else { return false };
    assert_eq!(value.to_bytes(), bytes, "a proof has two encodings");
    true
}

fn output(bytes: &[u8]) -> bool {
    let Some(result) = anthill_sandbox::Outcome::from_output(bytes) else { return false };
    let again = anthill_sandbox::Outcome::of(result, 0).to_output();
    assert_eq!(again, bytes, "a task's output has two encodings");
    true
}

fn match_input(bytes: &[u8]) -> bool {
    let Some(value) = MatchInput::from_bytes(bytes) else { return false };
    assert_eq!(value.to_bytes(), bytes, "a match input has two encodings");
    true
}

fn match_output(bytes: &[u8]) -> bool {
    let Some(value) = MatchOutput::from_bytes(bytes) else { return false };
    assert_eq!(value.to_bytes(), bytes, "a match output has two encodings");
    true
}

fn flow(bytes: &[u8]) -> bool {
    let Some(value) = Flow::from_bytes(bytes) else { return false };
    assert_eq!(value.to_bytes(), bytes, "a decoder flow has two encodings");
    true
}

fn cipher(bytes: &[u8]) -> bool {
    let Some((key, place)) = cipher_params(bytes) else { return false };
    let again = place.map_or_else(|| decrypt_params(&key), |place| encrypt_params(&key, &place));
    assert_eq!(again, bytes, "cipher parameters have two encodings");
    true
}

fn decompression(bytes: &[u8]) -> bool {
    let Some(most) = codec::decompress_limit(bytes) else { return false };
    assert_eq!(codec::decompress_params(most), bytes, "a limit has two encodings");
    true
}
