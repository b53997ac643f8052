//! Headers and their certificates: who signed, and whether they may.

use anthill_consensus::certificate::{Certificate, CertificateError, verify_certificate};
use anthill_types::block::HEADER_VERSION;
use anthill_types::{Checkpoint, Digest, GenesisHash, Handover, Header, ValidatorSet};
use thiserror::Error;

/// Why a header is not believed.
#[derive(Debug, Error)]
pub enum HeaderError {
    /// A field does not fit the chain.
    #[error("header {height}: {field} does not fit this chain")]
    Field {
        /// The header's height.
        height: u64,
        /// The field.
        field: &'static str,
    },
    /// The certificate does not sign this header with enough stake.
    #[error("header {height}: {error}")]
    Certificate {
        /// The header's height.
        height: u64,
        /// What is wrong with it.
        error: CertificateError,
    },
    /// The validators change after the newest header, and nobody has said to whom.
    #[error("the validators change after header {height}: the next set is needed first")]
    HandoverMissing {
        /// Height of the newest header.
        height: u64,
    },
}

/// Checks that `validators` signed this header of this chain.
///
/// # Errors
/// [`HeaderError`] with the field or the certificate's fault.
pub fn verify_header(
    genesis: &GenesisHash,
    validators: &ValidatorSet,
    header: &Header,
    certificate: &Certificate,
) -> Result<(), HeaderError> {
    let height = header.height;
    for (field, fits) in [
        ("version", header.version == HEADER_VERSION),
        ("height", height > 0),
        ("genesis hash", header.genesis == *genesis),
        ("validator set", header.validators == validators.hash()),
        ("certificate height", certificate.height == height),
        ("certificate hash", certificate.block_hash == header.hash().0),
    ] {
        if !fits {
            return Err(HeaderError::Field { height, field });
        }
    }
    verify_certificate(&genesis.0, &validators.powers(), certificate)
        .map_err(|error| HeaderError::Certificate { height, error })
}

/// A light client's view of one chain: it follows headers upwards and keeps the newest.
///
/// It believes the validators of the genesis, or of a [`Checkpoint`], and from then on those that
/// the set before has named in a header that it signed. Who held keys of a set that has since taken
/// its stake back could sign another past: a client that was away for longer than the unbonding
/// time should begin from a checkpoint that it has from somebody whom it trusts.
#[derive(Clone, Debug)]
pub struct HeaderChain {
    genesis: GenesisHash,
    /// The set that signs the next header, or has signed the newest while another is expected.
    validators: ValidatorSet,
    newest: Option<Header>,
}

impl HeaderChain {
    /// Begins with the validators of the genesis.
    pub fn new(genesis: GenesisHash, validators: ValidatorSet) -> Self {
        Self { genesis, validators, newest: None }
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// The checkpoint's parts do not fit together.
    pub fn from_checkpoint(checkpoint: Checkpoint) -> Result<Self, HeaderError> {
        let Checkpoint { genesis, header, validators } = checkpoint;
        let height = header.height;
        if header.genesis != genesis {
            return Err(HeaderError::Field { height, field: "genesis hash" });
        }
        if header.next_validators != validators.hash() {
            return Err(HeaderError::Field { height, field: "next validator set" });
        }
        Ok(Self { genesis, validators, newest: Some(header) })
    }

    /// Where it stands, to go on from later; none before the first header, or while the next
    /// validators are not known.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let header = self.newest.clone().filter(|_| self.expected().is_none())?;
        Some(Checkpoint { genesis: self.genesis, header, validators: self.validators.clone() })
    }

    /// The chain.
    pub fn genesis(&self) -> &GenesisHash {
        &self.genesis
    }

    /// The newest header that was believed.
    pub fn newest(&self) -> Option<&Header> {
        self.newest.as_ref()
    }

    /// Height of the newest header; 0 before the first.
    pub fn height(&self) -> u64 {
        self.newest.as_ref().map_or(0, |h| h.height)
    }

    /// The validators that are believed.
    pub fn validators(&self) -> &ValidatorSet {
        &self.validators
    }

    /// The hash of the set that must be given to [`Self::hand_over`] before the next header.
    pub fn expected(&self) -> Option<Digest> {
        let next = self.newest.as_ref()?.next_validators;
        (next != self.validators.hash()).then_some(next)
    }

    /// Takes a newer header; heights may be skipped while the validators stay the same.
    ///
    /// # Errors
    /// The header is not above the newest, does not link to it, or is not signed; nothing changes.
    pub fn advance(
        &mut self,
        header: Header,
        certificate: &Certificate,
    ) -> Result<(), HeaderError> {
        let height = header.height;
        let wrong = |field| HeaderError::Field { height, field };
        if self.expected().is_some() {
            return Err(HeaderError::HandoverMissing { height: self.height() });
        }
        if let Some(newest) = &self.newest {
            if height <= newest.height {
                return Err(wrong("height"));
            }
            if header.time_ms <= newest.time_ms {
                return Err(wrong("time"));
            }
            if height == newest.height + 1 && header.previous != newest.hash() {
                return Err(wrong("previous hash"));
            }
        }
        verify_header(&self.genesis, &self.validators, &header, certificate)?;
        self.newest = Some(header);
        Ok(())
    }

    /// Takes the validators that the newest header has named.
    ///
    /// # Errors
    /// They are not those, or none were named; nothing changes.
    pub fn hand_over(&mut self, validators: ValidatorSet) -> Result<(), HeaderError> {
        let height = self.height();
        if self.expected() != Some(validators.hash()) {
            return Err(HeaderError::Field { height, field: "next validator set" });
        }
        self.validators = validators;
        Ok(())
    }

    /// Takes one link of the chain of trust: a header with the set that follows.
    ///
    /// # Errors
    /// The header or the set is refused; nothing changes.
    pub fn follow(&mut self, handover: Handover) -> Result<(), HeaderError> {
        let height = handover.header.height;
        let certificate = Certificate::from_bytes(&handover.certificate.0)
            .map_err(|error| HeaderError::Certificate { height, error })?;
        let mut next = self.clone();
        next.advance(handover.header, &certificate)?;
        next.hand_over(handover.validators)?;
        *self = next;
        Ok(())
    }
}
