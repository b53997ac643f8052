//! `anthill graph` and `ask --focus-weight` on a running node, through the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_types::Cid;
use common::api::Api;
use common::{Dir, Node, micro, until};
use serde_json::{Value, json};

fn cid(text: &str) -> String {
    Cid::of(text.as_bytes()).to_string()
}

fn account(node: &Node) -> String {
    node.status().unwrap()["account"].as_str().unwrap().to_string()
}

fn balance(node: &Node) -> u128 {
    let path = format!("/v1/state/accounts/{}", account(node));
    micro(&node.get(&path).unwrap()["balance"])
}

/// Imports a text; gives the report.
fn import(node: &Node, dir: &Dir, text: &str, more: &[&str]) -> Value {
    std::fs::write(dir.join("links.tsv"), text).unwrap();
    node.json(&[&["graph", "import", &dir.text("links.tsv")], more].concat())
}

#[test]
fn links_are_imported_once_and_explained() {
    let dir = Dir::new("graph");
    let node = Node::up(dir.join("node"));
    let own = account(&node);
    assert_eq!(node.json(&["graph", "top"]), json!([]));
    assert_eq!(node.json(&["graph", "stats"])["particles"], 0);
    let text = format!(
        "lyon\tparis\r\nlille\tparis\n{own}\tparis\trome\nlyon\tparis\nrome\trome\n{}\trome",
        cid("oslo")
    );
    let dry = import(&node, &dir, &text, &["--dry-run"]);
    assert_eq!((&dry["linked"], &dry["done"]), (&json!(4), &json!(false)));
    assert_eq!(node.json(&["graph", "stats"])["links"], 0);
    let before = balance(&node);
    let done = import(&node, &dir, &text, &[]);
    for (name, count) in [
        ("lines", 6),
        ("linked", 4),
        ("more_than_once", 1),
        ("to_themselves", 1),
        ("there_already", 0),
        ("transactions", 1),
    ] {
        assert_eq!(done[name], count, "{name}: {done}");
    }
    assert!(before - balance(&node) >= micro(&done["fee"]) && micro(&done["fee"]) > 0);
    let again = import(&node, &dir, &text, &[]);
    assert_eq!((&again["linked"], &again["there_already"]), (&json!(0), &json!(4)));

    let stats = node.json(&["graph", "stats"]);
    assert_eq!((&stats["particles"], &stats["links"]), (&json!(5), &json!(4)));
    assert_eq!((&stats["neurons"], &stats["converged"]), (&json!(1), &json!(true)));
    let top = node.json(&["graph", "top", "-n", "2"]);
    let names: Vec<&Value> = top.as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["rome", "paris"]);
    let why = node.json(&["graph", "why", "paris"]);
    assert_eq!(why, node.json(&["graph", "why", &cid("paris")]));
    let sources = why["sources"].as_array().unwrap();
    let mut from: Vec<&str> = sources.iter().map(|s| s["name"].as_str().unwrap()).collect();
    from.sort_unstable();
    assert_eq!(from, ["lille", "lyon"]);
    assert!(sources.iter().all(|s| s["neurons"] == json!([own])));
    let share = |value: &Value| value.as_f64().unwrap();
    let all = sources.iter().map(|s| share(&s["share"])).sum::<f64>();
    assert!((all + share(&why["teleport_share"]) - 1.0).abs() < 1e-12, "{why}");
    // A text that only an id stands for has no name here.
    let rome = node.json(&["graph", "why", "rome"]);
    assert!(rome["sources"].as_array().unwrap().iter().any(|s| s["name"].is_null()));
    assert!(node.ok(&["graph", "why", "rome"]).contains(&cid("oslo")));
    node.run(&["graph", "why", "bergen"]).fails(1, &["nothing is linked with"]);
    exported(&node, &dir, &stats);
    others_are_refused(&node, &dir);
}

/// What was exported has the same focus in files, and is imported again.
fn exported(node: &Node, dir: &Dir, stats: &Value) {
    let (edges, stakes) = (dir.text("E.tsv"), dir.text("S.tsv"));
    let report = node.json(&["graph", "export", "--out", &edges, "--stakes-out", &stakes]);
    assert_eq!(report["links"], 4);
    let text = std::fs::read_to_string(dir.join("E.tsv")).unwrap();
    assert!(
        text.contains("\tlyon\tparis\n") && text.contains(&format!("\t{}\trome\n", cid("oslo")))
    );
    let pi = dir.text("PI.tsv");
    let words = ["focus", "--edges", &edges, "--stakes", &stakes, "--out", &pi];
    let focus = node.json(&words);
    assert_eq!(focus["particles"], stats["particles"]);
    assert_eq!(import(node, dir, &text, &[])["there_already"], 4);
    assert_eq!(node.run(&["graph", "export"]).text(), text);
}

fn others_are_refused(node: &Node, dir: &Dir) {
    let other = "11".repeat(32);
    let text = format!("a\tb\n{other}\tc\td\n");
    std::fs::write(dir.join("links.tsv"), &text).unwrap();
    let file = dir.text("links.tsv");
    node.run(&["graph", "import", &file]).fails(1, &["links.tsv:2:", "another account's"]);
    assert_eq!(node.json(&["graph", "stats"])["links"], 4);
    let done = import(node, dir, &text, &["--skip-others"]);
    assert_eq!((&done["linked"], &done["others_passed_by"]), (&json!(1), &json!(1)));
    for (text, words) in [
        ("a\n", ["links.tsv:1:", "`from` is missing"]),
        ("a\tb\nann\tb\tc\n", ["links.tsv:2:", "\"ann\" is no account"]),
        ("a\tb\tc\td\n", ["links.tsv:1:", "field too many"]),
    ] {
        std::fs::write(dir.join("links.tsv"), text).unwrap();
        node.run(&["graph", "import", &file]).fails(1, &words);
    }
}

#[test]
fn more_links_than_a_transaction_holds() {
    let dir = Dir::new("graph-many");
    let node = Node::up(dir.join("node"));
    let lines: String = (0..600).map(|i| format!("p{}\tp{}\n", i, i / 3)).collect();
    let done = import(&node, &dir, &lines, &[]);
    // p0 leads to itself.
    assert_eq!((&done["linked"], &done["transactions"]), (&json!(599), &json!(3)));
    let stats = node.json(&["graph", "stats"]);
    assert_eq!((&stats["links"], &stats["particles"]), (&json!(599), &json!(600)));
    let top = node.json(&["graph", "top", "-n", "1000"]);
    let shares = top.as_array().unwrap().iter().map(|row| row["focus"].as_f64().unwrap());
    assert!((shares.sum::<f64>() - 1.0).abs() < 1e-9);
}

#[test]
fn routes_of_the_graph() {
    let api = Api::start("graph-http");
    let lines: String = (0..60).map(|i| format!("p{i}\tp{}\n", (i * 7 + 1) % 60)).collect();
    let text = format!("{lines}hub\tp1\nhub\tp2\n");
    import(&api.node, &api.dir, &text, &[]);
    let top = api.get("/v1/graph/top?limit=3").json();
    assert_eq!(top.as_array().unwrap().len(), 3);
    for (path, status) in [
        ("/v1/graph/top?limit=0", 400),
        ("/v1/graph/top?limit=10001", 400),
        ("/v1/graph/why/x", 400),
        ("/v1/graph/find?text=", 400),
        ("/v1/graph/links?after=00", 400),
        ("/v1/graph/links?neuron=zz", 400),
    ] {
        assert_eq!(api.get(path).status, status, "{path}");
    }
    let nowhere = cid("nowhere");
    assert_eq!(api.get(&format!("/v1/graph/why/{nowhere}")).status, 404);
    assert_eq!(api.get(&format!("/v1/graph/neighbourhood/{nowhere}")).status, 404);

    let path = format!("/v1/graph/neighbourhood/{}?limit=", cid("hub"));
    let near = api.get(&format!("{path}3")).json();
    let particles = near["particles"].as_array().unwrap();
    assert_eq!((&particles[0]["name"], &particles[0]["hops"]), (&json!("hub"), &json!(0)));
    let mut names: Vec<&str> = particles[1..].iter().map(|p| p["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["p1", "p2"]);
    assert_eq!(near["links"].as_array().unwrap().len(), 2);
    let all = api.get(&format!("{path}1000")).json();
    let hops: Vec<u64> =
        all["particles"].as_array().unwrap().iter().map(|p| p["hops"].as_u64().unwrap()).collect();
    assert!(hops.len() > 3 && hops.is_sorted());
    for link in all["links"].as_array().unwrap() {
        let end = |name: &str| hops[link[name].as_u64().unwrap() as usize];
        assert!(end("from").abs_diff(end("to")) <= 1, "{link}");
    }

    let found = api.get("/v1/graph/find?text=p1").json();
    assert_eq!(found[0]["name"], "p1");
    assert_eq!(found.as_array().unwrap().len(), 11, "p1 and p10 to p19");
    assert_eq!(api.get(&format!("/v1/graph/find?text={}", cid("hub"))).json()[0]["name"], "hub");
    assert_eq!(api.get("/v1/graph/find?text=nobody").json(), json!([]));
    let long = "x".repeat(4_097);
    let kept = |texts: Value| api.post_json("/v1/graph/names", json!({ "texts": texts })).json();
    assert_eq!(kept(json!([long, "a\nb", ""]))["kept"], 0);
    assert_eq!(kept(json!(["hub", "new"]))["kept"], 1);
    assert_eq!(kept(json!(["hub", "new"]))["kept"], 0);
    let links = api.get("/v1/graph/links").json();
    assert!(links["next"].is_null());
    assert_eq!(links["links"].as_array().unwrap().len(), 62);
    let stakes = api.get("/v1/graph/stakes").json();
    assert_eq!(stakes.as_array().unwrap().len(), 1);
    assert!(stakes[0]["stake"].as_str().unwrap().parse::<u128>().unwrap() > 0);
}

#[test]
fn focus_moves_answers_as_far_as_its_weight_says() {
    let dir = Dir::new("graph-ask");
    let node = Node::up(dir.join("node"));
    let notes = dir.join("notes");
    std::fs::create_dir_all(&notes).unwrap();
    for (name, text) in [
        ("a.md", "Bees make honey from nectar in the hive."),
        ("b.md", "Honey bees make honey."),
        ("c.md", "The price of copper rose in March."),
    ] {
        std::fs::write(notes.join(name), text).unwrap();
    }
    node.ok(&["index", &dir.text("notes"), "--name", "notes"]);
    // Both have the teleport of the one account; what a.md has flows on to c.md.
    import(&node, &dir, "x\ta.md\na.md\tc.md\n", &[]);
    let ask = |more: &[&str]| node.json(&[&["ask", "honey bees", "-k", "3"], more].concat());
    let plain = until("the index answers", || {
        let reply = ask(&["--focus-weight", "0"]);
        (reply["answers"].as_array()?.len() == 3).then_some(reply)
    });
    let number = |value: &Value| value.as_f64().unwrap();
    for answer in plain["answers"].as_array().unwrap() {
        assert_eq!(answer["score"], answer["similarity"]);
        assert!(answer["focus"].is_null());
    }
    assert_eq!(plain["answers"][2]["path"], "c.md");
    let moved = ask(&["--focus-weight", "10"]);
    assert_eq!(
        (&moved["focus_weight"], &moved["answers"][0]["path"]),
        (&json!(10.0), &json!("c.md"))
    );
    let particles = number(&node.json(&["graph", "stats"])["particles"]);
    for answer in moved["answers"].as_array().unwrap() {
        let part = (particles * number(&answer["focus"])).ln_1p() / particles.ln_1p();
        let score = number(&answer["similarity"]) + 10.0 * part;
        assert!((score - number(&answer["score"])).abs() < 1e-5, "{answer}");
    }
    let b = moved["answers"].as_array().unwrap().iter().find(|a| a["path"] == "b.md").unwrap();
    assert_eq!(number(&b["focus"]), 0.0);
    assert!(node.ok(&["ask", "honey", "--focus-weight", "1"]).contains("similarity"));
    for weight in ["-1", "11", "nan"] {
        let given = format!("--focus-weight={weight}");
        node.run(&["ask", "honey", &given]).fails(2, &["from 0 to 10"]);
    }
}
