//! The controller, canonical JSON, audit logs and training against Python.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use anthill_scheduler::controller::audit::{AuditLog, Head, Json, float};
use anthill_scheduler::controller::train::{self, Sample};
use anthill_scheduler::controller::{Controller, Features, RiskModel, Settings};
use serde_json::{Value, json};
use support::{Random, python};

/// A float of any kind: all bit patterns, few digits, whole, near the edges of the plain form.
fn any_float(random: &mut Random) -> f64 {
    let value = match random.below(6) {
        0 => f64::from_bits(random.next()),
        1 => random.unit(),
        2 => random.below(1 << 40) as f64 / 1000.0,
        3 => random.below(1 << 60) as f64,
        4 => 10_f64.powi(random.below(40) as i32 - 20) * (1 + random.below(99)) as f64,
        _ => [0.0, -0.0, 1e16, 9_999_999_999_999_998.0, 1e-4, 9.999e-5, 5e-324, f64::MAX]
            [random.below(8) as usize],
    };
    if value.is_finite() { value } else { 0.5 }
}

fn any_text(random: &mut Random) -> String {
    let any = |random: &mut Random| match random.below(5) {
        0 => char::from(random.below(128) as u8),
        1 => char::from_u32(random.below(0x800) as u32).unwrap(),
        2 => char::from_u32(0x1_0000 + random.below(0x10_0000) as u32).unwrap(),
        3 => char::from_u32(random.below(0x1_0000) as u32).unwrap_or('\u{ffff}'),
        _ => ['"', '\\', '/', '\u{7f}', '\u{2028}', '\u{1f600}'][random.below(6) as usize],
    };
    (0..random.below(12)).map(|_| any(random)).collect()
}

fn any_value(random: &mut Random, depth: u32) -> Json {
    let kinds = if depth == 0 { 5 } else { 7 };
    match random.below(kinds) {
        0 => Json::Null,
        1 => Json::Bool(random.below(2) == 1),
        2 => {
            let wide = (i128::from(random.next()) << 64 | i128::from(random.next())) >> 1;
            Json::Int(wide >> random.below(127) as u32)
        }
        3 => Json::Float(any_float(random)),
        4 => Json::Text(any_text(random)),
        5 => Json::List((0..random.below(5)).map(|_| any_value(random, depth - 1)).collect()),
        _ => {
            let field = |random: &mut Random| (any_text(random), any_value(random, depth - 1));
            Json::Object((0..random.below(6)).map(|_| field(random)).collect())
        }
    }
}

#[test]
fn canonical_json_is_pythons_byte_for_byte() {
    let mut random = Random(1);
    let mut lines: Vec<String> = (0..6000).map(|_| any_value(&mut random, 4).to_string()).collect();
    for (number, line) in lines.iter().enumerate() {
        let again = Json::parse(line).unwrap_or_else(|e| panic!("value {number}: {e}: {line}"));
        assert_eq!(again.to_string(), *line);
    }
    lines.push("[NaN,Infinity,-Infinity]".into());
    for (ours, theirs) in lines.iter().zip(python("json", &lines)) {
        assert_eq!(*ours, theirs);
    }
}

#[test]
fn what_python_reads_is_read_alike() {
    let lines: Vec<String> = [
        r#" { "b" : 1 , "a" : [ ] , "\u00e9" : "\ud83d\ude00\/" } "#,
        r#"[-0, -0.0, 0e5, 1E400, -1e400, 1e-400, 1.0, 10e2, 0.1e1, 123456789012345678901234567890]"#,
        r#"{"\u0061":"\b\f\n\r\t","\ud83d\ude00":1,"\uffff":2,"z":3}"#,
        "\"\u{7f}\u{e9}\u{1f600}\"",
    ]
    .map(String::from)
    .into();
    let ours: Vec<String> = lines.iter().map(|l| Json::parse(l).unwrap().to_string()).collect();
    assert_eq!(ours, python("json", &lines));
}

#[test]
fn a_hundred_thousand_floats_are_written_as_python_writes_them() {
    let mut random = Random(2);
    let floats: Vec<f64> = (0..100_000).map(|_| any_float(&mut random)).collect();
    let bits: Vec<String> = floats.iter().map(|f| format!("{:016x}", f.to_bits())).collect();
    let answer: Vec<String> =
        serde_json::from_str(&python("floats", &[json!(bits).to_string()])[0]).unwrap();
    for (value, theirs) in floats.iter().zip(&answer) {
        assert_eq!(float(*value), *theirs, "{:016x}", value.to_bits());
    }
}

/// A case of random settings and telemetry, for the oracle and for us.
fn case(seed: u64) -> (Controller, Value, Vec<Value>) {
    let mut random = Random(seed);
    let mut settings = Settings::default();
    if !seed.is_multiple_of(3) {
        settings.k_flows = 1.5 + random.below(8) as f64;
        settings.p_nodes = 1.0 + random.below(40) as f64;
        settings.t1_s = random.unit() * 0.02;
        settings.u = 1.0 + random.unit() * 100.0;
        settings.t_threshold_s = 0.001 + random.unit() * 0.05;
        (settings.kp, settings.ki) = (random.unit() * 2.0, random.unit());
        settings.kd = random.unit() * 0.2;
    }
    let Settings { k_flows: k, p_nodes: p, t1_s, u, t_threshold_s: tt, kp, ki, kd } = settings;
    let as_json =
        json!({"k": k, "P": p, "T1": t1_s, "U": u, "Tt": tt, "Kp": kp, "Ki": ki, "Kd": kd});
    let mut now = random.unit() * 1e3;
    let mut steps = Vec::new();
    for _ in 0..40 {
        let mut features = json!({});
        let given = random.below(32);
        if given & 1 > 0 {
            features["anoms"] = random.below(if given & 16 > 0 { 30 } else { 300 }).into();
        }
        if given & 2 > 0 {
            features["imbalance"] = random.unit().into();
        }
        if given & 4 > 0 {
            features["gain"] = (random.unit() * 0.7).into();
        }
        if given & 8 > 0 {
            let near = tt + (random.unit() - 0.5) * 3e-4;
            let anywhere = random.unit() * 3.0 * tt;
            features["beat_s"] = if random.below(2) == 0 { near } else { anywhere }.into();
        }
        let mut step = json!({"features": features, "now": now});
        if random.below(8) == 0 {
            step["inject_anoms"] = random.below(20).into();
        }
        if random.below(8) == 0 {
            step["inject_weight"] = (random.unit() * 0.6 - 0.2).into();
        }
        steps.push(step);
        now += [0.0, random.unit() * 0.1, random.unit() * 1e4, -random.unit()]
            [random.below(4) as usize];
    }
    (Controller::new(settings).unwrap(), json!({"settings": as_json, "steps": steps}), steps)
}

/// Equal within 1e-9, relative above 1; `theirs` says which fields there are.
fn assert_near(ours: &Value, theirs: &Value, place: &str) {
    match theirs {
        Value::Object(fields) => {
            for (name, value) in fields {
                assert_near(&ours[name], value, &format!("{place}/{name}"));
            }
        }
        Value::Number(number) => {
            let (a, b) = (ours.as_f64().unwrap(), number.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{place}: {a} against {b}");
        }
        other => assert_eq!(ours, other, "{place}"),
    }
}

#[test]
fn four_hundred_runs_are_those_of_the_page() {
    let cases: Vec<_> = (0..400).map(case).collect();
    let lines: Vec<String> = cases.iter().map(|(_, line, _)| line.to_string()).collect();
    let mut actions = std::collections::BTreeMap::new();
    for (seed, ((mut controller, _, steps), answer)) in
        cases.into_iter().zip(python("beats", &lines)).enumerate()
    {
        let answer: Vec<Value> = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer.len(), steps.len());
        for (step, theirs) in steps.iter().zip(&answer) {
            let (anoms, weight) = (step["inject_anoms"].as_u64(), step["inject_weight"].as_f64());
            controller.inject(anoms, weight).unwrap();
            let features = Features::parse(&step["features"].to_string()).unwrap();
            let beat = controller.beat(&features, step["now"].as_f64().unwrap());
            let ours: Value = serde_json::from_str(&beat.to_json().to_string()).unwrap();
            *actions.entry(beat.action).or_insert(0) += 1;
            assert_near(&ours, theirs, &format!("seed {seed}, beat {}", beat.beat));
        }
    }
    assert_eq!(actions.len(), 5, "every action was met: {actions:?}");
}

#[test]
fn audit_logs_verify_in_python_with_the_same_root() {
    let mut random = Random(5);
    let (mut lines, mut roots) = (Vec::new(), Vec::new());
    for length in (0..40).chain([64, 65, 100]) {
        let mut head = Head::default();
        let mut entries = Vec::new();
        for _ in 0..length {
            let data = any_value(&mut random, 3);
            entries.push(head.append(data, any_float(&mut random)).to_json());
        }
        lines.push(Json::List(entries).to_string());
        roots.push(head.merkle_root());
    }
    let mut log = AuditLog::new(0.0);
    let mut controller = Controller::new(Settings::default()).unwrap();
    for _ in 0..20 {
        let now = controller.fixed_now_s();
        log.record_beat(&controller.beat(&Features { anoms: 3, ..Features::default() }, now), now);
    }
    lines.push(Json::List(log.entries().iter().map(|e| e.to_json()).collect()).to_string());
    roots.push(log.merkle_root());
    assert_eq!(python("log", &lines), roots);
}

#[test]
fn auc_and_error_are_those_of_all_pairs() {
    let mut random = Random(9);
    let (mut lines, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let mut sample = |_| {
            let anoms = random.below(30);
            Sample { anoms, threat: random.below(30) < anoms }
        };
        let mut samples: Vec<Sample> = (0..60).map(&mut sample).collect();
        samples.extend([Sample { anoms: 3, threat: true }, Sample { anoms: 3, threat: false }]);
        let model = RiskModel::new(random.unit() - 0.2, random.unit() - 0.5).unwrap();
        let found = train::evaluate(&model, &samples).unwrap();
        ours.push(json!({"auc": found.auc, "mse": found.mse}));
        let pairs: Vec<(u64, u8)> = samples.iter().map(|s| (s.anoms, s.threat.into())).collect();
        lines.push(
            json!({"samples": pairs, "weight": model.weight(), "bias": model.bias()}).to_string(),
        );
        // The curve is monotone and its trapezoids have the same area.
        let area: f64 = found
            .roc
            .windows(2)
            .map(|w| {
                let wide = w[1].false_positives - w[0].false_positives;
                assert!(wide >= 0.0 && w[1].true_positives >= w[0].true_positives);
                wide * (w[0].true_positives + w[1].true_positives) / 2.0
            })
            .sum();
        assert!((area - found.auc).abs() < 1e-12);
    }
    for (ours, theirs) in ours.iter().zip(python("auc", &lines)) {
        assert_near(ours, &serde_json::from_str(&theirs).unwrap(), "auc");
    }
}
