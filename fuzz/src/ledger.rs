//! Transactions against [`crate::reference`]: the same blocks applied, and all money, sequence
//! numbers and refusals compared after each.

use std::sync::{Arc, OnceLock};

use anthill_ledger::conservation::audit;
use anthill_ledger::execute::{Base, BlockInput, Executed, Mode, execute};
use anthill_ledger::focus::Ranking;
use anthill_ledger::{BlockError, Ledger, Sequential};
use anthill_store::{Batch, MemoryStore, Store};
use anthill_types::hash::sha3;
use anthill_types::state::{Account, NodeRecord, Supply, TaskResult};
use anthill_types::*;

use crate::input::Input;
use crate::reference::{BASE_FEE, MISSED, REPLY, Reference, UNIT_PRICE, Worker};

/// Accounts 0 to 2 have a node; 5 owns nothing.
const PEOPLE: u8 = 6;
/// Values of each beacon chain.
const BEACONS: usize = 48;

fn account(i: u8) -> AccountId {
    AccountId([i + 1; 32])
}

fn node(i: u8) -> NodeKey {
    NodeKey([i + 65; 32])
}

fn validator(i: u8) -> ValidatorKey {
    ValidatorKey([i + 129; 32])
}

/// A beacon chain from its end: the first is committed to, each next hashes to the one before.
fn beacons(i: u8) -> &'static [[u8; 32]] {
    static CHAINS: OnceLock<Vec<Vec<[u8; 32]>>> = OnceLock::new();
    let chains = CHAINS.get_or_init(|| {
        let chain = |i: u8| {
            let mut values = vec![[i; 32]];
            (0..BEACONS).for_each(|n| values.push(sha3(&[&values[n]])));
            values.reverse();
            values
        };
        (0..3).map(chain).collect()
    });
    &chains[usize::from(i)]
}

fn genesis() -> Genesis {
    let nodes = (0..3).map(|i| GenesisNode {
        account: account(i),
        node: node(i),
        validator: validator(i),
        beacon_head: BeaconValue(beacons(i)[0]),
        bond: Amount(MISSED * (1 + u128::from(i))),
        offered: 10 * u64::from(i),
        capabilities: vec![],
    });
    let balances =
        (0..5).map(|i| GenesisBalance { account: account(i), amount: Amount(50_000 << (3 * i)) });
    Genesis {
        version: 1,
        name: "reference".into(),
        time_ms: 1000,
        params: ChainParams {
            epoch_ms: 30 * 24 * 3600 * 1000,
            base_fee: BASE_FEE as u64,
            unit_price: UNIT_PRICE as u64,
            missed_reveal: Amount(MISSED),
            reply_blocks: REPLY,
            ..ChainParams::default()
        },
        nodes: nodes.collect(),
        balances: balances.collect(),
        beacon: BeaconValue([7; 32]),
        consensus: Default::default(),
    }
}

fn first_state() -> (Batch, GenesisHash) {
    static FIRST: OnceLock<(Batch, GenesisHash)> = OnceLock::new();
    let made = FIRST.get_or_init(|| {
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::open(store.clone(), genesis()).expect("a good genesis");
        let state = store.snapshot().into_iter().filter(|(key, _)| key.starts_with(b"/"));
        (state.map(|(key, value)| (key, Some(value))).collect(), *ledger.genesis_hash())
    });
    made.clone()
}

fn first_reference() -> Reference {
    let genesis = genesis();
    let mut reference = Reference::default();
    for entry in &genesis.balances {
        reference.purses.entry(entry.account.0).or_default().balance = entry.amount.0;
        reference.minted += entry.amount.0;
    }
    for n in &genesis.nodes {
        let (bond, head) = (n.bond.0, n.beacon_head.0);
        let worker = Worker::new(n.account.0, n.validator.0, bond, n.offered, head);
        reference.workers.insert(n.node.0, worker);
        reference.minted += bond;
    }
    reference
}

/// Both ledgers, and what the script has used up.
struct Both {
    store: MemoryStore,
    ranking: Ranking,
    hash: GenesisHash,
    reference: Reference,
    revealed: [usize; 3],
    time_ms: u64,
}

/// Runs a script of blocks.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (state, hash) = first_state();
    let store = MemoryStore::new();
    store.commit(&state).expect("memory does not fail");
    let reference = first_reference();
    let ranking = Ranking::load(&store).expect("the genesis state is whole");
    let mut both = Both { store, ranking, hash, reference, revealed: [0; 3], time_ms: 1000 };
    for _ in 0..12 {
        if input.is_empty() {
            break;
        }
        match input.byte() % 16 {
            0 => (0..=input.below(8)).for_each(|_| both.block(0, true, &[])),
            1 => both.refused(&mut input),
            _ => {
                let (proposer, reveals) = (input.byte() % 3, !input.byte().is_multiple_of(4));
                let count = input.below(5);
                let mut list = Vec::new();
                // Sequence numbers and balances as they will be are worked out on a copy.
                let mut trial = both.reference.clone();
                for _ in 0..count {
                    let signed = transaction(&mut input, &trial);
                    let _ = trial.apply(&signed);
                    list.push(signed);
                }
                both.block(proposer, reveals, &list);
            }
        }
    }
}

impl Both {
    fn input(&self, proposer: u8, reveal: Option<BeaconValue>) -> BlockInput {
        BlockInput {
            height: self.reference.height + 1,
            previous: BlockHash([3; 32]),
            time_ms: self.time_ms + 1,
            proposer: validator(proposer),
            reveal,
        }
    }

    fn execute(
        &mut self,
        input: &BlockInput,
        list: &[SignedTransaction],
        mode: Mode,
    ) -> Result<Executed, BlockError> {
        let (store, genesis, ranking) = (&self.store, &self.hash, &mut self.ranking);
        let base = Base { store, genesis, ranking, parallel: &Sequential };
        execute(base, input, list, mode, &vec![true; list.len()])
    }

    /// One block on both sides.
    fn block(&mut self, proposer: u8, reveals: bool, list: &[SignedTransaction]) {
        let who = usize::from(proposer);
        let next = beacons(proposer).get(self.revealed[who] + 1);
        let head = self.reference.workers[&node(proposer).0].head;
        // A renewed chain leads nowhere here, so its owner misses its reveals from then on.
        let reveal = next.filter(|value| reveals && sha3(&[&value[..]]) == head).copied();
        let input = self.input(proposer, reveal.map(BeaconValue));
        let done = self.execute(&input, list, Mode::Build);
        let done = done.unwrap_or_else(|error| panic!("block {}: {error}", input.height));
        self.reference.begin(&validator(proposer).0, reveal);
        let mut applied = Vec::new();
        for (index, signed) in list.iter().enumerate() {
            if self.reference.apply(signed).is_ok() {
                applied.push(index);
            }
        }
        self.reference.end();
        assert_eq!(done.applied, applied, "which of {list:?} apply");
        if !list.is_empty() {
            let taken: Vec<SignedTransaction> = applied.iter().map(|i| list[*i].clone()).collect();
            let again = self.execute(&input, &taken, Mode::Verify);
            let again = again.unwrap_or_else(|error| panic!("a verifier refuses: {error}"));
            assert_eq!(again.writes.batch(), done.writes.batch(), "building and verifying differ");
        }
        self.store.commit(done.writes.batch()).expect("memory does not fail");
        self.ranking.commit(done.graph).expect("the change is of this state");
        self.revealed[who] += usize::from(reveal.is_some());
        self.time_ms += 1;
        self.compare();
    }

    /// A header that does not fit is refused and leaves no trace.
    fn refused(&mut self, choices: &mut Input<'_>) {
        let mut input = self.input(choices.byte() % 3, None);
        match choices.byte() % 5 {
            0 => input.height += 1 + u64::from(choices.byte()),
            1 => input.height -= 1,
            2 => input.time_ms = self.time_ms - u64::from(choices.byte() % 2),
            3 => input.proposer = ValidatorKey([choices.byte() % 128; 32]),
            _ => input.reveal = Some(BeaconValue([choices.byte(); 32])),
        }
        let done = self.execute(&input, &[], Mode::Build);
        assert!(matches!(done, Err(BlockError::Header { .. })), "{input:?}: {done:?}");
    }

    fn get<T: Wire>(&self, key: &[u8]) -> Option<T> {
        let bytes = self.store.get(key).expect("memory does not fail")?;
        Some(T::from_bytes(&bytes).expect("stored state decodes"))
    }

    fn compare(&self) {
        let reference = &self.reference;
        for (id, purse) in &reference.purses {
            let found: Account = self.get(&keys::account(&AccountId(*id))).unwrap_or_default();
            let both = (found.balance.0, found.sequence);
            assert_eq!(both, (purse.balance, purse.sequence), "account {}", AccountId(*id));
        }
        for (key, worker) in &reference.workers {
            let found: NodeRecord = self.get(&keys::node(&NodeKey(*key))).expect("a node");
            assert_eq!((found.bond.0, found.offered), (worker.bond, worker.offered));
            assert_eq!(found.beacon_head.0, worker.head);
        }
        let supply: Supply = self.get(&keys::supply()).expect("a supply");
        let sums = (supply.minted.0, supply.burned.0, supply.payments);
        assert_eq!(sums, (reference.minted, reference.burned, 0));
        let totals = audit(&self.store).expect("an audit");
        let purses: u128 = reference.purses.values().map(|p| p.balance).sum();
        let bonds: u128 = reference.workers.values().map(|w| w.bond).sum();
        assert_eq!(totals.held.0, purses + bonds + reference.escrow());
        assert_eq!(totals.held.0 + totals.burned.0, totals.minted.0);
    }
}

fn amount(input: &mut Input<'_>, has: u128) -> Amount {
    Amount(match input.byte() % 10 {
        0 => 0,
        1 => has,
        2 => has.saturating_add(1),
        3 => has / 2,
        4 => u128::MAX,
        5 => u128::MAX - has,
        6 => u128::from(u64::MAX) + 1,
        // What is left when the fee of a small transaction is paid, or nearly.
        7 => has.saturating_sub(u128::from(input.byte()) * BASE_FEE),
        _ => u128::from(input.number() >> input.below(64)),
    })
}

fn transaction(input: &mut Input<'_>, reference: &Reference) -> SignedTransaction {
    let who = input.byte() % PEOPLE;
    let mut sender = account(who);
    let purse = reference.purses.get(&sender.0).cloned().unwrap_or_default();
    let mut sequence = match input.byte() {
        0..210 => purse.sequence,
        210..225 => purse.sequence + 1,
        225..240 => purse.sequence.saturating_sub(1),
        240..250 => u64::MAX,
        _ => 0,
    };
    let body = match input.byte() % 16 {
        0..4 => {
            let to = account(input.byte() % (PEOPLE + 1));
            Body::Transfer { to, amount: amount(input, purse.balance) }
        }
        4..6 => Body::Bond { amount: amount(input, purse.balance) },
        6..8 => {
            let units = input.number() >> input.below(64);
            let capabilities = (0..input.below(36)).map(|_| Digest([input.byte() % 48; 32]));
            Body::Offer { units, capabilities: capabilities.collect() }
        }
        8..13 => {
            let count = if input.byte() == 255 { 257 } else { input.below(4) };
            let spec = spec(input);
            Body::SubmitTasks(
                (0..count)
                    .map(|i| TaskSpec {
                        cost_limit: spec.cost_limit.wrapping_add(i as u64),
                        ..spec.clone()
                    })
                    .collect(),
            )
        }
        13 => {
            let number = input.byte();
            let task_id = task::task_id(&sender, u64::from(number % 128));
            let cancels = number >= 128 && !reference.is_drawn(&task_id.0);
            if cancels { Body::CancelTask { task_id } } else { Body::Challenge { task_id } }
        }
        14 => {
            sender = AccountId(validator(who).0);
            sequence = u64::from(input.byte() == 255);
            let generation = u64::from(input.byte() % 4);
            Body::RenewBeacon { head: BeaconValue([input.byte() % 4; 32]), generation }
        }
        _ => duty(input, &mut sequence),
    };
    let transaction = Transaction { sender, sequence, body };
    SignedTransaction { transaction, signature: Signature([0; 64]) }
}

/// Duties of a sender to whom none was given.
fn duty(input: &mut Input<'_>, sequence: &mut u64) -> Body {
    *sequence = 0;
    let task_id = task::task_id(&account(input.byte() % PEOPLE), u64::from(input.byte() % 8));
    let attempt = u32::from(input.byte() % 4);
    match input.byte() % 3 {
        0 => Body::Commits(vec![Commit { task_id, attempt, commitment: Digest([1; 32]) }]),
        1 => {
            let result = TaskResult { output: Cid::of(b"x"), cost: 1, steps: Digest([2; 32]) };
            Body::Verdicts(vec![Verdict { task_id, round: attempt, result }])
        }
        _ => Body::Commits(Vec::new()),
    }
}

fn spec(input: &mut Input<'_>) -> TaskSpec {
    let byte = input.byte();
    TaskSpec {
        program: task::program::noop(),
        params: Bytes(vec![0; if byte == 0 { 1025 } else { usize::from(byte % 3) }]),
        input: Cid::of(b""),
        input_len: if byte == 1 { (16 << 20) + 1 } else { u64::from(byte) },
        cost_limit: match byte {
            2 => (1 << 40) + 1,
            3 => 1 << 40,
            4 => u64::MAX - 9,
            _ => u64::from(input.byte()) << (byte % 12),
        },
        max_replicas: if byte == 5 { 4 } else { input.byte() % 4 },
        directed: (byte % 4 == 1).then(|| node(input.byte() % 4)),
        needs: (byte % 4 == 2).then(|| Digest([input.byte() % 48; 32])),
        deadline_blocks: match input.byte() {
            0 => 19,
            1 => 1_000_001,
            2 => u32::MAX,
            other => 20 + u32::from(other % 8),
        },
    }
}
