//! `anthill tx`, each group through the real binary and a running network.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_types::Cid;
use anthill_types::hash::sha3;
use anthill_types::ids::to_hex;
use common::{Dir, Node, micro, until};
use serde_json::{Value, json};

/// Runs a transaction to its block; gives what was said of it.
fn tx(node: &Node, words: &[&str]) -> Value {
    node.json(&[&["tx"], words, &["--wait"]].concat())
}

fn show(node: &Node, words: &[&str]) -> Value {
    node.json(&[&["tx"], words].concat())
}

fn account(node: &Node) -> String {
    node.status().unwrap()["account"].as_str().unwrap().to_string()
}

/// Credits that an account can spend, micro.
fn credits(node: &Node, account: &str) -> u128 {
    micro(&show(node, &["denom", "show", "0", "--of", account])["amount"])
}

fn cid(text: &str) -> String {
    Cid::of(text.as_bytes()).to_string()
}

#[test]
fn denominations_and_sends() {
    let dir = Dir::new("denominations");
    let node = Node::up(dir.join("node"));
    let own = account(&node);
    let (a, b) = ("11".repeat(32), "22".repeat(32));
    tx(
        &node,
        &[
            "denom",
            "create",
            "ANT",
            "ant",
            "--decimals",
            "2",
            "--supply",
            "10.5",
            "--cap",
            "20",
            "--mintable",
        ],
    );
    let coin = show(&node, &["denom", "show", "1"]);
    assert_eq!(
        (&coin["symbol"], &coin["minted"], &coin["cap"]),
        (&json!("ANT"), &json!("10.5"), &json!("20"))
    );
    assert_eq!(coin["issuer"], own.as_str());
    tx(&node, &["denom", "mint", "1", &a, "9.5"]);
    node.run(&["tx", "denom", "mint", "1", &a, "0.01"]).fails(1, &["cap allows"]);
    tx(&node, &["denom", "send", "1", &b, "0.25"]);
    tx(&node, &["send", &b, "0.75", "--denomination", "1"]);
    tx(&node, &["denom", "burn", "1", "1"]);
    let held = |who: &str| show(&node, &["denom", "show", "1", "--of", who])["amount"].clone();
    assert_eq!((held(&own), held(&a), held(&b)), (json!("8.5"), json!("9.5"), json!("1")));
    let coin = show(&node, &["denom", "show"])[0].clone();
    assert_eq!((&coin["minted"], &coin["burned"]), (&json!("20"), &json!("1")));
    assert!(node.ok(&["tx", "denom", "show", "1"]).contains("burned"));
    node.run(&["tx", "denom", "show", "9"]).fails(1, &["there is no denomination 9"]);
    node.run(&["tx", "denom", "send", "1", &b, "0.001"]).fails(1, &["at most 2 decimals"]);
    node.run(&["tx", "denom", "send", "1", &b, "9"]).fails(1, &["900 units", "only 850"]);
    node.run(&["tx", "denom", "create", "ant", "x", "--supply", "1"]).fails(1, &["capital"]);
    // Credits: one, and many at once.
    tx(&node, &["send", &a, "12.5"]);
    assert_eq!(credits(&node, &a), 12_500_000);
    std::fs::write(dir.join("wages.csv"), format!("# wages\n{a},1\n\n{b}, 0.5\n")).unwrap();
    tx(&node, &["multi-send", &dir.text("wages.csv")]);
    assert_eq!((credits(&node, &a), credits(&node, &b)), (13_500_000, 500_000));
    std::fs::write(dir.join("bad.csv"), format!("{a} 1\n")).unwrap();
    node.run(&["tx", "multi-send", &dir.text("bad.csv")]).fails(2, &["line 1", "ACCOUNT,AMOUNT"]);
    std::fs::write(dir.join("much.csv"), format!("{a},1\n{b},99999999\n")).unwrap();
    node.run(&["tx", "multi-send", &dir.text("much.csv")]).fails(1, &["the multi-send needs"]);
    assert_eq!(credits(&node, &a), 13_500_000, "all or nothing");
    node.assert_conserved();
}

#[test]
fn links_names_and_properties() {
    let dir = Dir::new("links");
    let node = Node::up(dir.join("node"));
    let own = account(&node);
    let [a, b, c] = ["a", "b", "c"].map(cid);
    tx(&node, &["link", &a, &b, &c, &b]);
    let particle = show(&node, &["particle", &b]);
    assert_eq!((&particle["edges"], particle["links"].as_array().unwrap().len()), (&json!(2), 2));
    assert_eq!(particle["links"][0]["neuron"], own.as_str());
    let link = |from: &str, to: &str| node.get(&format!("/v1/state/links/{own}/{from}/{to}"));
    assert!(link(&a, &b).is_some() && link(&b, &a).is_none());
    node.run(&["tx", "link", &a, &b]).fails(1, &["this link exists already"]);
    node.run(&["tx", "link", &a]).fails(2, &["pairs"]);
    node.run(&["tx", "link", &a, "x"]).fails(1, &["content id"]);
    tx(&node, &["unlink", &a, &b]);
    assert!(link(&a, &b).is_none());
    node.run(&["tx", "particle", &a]).fails(1, &["nothing is linked"]);
    // Names.
    tx(&node, &["name", "register", "my-notes", &a, "--epochs", "900"]);
    let name = show(&node, &["name", "show", "my-notes"]);
    assert_eq!((&name["target"], &name["owner"]), (&json!(a), &json!(own)));
    assert_eq!(show(&node, &["name", "show", &a])[0]["name"], "my-notes");
    tx(&node, &["name", "renew", "my-notes", "--epochs", "5"]);
    tx(&node, &["name", "set", "my-notes", &b]);
    let after = show(&node, &["name", "show", "my-notes"]);
    assert_eq!(after["expires"].as_u64().unwrap(), name["expires"].as_u64().unwrap() + 5);
    assert_eq!(show(&node, &["name", "show", &a]), json!([]));
    node.run(&["tx", "name", "register", "my-notes", &a]).fails(1, &["held by somebody"]);
    node.run(&["tx", "name", "register", "No", &a]).fails(1, &["3 to 64"]);
    tx(&node, &["name", "register", "other", &a]);
    tx(&node, &["name", "transfer", "my-notes", &"11".repeat(32)]);
    node.run(&["tx", "name", "set", "my-notes", &a]).fails(1, &["another account holds it"]);
    tx(&node, &["name", "register", "brief", &a, "--epochs", "900"]);
    tx(&node, &["name", "release", "brief"]);
    node.run(&["tx", "name", "show", "brief"]).fails(1, &["nobody holds"]);
    // Properties.
    tx(&node, &["prop", "set", "web/home", "https://example.org/?q=1"]);
    tx(&node, &["prop", "set", "key", "00ff", "--hex"]);
    let all = show(&node, &["prop", "get"]);
    let found: Vec<&str> =
        all.as_array().unwrap().iter().filter_map(|p| p["hex"].as_str()).collect();
    assert_eq!(found.len(), 2, "{all}");
    let one = show(&node, &["prop", "get", "key", "--account", &own]);
    assert_eq!((&one[0]["hex"], &one[0]["value"]), (&json!("00ff"), &Value::Null));
    tx(&node, &["prop", "unset", "key"]);
    assert!(node.ok(&["tx", "prop", "get", "key"]).contains("nothing"));
    node.run(&["tx", "prop", "unset", "key"]).fails(1, &["no property"]);
    node.run(&["tx", "prop", "get", "a b"]).fails(2, &["no id, name or key"]);
    node.assert_conserved();
}

#[test]
fn escrows_are_released_and_refunded() {
    let dir = Dir::new("escrow");
    let first = Node::up(dir.join("first"));
    let second = Node::joined(dir.join("second"), &first.ticket());
    let payee = account(&second);
    tx(&first, &["send", &payee, "10"]);
    let preimage = [7u8; 32];
    let lock = to_hex(&sha3(&[&preimage]));
    let open = |more: &[&str]| {
        let height = first.status().unwrap()["height"].as_u64().unwrap();
        let expires = (height + 100_000).to_string();
        let words = [&["escrow", "open", &payee, "2.5", "--expires", &expires], more].concat();
        tx(&first, &words)["opens"].as_str().unwrap().to_string()
    };
    let locked = open(&["--lock", &lock]);
    assert_eq!(show(&first, &["escrow", "show", &locked])["amount"], "2.5");
    until("the other node has it", || second.get(&format!("/v1/state/escrows/{locked}")));
    second.run(&["tx", "escrow", "release", &locked]).fails(1, &["or the preimage"]);
    second
        .run(&["tx", "escrow", "release", &locked, "--preimage", &"08".repeat(32)])
        .fails(1, &["not the preimage"]);
    tx(&second, &["escrow", "release", &locked, "--preimage", &to_hex(&preimage)]);
    second.run(&["tx", "escrow", "show", &locked]).fails(1, &["is open"]);
    let plain = open(&[]);
    first.run(&["tx", "escrow", "refund", &plain]).fails(1, &["payee or arbiter"]);
    until("the other node has it", || second.get(&format!("/v1/state/escrows/{plain}")));
    tx(&second, &["escrow", "refund", &plain]);
    let own = open(&[]);
    tx(&first, &["escrow", "release", &own]);
    first.run(&["tx", "escrow", "open", &payee, "1", "--expires", "1"]).fails(1, &["to come"]);
    first.assert_conserved();
}

#[test]
fn channels_between_two_machines() {
    let dir = Dir::new("channel");
    let first = Node::up(dir.join("first"));
    let second = Node::joined(dir.join("second"), &first.ticket());
    let other = account(&second);
    tx(&first, &["send", &other, "10"]);
    let file = dir.text("c.json");
    let height = first.status().unwrap()["height"].as_u64().unwrap();
    let until_height = (height + 100_000).to_string();
    let propose = [
        "tx",
        "channel",
        "propose",
        &file,
        "--with",
        &other,
        "--deposit",
        "5",
        "--their",
        "1",
        "--valid-until",
        &until_height,
    ];
    first.ok(&propose);
    first.run(&propose).fails(2, &["exists already"]);
    first.run(&["tx", "channel", "open", &file]).fails(2, &["not accepted"]);
    first.run(&["tx", "channel", "accept", &file]).fails(2, &["the other party accepts"]);
    second.ok(&["tx", "channel", "accept", &file]);
    let id = tx(&first, &["channel", "open", &file])["opens"].as_str().unwrap().to_string();
    assert_eq!(show(&first, &["channel", "show", &id])["held"], "6");
    // Three payments, the second back; each side keeps its own copies.
    first.ok(&["tx", "channel", "update", &file, "--pay", "0.5"]);
    first.run(&["tx", "channel", "update", &file, "--pay", "1"]).fails(2, &["waits for the other"]);
    first.run(&["tx", "channel", "sign", &file]).fails(2, &["signed it already"]);
    second.ok(&["tx", "channel", "sign", &file]);
    let old = dir.text("old.json");
    std::fs::copy(&file, &old).unwrap();
    second.ok(&["tx", "channel", "update", &file, "--pay", "0.1"]);
    first.ok(&["tx", "channel", "sign", &file]);
    first.run(&["tx", "channel", "update", &file, "--pay", "100"]).fails(2, &["less than that"]);
    first.ok(&["tx", "channel", "update", &file, "--pay", "2"]);
    second.ok(&["tx", "channel", "sign", &file]);
    // The first closes with an update that is two versions old, and loses all.
    let before = credits(&first, &other);
    tx(&first, &["channel", "close", &old]);
    until("the other node has it", || {
        let shown = second.get(&format!("/v1/state/channels/{id}"))?;
        (shown["phase"] == "closing").then_some(())
    });
    second.run(&["tx", "channel", "finalise", &id]).fails(1, &["can still be shown"]);
    tx(&second, &["channel", "dispute", &file]);
    let shown = show(&second, &["channel", "show", &id]);
    assert_eq!((&shown["phase"], &shown["other_balance"]), (&json!("closed"), &json!("6")));
    assert!(credits(&second, &other) > before + 5_900_000);
    first.run(&["tx", "channel", "close", &file]).fails(1, &["it is closed"]);
    closes_together(&dir, &first, &second);
    first.assert_conserved();
}

fn closes_together(dir: &Dir, first: &Node, second: &Node) {
    let file = dir.text("d.json");
    let other = account(second);
    let propose = [
        "tx",
        "channel",
        "propose",
        &file,
        "--with",
        &other,
        "--deposit",
        "2",
        "--valid-until",
        "1000000",
    ];
    first.ok(&propose);
    second.ok(&["tx", "channel", "accept", &file]);
    let id = tx(first, &["channel", "open", &file])["opens"].as_str().unwrap().to_string();
    first.ok(&["tx", "channel", "update", &file, "--pay", "0.25", "--closing"]);
    second.ok(&["tx", "channel", "sign", &file]);
    second.run(&["tx", "channel", "update", &file, "--pay", "0.1"]).fails(2, &["signed already"]);
    tx(first, &["channel", "close", &file]);
    let shown = show(first, &["channel", "show", &id]);
    assert_eq!(
        (&shown["opener_balance"], &shown["other_balance"]),
        (&json!("1.75"), &json!("0.25"))
    );
    // Alone and without an update: the opening balances, after the time of disputes.
    let file = dir.text("e.json");
    let propose = [
        "tx",
        "channel",
        "propose",
        &file,
        "--with",
        &other,
        "--deposit",
        "2",
        "--valid-until",
        "1000000",
    ];
    first.ok(&propose);
    second.ok(&["tx", "channel", "accept", &file]);
    let id = tx(first, &["channel", "open", &file])["opens"].as_str().unwrap().to_string();
    tx(first, &["channel", "close", &file]);
    let due = show(first, &["channel", "show", &id])["until"].as_u64().unwrap();
    until("the time of disputes is over", || {
        (first.status()?["epoch"].as_u64()? >= due).then_some(())
    });
    tx(first, &["channel", "finalize", &id]);
    assert_eq!(show(first, &["channel", "show", &id])["opener_balance"], "2");
    let mut damaged = std::fs::read_to_string(&file).unwrap();
    damaged = damaged.replacen("\"terms\": \"87", "\"terms\": \"88", 1);
    std::fs::write(&file, damaged).unwrap();
    first.run(&["tx", "channel", "update", &file, "--pay", "1"]).fails(2, &["damaged"]);
}
