//! Bad tickets, each with the error that it must meet: as a person may copy one, and as somebody may
//! forge one whose checksum fits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_net::ticket::{MAX_TICKET_LEN, Ticket, TicketError};

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// A ticket's text for any body: the checksum fits.
fn forged(body: &[u8]) -> String {
    let mut sum = [0; 8];
    let mut hasher = blake3::Hasher::new_derive_key("anthill 2026 ticket checksum");
    hasher.update(body).finalize_xof().fill(&mut sum);
    let all = [body, &sum].concat();
    let bits: Vec<u8> =
        all.iter().flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1)).collect();
    let character = |five: &[u8]| {
        let number = (0..5).fold(0, |n, i| n << 1 | five.get(i).copied().unwrap_or(0));
        char::from(ALPHABET[usize::from(number)])
    };
    let text: String = bits.chunks(5).map(character).collect();
    format!("anthill1{text}")
}

/// Version, genesis, and what follows.
fn body(version: u8, rest: &[u8]) -> Vec<u8> {
    [&[version][..], &[6; 32], rest].concat()
}

fn peer(addresses: &[u8]) -> Vec<u8> {
    [&[1][..], &[5; 32], addresses].concat()
}

fn malformed(what: &'static str) -> TicketError {
    TicketError::Malformed { what }
}

fn too_long(what: &'static str, len: usize, max: usize) -> TicketError {
    TicketError::TooLong { what, len, max }
}

/// Bodies behind a checksum that fits.
fn forgeries() -> Vec<(Vec<u8>, TicketError)> {
    let early = || malformed("ends too early");
    let v4 = [4, 127, 0, 0, 1, 0, 80];
    let mut cases = vec![
        (body(0, &[0, 0, 0]), TicketError::Version { found: 0 }),
        (body(2, &[0, 0, 0]), TicketError::Version { found: 2 }),
        (body(255, &[0, 0, 0]), TicketError::Version { found: 255 }),
        (vec![9], TicketError::Version { found: 9 }),
        (vec![1], early()),
        (vec![1; 32], early()),
        (body(1, &[]), early()),
        (body(1, &[0]), early()),
        (body(1, &[0, 0]), early()),
        (body(1, &[1]), early()),
        (body(1, &peer(&[])), early()),
        (body(1, &peer(&[])[..20]), early()),
        (body(1, &peer(&[1])), early()),
        (body(1, &peer(&[1, 4])), early()),
        (body(1, &peer(&[1, 4, 127, 0, 0])), early()),
        (body(1, &peer(&[1, 4, 127, 0, 0, 1, 0])), early()),
        (body(1, &peer(&[1, 6])), early()),
        (body(1, &peer(&[&[1, 6][..], &[0; 15]].concat())), early()),
        (body(1, &peer(&[&[1, 6][..], &[0; 17]].concat())), early()),
        (body(1, &peer(&[&[2][..], &v4].concat())), early()),
        (body(1, &peer(&[0])), early()),
        (body(1, &[0, 0, 1]), malformed("admission ends too early")),
        (body(1, &[0, 8, 0, 1]), malformed("admission ends too early")),
        (body(1, &[&[0, 0, 5][..], &[1; 4]].concat()), malformed("admission ends too early")),
        (body(1, &[0, 8, 1]), too_long("admission", 2049, 2048)),
        (body(1, &[0, 255, 255]), too_long("admission", 65_535, 2048)),
        (body(1, &[17]), too_long("peers", 17, 16)),
        (body(1, &[255]), too_long("peers", 255, 16)),
        (body(1, &peer(&[9])), too_long("addresses of a peer", 9, 8)),
        (body(1, &peer(&[255])), too_long("addresses of a peer", 255, 8)),
        (body(1, &[0, 0, 0, 0]), malformed("bytes after the end")),
        (body(1, &[0, 0, 1, 7, 7]), malformed("bytes after the end")),
        (body(1, &[&peer(&[0])[..], &[0, 0, 9]].concat()), malformed("bytes after the end")),
    ];
    for kind in [0, 1, 2, 3, 5, 7, 255] {
        let address = [&[1, kind][..], &[0; 18]].concat();
        cases.push((body(1, &peer(&address)), malformed("unknown kind of address")));
    }
    cases
}

#[test]
fn every_forged_ticket_meets_its_error() {
    let cases = forgeries();
    assert!(cases.len() >= 40, "{}", cases.len());
    for (body, error) in cases {
        assert_eq!(Ticket::decode(&forged(&body)), Err(error), "{body:?}");
    }
    let good = body(1, &[&peer(&[1, 4, 127, 0, 0, 1, 0, 80])[..], &[0, 1, 7]].concat());
    Ticket::decode(&forged(&good)).unwrap();
}

#[test]
fn every_badly_copied_ticket_meets_its_error() {
    let good = forged(&body(1, &[0, 0, 0]));
    Ticket::decode(&good).unwrap();
    let at = |text: &str, found| {
        let at = text.trim().char_indices().find(|(_, c)| *c == found).unwrap().0;
        TicketError::Character { at, found }
    };
    let prefix =
        ["", " ", "hello", "anthill", "Anthill1qqq", "anthill2qqq", "1anthill1", "http://a"];
    for text in prefix {
        assert_eq!(Ticket::decode(text), Err(TicketError::Prefix), "{text:?}");
    }
    // A character that no ticket has, at its place; the prefix itself ends at 8.
    for wrong in ['b', 'i', 'o', '1', 'B', '-', '=', ' ', '\n', '\u{e9}', '\u{1f41c}', '\0'] {
        let text = format!("{}{wrong}{}", &good[..20], &good[20..]);
        let error = match at(&text[8..], wrong) {
            TicketError::Character { at, found } => TicketError::Character { at: at + 8, found },
            other => other,
        };
        assert_eq!(Ticket::decode(&text), Err(error), "{text:?}");
    }
    for (text, error) in [
        ("anthill1".to_string(), TicketError::Truncated { len: 8 }),
        ("anthill1qq".to_string(), TicketError::Truncated { len: 10 }),
        (format!("anthill1{}", "q".repeat(13)), TicketError::Truncated { len: 21 }),
        ("anthill1q".to_string(), TicketError::Checksum),
        ("anthill1ql".to_string(), TicketError::Checksum),
        (good[..good.len() - 1].to_string(), TicketError::Checksum),
        (good[..good.len() / 2].to_string(), TicketError::Checksum),
        (format!("{good}q"), TicketError::Checksum),
        (format!("{good}qqqqqqqq"), TicketError::Checksum),
        (format!("{good}{}", &good[8..]), TicketError::Checksum),
        (format!("anthill1{}", "q".repeat(100)), TicketError::Checksum),
        (
            "a".repeat(MAX_TICKET_LEN + 1),
            too_long("the ticket", MAX_TICKET_LEN + 1, MAX_TICKET_LEN),
        ),
    ] {
        assert_eq!(Ticket::decode(&text), Err(error), "{text:?}");
    }
}
