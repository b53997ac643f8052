//! Every command, through the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::process::Stdio;

use common::{Dir, Node, anthill, documents, micro, run, run_with, until};
use serde_json::{Value, json};

/// Waits until an epoch has paid somebody; gives the number of a payment of that kind.
fn epoch_payment(node: &Node) -> u64 {
    until("an epoch pays", || {
        let newest = node.json(&["credits"])["newest"].clone();
        newest.as_array()?.iter().find(|p| p["reason"] == "epoch")?["number"].as_u64()
    })
}

#[test]
fn two_nodes_index_answer_pay_and_prove() {
    let dir = Dir::new("two");
    let first = Node::up(dir.join("first"));
    let second = Node::joined(dir.join("second"), &first.ticket());
    indexes_and_answers(&dir, &first);
    let payment = epoch_payment(&first);
    shows_credits_and_epochs(&first, payment);
    moves_credits(&first, &second);
    proves(&dir, &first, payment);
    steers(&first);
    measures(&first);
    first.assert_conserved();
}

fn indexes_and_answers(dir: &Dir, node: &Node) {
    let folder = documents(dir, "docs", 8);
    std::fs::write(dir.join("docs/photo.bin"), [0, 1, 2]).unwrap();
    let job = node.json(&["index", &folder, "--name", "notes"]);
    assert!(job["stage"] == "ready" || job["stage"] == "final", "{job}");
    assert_eq!((&job["files"], &job["error"]), (&json!(8), &Value::Null));
    assert_eq!(job["skipped"][0], json!({ "path": "photo.bin", "reason": "binary" }));
    assert_eq!(job["digest"].as_str().unwrap().len(), 64);
    let jobs = node.json(&["index", "--status"]);
    assert_eq!(jobs[0]["digest"], job["digest"]);
    assert!(node.ok(&["index", "--status"]).contains("notes"));
    let text = node.ok(&["index", &folder, "--name", "again"]);
    assert!(text.contains("the text is seen by this node"), "{text}");
    assert!(text.contains("left out photo.bin: binary"), "{text}");
    assert!(text.contains(job["digest"].as_str().unwrap()), "{text}");
    let detached = node.json(&["index", &folder, "--name", "later", "--detach", "--public"]);
    assert_eq!(detached["visibility"], "every admitted node");
    node.job("later", &["ready", "final"]);
    let reply =
        node.json(&["ask", "how is bread baked with yeast?", "-k", "3", "--index", "notes"]);
    let answers = reply["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 3);
    for answer in answers {
        assert!(answer["text"].as_str().unwrap().contains("bread and yeast"), "{answer}");
        let path = std::path::Path::new(&folder).join(answer["path"].as_str().unwrap());
        let (start, end) = (answer["start"].as_u64().unwrap(), answer["end"].as_u64().unwrap());
        let file = std::fs::read_to_string(path).unwrap();
        assert_eq!(file[start as usize..end as usize], *answer["text"].as_str().unwrap());
    }
    assert!(node.ok(&["ask", "bees"]).contains("embedded by"));
    node.run(&["index"]).fails(2, &["name a folder"]);
    node.run(&["ask", "bees", "--index", "none"]).fails(1, &["anthill index FOLDER --name none"]);
    node.run(&["index", &folder, "--name", "a/b"]).fails(1, &["letters, digits"]);
}

fn shows_credits_and_epochs(node: &Node, payment: u64) {
    let why = node.json(&["credits", "why", &payment.to_string()]);
    assert_eq!(why["subject"], format!("credits:{payment}"));
    let kinds: Vec<&str> =
        why["statements"].as_array().unwrap().iter().filter_map(|s| s["kind"].as_str()).collect();
    assert!(!kinds.is_empty(), "{why}");
    let text = node.ok(&["credits", "why", &payment.to_string()]);
    assert!(text.contains("genesis") && text.lines().count() > 3, "{text}");
    assert!(node.ok(&["credits"]).contains("minted"));
    let newest = node.json(&["credits"])["newest"].clone();
    let paid = newest.as_array().unwrap().iter().find(|p| p["reason"] == "epoch").unwrap().clone();
    let number = paid["epoch"].as_u64().unwrap();
    let epoch = node.json(&["epoch", &number.to_string()]);
    let sum: u128 = epoch["rows"].as_array().unwrap().iter().map(|r| micro(&r["reward"])).sum();
    assert_eq!(sum, micro(&epoch["pool"]), "{epoch}");
    assert!(node.ok(&["epoch"]).contains("score"));
    node.run(&["credits", "why", "999999"]).fails(1, &["credits:999999 does not exist"]);
    node.run(&["epoch", "999999"]).fails(1, &["(999999)", "is running"]);
}

fn balance(node: &Node, account: &Value) -> Value {
    let accounts = node.json(&["credits"])["accounts"].clone();
    let found = accounts.as_array().unwrap().iter().find(|a| a["account"] == *account).cloned();
    found.unwrap_or(Value::Null)
}

fn moves_credits(first: &Node, second: &Node) {
    let to = second.status().unwrap()["account"].clone();
    let before = balance(second, &to);
    let sent = first.json(&["credits", "send", to.as_str().unwrap(), "12.5"]);
    assert_eq!(sent["transaction"].as_str().unwrap().len(), 64);
    until("the credits arrive", || {
        let gained = micro(&balance(second, &to)["balance"]) - micro(&before["balance"]);
        (gained >= 12_500_000).then_some(())
    });
    second.ok(&["credits", "bond", "5"]);
    until("the bond grows", || {
        let gained = micro(&balance(first, &to)["bond"]) - micro(&before["bond"]);
        (gained >= 5_000_000).then_some(())
    });
    first.run(&["credits", "send", "zz", "1"]).fails(1, &["not hexadecimal"]);
    first.run(&["credits", "send", to.as_str().unwrap(), "x"]).fails(1, &["is no amount"]);
    let all = first.run(&["credits", "send", to.as_str().unwrap(), "99999999999"]);
    all.fails(1, &["the transfer needs 99999999999 rUv, but only"]);
}

fn proves(dir: &Dir, node: &Node, payment: u64) {
    let (good, bad) = (dir.text("p.cbor"), dir.text("altered.cbor"));
    let subject = format!("credits:{payment}");
    node.ok(&["prove", &subject, "--output", &good]);
    let bytes = std::fs::read(&good).unwrap();
    let genesis = node.status().unwrap()["genesis"].as_str().unwrap().to_string();
    // Nothing but the file: no data folder, no home, no settings.
    let offline = |args: &[&str], input: &[u8]| {
        run_with(anthill().env_clear().current_dir(dir.path()).args(args), input)
    };
    let said = offline(&["verify", &good, "--genesis", &genesis, "--json"], b"");
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(
        (&said.json()["verified"], &said.json()["subject"]),
        (&json!(true), &json!(subject))
    );
    let piped = node.run(&["prove", &subject]);
    let read = offline(&["verify", "-"], &piped.out);
    assert_eq!(read.code, 0, "{}", read.err);
    assert!(read.text().contains("--genesis"), "{}", read.text());
    for at in [0, 1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        std::fs::write(&bad, altered).unwrap();
        offline(&["verify", &bad], b"").fails(4, &["altered.cbor: refused"]);
    }
    let other = "00".repeat(32);
    offline(&["verify", &good, "--genesis", &other], b"").fails(4, &["refused"]);
    offline(&["verify", &good, "--genesis", "zz"], b"").fails(2, &["not hexadecimal"]);
    offline(&["verify", "absent.cbor"], b"").fails(1, &["absent.cbor"]);
    offline(&["verify", "-"], b"").fails(4, &["refused"]);
    node.run(&["prove", "cheese:1"]).fails(2, &["credits:N, epoch:N"]);
    let account = node.status().unwrap()["account"].as_str().unwrap().to_string();
    let proof = node.run(&["prove", &format!("account:{account}")]);
    assert_eq!(offline(&["verify", "-"], &proof.out).code, 0);
}

fn steers(node: &Node) {
    assert_eq!(node.json(&["pause"]), json!({ "paused": true, "cpu": 100 }));
    node.run(&["doctor"]).fails(1, &["1 of"]);
    assert_eq!(node.status().unwrap()["paused"], true);
    assert_eq!(node.json(&["limit", "--cpu", "30"]), json!({ "paused": true, "cpu": 30 }));
    assert!(node.ok(&["resume"]).contains("taking work, at 30 %"));
    node.ok(&["limit", "--cpu", "100"]);
    node.run(&["limit", "--cpu", "0"]).fails(1, &["1 to 100", "anthill pause"]);
    node.run(&["limit", "--cpu", "101"]).fails(1, &["1 to 100"]);
    node.run(&["limit", "--cpu", "many"]).fails(2, &["invalid value"]);
    until("doctor finds all well again", || (node.run(&["doctor"]).code == 0).then_some(()));
    let findings = node.json(&["doctor"]);
    assert!(findings.as_array().unwrap().iter().all(|f| f["ok"] == true), "{findings}");
}

fn measures(node: &Node) {
    let batch = node.json(&["bench", "--tasks", "40"]);
    assert_eq!((&batch["tasks"], &batch["accepted"]), (&json!(40), &json!(40)));
    let single = node.json(&["bench", "--tasks", "2", "--one-by-one"]);
    assert_eq!(single["accepted"], 2);
    node.run(&["bench", "--tasks", "0"]).fails(1, &["1 to 10000 tasks"]);
}

#[test]
fn a_node_stops_and_starts_and_its_keys_move_house() {
    let dir = Dir::new("keys");
    let mut node = Node::up(dir.join("node"));
    let account = node.status().unwrap()["account"].clone();
    let text = node.ok(&["status"]);
    assert!(text.contains("validator") && text.contains("state root"), "{text}");
    let file = dir.text("keys.anthill");
    backs_up(&dir, &node, &file);
    let ticket = node.json(&["ticket", "--bond", "50", "--hours", "2"]);
    assert!(ticket["ticket"].as_str().unwrap().starts_with("anthill1"));
    node.run(&["ticket", "--bond", "x"]).fails(2, &["not a number"]);
    node.run(&["ticket", "--hours", "0"]).fails(1, &["1 second to 30 days"]);
    let height = node.status().unwrap()["height"].as_u64().unwrap();
    assert_eq!(node.stop(), 0, "{}", node.log());
    assert!(!node.data.join("run.json").exists());
    for command in ["status", "credits", "epoch", "pause", "resume", "ticket", "bench"] {
        node.run(&[command]).fails(3, &["no node is running on", "anthill up"]);
    }
    node.run(&["doctor"]).fails(1, &["checks failed"]);
    let findings = node.run(&["doctor", "--json", "--http", "127.0.0.1:0"]);
    assert!(findings.text().contains("anthill up"), "{}", findings.text());
    let said = node.run(&["status", "--json"]);
    assert_eq!(said.json()["exit_code"], 3);
    node.start(&["up", "--quiet"]);
    let status = node.status().unwrap();
    assert!(status["height"].as_u64().unwrap() >= height && status["account"] == account);
    restores(&dir, &file, &account);
}

fn backs_up(dir: &Dir, node: &Node, file: &str) {
    node.run(&["backup", file]).fails(2, &["--password-file or ANTHILL_PASSWORD"]);
    std::fs::write(dir.join("password"), "correct horse\n").unwrap();
    let password = dir.text("password");
    node.ok(&["backup", file, "--password-file", &password]);
    node.run(&["backup", file, "--password-file", &password]).fails(2, &["exists already"]);
    let seed = std::fs::read(node.data.join("keys/account.key")).unwrap();
    let backup = std::fs::read(file).unwrap();
    assert!(!backup.windows(seed.len()).any(|w| w == seed), "the seed is legible");
}

fn restores(dir: &Dir, file: &str, account: &Value) {
    let data = dir.text("restored");
    let restore = |data: &str, file: &str, password: &str| {
        let mut command = anthill();
        command.env("ANTHILL_PASSWORD", password);
        run_with(command.args(["--data", data, "restore", file, "--json"]), b"")
    };
    restore(&data, file, "wrong").fails(1, &["password"]);
    let bytes = std::fs::read(file).unwrap();
    let damaged = dir.text("damaged.anthill");
    std::fs::write(&damaged, &bytes[..bytes.len() - 20]).unwrap();
    restore(&data, &damaged, "correct horse").fails(1, &[]);
    std::fs::write(&damaged, b"hello").unwrap();
    restore(&data, &damaged, "correct horse").fails(1, &[]);
    restore(&data, &dir.text("absent"), "correct horse").fails(1, &["absent"]);
    assert!(!dir.join("restored").join("keys").exists(), "a refused backup left keys");
    let done = restore(&data, file, "correct horse");
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(done.json()["account"], *account);
    restore(&data, file, "correct horse").fails(1, &["another --data folder"]);
    let kept = std::fs::read(dir.join("restored").join("keys/account.key")).unwrap();
    assert_eq!(kept, std::fs::read(dir.join("node").join("keys/account.key")).unwrap());
}

#[test]
fn configuration_models_completions_and_help_need_no_node() {
    let dir = Dir::new("still");
    let data = dir.text("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(dir.join("data/config.toml"), "cpu = 50\nname = \"lab\"\n").unwrap();
    let mut command = anthill();
    command.env("ANTHILL_CPU", "40").env("ANTHILL_LOG", "info");
    command.args(["--data", &data, "config", "--json", "--log", "debug"]);
    let config = run_with(&mut command, b"").json();
    let row = |name: &str| (config[name]["value"].clone(), config[name]["origin"].clone());
    assert_eq!(row("cpu"), (json!("40"), json!("environment")));
    assert_eq!(row("log"), (json!("debug"), json!("flag")));
    assert_eq!(row("name"), (json!("lab"), json!(dir.text("data/config.toml"))));
    assert_eq!(row("paused"), (json!("false"), json!("default")));
    assert!(run(&["--data", &data, "config"]).text().contains("config.toml"));
    std::fs::write(dir.join("data/config.toml"), "cqu = 50\n").unwrap();
    run(&["--data", &data, "config"]).fails(2, &["cqu", "config.toml", "virtual_nodes"]);
    run(&["--data", &data, "up"]).fails(2, &["cqu"]);

    let models = run(&["--data", &data, "model", "list", "--json"]).json();
    assert_eq!(models[0]["dimensions"], 256);
    let empty = dir.text("empty");
    std::fs::create_dir_all(&empty).unwrap();
    let pull = run(&["--data", &data, "model", "pull", "minilm", "--from", &empty]);
    pull.fails(1, &["model.safetensors"]);
    std::fs::write(dir.join("empty/model.safetensors"), "not it").unwrap();
    std::fs::write(dir.join("empty/tokenizer.json"), "{}").unwrap();
    run(&["--data", &data, "model", "pull", "minilm", "--from", &empty]).fails(1, &["minilm"]);
    assert!(!dir.join("data/models/minilm").exists(), "a refused model was kept");
    run(&["--data", &data, "model", "pull", "gpt"]).fails(2, &["minilm"]);

    let bash = run(&["complete", "bash"]);
    assert!(bash.code == 0 && bash.text().contains("_anthill()"));
    let man = run(&["complete", "man"]);
    assert!(man.code == 0 && man.text().contains(".TH anthill"));
    run(&["complete", "abacus"]).fails(2, &["bash, zsh"]);
    run(&["frobnicate"]).fails(2, &["unrecognized subcommand"]);
    run(&["demo", "--nodes", "2"]).fails(2, &["4 to 32"]);
    every_help_has_an_example();
    a_reader_that_leaves_early_is_no_failure(&data);
}

/// `anthill ... | head` closes the pipe before all is written.
fn a_reader_that_leaves_early_is_no_failure(data: &str) {
    for args in
        [&["--data", data, "model", "list"][..], &["complete", "bash"], &["complete", "man"]]
    {
        let mut command = anthill();
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{args:?}: {said}");
    }
}

fn every_help_has_an_example() {
    let help = run(&["--help"]).text();
    assert!(help.contains("Example") && help.contains("Exit codes"));
    let list = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<&str> = list
        .lines()
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() >= 20, "{names:?}");
    for name in names {
        let help = run(&[name, "--help"]);
        assert!(help.code == 0 && help.text().contains("Example"), "{name}: {}", help.text());
        assert!(help.text().contains("--json"), "{name}");
    }
}

#[test]
fn the_demo_keeps_every_claim() {
    let dir = Dir::new("demo");
    let (proof, report) = (dir.text("p.cbor"), dir.text("report.html"));
    let notes = documents(&dir, "notes", 3);
    let demo = run(&[
        "demo",
        "--exit",
        "--json",
        "--proof-out",
        &proof,
        "--report",
        &report,
        "--path",
        &notes,
    ]);
    assert_eq!(demo.code, 0, "{}", demo.err);
    let outcome = demo.json();
    let claims: Vec<&str> =
        outcome["claims"].as_array().unwrap().iter().filter_map(|c| c["text"].as_str()).collect();
    for part in [
        "accepted results equal a recomputation",
        "is answered by passages",
        "shares out its pool",
        "was caught, lost",
        "is proved from task to state root",
        "with one bit changed is refused",
        "agree on one state root",
        "= minted",
    ] {
        assert!(claims.iter().any(|c| c.contains(part)), "{part:?} is not in {claims:?}");
    }
    assert_eq!(run(&["verify", &proof, "--genesis", genesis(&outcome)]).code, 0);
    assert!(std::fs::read_to_string(&report).unwrap().contains("<svg"));
}

fn genesis(outcome: &Value) -> &str {
    outcome["status"]["genesis"].as_str().unwrap()
}
