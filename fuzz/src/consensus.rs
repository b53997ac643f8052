//! One validator among three that may all lie: it never panics, never contradicts itself, and blames
//! peers for what peers did.
//!
//! The input is a script of messages (well signed or not), timers, answers and restarts. The two
//! things that must hold whatever the others do: no second vote for a height, round and kind, also
//! across a restart from the log; and every commit carries a certificate that verifies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use anthill_consensus::{
    Bft, Config, Consensus, ConsensusError, In, Out, Snowman, Timeouts, TimerId, TimerKind,
    catch_up_message, snow, verify_certificate, vote_bytes,
};
use anthill_identity::KeyPair;
use minicbor::{Decoder, Encoder};

use crate::input::Input;

const GENESIS: [u8; 32] = [1; 32];

/// The hash of a test block is its first 32 bytes; a shorter one is no block.
fn block_hash(block: &[u8]) -> Option<[u8; 32]> {
    block.first_chunk().copied()
}

fn keys() -> &'static [KeyPair] {
    static KEYS: OnceLock<Vec<KeyPair>> = OnceLock::new();
    KEYS.get_or_init(|| (1..=4).map(|i| KeyPair::from_seed([i; 32])).collect())
}

fn validators() -> Vec<([u8; 32], u64)> {
    keys().iter().map(|key| (key.public(), 1)).collect()
}

fn node(snowman: bool) -> Box<dyn Consensus> {
    let (genesis, key, max_block_bytes) = (GENESIS, Some(keys()[0].clone()), 64);
    if snowman {
        let (seed, waits) = ([1; 32], snow::Waits::default());
        let parameters = snow::parameters::Parameters::for_validators;
        let config =
            snow::Config { genesis, key, seed, waits, max_block_bytes, block_hash, parameters };
        return Box::new(Snowman::new(config));
    }
    let timeouts = Timeouts::default();
    Box::new(Bft::new(Config { genesis, key, timeouts, max_block_bytes, block_hash }))
}

/// The node under test with what its caller has to remember.
struct Host {
    snowman: bool,
    node: Box<dyn Consensus>,
    height: u64,
    now: u64,
    log: Vec<Vec<u8>>,
    timers: BTreeSet<TimerId>,
    asked: Vec<In>,
    /// Blocks called invalid: a node never builds one of those itself.
    refused: BTreeSet<[u8; 32]>,
    sent: Vec<Vec<u8>>,
    /// What this validator has signed, by kind, height and round.
    signed: BTreeMap<(u8, u64, u32), Option<Vec<u8>>>,
}

/// Runs a script over each back-end.
pub fn run(data: &[u8]) {
    for snowman in [false, true] {
        run_on(snowman, data);
    }
}

fn run_on(snowman: bool, data: &[u8]) {
    let mut input = Input::new(data);
    let mut host = Host {
        snowman,
        node: node(snowman),
        height: 1,
        now: 0,
        log: Vec::new(),
        timers: BTreeSet::new(),
        asked: Vec::new(),
        refused: BTreeSet::new(),
        sent: Vec::new(),
        signed: BTreeMap::new(),
    };
    host.start();
    for _ in 0..40 {
        if input.is_empty() {
            break;
        }
        host.turn(&mut input);
    }
}

impl Host {
    fn start(&mut self) {
        let (height, validators) = (self.height, validators());
        let outs = self.node.step(In::Start { height, validators, beacon: [7; 32] }, self.now);
        self.take(outs.expect("a start in order"));
    }

    fn turn(&mut self, input: &mut Input<'_>) {
        self.now += u64::from(input.byte());
        match input.byte() % 10 {
            0 => self.receive(input.bytes(200).to_vec()),
            1..4 => self.receive(vote(input, self.height)),
            4 => self.receive(proposal(input, self.height)),
            5 => self.receive(decided(input, self.height)),
            6 => {
                // What this node itself sent, altered or as it was.
                let Some(at) = self.sent.len().checked_sub(1) else { return };
                let mut bytes = self.sent[input.below(at + 1)].clone();
                if input.flag() {
                    input.alter(&mut bytes, 2);
                }
                self.receive(bytes);
            }
            7 => {
                let Some(timer) = self.timers.pop_first() else { return };
                self.feed(In::Timer(timer));
            }
            8 => self.answer(input),
            _ => self.restart(),
        }
    }

    /// Only a peer's fault comes of a peer's message, but for a block that the others committed and
    /// this caller called invalid.
    fn receive(&mut self, bytes: Vec<u8>) {
        match self.node.step(In::Message { from: [9; 32], bytes }, self.now) {
            Ok(outs) => self.take(outs),
            Err(ConsensusError::Malformed(_) | ConsensusError::Refused(_)) => {}
            Err(error) => self.own_fault(&error),
        }
    }

    fn feed(&mut self, input: In) {
        match self.node.step(input, self.now) {
            Ok(outs) => self.take(outs),
            Err(error) => self.own_fault(&error),
        }
    }

    /// The errors that may come of late answers, and of three liars committing an invalid block.
    fn own_fault(&self, error: &ConsensusError) {
        let allowed = matches!(
            error,
            ConsensusError::OutOfOrder(_)
                | ConsensusError::CommittedInvalid { .. }
                | ConsensusError::Malformed(_)
                | ConsensusError::Refused(_)
        );
        assert!(allowed, "{error}");
    }

    fn answer(&mut self, input: &mut Input<'_>) {
        let timer = TimerKind::Rebroadcast;
        match self.asked.pop() {
            Some(In::Verified { hash, .. }) => {
                let ok = !input.byte().is_multiple_of(8);
                if !ok {
                    self.refused.insert(hash);
                }
                self.feed(In::Verified { hash, ok });
            }
            Some(In::Built { hash, .. }) if self.refused.contains(&hash) => {}
            Some(built) => self.feed(built),
            None => self.feed(In::Timer(TimerId {
                height: self.height,
                round: u32::from(input.byte()),
                kind: timer,
            })),
        }
    }

    fn restart(&mut self) {
        self.node = node(self.snowman);
        self.timers.clear();
        self.asked.clear();
        let outs = self.node.step(In::Replay(self.log.clone()), self.now);
        self.take(outs.expect("its own log"));
        self.start();
    }

    fn take(&mut self, outs: Vec<Out>) {
        let mut commits = Vec::new();
        for out in outs {
            match out {
                Out::Broadcast(bytes) => {
                    self.check_own(&bytes);
                    self.sent.push(bytes);
                    self.sent.truncate(16);
                }
                Out::Persist(entry) => self.log.push(entry),
                Out::SetTimer { id, .. } => {
                    self.timers.insert(id);
                }
                Out::CancelTimer(id) => {
                    self.timers.remove(&id);
                }
                Out::BuildBlock { height, round, .. } => {
                    let block = block(height, round as u8);
                    let hash = block_hash(&block).expect("long enough");
                    self.asked.push(In::Built { height, round, hash, block });
                }
                Out::Verify { hash, block, .. } => {
                    assert_eq!(block_hash(&block), Some(hash), "another block than its hash");
                    self.asked.push(In::Verified { hash, ok: true });
                }
                Out::Commit { height, hash, certificate, .. } => {
                    assert_eq!(height, self.height);
                    assert_eq!((certificate.height, certificate.block_hash), (height, hash));
                    let verdict = verify_certificate(&GENESIS, &validators(), &certificate);
                    assert_eq!(verdict, Ok(()), "a commit without proof");
                    commits.push(height);
                }
                Out::Ask { bytes, .. } | Out::Reply { bytes, .. } => {
                    self.sent.push(bytes);
                    self.sent.truncate(16);
                }
                Out::Help { .. } | Out::Behind { .. } | Out::Evidence(_) | Out::Stalled { .. } => {}
            }
        }
        if let Some(height) = commits.pop() {
            self.height = height + 1;
            self.log.clear();
            self.asked.clear();
            self.start();
        }
    }

    /// Own votes never contradict: `[0, [kind, height, round, hash or null, validator, ...]]`.
    fn check_own(&mut self, bytes: &[u8]) {
        let read = || -> Result<_, minicbor::decode::Error> {
            let mut d = Decoder::new(bytes);
            d.array()?;
            if d.u8()? != 0 {
                return Ok(None);
            }
            d.array()?;
            let place = (d.u8()?, d.u64()?, d.u32()?);
            let hash: Option<Vec<u8>> = match d.datatype()? {
                minicbor::data::Type::Null => d.null().map(|()| None)?,
                _ => Some(d.bytes()?.to_vec()),
            };
            Ok((d.bytes()? == keys()[0].public()).then_some((place, hash)))
        };
        let Some((place, hash)) = read().expect("its own message") else { return };
        let before = self.signed.entry(place).or_insert_with(|| hash.clone());
        assert_eq!(*before, hash, "two votes at kind, height, round {place:?}");
    }
}

fn block(height: u64, choice: u8) -> Vec<u8> {
    vec![(choice % 3).wrapping_add(height as u8); 40]
}

/// A height near the current one, and a small round.
fn place(input: &mut Input<'_>, height: u64) -> (u64, u32) {
    let height = match input.byte() {
        0..200 => height,
        200..220 => height.wrapping_add(1),
        220..235 => height.saturating_sub(1),
        235..245 => height.wrapping_add(5),
        _ => input.number(),
    };
    let round = match input.byte() {
        far @ 250.. => u32::MAX - u32::from(255 - far),
        near => u32::from(near % 3),
    };
    (height, round)
}

type Writer<'a> = Encoder<&'a mut Vec<u8>>;

/// Bytes written by a closure; writing into a `Vec` does not fail.
fn encode(
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), minicbor::encode::Error<std::convert::Infallible>>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes)).expect("a Vec takes all");
    bytes
}

fn vote(input: &mut Input<'_>, height: u64) -> Vec<u8> {
    let signer = &keys()[1 + input.below(3)];
    let (height, round) = place(input, height);
    let (kind, choice) = (input.byte() % 2, input.byte());
    let hash = (!choice.is_multiple_of(5)).then(|| block_hash(&block(height, choice)).unwrap());
    let body = vote_bytes(&GENESIS, kind, height, round, hash.as_ref());
    let mut signature = signer.sign_bytes(&body);
    signature[0] ^= u8::from(input.byte() == 255);
    encode(|e| {
        e.array(2)?.u8(0)?.array(6)?.u8(kind)?.u64(height)?.u32(round)?;
        match hash {
            Some(hash) => e.bytes(&hash)?,
            None => e.null()?,
        };
        e.bytes(&signer.public())?.bytes(&signature)?.ok()
    })
}

fn proposal(input: &mut Input<'_>, height: u64) -> Vec<u8> {
    let signer = &keys()[1 + input.below(3)];
    let (height, round) = place(input, height);
    let mut block = block(height, input.byte());
    let hash = block_hash(&block).unwrap();
    let pol = round.checked_sub(1).filter(|_| input.flag());
    let head = |e: &mut Writer<'_>| {
        e.u64(height)?.u32(round)?;
        match pol {
            Some(pol) => e.u32(pol)?,
            None => e.null()?,
        };
        e.bytes(&hash)?.ok()
    };
    let body = encode(|e| {
        e.array(4)?;
        head(e)
    });
    let signature = signer.sign("proposal", &GENESIS, &body);
    if input.byte() > 240 {
        block = input.bytes(80).to_vec();
    }
    encode(|e| {
        e.array(3)?.u8(1)?.array(6)?;
        head(e)?;
        e.bytes(&signer.public())?.bytes(&signature)?.bytes(&block)?.ok()
    })
}

/// A decided block with the signatures of some of the others.
fn decided(input: &mut Input<'_>, height: u64) -> Vec<u8> {
    let (height, round) = place(input, height);
    let block = block(height, input.byte());
    let block_hash = block_hash(&block).unwrap();
    let body = vote_bytes(&GENESIS, 1, height, round, Some(&block_hash));
    let from = input.below(3);
    let mut signatures: Vec<_> =
        keys()[1 + from..].iter().map(|key| (key.public(), key.sign_bytes(&body))).collect();
    signatures.sort_unstable();
    let certificate = anthill_consensus::Certificate { height, round, block_hash, signatures };
    catch_up_message(&certificate, &block)
}
