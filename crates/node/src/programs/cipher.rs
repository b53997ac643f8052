//! The programs `anthill/program/encrypt/1` and `decrypt/1`: one piece of data under a key by its id.
//!
//! Parameters: `[key id]` to decrypt, `[key id, salt, index, last]` to encrypt. Output: the piece as
//! `anthill-identity` lays it out, or its plaintext. Both are functions of key, parameters and input,
//! so replicas are compared by hash like any others.

use anthill_identity::{DataKey, MAX_PIECE, PIECE_OVERHEAD, Place};
use anthill_sandbox::{Fault, Program, Progress, Run, SandboxError};
use anthill_types::task::program;
use anthill_types::{Cid, Digest};

use super::encode;
use crate::keyring::KeyRing;

/// Parameters of encryption.
pub fn encrypt_params(key: &[u8; 32], place: &Place) -> Vec<u8> {
    encode(|e| e.array(4)?.bytes(key)?.bytes(&place.salt)?.u32(place.index)?.bool(place.last)?.ok())
}

/// Parameters of decryption.
pub fn decrypt_params(key: &[u8; 32]) -> Vec<u8> {
    encode(|e| e.array(1)?.bytes(key)?.ok())
}

/// Reads the parameters of either; `None` when they are not canonical.
pub fn cipher_params(bytes: &[u8]) -> Option<([u8; 32], Option<Place>)> {
    let mut d = minicbor::Decoder::new(bytes);
    let count = d.array().ok()??;
    let key: [u8; 32] = d.bytes().ok()?.try_into().ok()?;
    if count == 1 {
        return (decrypt_params(&key) == bytes).then_some((key, None));
    }
    let salt = d.bytes().ok()?.try_into().ok()?;
    let place = Place { salt, index: d.u32().ok()?, last: d.bool().ok()? };
    (encrypt_params(&key, &place) == bytes).then_some((key, Some(place)))
}

/// Reference cost of a piece of so many bytes, either way.
pub fn cipher_cost(bytes: usize) -> u64 {
    2 + (bytes as u64).div_ceil(32)
}

/// The program `anthill/program/encrypt/1`.
pub struct Encrypt(pub KeyRing);

/// The program `anthill/program/decrypt/1`.
pub struct Decrypt(pub KeyRing);

struct Piece {
    key: DataKey,
    place: Option<Place>,
    input: Vec<u8>,
}

/// Starts either; `place` is there when it is to encrypt.
fn start(
    ring: &KeyRing,
    (id, place): ([u8; 32], Option<Place>),
    input: &[u8],
) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
    let most = if place.is_some() { MAX_PIECE } else { MAX_PIECE + PIECE_OVERHEAD };
    if input.len() > most {
        return Ok(Err(Fault::BadInput));
    }
    let key = ring.by_id(&id).ok().flatten().ok_or_else(|| SandboxError::Lacks {
        what: format!("the data key {}", Digest(id)),
        hint: "ask its owner to seal it to this node with `anthill key seal`".into(),
    })?;
    Ok(Ok(Box::new(Piece { key, place, input: input.to_vec() })))
}

impl Program for Encrypt {
    fn id(&self) -> Cid {
        program::encrypt()
    }

    fn start(
        &self,
        params: &[u8],
        input: &[u8],
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        match cipher_params(params) {
            Some(found @ (_, Some(_))) => start(&self.0, found, input),
            _ => Ok(Err(Fault::BadInput)),
        }
    }
}

impl Program for Decrypt {
    fn id(&self) -> Cid {
        program::decrypt()
    }

    fn start(
        &self,
        params: &[u8],
        input: &[u8],
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        match cipher_params(params) {
            Some(found @ (_, None)) => start(&self.0, found, input),
            _ => Ok(Err(Fault::BadInput)),
        }
    }
}

impl Run for Piece {
    fn step(&mut self) -> Result<Progress, Fault> {
        let output = match &self.place {
            Some(place) => self.key.encrypt(place, &self.input),
            None => self.key.decrypt(&self.input).map(|(_, text)| text.to_vec()),
        };
        output.map(Progress::Done).map_err(|_| Fault::BadInput)
    }

    fn cost(&self) -> u64 {
        cipher_cost(self.input.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;
    use anthill_sandbox::Sandbox;
    use std::sync::Arc;

    #[test]
    fn tasks_encrypt_and_decrypt_where_the_key_is() {
        let folder = std::env::temp_dir().join(format!("anthill-cipher-{}", std::process::id()));
        let ring = KeyRing(Home::new(&folder));
        let key = DataKey::from_bytes([4; 32]);
        let mut sandbox = Sandbox::new();
        sandbox.install(Arc::new(Encrypt(ring.clone())));
        sandbox.install(Arc::new(Decrypt(ring.clone())));
        let place = Place { salt: [1; 16], index: 0, last: true };
        let params = encrypt_params(&key.id(), &place);
        assert_eq!(cipher_params(&params), Some((key.id(), Some(place))));
        let run = |program: Cid, params: &[u8], input: &[u8]| {
            sandbox
                .start(&program, params, input, cipher_cost(input.len()))
                .map(|i| i.finish().result)
        };
        let lacks = run(program::encrypt(), &params, b"text");
        assert!(matches!(lacks, Err(SandboxError::Lacks { .. })), "{lacks:?}");
        ring.keep("k", &key).unwrap();
        let piece = run(program::encrypt(), &params, b"text").unwrap().unwrap();
        assert_eq!(piece, key.encrypt(&place, b"text").unwrap());
        let open = decrypt_params(&key.id());
        assert_eq!(run(program::decrypt(), &open, &piece).unwrap(), Ok(b"text".to_vec()));
        let bad = [(program::decrypt(), &open, &piece[1..]), (program::encrypt(), &open, b"text")];
        for (program, params, input) in bad {
            assert_eq!(run(program, params, input).unwrap(), Err(Fault::BadInput));
        }
        assert_eq!(run(program::decrypt(), &params, &piece).unwrap(), Err(Fault::BadInput));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
