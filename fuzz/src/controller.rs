//! The controller's texts: telemetry lines and what beats make of them, audit logs that somebody
//! altered, and JSON as Python writes it.

use anthill_scheduler::controller::audit::{AuditError, AuditLog, Entry, Head, Json, JsonError};
use anthill_scheduler::controller::{Controller, Features, Settings};

use crate::input::Input;

/// Most beats of an input.
const BEATS: usize = 40;

/// First byte: telemetry, an altered log, a log as it is, or a JSON value.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 4 {
        0 => telemetry(input.rest()),
        1 => altered(&mut input),
        2 => log(input.rest()),
        _ => {
            if let Ok(text) = std::str::from_utf8(input.rest()) {
                json(text);
            }
        }
    }
}

/// What is accepted is read again as the same features, and no line can unsettle the weights or the log.
fn telemetry(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut controller = Controller::new(Settings::default()).expect("the defaults");
    let mut log = AuditLog::new(0.0);
    for line in text.lines().take(BEATS) {
        let Ok(features) = Features::parse(line) else { continue };
        assert_eq!(features, features.sound(), "a file brought what no sensor may");
        assert_eq!(Features::parse(&features.to_json().to_string()), Ok(features));
        let now_s = controller.fixed_now_s();
        let beat = controller.beat(&features, now_s);
        let weights = controller.weights();
        for weight in [weights.r, weights.b, weights.e, weights.o] {
            assert!((0.0..=1.0).contains(&weight), "{weights:?} after {line}");
        }
        assert!((weights.sum() - 1.0).abs() < 1e-9, "{weights:?}");
        log.record_beat(&beat, now_s);
    }
    log.verify().expect("its own log");
    let lines: Vec<String> = log.entries().iter().map(|e| e.to_json().to_string()).collect();
    assert_eq!(walk(lines.join("\n").as_bytes()), (log.head().clone(), None));
}

/// Takes the lines of a log in, up to the first that is refused.
fn walk(bytes: &[u8]) -> (Head, Option<AuditError>) {
    let mut head = Head::default();
    for line in String::from_utf8_lossy(bytes).split('\n') {
        let accepted = Entry::parse(line).and_then(|entry| {
            let again = Entry::parse(&entry.to_json().to_string()).expect("its own text");
            assert_eq!(again.expected_hash(), entry.expected_hash());
            head.accept(&entry)
        });
        if let Err(error) = accepted {
            return (head, Some(error));
        }
    }
    (head, None)
}

/// A log of a few values with altered bytes: what is still taken in is what was written.
fn altered(input: &mut Input<'_>) {
    let mut log = AuditLog::new(1.5);
    for at in 0..1 + input.below(5) {
        let text = String::from_utf8_lossy(input.bytes(40)).into_owned();
        let data = Json::parse(&text).unwrap_or(Json::Text(text));
        log.record_action("NOOP", data, at as f64 / 8.0);
    }
    let lines: Vec<String> = log.entries().iter().map(|e| e.to_json().to_string()).collect();
    let mut bytes = lines.join("\n").into_bytes();
    input.alter(&mut bytes, 4);
    let (head, _) = walk(&bytes);
    let Some(last) = head.len().checked_sub(1) else { return };
    let original = log.entries().get(last as usize).expect("no more than was written");
    assert_eq!(head.last_hash(), original.hash);
}

/// Any bytes as a log; a whole one has a manifest that names its end.
fn log(bytes: &[u8]) {
    let (head, error) = walk(bytes);
    if error.is_none() {
        let manifest = head.manifest();
        assert_eq!(manifest.get("last_hash").and_then(Json::as_str), Some(head.last_hash()));
    }
}

/// The canonical text of a value is read as the same value, and another reader takes it too.
fn json(text: &str) {
    let other = serde_json::from_str::<serde_json::Value>(text);
    match Json::parse(text) {
        Ok(value) => {
            let canonical = value.to_string();
            let again = Json::parse(&canonical).expect("its own text");
            assert_eq!(again.to_string(), canonical);
            let python = ["NaN", "Infinity"].iter().any(|word| canonical.contains(word));
            assert!(python || other.is_ok(), "{text:?} is no JSON for another reader");
        }
        // What we refuse and the other reader takes is a limit of ours, which the error names.
        Err(JsonError::Syntax { at, expected }) => {
            assert!(other.is_err(), "byte {at} of {text:?}: {expected} is not needed");
        }
        Err(_) => {}
    }
}
