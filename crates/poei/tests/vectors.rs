//! The worked cases of the specification, and random ones of an independent implementation.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_poei::*;
use serde_json::Value;

const SMALL: &str = include_str!("../../../tests/vectors/poei-small.json");
const RANDOM: &str = include_str!("oracle/random.json");

fn wide(value: &Value) -> u128 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        other => other.as_u64().unwrap().into(),
    }
}

fn int(value: &Value) -> u64 {
    wide(value).try_into().unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn hash(value: &Value) -> [u8; 32] {
    unhex(value).try_into().unwrap()
}

fn four(value: &Value) -> [u64; 4] {
    let list: Vec<u64> = value.as_array().unwrap().iter().map(int).collect();
    list.try_into().unwrap()
}

fn records(value: &Value) -> Vec<Record> {
    let record = |r: &Value| Record {
        node: hash(&r["node"]),
        work: int(&r["work"]),
        offered: int(&r["offered"]),
        flow: int(&r["flow"]),
        ok: int(&r["ok"]),
        bad: int(&r["bad"]),
        focus_before: int(&r["focus_before"]),
        focus_after: int(&r["focus_after"]),
        trust: int(&r["trust"]),
        is_parent: r["is_parent"].as_bool().unwrap(),
        attestation: hash(&r["attestation"]),
        previous: r.get("previous").filter(|p| !p.is_null()).map(int),
        timestamp: int(&r["timestamp"]),
    };
    value.as_array().unwrap().iter().map(record).collect()
}

#[test]
fn every_worked_case() {
    let vectors: Value = serde_json::from_str(SMALL).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let name = &case["name"];
        let previous = hash(&case["previous_tlr"]);
        let records = records(&case["records"]);
        let result =
            score_epoch(int(&case["epoch"]), &previous, &records, &Params::default()).unwrap();
        let expected = &case["result"];
        assert_eq!(result.root, hash(&expected["root"]), "{name}");
        assert_eq!(result.tlr, hash(&expected["tlr"]), "{name}");
        assert_eq!(result.pool, wide(&expected["pool"]), "{name}");
        assert_eq!(result.adaptive_weights, four(&expected["adaptive_weights"]), "{name}");
        let rows = expected["rows"].as_array().unwrap();
        assert_eq!(result.rows.len(), rows.len(), "{name}");
        for (row, want) in result.rows.iter().zip(rows) {
            let got = [row.e, row.q, row.i, row.t, row.raw, row.score];
            let keys = ["E", "Q", "I", "T", "raw", "score"];
            assert_eq!(got, keys.map(|key| int(&want[key])), "{name}");
            assert_eq!(row.node, hash(&want["node"]));
            assert_eq!(row.message, unhex(&want["message"]), "{name}");
            assert_eq!(row.leaf, leaf(&row.message));
            assert_eq!(row.is_parent, want["parent"].as_bool().unwrap());
            assert_eq!(row.reward, wide(&want["reward"]), "{name}");
        }
    }
}

#[test]
fn the_sample_of_the_seed() {
    let vectors: Value = serde_json::from_str(SMALL).unwrap();
    let sample = &vectors["sample"];
    let metrics = ["E", "Q", "I", "T"].map(|key| int(&sample[key]));
    assert_eq!(raw_score(metrics, Params::default().weights), int(&sample["raw"]));
}

#[test]
fn every_trust_walk() {
    let vectors: Value = serde_json::from_str(SMALL).unwrap();
    let walks = vectors["trust"].as_array().unwrap();
    assert_eq!(walks.len(), 6);
    for walk in walks {
        let mut trust = Trust::default();
        assert_eq!(trust.value(Attestation::SelfSigned).unwrap(), int(&walk["start"]));
        for step in walk["steps"].as_array().unwrap() {
            let [ok, bad, late] = ["ok_n", "bad_n", "late_n"].map(|key| int(&step[key]));
            trust = trust.after(Outcome { ok, bad, late }).unwrap();
            assert_eq!((trust.a, trust.b), (wide(&step["a"]), wide(&step["b"])));
            assert_eq!(trust.value(Attestation::SelfSigned).unwrap(), int(&step["trust"]));
        }
    }
}

#[test]
fn random_cases_of_the_independent_implementation() {
    let cases: Value = serde_json::from_str(RANDOM).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 60);
    for (number, case) in cases.iter().enumerate() {
        let p = &case["params"];
        let params = Params {
            e_ref: int(&p["e_ref"]),
            kappa: int(&p["kappa"]),
            weights: four(&p["weights"]),
            threshold: int(&p["threshold"]),
            memory: int(&p["memory"]),
            parent_ratio: int(&p["parent_ratio"]),
            base_pool: wide(&p["base_pool"]),
        };
        let previous = hash(&case["previous_tlr"]);
        let records = records(&case["records"]);
        let result = score_epoch(int(&case["epoch"]), &previous, &records, &params).unwrap();
        assert_eq!(result.root, hash(&case["root"]), "case {number}");
        assert_eq!(result.tlr, hash(&case["tlr"]), "case {number}");
        let rewards: Vec<u128> = case["rewards"].as_array().unwrap().iter().map(wide).collect();
        let got: Vec<u128> = result.rows.iter().map(|row| row.reward).collect();
        assert_eq!(got, rewards, "case {number}");
        assert_eq!(result.pool, wide(&case["pool"]), "case {number}");
        assert_eq!(result.adaptive_weights, four(&case["adaptive_weights"]), "case {number}");
    }
}
