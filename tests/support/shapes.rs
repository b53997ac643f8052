//! The wire formats a second time, as shapes written by hand, and the bad inputs that follow from
//! them: each is one thing wrong at one place, with the fault that a decoder must name.
//!
//! A [`Shape`] is what `docs/spec/protocol.md` 1 says of a type, without its Rust type. It gives a
//! good encoding (which the real decoder must accept, else the shape is wrong) and every bad one.
#![allow(dead_code)]

use std::collections::BTreeMap;

/// The CBOR form of a value.
#[derive(Clone, Debug)]
pub enum Shape {
    /// An unsigned integer of so many bits.
    Uint(u32),
    /// One number, where only some have a meaning.
    Number(u64),
    /// Credits: an unsigned integer of 64 bits, or a bignum.
    Amount(u128),
    Bool,
    /// A byte string of one length, and the name of what it is.
    Id(usize, &'static str),
    /// A content id.
    Cid,
    /// A byte string of any length.
    Blob,
    /// A text.
    Text(&'static str),
    /// A value or null; here it is there, or is not.
    Option(Box<Shape>, bool),
    /// Equal values in any number.
    List(Vec<Shape>),
    /// Different values in a fixed number.
    Fields(Vec<Shape>),
    /// `[number, fields]`: how many variants there are, which it is, its fields.
    Variant(u64, u64, Vec<Shape>),
    /// A number below this bound.
    Index(u64),
}

/// What is wrong with an encoding, and the byte at which a decoder meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The input ends before the value does.
    CutShort,
    /// Another type of item; what was found, and what is wanted there.
    WrongType { found: &'static str, wanted: &'static str, at: usize },
    /// A byte string that is no id of this name.
    WrongLength(&'static str),
    /// A byte string that is no content id.
    NotACid,
    /// An integer that its field cannot hold.
    Overflow { value: u64, at: usize },
    /// A variant that does not exist.
    UnknownVariant { number: i64, at: usize },
    /// Not the pair that a variant is.
    NotAVariant { at: usize },
    /// A field that is not there.
    Missing { field: usize, at: usize },
    /// A text that is no UTF-8.
    NotUtf8 { at: usize },
    /// A tag that is no bignum's.
    OtherTag,
    /// A bignum of more than 16 bytes.
    TooBig,
    /// It can be read, but is not the one encoding.
    NotCanonical,
}

/// One bad input.
#[derive(Clone, Debug)]
pub struct Bad {
    /// What was done, and where.
    pub what: String,
    pub bytes: Vec<u8>,
    pub fault: Fault,
}

pub fn u8() -> Shape {
    Shape::Uint(8)
}
pub fn u32() -> Shape {
    Shape::Uint(32)
}
pub fn u64() -> Shape {
    Shape::Uint(64)
}
pub fn id(name: &'static str) -> Shape {
    Shape::Id(32, name)
}
pub fn some(shape: Shape) -> Shape {
    Shape::Option(Box::new(shape), true)
}
pub fn none(shape: Shape) -> Shape {
    Shape::Option(Box::new(shape), false)
}
pub fn list(shapes: Vec<Shape>) -> Shape {
    Shape::List(shapes)
}
pub fn fields(shapes: Vec<Shape>) -> Shape {
    Shape::Fields(shapes)
}
/// An amount that needs a bignum.
pub fn amount() -> Shape {
    Shape::Amount(1 << 70)
}

/// A head with the shortest argument.
fn head(major: u8, argument: u64) -> Vec<u8> {
    let bytes = argument.to_be_bytes();
    let (info, from) = match argument {
        0..24 => return vec![major << 5 | argument as u8],
        24..0x100 => (24, 7),
        0x100..0x1_0000 => (25, 6),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 0),
    };
    [&[major << 5 | info], &bytes[from..]].concat()
}

/// The same argument in a head that is longer than it must be.
fn longer_head(major: u8, argument: u64) -> Vec<u8> {
    [&[major << 5 | 27][..], &argument.to_be_bytes()].concat()
}

/// A string with its head.
fn string(major: u8, content: &[u8]) -> Vec<u8> {
    [head(major, content.len() as u64), content.to_vec()].concat()
}

/// Where each part of an encoding lies.
struct Written<'s> {
    bytes: Vec<u8>,
    /// Start, end, shape, and whether null may stand there too.
    parts: Vec<(usize, usize, &'s Shape, bool)>,
}

fn write<'s>(shape: &'s Shape, nullable: bool, out: &mut Written<'s>) {
    let (start, place) = (out.bytes.len(), out.parts.len());
    out.parts.push((start, start, shape, nullable));
    match shape {
        Shape::Uint(_) => out.bytes.push(7),
        Shape::Number(number) => out.bytes.extend(head(0, *number)),
        Shape::Amount(value) => {
            let bytes = value.to_be_bytes();
            let from = bytes.iter().position(|b| *b != 0).expect("an amount above 0");
            match u64::try_from(*value) {
                Ok(small) => out.bytes.extend(head(0, small)),
                Err(_) => out.bytes.extend([&[0xc2][..], &string(2, &bytes[from..])].concat()),
            }
        }
        Shape::Bool => out.bytes.push(0xf5),
        Shape::Id(length, _) => out.bytes.extend(string(2, &vec![9; *length])),
        Shape::Cid => {
            let cid = [&[0x01, 0x55, 0x1e, 0x20][..], &[8; 32]].concat();
            out.bytes.extend(string(2, &cid));
        }
        Shape::Blob => out.bytes.extend(string(2, &[1, 2, 3])),
        Shape::Text(text) => out.bytes.extend(string(3, text.as_bytes())),
        Shape::Option(_, false) => out.bytes.push(0xf6),
        Shape::Option(inner, true) => write(inner, true, out),
        Shape::List(items) | Shape::Fields(items) => {
            out.bytes.extend(head(4, items.len() as u64));
            items.iter().for_each(|item| write(item, false, out));
        }
        Shape::Variant(_, number, items) => {
            out.bytes.extend([0x82].iter().copied().chain(head(0, *number)));
            out.bytes.extend(head(4, items.len() as u64));
            items.iter().for_each(|item| write(item, false, out));
        }
        Shape::Index(_) => out.bytes.push(0),
    }
    out.parts[place].1 = out.bytes.len();
}

/// What minicbor's decoder says of a fault: how the reason begins and how it ends.
pub fn reason(fault: &Fault) -> (String, String) {
    let all = |text: String| (text.clone(), text);
    match fault {
        Fault::CutShort => ("end of input bytes".into(), String::new()),
        Fault::WrongType { found, wanted, at } => {
            all(format!("unexpected type {found} at position {at}: expected {wanted}"))
        }
        Fault::WrongLength(name) => all(format!("decode error: {name}: wrong length")),
        Fault::NotACid => all("decode error: not CIDv1, raw, BLAKE3".into()),
        Fault::Overflow { value, at } => (
            format!("{value} overflows target type at position {at}: when converting u"),
            String::new(),
        ),
        Fault::UnknownVariant { number, at } => {
            all(format!("unknown enum variant {number} at position {at}"))
        }
        Fault::NotAVariant { at } => {
            all(format!("decode error at position {at}: expected enum (2-element array)"))
        }
        Fault::Missing { field, at } => (
            format!("missing value at index {field} ("),
            format!(") in map or array starting at position {at}"),
        ),
        Fault::NotUtf8 { at } => (format!("invalid utf-8 at position {at}"), String::new()),
        Fault::OtherTag => all("decode error: amount: only tag 2 (bignum) is allowed".into()),
        Fault::TooBig => all("decode error: amount: above 2^128".into()),
        Fault::NotCanonical => Default::default(),
    }
}

impl Shape {
    /// The good encoding.
    pub fn sample(&self) -> Vec<u8> {
        let mut out = Written { bytes: Vec::new(), parts: Vec::new() };
        write(self, false, &mut out);
        out.bytes
    }

    /// Every bad input, by what it is called: each once.
    pub fn bad_inputs(&self) -> Vec<Bad> {
        let mut out = Written { bytes: Vec::new(), parts: Vec::new() };
        write(self, false, &mut out);
        let Written { bytes, parts } = out;
        let mut found = BTreeMap::new();
        let mut add = |what: String, bytes: Vec<u8>, fault: Fault| {
            found.entry(bytes.clone()).or_insert(Bad { what, bytes, fault });
        };
        add("nothing".into(), vec![], Fault::CutShort);
        add("a byte after the end".into(), [&bytes[..], &[0]].concat(), Fault::NotCanonical);
        add("twice".into(), [&bytes[..], &bytes].concat(), Fault::NotCanonical);
        add("a break after the end".into(), [&bytes[..], &[0xff]].concat(), Fault::NotCanonical);
        add("a null after the end".into(), [&bytes[..], &[0xf6]].concat(), Fault::NotCanonical);
        for (start, end, shape, nullable) in parts {
            add(format!("cut before {start}"), bytes[..start].to_vec(), Fault::CutShort);
            add(format!("cut before {end} - 1"), bytes[..end - 1].to_vec(), Fault::CutShort);
            let replacements = shape.replacements(start, &bytes[start..end]);
            for (what, by, fault) in
                replacements.into_iter().filter(|(_, by, _)| !nullable || *by != [0xf6])
            {
                let altered = [&bytes[..start], &by, &bytes[end..]].concat();
                add(format!("{what} at {start}"), altered, fault);
            }
        }
        found.into_values().collect()
    }

    /// What may stand in the place of one part, all of it wrong.
    fn replacements(&self, at: usize, good: &[u8]) -> Vec<(&'static str, Vec<u8>, Fault)> {
        match self {
            Self::Uint(bits) => uint(*bits, 7, at),
            Self::Number(number) => uint(64, *number, at),
            Self::Amount(_) => amounts(at),
            Self::Bool => others(at, "bool", &["a boolean", "true"]),
            Self::Id(length, name) => ids(*length, name, at, good),
            Self::Cid => {
                let mut other = good.to_vec();
                other[2] = 2;
                let mut all = strings(at, good, BYTES);
                all.push(("another version of content id", other, Fault::NotACid));
                all.push(("a short content id", string(2, &[1; 35]), Fault::NotACid));
                all.push(("an empty content id", vec![0x40], Fault::NotACid));
                all
            }
            Self::Blob => strings(at, good, BYTES),
            Self::Text(text) => texts(at, good, text),
            // With a value, the value's own faults; without, what is neither null nor a value.
            Self::Option(_, true) => Vec::new(),
            Self::Option(inner, false) => inner
                .replacements(at, &inner.sample())
                .into_iter()
                .filter(|(_, _, fault)| matches!(fault, Fault::WrongType { found, .. } if *found != "null"))
                .collect(),
            Self::List(_) => arrays(at, good),
            Self::Fields(items) => tuples(items, at, good),
            Self::Variant(count, _, items) => variants(*count, items, at, good),
            Self::Index(count) => indexes(*count, at),
        }
    }
}

const BYTES: &str = "bytes (definite length)";
const TEXT: &str = "text (definite length)";

/// An item of each type, but those that are right here.
fn others(
    at: usize,
    wanted: &'static str,
    without: &[&str],
) -> Vec<(&'static str, Vec<u8>, Fault)> {
    let all: [(&str, &[u8], &str); 15] = [
        ("an integer", &[0x05], "u8"),
        ("a negative integer", &[0x20], "i8"),
        ("a byte string", &[0x41, 0], "bytes"),
        ("a text", &[0x61, b'1'], "string"),
        ("an array", &[0x80], "array"),
        ("a map", &[0xa0], "map"),
        ("a tag", &[0xc1, 0x00], "tag"),
        ("a boolean", &[0xf4], "bool"),
        ("null", &[0xf6], "null"),
        ("undefined", &[0xf7], "undefined"),
        ("a simple value", &[0xf8, 0xff], "simple"),
        ("a float of 16 bits", &[0xf9, 0, 0], "f16"),
        ("a float of 32 bits", &[0xfa, 0, 0, 0, 0], "f32"),
        ("a float of 64 bits", &[0xfb, 0, 0, 0, 0, 0, 0, 0, 0], "f64"),
        ("a break", &[0xff], "break"),
    ];
    let wrong = all.into_iter().filter(|(what, ..)| !without.contains(what));
    let fault = |found| Fault::WrongType { found, wanted, at };
    wrong.map(|(what, by, found)| (what, by.to_vec(), fault(found))).collect()
}

fn uint(bits: u32, good: u64, at: usize) -> Vec<(&'static str, Vec<u8>, Fault)> {
    let wanted = match bits {
        8 => "u8",
        32 => "u32",
        _ => "u64",
    };
    let mut all = others(at, wanted, &["an integer"]);
    all.push(("a longer head", longer_head(0, good), Fault::NotCanonical));
    all.push(("a head of three bytes", vec![0x19, 0, good as u8], Fault::NotCanonical));
    if bits < 64 {
        let value = 1u64 << bits;
        all.push(("one too large", head(0, value), Fault::Overflow { value, at }));
    }
    all
}

fn amounts(at: usize) -> Vec<(&'static str, Vec<u8>, Fault)> {
    let mut all = others(at, "u64", &["an integer", "a tag"]);
    let zeros = |n: usize, rest: &[u8]| [&vec![0; n][..], rest].concat();
    let bignum = |content: &[u8]| [&[0xc2][..], &string(2, content)].concat();
    all.push(("a negative bignum", [&[0xc3][..], &string(2, &[1; 9])].concat(), Fault::OtherTag));
    all.push(("a date", vec![0xc0, 0x60], Fault::OtherTag));
    all.push(("2^128", bignum(&[&[1][..], &[0; 16]].concat()), Fault::TooBig));
    all.push(("a small bignum", bignum(&[1]), Fault::NotCanonical));
    all.push(("a bignum of 64 bits", bignum(&[0xff; 8]), Fault::NotCanonical));
    all.push(("an empty bignum", bignum(&[]), Fault::NotCanonical));
    all.push(("a zero in front", bignum(&zeros(1, &[1; 9])), Fault::NotCanonical));
    all.push(("a longer head", longer_head(0, 7), Fault::NotCanonical));
    let inside = Fault::WrongType { found: "u8", wanted: BYTES, at: at + 1 };
    all.push(("a bignum of no bytes", vec![0xc2, 0x07], inside));
    let open = Fault::WrongType { found: "indefinite bytes", wanted: BYTES, at: at + 1 };
    all.push(("a bignum in pieces", vec![0xc2, 0x5f, 0x41, 1, 0xff], open));
    all
}

/// What is no string of this kind, or one with another head.
fn strings(at: usize, good: &[u8], wanted: &'static str) -> Vec<(&'static str, Vec<u8>, Fault)> {
    let (own, pieces, kind) = match wanted {
        BYTES => ("a byte string", "indefinite bytes", 2u8),
        _ => ("a text", "indefinite string", 3),
    };
    let mut all = others(at, wanted, &[own]);
    let skip = if good[0] & 31 < 24 { 1 } else { 2 };
    let content = &good[skip..];
    let long = [longer_head(kind, content.len() as u64), content.to_vec()].concat();
    all.push(("a longer head", long, Fault::NotCanonical));
    let open = [&[kind << 5 | 31][..], good, &[0xff]].concat();
    all.push(("a string in pieces", open, Fault::WrongType { found: pieces, wanted, at }));
    let claim = [&[kind << 5 | 27][..], &[0x7f; 8], content].concat();
    all.push(("a claim that the input cannot keep", claim, Fault::CutShort));
    all
}

fn ids(
    length: usize,
    name: &'static str,
    at: usize,
    good: &[u8],
) -> Vec<(&'static str, Vec<u8>, Fault)> {
    let mut all = strings(at, good, BYTES);
    for (what, other) in [
        ("one byte less", length - 1),
        ("one byte more", length + 1),
        ("no bytes", 0),
        ("twice the bytes", 2 * length),
    ] {
        all.push((what, string(2, &vec![9; other]), Fault::WrongLength(name)));
    }
    // The id as the text that people read.
    let wrong = Fault::WrongType { found: "string", wanted: BYTES, at };
    all.push(("hexadecimal text", string(3, "09".repeat(length).as_bytes()), wrong));
    all
}

fn texts(at: usize, good: &[u8], text: &str) -> Vec<(&'static str, Vec<u8>, Fault)> {
    let mut all = strings(at, good, TEXT);
    all.push((
        "the text as bytes",
        string(2, text.as_bytes()),
        Fault::WrongType { found: "bytes", wanted: TEXT, at },
    ));
    for (what, content) in [
        ("Latin-1", &[b'a', 0xe9][..]),
        ("half a character", &[0xe2, 0x82]),
        ("a surrogate", &[0xed, 0xa0, 0x80]),
        ("an overlong slash", &[0xc0, 0xaf]),
    ] {
        all.push((what, string(3, content), Fault::NotUtf8 { at }));
    }
    all
}

/// What is no array, or one with another head.
/// Where the items of an array of fewer than 256 begin.
fn past_head(array: &[u8]) -> usize {
    if array[0] & 31 == 24 { 2 } else { 1 }
}

fn arrays(at: usize, good: &[u8]) -> Vec<(&'static str, Vec<u8>, Fault)> {
    let mut all = others(at, "array", &["an array"]);
    let count = match good[0] & 31 {
        24 => u64::from(good[1]),
        small => u64::from(small),
    };
    all.push((
        "a longer head",
        [longer_head(4, count), good[past_head(good)..].to_vec()].concat(),
        Fault::NotCanonical,
    ));
    let open = [&[0x9f][..], &good[past_head(good)..], &[0xff]].concat();
    all.push(("an array without a length", open, Fault::NotCanonical));
    all
}

fn tuples(items: &[Shape], at: usize, good: &[u8]) -> Vec<(&'static str, Vec<u8>, Fault)> {
    if items.is_empty() {
        // Nothing is read where nothing is expected; the guard sees that it is not written so.
        let other = |(what, bytes)| (what, bytes, Fault::NotCanonical);
        let others = [("an integer", vec![0]), ("null", vec![0xf6]), ("a field", vec![0x81, 0])];
        return others.into_iter().map(other).collect();
    }
    let mut all = arrays(at, good);
    let count = items.len();
    if count == 0 {
        // A decoder passes by what a variant without fields carries: no fault but one of form.
        return vec![("a field where there is none", vec![0x81, 0xf6], Fault::NotCanonical)];
    }
    let more = [head(4, count as u64 + 1), good[past_head(good)..].to_vec(), vec![0xf6]].concat();
    all.push(("one field more", more, Fault::NotCanonical));
    let last = items[count - 1].sample().len();
    let less = [&head(4, count as u64 - 1)[..], &good[past_head(good)..good.len() - last]].concat();
    all.push(("one field less", less, Fault::Missing { field: count - 1, at }));
    // A field that may be null may also be absent to a decoder; the first other one is missed.
    let required = items.iter().position(|item| !matches!(item, Shape::Option(..)));
    if let Some(field) = required {
        all.retain(|(what, ..)| *what != "an array");
        all.push(("no field", vec![0x80], Fault::Missing { field, at }));
    }
    all
}

fn variants(
    count: u64,
    items: &[Shape],
    at: usize,
    good: &[u8],
) -> Vec<(&'static str, Vec<u8>, Fault)> {
    let mut all = others(at, "array", &["an array"]);
    // The number is one byte, or from 24 on two.
    let past = if good[1] == 0x18 { 3 } else { 2 };
    let (number, inner) = (&good[1..past], &good[past..]);
    let with = |number: &[u8]| [&[0x82][..], number, inner].concat();
    let unknown = |number: i64| Fault::UnknownVariant { number, at: at + 1 };
    all.push(("no pair", vec![0x80], Fault::NotAVariant { at }));
    all.push(("a variant alone", [&[0x81][..], number].concat(), Fault::NotAVariant { at }));
    let three = [&[0x83][..], number, inner, &[0]].concat();
    all.push(("a variant with more", three, Fault::NotAVariant { at }));
    let open = [&[0x9f][..], number, inner, &[0xff]].concat();
    all.push(("a pair without a length", open, Fault::NotAVariant { at }));
    all.push(("the next variant", with(&head(0, count)), unknown(count as i64)));
    all.push(("a far variant", with(&head(0, 1 << 40)), unknown(1 << 40)));
    all.push(("a negative variant", with(&[0x20]), unknown(-1)));
    let last = number[number.len() - 1];
    all.push(("a longer number", with(&[0x19, 0, last]), Fault::NotCanonical));
    let huge = Fault::Overflow { value: u64::MAX, at: at + 1 };
    all.push(("a variant past 2^63", with(&head(0, u64::MAX)), huge));
    for (what, by, fault) in others(at + 1, "i64", &["an integer", "a negative integer"]) {
        all.push((what, with(&by), fault));
    }
    for (what, by, mut fault) in tuples(items, at + past, inner) {
        // A field that a variant lacks is told with the place of the variant.
        if let Fault::Missing { at: place, .. } = &mut fault {
            *place = at;
        }
        all.push((what, [&good[..past], &by].concat(), fault));
    }
    all
}

fn indexes(count: u64, at: usize) -> Vec<(&'static str, Vec<u8>, Fault)> {
    let mut all = others(at, "i64", &["an integer", "a negative integer"]);
    let unknown = |number: i64| Fault::UnknownVariant { number, at };
    all.push(("the next variant", head(0, count), unknown(count as i64)));
    all.push(("a negative variant", vec![0x20], unknown(-1)));
    all.push(("a longer number", vec![0x18, 0], Fault::NotCanonical));
    all
}
