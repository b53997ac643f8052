//! Starting from a state: what a node offers to newcomers, and how a newcomer takes it.
//!
//! Upon *a peer's request for a snapshot*: the state is frozen, its keys are read a step with each
//! request, and when they are all there the block and its certificate are handed over. Upon *a
//! trusted header*: the newcomer asks for part after part; upon *a wrong part*: its sender is
//! ignored and another one asked; upon *the last part*: everything is taken over in one commit.

use anthill_consensus::certificate::{Certificate, CertificateError};
use anthill_ledger::snapshot::{AdoptError, Part, Place, Restore};
use anthill_ledger::{Ledger, LedgerError};
use anthill_light::{HeaderChain, HeaderError};
use anthill_store::Batch;
use anthill_types::{Block, Bytes, Checkpoint, DecodeError, Digest, Handover, NodeKey, Wire};
use thiserror::Error;

use crate::effect::PeerId;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::wire::{CommittedBlock, Offer, Request, SnapshotPart, StateRow};

/// A frozen state that is so many blocks old is replaced when nobody is at it.
const OFFER_BLOCKS: u64 = 256;
/// ... and when somebody is, but it is as old as this.
const MOST_OFFER_BLOCKS: u64 = 4_096;
/// Nodes of the tree that may be kept for a frozen state alone.
const MOST_FROZEN_NODES: usize = 4_000_000;
/// A frozen state that nobody has asked for so long is let go.
const OFFER_IDLE_MS: u64 = 60_000;
/// Changes of the validator set in one offer.
const MOST_LINKS: usize = 4_096;
/// How often a peer may say that it is not ready yet.
const MOST_TRIES: u32 = 1_024;
/// Peers that gave wrong snapshots, or none, before blocks are asked for instead.
const MOST_FAILURES: u32 = 8;

/// Why an offered snapshot is not begun with.
#[derive(Debug, Error)]
pub enum OfferError {
    /// The block does not decode.
    #[error("the snapshot's block: {0}")]
    Block(#[from] DecodeError),
    /// The certificate does not decode.
    #[error("the snapshot's certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The block's body is not the one that was agreed on.
    #[error("the transactions of the snapshot's block are not those of its header")]
    Body,
    /// No validators that this node trusts have signed the header.
    #[error("the snapshot's header is not to be trusted: {0}")]
    Header(#[from] HeaderError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A block whose header this node trusts, with what makes it trusted.
#[derive(Debug, Clone)]
pub struct TrustedBlock {
    /// The block.
    pub block: Block,
    /// Its certificate, encoded.
    pub certificate: Vec<u8>,
    /// The changes of the validator set on the way to it.
    pub links: Vec<Handover>,
}

/// Follows the validators from what `ledger` holds to an offered block.
///
/// # Errors
/// [`OfferError`] saying what is not to be believed.
pub fn trust(
    ledger: &Ledger,
    offered: &CommittedBlock,
    links: Vec<Handover>,
) -> Result<TrustedBlock, OfferError> {
    let block = Block::from_bytes(&offered.block.0)?;
    let certificate = Certificate::from_bytes(&offered.certificate.0)?;
    if anthill_ledger::block_hash(&offered.block.0) != Some(block.header.hash().0) {
        return Err(OfferError::Body);
    }
    let mut chain = followed(ledger)?;
    for link in &links {
        chain.follow(link.clone())?;
    }
    chain.advance(block.header.clone(), &certificate)?;
    Ok(TrustedBlock { block, certificate: offered.certificate.0.clone(), links })
}

/// The headers as far as the ledger has followed them.
fn followed(ledger: &Ledger) -> Result<HeaderChain, OfferError> {
    let (genesis, validators) = (*ledger.genesis_hash(), ledger.state()?.validators()?);
    Ok(match ledger.tip().cloned() {
        None => HeaderChain::new(genesis, validators),
        Some(header) => HeaderChain::from_checkpoint(Checkpoint { genesis, header, validators })?,
    })
}

/// A snapshot that is being taken.
pub(crate) struct Taking {
    peer: PeerId,
    trusted: TrustedBlock,
    restore: Restore,
}

/// What is known of snapshots, given and taken.
#[derive(Default)]
pub(crate) struct Snapshots {
    /// When somebody last asked for the frozen state.
    asked_ms: u64,
    taking: Option<Box<Taking>>,
    tries: u32,
    failures: u32,
}

impl Snapshots {
    /// The peer from which a snapshot is being taken.
    pub(crate) fn giver(&self) -> Option<PeerId> {
        self.taking.as_ref().map(|taking| taking.peer)
    }

    /// The next request to a peer, if a snapshot comes from it and is worth another try.
    pub(crate) fn request(&self, peer: &PeerId) -> Option<Request> {
        let taking = self.taking.as_ref().filter(|taking| taking.peer == *peer)?;
        if !self.are_hopeful() {
            return None;
        }
        let (height, place) = (taking.trusted.block.header.height, taking.restore.next()?);
        let (depth, prefix) = (place.depth as u64, Digest(place.prefix));
        Some(Request::Part { height, depth, prefix })
    }

    /// Forgets failures: blocks were not to be had either.
    pub(crate) fn hope(&mut self) {
        self.failures = 0;
    }

    /// Whether snapshots are worth another try.
    pub(crate) fn are_hopeful(&self) -> bool {
        self.failures < MOST_FAILURES
    }
}

impl Engine {
    /// Answers [`Request::Snapshot`].
    pub(crate) fn offer(&mut self, above: u64) -> Result<Offer, EngineError> {
        let (newest, now) = (self.ledger.height(), self.steady_ms);
        if newest == 0 || newest <= above {
            return Ok(Offer::Nothing);
        }
        let idle = now.saturating_sub(self.snapshots.asked_ms) > OFFER_IDLE_MS;
        let age = self.ledger.frozen_height().map(|height| newest - height);
        let usable =
            age.is_some_and(|age| age < MOST_OFFER_BLOCKS && (age < OFFER_BLOCKS || !idle));
        if !usable {
            self.ledger.freeze()?;
        }
        self.snapshots.asked_ms = now;
        let ready = self.ledger.prepare_frozen()?;
        let Some(height) = self.ledger.frozen_height().filter(|_| ready) else {
            return Ok(Offer::Preparing);
        };
        let (block, certificate) = match self.ledger.block(height) {
            Ok(Some(found)) => found,
            // This node keeps fewer blocks than the frozen state is old.
            Ok(None) | Err(LedgerError::Pruned { .. }) => {
                self.ledger.thaw();
                return Ok(Offer::Nothing);
            }
            Err(error) => return Err(error.into()),
        };
        let mut links = self.ledger.handovers(above, MOST_LINKS)?;
        links.retain(|link| link.header.height < height);
        let committed =
            CommittedBlock { block: Bytes(block.to_bytes()), certificate: Bytes(certificate) };
        Ok(Offer::Ready { committed, links })
    }

    /// Answers [`Request::Part`].
    pub(crate) fn part(
        &mut self,
        height: u64,
        depth: u64,
        prefix: Digest,
    ) -> Result<SnapshotPart, EngineError> {
        self.snapshots.asked_ms = self.steady_ms;
        let depth = usize::try_from(depth).unwrap_or(usize::MAX);
        if self.ledger.frozen_height() != Some(height) || depth > 256 {
            return Ok(SnapshotPart::Gone);
        }
        Ok(match self.ledger.part(&Place { depth, prefix: prefix.0 })? {
            None => SnapshotPart::Gone,
            Some(Part::Split(hashes)) => SnapshotPart::Split(hashes),
            Some(Part::Rows(rows)) => {
                let row = |(key, value)| StateRow { key: Bytes(key), value: Bytes(value) };
                SnapshotPart::Rows(rows.into_iter().map(row).collect())
            }
        })
    }

    /// Lets a frozen state go that nobody asks for, or that has become dear.
    pub(crate) fn let_go(&mut self) {
        let idle = self.steady_ms.saturating_sub(self.snapshots.asked_ms) > OFFER_IDLE_MS;
        let dear = self.ledger.frozen_nodes() > MOST_FROZEN_NODES;
        if self.ledger.frozen_height().is_some() && (idle || dear) {
            self.ledger.thaw();
        }
    }

    /// Takes the answer to [`Request::Snapshot`]; false when the peer is of no use.
    pub(crate) fn on_offer(&mut self, peer: &PeerId, bytes: &[u8]) -> Result<bool, EngineError> {
        match Offer::from_bytes(bytes) {
            Ok(Offer::Preparing) if self.snapshots.tries < MOST_TRIES => {
                self.snapshots.tries += 1;
                return Ok(true);
            }
            Ok(Offer::Ready { committed, links }) => match trust(&self.ledger, &committed, links) {
                Ok(trusted) => {
                    self.begin_taking(*peer, trusted);
                    return Ok(true);
                }
                Err(OfferError::Ledger(error)) => return Err(error.into()),
                Err(error) => refused(peer, &error),
            },
            Ok(Offer::Preparing | Offer::Nothing) => {}
            Err(error) => refused(peer, &error),
        }
        self.snapshots.tries = 0;
        self.snapshots.failures += 1;
        Ok(false)
    }

    /// Begins with a trusted block, or goes on when it is the one of which parts are there.
    fn begin_taking(&mut self, peer: PeerId, trusted: TrustedBlock) {
        self.snapshots.tries = 0;
        match &mut self.snapshots.taking {
            Some(taking) if taking.trusted.block.header == trusted.block.header => {
                taking.peer = peer;
            }
            taking => {
                let restore = Restore::new(trusted.block.header.clone());
                *taking = Some(Box::new(Taking { peer, trusted, restore }));
            }
        }
    }

    /// Takes the answer to [`Request::Part`]; false when the peer is of no use.
    pub(crate) fn on_part(&mut self, peer: &PeerId, bytes: &[u8]) -> Result<bool, EngineError> {
        let Some(taking) = &mut self.snapshots.taking else { return Ok(true) };
        let part = match SnapshotPart::from_bytes(bytes) {
            Ok(SnapshotPart::Split(hashes)) => Part::Split(hashes),
            Ok(SnapshotPart::Rows(rows)) => {
                Part::Rows(rows.into_iter().map(|row| (row.key.0, row.value.0)).collect())
            }
            // It has another state by now: it offers that one next.
            Ok(SnapshotPart::Gone) => {
                self.snapshots.taking = None;
                self.snapshots.failures += 1;
                return Ok(true);
            }
            Err(error) => {
                refused(peer, &error);
                self.snapshots.failures += 1;
                return Ok(false);
            }
        };
        if let Err(error) = taking.restore.take(part) {
            refused(peer, &error);
            self.snapshots.failures += 1;
            return Ok(false);
        }
        if taking.restore.next().is_none() {
            return self.take_over(peer);
        }
        Ok(true)
    }

    /// All parts are there: the state becomes this node's own.
    fn take_over(&mut self, peer: &PeerId) -> Result<bool, EngineError> {
        let Some(taking) = self.snapshots.taking.take() else { return Ok(true) };
        let Taking { trusted: TrustedBlock { block, certificate, links }, restore, .. } = *taking;
        let forget: Batch = self.votes_up_to(block.header.height)?;
        match self.ledger.adopt(&block, &certificate, &links, restore, &forget) {
            Ok(()) => {
                self.snapshots.failures = 0;
                self.after_adoption(&block)?;
                Ok(true)
            }
            Err(AdoptError::Ledger(error @ LedgerError::Store(_))) => Err(error.into()),
            Err(error) => {
                refused(peer, &error);
                self.snapshots.failures += 1;
                Ok(false)
            }
        }
    }

    /// Forgets a snapshot that is no longer needed: blocks have brought this node further.
    pub(crate) fn drop_taking(&mut self) {
        let height = self.ledger.height();
        let passed = |taking: &Taking| taking.trusted.block.header.height <= height;
        if self.snapshots.taking.as_deref().is_some_and(passed) {
            self.snapshots.taking = None;
        }
    }
}

fn refused(peer: &PeerId, error: &dyn std::fmt::Display) {
    tracing::warn!(peer = %NodeKey(*peer).short(), %error, "a snapshot was refused");
}
