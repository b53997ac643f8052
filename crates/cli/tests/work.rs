//! Work on one's own data through the real binary: match, compress, encrypt, data keys; alone and on
//! two nodes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Dir, Node, Random, anthill, run_with, until};
use serde_json::{Value, json};

/// Runs a command on a data folder without a node.
fn on(data: &Path, words: &[&str]) -> common::Output {
    run_with(anthill().arg("--json").arg("--data").arg(data).args(words), b"")
}

fn ok(data: &Path, words: &[&str]) -> Value {
    let output = on(data, words);
    assert_eq!(output.code, 0, "{words:?}: {output:?}");
    output.json()
}

fn topics(dir: &Dir) -> String {
    let topics = json!({
        "animals": ["a cat sleeps", "the dog barks", "horses and cows", "a small bird sings"],
        "money": ["interest rates rise", "the bank lends money", "stocks fell", "a loan"],
        "weather": ["rain tomorrow", "a sunny and warm day", "snow in the mountains", "strong winds"],
    });
    std::fs::write(dir.join("topics.json"), topics.to_string()).unwrap();
    dir.text("topics.json")
}

#[test]
fn texts_are_matched_alike_here_and_on_the_mesh() {
    let dir = Dir::new("match");
    let topics = topics(&dir);
    let node = Node::up(dir.join("node"));
    let words = [
        "match",
        "--categories",
        &topics,
        "--text",
        "my kitten and my puppy",
        "--text",
        "credit from a bank",
        "--text",
        "integer overflow in the linker script parser",
    ];
    let local = ok(&dir.join("none"), &words);
    let categories: Vec<&Value> =
        local["results"].as_array().unwrap().iter().map(|r| &r["category"]).collect();
    assert_eq!(categories, [&json!("animals"), &json!("money"), &Value::Null]);
    assert_eq!((&local["calibrated"], &local["tasks"]), (&json!(true), &json!([])));
    for row in local["results"].as_array().unwrap() {
        let confidence = row["confidence"].as_f64().unwrap();
        assert!((0.25..=1.0).contains(&confidence), "{row}");
    }
    let mut mesh = node.json(&[&words[..], &["--mesh"]].concat());
    assert_eq!(mesh["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(mesh["workers"].as_array().unwrap().len(), 1);
    (mesh["tasks"], mesh["workers"]) = (json!([]), json!([]));
    assert_eq!(mesh, local);

    std::fs::write(dir.join("bad.json"), "[1]").unwrap();
    let none = dir.join("none");
    let fails = |code: i32, words: &[&str], what: &str| on(&none, words).fails(code, &[what]);
    fails(2, &["match", "--categories", &dir.text("bad.json"), "--text", "x"], "example");
    fails(2, &["match", "--categories", &topics], "--text or --in");
    fails(2, &["match", "--categories", &topics, "--text", "x", "--model", "no"], "model list");
    fails(1, &["match", "--categories", &dir.text("no.json"), "--text", "x"], "no.json");
    fails(1, &["match", "--categories", &topics, "--text", " "], "BadInput");
    fails(3, &["match", "--categories", &topics, "--text", "x", "--mesh"], "anthill up");
}

#[test]
fn files_are_compressed_and_come_back() {
    let dir = Dir::new("compress");
    let (data, none) = (dir.join("data"), dir.join("none"));
    // More than two pieces: words, then noise.
    let mut random = Random::new(5);
    let mut bytes: Vec<u8> =
        (0..1_200_000).flat_map(|_| format!("word{} ", random.below(500)).into_bytes()).collect();
    bytes.extend((0..70_000).map(|_| random.below(256) as u8));
    std::fs::write(&data, &bytes).unwrap();
    let (packed, back) = (dir.text("packed.zst"), dir.text("back"));
    let done = ok(&none, &["compress", &dir.text("data"), "-o", &packed]);
    assert_eq!(done["read"], bytes.len());
    assert!(done["pieces"].as_u64().unwrap() > 2, "{done}");
    assert!(done["written"].as_u64().unwrap() * 2 < bytes.len() as u64, "{done}");
    ok(&none, &["decompress", &packed, "-o", &back]);
    assert_eq!(std::fs::read(&back).unwrap(), bytes);

    // The network gives the same bytes.
    let node = Node::up(dir.join("node"));
    let mesh = dir.text("mesh.zst");
    let done = node.json(&["compress", &dir.text("data"), "-o", &mesh, "--mesh"]);
    assert_eq!(done["tasks"].as_array().unwrap().len(), done["pieces"].as_u64().unwrap() as usize);
    assert_eq!(std::fs::read(&mesh).unwrap(), std::fs::read(&packed).unwrap());

    let fails = |words: &[&str], what: &str| {
        let output = on(&none, words);
        assert!(output.code == 1 || output.code == 2, "{output:?}");
        assert!(output.text().contains(what) || format!("{output:?}").contains(what), "{output:?}");
    };
    let fresh = dir.text("fresh");
    fails(&["decompress", &packed, "-o", &fresh, "--max-bytes", "100000"], "--max-bytes");
    fails(&["decompress", &dir.text("data"), "-o", &fresh], "data");
    fails(&["decompress", &packed, "-o", &back], "exists already");
    fails(&["compress", &dir.text("absent"), "-o", &fresh], "absent");
    assert!(!Path::new(&fresh).exists() && !dir.join("fresh.part").exists());
    std::fs::write(dir.join("empty"), b"").unwrap();
    ok(&none, &["compress", &dir.text("empty"), "-o", &dir.text("empty.zst")]);
    ok(&none, &["decompress", &dir.text("empty.zst"), "-o", &dir.text("empty.back")]);
    assert_eq!(std::fs::read(dir.join("empty.back")).unwrap(), b"");
}

#[test]
fn encrypted_tasks_go_to_nodes_that_hold_the_key() {
    let dir = Dir::new("encrypt");
    let founder = Node::up(dir.join("one"));
    let second = Node::joined(dir.join("two"), &founder.ticket());
    let id = founder.json(&["key", "new", "letters"])["id"].as_str().unwrap().to_string();
    founder.run(&["key", "new", "letters"]).fails(1, &["already"]);
    founder.run(&["key", "new", "../x"]).fails(1, &["cannot name a key"]);
    let file = founder.data.join("keys/data/letters.key");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

    // While it is sealed to nobody, nothing leaves the node.
    std::fs::write(dir.join("small"), b"a letter").unwrap();
    let (small, alone) = (dir.text("small"), dir.text("alone.enc"));
    let done = founder.json(&["encrypt", "--key", "letters", &small, "-o", &alone, "--mesh"]);
    assert_eq!((&done["pieces"], &done["tasks"]), (&json!(1), &json!([])));

    // The founder seals it to the second node; a third party cannot open it.
    let to = second.json(&["status"])["node"].as_str().unwrap().to_string();
    let sealed = founder.json(&["key", "seal", "letters", "--to", &to]);
    let sealed = sealed["sealed"].as_str().unwrap();
    founder.run(&["key", "open", sealed]).fails(1, &["no key sealed to this node"]);
    assert_eq!(second.json(&["key", "open", sealed])["id"], *id);
    assert_eq!(second.json(&["key", "list"]), json!([{ "name": "letters", "id": id }]));

    // Once both offer the key, pieces are tasks of theirs.
    let bytes: Vec<u8> = (0..5_000_000u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(dir.join("plain"), &bytes).unwrap();
    let mut count = 0;
    let encrypted = until("a task under the key is accepted", || {
        count += 1;
        let out = dir.text(&format!("{count}.enc"));
        let words = ["encrypt", "--key", "letters", &dir.text("plain"), "-o", &out, "--mesh"];
        let done = founder.json(&words);
        assert_eq!(done["pieces"], 2);
        (done["tasks"].as_array().unwrap().len() == 2).then_some(out)
    });
    // Whoever holds the key decrypts; the plaintext is nowhere in the file.
    let out = dir.text("out");
    second.ok(&["decrypt", &encrypted, "-o", &out]);
    assert_eq!(std::fs::read(&out).unwrap(), bytes);
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = std::fs::read(&encrypted).unwrap();
    assert!(!secret.windows(32).any(|w| w == &bytes[..32]));

    // Two runs do not show that the plaintexts are equal.
    let again = dir.text("again.enc");
    founder.ok(&["encrypt", "--key", "letters", &dir.text("plain"), "-o", &again]);
    assert_ne!(std::fs::read(&again).unwrap(), secret);

    // Altered, cut, longer, without the key: refused, and nothing is left behind.
    let mut flipped = secret.clone();
    flipped[100] ^= 1;
    let longer = [&secret[..], b"x"].concat();
    for (name, bytes) in
        [("flipped", &flipped[..]), ("cut", &secret[..secret.len() - 1]), ("longer", &longer)]
    {
        std::fs::write(dir.join(name), bytes).unwrap();
        founder.run(&["decrypt", &dir.text(name), "-o", &dir.text("bad")]).fails(1, &[]);
        assert!(!dir.join("bad").exists() && !dir.join("bad.part").exists(), "{name}");
    }
    on(&dir.join("none"), &["decrypt", &encrypted, "-o", &dir.text("bad")]).fails(1, &[&id]);

    // Export and import under a password.
    let (exported, password) = (dir.text("letters.key"), dir.text("password"));
    std::fs::write(dir.join("password"), "correct horse").unwrap();
    std::fs::write(dir.join("wrong"), "battery").unwrap();
    let third = dir.join("third");
    founder.ok(&["key", "export", "letters", &exported, "--password-file", &password]);
    on(&third, &["key", "import", "mine", &exported, "--password-file", &dir.text("wrong")])
        .fails(1, &["wrong password"]);
    let imported = ok(&third, &["key", "import", "mine", &exported, "--password-file", &password]);
    assert_eq!(imported["id"], *id);
    ok(&third, &["decrypt", &encrypted, "-o", &dir.text("third.out")]);
    assert_eq!(std::fs::read(dir.join("third.out")).unwrap(), bytes);
}

#[test]
fn the_decoder_gives_the_same_bits_in_shards_and_on_the_mesh() {
    let dir = Dir::new("generate");
    let none = dir.join("none");
    let prompt = "The node writes ";
    let words = ["generate", "--prompt", prompt, "--tokens", "3"];
    let whole = ok(&none, &words);
    assert_eq!((&whole["tokens"], whole["stages"].as_array().unwrap().len()), (&json!(3), 1));
    let founder = Node::up(dir.join("one"));
    let second = Node::joined(dir.join("two"), &founder.ticket());
    until("both nodes are known", || {
        (founder.json(&["status"])["nodes"].as_array()?.len() == 2).then_some(())
    });
    for shards in ["2", "4"] {
        let sharded = ok(&none, &[&words[..], &["--shards", shards]].concat());
        assert_eq!(sharded["logits_digest"], whole["logits_digest"]);
        assert_eq!(sharded["text"], whole["text"]);
    }
    let mesh = founder.json(&[&words[..], &["--shards", "2", "--mesh"]].concat());
    assert_eq!((&mesh["logits_digest"], &mesh["text"]), (&whole["logits_digest"], &whole["text"]));
    for stage in mesh["stages"].as_array().unwrap() {
        assert_eq!(stage["tasks"].as_array().unwrap().len(), 3, "{stage}");
        assert!(!stage["workers"].as_array().unwrap().is_empty());
    }
    drop(second);

    let sampled = |seed: &str| {
        let words =
            ["generate", "--prompt", prompt, "--tokens", "40", "--top-k", "20", "--seed", seed];
        ok(&none, &words)["text"].clone()
    };
    assert_eq!(sampled("1"), sampled("1"));
    assert_ne!(sampled("1"), sampled("2"));
    let fails = |words: &[&str], what: &str| on(&none, words).fails(2, &[what]);
    fails(&["generate", "--prompt", ""], "bytes");
    fails(&["generate", "--prompt", "x", "--tokens", "1000"], "bytes");
    fails(&["generate", "--prompt", "x", "--shards", "9"], "layers");
    fails(&["generate", "--prompt", "x", "--top-k", "0"], "--top-k");
}
