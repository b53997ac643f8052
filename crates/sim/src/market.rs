//! What clients do with the bank, the graph and the registry: honest ones, and those who cheat.

use std::collections::{BTreeMap, BTreeSet};

use anthill_types::bank::{CREDITS, CreateDenomination, OpenEscrow, Output};
use anthill_types::channel::{
    ChannelPhase, ChannelRecord, ChannelTerms, ChannelUpdate, SIGN_OPEN, SIGN_UPDATE,
    SignedChannelUpdate,
};
use anthill_types::graph::Pair;
use anthill_types::hash::sha3;
use anthill_types::registry::Property;
use anthill_types::{AccountId, Amount, Body, Bytes, Cid, Digest, Signature, Wire, keys};

use crate::rng::Rng;
use crate::world::{Event, World};

/// Channels that are used at the same time.
const MAX_TABS: usize = 6;
/// Names that everybody wants.
const NAMES: [&str; 3] = ["ant", "hill", "ant-hill"];

/// A channel with everything that its parties have signed.
struct Tab {
    terms: ChannelTerms,
    parties: [usize; 2],
    signed: Vec<SignedChannelUpdate>,
}

/// What the clients know.
pub struct Market {
    rng: Rng,
    tabs: Vec<Tab>,
    /// Preimages of the locks of escrows.
    preimages: BTreeMap<Digest, Digest>,
    /// Escrows that somebody has tried to close.
    tried: Vec<(Digest, Digest)>,
}

impl Market {
    /// The market of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed, 7),
            tabs: Vec::new(),
            preimages: BTreeMap::new(),
            tried: Vec::new(),
        }
    }
}

impl World {
    /// One client does one thing; nothing new comes after the faults are over.
    pub(crate) fn trade(&mut self) {
        if self.healed {
            return;
        }
        let running = self.nodes.iter().filter(|n| n.process.is_some() && !n.tainted);
        let running: Vec<usize> = running.map(|n| n.index).collect();
        if let Some(node) = self.market.rng.pick(&running).copied()
            && let Some((node, body)) = self.wish(node, &running)
        {
            self.submit(node, body);
        }
        let mean = self.plan.work_every_ms / 4;
        let delay = self.market.rng.between(mean / 4, mean * 7 / 4);
        self.at(delay, Event::Trade);
    }

    /// What is done next, and who does it.
    fn wish(&mut self, node: usize, running: &[usize]) -> Option<(usize, Body)> {
        let choice = self.market.rng.below(25);
        if choice >= 22 {
            return Some((node, self.graph_wish(node)));
        }
        if choice >= 12 {
            let places: Vec<usize> = (0..self.market.tabs.len()).collect();
            let at = *self.market.rng.pick(&places)?;
            let parties = self.market.tabs[at].parties;
            let node = *self.market.rng.pick(&parties)?;
            return running.contains(&node).then(|| self.on_channel(node, at))?.map(|b| (node, b));
        }
        Some((node, self.plain_wish(node, choice)?))
    }

    fn plain_wish(&mut self, node: usize, choice: u64) -> Option<Body> {
        let own = self.account(node);
        let rng = &mut self.market.rng;
        match choice {
            0 | 1 => Some(Body::Link { pairs: pairs(rng) }),
            2 => Some(Body::Unlink { pairs: pairs(rng) }),
            3 => {
                let known = self.bank_model.edges_of(&own);
                let (from, to) = rng.pick(&known).copied()?;
                Some(Body::Unlink { pairs: vec![Pair { from, to }] })
            }
            4 | 5 => Some(self.name_wish()),
            6 => Some(self.multi_send()),
            7 => self.mint(node),
            8 => Some(self.open_escrow(node)),
            9 => self.on_escrow(),
            10 => {
                let value = Bytes(rng.bytes32().to_vec());
                let set = vec![Property { key: "mood".into(), value }];
                Some(Body::Properties { set, unset: Vec::new() })
            }
            _ => self.open_channel(node),
        }
    }

    /// Many links at once, or all of its own taken back.
    fn graph_wish(&mut self, node: usize) -> Body {
        let known: BTreeSet<(Cid, Cid)> =
            self.bank_model.edges_of(&self.account(node)).into_iter().collect();
        let rng = &mut self.market.rng;
        if !known.is_empty() && rng.chance(400) {
            let pair = |(from, to)| Pair { from, to };
            return Body::Unlink { pairs: known.into_iter().take(256).map(pair).collect() };
        }
        let (from, count) = (rng.below(16), rng.between(2, 12));
        let end = |rng: &mut Rng| Cid::of(&[b'w', rng.below(24) as u8]);
        let from = Cid::of(&[b'w', from as u8]);
        let mut pairs: BTreeSet<Pair> = (0..count).map(|_| Pair { from, to: end(rng) }).collect();
        pairs.retain(|pair| pair.from != pair.to && !known.contains(&(pair.from, pair.to)));
        Body::Link { pairs: pairs.into_iter().collect() }
    }

    fn account(&self, node: usize) -> AccountId {
        self.nodes[node].signers.account_id()
    }

    fn anybody(&mut self) -> usize {
        self.market.rng.below(self.nodes.len() as u64) as usize
    }

    fn name_wish(&mut self) -> Body {
        let to = self.anybody();
        let to = self.account(to);
        let rng = &mut self.market.rng;
        let name = rng.pick(&NAMES).unwrap_or(&NAMES[0]).to_string();
        let target = particle(rng);
        match rng.below(8) {
            0 => Body::SetName { name, target },
            1 => Body::TransferName { name, to },
            2 => Body::RenewName { name, epochs: 1 },
            3 => Body::ReleaseName { name },
            _ => Body::RegisterName { name, target, epochs: rng.between(1, 3) },
        }
    }

    fn multi_send(&mut self) -> Body {
        let count = self.market.rng.between(1, 12);
        let mut outputs = Vec::new();
        for _ in 0..count {
            let to = self.anybody();
            let amount = Amount(u128::from(self.market.rng.between(1, 5_000_000)));
            outputs.push(Output { to: self.account(to), amount });
        }
        Body::MultiSend { denomination: CREDITS, outputs }
    }

    /// A denomination of this client, minted in steps that go past its cap sooner or later.
    fn mint(&mut self, node: usize) -> Option<Body> {
        let own = self.account(node);
        let known = self.bank_model.coins_of(&own);
        let rng = &mut self.market.rng;
        let Some(denomination) = rng.pick(&known).copied() else {
            return Some(Body::CreateDenomination(CreateDenomination {
                symbol: "SIM".into(),
                name: format!("of node {node}"),
                decimals: 2,
                cap: Some(Amount(1_000)),
                mintable: true,
                supply: Amount(10),
            }));
        };
        let amount = Amount(u128::from(rng.between(1, 900)));
        Some(match rng.below(4) {
            0 => Body::Burn { denomination, amount },
            1 => Body::Send { denomination, to: own, amount },
            _ => Body::Mint { denomination, to: own, amount },
        })
    }

    fn open_escrow(&mut self, node: usize) -> Body {
        let payee = self.anybody();
        let preimage = Digest(self.market.rng.bytes32());
        let height = self.nodes[node].process.as_ref().map_or(0, |p| p.engine.ledger().height());
        let expires = height + self.market.rng.between(2, 60);
        self.market.preimages.insert(Digest(sha3(&[&preimage.0])), preimage);
        Body::OpenEscrow(OpenEscrow {
            payee: self.account(payee),
            denomination: CREDITS,
            amount: Amount::credits(self.market.rng.between(1, 5)),
            lock: Some(Digest(sha3(&[&preimage.0]))),
            arbiter: None,
            expires,
        })
    }

    /// Releases or refunds an escrow, now and then one that is closed already.
    fn on_escrow(&mut self) -> Option<Body> {
        let open = self.bank_model.locks();
        let again = self.market.rng.chance(300);
        let known = if again { &self.market.tried } else { &open };
        let (escrow, lock) = *self.market.rng.pick(known)?;
        self.market.tried.push((escrow, lock));
        let preimage = *self.market.preimages.get(&lock)?;
        Some(match self.market.rng.below(3) {
            0 => Body::RefundEscrow { escrow },
            _ => Body::ReleaseEscrow { preimage: Some(preimage), escrow },
        })
    }

    fn open_channel(&mut self, node: usize) -> Option<Body> {
        let other = self.anybody();
        if other == node || self.market.tabs.len() >= MAX_TABS {
            return None;
        }
        let rng = &mut self.market.rng;
        let terms = ChannelTerms {
            opener: self.nodes[node].signers.account_id(),
            other: self.nodes[other].signers.account_id(),
            denomination: CREDITS,
            opener_deposit: Amount::credits(rng.between(1, 20)),
            other_deposit: Amount::credits(rng.below(3)),
            valid_until: u64::MAX,
            nonce: Digest(rng.bytes32()),
        };
        let key = &self.nodes[other].signers.account;
        let signature = Signature(key.sign(SIGN_OPEN, &self.genesis.hash().0, &terms.to_bytes()));
        self.market.tabs.push(Tab { terms, parties: [node, other], signed: Vec::new() });
        Some(Body::OpenChannel { terms, signature })
    }

    /// Goes on with a channel of this client, as its state on the chain asks for.
    fn on_channel(&mut self, node: usize, at: usize) -> Option<Body> {
        let id = self.market.tabs[at].terms.id();
        let state = self.nodes[node].process.as_ref()?.engine.ledger().state().ok()?;
        let record = state.get::<ChannelRecord>(&keys::channel(&id)).ok()?;
        match record.map(|r| r.phase) {
            // It never got into a block, or has not yet.
            None => {
                if self.market.rng.chance(100) {
                    self.market.tabs.remove(at);
                }
                None
            }
            Some(ChannelPhase::Open { .. }) => self.on_open_channel(at),
            Some(ChannelPhase::Closing { closer, version, .. }) => {
                self.on_closing_channel(at, closer == self.account(node), version)
            }
            Some(ChannelPhase::Closed { .. }) => {
                let tab = self.market.tabs.remove(at);
                // Played again, after the end.
                Some(Body::CloseChannel { update: tab.signed.last().copied(), channel: id })
            }
        }
    }

    fn on_open_channel(&mut self, at: usize) -> Option<Body> {
        let known = self.market.tabs[at].signed.len() as u64;
        let choice = self.market.rng.below(10);
        let channel = self.market.tabs[at].terms.id();
        if choice < 5 {
            for _ in 0..self.market.rng.between(1, 3) {
                self.pay(at, false);
            }
            return None;
        }
        let update = match choice {
            5 => self.pay(at, true),
            6 | 7 => self.market.tabs[at].signed.last().copied(),
            // An older state, or the opening balances.
            _ => {
                let older = self.market.rng.below(known + 1) as usize;
                self.market.tabs[at].signed.get(older).copied().filter(|_| choice == 8)
            }
        };
        Some(Body::CloseChannel { update, channel })
    }

    fn on_closing_channel(&mut self, at: usize, is_closer: bool, version: u64) -> Option<Body> {
        let tab = &self.market.tabs[at];
        let channel = tab.terms.id();
        let newest = tab.signed.last().copied();
        let stale: Vec<_> = tab.signed.iter().filter(|s| s.update.version <= version).collect();
        let replayed = self.market.rng.pick(&stale).map(|s| **s);
        let later = newest.filter(|s| s.update.version > version);
        match (is_closer, self.market.rng.below(3)) {
            // The closer wants back what he has paid since.
            (true, 0 | 1) => replayed.map(Body::DisputeChannel),
            (false, 0 | 1) if later.is_some() => later.map(Body::DisputeChannel),
            _ => Some(Body::FinaliseChannel { channel }),
        }
    }

    /// One of the two pays the other off the chain: the next update, signed by both.
    fn pay(&mut self, at: usize, closing: bool) -> Option<SignedChannelUpdate> {
        let tab = &self.market.tabs[at];
        let before = tab.signed.last().map_or(tab.terms.opening(), |s| s.update);
        if before.closing {
            return tab.signed.last().copied();
        }
        let rng = &mut self.market.rng;
        let amount = Amount(u128::from(rng.between(1, 1_000_000)));
        let next = before.pay(rng.chance(700), amount)?;
        let update = ChannelUpdate { closing, ..next };
        let sign = |node: usize| {
            let key = &self.nodes[node].signers.account;
            Signature(key.sign(SIGN_UPDATE, &self.genesis.hash().0, &update.to_bytes()))
        };
        let [opener, other] = tab.parties;
        let (opener_signature, other_signature) = (sign(opener), sign(other));
        let signed = SignedChannelUpdate { update, opener_signature, other_signature };
        self.market.tabs[at].signed.push(signed);
        Some(signed)
    }
}

fn particle(rng: &mut Rng) -> Cid {
    Cid::of(&[b'p', rng.below(8) as u8])
}

fn pairs(rng: &mut Rng) -> Vec<Pair> {
    let count = rng.between(1, 3);
    (0..count).map(|_| Pair { from: particle(rng), to: particle(rng) }).collect()
}
