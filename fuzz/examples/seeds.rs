//! Writes the seeds of the corpora: for each door one small valid value, and texts that people write.
//! Run from the repository's root: `cargo run --release -p anthill-fuzz --example seeds`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use anthill_consensus::Certificate;
use anthill_engine::wire::*;
use anthill_fuzz::doors::DOORS;
use anthill_fuzz::{model, module, snapshot};
use anthill_identity::Place;
use anthill_learn::decoder::{Shape, random_file};
use anthill_light::bundle::ListProof;
use anthill_light::{Bundle, Entry};
use anthill_merkle::smt::{Tree, key_hash, value_hash};
use anthill_node::programs::cipher::encrypt_params;
use anthill_node::programs::decode::Flow;
use anthill_node::programs::matching::{MatchInput, MatchOutput, Placed};
use anthill_sandbox::codec;
use anthill_sandbox::wasm::{Grant, ModuleParams, Rights};
use anthill_sandbox::{Fault, Outcome};
use anthill_scheduler::controller::audit::AuditLog;
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
    door("task output", &Outcome::of(Err(Fault::CostLimit), 0).to_output());
    let entry = Entry {
        key: Bytes(b"/bank/supply".to_vec()),
        value: Bytes(vec![0x83, 0, 0, 0]),
        proof: Bytes(tree.prove(&[9]).to_bytes()),
    };
    let bundle = Bundle {
        magic: "anthill-proof/3".into(),
        subject: "credits:1".into(),
        genesis,
        header: small::<Header>(),
        certificate: Bytes(certificate.to_bytes()),
        entries: vec![entry],
        handovers: Vec::new(),
        lists: vec![ListProof {
            root: 2,
            index: 1,
            size: 3,
            leaf: Bytes(vec![5; 44]),
            path: vec![Digest([6; 32]); 2],
        }],
    };
    door(Bundle::NAME, &bundle.to_bytes());
    door("consensus message", &anthill_consensus::catch_up_message(&certificate, &[7; 40]));
    programs();
    texts();
}

/// Inputs and outputs of the built-in programs.
fn programs() {
    let list = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let input =
        MatchInput { categories: vec![list(&["a", "b"]), list(&["ac"])], texts: list(&["z"]) };
    door("match input", &input.to_bytes());
    let placed = |category| Placed { category, cosine: -5, confidence: 700_000 };
    let placed = vec![placed(None), placed(Some(1))];
    let output = MatchOutput { sharpness: 16_000, none: 350_000, cases: 3, placed };
    door("match output", &output.to_bytes());
    door("decoder flow", &Flow::Activations(vec![1.0, -0.5]).to_bytes());
    let place = Place { salt: [3; 16], index: 1, last: true };
    door("cipher parameters", &encrypt_params(&[7; 32], &place));
    door("decompression limit", &codec::decompress_params(1 << 20));
    for which in 0..6u8 {
        for kind in [6, 6 | 8, 7 | 32] {
            let body = [9, 2, 1, 1, 3, 0, 5, 2, 1, 4, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8];
            write(
                "task",
                &format!("program-{which}-{kind}"),
                &[&[kind, 255, which][..], &body].concat(),
            );
        }
    }
    let shape = Shape { layers: 1, heads: 1, width: 1, context: 2 };
    write("model", "decoder", &[&[5][..], &random_file(shape, 1)].concat());
    for seed in 0..3u8 {
        write(
            "model",
            &format!("decoder-{seed}"),
            &[6, 2, 65, 66, seed, seed, 1, 2, 0, 9, seed, 4, 4],
        );
    }
}

fn texts() {
    let file = "cpu = 50\nname = \"lab\"\npaused = true\nlisten = \"0.0.0.0:4478\"\n";
    let telemetry = "{\"anoms\": 5, \"imbalance\": 0.3}\n{\"gain\": 0.2, \"beat_s\": 0.02}";
    write("controller", "telemetry", &[&[0], telemetry.as_bytes()].concat());
    write(
        "controller",
        "altered",
        &[&[1, 1, 9], &b"{\"a\": 1.5}\x030.1\x01\x00\x20\x00\x31"[..]].concat(),
    );
    let log = AuditLog::new(0.25).entries()[0].to_json().to_string();
    write("controller", "log", &[&[2], log.as_bytes()].concat());
    let value = "[1.0, 1e-07, NaN, -3, {\"k\": \"\\ud83d\\udc1c\", \"n\": null}]";
    write("controller", "json", &[&[3], value.as_bytes()].concat());
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
        r#"{"program":"anthill/program/noop/1","params":"","input":"Zm9v","mesh":true}"#,
        r#"{"output":"Zm9v","fault":null,"cost":1,"task":null,"workers":["00"]}"#,
        r#"{"tasks":10,"one_by_one":true}"#,
        "newest=10",
        "\0Bearer 0123456789abcdef",
    ];
    for (kind, body) in bodies.iter().enumerate() {
        write("http", &format!("{kind}"), &[&[kind as u8], body.as_bytes()].concat());
    }
    let graphs = [
        ("small", "n\ta\tb\nm\tb\tc\r\nn\ta\ta\n", "n\t10\nm\t0\n", ""),
        ("start", "n\ta\tb\n", "n\t7", "b\t4611686018427387904"),
        ("missing", "n\ta\n", "n\t-1\n", "x\t1\n"),
        ("huge", "n\ta\tb\nm\tb\ta", "n\t79228162514264337593543950335\nm\t1\n", ""),
    ];
    for (name, edges, stakes, start) in graphs {
        write("focus_load", name, format!("\u{5}{edges}\u{1c}{stakes}\u{1c}{start}").as_bytes());
    }
    write("module", "whole", &[&[0], module::SMALL].concat());
    write("module", "altered", &[1, 1, 40, 0, 200]);
    write("module", "vectors", &[&[0], module::VECTORS].concat());
    write("module", "altered-vectors", &[4, 1, 90, 0, 3]);
    let grant = Grant { prefix: b"a".to_vec(), rights: Rights::Read, entries: Vec::new() };
    let params = ModuleParams { grants: vec![grant], ..ModuleParams::new(3, b"abc") };
    write("module", "parameters", &[&[2], &params.to_bytes()[..]].concat());
    write("module", "snapshot", &[3, 2, 0, 90, 1, 3]);
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
