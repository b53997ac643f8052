//! A whole state handed from one node to another, each part of it checked against a trusted root.
//!
//! The giver freezes its store and pins its tree at one height. The taker begins with the state root
//! of a header that it trusts and asks for subtrees: an answer is either the hashes of the nodes
//! below, which must lead to the hash that is known, or the rows of the whole subtree, which must
//! hash to it. So every answer is checked alone, by 32 bytes that came from the header; a wrong one
//! is known at once and names its sender, and nothing is written before all is there.

use anthill_merkle::smt::{self, KeyHash, PLACEHOLDER, Tree, key_hash, subtree_root, value_hash};
use anthill_store::{Batch, Row, Store};
use anthill_types::state::ChainState;
use anthill_types::{Block, Digest, Handover, Header, ValidatorSet, Wire, keys};
use thiserror::Error;

use crate::chain::{Ledger, block_rows, handover_rows};
use crate::conservation::{self, Books};
use crate::error::LedgerError;
use crate::focus::Ranking;
use crate::state_tree::{STATE, StateTree};
use crate::undo;

/// Most rows of one part.
pub const MAX_PART_ROWS: usize = 1_024;
/// Bytes beyond which a part of several rows is divided.
pub const MAX_PART_BYTES: usize = 1 << 20;
/// Levels that one answer goes down at most: it has up to `1 << MAX_LEVELS` hashes.
pub const MAX_LEVELS: u32 = 6;
/// Keys read in one step while a frozen state is prepared.
const PREPARED_AT_ONCE: usize = 32_768;

/// A part of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// It is too large: hashes of the nodes some levels below, from left to right.
    Split(Vec<Digest>),
    /// Its rows, in ascending order of key hash.
    Rows(Vec<Row>),
}

/// Where a part lies: so many bits of a path from the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bits.
    pub depth: usize,
    /// The path; the other bits are zero.
    pub prefix: KeyHash,
}

/// Why a part, or the whole, was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// No part is asked for.
    #[error("no part of a snapshot is asked for")]
    Unasked,
    /// The hashes do not lead to the subtree's own.
    #[error("{0} hashes do not lead to the subtree's hash; refuse their sender")]
    Hashes(usize),
    /// The tree has no such depth.
    #[error("a part lies deeper than the tree can be; refuse its sender")]
    TooDeep,
    /// The rows are not those of the subtree.
    #[error("{0} rows do not hash to the subtree's hash; refuse their sender")]
    Rows(usize),
    /// A row lies outside the state.
    #[error("a row's key is none of the state's; refuse its sender")]
    Key,
    /// Parts are missing.
    #[error("{0} parts of the snapshot are still missing")]
    Incomplete(usize),
    /// The state is not that of the header.
    #[error("the snapshot is not the state of block {height}: {what}")]
    State {
        /// The header's height.
        height: u64,
        /// What does not fit.
        what: &'static str,
    },
}

/// What a giver holds on to.
pub(crate) struct Frozen {
    height: u64,
    store: Box<dyn Store>,
    /// Keys by their hash; sorted when all are there.
    index: Vec<(KeyHash, Vec<u8>)>,
    /// Where reading goes on; none when all are there.
    next: Option<Vec<u8>>,
}

impl Frozen {
    /// Reads some more keys.
    fn prepare(&mut self) -> Result<(), LedgerError> {
        let Some(start) = self.next.take() else { return Ok(()) };
        let end = anthill_store::prefix_end(STATE);
        let page = self.store.range(&start, end.as_deref(), PREPARED_AT_ONCE)?;
        match page.last() {
            Some((last, _)) => self.next = Some([last.as_slice(), &[0]].concat()),
            None => self.index.sort_unstable(),
        }
        self.index.extend(page.into_iter().map(|(key, _)| (key_hash(&key), key)));
        Ok(())
    }

    fn row(&self, at: &KeyHash) -> Result<Row, LedgerError> {
        let found = self.index.binary_search_by(|(hash, _)| hash.cmp(at));
        let (_, key) = found
            .ok()
            .and_then(|place| self.index.get(place))
            .ok_or(LedgerError::Missing("key of a frozen state"))?;
        let value = self.store.get(key)?.ok_or(LedgerError::Missing("value of a frozen state"))?;
        Ok((key.clone(), value))
    }

    /// The rows; none when there are too many bytes for one part.
    fn rows(&self, keys: &[KeyHash]) -> Result<Option<Vec<Row>>, LedgerError> {
        let (mut rows, mut bytes) = (Vec::with_capacity(keys.len()), 0);
        for at in keys {
            let row = self.row(at)?;
            bytes += row.0.len() + row.1.len();
            if bytes > MAX_PART_BYTES && keys.len() > 1 {
                return Ok(None);
            }
            rows.push(row);
        }
        Ok(Some(rows))
    }
}

impl Ledger {
    /// Freezes the state as it is now, to be handed on; one frozen before is let go.
    ///
    /// # Errors
    /// The store fails.
    pub fn freeze(&mut self) -> Result<(), LedgerError> {
        let store = self.store.frozen()?;
        self.state.tree.pin();
        let (height, index, next) = (self.height(), Vec::new(), Some(STATE.to_vec()));
        self.state.frozen = Some(Frozen { height, store, index, next });
        Ok(())
    }

    /// Lets the frozen state go.
    pub fn thaw(&mut self) {
        self.state.tree.unpin();
        self.state.frozen = None;
    }

    /// Height of the frozen state.
    pub fn frozen_height(&self) -> Option<u64> {
        self.state.frozen.as_ref().map(|frozen| frozen.height)
    }

    /// Nodes that are kept for the frozen state alone: what it costs.
    pub fn frozen_nodes(&self) -> usize {
        self.state.tree.pinned_nodes()
    }

    /// Prepares the frozen state a step further; true when parts of it can be had.
    ///
    /// # Errors
    /// The store fails.
    pub fn prepare_frozen(&mut self) -> Result<bool, LedgerError> {
        let Some(frozen) = &mut self.state.frozen else { return Ok(false) };
        frozen.prepare()?;
        Ok(frozen.next.is_none())
    }

    /// A part of the frozen state; none when there is no such state or part.
    ///
    /// # Errors
    /// The store fails.
    pub fn part(&self, place: &Place) -> Result<Option<Part>, LedgerError> {
        let ready = self.state.frozen.as_ref().filter(|frozen| frozen.next.is_none());
        let (Some(frozen), Some(view)) = (ready, self.state.tree.pinned()) else { return Ok(None) };
        if let Some(keys) = view.keys_under(&place.prefix, place.depth, MAX_PART_ROWS)
            && let Some(rows) = frozen.rows(&keys)?
        {
            return Ok(Some(Part::Rows(rows)));
        }
        let parts = view.parts(&place.prefix, place.depth, MAX_LEVELS);
        Ok(parts.map(|parts| Part::Split(parts.into_iter().map(Digest).collect())))
    }
}

/// A state that is being taken over.
#[derive(Debug)]
pub struct Restore {
    header: Header,
    /// Subtrees that are missing, with their hashes.
    missing: Vec<(Place, smt::Root)>,
    rows: Vec<Row>,
}

impl Restore {
    /// Begins with a header that the caller trusts.
    pub fn new(trusted: Header) -> Self {
        let place = Place { depth: 0, prefix: [0; 32] };
        let missing = match trusted.state_root.0 {
            PLACEHOLDER => Vec::new(),
            root => vec![(place, root)],
        };
        Self { header: trusted, missing, rows: Vec::new() }
    }

    /// The trusted header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The part to ask for next; none when all is there.
    pub fn next(&self) -> Option<Place> {
        self.missing.last().map(|(place, _)| *place)
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Takes the part that [`Restore::next`] has named.
    ///
    /// # Errors
    /// It is not that part; nothing has changed then.
    pub fn take(&mut self, part: Part) -> Result<(), SnapshotError> {
        let (place, hash) = *self.missing.last().ok_or(SnapshotError::Unasked)?;
        match part {
            Part::Split(hashes) => {
                let below = below(&place, &hash, &hashes)?;
                self.missing.pop();
                self.missing.extend(below);
            }
            Part::Rows(rows) => {
                check_rows(&place, &hash, &rows)?;
                self.missing.pop();
                self.rows.extend(rows);
            }
        }
        Ok(())
    }
}

/// The subtrees below `place` whose hashes are given, without the empty ones.
fn below(
    place: &Place,
    hash: &smt::Root,
    hashes: &[Digest],
) -> Result<Vec<(Place, smt::Root)>, SnapshotError> {
    let plain: Vec<smt::Root> = hashes.iter().map(|hash| hash.0).collect();
    if plain.len() > 1 << MAX_LEVELS || smt::fold(&plain) != Some(*hash) {
        return Err(SnapshotError::Hashes(plain.len()));
    }
    let levels = plain.len().ilog2() as usize;
    if place.depth + levels > smt::MAX_DEPTH {
        return Err(SnapshotError::TooDeep);
    }
    let at = |number: usize| {
        let mut prefix = place.prefix;
        for level in 0..levels {
            let (bit, depth) = (number >> (levels - 1 - level) & 1, place.depth + level);
            prefix[depth / 8] |= (bit as u8) << (7 - depth % 8);
        }
        Place { depth: place.depth + levels, prefix }
    };
    // From the right, so that they are taken from the left.
    let full = plain.iter().enumerate().rev().filter(|(_, hash)| **hash != PLACEHOLDER);
    Ok(full.map(|(number, hash)| (at(number), *hash)).collect())
}

fn check_rows(place: &Place, hash: &smt::Root, rows: &[Row]) -> Result<(), SnapshotError> {
    if rows.iter().any(|(key, _)| !key.starts_with(STATE)) {
        return Err(SnapshotError::Key);
    }
    let leaves: Vec<_> =
        rows.iter().map(|(key, value)| (key_hash(key), value_hash(value))).collect();
    let same = subtree_root(place.depth, &leaves) == Some(*hash);
    if !same && !anthill_types::planted!(SkipSnapshotRoot) {
        return Err(SnapshotError::Rows(rows.len()));
    }
    Ok(())
}

impl Ledger {
    /// Takes over a whole state in one commit: its rows, the block that it is the state of, and
    /// that block's certificate, with the changes of the validator set up to it. What was here
    /// before is gone. `with` are rows of the node itself.
    ///
    /// The caller has checked block and certificate; the root, the credits and the focus are checked
    /// here.
    ///
    /// # Errors
    /// Something is missing or does not fit, or the store fails; nothing has changed then.
    pub fn adopt(
        &mut self,
        block: &Block,
        certificate: &[u8],
        links: &[Handover],
        restore: Restore,
        with: &Batch,
    ) -> Result<(), AdoptError> {
        let Restore { header, missing, rows } = restore;
        let height = header.height;
        if !missing.is_empty() {
            return Err(SnapshotError::Incomplete(missing.len()).into());
        }
        if block.header != header || height <= self.height() {
            return Err(SnapshotError::State { height, what: "the block" }.into());
        }
        let (tree, next) = check_state(&header, &rows)?;
        let ranking = Ranking::of_rows(&rows)?;
        let mut batch = self.cleared()?;
        batch.extend(rows.into_iter().map(|(key, value)| (key, Some(value))));
        batch.extend(with.iter().map(|(key, value)| (key.clone(), value.clone())));
        batch.extend(handover_rows(links));
        batch.extend(block_rows(block, certificate, &next));
        batch.extend(self.oldest_from(height)?);
        self.store.commit(&batch).map_err(LedgerError::from)?;
        self.state = StateTree::of(self.store.clone(), tree);
        self.tip = Some(header);
        self.forget_executed();
        self.ranking = ranking;
        Ok(())
    }

    /// Removal of the whole state and its undo rows.
    fn cleared(&self) -> Result<Batch, LedgerError> {
        let mut batch = Batch::new();
        for prefix in [STATE, undo::UNDO] {
            let rows = self.store.prefix(prefix, usize::MAX)?;
            batch.extend(rows.into_iter().map(|(key, _)| (key, None)));
        }
        Ok(batch)
    }
}

/// The tree of rows that are the state of a header, and the set that signs the next one.
fn check_state(header: &Header, rows: &[Row]) -> Result<(Tree, ValidatorSet), AdoptError> {
    let height = header.height;
    let wrong = |what| SnapshotError::State { height, what };
    let leaves = rows.iter().map(|(key, value)| (key_hash(key), value_hash(value)));
    let tree = Tree::from_leaves(leaves);
    if tree.root() != header.state_root.0 && !anthill_types::planted!(SkipSnapshotRoot) {
        return Err(wrong("the root").into());
    }
    let mut books = Books::default();
    for (key, value) in rows {
        books.add(key, value)?;
    }
    conservation::check_books(height, &books)?;
    let chain: Option<ChainState> = find(rows, &keys::chain())?;
    if chain.is_none_or(|chain| chain.height != height) {
        return Err(wrong("the height").into());
    }
    let next: Option<ValidatorSet> = find(rows, &keys::validator_set())?;
    match next {
        Some(next) if next.hash() == header.next_validators => Ok((tree, next)),
        _ => Err(wrong("the validators").into()),
    }
}

fn find<T: Wire>(rows: &[Row], key: &[u8]) -> Result<Option<T>, LedgerError> {
    let found = rows.iter().find(|(at, _)| at == key);
    Ok(found.map(|(_, value)| T::from_bytes(value)).transpose()?)
}

/// Why a state was not taken over.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// The snapshot is wrong.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The ledger itself failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
