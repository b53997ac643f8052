//! `anthill controller` and `anthill audit-log` through the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Stdio};

use common::{Dir, Output, anthill, run, run_with};
use serde_json::{Value, json};

/// `anthill controller run --json` with these words; its beats.
#[track_caller]
fn beats(words: &[&str]) -> Vec<Value> {
    let output = run(&[&["controller", "run", "--json"], words].concat());
    assert_eq!(output.code, 0, "{}", output.err);
    lines(&output)
}

fn lines(output: &Output) -> Vec<Value> {
    output.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn near(found: &Value, wanted: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - wanted).abs() < 1e-9, "{found} against {wanted}");
}

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/controller-small.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_seeds_command_line_gives_its_numbers() {
    let words = "--beats 10 --k-flows 4 --p-nodes 5 --t1 0.001 --t-threshold 0.02 --clock fixed";
    let beats = beats(&words.split(' ').collect::<Vec<_>>());
    assert_eq!(beats.len(), 10);
    near(&beats[0]["t_lambda"], 0.004 / 0.95);
    near(&beats[0]["pid"]["delta_t"], 0.004 / 0.95 - 0.02);
    assert_eq!(beats[0]["pid"]["stable"], true);
    let names =
        ["beat", "t_lambda", "measured", "advisers", "decision", "action", "pid", "weights"];
    let fields: std::collections::BTreeSet<&str> =
        beats[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, names.into_iter().collect());
    for (number, beat) in beats.iter().enumerate() {
        assert_eq!(beat["beat"], number + 1);
        assert_eq!(beat["action"], "NOOP");
        let sum: f64 =
            beat["weights"].as_object().unwrap().values().map(|w| w.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }
}

#[test]
fn telemetry_repeats_the_worked_cases() {
    let dir = Dir::new("telemetry");
    for case in vectors()["cases"].as_array().unwrap() {
        let file = dir.text("features.jsonl");
        let features = case["features"].as_array().unwrap();
        let text: String = features.iter().map(|f| format!("{f}\n\n")).collect();
        std::fs::write(&file, text).unwrap();
        // Without --beats the run ends with the file.
        let found = beats(&["--telemetry", &file, "--clock", "fixed"]);
        let wanted = case["beats"].as_array().unwrap();
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            assert_eq!(found["action"], wanted["action"]);
            near(&found["advisers"]["E"]["threat_score"], wanted["threat"].as_f64().unwrap());
            for (name, value) in wanted["weights"].as_object().unwrap() {
                near(&found["weights"][name], value.as_f64().unwrap());
            }
            for (name, value) in wanted["weighted"].as_object().unwrap() {
                near(&found["decision"]["weighted"][name], value.as_f64().unwrap());
            }
            near(&found["pid"]["out"], wanted["pid"]["out"].as_f64().unwrap());
        }
        // With --beats it goes on without features.
        assert_eq!(beats(&["--telemetry", &file, "--clock", "fixed", "--beats", "7"]).len(), 7);
    }
    let command = ["controller", "run", "--telemetry", "-", "--clock", "fixed", "--json"];
    let output = run_with(anthill().args(command), b"{\"anoms\":5}\n{\"anoms\":15}\n");
    let actions: Vec<Value> = lines(&output).iter().map(|b| b["action"].clone()).collect();
    assert_eq!(actions, ["ALERT", "QUARANTINE"]);
}

#[test]
fn bad_telemetry_names_file_and_line() {
    let dir = Dir::new("bad");
    let file = dir.text("features.jsonl");
    let cases: [(&[u8], &str); 7] = [
        (b"{}\n{\"anoms\":-1}\n", ":2: anoms is -1: it must be an integer"),
        (b"{}\n\n{\"load\":1}\n", ":3: \"load\" is no feature"),
        (b"{\"imbalance\":2}\n", ":1: imbalance is 2: it must be a number from 0 to 1"),
        (b"{\"gain\":\n", ":1: byte 8: a value is expected"),
        (b"[]\n", ":1: a JSON object with features is expected"),
        (b"{}\n\xff\n", ":2: no UTF-8"),
        (b"{\"gain\":1,\"gain\":2}", ":1: byte 10: the name \"gain\" stands twice"),
    ];
    for (text, reason) in cases {
        std::fs::write(&file, text).unwrap();
        run(&["controller", "run", "--telemetry", &file, "--clock", "fixed"])
            .fails(2, &[&file, reason]);
    }
    std::fs::write(&file, vec![b' '; 3 << 20]).unwrap();
    run(&["controller", "run", "--telemetry", &file]).fails(2, &[":1: longer than"]);
    run(&["controller", "run", "--telemetry", &dir.text("none")]).fails(1, &["none"]);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let cases: [(&[&str], &str); 9] = [
        (&["--k-flows", "1", "--p-nodes", "1"], "product above 1"),
        (&["--k-flows", "-4", "--p-nodes", "-5"], "k is -4"),
        (&["--p-nodes", "nan"], "P is NaN"),
        (&["--t1", "-0.001"], "T1 is -0.001"),
        (&["--t-threshold", "0"], "the threshold is 0"),
        (&["--t1", "1e300"], "longer than an hour"),
        (&["--inject-weight", "inf"], "the risk weight is inf"),
        (&["--beats", "-2"], "--beats is -2"),
        (&["--mesh", "--mesh-peer", "192.0.2.1:9000"], "--mesh-key"),
    ];
    for (words, reason) in cases {
        run(&[&["controller", "run"], words].concat()).fails(2, &[reason]);
    }
}

#[test]
fn injections_and_models_change_the_threat() {
    let threat = |words: &[&str]| {
        beats(&[&["--beats", "1", "--clock", "fixed"], words].concat())[0]["decision"]["threat"]
            .as_f64()
            .unwrap()
    };
    assert_eq!(format!("{:.4}", threat(&["--inject-anoms", "5"])), "0.6457");
    assert_eq!(threat(&["--inject-anoms", "5", "--inject-weight", "0"]), 0.5);
    let dir = Dir::new("model");
    let file = dir.text("model.json");
    std::fs::write(&file, "{\"weight\":1,\"bias\":-2.5}").unwrap();
    assert_eq!(threat(&["--inject-anoms", "2", "--model", &file]), 1.0 / (1.0 + 0.5_f64.exp()));
    std::fs::write(&file, "{\"weight\":1}").unwrap();
    run(&["controller", "run", "--model", &file]).fails(2, &["bias is missing"]);
}

#[test]
fn the_real_clock_measures_and_waits() {
    let started = std::time::Instant::now();
    let beats = beats(&["--beats", "20"]);
    // 19 heartbeats lie between 20 beats.
    assert!(started.elapsed().as_secs_f64() >= 19.0 * 0.004);
    assert!(beats.iter().all(|b| b["measured"].as_f64() >= b["t_lambda"].as_f64()));
    // Time goes on: the integral of a constant error below the threshold falls.
    assert!(beats[19]["pid"]["integral"].as_f64() < beats[5]["pid"]["integral"].as_f64());
    let table = run(&["controller", "run", "--beats", "3"]);
    assert_eq!((table.code, table.text().lines().count()), (0, 4));
    assert!(table.text().contains("NOOP"), "{}", table.text());
}

#[test]
fn a_run_without_end_goes_on_until_nobody_reads() {
    let mut child = endless(&["--clock", "fixed", "--json"]);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    for number in 1..=200 {
        assert_eq!(next(&mut reader)["beat"], number);
    }
    drop(reader);
    assert!(child.wait().unwrap().success());
}

fn endless(words: &[&str]) -> Child {
    let base = ["controller", "run", "--beats", "-1"];
    anthill().args([&base, words].concat()).stdout(Stdio::piped()).spawn().unwrap()
}

fn next(reader: &mut impl BufRead) -> Value {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
}

#[test]
fn every_beat_is_in_the_audit_log() {
    let dir = Dir::new("audit");
    let (file, again) = (dir.text("log.jsonl"), dir.text("again.jsonl"));
    let words = ["--beats", "5", "--clock", "fixed", "--inject-anoms", "5"];
    beats(&[&words[..], &["--audit", &file]].concat());
    beats(&[&words[..], &["--audit", &again]].concat());
    let log = std::fs::read_to_string(&file).unwrap();
    assert_eq!(log, std::fs::read_to_string(&again).unwrap(), "a fixed clock repeats the log");
    assert_eq!(log.lines().count(), 1 + 5 * 6);
    let verified = run(&["audit-log", "verify", &file]);
    assert_eq!(verified.code, 0, "{}", verified.err);
    assert!(verified.text().contains("31 entries are whole"));
    let manifest = run(&["audit-log", "manifest", &file, "--json"]).json();
    assert_eq!(manifest["entries"], 31);
    assert!(verified.text().contains(manifest["merkle_root"].as_str().unwrap()));
    // A second run goes on where the first ended.
    beats(&[&words[..], &["--audit", &file]].concat());
    let longer = run(&["audit-log", "manifest", &file, "--json"]).json();
    assert_eq!(longer["entries"], 61);
    assert_eq!(longer["first_hash"], manifest["first_hash"]);
    assert!(run(&["audit-log", "manifest", &file]).text().contains("entries: 61\n"));
    // Under the real clock entries carry the time of day.
    let real = dir.text("real.jsonl");
    beats(&["--beats", "1", "--audit", &real]);
    let last = run(&["audit-log", "manifest", &real, "--json"]).json();
    assert!(last["last_timestamp"].as_f64().unwrap() > 1.7e9);
}

#[test]
fn a_log_that_was_changed_is_refused_at_its_first_bad_entry() {
    let dir = Dir::new("changed");
    let file = dir.text("log.jsonl");
    beats(&["--beats", "3", "--clock", "fixed", "--audit", &file]);
    let log = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let check = |lines: &[String], words: &[&str]| {
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        run(&["audit-log", "verify", &file]).fails(4, words);
        run(&["audit-log", "manifest", &file]).fails(4, words);
        run(&["controller", "run", "--beats", "1", "--audit", &file]).fails(4, words);
    };
    let owned = || lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut changed = owned();
    changed[6] = changed[6].replace("NOOP", "ALERT");
    check(&changed, &["log.jsonl:7 ", "entry 6: its hash is", "it was changed"]);
    let mut shorter = owned();
    shorter.remove(4);
    check(&shorter, &["log.jsonl:5 ", "entry 4: its index is 5"]);
    let mut swapped = owned();
    swapped.swap(2, 3);
    check(&swapped, &["log.jsonl:3 ", "its index is 3"]);
    let mut broken = owned();
    broken[9].truncate(30);
    check(&broken, &["log.jsonl:10 ", "no JSON", "entry 9"]);
    std::fs::write(&file, "").unwrap();
    run(&["audit-log", "verify", &file]).fails(2, &["there is no entry"]);
    run(&["audit-log", "verify", &dir.text("none")]).fails(1, &["none"]);
}

#[test]
fn training_writes_a_model_that_a_run_takes() {
    let dir = Dir::new("train");
    let (file, model) = (dir.text("samples.jsonl"), dir.text("model.json"));
    let mut random = common::Random::new(5);
    let mut text = String::new();
    for _ in 0..2000 {
        let anoms = random.below(20);
        // Threats begin at about ten anomalies, and not sharply.
        let threat = random.below(20) + 5 < anoms + random.below(10);
        text += &format!("{}\n", json!({"anoms": anoms, "threat": threat}));
    }
    std::fs::write(&file, text).unwrap();
    let output = run(&["controller", "train", &file, "--out", &model, "--json"]);
    assert_eq!(output.code, 0, "{}", output.err);
    let report = output.json();
    assert_eq!((&report["samples"], &report["trained_on"]), (&json!(2000), &json!(1600)));
    assert!(report["mse"].as_f64() < report["mse_before"].as_f64());
    let (auc, held) =
        (report["auc"].as_f64().unwrap(), report["held_out"]["auc"].as_f64().unwrap());
    assert!(auc > 0.75 && (auc - held).abs() < 0.1, "{auc} and {held}");
    let weight = report["model"]["weight"].as_f64().unwrap();
    let bias = report["model"]["bias"].as_f64().unwrap();
    let beat =
        &beats(&["--beats", "1", "--clock", "fixed", "--model", &model, "--inject-anoms", "9"])[0];
    near(&beat["decision"]["threat"], 1.0 / (1.0 + (-(weight * 9.0 + bias)).exp()));
    assert_eq!(beat["advisers"]["E"]["version"], report["version"]);
    let text = run(&["controller", "train", &file]).text();
    assert!(text.contains("AUC") && text.contains("MSE") && text.contains("held out"), "{text}");
}

#[test]
fn samples_that_teach_nothing_are_refused() {
    let dir = Dir::new("samples");
    let file = dir.text("samples.jsonl");
    let cases = [
        (
            "{\"anoms\":1,\"threat\":true}\n{\"anoms\":2,\"threat\":1}\n",
            "2 of 2 samples are threats",
        ),
        ("{\"anoms\":1}\n", ":1: `threat` must be"),
        (
            "{\"anoms\":1,\"threat\":false}\n{\"anoms\":1.5,\"threat\":true}\n",
            ":2: `anoms` must be",
        ),
        ("{\"anoms\":1,\"threat\":2}\n", ":1: `threat` must be"),
        ("{\"anoms\":1,\"threat\":true,\"x\":0}\n", ":1: unknown field \"x\""),
        ("7\n", ":1: a JSON object is expected"),
        ("", "0 of 0 samples"),
    ];
    for (text, reason) in cases {
        std::fs::write(&file, text).unwrap();
        run(&["controller", "train", &file]).fails(2, &[reason]);
    }
}

/// Ports that were free a moment ago.
fn ports<const N: usize>() -> [String; N] {
    let sockets = [(); N].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    sockets.each_ref().map(|s| s.local_addr().unwrap().port().to_string())
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Three controllers in a row: what the first injects reaches the last through the middle one, and
/// threats are heard; the wrong key is not.
#[test]
fn controllers_tell_one_another() {
    let dir = Dir::new("mesh");
    let (key, wrong) = (dir.text("key"), dir.text("wrong"));
    std::fs::write(&key, [7; 32]).unwrap();
    std::fs::write(&wrong, [8; 32]).unwrap();
    let [a, b, c, d] = ports();
    let start = |port: &str, peers: &[&str], key: &str, more: &[&str]| {
        let peers: Vec<String> = peers.iter().map(|p| format!("127.0.0.1:{p}")).collect();
        let mut words = vec!["--json", "--mesh", "--mesh-port", port, "--mesh-key", key];
        peers.iter().for_each(|peer| words.extend(["--mesh-peer", peer.as_str()]));
        words.extend(more);
        Killed(endless(&words))
    };
    let mut last = start(&c, &[&b], &key, &[]);
    let mut reader = BufReader::new(last.0.stdout.take().unwrap());
    assert_eq!(next(&mut reader)["action"], "NOOP");
    let mut stranger = start(&d, &[&c], &wrong, &["--inject-anoms", "99", "--inject-weight", "-1"]);
    let mut strange = BufReader::new(stranger.0.stdout.take().unwrap());
    let mut middle = start(&b, &[&a, &c], &key, &[]);
    let mut through = BufReader::new(middle.0.stdout.take().unwrap());
    let mut first = start(&a, &[&b], &key, &["--inject-anoms", "20"]);
    let mut source = BufReader::new(first.0.stdout.take().unwrap());
    let (mut quarantine, mut heard) = (false, false);
    for _ in 0..20_000 {
        // Pipes are read so that nobody has to wait.
        next(&mut source);
        next(&mut through);
        next(&mut strange);
        let beat = next(&mut reader);
        assert!(beat["decision"]["threat"].as_f64().unwrap() >= 0.5, "the wrong key was heard");
        quarantine |= beat["action"] == "QUARANTINE";
        let news = beat["heard"].as_array().cloned().unwrap_or_default();
        heard |= news.iter().any(|n| n["kind"] == "threat");
        if quarantine && heard {
            break;
        }
    }
    assert!(quarantine && heard, "quarantine {quarantine}, threat heard {heard}");
}

/// Datagrams that no controller sent, and one that was recorded and is played again.
#[test]
fn what_is_not_of_the_mesh_is_not_heard() {
    let [port] = ports();
    let mut child = Killed(endless(&["--json", "--mesh", "--mesh-port", &port]));
    let mut reader = BufReader::new(child.0.stdout.take().unwrap());
    next(&mut reader);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = format!("127.0.0.1:{port}");
    let text = br#"{"anoms":50,"kind":"inject","number":1,"origin":"0123456789abcdef","time_ms":0,"weight":null}"#;
    let sealed = |text: &[u8]| {
        let tag = anthill_types::hash::sha3(&[b"anthill/1/mesh\0", &0_u64.to_be_bytes(), text]);
        [text, &tag[..]].concat()
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let fresh = String::from_utf8(text.to_vec()).unwrap();
    let fresh = fresh.replace("\"time_ms\":0", &format!("\"time_ms\":{}", now.as_millis()));
    let mut unsealed = sealed(fresh.as_bytes());
    *unsealed.last_mut().unwrap() ^= 1;
    for bytes in [
        &b""[..],
        &[0; 31],
        &[0; 32],
        &[7; 600],
        &unsealed,
        &sealed(text),
        &sealed(b"{}"),
        &sealed(b"["),
    ] {
        socket.send_to(bytes, &to).unwrap();
    }
    for _ in 0..50 {
        assert_eq!(next(&mut reader)["action"], "NOOP");
    }
    // The same, in time and sealed, is heard; the test above would pass with a deaf controller else.
    let mut beats = 0;
    while next(&mut reader)["action"] != "QUARANTINE" {
        socket.send_to(&sealed(fresh.as_bytes()), &to).unwrap();
        beats += 1;
        assert!(beats < 10_000, "nothing is heard");
    }
}
