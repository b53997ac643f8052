//! Writes the seeds of the corpora: for each door one small valid value, and texts that people write.
//! Run from the repository's root: `cargo run --release -p anthill-fuzz --example seeds`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use anthill_consensus::Certificate;
use anthill_engine::wire::*;
use anthill_fuzz::doors::DOORS;
use anthill_fuzz::{model, snapshot};
use anthill_light::{Bundle, Entry};
use anthill_merkle::smt::{Tree, key_hash, value_hash};
use anthill_sandbox::{Fault, Outcome};
use anthill_types::testing::{Generate, Source, Visitor, each_type};
use anthill_types::*;

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new("fuzz/corpus").join(target);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("seed-{}", name.replace(' ', "-"))), bytes).unwrap();
}

fn door(name: &str, bytes: &[u8]) {
    let at = DOORS.iter().position(|(door, _)| *door == name).unwrap();
    assert!(DOORS[at].1(bytes), "{name} is refused at its own door");
    write("wire", name, &[&[at as u8], bytes].concat());
}

/// The shortest of many values that still is longer than the shortest.
struct Small;
impl Visitor for Small {
    fn visit<T: Wire + Generate>(&mut self) {
        door(T::NAME, &small::<T>().to_bytes());
    }
}

fn small<T: Wire + Generate>() -> T {
    let mut source = Source::new(T::NAME);
    let mut all: Vec<T> = (0..40).map(|_| T::generate(&mut source)).collect();
    all.sort_by_key(|value| value.to_bytes().len());
    all.swap_remove(4)
}

fn main() {
    each_type(&mut Small);
    let signed = small::<SignedTransaction>();
    for (i, frame) in [
        Frame::Consensus(Bytes(vec![1, 2])),
        Frame::Transactions(vec![signed.clone()]),
        Frame::Status { height: 300, tip: BlockHash([5; 32]) },
    ]
    .iter()
    .enumerate()
    {
        door(Frame::NAME, &frame.to_bytes());
        write("wire", &format!("frame-{i}"), &[&[18], &frame.to_bytes()[..]].concat());
    }
    door(Request::NAME, &Request::Blocks { from: 1, most: 64 }.to_bytes());
    let block = CommittedBlock { block: Bytes(vec![1; 30]), certificate: Bytes(vec![2; 30]) };
    door(Blocks::NAME, &Blocks { blocks: vec![block] }.to_bytes());
    let address = PeerAddress { node: NodeKey([3; 32]), addresses: vec!["127.0.0.1:4478".into()] };
    door(Announcement::NAME, &Announcement::Address(address.clone()).to_bytes());
    door(JoinRequest::NAME, &JoinRequest { admit: signed }.to_bytes());
    let genesis = small::<Genesis>();
    let welcome = JoinReply::Welcome { genesis: genesis.clone(), peers: vec![address] };
    door(JoinReply::NAME, &welcome.to_bytes());
    let signatures = vec![([1; 32], [2; 64])];
    let certificate = Certificate { height: 1, round: 0, block_hash: [4; 32], signatures };
    door("certificate", &certificate.to_bytes());
    let tree = Tree::from_leaves((0..5u8).map(|i| (key_hash(&[i]), value_hash(&[i]))));
    door("state proof", &tree.prove(&[1]).to_bytes());
    door("task output", &Outcome { result: Err(Fault::CostLimit), cost: 0 }.to_output());
    let entry = Entry {
        key: Bytes(b"/bank/supply".to_vec()),
        value: Bytes(vec![0x83, 0, 0, 0]),
        proof: Bytes(tree.prove(&[9]).to_bytes()),
    };
    let bundle = Bundle {
        magic: "anthill-proof/2".into(),
        subject: "credits:1".into(),
        genesis,
        header: small::<Header>(),
        certificate: Bytes(certificate.to_bytes()),
        entries: vec![entry],
        handovers: Vec::new(),
    };
    door(Bundle::NAME, &bundle.to_bytes());
    door("consensus message", &anthill_consensus::catch_up_message(&certificate, &[7; 40]));
    texts();
}

fn texts() {
    let file = "cpu = 50\nname = \"lab\"\npaused = true\nlisten = \"0.0.0.0:4478\"\n";
    write("config", "file", format!("\0{file}").as_bytes());
    write("config", "amount", b"\x0212.000001");
    write("config", "subject", b"\x03credits:42");
    write("config", "cid", format!("\x04{}", Cid::of(b"anthill")).as_bytes());
    write("config", "account", format!("\x05{}", AccountId([7; 32])).as_bytes());
    let bodies = [
        r#"{"path":"/notes","name":"notes","public":true,"model":"minilm"}"#,
        r#"{"question":"bees?","k":3,"index":"notes"}"#,
        r#"{"name":"a","stage":"ready","files":1,"skipped":[{"path":"x","reason":"y"}]}"#,
        r#"{"answers":[],"model":"m"}"#,
        r#"{"input":["a","b"],"model":"m","encoding_format":"base64","dimensions":256}"#,
        r#"{"cpu":50}"#,
        r#"{"bond":"10","valid_seconds":60}"#,
        r#"{"to":"00","amount":"1.5"}"#,
        r#"{"amount":"1"}"#,
        r#"{"tasks":10,"one_by_one":true}"#,
        "newest=10",
        "\0Bearer 0123456789abcdef",
    ];
    for (kind, body) in bodies.iter().enumerate() {
        write("http", &format!("{kind}"), &[&[kind as u8], body.as_bytes()].concat());
    }
    let mut index = snapshot::small(3, 1).to_bytes();
    index.splice(0..0, [0]);
    write("snapshot", "index", &index);
    let mut tiny = model::tiny(2);
    tiny.splice(0..0, [0]);
    write("model", "static", &tiny);
    let header = br#"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    write("model", "safetensors", &[&[2], &length[..], header, &[0, 0, 128, 63]].concat());
}
