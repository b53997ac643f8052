//! Tickets: round trip, and refusal of everything else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, SocketAddr};

use anthill_net::ticket::{
    MAX_TICKET_ADDRS, MAX_TICKET_ADMISSION, MAX_TICKET_LEN, MAX_TICKET_PEERS, TICKET_PREFIX,
    TICKET_VERSION, Ticket, TicketError,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn addr() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn ticket() -> impl Strategy<Value = Ticket> {
    let peer = (any::<[u8; 32]>(), vec(addr(), 0..=3));
    (any::<[u8; 32]>(), vec(peer, 0..=4), vec(any::<u8>(), 0..=160)).prop_map(
        |(genesis, peers, admission)| Ticket { version: TICKET_VERSION, genesis, peers, admission },
    )
}

fn largest() -> Ticket {
    let addrs = vec!["[::1]:1".parse().unwrap(); MAX_TICKET_ADDRS];
    Ticket {
        version: TICKET_VERSION,
        genesis: [1; 32],
        peers: vec![([2; 32], addrs); MAX_TICKET_PEERS],
        admission: vec![3; MAX_TICKET_ADMISSION],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn round_trip(ticket in ticket()) {
        let text = ticket.encode().unwrap();
        prop_assert!(text.starts_with(TICKET_PREFIX));
        prop_assert!(text.len() <= MAX_TICKET_LEN);
        prop_assert_eq!(&text.parse::<Ticket>().unwrap(), &ticket);
        prop_assert_eq!(Ticket::decode(&format!("  {text}\r\n")).unwrap(), ticket);
    }

    #[test]
    fn every_altered_character_is_refused(ticket in ticket(), by in 0u8..36) {
        let text = ticket.encode().unwrap();
        let new = b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::from(by)];
        for at in 0..text.len() {
            let mut bad = text.clone().into_bytes();
            if bad[at] == new {
                continue;
            }
            bad[at] = new;
            let bad = String::from_utf8(bad).unwrap();
            prop_assert!(Ticket::decode(&bad).is_err(), "accepted {}", bad);
        }
    }

    #[test]
    fn every_cut_insertion_and_swap_is_refused(ticket in ticket(), at in any::<prop::sample::Index>()) {
        let text = ticket.encode().unwrap();
        let at = at.index(text.len());
        prop_assert!(Ticket::decode(&text[..at]).is_err());
        let doubled = format!("{}{}", &text[..=at], &text[at..]);
        prop_assert!(Ticket::decode(&doubled).is_err());
        let missing = format!("{}{}", &text[..at], &text[at + 1..]);
        prop_assert!(Ticket::decode(&missing).is_err());
        let upper = text.to_uppercase();
        prop_assert!(Ticket::decode(&upper).is_err());
    }

    #[test]
    fn noise_never_panics(text in ".{0,200}", tail in "[qpzry9x8gf2tvdw0s3jn54khce6mua7l]{0,300}") {
        prop_assert!(Ticket::decode(&text).is_err());
        let prefixed = format!("{TICKET_PREFIX}{tail}");
        prop_assert!(Ticket::decode(&prefixed).is_err());
    }
}

#[test]
fn errors_name_the_cause() {
    let text = largest().encode().unwrap();
    assert_eq!(Ticket::decode("hello"), Err(TicketError::Prefix));
    assert_eq!(Ticket::decode(""), Err(TicketError::Prefix));
    assert_eq!(Ticket::decode("anthill1q"), Err(TicketError::Checksum), "five bits are no byte");
    assert_eq!(Ticket::decode("anthill1qqqqqqqq"), Err(TicketError::Truncated { len: 16 }));
    assert_eq!(Ticket::decode("anthill1qqq!"), Err(TicketError::Character { at: 11, found: '!' }));
    let cut = &text[..text.len() - 8];
    assert_eq!(Ticket::decode(cut), Err(TicketError::Checksum));
    let long = format!("{text}{}", "q".repeat(8));
    assert!(matches!(Ticket::decode(&long), Err(TicketError::TooLong { what: "the ticket", .. })));
}

#[test]
fn bounds_hold_in_both_directions() {
    let text = largest().encode().unwrap();
    assert!(text.len() <= MAX_TICKET_LEN && text.len() + 2 >= MAX_TICKET_LEN);
    assert_eq!(Ticket::decode(&text).unwrap(), largest());
    let mut ticket = largest();
    ticket.admission.push(0);
    assert!(matches!(ticket.encode(), Err(TicketError::TooLong { what: "admission", .. })));
    let mut ticket = largest();
    ticket.peers.push(([0; 32], vec![]));
    assert!(matches!(ticket.encode(), Err(TicketError::TooLong { what: "peers", .. })));
    let mut ticket = largest();
    ticket.version = 2;
    assert_eq!(ticket.encode(), Err(TicketError::Version { found: 2 }));
}
