//! The ledger of one node: committed state, its tree, and the blocks that made it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anthill_merkle::rfc9162::{self, Sha256Tree};
use anthill_store::{Batch, Store, prefix_end};
use anthill_types::bank::CREDITS;
use anthill_types::block::{HEADER_VERSION, MAX_BLOCK_BYTES, MAX_TRANSACTIONS, ROOT_TLR};
use anthill_types::state::Account;
use anthill_types::{
    AccountId, BeaconValue, Block, BlockHash, Bytes, Digest, Genesis, GenesisHash, Handover,
    Header, OptionalRoot, SignedTransaction, ValidatorKey, ValidatorSet, Wire, keys,
};

use crate::error::{BlockError, LedgerError, TransactionError};
use crate::execute::{self, Base, BlockInput, Executed, Mode};
use crate::focus::{self, Ranking};
use crate::parallel;
use crate::state::State;
use crate::state_tree::{StateProof, StateTree, WriteSet};
use crate::{Parallel, Sequential};
use crate::{conservation, genesis, undo};

const BLOCKS: &[u8] = b"\x01block/";
const CERTIFICATES: &[u8] = b"\x01certificate/";
/// Header, certificate and next set ([`Handover`]) of each height where the set changes.
const HANDOVERS: &[u8] = b"\x01handover/";
const GENESIS: &[u8] = b"\x01genesis";
/// Height of the oldest block that is kept; none when that is block 1.
const OLDEST: &[u8] = b"\x01oldest";
/// Signatures remembered as checked.
const MAX_CHECKED: usize = 65_536;
/// Old blocks removed with one commit, so that a node that begins to prune does not stand still.
const PRUNED_AT_ONCE: u64 = 64;

/// How much of the past a node keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Heights below the newest that can be proved.
    pub proofs: u64,
    /// Newest blocks that are kept; all when there is no number. A node that prunes cannot help
    /// those that are further behind.
    pub blocks: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { proofs: 256, blocks: None }
    }
}

/// The state of one chain in one store.
pub struct Ledger {
    pub(crate) store: Arc<dyn Store>,
    genesis: Genesis,
    genesis_hash: GenesisHash,
    pub(crate) state: StateTree,
    pub(crate) tip: Option<Header>,
    retention: Retention,
    executed: BTreeMap<BlockHash, Executed>,
    checked: BTreeSet<Digest>,
    pub(crate) ranking: Ranking,
    pub(crate) parallel: Arc<dyn Parallel>,
}

fn at(prefix: &[u8], height: u64) -> Vec<u8> {
    [prefix, &height.to_be_bytes()].concat()
}

/// RFC 9162 root over the transactions' canonical bytes.
fn transaction_root(transactions: &[SignedTransaction]) -> Digest {
    let bytes: Vec<Vec<u8>> = transactions.iter().map(Wire::to_bytes).collect();
    Digest(rfc9162::root::<Sha256Tree>(&bytes))
}

/// Hash of an encoded block's header, or `None` when the bytes are no block or the header's
/// transaction root is not that of the body: so the hash binds every byte.
pub fn block_hash(bytes: &[u8]) -> Option<[u8; 32]> {
    let block = Block::from_bytes(bytes).ok()?;
    let bound = block.header.transaction_root == transaction_root(&block.transactions);
    bound.then(|| block.header.hash().0)
}

impl Ledger {
    /// Opens the chain in `store`, or begins it from the genesis.
    ///
    /// # Errors
    /// The store holds another chain, is damaged, or does not add up.
    pub fn open(store: Arc<dyn Store>, genesis: Genesis) -> Result<Self, LedgerError> {
        Self::open_keeping(store, genesis, Retention::default())
    }

    /// As [`Ledger::open`], saying how much of the past to keep.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_keeping(
        store: Arc<dyn Store>,
        genesis: Genesis,
        retention: Retention,
    ) -> Result<Self, LedgerError> {
        let genesis_hash = genesis.hash();
        match store.get(GENESIS)? {
            None => begin(&store, &genesis)?,
            Some(found) if found == genesis.to_bytes() => {}
            Some(found) => {
                let found = Genesis::from_bytes(&found)?.hash().to_string();
                let expected = genesis_hash.to_string();
                return Err(LedgerError::OtherChain { found, expected });
            }
        }
        let (state, totals) = StateTree::load(store.clone())?;
        let tip = tip(store.as_ref(), &state)?;
        conservation::check_books(tip.as_ref().map_or(0, |header| header.height), &totals)?;
        let (executed, checked) = (BTreeMap::new(), BTreeSet::new());
        let ranking = Ranking::load(store.as_ref())?;
        let parallel = Arc::new(Sequential);
        Ok(Self {
            store,
            genesis,
            genesis_hash,
            state,
            tip,
            retention,
            executed,
            checked,
            ranking,
            parallel,
        })
    }

    /// Has signatures checked, and focus computed, on the caller's threads from now on.
    pub fn set_parallel(&mut self, parallel: Arc<dyn Parallel>) {
        self.parallel = parallel;
    }

    /// Adds up the whole state: held + burned = minted in every denomination. Gives the totals of
    /// credits.
    ///
    /// # Errors
    /// [`LedgerError::Conservation`] when it does not add up.
    pub fn audit(&self) -> Result<conservation::Totals, LedgerError> {
        let books = conservation::audit_all(self.store.as_ref())?;
        conservation::check_books(self.height(), &books)?;
        Ok(books.of(CREDITS))
    }

    /// The chain's name.
    pub fn genesis_hash(&self) -> &GenesisHash {
        &self.genesis_hash
    }

    /// The genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Number of keys of the state.
    pub fn keys(&self) -> usize {
        self.state.keys()
    }

    /// The committed state, to read.
    pub fn state(&self) -> Result<State<'_>, LedgerError> {
        State::open(self.store.as_ref())
    }

    /// The newest header; none before the first block.
    pub fn tip(&self) -> Option<&Header> {
        self.tip.as_ref()
    }

    /// Height of the newest block.
    pub fn height(&self) -> u64 {
        self.tip.as_ref().map_or(0, |h| h.height)
    }

    /// Hash of the newest header; zeros before the first block.
    pub fn tip_hash(&self) -> BlockHash {
        self.tip.as_ref().map(Header::hash).unwrap_or_default()
    }

    /// The state root.
    pub fn root(&self) -> Digest {
        self.state.root()
    }

    /// The store beneath, for the node's own rows (keys that begin with byte 2 or above).
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Checks a transaction's signature and remembers the result; returns the sender's due sequence.
    ///
    /// # Errors
    /// The signature is wrong, or the transaction could not apply on the committed state.
    pub fn check_transaction(
        &mut self,
        signed: &SignedTransaction,
    ) -> Result<u64, TransactionError> {
        let found = self.check_signatures(std::slice::from_ref(signed));
        if !found.first().is_some_and(|(_, right)| *right) {
            return Err(TransactionError::Signature);
        }
        Ok(self.due_sequence(&signed.transaction.sender)?)
    }

    /// Checks signatures, on all threads that there are, and remembers those that are right; gives
    /// the transactions' ids and whether their signatures are.
    pub fn check_signatures(&mut self, transactions: &[SignedTransaction]) -> Vec<(Digest, bool)> {
        let found = self.signatures(transactions);
        for (id, _) in found.iter().filter(|(_, right)| *right) {
            if self.checked.len() >= MAX_CHECKED {
                self.checked.clear();
            }
            self.checked.insert(*id);
        }
        found
    }

    fn signatures(&self, transactions: &[SignedTransaction]) -> Vec<(Digest, bool)> {
        let checked = &self.checked;
        let is_known = |id: &Digest| checked.contains(id);
        parallel::check(self.parallel.as_ref(), &self.genesis_hash, transactions, &is_known)
    }

    /// An account's next sequence number.
    pub fn due_sequence(&self, account: &AccountId) -> Result<u64, LedgerError> {
        let account = self.store.get(&keys::account(account))?;
        let account = account.map(|bytes| Account::from_bytes(&bytes)).transpose()?;
        Ok(account.unwrap_or_default().sequence)
    }

    /// Tries a transaction on the committed state and drops the result.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn dry_run(&self, signed: &SignedTransaction) -> Result<(), TransactionError> {
        let mut state = self.state()?;
        execute::apply(&mut state, &self.genesis_hash, signed)
    }

    /// Builds the next block from those candidates that apply.
    ///
    /// # Errors
    /// The ledger fails, or `reveal` or `proposer` are wrong.
    pub fn build(
        &mut self,
        proposer: ValidatorKey,
        reveal: Option<BeaconValue>,
        now_ms: u64,
        candidates: Vec<SignedTransaction>,
    ) -> Result<Block, BlockError> {
        let before = self.tip.as_ref().map_or(self.genesis.time_ms, |h| h.time_ms);
        let input = BlockInput {
            height: self.height() + 1,
            previous: self.tip_hash(),
            time_ms: now_ms.max(before + 1),
            proposer,
            reveal,
        };
        let executed = self.run(&input, &candidates, Mode::Build)?;
        let keep: BTreeSet<usize> = executed.applied.iter().copied().collect();
        let transactions: Vec<_> = candidates
            .into_iter()
            .enumerate()
            .filter_map(|(i, t)| keep.contains(&i).then_some(t))
            .collect();
        let header = self.header(&input, &transactions, &executed)?;
        self.remember(header.hash(), executed);
        Ok(Block { header, transactions })
    }

    fn run(
        &mut self,
        input: &BlockInput,
        transactions: &[SignedTransaction],
        mode: Mode,
    ) -> Result<Executed, BlockError> {
        let right: Vec<bool> =
            self.signatures(transactions).into_iter().map(|(_, right)| right).collect();
        let view = self.store.frozen().map_err(LedgerError::from)?;
        let parallel = self.parallel.clone();
        let base = Base {
            store: view.as_ref(),
            genesis: &self.genesis_hash,
            ranking: &mut self.ranking,
            parallel: parallel.as_ref(),
        };
        execute::execute(base, input, transactions, mode, &right)
    }

    fn header(
        &mut self,
        input: &BlockInput,
        transactions: &[SignedTransaction],
        executed: &Executed,
    ) -> Result<Header, LedgerError> {
        let state_root = self.state.root_with(&executed.writes);
        let validators = self.state()?.validators()?.hash();
        let mut roots = executed.graph.roots().to_vec();
        roots.push(OptionalRoot { kind: ROOT_TLR, root: executed.tlr });
        Ok(Header {
            version: HEADER_VERSION,
            genesis: self.genesis_hash,
            height: input.height,
            previous: input.previous,
            time_ms: input.time_ms,
            proposer: input.proposer,
            state_root,
            transaction_root: transaction_root(transactions),
            validators,
            next_validators: executed.next_validators.hash(),
            reveal: input.reveal,
            roots,
        })
    }

    /// Executes a proposed block and compares its header, field by field.
    ///
    /// # Errors
    /// [`BlockError`] saying what is wrong.
    pub fn check(&mut self, block: &Block) -> Result<(), BlockError> {
        let hash = block.header.hash();
        let header = &block.header;
        let wrong = |field| BlockError::Header { height: header.height, field };
        if block.transactions.len() > MAX_TRANSACTIONS {
            return Err(wrong("number of transactions"));
        }
        // The hash covers the header alone, so a remembered hash says nothing of the body.
        if header.transaction_root != transaction_root(&block.transactions) {
            return Err(wrong("transaction root"));
        }
        if self.executed.contains_key(&hash) {
            return Ok(());
        }
        let size: usize = block.transactions.iter().map(|t| t.to_bytes().len()).sum();
        if size > MAX_BLOCK_BYTES {
            return Err(wrong("size"));
        }
        if header.previous != self.tip_hash() {
            return Err(wrong("previous hash"));
        }
        let input = BlockInput {
            height: header.height,
            previous: header.previous,
            time_ms: header.time_ms,
            proposer: header.proposer,
            reveal: header.reveal,
        };
        let executed = self.run(&input, &block.transactions, Mode::Verify)?;
        let expected = self.header(&input, &block.transactions, &executed)?;
        for (field, same) in [
            ("version", header.version == expected.version),
            ("genesis hash", header.genesis == expected.genesis),
            ("state root", header.state_root == expected.state_root),
            ("validator set", header.validators == expected.validators),
            ("next validator set", header.next_validators == expected.next_validators),
            ("optional roots", header.roots == expected.roots),
        ] {
            if !same {
                return Err(wrong(field));
            }
        }
        self.remember(hash, executed);
        Ok(())
    }

    fn remember(&mut self, hash: BlockHash, executed: Executed) {
        if self.executed.len() >= 16 {
            self.executed.clear();
        }
        self.executed.insert(hash, executed);
    }

    /// Makes an agreed block durable: state, tree rows, block and certificate in one commit.
    /// `with` are rows of the node itself (keys that do not begin with `/`) for the same commit.
    /// Returns the state writes.
    ///
    /// # Errors
    /// The block does not check, or the store fails (then nothing was written).
    pub fn commit(
        &mut self,
        block: &Block,
        certificate: &[u8],
        with: &Batch,
    ) -> Result<Batch, BlockError> {
        self.check(block)?;
        let hash = block.header.hash();
        let executed = self
            .executed
            .remove(&hash)
            .ok_or(BlockError::Header { height: block.header.height, field: "execution" })?;
        let height = block.header.height;
        let mut extra = self.prunable(height)?;
        extra.extend(with.iter().map(|(k, v)| (k.clone(), v.clone())));
        extra.extend(block_rows(block, certificate, &executed.next_validators));
        extra.extend(executed.graph.row(height));
        self.state.commit(height, &executed.writes, self.retention.proofs, extra)?;
        self.tip = Some(block.header.clone());
        self.executed.clear();
        self.ranking.commit(executed.graph)?;
        Ok(executed.writes.into_batch())
    }

    /// Removal of the oldest blocks that need not be kept once `height` is there.
    fn prunable(&self, height: u64) -> Result<Batch, LedgerError> {
        let mut rows = Batch::new();
        let Some(keep) = self.retention.blocks else { return Ok(rows) };
        let oldest = oldest_block(self.store.as_ref())?;
        let until = (height + 1).saturating_sub(keep.max(1)).min(oldest + PRUNED_AT_ONCE);
        for old in oldest..until {
            rows.insert(at(BLOCKS, old), None);
            rows.insert(at(CERTIFICATES, old), None);
            rows.insert(focus::delta_key(old), None);
        }
        if until > oldest {
            rows.insert(OLDEST.to_vec(), Some(until.to_be_bytes().to_vec()));
        }
        Ok(rows)
    }

    /// The changes of the validator set above a height, in order, at most `limit`.
    ///
    /// # Errors
    /// The store fails.
    pub fn handovers(&self, above: u64, limit: usize) -> Result<Vec<Handover>, LedgerError> {
        stored_handovers(self.store.as_ref(), above, limit)
    }

    /// Removal of all blocks, when `height` is the oldest from now on.
    pub(crate) fn oldest_from(&self, height: u64) -> Result<Batch, LedgerError> {
        let gone = oldest_block(self.store.as_ref())?..=self.height();
        let gone =
            gone.flat_map(|old| [at(BLOCKS, old), at(CERTIFICATES, old), focus::delta_key(old)]);
        let mut rows: Batch = gone.map(|key| (key, None)).collect();
        rows.insert(OLDEST.to_vec(), Some(height.to_be_bytes().to_vec()));
        Ok(rows)
    }

    /// Forgets the executions that were made on another state.
    pub(crate) fn forget_executed(&mut self) {
        self.executed.clear();
    }

    /// A committed block with its certificate's bytes.
    pub fn block(&self, height: u64) -> Result<Option<(Block, Vec<u8>)>, LedgerError> {
        stored_block(self.store.as_ref(), height)
    }

    /// Height of the oldest block that is kept.
    ///
    /// # Errors
    /// The store fails.
    pub fn oldest_block(&self) -> Result<u64, LedgerError> {
        oldest_block(self.store.as_ref())
    }

    /// Proves a key's value, or its absence, against the newest state root.
    ///
    /// # Errors
    /// The store fails.
    pub fn prove(&self, key: &[u8]) -> Result<StateProof, LedgerError> {
        self.state.prove(key)
    }

    /// The oldest height that [`Ledger::prove_at`] knows.
    ///
    /// # Errors
    /// The store fails.
    pub fn oldest_provable(&self) -> Result<u64, LedgerError> {
        let first = self.store.prefix(undo::UNDO, 1)?.pop();
        let height = first.and_then(|(key, _)| key[undo::UNDO.len()..].try_into().ok());
        let undone = height.map_or(self.height(), |row| u64::from_be_bytes(row).saturating_sub(1));
        let wanted = self.height().saturating_sub(self.retention.proofs);
        Ok(undone.max(wanted).max(self.oldest_block()?))
    }

    /// Proves a key's value, or its absence, as it was after the block at `height`, against the
    /// state root in that block's header.
    ///
    /// # Errors
    /// [`LedgerError::NotProvable`] beyond what is kept, [`LedgerError::Pruned`] when the block
    /// itself is gone; the store fails.
    pub fn prove_at(&self, height: u64, key: &[u8]) -> Result<StateProof, LedgerError> {
        let (newest, oldest) = (self.height(), self.oldest_provable()?);
        if height < oldest || height > newest {
            return Err(LedgerError::NotProvable { asked: height, oldest, newest });
        }
        let (block, _) = self.block(height)?.ok_or(LedgerError::Missing("block"))?;
        let (root, proof) = self.state.prove_at(height, newest, key)?;
        same_root(height, root, block.header.state_root)?;
        Ok(proof)
    }
}

/// The rows of a block; `next` is the set that signs the one after it.
pub(crate) fn block_rows(block: &Block, certificate: &[u8], next: &ValidatorSet) -> Batch {
    let header = &block.header;
    let mut rows = Batch::from([
        (at(BLOCKS, header.height), Some(block.to_bytes())),
        (at(CERTIFICATES, header.height), Some(certificate.to_vec())),
    ]);
    if header.validators != header.next_validators {
        let certificate = Bytes(certificate.to_vec());
        let link = Handover { header: header.clone(), certificate, validators: next.clone() };
        rows.extend(handover_rows(&[link]));
    }
    rows
}

/// The rows of changes of the validator set; they outlive their blocks.
pub(crate) fn handover_rows(links: &[Handover]) -> Batch {
    let row = |link: &Handover| (at(HANDOVERS, link.header.height), Some(link.to_bytes()));
    links.iter().map(row).collect()
}

/// Writes the genesis state.
fn begin(store: &Arc<dyn Store>, genesis: &Genesis) -> Result<(), LedgerError> {
    let mut state = State::open(store.as_ref())?;
    genesis::apply(&mut state, genesis)?;
    let writes = WriteSet::new(store.as_ref(), state.into_batch())?;
    let extra = Batch::from([(GENESIS.to_vec(), Some(genesis.to_bytes()))]);
    let (mut state, _) = StateTree::load(store.clone())?;
    state.commit(0, &writes, 0, extra)?;
    Ok(())
}

/// The newest block's header, if its root is that of the state.
fn tip(store: &dyn Store, state: &StateTree) -> Result<Option<Header>, LedgerError> {
    let height = State::open(store)?.height();
    if height == 0 {
        return Ok(None);
    }
    let (block, _) = stored_block(store, height)?.ok_or(LedgerError::Missing("newest block"))?;
    same_root(height, state.root(), block.header.state_root)?;
    Ok(Some(block.header))
}

fn same_root(height: u64, found: Digest, expected: Digest) -> Result<(), LedgerError> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (found.to_string(), expected.to_string());
    Err(LedgerError::Root { height, found, expected })
}

fn oldest_block(store: &dyn Store) -> Result<u64, LedgerError> {
    let Some(row) = store.get(OLDEST)? else { return Ok(1) };
    let row = row.try_into().map_err(|_| LedgerError::Missing("height of the oldest block"))?;
    Ok(u64::from_be_bytes(row))
}

/// A committed block of a store with its certificate, by height.
///
/// # Errors
/// [`LedgerError::Pruned`] for a block below the oldest kept; the store fails, or what it holds is
/// damaged.
pub fn stored_block(
    store: &dyn Store,
    height: u64,
) -> Result<Option<(Block, Vec<u8>)>, LedgerError> {
    let Some(block) = store.get(&at(BLOCKS, height))? else {
        let oldest = oldest_block(store)?;
        let pruned = height > 0 && height < oldest;
        let error = LedgerError::Pruned { asked: height, oldest };
        return if pruned { Err(error) } else { Ok(None) };
    };
    let certificate = store.get(&at(CERTIFICATES, height))?;
    let certificate = certificate.ok_or(LedgerError::Missing("certificate"))?;
    Ok(Some((Block::from_bytes(&block)?, certificate)))
}

/// The changes of the validator set of a store above a height, in order, at most `limit`.
///
/// # Errors
/// The store fails, or what it holds is damaged.
pub fn stored_handovers(
    store: &dyn Store,
    above: u64,
    limit: usize,
) -> Result<Vec<Handover>, LedgerError> {
    let (start, end) = (at(HANDOVERS, above.saturating_add(1)), prefix_end(HANDOVERS));
    let rows = store.range(&start, end.as_deref(), limit)?;
    rows.iter().map(|(_, value)| Ok(Handover::from_bytes(value)?)).collect()
}
