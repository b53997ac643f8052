//! At least forty bad inputs of the proof file, each with the error that it must meet.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../tests/support/bad_wire.rs"]
mod bad_wire;
#[path = "../../../tests/support/shapes.rs"]
mod shapes;
#[path = "../../../tests/support/wire_shapes.rs"]
mod wire_shapes;

use anthill_light::Bundle;
use bad_wire::check;
use shapes::{Shape, fields, list, u32, u64};
use wire_shapes::{digest, genesis, header, validator_set};

#[test]
fn every_bad_input_of_a_proof_file_meets_its_error() {
    let entry = fields(vec![Shape::Blob; 3]);
    let bundle = fields(vec![
        Shape::Text("anthill-proof/3"),
        Shape::Text("credits:1"),
        genesis(),
        header(),
        Shape::Blob,
        list(vec![entry.clone(), entry]),
        list(vec![fields(vec![header(), Shape::Blob, validator_set()])]),
        list(vec![fields(vec![u32(), u64(), u64(), Shape::Blob, list(vec![digest()])])]),
    ]);
    println!("{} bad inputs", check::<Bundle>(&bundle));
}
