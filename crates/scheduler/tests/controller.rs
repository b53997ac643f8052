//! The worked cases of `docs/spec/controller.md`, and every behaviour and number that seed 3 lists.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_scheduler::controller::audit::{AuditError, AuditLog, Entry, Head, Json, ZERO};
use anthill_scheduler::controller::mesh::{CAPACITY, CROWDED, Message, News, Queue, QueueError};
use anthill_scheduler::controller::pid::{Gains, HISTORY, Pid};
use anthill_scheduler::controller::train::{self, Sample, TrainError};
use anthill_scheduler::controller::{
    Action, Advice, Beat, Controller, FeatureError, Features, RiskModel, Settings, SettingsError,
    advisers,
};
use serde_json::Value;

fn controller() -> Controller {
    Controller::new(Settings::default()).unwrap()
}

fn anoms(anoms: u64) -> Features {
    Features { anoms, ..Features::default() }
}

fn beat(controller: &mut Controller, features: &Features) -> Beat {
    let now = controller.fixed_now_s();
    controller.beat(features, now)
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9, "{a} against {b}");
}

#[test]
fn the_worked_cases_of_the_page() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/controller-small.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 3);
    let mut compared = 0;
    for case in cases {
        let mut controller = controller();
        let features = case["features"].as_array().unwrap();
        for (features, expected) in features.iter().zip(case["beats"].as_array().unwrap()) {
            let features = Features::parse(&features.to_string()).unwrap();
            let found = beat(&mut controller, &features).to_json().to_string();
            let found: Value = serde_json::from_str(&found).unwrap();
            compared += compare(&found, expected, &case["name"].to_string());
        }
    }
    assert!(compared > 200, "{compared} values were compared");
}

/// The file lays the advisers' values flat; both forms have the same names.
fn compare(found: &Value, expected: &Value, place: &str) -> usize {
    let advisers = &found["advisers"];
    let mut compared = 0;
    for (name, value) in expected.as_object().unwrap() {
        let ours = match name.as_str() {
            "urgency" | "cost" => &advisers["R"][name],
            "conserve" => &advisers["B"][name],
            "threat" => &advisers["E"]["threat_score"],
            "expected_gain" => &advisers["O"][name],
            "weighted" => &found["decision"]["weighted"],
            _ => &found[name],
        };
        let place = format!("{place}: {name}");
        compared += match value {
            Value::Object(fields) => fields.iter().map(|(n, v)| same(&ours[n], v, &place)).sum(),
            other => same(ours, other, &place),
        };
    }
    compared
}

fn same(ours: &Value, theirs: &Value, place: &str) -> usize {
    match theirs.as_f64() {
        Some(number) => near(ours.as_f64().unwrap_or_else(|| panic!("{place}: none")), number),
        None => assert_eq!(ours, theirs, "{place}"),
    }
    1
}

// Seed 3, T_L pulse tests.

#[test]
fn pulse_initialization() {
    let controller = controller();
    assert_eq!((controller.beats(), controller.injected()), (0, 0));
    let weights = controller.weights();
    assert_eq!((weights.r, weights.b, weights.e, weights.o), (0.25, 0.25, 0.15, 0.35));
    let Settings { k_flows, p_nodes, t1_s, u, t_threshold_s, .. } = *controller.settings();
    assert_eq!((k_flows, p_nodes, t1_s, t_threshold_s), (4.0, 5.0, 0.001, 0.02));
    near(u.ln(), 4.0);
}

#[test]
fn pulse_stability_condition() {
    for (k, p) in [(1.0, 1.0), (0.5, 2.0), (0.1, 5.0), (1e-300, 1e-300)] {
        let settings = Settings { k_flows: k, p_nodes: p, ..Settings::default() };
        let refused = Controller::new(settings).unwrap_err();
        assert_eq!(refused, SettingsError::Parallelism { k, p });
        assert!(refused.to_string().contains("above 1"), "{refused}");
    }
    let just = Settings { k_flows: 1.0, p_nodes: 1.0 + 1e-9, ..Settings::default() };
    assert!(Controller::new(just).is_ok());
}

#[test]
fn pulse_formula() {
    let beat_s = Settings::default().heartbeat();
    assert_eq!(format!("{beat_s:.6}"), "0.004211");
    near(beat_s, 0.004 / 0.95);
    // The lower bound.
    let tiny = Settings { t1_s: 0.0, ..Settings::default() };
    assert_eq!(tiny.heartbeat(), 1e-6);
    let below_one = Settings { u: 0.5, ..Settings::default() };
    assert_eq!(below_one.heartbeat(), 1e-6);
    near(Settings::default().slowed(1000.0).heartbeat(), 4.0 / 0.95);
}

#[test]
fn pulse_generation() {
    let first = beat(&mut controller(), &Features::default());
    near(first.t_lambda, 0.004 / 0.95);
    near(first.measured, first.t_lambda);
    // A measured beat counts when it is longer, and not when it is shorter.
    let slow = Features { beat_s: Some(0.03), ..Features::default() };
    near(beat(&mut controller(), &slow).measured, 0.03);
    let fast = Features { beat_s: Some(0.001), ..Features::default() };
    near(beat(&mut controller(), &fast).measured, first.t_lambda);
}

#[test]
fn pulse_sequence() {
    let mut controller = controller();
    for number in 1..=50 {
        near(controller.fixed_now_s(), (number - 1) as f64 * 0.004 / 0.95);
        assert_eq!(beat(&mut controller, &Features::default()).beat, number);
    }
}

#[test]
fn pulse_reset() {
    let mut controller = controller();
    controller.inject(Some(9), Some(0.5)).unwrap();
    let first = beat(&mut controller, &anoms(2));
    beat(&mut controller, &anoms(5));
    controller.reset();
    assert_eq!(controller, self::controller());
    controller.inject(Some(9), Some(0.5)).unwrap();
    assert_eq!(beat(&mut controller, &anoms(2)), first);
}

// Seed 3, PID controller tests.

const GAINS: Gains = Gains { kp: 0.6, ki: 0.1, kd: 0.05 };

#[test]
fn pid_initialization() {
    let pid = Pid::default();
    assert_eq!(pid.history().len(), 0);
    assert!(!pid.is_stable(1));
    let said = Advice::of(&controller().view(&Features::default())).balance;
    assert_eq!((said.kp, said.ki, said.kd), (0.6, 0.1, 0.05));
}

#[test]
fn pid_computes_various_errors() {
    let mut pid = Pid::default();
    // No time has passed: proportional part alone.
    let first = pid.compute(-0.0158, GAINS, 5.0);
    near(first.out, 0.6 * -0.0158);
    // Then each part by hand.
    let second = pid.compute(0.01, GAINS, 5.5);
    near(second.p, 0.006);
    near(second.integral, 0.005);
    near(second.i, 0.0005);
    near(second.d, 0.05 * (0.01 + 0.0158) / 0.5);
    near(second.out, second.p + second.i + second.d);
    near(second.delta_v, 0.0258);
    // A clock that stands still or goes back adds nothing and divides by nothing.
    for now in [5.5, 1.0] {
        let report = pid.compute(0.02, GAINS, now);
        near(report.integral, 0.005);
        assert_eq!(report.d, 0.0);
    }
}

#[test]
fn pid_anti_windup() {
    for (error, bound) in [(5.0, 1.0), (-5.0, -1.0)] {
        let mut pid = Pid::default();
        for second in 0..20 {
            assert!(pid.compute(error, GAINS, f64::from(second)).integral.abs() <= 1.0);
        }
        assert_eq!(pid.compute(error, GAINS, 20.0).integral, bound);
    }
}

#[test]
fn pid_epsilon_reset() {
    let mut pid = Pid::default();
    pid.compute(0.5, GAINS, 0.0);
    near(pid.compute(0.5, GAINS, 1.0).integral, 0.5);
    // At the edge nothing is forgotten; below it all that was gathered is.
    near(pid.compute(1e-4, GAINS, 2.0).integral, 0.5 + 1e-4);
    near(pid.compute(9e-5, GAINS, 3.0).integral, 9e-5);
    assert_eq!(pid.compute(-5e-5, GAINS, 3.0).integral, 0.0);
}

#[test]
fn pid_weight_adjustment_limits() {
    let mut pid = Pid::default();
    assert_eq!(pid.compute(100.0, GAINS, 0.0).weight_adjustment, -0.05);
    assert_eq!(pid.compute(-100.0, GAINS, 1.0).weight_adjustment, 0.05);
    pid.reset();
    near(pid.compute(0.01, GAINS, 2.0).weight_adjustment, -0.006);
    // Gains and errors near the largest float move the weights by no more, and never to no number.
    let wild = Gains { kp: f64::MAX, ki: f64::MAX, kd: f64::MAX };
    for error in [1e300, -1e300, 1e-300, 0.0] {
        let step = pid.compute(error, wild, 2.0 + 5e-300).weight_adjustment;
        assert!((-0.05..=0.05).contains(&step), "{step}");
    }
}

#[test]
fn pid_stability_and_history() {
    let mut pid = Pid::default();
    for step in 0..10 {
        assert!(pid.compute(-f64::from(step) - 1.0, GAINS, f64::from(step)).stable);
    }
    assert!(pid.is_stable(10) && !pid.is_stable(11));
    assert!(!pid.compute(0.0, GAINS, 11.0).stable);
    assert!(!pid.is_stable(1));
    for step in 0..1500 {
        pid.compute(0.1, GAINS, 20.0 + f64::from(step));
    }
    assert_eq!(pid.history().len(), HISTORY);
    assert_eq!(pid.history().last().unwrap().now_s, 1519.0);
    assert_eq!(pid.history().next().unwrap().now_s, 520.0);
}

#[test]
fn pid_parameter_updates() {
    let mut controller = controller();
    beat(&mut controller, &Features::default());
    let settings = Settings { kp: 1.0, ki: 0.0, kd: 0.0, ..*controller.settings() };
    controller.set_settings(settings).unwrap();
    let second = beat(&mut controller, &Features::default());
    near(second.pid.out, second.pid.delta_t);
    let refused = controller.set_settings(Settings { kp: -1.0, ..settings }).unwrap_err();
    assert_eq!(refused, SettingsError::Negative { name: "Kp", value: -1.0 });
    assert_eq!(*controller.settings(), settings);
}

// Seed 3, immutable ledger tests.

#[test]
fn log_genesis() {
    let log = AuditLog::new(1.5);
    let first = &log.entries()[0];
    assert_eq!((log.entries().len(), first.index, first.previous_hash.as_str()), (1, 0, ZERO));
    assert_eq!(first.timestamp, Json::Float(1.5));
    assert_eq!(first.data.get("type").unwrap().as_str(), Some("genesis"));
    assert_eq!(first.hash.len(), 64);
    log.verify().unwrap();
}

#[test]
fn log_entry_addition() {
    let mut log = AuditLog::new(0.0);
    let second = log.append(Json::Text("a".into()), 1.0).clone();
    assert_eq!((second.index, &second.previous_hash), (1, &log.entries()[0].hash));
    assert_eq!(log.head().last_hash(), second.hash);
}

#[test]
fn log_action_recording() {
    let mut log = AuditLog::new(0.0);
    let entry = log.record_action("ALERT", Json::object([("threat", 0.7.into())]), 1.0);
    let expected = r#"{"action":"ALERT","details":{"threat":0.7},"type":"action"}"#;
    assert_eq!(entry.data.to_string(), expected);
}

#[test]
fn log_pulse_recording() {
    let mut log = AuditLog::new(0.0);
    let beat = beat(&mut controller(), &Features::default());
    let entry = log.record_pulse(&beat, 1.0);
    let expected = r#"{"pulse":{"beat":1,"measured":0.004210526315789474,"t_lambda":0.004210526315789474},"type":"pulse"}"#;
    assert_eq!(entry.data.to_string(), expected);
}

#[test]
fn log_flow_result_recording() {
    let mut log = AuditLog::new(0.0);
    let advice = Advice::of(&controller().view(&anoms(5)));
    for (flow, result) in advice.to_json() {
        log.record_flow_result(flow, result, 1.0);
    }
    let repair = r#"{"flow":"R","result":{"cost":0.025,"urgency":0.05},"type":"flow_result"}"#;
    assert_eq!(log.entries()[1].data.to_string(), repair);
    let risk = log.entries()[3].data.get("result").unwrap();
    let explanation = risk.get("explanation").unwrap().as_str().unwrap();
    assert_eq!(explanation, "1/(1+exp(-(0.12 * 5 + 0))) = 0.6457");
    assert!(risk.get("version").unwrap().as_str().unwrap().starts_with("logistic-"));
    log.verify().unwrap();
}

#[test]
fn log_whole_beats() {
    let mut log = AuditLog::new(0.0);
    let mut controller = controller();
    for _ in 0..3 {
        let now = controller.fixed_now_s();
        let beat = controller.beat(&anoms(5), now);
        log.record_beat(&beat, now);
    }
    let kinds: Vec<&str> =
        log.entries().iter().map(|e| e.data.get("type").unwrap().as_str().unwrap()).collect();
    assert_eq!(kinds.len(), 19);
    assert_eq!(kinds[..3], ["genesis", "pulse", "flow_result"]);
    assert_eq!(kinds[6..8], ["action", "pulse"]);
    log.verify().unwrap();
}

/// A log of nine entries, and what changes do to it.
#[test]
fn log_chain_verification() {
    let mut log = AuditLog::new(0.0);
    for number in 0..8_u64 {
        log.append(number.into(), number as f64);
    }
    let good = log.entries().to_vec();
    let check = |entries: Vec<Entry>| AuditLog::from_entries(entries).map(|_| ());
    check(good.clone()).unwrap();
    for at in 0..good.len() {
        let changed = |change: &dyn Fn(&mut Entry)| {
            let mut entries = good.clone();
            change(&mut entries[at]);
            check(entries).unwrap_err()
        };
        let index = at as u64;
        let hash = |error| matches!(error, AuditError::Hash { index: i, .. } if i == index);
        assert!(hash(changed(&|e| e.data = Json::Null)));
        assert!(hash(changed(&|e| e.timestamp = Json::Int(77))));
        assert!(hash(changed(&|e| e.hash = "f".repeat(64))));
        let link = changed(&|e| e.previous_hash = "e".repeat(64));
        assert!(matches!(link, AuditError::Link { index: i, .. } if i == index));
        assert_eq!(
            changed(&|e| e.index += 1),
            AuditError::Index { expected: index, found: index + 1 }
        );
        // An entry that was changed with its hash breaks the link of the next.
        let mut entries = good.clone();
        entries[at].data = Json::Null;
        entries[at].hash = entries[at].expected_hash();
        match check(entries) {
            Ok(()) => assert_eq!(at, good.len() - 1),
            Err(error) => {
                assert!(matches!(error, AuditError::Link { index: i, .. } if i == index + 1))
            }
        }
        let mut shorter = good.clone();
        shorter.remove(at);
        assert_eq!(check(shorter).is_ok(), at == good.len() - 1);
    }
}

#[test]
fn log_merkle_root() {
    use anthill_types::hash::sha3;
    use anthill_types::ids::to_hex;
    let plain = |entries: &[Entry]| {
        let mut level: Vec<String> = entries.iter().map(|e| e.hash.clone()).collect();
        while level.len() > 1 {
            let pair = |p: &[String]| to_hex(&sha3(&[p[0].as_bytes(), p[p.len() - 1].as_bytes()]));
            level = level.chunks(2).map(pair).collect();
        }
        level.pop().unwrap_or(ZERO.into())
    };
    let mut head = Head::default();
    let mut entries = Vec::new();
    for number in 0..200_u64 {
        assert_eq!(head.merkle_root(), plain(&entries), "{number} entries");
        entries.push(head.append(number.into(), 0.0));
    }
}

#[test]
fn log_manifest() {
    let mut log = AuditLog::new(1.0);
    log.append(Json::Null, 2.0);
    let manifest = log.manifest();
    let text = |name: &str| manifest.get(name).unwrap().to_string();
    assert_eq!(text("entries"), "2");
    assert_eq!(text("merkle_root"), format!("\"{}\"", log.merkle_root()));
    assert_eq!(text("first_hash"), format!("\"{}\"", log.entries()[0].hash));
    assert_eq!(text("last_hash"), format!("\"{}\"", log.entries()[1].hash));
    assert_eq!((text("first_timestamp"), text("last_timestamp")), ("1.0".into(), "2.0".into()));
    assert_eq!(text("hash_algorithm"), "\"SHA3-256\"");
}

#[test]
fn log_canonical_json_hashing() {
    // Made with Python: hashlib.sha3_256(json.dumps({...}, sort_keys=True, separators=(",", ":"))
    // .encode()).hexdigest() of the body that the assertion below spells out.
    let data = Json::object([("b", 1e-6.into()), ("a", "\u{39b} \u{1f41c}".into())]);
    let mut head = Head::default();
    let entry = head.append(data, 0.0);
    let body = r#"{"data":{"a":"\u039b \ud83d\udc1c","b":1e-06},"index":0,"previous_hash":"0000000000000000000000000000000000000000000000000000000000000000","timestamp":0.0}"#;
    assert_eq!(entry.hash, HASH);
    let line = entry.to_json().to_string();
    assert!(line.starts_with(&body[..40]), "{line}");
    assert_eq!(Entry::parse(&line).unwrap(), entry);
}

const HASH: &str = "95032b1a490a6dd8650820aebf10bd9d6b46909891510edd65320e0934d08f85";

#[test]
fn log_lines_are_read_with_care() {
    let line = AuditLog::new(0.0).entries()[0].to_json().to_string();
    let cases: [(&str, &str, &str); 8] = [
        ("\"index\":0", "\"index\":0.0", "`index` is no integer"),
        ("\"index\":0", "\"index\":-1", "`index` is not from 0"),
        ("\"index\":0", "\"index\":0,\"more\":1", "more fields"),
        ("\"timestamp\":0.0", "\"timestamp\":\"0\"", "`timestamp` is no number"),
        ("\"hash\":\"", "\"hash\":\"A", "`hash` is not 64"),
        ("\"previous_hash\":\"0", "\"previous_hash\":\"", "`previous_hash` is not 64"),
        ("\"data\":", "\"date\":", "more fields"),
        ("\"index\":0", "\"index\":0,\"index\":0", "stands twice"),
    ];
    for (from, to, reason) in cases {
        let error = Entry::parse(&line.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(reason), "{to}: {error}");
    }
    assert!(Entry::parse("[1]").unwrap_err().to_string().contains("no JSON object"));
    for bad in
        ["", "{", "\"\\ud800\"", "01", "1.", "+1", "nul", "[1,]", "{\"a\":1,}", "\"\u{1}\"", "1 2"]
    {
        assert!(matches!(Entry::parse(bad), Err(AuditError::Json(_))), "{bad:?}");
    }
    let deep = "[".repeat(100_000);
    assert!(Entry::parse(&deep).unwrap_err().to_string().contains("nested deeper"));
}

// Seed 3, validation results.

#[test]
fn the_seeds_own_numbers() {
    let mut controller = controller();
    let first = beat(&mut controller, &Features::default());
    assert_eq!(format!("{:.6}", first.t_lambda), "0.004211");
    assert_eq!(format!("{:.6}", first.pid.delta_t), "-0.015789");
    assert_eq!(format!("{:.6}", first.pid.delta_v), "-0.015789");
    assert!(first.pid.stable);
    assert_eq!(format!("{:.4}", first.advice.balance.conserve), "0.2105");
    assert_eq!(first.action, Action::Noop);
    assert_eq!(format!("{:.4}", RiskModel::default().threat(5)), "0.6457");
}

#[test]
fn every_action_is_reached_by_its_rule_and_in_their_order() {
    let act = |features: Features| beat(&mut controller(), &features).action;
    let slow = Features { beat_s: Some(0.02), ..Features::default() };
    assert_eq!(act(anoms(15)), Action::Quarantine);
    assert_eq!(act(anoms(14)), Action::Alert);
    assert_eq!(act(anoms(4)), Action::Alert);
    assert_eq!(act(anoms(3)), Action::Noop);
    assert_eq!(act(slow), Action::ApplyBalance);
    assert_eq!(act(Features { imbalance: 0.26, ..Features::default() }), Action::ApplyBalance);
    assert_eq!(
        act(Features { imbalance: 0.25, gain: 0.2, ..Features::default() }),
        Action::ApplyOptimize
    );
    assert_eq!(act(Features { gain: 0.1, ..Features::default() }), Action::Noop);
    // A strong threat comes before the rest; urgent repairs keep balance from being applied.
    assert_eq!(act(Features { anoms: 20, gain: 0.3, imbalance: 1.0, ..slow }), Action::Quarantine);
    let mut calm = controller();
    calm.inject(Some(10), Some(0.0)).unwrap();
    assert_eq!(beat(&mut calm, &Features { gain: 0.3, ..slow }).action, Action::ApplyOptimize);
    let names: Vec<&str> = Action::ALL.iter().map(|a| a.name()).collect();
    assert_eq!(names, ["QUARANTINE", "ALERT", "APPLY_BALANCE", "APPLY_OPTIMIZE", "NOOP"]);
}

#[test]
fn weighted_values_rank_and_raw_values_decide() {
    let mut controller = controller();
    let beat = beat(&mut controller, &Features { anoms: 5, gain: 0.5, ..Features::default() });
    let raw = beat.decision.raw.ranked().map(|(name, _)| name);
    let weighted = beat.decision.weighted.ranked().map(|(name, _)| name);
    assert_eq!(raw, ["threat", "opt_gain", "stability", "repair_score"]);
    assert_eq!(weighted, ["opt_gain", "threat", "stability", "repair_score"]);
    assert_eq!(beat.action, Action::Alert);
}

#[test]
fn injection_sets_what_is_given_and_stays() {
    let mut controller = controller();
    controller.inject(Some(5), None).unwrap();
    for _ in 0..3 {
        near(beat(&mut controller, &Features::default()).decision.raw.threat, 0.6456563062257954);
    }
    near(beat(&mut controller, &anoms(15)).decision.raw.threat, 0.9168273035060777);
    controller.inject(None, Some(0.2)).unwrap();
    assert_eq!((controller.injected(), controller.model().weight()), (5, 0.2));
    near(
        beat(&mut controller, &Features::default()).decision.raw.threat,
        1.0 / (1.0 + (-1.0_f64).exp()),
    );
    assert!(matches!(
        controller.inject(Some(0), Some(f64::NAN)).unwrap_err(),
        SettingsError::NotFinite { name: "the risk weight", .. }
    ));
    assert_eq!(controller.injected(), 5);
    controller.inject(Some(u64::MAX), None).unwrap();
    assert_eq!(beat(&mut controller, &anoms(u64::MAX)).decision.raw.threat, 1.0);
}

#[test]
fn advisers_may_run_at_once() {
    let mut parallel = controller();
    let mut alone = controller();
    for number in 0..20 {
        let features =
            Features { anoms: number, gain: 0.01 * number as f64, ..Features::default() };
        let now = alone.fixed_now_s();
        let view = parallel.view(&features);
        let advice = std::thread::scope(|scope| {
            let repair = scope.spawn(|| advisers::repair(&view));
            let balance = scope.spawn(|| advisers::balance(&view));
            let risk = scope.spawn(|| advisers::risk(&view));
            Advice {
                optimize: advisers::optimize(&view),
                repair: repair.join().unwrap(),
                balance: balance.join().unwrap(),
                risk: risk.join().unwrap(),
            }
        });
        assert_eq!(parallel.conclude(&view, advice, now), alone.beat(&features, now));
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let wrong: [fn(&mut Settings, f64); 8] = [
        |s, v| s.k_flows = v,
        |s, v| s.p_nodes = v,
        |s, v| s.t1_s = v,
        |s, v| s.u = v,
        |s, v| s.t_threshold_s = v,
        |s, v| s.kp = v,
        |s, v| s.ki = v,
        |s, v| s.kd = v,
    ];
    for (field, set) in wrong.iter().enumerate() {
        for value in [f64::NAN, f64::INFINITY, -f64::INFINITY, -1.0, -1e-300] {
            let mut settings = Settings::default();
            set(&mut settings, value);
            let error = Controller::new(settings).unwrap_err();
            assert!(error.to_string().contains("finite number"), "field {field}, {value}: {error}");
        }
    }
    let huge = Settings { t1_s: f64::MAX, ..Settings::default() };
    assert!(matches!(Controller::new(huge).unwrap_err(), SettingsError::Heartbeat { .. }));
}

#[test]
fn broken_sensors_do_not_poison_the_state() {
    let mut controller = controller();
    for value in [f64::NAN, f64::INFINITY, -f64::INFINITY, -5.0, 1e308, 5e-324] {
        let features = Features { anoms: 1, imbalance: value, gain: value, beat_s: Some(value) };
        for now in [value, 0.0, 1.0, f64::NAN] {
            let weights = controller.beat(&features, now).weights;
            assert!((weights.sum() - 1.0).abs() < 1e-9, "{value}: {weights:?}");
        }
    }
}

#[test]
fn telemetry_lines_are_read_with_care() {
    let full = Features { anoms: 3, imbalance: 0.5, gain: 0.25, beat_s: Some(0.125) };
    assert_eq!(Features::parse(&full.to_json().to_string()).unwrap(), full);
    assert_eq!(Features::parse("{}").unwrap(), Features::default());
    assert_eq!(Features::parse(r#"{"beat_s":null,"gain":1}"#).unwrap().gain, 1.0);
    let refused = |line: &str| Features::parse(line).unwrap_err();
    assert_eq!(refused("[]"), FeatureError::NoObject);
    assert_eq!(refused(r#"{"x":1}"#), FeatureError::Unknown("x".into()));
    assert_eq!(refused(r#"{"x":null}"#), FeatureError::Unknown("x".into()));
    for bad in [
        r#"{"anoms":-1}"#,
        r#"{"anoms":1.0}"#,
        r#"{"anoms":18446744073709551616}"#,
        r#"{"imbalance":1.01}"#,
        r#"{"imbalance":-0.1}"#,
        r#"{"gain":NaN}"#,
        r#"{"gain":-1}"#,
        r#"{"beat_s":"1"}"#,
        r#"{"beat_s":1e999}"#,
    ] {
        assert!(matches!(refused(bad), FeatureError::Value { .. }), "{bad}: {}", refused(bad));
    }
    assert!(matches!(refused("{"), FeatureError::Json(_)));
}

#[test]
fn constant_beats_drive_the_weight_to_its_bound() {
    // The seed's law and no claim of convergence: below the threshold O rises, above it O falls.
    for (beat_s, low, high) in [(0.0, 0.6, 0.9), (1.0, 0.09, 0.15)] {
        let mut controller = controller();
        let features = Features { beat_s: Some(beat_s), ..Features::default() };
        (0..3000).for_each(|_| drop(beat(&mut controller, &features)));
        let o = controller.weights().o;
        assert!((low..=high).contains(&o), "{beat_s}: {o}");
    }
}

#[test]
fn with_a_beat_time_that_grows_with_the_weight_the_loop_settles() {
    // The advisers take longer the more is optimized; the threshold is met at some weight between.
    for (base, slope) in [(0.005, 0.04), (0.01, 0.03), (0.0, 0.06)] {
        let mut controller = controller();
        let mut errors = Vec::new();
        for _ in 0..4000 {
            let beat_s = Some(base + slope * controller.weights().o);
            let report = beat(&mut controller, &Features { beat_s, ..Features::default() });
            errors.push(report.pid.delta_t.abs());
        }
        let late = errors[3500..].iter().fold(0.0_f64, |a, b| a.max(*b));
        assert!(late < 2e-3, "{base} + {slope} O: still {late} s off");
    }
}

// Training.

fn labelled(pairs: &[(u64, bool)]) -> Vec<Sample> {
    pairs.iter().map(|(anoms, threat)| Sample { anoms: *anoms, threat: *threat }).collect()
}

#[test]
fn training_finds_the_model_that_made_the_samples() {
    // 1000 counts, each labelled as a model of weight 0.4 and bias -4 says it should be on average.
    let truth = RiskModel::new(0.4, -4.0).unwrap();
    let mut samples = Vec::new();
    for anoms in 0..20 {
        let share = (truth.threat(anoms) * 200.0).round() as u64;
        samples.extend((0..200).map(|i| Sample { anoms, threat: i < share }));
    }
    let trained = train::fit(RiskModel::default(), &samples).unwrap();
    assert!((trained.model.weight() - 0.4).abs() < 0.01, "{trained:?}");
    assert!((trained.model.bias() + 4.0).abs() < 0.1, "{trained:?}");
    assert!(trained.mse_after < trained.mse_before);
    let before = train::evaluate(&RiskModel::default(), &samples).unwrap();
    let after = train::evaluate(&trained.model, &samples).unwrap();
    // One feature and a positive weight: training moves the threshold, not the order.
    near(before.auc, after.auc);
    assert!(after.auc > 0.8 && after.mse < 0.6 * before.mse);
}

#[test]
fn training_needs_both_kinds() {
    for samples in [labelled(&[]), labelled(&[(1, true), (2, true)]), labelled(&[(1, false)])] {
        let error = train::fit(RiskModel::default(), &samples).unwrap_err();
        assert!(matches!(error, TrainError::OneKind { .. }), "{error}");
        assert_eq!(train::evaluate(&RiskModel::default(), &samples).unwrap_err(), error);
    }
    // Equal counts teach a share and nothing else.
    let mixed = labelled(&[(7, true), (7, false), (7, false), (7, false)]);
    let trained = train::fit(RiskModel::default(), &mixed).unwrap();
    assert!((trained.model.threat(7) - 0.25).abs() < 1e-3, "{trained:?}");
    near(train::evaluate(&trained.model, &mixed).unwrap().auc, 0.5);
    // Samples that a line parts do not run away.
    let parted = labelled(&[(0, false), (1, false), (9, true), (u64::MAX, true)]);
    let trained = train::fit(RiskModel::default(), &parted).unwrap();
    assert!(trained.model.weight().is_finite() && trained.mse_after <= trained.mse_before);
}

// Mesh.

#[test]
fn messages_go_first_in_first_out_to_all_but_the_sender() {
    let mut queue = Queue::new([1, 2, 3]);
    for (from, beat) in [(1, 1), (2, 2), (9, 3)] {
        queue.push(Message { from, news: News::Threat { beat, threat: 0.7 } }, 0.0).unwrap();
    }
    let mut got = Vec::new();
    while let Some(due) = queue.due_s() {
        assert!(queue.step(due - 1e-9).is_none());
        let (message, to) = queue.step(due).unwrap();
        got.push((message.from, to));
    }
    assert_eq!(got, [(1, vec![2, 3]), (2, vec![1, 3]), (9, vec![1, 2, 3])]);
    queue.remove(&2);
    queue.add(4);
    queue
        .push(Message { from: 1, news: News::Inject { anoms: Some(1), weight: None } }, 1.0)
        .unwrap();
    assert_eq!(queue.step(2.0).unwrap().1, [3, 4]);
    assert_eq!((queue.step(9.0), queue.due_s()), (None, None));
}

#[test]
fn the_delay_adapts_to_what_waits() {
    let mut queue = Queue::new([1]);
    let message = || Message { from: 2, news: News::Inject { anoms: None, weight: None } };
    for _ in 0..CROWDED + 50 {
        queue.push(message(), 0.0).unwrap();
    }
    let (mut now, mut gaps) = (queue.due_s().unwrap(), Vec::new());
    assert_eq!(now, 0.001);
    while queue.step(now).is_some() {
        let Some(next) = queue.due_s() else { break };
        gaps.push(next - now);
        now = next;
    }
    let quick = gaps.iter().filter(|gap| (**gap - 0.0003).abs() < 1e-9).count();
    let slow = gaps.iter().filter(|gap| (**gap - 0.001).abs() < 1e-9).count();
    assert_eq!((quick, slow), (49, 100));
}

#[test]
fn the_queue_is_bounded() {
    let mut queue = Queue::new([1]);
    let message = || Message { from: 2, news: News::Inject { anoms: None, weight: None } };
    (0..CAPACITY).for_each(|_| queue.push(message(), 0.0).unwrap());
    assert_eq!(queue.push(message(), 0.0), Err(QueueError::Full));
    assert_eq!(queue.len(), CAPACITY);
    queue.step(1.0).unwrap();
    queue.push(message(), 1.0).unwrap();
}
