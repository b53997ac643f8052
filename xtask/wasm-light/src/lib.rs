//! The light client by itself as a browser module: follow headers, check proofs.
//!
//! [`answer`] is one function from bytes to bytes, as in `wasm-check`; what the client believes goes in
//! and comes out as a checkpoint, so the module keeps nothing. `cargo xtask wasm` builds it, measures
//! it, and runs it in Node.
#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

use anthill_consensus::Certificate;
use anthill_light::{HeaderChain, verify_from};
use anthill_types::{Checkpoint, Genesis, GenesisHash, Handover, Header, Wire};

#[path = "../../wasm-check/src/calls.rs"]
mod calls;

pub use calls::pack;

/// First byte of a request: check a proof. Parts: genesis hash or nothing, checkpoint or nothing,
/// the proof. Answer: `accepted` with the statements, or `refused` with the reason.
pub const PROOF: u8 = 1;
/// First byte of a request: follow a chain. Parts: genesis or nothing, checkpoint or nothing, header,
/// certificate, then handovers. Answer: `accepted`, a line feed and the new checkpoint's bytes.
pub const FOLLOW: u8 = 2;

/// The answer to a request. A request that cannot be answered gives `error: ` and the reason.
pub fn answer(request: &[u8]) -> Vec<u8> {
    let given = match request.split_first() {
        Some((&PROOF, rest)) => calls::parts(rest).and_then(|parts| proof(&parts)),
        Some((&FOLLOW, rest)) => calls::parts(rest).map(|parts| match follow(&parts) {
            Ok(checkpoint) => [&b"accepted\n"[..], &checkpoint.to_bytes()].concat(),
            Err(reason) => format!("refused\n{reason}").into_bytes(),
        }),
        _ => Err("no such request".to_string()),
    };
    given.unwrap_or_else(|reason| format!("error: {reason}").into_bytes())
}

fn checkpoint(part: &[u8]) -> Result<Option<Checkpoint>, String> {
    if part.is_empty() {
        return Ok(None);
    }
    Checkpoint::from_bytes(part).map(Some).map_err(|e| e.to_string())
}

fn proof(parts: &[&[u8]]) -> Result<Vec<u8>, String> {
    let [pin, from, proof] = parts else {
        return Err("a genesis hash, a checkpoint and a proof are expected".into());
    };
    let pin = match <[u8; 32]>::try_from(*pin) {
        Ok(hash) => Some(GenesisHash(hash)),
        Err(_) if pin.is_empty() => None,
        Err(_) => return Err("a genesis hash has 32 bytes".into()),
    };
    let said = match verify_from(proof, pin.as_ref(), checkpoint(from)?.as_ref()) {
        Ok(verified) => verified
            .statements
            .iter()
            .fold("accepted".to_string(), |all, s| format!("{all}\n{}: {}", s.kind, s.text)),
        Err(error) => format!("refused\n{error}"),
    };
    Ok(said.into_bytes())
}

fn follow(parts: &[&[u8]]) -> Result<Checkpoint, String> {
    let [genesis, from, header, certificate, handovers @ ..] = parts else {
        return Err("a genesis, a checkpoint, a header and a certificate are expected".into());
    };
    let mut chain = match checkpoint(from)? {
        Some(checkpoint) => HeaderChain::from_checkpoint(checkpoint).map_err(|e| e.to_string())?,
        None => {
            let genesis = Genesis::from_bytes(genesis).map_err(|e| e.to_string())?;
            HeaderChain::new(genesis.hash(), genesis.validator_set())
        }
    };
    for handover in handovers {
        let handover = Handover::from_bytes(handover).map_err(|e| e.to_string())?;
        chain.follow(handover).map_err(|e| e.to_string())?;
    }
    let header = Header::from_bytes(header).map_err(|e| e.to_string())?;
    let certificate = Certificate::from_bytes(certificate).map_err(|e| e.to_string())?;
    chain.advance(header, &certificate).map_err(|e| e.to_string())?;
    chain.checkpoint().ok_or_else(|| "the validators change after this header".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anthill_light::Bundle;

    const MOVED: &[u8] = include_bytes!("../../../tests/vectors/proof-handovers.cbor");

    #[test]
    fn a_chain_is_followed_through_its_handovers() {
        let bundle = Bundle::from_bytes(MOVED).unwrap();
        assert!(bundle.handovers.len() >= 2);
        let (genesis, header) = (bundle.genesis.to_bytes(), bundle.header.to_bytes());
        let certificate = &bundle.certificate.0;
        let handovers: Vec<Vec<u8>> = bundle.handovers.iter().map(Wire::to_bytes).collect();
        let request = |from: &[u8], list: &[Vec<u8>]| {
            let mut all: Vec<&[u8]> = vec![&genesis, from, &header, certificate];
            all.extend(list.iter().map(Vec::as_slice));
            answer(&pack(FOLLOW, all))
        };
        let said = request(&[], &handovers);
        let checkpoint = said.strip_prefix(b"accepted\n").unwrap();
        assert_eq!(Checkpoint::from_bytes(checkpoint).unwrap().header, bundle.header);
        for wrong in [&handovers[1..], &handovers[..1], &[]] {
            assert!(request(&[], wrong).starts_with(b"refused\n"));
        }
        // A proof at or below the checkpoint's height is refused with it.
        let said = answer(&pack(PROOF, [&[], checkpoint, MOVED]));
        assert!(said.starts_with(b"refused\nheader"), "{}", String::from_utf8_lossy(&said));
        assert!(answer(&pack(PROOF, [&[][..], &[], MOVED])).starts_with(b"accepted\nkey: "));
    }

    #[test]
    fn a_request_that_makes_no_sense_is_an_error() {
        for bad in [&[][..], &[0], &[PROOF], &[PROOF, 1], &pack(PROOF, [&[1][..], &[], &[]])] {
            let said = answer(bad);
            assert!(said.starts_with(b"error: "), "{bad:?}: {}", String::from_utf8_lossy(&said));
        }
        assert!(answer(&[FOLLOW]).starts_with(b"refused\n"));
    }
}
