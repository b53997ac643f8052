//! The ledger of one node: committed state, its tree, and the blocks that made it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anthill_merkle::rfc9162::{self, Sha256Tree};
use anthill_merkle::smt::{Proof, Tree, key_hash, value_hash};
use anthill_store::{Batch, Store, prefix_end};
use anthill_types::bank::CREDITS;
use anthill_types::block::{HEADER_VERSION, MAX_BLOCK_BYTES, MAX_TRANSACTIONS, ROOT_TLR};
use anthill_types::{
    AccountId, BeaconValue, Block, BlockHash, Bytes, Digest, Genesis, GenesisHash, Handover,
    Header, OptionalRoot, SignedTransaction, ValidatorKey, ValidatorSet, Wire,
};

use crate::error::{BlockError, LedgerError, TransactionError};
use crate::execute::{self, BlockInput, Executed, Mode};
use crate::state::State;
use crate::{bank, conservation, genesis};

/// Node-local rows live beside the state under this byte; state keys begin with `/`.
const LEAVES: &[u8] = b"\x01leaf/";
const BLOCKS: &[u8] = b"\x01block/";
const CERTIFICATES: &[u8] = b"\x01certificate/";
/// The set that signs from the next height on, at each height where it changes.
const HANDOVERS: &[u8] = b"\x01handover/";
const GENESIS: &[u8] = b"\x01genesis";
/// Signatures remembered as checked.
const MAX_CHECKED: usize = 65_536;

/// A value (or its absence) with the proof that the state root says so.
#[derive(Clone, Debug)]
pub struct StateProof {
    /// The key.
    pub key: Vec<u8>,
    /// The value, or `None` when the key is absent.
    pub value: Option<Vec<u8>>,
    /// The path to the root.
    pub proof: Proof,
}

/// The state of one chain in one store.
pub struct Ledger {
    store: Arc<dyn Store>,
    genesis: Genesis,
    genesis_hash: GenesisHash,
    tree: Tree,
    tip: Option<Header>,
    executed: BTreeMap<BlockHash, Executed>,
    checked: BTreeSet<Digest>,
}

fn at(prefix: &[u8], height: u64) -> Vec<u8> {
    [prefix, &height.to_be_bytes()].concat()
}

type Leaf = ([u8; 32], Option<[u8; 32]>);

fn leaves_of(writes: &Batch) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = writes
        .iter()
        .map(|(key, value)| (key_hash(key), value.as_ref().map(|v| value_hash(v))))
        .collect();
    leaves.sort_unstable();
    leaves
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
        let genesis_hash = genesis.hash();
        let mut ledger = Self {
            store,
            genesis,
            genesis_hash,
            tree: Tree::new(),
            tip: None,
            executed: BTreeMap::new(),
            checked: BTreeSet::new(),
        };
        match ledger.store.get(GENESIS)? {
            None => ledger.begin()?,
            Some(found) if found == ledger.genesis.to_bytes() => ledger.reload()?,
            Some(found) => {
                let found = Genesis::from_bytes(&found)?.hash().to_string();
                let expected = genesis_hash.to_string();
                return Err(LedgerError::OtherChain { found, expected });
            }
        }
        ledger.audit()?;
        Ok(ledger)
    }

    fn begin(&mut self) -> Result<(), LedgerError> {
        let mut state = State::open(self.store.as_ref())?;
        genesis::apply(&mut state, &self.genesis)?;
        let writes = state.into_batch();
        let mut batch = self.with_leaves(&writes);
        batch.insert(GENESIS.to_vec(), Some(self.genesis.to_bytes()));
        self.store.commit(&batch)?;
        self.tree.apply(&leaves_of(&writes));
        Ok(())
    }

    fn with_leaves(&self, writes: &Batch) -> Batch {
        let mut batch = writes.clone();
        for (key, value) in leaves_of(writes) {
            batch.insert([LEAVES, &key].concat(), value.map(|v| v.to_vec()));
        }
        batch
    }

    fn reload(&mut self) -> Result<(), LedgerError> {
        let end = prefix_end(LEAVES);
        let (mut start, mut rows) = (LEAVES.to_vec(), Vec::new());
        loop {
            let page = self.store.range(&start, end.as_deref(), 65_536)?;
            let Some((last, _)) = page.last() else { break };
            start = [last.as_slice(), &[0]].concat();
            for (key, value) in &page {
                let key = key.get(LEAVES.len()..).and_then(|k| k.try_into().ok());
                let value = value.as_slice().try_into().ok();
                rows.push(key.zip(value).ok_or(LedgerError::Missing("leaf row"))?);
            }
        }
        self.tree = Tree::from_leaves(rows);
        let height = self.state()?.height();
        if height > 0 {
            let (block, _) = self.block(height)?.ok_or(LedgerError::Missing("newest block"))?;
            if block.header.state_root.0 != self.tree.root() {
                return Err(LedgerError::Root {
                    height,
                    found: Digest(self.tree.root()).to_string(),
                    expected: block.header.state_root.to_string(),
                });
            }
            self.tip = Some(block.header);
        }
        Ok(())
    }

    /// Adds up the whole state: held + burned = minted in every denomination. Gives the totals of
    /// credits.
    ///
    /// # Errors
    /// [`LedgerError::Conservation`] when it does not add up.
    pub fn audit(&self) -> Result<conservation::Totals, LedgerError> {
        let books = conservation::audit_all(self.store.as_ref())?;
        if let Some((id, totals)) = books.0.iter().find(|(_, t)| !t.is_conserved()) {
            let (height, detail) = (self.height(), format!("denomination {id}: {totals:?}"));
            return Err(LedgerError::Conservation { height, detail });
        }
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
        Digest(self.tree.committed_root())
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
        let checked = &self.checked;
        execute::check_signature(&self.genesis_hash, signed, &|id| checked.contains(id))?;
        if self.checked.len() >= MAX_CHECKED {
            self.checked.clear();
        }
        self.checked.insert(signed.id());
        Ok(self.due_sequence(&signed.transaction.sender)?)
    }

    /// An account's next sequence number.
    pub fn due_sequence(&self, account: &AccountId) -> Result<u64, LedgerError> {
        Ok(bank::account(&self.state()?, account)?.sequence)
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
        &self,
        input: &BlockInput,
        transactions: &[SignedTransaction],
        mode: Mode,
    ) -> Result<Executed, BlockError> {
        let known = |id: &Digest| self.checked.contains(id);
        let store = self.store.as_ref();
        execute::execute(store, &self.genesis_hash, input, transactions, mode, &known)
    }

    fn header(
        &mut self,
        input: &BlockInput,
        transactions: &[SignedTransaction],
        executed: &Executed,
    ) -> Result<Header, LedgerError> {
        let state_root = Digest(self.tree.stage(&leaves_of(&executed.writes)));
        self.tree.rollback();
        let validators = self.state()?.validators()?.hash();
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
            roots: vec![OptionalRoot { kind: ROOT_TLR, root: executed.tlr }],
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
        let mut batch = self.with_leaves(&executed.writes);
        batch.extend(with.iter().map(|(k, v)| (k.clone(), v.clone())));
        batch.insert(at(BLOCKS, block.header.height), Some(block.to_bytes()));
        batch.insert(at(CERTIFICATES, block.header.height), Some(certificate.to_vec()));
        if block.header.validators != block.header.next_validators {
            let next = executed.next_validators.to_bytes();
            batch.insert(at(HANDOVERS, block.header.height), Some(next));
        }
        self.store.commit(&batch).map_err(LedgerError::from)?;
        self.tree.apply(&leaves_of(&executed.writes));
        self.tip = Some(block.header.clone());
        self.executed.clear();
        Ok(executed.writes)
    }

    /// The changes of the validator set above a height, in order, at most `limit`.
    ///
    /// # Errors
    /// The store fails.
    pub fn handovers(&self, above: u64, limit: usize) -> Result<Vec<Handover>, LedgerError> {
        stored_handovers(self.store.as_ref(), above, limit)
    }

    /// A committed block with its certificate's bytes.
    pub fn block(&self, height: u64) -> Result<Option<(Block, Vec<u8>)>, LedgerError> {
        stored_block(self.store.as_ref(), height)
    }

    /// Proves a key's value, or its absence, against the newest state root.
    ///
    /// # Errors
    /// The store fails.
    pub fn prove(&self, key: &[u8]) -> Result<StateProof, LedgerError> {
        let value = self.store.get(key)?;
        Ok(StateProof { key: key.to_vec(), value, proof: self.tree.prove(key) })
    }
}

/// A committed block of a store with its certificate, by height.
///
/// # Errors
/// The store fails, or what it holds is damaged.
pub fn stored_block(
    store: &dyn Store,
    height: u64,
) -> Result<Option<(Block, Vec<u8>)>, LedgerError> {
    let Some(block) = store.get(&at(BLOCKS, height))? else { return Ok(None) };
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
    let handover = |(key, value): (Vec<u8>, Vec<u8>)| {
        let height = key.get(HANDOVERS.len()..).and_then(|k| k.try_into().ok());
        let height = u64::from_be_bytes(height.ok_or(LedgerError::Missing("handover"))?);
        let found = stored_block(store, height)?;
        let (block, certificate) = found.ok_or(LedgerError::Missing("block"))?;
        let validators = ValidatorSet::from_bytes(&value)?;
        Ok(Handover { header: block.header, certificate: Bytes(certificate), validators })
    };
    rows.into_iter().map(handover).collect()
}
