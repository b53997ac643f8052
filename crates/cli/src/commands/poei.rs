//! `poei score`: the epoch arithmetic of `docs/spec/poei.md` on records from a file.

use std::io::Read;
use std::path::Path;

use anthill_poei::{EpochResult, Params, Record, Row, score_epoch};
use anthill_types::ids::to_hex;
use serde_json::{Map, Value, json};

use super::Context;
use crate::args_chain::PoeiCommand;
use crate::error::CliError;
use crate::table::Table;

/// Largest file of records that is read.
const MAX_FILE: u64 = 1 << 30;
/// Integers from here on are written as strings: JSON readers in other languages round them.
const EXACT: u128 = 1 << 53;

/// Runs `poei`.
pub fn run(context: &Context, what: &PoeiCommand) -> Result<(), CliError> {
    let PoeiCommand::Score { records, epoch, previous_tlr } = what;
    score(context, records, *epoch, previous_tlr)
}

/// Scores an epoch.
fn score(
    context: &Context,
    records: &Path,
    epoch: u64,
    previous_tlr: &str,
) -> Result<(), CliError> {
    let name = records.display().to_string();
    let text = read(records).map_err(|error| CliError::File { path: name.clone(), error })?;
    let wrong = |what: String| CliError::Usage(format!("{name}: {what}"));
    let value: Value = serde_json::from_str(&text).map_err(|e| wrong(format!("no JSON: {e}")))?;
    let list = value.get("records").unwrap_or(&value);
    let list = list.as_array().ok_or_else(|| {
        wrong("a list of records is expected, or an object with `records`".into())
    })?;
    let read = |(at, value): (usize, &Value)| {
        record(value).map_err(|what| wrong(format!("record {at}: {what}")))
    };
    let records: Vec<Record> = list.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    let previous =
        hash(previous_tlr).map_err(|e| CliError::Usage(format!("--previous-tlr: {e}")))?;
    let result = score_epoch(epoch, &previous, &records, &Params::default())
        .map_err(|e| wrong(e.to_string()))?;
    context.print(&as_json(&result), || as_text(epoch, &result));
    Ok(())
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_FILE).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// The fields of a record; `previous` may be left out.
const FIELDS: [&str; 13] = [
    "node",
    "work",
    "offered",
    "flow",
    "ok",
    "bad",
    "focus_before",
    "focus_after",
    "trust",
    "is_parent",
    "attestation",
    "timestamp",
    "previous",
];

fn record(value: &Value) -> Result<Record, String> {
    let object = value.as_object().ok_or("no JSON object")?;
    if let Some(unknown) = object.keys().find(|k| !FIELDS.contains(&k.as_str())) {
        return Err(format!("unknown field {unknown:?}"));
    }
    let count = |name: &str| integer(field(object, name)?).map_err(|e| format!("{name}: {e}"));
    let bytes = |name: &str| {
        let text = field(object, name)?.as_str().ok_or(format!("{name}: no text"))?;
        hash(text).map_err(|e| format!("{name}: {e}"))
    };
    let previous = match object.get("previous") {
        None | Some(Value::Null) => None,
        Some(value) => Some(integer(value).map_err(|e| format!("previous: {e}"))?),
    };
    Ok(Record {
        node: bytes("node")?,
        work: count("work")?,
        offered: count("offered")?,
        flow: count("flow")?,
        ok: count("ok")?,
        bad: count("bad")?,
        focus_before: count("focus_before")?,
        focus_after: count("focus_after")?,
        trust: count("trust")?,
        is_parent: field(object, "is_parent")?
            .as_bool()
            .ok_or("is_parent: neither true nor false")?,
        attestation: bytes("attestation")?,
        previous,
        timestamp: count("timestamp")?,
    })
}

fn field<'v>(object: &'v Map<String, Value>, name: &str) -> Result<&'v Value, String> {
    object.get(name).ok_or_else(|| format!("{name} is missing"))
}

/// An unsigned integer, as a number or as decimal digits.
fn integer(value: &Value) -> Result<u64, String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let found = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) if digits(text) => text.parse().ok(),
        _ => None,
    };
    found.ok_or_else(|| format!("{value} is no integer from 0 to 2^64 - 1"))
}

/// 32 bytes in hexadecimal.
fn hash(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("{text:?} is not 32 bytes in hexadecimal");
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let pair = text.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}

/// A number that every JSON reader takes exactly, or its digits.
fn exact(value: u128) -> Value {
    match u64::try_from(value) {
        Ok(small) if value < EXACT => small.into(),
        _ => value.to_string().into(),
    }
}

/// The result in the form of `tests/vectors/poei-small.json`.
fn as_json(result: &EpochResult) -> Value {
    let row = |r: &Row| {
        json!({
            "node": to_hex(&r.node),
            "E": r.e,
            "Q": r.q,
            "I": r.i,
            "T": r.t,
            "raw": r.raw,
            "score": r.score,
            "message": to_hex(&r.message),
            "parent": r.is_parent,
            "reward": exact(r.reward),
        })
    };
    json!({
        "rows": result.rows.iter().map(row).collect::<Vec<_>>(),
        "root": to_hex(&result.root),
        "tlr": to_hex(&result.tlr),
        "pool": exact(result.pool),
        "adaptive_weights": result.adaptive_weights,
    })
}

fn as_text(epoch: u64, result: &EpochResult) -> String {
    let nano = |value: u64| anthill_light::scores::decimal(value);
    let mut table = Table::new(&["node", "E", "Q", "I", "T", "score", "reward, rUv"]);
    for r in &result.rows {
        table.row(vec![
            to_hex(&r.node).chars().take(12).collect(),
            nano(r.e),
            nano(r.q),
            nano(r.i),
            nano(r.t),
            nano(r.score),
            anthill_types::Amount(r.reward).to_string(),
        ]);
    }
    format!(
        "{}\nepoch {epoch}: root {}\nTLR {}\npool {} rUv, shared out exactly\n",
        table.render(),
        to_hex(&result.root),
        to_hex(&result.tlr),
        anthill_types::Amount(result.pool)
    )
}
