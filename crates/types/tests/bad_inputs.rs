//! At least forty bad inputs of each wire type, each with the error that it must meet.
//!
//! The shapes are written from `docs/spec/protocol.md` and the documentation of the types; where the
//! real decoder does not accept a shape's good encoding, one of the two is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../tests/support/bad_wire.rs"]
mod bad_wire;
#[path = "../../../tests/support/shapes.rs"]
mod shapes;
#[path = "../../../tests/support/wire_shapes.rs"]
mod wire_shapes;

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
use anthill_types::*;
use bad_wire::check;
use shapes::{Shape, amount, fields, id, list, u64};
use wire_shapes::*;

#[test]
fn every_bad_input_of_every_type_meets_its_error() {
    let signed = |body| fields(vec![transaction(body), signature()]);
    let transfer = bodies().swap_remove(0);
    let mut tried = vec![
        check::<ValidatorSet>(&validator_set()),
        check::<Header>(&header()),
        check::<Block>(&fields(vec![header(), list(vec![signed(transfer)])])),
        check::<ChainParams>(&params()),
        check::<Genesis>(&genesis()),
        check::<TaskSpec>(&task()),
        check::<Receipt>(&receipt()),
        check::<Admission>(&admission()),
        check::<SignedAdmission>(&signed_admission()),
        check::<Account>(&fields(vec![amount(), u64()])),
        check::<Supply>(&fields(vec![amount(), amount(), u64()])),
        check::<NodeRecord>(&node_record()),
        check::<EpochRecord>(&epoch_record()),
        check::<ChainState>(&chain_state()),
        check::<Delegation>(&fields(vec![amount()])),
        check::<Unbonding>(&unbonding()),
        check::<Evidence>(&evidence()),
        check::<Counter>(&fields(vec![u64()])),
        check::<CountedVote>(&fields(vec![amount(), Shape::Bool, u64(), u64()])),
        check::<Handover>(&fields(vec![header(), Shape::Blob, validator_set()])),
        check::<Checkpoint>(&fields(vec![id("genesis hash"), header(), validator_set()])),
    ];
    tried.extend(proposals().iter().map(check::<Proposal>));
    assert_eq!(tried.len() + 4, 31, "the other four types follow, with all their variants");
    tried.extend(bank_types());
    for body in bodies() {
        tried.push(check::<Transaction>(&transaction(body.clone())));
        tried.push(check::<SignedTransaction>(&signed(body)));
    }
    tried.extend(reasons().into_iter().map(|reason| check::<Payment>(&payment(reason))));
    tried.extend(phases().into_iter().map(|phase| check::<TaskRecord>(&task_record(phase))));
    println!("{} bad inputs", tried.iter().sum::<usize>());
}

/// The records of denominations, escrow, links, names, properties and channels.
fn bank_types() -> Vec<usize> {
    let two = || fields(vec![u64(), u64()]);
    let three = || fields(vec![u64(), u64(), u64()]);
    let focus_record = || fields(vec![u64(), digest(), u64(), u64(), Shape::Bool, u64()]);
    let tried = [
        check::<CreateDenomination>(&new_denomination()),
        check::<Denomination>(&denomination()),
        check::<Balance>(&fields(vec![amount(), u64()])),
        check::<BankTotals>(&three()),
        check::<EscrowRecord>(&escrow()),
        check::<Edge>(&two()),
        check::<Particle>(&fields(vec![u64(), u64(), id("account id")])),
        check::<Neuron>(&two()),
        check::<GraphTotals>(&three()),
        check::<NeuronStake>(&fields(vec![amount()])),
        check::<FocusRecord>(&focus_record()),
        check::<GraphLog>(&fields(vec![u64(), list(vec![digest(), digest()])])),
        check::<NameRecord>(&name_record()),
        check::<PropertyRecord>(&fields(vec![Shape::Blob, u64()])),
        check::<ChannelTerms>(&channel_terms()),
        check::<ChannelUpdate>(&channel_update()),
        check::<SignedChannelUpdate>(&signed_channel_update()),
    ];
    let channels = channels().into_iter().map(|shape| check::<ChannelRecord>(&shape));
    tried.into_iter().chain(channels).collect()
}
