//! Show that encodings, proofs and embeddings are the same in the browser as natively.
//!
//! [`answer`] is one function from bytes to bytes. `cargo xtask wasm` calls it natively and, through
//! the exports below, in Node on the module that a browser would load, and compares the bytes. The
//! module imports nothing: no clock, no randomness, no host function.
#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

use anthill_learn::{Embedder, MiniLm, Precision, StaticModel};
use anthill_light::verify;
use anthill_merkle::rfc9162::{self, Sha3Tree};
use anthill_types::{GenesisHash, hash, ids, testing};

mod calls;
mod vector;

pub use calls::pack;
pub use vector::{VECTOR, request as vector_request};

/// First byte of a request: the table of the pinned encodings.
pub const CONFORMANCE: u8 = 1;
/// First byte of a request: check a proof; 32 bytes of genesis hash and the bundle follow.
pub const PROOF: u8 = 2;
/// First byte of a request: check the proof with each byte altered; as for [`PROOF`].
pub const ALTERED: u8 = 3;
/// First byte of a request: embed texts, each a length (u32, little-endian) and its UTF-8.
pub const EMBED: u8 = 4;
/// First byte of a request: the RFC 9162 root over SHA3-256 of texts, packed as for [`EMBED`].
pub const MERKLE: u8 = 5;

/// First byte of a request: the hashes of 1,000 random cases of each kernel.
pub const KERNELS: u8 = 6;
/// First byte of a request: embed texts with the full encoder; packed are its weights, its
/// tokenizer and then the texts.
pub const ENCODER: u8 = 7;
/// First byte of a request: as [`ENCODER`], with linear layers in int8.
pub const ENCODER_INT8: u8 = 8;

/// The answer to a request, the same on every platform. A request that cannot be answered gives
/// `error: ` and the reason.
pub fn answer(request: &[u8]) -> Vec<u8> {
    let given = match request.split_first() {
        Some((&CONFORMANCE, [])) => testing::conformance().map(String::into_bytes),
        Some((&PROOF, rest)) => pinned(rest).map(|(pin, proof)| check(proof, &pin).into_bytes()),
        Some((&ALTERED, rest)) => pinned(rest).map(|(pin, proof)| altered(proof, &pin)),
        Some((&EMBED, rest)) => texts(rest).map(|t| embed(StaticModel::embedded(), &t)),
        Some((&KERNELS, [])) => kernels(),
        Some((&ENCODER, rest)) => encoder(rest, Precision::Float),
        Some((&ENCODER_INT8, rest)) => encoder(rest, Precision::int8()),
        Some((&MERKLE, rest)) => {
            texts(rest).map(|texts| rfc9162::root::<Sha3Tree>(&texts).to_vec())
        }
        Some((&VECTOR, rest)) => calls::parts(rest).and_then(|parts| vector::answer(&parts)),
        _ => Err("no such request".to_string()),
    };
    given.unwrap_or_else(|reason| format!("error: {reason}").into_bytes())
}

fn pinned(rest: &[u8]) -> Result<(GenesisHash, &[u8]), String> {
    let (pin, proof) = rest.split_first_chunk().ok_or("a genesis hash has 32 bytes")?;
    Ok((GenesisHash(*pin), proof))
}

/// `accepted` and the statements, or `refused` and why.
fn check(proof: &[u8], pin: &GenesisHash) -> String {
    match verify(proof, Some(pin)) {
        Ok(verified) => verified
            .statements
            .iter()
            .fold("accepted".to_string(), |all, s| format!("{all}\n{}: {}", s.kind, s.text)),
        Err(error) => format!("refused\n{error}"),
    }
}

/// How many of the altered copies are refused, of how many, and BLAKE3 over all the reasons.
fn altered(proof: &[u8], pin: &GenesisHash) -> Vec<u8> {
    let (mut refused, mut all, mut reasons) = (0u32, 0u32, Vec::new());
    let mut copy = proof.to_vec();
    for at in 0..copy.len() {
        for flip in [0x01, 0x80] {
            copy[at] ^= flip;
            let said = check(&copy, pin);
            copy[at] ^= flip;
            all += 1;
            refused += u32::from(said.starts_with("refused"));
            reasons.extend_from_slice(said.as_bytes());
        }
    }
    let reasons = ids::to_hex(&hash::blake3(&reasons));
    format!("{refused} of {all} refused, reasons {reasons}").into_bytes()
}

fn texts(rest: &[u8]) -> Result<Vec<&str>, String> {
    calls::parts(rest)?.into_iter().map(text).collect()
}

fn text(part: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(part).map_err(|e| e.to_string())
}

fn kernels() -> Result<Vec<u8>, String> {
    let lines = anthill_kernels::testing::conformance(1000).map_err(|e| e.to_string())?;
    Ok(lines.into_bytes())
}

fn encoder(rest: &[u8], precision: Precision<'_>) -> Result<Vec<u8>, String> {
    let parts = calls::parts(rest)?;
    let [weights, tokenizer, texts @ ..] = &parts[..] else {
        return Err("weights and a tokenizer are wanted".into());
    };
    let model = MiniLm::with_precision(weights, tokenizer, precision).map_err(|e| e.to_string())?;
    let texts: Vec<&str> = texts.iter().map(|t| text(t)).collect::<Result<_, _>>()?;
    Ok(embed(&model, &texts))
}

/// The model's hash; for each text 1 and its vector (f32, little-endian), or 0, the length of the
/// reason, the reason.
fn embed(model: &dyn Embedder, texts: &[&str]) -> Vec<u8> {
    let mut out = model.model_hash().to_vec();
    for text in texts {
        match model.embed_batch(&[text]).map(|vectors| vectors.concat()) {
            Ok(vector) => {
                out.push(1);
                out.extend(vector.iter().flat_map(|x| x.to_le_bytes()));
            }
            Err(error) => {
                let reason = error.to_string();
                out.push(0);
                out.extend((reason.len() as u32).to_le_bytes());
                out.extend(reason.as_bytes());
            }
        }
    }
    out
}

/// The bytes of a genesis hash that is given in hexadecimal.
///
/// # Errors
/// The text is no genesis hash.
pub fn genesis(text: &str) -> Result<[u8; 32], String> {
    text.parse::<GenesisHash>().map(|g| g.0).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_makes_no_sense_is_an_error() {
        for bad in [&[][..], &[0], &[9, 9], &[CONFORMANCE, 1], &[PROOF, 1], &[EMBED, 1]] {
            let said = String::from_utf8(answer(bad)).unwrap();
            assert!(said.starts_with("error: "), "{bad:?}: {said}");
        }
        let cut = [&[EMBED], &9u32.to_le_bytes()[..], b"ant"].concat();
        assert_eq!(answer(&cut), b"error: a part is cut short");
        let binary = [&[EMBED], &1u32.to_le_bytes()[..], &[0xff]].concat();
        assert!(answer(&binary).starts_with(b"error: invalid utf-8"));
    }

    #[test]
    fn texts_are_embedded_or_say_why_not() {
        let one = answer(&pack(EMBED, ["an ant hill"]));
        assert_eq!(one.len(), 32 + 1 + 4 * StaticModel::embedded().dimensions());
        assert_eq!(answer(&pack(EMBED, [""]))[32], 0);
    }
}
