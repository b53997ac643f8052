//! A reader of CBOR heads, written from RFC 8949 section 3 alone, and what it alters.

use anthill_types::testing::Source;

/// Major types 0 to 7.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Major {
    Unsigned,
    Negative,
    Bytes,
    Text,
    Array,
    Map,
    Tag,
    Simple,
}

/// The first bytes of one data item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    pub major: Major,
    /// Its place in the input.
    pub at: usize,
    /// Its length in bytes (without a string's content).
    pub len: usize,
    pub argument: u64,
    /// How many arrays and tags it lies in.
    pub depth: usize,
}

impl Head {
    /// The end of the head and of a string's content.
    pub fn end(&self) -> usize {
        let content = matches!(self.major, Major::Bytes | Major::Text);
        self.at + self.len + if content { self.argument as usize } else { 0 }
    }
}

/// All heads of one definite-length item, in order.
pub fn heads(bytes: &[u8]) -> Vec<Head> {
    use Major::*;
    const MAJORS: [Major; 8] = [Unsigned, Negative, Bytes, Text, Array, Map, Tag, Simple];
    let (mut found, mut at) = (Vec::new(), 0);
    // Items still to come at each depth.
    let mut open = vec![1u64];
    while at < bytes.len() {
        while open.last() == Some(&0) {
            open.pop();
        }
        *open.last_mut().expect("nothing after the end") -= 1;
        let extra = match bytes[at] & 31 {
            0..=23 => 0,
            n @ 24..=27 => 1 << (n - 24),
            n => panic!("additional information {n}"),
        };
        let argument = match extra {
            0 => u64::from(bytes[at] & 31),
            n => bytes[at + 1..at + 1 + n].iter().fold(0, |a, b| a << 8 | u64::from(*b)),
        };
        let major = MAJORS[usize::from(bytes[at] >> 5)];
        let head = Head { major, at, len: 1 + extra, argument, depth: open.len() - 1 };
        match major {
            Array => open.push(argument),
            Tag => open.push(1),
            _ => {}
        }
        at = head.end();
        found.push(head);
    }
    found
}

/// A head in a form that is one step longer than needed, or `None` for the longest.
fn wider(major: u8, argument: u64, len: usize) -> Option<Vec<u8>> {
    let bytes = argument.to_be_bytes();
    let (info, take) = match len {
        1 => (24, 1),
        2 => (25, 2),
        3 => (26, 4),
        5 => (27, 8),
        _ => return None,
    };
    Some([&[major << 5 | info], &bytes[8 - take..]].concat())
}

/// Copies of an encoding, each with one thing that deterministic CBOR or the type forbids.
pub fn mutants(bytes: &[u8], source: &mut Source) -> Vec<(&'static str, Vec<u8>)> {
    let heads = heads(bytes);
    let replace = |at: usize, end: usize, by: &[u8]| [&bytes[..at], by, &bytes[end..]].concat();
    let mut out = vec![
        ("a byte after the end", replace(bytes.len(), bytes.len(), &[0])),
        ("cut short", bytes[..source.below(bytes.len())].to_vec()),
        ("an empty map", vec![0xa0]),
        ("indefinite array", [&[0x9f], &bytes[heads[0].len..], &[0xff]].concat()),
    ];
    let fields = heads[0].argument;
    if fields < 22 {
        let with = |n: u64, rest: &[u8]| [&[0x80 | n as u8], rest].concat();
        out.push(("one field more", with(fields + 1, &[&bytes[1..], &[0xf6]].concat())));
        let last = heads.iter().rfind(|h| h.depth == 1).expect("a struct has fields");
        out.push(("one field less", with(fields - 1, &bytes[1..last.at])));
    }
    let mut pick = |wanted: &dyn Fn(&Head) -> bool| {
        let fitting: Vec<&Head> = heads.iter().filter(|h| wanted(h)).collect();
        (!fitting.is_empty()).then(|| *fitting[source.below(fitting.len())])
    };
    if let Some(head) = pick(&|h| h.major != Major::Simple && h.len < 9) {
        let long = wider(bytes[head.at] >> 5, head.argument, head.len).expect("below 9");
        out.push(("a longer head", replace(head.at, head.at + head.len, &long)));
    }
    if let Some(head) = pick(&|h| h.major == Major::Unsigned) {
        let end = head.at + head.len;
        out.push(("a float", replace(head.at, end, &[0xf9, 0, 0])));
        out.push(("a negative integer", replace(head.at, head.at + 1, &[bytes[head.at] | 0x20])));
        out.push(("a small bignum", replace(head.at, end, &[0xc2, 0x41, 1])));
        out.push(("a text", replace(head.at, end, &[0x61, b'1'])));
    }
    if let Some(head) = pick(&|h| h.major == Major::Bytes) {
        let chunk = [&[0x5f], &bytes[head.at..head.end()], &[0xff]].concat();
        out.push(("an indefinite string", replace(head.at, head.end(), &chunk)));
    }
    if let Some(head) = pick(&|h| h.major == Major::Tag) {
        let content = &bytes[head.at + 2..];
        let padded = [&[0xc2, bytes[head.at + 1] + 1, 0], content].concat();
        out.push(("a bignum with a leading zero", [&bytes[..head.at], &padded].concat()));
        out.push(("another tag", replace(head.at, head.at + 1, &[0xc3])));
    }
    if let Some(head) = pick(&|h| h.major == Major::Simple && h.argument == 22) {
        out.push(("undefined for null", replace(head.at, head.at + 1, &[0xf7])));
    }
    out
}
