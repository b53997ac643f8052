//! Checks of signatures and of the engine's certificates.
#![allow(clippy::result_large_err, reason = "the error type is the engine's")]

use super::context::{Address, Ctx, ValidatorSet, hash_of, number};
use crate::Certificate;
use crate::certificate::{PRECOMMIT, PREVOTE, verify_certificate, vote_body};
use arc_malachitebft_core_types::{
    CertificateError, CommitCertificate, PolkaCertificate, RoundCertificate, RoundCertificateType,
    ThresholdParam, ThresholdParams, Validator as _, ValidatorSet as _, VoteType,
};
use std::collections::BTreeSet;

type Verdict = Result<(), CertificateError<Ctx>>;

/// Whether a signature fits, by the rule of protocol 1.
pub(crate) fn fits(
    genesis: &[u8; 32],
    key: &Address,
    kind: &'static str,
    body: &[u8],
    signature: &[u8; 64],
) -> bool {
    anthill_types::planted!(SkipVoteSignature)
        || anthill_identity::verify(&key.0, kind, genesis, body, signature).is_ok()
}

/// The engine's commit certificate as ours, ascending by key.
pub(crate) fn plain(certificate: &CommitCertificate<Ctx>) -> Certificate {
    let signed = certificate.commit_signatures.iter();
    let mut signatures: Vec<_> = signed.map(|s| (s.address.0, s.signature)).collect();
    signatures.sort_unstable();
    signatures.dedup_by_key(|(key, _)| *key);
    Certificate {
        height: certificate.height.0,
        round: number(certificate.round),
        block_hash: certificate.value_id.0,
        signatures,
    }
}

/// Checks a commit certificate exactly as a light client does.
pub(crate) fn commit(
    genesis: &[u8; 32],
    set: &ValidatorSet,
    certificate: &CommitCertificate<Ctx>,
) -> Verdict {
    verify_certificate(genesis, &set.powers(), &plain(certificate)).map_err(|error| {
        let error: Box<dyn std::error::Error + Send + Sync> = error.into();
        CertificateError::VerificationError(Some(error.into()))
    })
}

/// More than two thirds of the power prevoted for the block.
pub(crate) fn polka(
    genesis: &[u8; 32],
    set: &ValidatorSet,
    thresholds: ThresholdParams,
    polka: &PolkaCertificate<Ctx>,
) -> Verdict {
    let hash = &polka.value_id.0;
    let body = vote_body(PREVOTE, polka.height.0, number(polka.round), Some(hash));
    let mut power = Power::new(set);
    for signed in &polka.polka_signatures {
        power.add(&signed.address)?;
        if !fits(genesis, &signed.address, "vote", &body, &signed.signature) {
            return Err(CertificateError::InvalidPolkaSignature(signed.clone()));
        }
    }
    power.reaches(thresholds.quorum)
}

/// Enough validators have moved on: more than two thirds by precommit, or a third by any vote.
pub(crate) fn round(
    genesis: &[u8; 32],
    set: &ValidatorSet,
    thresholds: ThresholdParams,
    certificate: &RoundCertificate<Ctx>,
) -> Verdict {
    let precommits_only = certificate.cert_type == RoundCertificateType::Precommit;
    let mut power = Power::new(set);
    for signed in &certificate.round_signatures {
        let kind = match signed.vote_type {
            VoteType::Prevote if precommits_only => {
                return Err(CertificateError::InvalidVoteType(signed.address));
            }
            VoteType::Prevote => PREVOTE,
            VoteType::Precommit => PRECOMMIT,
        };
        power.add(&signed.address)?;
        let (height, round) = (certificate.height.0, number(certificate.round));
        let body = vote_body(kind, height, round, hash_of(&signed.value_id));
        if !fits(genesis, &signed.address, "vote", &body, &signed.signature) {
            return Err(CertificateError::InvalidRoundSignature(signed.clone()));
        }
    }
    power.reaches(if precommits_only { thresholds.quorum } else { thresholds.honest })
}

/// Sums the power of distinct members.
struct Power<'s> {
    set: &'s ValidatorSet,
    seen: BTreeSet<Address>,
    signed: u64,
}

impl<'s> Power<'s> {
    fn new(set: &'s ValidatorSet) -> Self {
        Self { set, seen: BTreeSet::new(), signed: 0 }
    }

    fn add(&mut self, address: &Address) -> Verdict {
        let member =
            self.set.member(address).ok_or(CertificateError::UnknownValidator(*address))?;
        if !self.seen.insert(*address) {
            return Err(CertificateError::DuplicateVote(*address));
        }
        self.signed += member.voting_power();
        Ok(())
    }

    fn reaches(&self, threshold: ThresholdParam) -> Verdict {
        let (signed, total) = (self.signed, self.set.total_voting_power());
        if threshold.is_met(signed, total) {
            return Ok(());
        }
        let expected = threshold.min_expected(total);
        Err(CertificateError::NotEnoughVotingPower { signed, total, expected })
    }
}
