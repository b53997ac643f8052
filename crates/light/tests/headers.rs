//! A light client follows headers upwards and refuses all others.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_light::{HeaderChain, HeaderError};
use anthill_types::*;
use common::{chain, sign, voters};

fn headers() -> Vec<Header> {
    let ledger = &chain().ledger;
    (1..=ledger.height()).map(|h| ledger.block(h).unwrap().unwrap().0.header).collect()
}

fn client() -> HeaderChain {
    let ledger = &chain().ledger;
    HeaderChain::new(*ledger.genesis_hash(), ledger.genesis().validator_set())
}

fn advance(client: &mut HeaderChain, header: &Header) -> Result<(), HeaderError> {
    client.advance(header.clone(), &sign(header, 0, &voters(chain(), 3)))?;
    let next = chain().ledger.handovers(header.height - 1, 1).unwrap();
    match next.into_iter().find(|h| h.header.height == header.height) {
        Some(handover) => client.hand_over(handover.validators),
        None => Ok(()),
    }
}

fn refused_for(client: &mut HeaderChain, header: &Header, wanted: &str) {
    let before = client.newest().cloned();
    match advance(client, header) {
        Err(HeaderError::Field { field, height }) => {
            assert_eq!((field, height), (wanted, header.height));
        }
        other => panic!("{wanted}: {other:?}"),
    }
    assert_eq!(client.newest(), before.as_ref(), "a refused header changes nothing");
}

#[test]
fn all_headers_of_a_chain_are_believed_in_order() {
    let (mut client, headers) = (client(), headers());
    assert!(client.newest().is_none());
    for header in &headers {
        advance(&mut client, header).unwrap();
        assert_eq!(client.newest(), Some(header));
    }
    assert!(headers.len() > 50);
}

#[test]
fn heights_may_be_skipped_but_not_go_back() {
    let (mut client, headers) = (client(), headers());
    for at in [4, 20, 21, 60] {
        advance(&mut client, &headers[at]).unwrap();
    }
    for at in [60, 59, 0] {
        refused_for(&mut client, &headers[at], "height");
    }
    advance(&mut client, &headers[61]).unwrap();
}

#[test]
fn a_header_that_does_not_follow_is_refused() {
    let (mut client, headers) = (client(), headers());
    advance(&mut client, &headers[9]).unwrap();
    let next = &headers[10];
    let forked = Header { previous: BlockHash([1; 32]), ..next.clone() };
    refused_for(&mut client, &forked, "previous hash");
    let early = Header { time_ms: headers[9].time_ms, ..next.clone() };
    refused_for(&mut client, &early, "time");
    let other_set = Header { validators: Digest([1; 32]), ..next.clone() };
    refused_for(&mut client, &other_set, "validator set");
    let other_chain = Header { genesis: GenesisHash([1; 32]), ..next.clone() };
    refused_for(&mut client, &other_chain, "genesis hash");
    advance(&mut client, next).unwrap();
}

#[test]
fn a_header_without_two_thirds_is_refused() {
    let (mut client, headers) = (client(), headers());
    let header = &headers[0];
    for signers in [0, 1, 2] {
        let certificate = sign(header, 0, &voters(chain(), signers));
        let error = client.advance(header.clone(), &certificate).unwrap_err();
        assert!(matches!(error, HeaderError::Certificate { height: 1, .. }), "{error}");
    }
    let of_another = sign(&headers[1], 0, &voters(chain(), 4));
    assert!(client.advance(header.clone(), &of_another).is_err());
    assert!(client.newest().is_none());
    client.advance(header.clone(), &sign(header, 3, &voters(chain(), 4))).unwrap();
}
