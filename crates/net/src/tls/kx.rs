//! X25519 key agreement (RFC 7748) and the operating system's random numbers.

use rustls::crypto::{
    ActiveKeyExchange, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup,
};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroize;

/// Random bytes from the operating system.
#[derive(Debug)]
pub(super) struct SystemRandom;

impl SecureRandom for SystemRandom {
    fn fill(&self, buf: &mut [u8]) -> Result<(), GetRandomFailed> {
        getrandom::fill(buf).map_err(|_| GetRandomFailed)
    }
}

/// The key-exchange group X25519.
#[derive(Debug)]
pub(super) struct X25519;

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut seed = [0u8; 32];
        getrandom::fill(&mut seed).map_err(|_| Error::FailedToGetRandomBytes)?;
        let secret = StaticSecret::from(seed);
        seed.zeroize();
        let public = PublicKey::from(&secret);
        Ok(Box::new(Active { secret, public }))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// One side of an exchange: our ephemeral key pair, zeroized when dropped.
struct Active {
    secret: StaticSecret,
    public: PublicKey,
}

impl ActiveKeyExchange for Active {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer: [u8; 32] =
            peer.try_into().map_err(|_| Error::from(PeerMisbehaved::InvalidKeyShare))?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(peer));
        if !shared.was_contributory() {
            return Err(PeerMisbehaved::InvalidKeyShare.into());
        }
        Ok(SharedSecret::from(&shared.as_bytes()[..]))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_and_bad_shares_are_refused() {
        let (a, b) = (X25519.start().unwrap(), X25519.start().unwrap());
        let (pub_a, pub_b) = (a.pub_key().to_vec(), b.pub_key().to_vec());
        assert_ne!(pub_a, pub_b);
        let left = a.complete(&pub_b).unwrap();
        let right = b.complete(&pub_a).unwrap();
        assert_eq!(left.secret_bytes(), right.secret_bytes());
        assert!(X25519.start().unwrap().complete(&pub_a[..31]).is_err());
        // The all-zero point has small order: the shared secret would be zero.
        assert!(X25519.start().unwrap().complete(&[0; 32]).is_err());
    }

    #[test]
    fn shared_secret_matches_rfc_7748_section_5_2() {
        let key = |s: &str| <[u8; 32]>::try_from(hex::decode(s).unwrap()).unwrap();
        let secret = StaticSecret::from(key(
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        ));
        let public = PublicKey::from(&secret);
        let peer = key("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
        let shared = Box::new(Active { secret, public }).complete(&peer).unwrap();
        assert_eq!(
            hex::encode(shared.secret_bytes()),
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
        );
    }
}
