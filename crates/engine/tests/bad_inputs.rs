//! At least forty bad inputs of each message between nodes, each with the error that it must meet.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../tests/support/bad_wire.rs"]
mod bad_wire;
#[path = "../../../tests/support/shapes.rs"]
mod shapes;
#[path = "../../../tests/support/wire_shapes.rs"]
mod wire_shapes;

use anthill_engine::wire::{
    Announcement, Blocks, Frame, JoinReply, JoinRequest, Offer, Request, SnapshotPart,
};
use bad_wire::check;
use shapes::{Shape, fields, id, list, u64};
use wire_shapes::{bodies, genesis, header, signature, transaction, validator_set};

/// A signed transaction that asks to join.
fn admit() -> Shape {
    fields(vec![transaction(bodies().swap_remove(2)), signature()])
}

fn address() -> Shape {
    fields(vec![id("node key"), list(vec![Shape::Text("127.0.0.1:4478"), Shape::Text("[::1]:1")])])
}

/// A change of the validator set.
fn handover() -> Shape {
    fields(vec![header(), Shape::Blob, validator_set()])
}

#[test]
fn every_bad_input_of_every_message_meets_its_error() {
    let frames = [vec![Shape::Blob], vec![list(vec![admit()])], vec![u64(), id("block hash")]];
    let frame = |(number, fields)| Shape::Variant(3, number as u64, fields);
    let mut tried: Vec<usize> =
        frames.into_iter().enumerate().map(|f| check::<Frame>(&frame(f))).collect();
    let block = fields(vec![Shape::Blob, Shape::Blob]);
    let row = block.clone();
    let welcome = Shape::Variant(2, 0, vec![genesis(), list(vec![address()])]);
    tried.extend([
        check::<Request>(&Shape::Variant(4, 0, vec![u64(), u64()])),
        check::<Request>(&Shape::Variant(4, 1, vec![u64()])),
        check::<Request>(&Shape::Variant(4, 2, vec![u64(), u64(), id("digest")])),
        check::<Request>(&Shape::Variant(4, 3, vec![Shape::Blob])),
        check::<Blocks>(&fields(vec![list(vec![block.clone(), block.clone()])])),
        check::<Offer>(&Shape::Variant(3, 2, vec![block, list(vec![handover()])])),
        check::<SnapshotPart>(&Shape::Variant(3, 1, vec![list(vec![id("digest"); 2])])),
        check::<SnapshotPart>(&Shape::Variant(3, 2, vec![list(vec![row.clone(), row])])),
        check::<Announcement>(&Shape::Variant(2, 0, vec![address()])),
        check::<Announcement>(&Shape::Variant(2, 1, vec![fields(vec![u64(), u64(), u64()])])),
        check::<JoinRequest>(&fields(vec![admit()])),
        check::<JoinReply>(&welcome),
        check::<JoinReply>(&Shape::Variant(2, 1, vec![Shape::Text("the ticket was used")])),
    ]);
    println!("{} bad inputs", tried.iter().sum::<usize>());
}
