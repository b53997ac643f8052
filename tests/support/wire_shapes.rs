//! The shapes of the types of `anthill-types`, shared by the tests of all crates that carry them.
#![allow(dead_code)]

use super::shapes::{Shape, amount, fields, id, list, none, some, u8, u32, u64};

pub fn signature() -> Shape {
    Shape::Id(64, "signature")
}

pub fn digest() -> Shape {
    id("digest")
}

pub fn validator_set() -> Shape {
    let validator = fields(vec![id("validator key"), id("account id"), u64()]);
    fields(vec![list(vec![validator.clone(), validator])])
}

pub fn header() -> Shape {
    let root = fields(vec![u32(), digest()]);
    let before = [u32(), id("genesis hash"), u64(), id("block hash"), u64(), id("validator key")];
    let digests = [digest(), digest(), digest(), digest()];
    let after = [some(id("beacon value")), list(vec![root])];
    fields([&before[..], &digests, &after].concat())
}

pub fn params() -> Shape {
    let mut all = vec![u64(); 49];
    for at in [6, 12, 14, 15, 34, 37, 38, 40, 41] {
        all[at] = amount();
    }
    fields(all)
}

pub fn genesis() -> Shape {
    let node = fields(vec![
        id("account id"),
        id("node key"),
        id("validator key"),
        id("beacon value"),
        amount(),
        u64(),
        list(vec![digest()]),
    ]);
    let balance = fields(vec![id("account id"), amount()]);
    fields(vec![
        u32(),
        Shape::Text("anthill"),
        u64(),
        params(),
        list(vec![node]),
        list(vec![balance]),
        id("beacon value"),
        Shape::Index(2),
    ])
}

pub fn task() -> Shape {
    fields(vec![
        Shape::Cid,
        Shape::Blob,
        Shape::Cid,
        u64(),
        u64(),
        u8(),
        some(id("node key")),
        none(digest()),
        u32(),
    ])
}

pub fn receipt() -> Shape {
    let cids = vec![Shape::Cid; 4];
    let before = [id("task id"), u32(), id("node key"), u64()];
    fields([&before[..], &cids, &[u64(), digest()]].concat())
}

pub fn admission() -> Shape {
    fields(vec![id("genesis hash"), digest(), id("account id"), u64(), amount()])
}

pub fn signed_admission() -> Shape {
    fields(vec![admission(), signature()])
}

/// The bodies about stake.
fn stake_bodies() -> Vec<(u64, Vec<Shape>)> {
    vec![
        (30, vec![amount()]),
        (31, vec![id("node key"), amount()]),
        (32, vec![id("node key"), amount()]),
        (33, vec![id("node key"), u64(), Shape::Index(2)]),
        (34, vec![Shape::Bool]),
        (35, vec![evidence()]),
        (36, vec![id("node key"), signature()]),
        (37, vec![]),
        (40, vec![propose()]),
        (41, vec![fields(vec![u64(); 3])]),
    ]
}

pub fn evidence() -> Shape {
    let statement = fields(vec![Shape::Blob, signature()]);
    fields(vec![id("validator key"), Shape::Index(1), statement.clone(), statement])
}

/// A proposal's text.
pub fn propose() -> Shape {
    let change = fields(vec![u32(), amount()]);
    let action = Shape::Variant(2, 0, vec![list(vec![change])]);
    fields(vec![action, Shape::Text("because")])
}

pub fn proposals() -> Vec<Shape> {
    let statuses = [vec![], vec![u64()], vec![u64()], vec![], vec![], vec![]];
    let proposal = |(number, status)| {
        let side = fields(vec![amount(), amount()]);
        fields(vec![
            u64(),
            id("account id"),
            propose(),
            u64(),
            u64(),
            amount(),
            side.clone(),
            side,
            Shape::Variant(6, number as u64, status),
        ])
    };
    statuses.into_iter().enumerate().map(proposal).collect()
}

pub fn unbonding() -> Shape {
    let pool = fields(vec![amount(), amount()]);
    fields(vec![id("node key"), u64(), Shape::Index(2), pool])
}

/// Every body of a transaction, by its number.
pub fn bodies() -> Vec<Shape> {
    let admit = fields(vec![
        signed_admission(),
        id("node key"),
        id("validator key"),
        signature(),
        signature(),
        id("beacon value"),
        u64(),
        list(vec![digest(), digest()]),
    ]);
    let commit = fields(vec![id("task id"), u32(), digest()]);
    let reveal = fields(vec![receipt(), digest()]);
    let verdict = fields(vec![id("task id"), u32(), result()]);
    let all = [
        vec![id("account id"), amount()],
        vec![amount()],
        vec![admit],
        vec![u64(), list(vec![digest()])],
        vec![list(vec![task()])],
        vec![list(vec![commit])],
        vec![list(vec![reveal])],
        vec![list(vec![verdict])],
        vec![id("task id")],
        vec![id("beacon value"), u64()],
    ];
    let body = |(number, fields)| Shape::Variant(UNKNOWN_BODY, number as u64, fields);
    let first = all.into_iter().enumerate().map(body);
    let bank = bank_bodies().into_iter().enumerate().map(|(at, f)| body((at + 10, f)));
    let stake = stake_bodies().into_iter().map(|(number, f)| body((number as usize, f)));
    first.chain(bank).chain(stake).collect()
}

/// A number that no body has.
const UNKNOWN_BODY: u64 = 90;

/// The bodies of denominations, escrow, links, names, properties and channels, from number 10.
fn bank_bodies() -> Vec<Vec<Shape>> {
    let pair = fields(vec![Shape::Cid, Shape::Cid]);
    let output = fields(vec![id("account id"), amount()]);
    let property = fields(vec![Shape::Text("home"), Shape::Blob]);
    let name = || Shape::Text("anthill");
    vec![
        vec![new_denomination()],
        vec![u64(), id("account id"), amount()],
        vec![u64(), id("account id"), amount()],
        vec![u64(), amount()],
        vec![u64(), list(vec![output.clone(), output])],
        vec![escrow_terms()],
        vec![some(digest()), digest()],
        vec![digest()],
        vec![list(vec![pair.clone(), pair.clone()])],
        vec![list(vec![pair])],
        vec![name(), Shape::Cid, u64()],
        vec![name(), u64()],
        vec![name(), Shape::Cid],
        vec![name(), id("account id")],
        vec![name()],
        vec![list(vec![property]), list(vec![Shape::Text("home")])],
        vec![channel_terms(), signature()],
        vec![some(signed_channel_update()), digest()],
        vec![signed_channel_update()],
        vec![digest()],
    ]
}

pub fn new_denomination() -> Shape {
    let words = [Shape::Text("ANT"), Shape::Text("ant")];
    fields([&words[..], &[u8(), some(amount()), Shape::Bool, amount()]].concat())
}

pub fn denomination() -> Shape {
    fields(vec![id("account id"), new_denomination(), amount(), amount(), u64()])
}

pub fn escrow_terms() -> Shape {
    fields(vec![id("account id"), u64(), amount(), none(digest()), some(id("account id")), u64()])
}

pub fn escrow() -> Shape {
    fields(vec![id("account id"), escrow_terms(), u64()])
}

pub fn name_record() -> Shape {
    fields(vec![id("account id"), Shape::Cid, u64(), u64()])
}

pub fn channel_terms() -> Shape {
    let parties = [id("account id"), id("account id")];
    fields([&parties[..], &[u64(), amount(), amount(), u64(), digest()]].concat())
}

pub fn channel_update() -> Shape {
    fields(vec![digest(), u64(), amount(), amount(), Shape::Bool])
}

pub fn signed_channel_update() -> Shape {
    fields(vec![channel_update(), signature(), signature()])
}

/// A channel in each phase.
pub fn channels() -> Vec<Shape> {
    let closing = vec![id("account id"), u64(), u64(), amount(), amount(), u64()];
    let all = [vec![u64()], closing, vec![amount(), amount(), u64()]];
    let phase = |(number, fields)| Shape::Variant(3, number as u64, fields);
    let phases = all.into_iter().enumerate().map(phase);
    phases.map(|phase| fields(vec![channel_terms(), amount(), phase])).collect()
}

pub fn transaction(body: Shape) -> Shape {
    fields(vec![id("account id"), u64(), body])
}

pub fn reasons() -> Vec<Shape> {
    let all = [
        vec![id("task id")],
        vec![u64()],
        vec![id("task id"), id("node key")],
        vec![u64(), id("node key")],
    ];
    let reason = |(number, fields)| Shape::Variant(4, number as u64, fields);
    all.into_iter().enumerate().map(reason).collect()
}

pub fn payment(reason: Shape) -> Shape {
    let before = [u64(), id("account id"), id("node key"), amount(), amount(), u64()];
    fields([&before[..], &[reason, amount()]].concat())
}

pub fn node_record() -> Shape {
    fields(vec![
        id("account id"),
        id("node key"),
        id("validator key"),
        amount(),
        u64(),
        u64(),
        u64(),
        u64(),
        fields(vec![u64(); 9]),
        u64(),
        amount(),
        amount(),
        some(u64()),
        list(vec![digest()]),
        id("beacon value"),
        u64(),
        fields(vec![amount(), amount()]),
        Shape::Bool,
        u64(),
        u64(),
        some(id("node key")),
        u64(),
        u64(),
    ])
}

pub fn result() -> Shape {
    fields(vec![Shape::Cid, u64(), digest()])
}

pub fn phases() -> Vec<Shape> {
    let vote = |result| fields(vec![result, id("validator key")]);
    let committee = list(vec![vote(some(result())), vote(none(result()))]);
    let all = [
        vec![u32()],
        vec![u32(), u64(), u64(), u64()],
        vec![Shape::Index(4), u32(), committee, some(id("account id")), u64()],
        vec![result(), u64(), Shape::Bool, u64()],
        vec![result(), u64()],
        vec![u64()],
        vec![u64()],
    ];
    let phase = |(number, fields)| Shape::Variant(7, number as u64, fields);
    all.into_iter().enumerate().map(phase).collect()
}

pub fn task_record(phase: Shape) -> Shape {
    let replica = fields(vec![
        id("node key"),
        id("account id"),
        u32(),
        Shape::Bool,
        some(digest()),
        none(result()),
        Shape::Bool,
    ]);
    fields(vec![
        id("task id"),
        id("account id"),
        task(),
        u64(),
        amount(),
        list(vec![replica]),
        phase,
        fields(vec![u64(), u64()]),
        amount(),
    ])
}

pub fn epoch_record() -> Shape {
    let row = fields(vec![
        id("node key"),
        u64(),
        u64(),
        u64(),
        Shape::Blob,
        amount(),
        some(u64()),
        amount(),
    ]);
    fields(vec![
        u64(),
        u64(),
        digest(),
        digest(),
        digest(),
        amount(),
        u64(),
        u64(),
        list(vec![row]),
    ])
}

pub fn chain_state() -> Shape {
    let before = [u64(), id("block hash"), u64(), id("beacon value")];
    fields([&before[..], &[u64(), u64(), u64(), digest()]].concat())
}
