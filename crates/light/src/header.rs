//! Headers and their certificates: who signed, and whether they may.

use anthill_consensus::certificate::{Certificate, CertificateError, verify_certificate};
use anthill_types::block::HEADER_VERSION;
use anthill_types::{GenesisHash, Header, ValidatorSet};
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
pub struct HeaderChain {
    genesis: GenesisHash,
    validators: ValidatorSet,
    newest: Option<Header>,
}

impl HeaderChain {
    /// Begins with the validators of the genesis.
    pub fn new(genesis: GenesisHash, validators: ValidatorSet) -> Self {
        Self { genesis, validators, newest: None }
    }

    /// The newest header that was believed.
    pub fn newest(&self) -> Option<&Header> {
        self.newest.as_ref()
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
}
