//! Stake, governance, blocks, proofs of keys, light clients and the epoch arithmetic, through the real
//! binary and a running network.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Dir, Node, micro, run, until};
use serde_json::{Value, json};

fn done(node: &Node, words: &[&str]) -> Value {
    node.json(&[words, &["--wait"]].concat())
}

#[test]
fn stake_is_bonded_delegated_and_taken_out() {
    let dir = Dir::new("stake");
    let node = Node::up(dir.join("node"));
    let list = node.json(&["validators"]);
    let own = &list["validators"][0];
    assert_eq!((own["validates"].as_bool(), &list["consensus"]), (Some(true), &json!("bft")));
    let (key, bond) = (own["node"].as_str().unwrap().to_string(), micro(&own["bond"]));
    assert!(node.ok(&["validators"]).contains(&key[..12]));
    done(&node, &["stake", "bond", "10"]);
    done(&node, &["stake", "unbond", "4"]);
    done(&node, &["stake", "delegate", &key, "25"]);
    let stake = node.json(&["stake", "show"]);
    assert_eq!(micro(&stake["bond"]), bond + 6_000_000);
    assert_eq!(stake["delegations"][0]["worth"], "25");
    assert_eq!(stake["unbonding"][0]["worth"], "4");
    assert_eq!(stake["unbonding"][0]["own"], true);
    let matures = stake["unbonding"][0]["matures"].to_string();
    node.run(&["stake", "withdraw", &key, &matures, "--own"]).fails(1, &["not matured"]);
    node.run(&["stake", "undelegate", &key, "--shares", "99999999999"]).fails(1, &["fewer shares"]);
    done(&node, &["stake", "undelegate", &key]);
    assert_eq!(node.json(&["stake", "show"])["delegations"], json!([]));
    node.run(&["stake", "delegate", &key, "0.5"]).fails(1, &["one credit"]);
    node.run(&["stake", "delegate", &"77".repeat(32), "5"]).fails(1, &["not bound to a node"]);
    node.run(&["stake", "leave-parent"]).fails(1, &["no parent"]);
    node.run(&["stake", "validate", "perhaps"]).fails(2, &["possible values"]);
    // Epochs last 4 s here.
    until("the unbonded stake to mature", || {
        node.run(&["stake", "withdraw", &key, &matures, "--own", "--wait"])
            .code
            .eq(&0)
            .then_some(())
    });
    // The last validator stays in the set, so that there are blocks.
    done(&node, &["stake", "validate", "off"]);
    let epoch = node.json(&["validators"])["epoch"].as_u64().unwrap();
    until("two epochs", || {
        (node.json(&["validators"])["epoch"].as_u64().unwrap() > epoch + 1).then_some(())
    });
    assert!(node.json(&["validators"])["validators"][0]["power"].as_u64().unwrap() > 0);
    node.assert_conserved();
}

#[test]
fn a_newcomer_consents_to_a_parent_and_validates() {
    let dir = Dir::new("parents");
    let founder = Node::up(dir.join("founder"));
    let ticket = founder.ticket();
    let joined = Node::joined(dir.join("joined"), &ticket);
    let node_of = |node: &Node| node.status().unwrap()["node"].as_str().unwrap().to_string();
    let (parent, child) = (node_of(&founder), node_of(&joined));
    let consent = joined.json(&["stake", "consent", &parent]);
    assert_eq!(consent["child"], child.as_str());
    let consent = consent["consent"].as_str().unwrap();
    founder.run(&["stake", "adopt", &child, &"00".repeat(64)]).fails(1, &["signature"]);
    done(&founder, &["stake", "adopt", &child, consent]);
    founder.run(&["stake", "adopt", &child, consent]).fails(1, &["has a parent"]);
    // A newcomer may have no credits yet, and transactions of its own have a fee.
    let newcomer = joined.status().unwrap()["account"].as_str().unwrap().to_string();
    done(&founder, &["tx", "send", &newcomer, "5"]);
    until("the newcomer to see its credits", || {
        (joined.run(&["stake", "validate", "on", "--wait"]).code == 0).then_some(())
    });
    until("the newcomer in the set", || {
        let list = founder.json(&["validators"]);
        let rows = list["validators"].as_array().unwrap().clone();
        rows.iter().any(|v| v["node"] == child.as_str() && v["power"] != 0).then_some(())
    });
    // The light client follows the change from the genesis.
    let genesis = founder.status().unwrap()["genesis"].as_str().unwrap().to_string();
    let url = format!("http://{}", founder.http_address());
    let light = founder.json(&["light", "follow", &url, "--genesis", &genesis]);
    assert!(light["set_changes"].as_u64().unwrap() >= 1, "{light}");
    assert_eq!(light["validators"], 2);
    done(&joined, &["stake", "leave-parent"]);
    founder.assert_conserved();
}

#[test]
fn a_parameter_is_governed() {
    let dir = Dir::new("governance");
    let node = Node::up(dir.join("node"));
    let value = |name: &str| {
        let params = node.json(&["gov", "params"]);
        let rows = params.as_array().unwrap().clone();
        let row = rows.into_iter().find(|r| r["name"] == name || r["alias"] == name).unwrap();
        row["value"].as_str().unwrap().to_string()
    };
    assert_eq!((value("VN_MAX"), value("quorum")), ("64".into(), "700000000".into()));
    assert!(node.ok(&["gov", "params"]).contains("ARO_INTERVAL"));
    done(&node, &["gov", "propose", "VN_MAX=128", "Sync_TTL=9000", "--reason", "larger machines"]);
    let proposal = node.json(&["gov", "show", "0"]);
    assert_eq!(
        (&proposal["status"], &proposal["reason"]),
        (&json!("open"), &json!("larger machines"))
    );
    assert!(node.ok(&["gov", "list"]).contains("vn_max = 128"));
    node.run(&["gov", "vote", "0", "--yes", "1.1"]).fails(2, &["0 to 1"]);
    node.run(&["gov", "vote", "7", "--yes", "1"]).fails(1, &["no such proposal"]);
    node.run(&["gov", "propose", "VN_MAX"]).fails(2, &["NAME=VALUE"]);
    node.run(&["gov", "propose", "nothing=1"]).fails(1, &["no parameter"]);
    node.run(&["gov", "propose", "quorum=1"]).fails(1, &["quorum must be"]);
    done(&node, &["gov", "vote", "0", "--yes", "0.9", "--no", "0.1"]);
    node.run(&["stake", "unbond", "1"]).fails(1, &["has voted"]);
    until("the proposal to be carried out", || {
        (node.json(&["gov", "show", "0"])["status"] == "executed").then_some(())
    });
    assert_eq!((value("VN_MAX"), value("Sync_TTL")), ("128".into(), "9000".into()));
    let account = node.status().unwrap()["account"].as_str().unwrap().to_string();
    done(&node, &["gov", "vouch", &account, "--reason", "we have met"]);
    assert_eq!(node.json(&["gov", "show", "1"])["vouch"], account.as_str());
    node.assert_conserved();
}

#[test]
fn blocks_keys_and_headers_are_checked_from_outside() {
    let dir = Dir::new("light");
    let node = Node::up(dir.join("node"));
    let account = node.status().unwrap()["account"].as_str().unwrap().to_string();
    done(&node, &["tx", "send", &"11".repeat(32), "2"]);
    let block = node.json(&["block", "latest"]);
    let height = block["height"].as_u64().unwrap();
    assert_eq!(block["signatures"], 1);
    let kinds: Vec<String> = (1..=height)
        .flat_map(|h| {
            node.json(&["block", &h.to_string()])["transactions"].as_array().unwrap().clone()
        })
        .map(|t| t["kind"].as_str().unwrap().to_string())
        .collect();
    assert!(kinds.contains(&"Transfer".to_string()), "{kinds:?}");
    node.run(&["block", "99999999"]).fails(1, &["no block 99999999"]);
    node.run(&["block", "newest"]).fails(2, &["`latest`"]);

    let there = node.json(&["proof", "/bank/supply"]);
    assert_eq!((there["present"].as_bool(), there["signed_by"].as_u64()), (Some(true), Some(1)));
    let file = dir.text("absent.cbor");
    let absent = node.json(&["proof", "/bank/nothing", "--output", &file]);
    assert_eq!((absent["present"].as_bool(), &absent["value"]), (Some(false), &json!("")));
    let hex = format!("0x{}{account}", "2f62616e6b2f6163636f756e742f");
    assert!(node.ok(&["proof", &hex]).contains("has the value"));
    node.run(&["proof", "0xzz"]).fails(2, &["hexadecimal"]);

    let genesis = node.status().unwrap()["genesis"].as_str().unwrap().to_string();
    let url = format!("http://{}", node.http_address());
    let checkpoint = dir.text("checkpoint.cbor");
    let first = node.json(&["light", "follow", &url, "--genesis", &genesis, "--save", &checkpoint]);
    assert!(first["height"].as_u64().unwrap() >= height && first["trusted_start"] == true);
    done(&node, &["tx", "send", &"11".repeat(32), "1"]);
    let again = node.json(&["light", "follow", &url, "--checkpoint", &checkpoint]);
    assert_eq!(again["from"], first["height"]);
    assert!(again["height"].as_u64() > first["height"].as_u64());
    assert!(node.ok(&["light", "follow", &url]).contains("Compare the chain"));
    node.run(&["light", "follow", &url, "--genesis", &"00".repeat(32)]).fails(4, &["not believed"]);
    node.run(&["light", "follow", &url, "--checkpoint", &file]).fails(2, &["checkpoint"]);
    // Proofs from before the checkpoint are refused with it, later ones are not.
    node.run(&["verify", &file, "--checkpoint", &checkpoint]).fails(4, &["height"]);
    let later = dir.text("later.cbor");
    node.ok(&["proof", "/bank/supply", "--output", &later]);
    node.ok(&["verify", &later, "--checkpoint", &checkpoint]);
}

#[test]
fn epochs_are_scored_from_records() {
    let dir = Dir::new("score");
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/poei-small.json");
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(vectors).unwrap()).unwrap();
    let file = dir.text("records.json");
    let score = |epoch: &str, tlr: &str, words: &[&str]| {
        let fixed = ["poei", "score", "--records", &file, "--epoch", epoch, "--previous-tlr", tlr];
        run(&[&fixed, words].concat())
    };
    let cases = vectors["cases"].as_array().unwrap();
    for case in cases {
        std::fs::write(&file, case["records"].to_string()).unwrap();
        let (epoch, tlr) = (case["epoch"].to_string(), case["previous_tlr"].as_str().unwrap());
        let out = score(&epoch, tlr, &["--json"]);
        assert!(out.code == 0, "{}", out.text());
        assert_eq!(out.json(), case["result"], "{}", case["name"]);
        // The case as a whole is an object with `records`.
        std::fs::write(&file, case.to_string()).unwrap();
        assert_eq!(score(&epoch, tlr, &["--json"]).json(), case["result"]);
    }
    assert!(score("1", &"0".repeat(64), &[]).text().contains("shared out exactly"));
    for (bad, wanted) in [
        ("{", "no JSON"),
        ("7", "a list of records"),
        ("[{}]", "record 0: node is missing"),
        ("[7]", "record 0: no JSON object"),
        ("[{\"wrk\": 1}]", "unknown field \"wrk\""),
    ] {
        std::fs::write(&file, bad).unwrap();
        score("1", &"0".repeat(64), &[]).fails(2, &[wanted]);
    }
    std::fs::write(&file, "[]").unwrap();
    score("1", "12", &[]).fails(2, &["--previous-tlr"]);
    let mut record = cases[1]["records"][0].clone();
    for (field, value) in
        [("work", json!(-1)), ("work", json!(1.5)), ("trust", json!(2_000_000_000))]
    {
        let good = record[field].take();
        record[field] = value;
        std::fs::write(&file, json!([record]).to_string()).unwrap();
        score("1", &"0".repeat(64), &[]).fails(2, &["records.json"]);
        record[field] = good;
    }
}
