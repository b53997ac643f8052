//! The bank, the graph and the registry a second time, from the transactions of committed blocks
//! alone: each that is in a block must be one that the rules of `docs/LEDGER.md` allow.

use std::collections::{BTreeMap, BTreeSet};

use anthill_store::Batch;
use anthill_types::bank::{BankTotals, OpenEscrow, escrow_id};
use anthill_types::channel::{ChannelPhase, ChannelRecord, ChannelTerms, SignedChannelUpdate};
use anthill_types::graph::GraphTotals;
use anthill_types::hash::sha3;
use anthill_types::state::ChainState;
use anthill_types::{AccountId, Amount, Block, Body, Cid, Digest, Wire, keys};

use crate::world::World;

struct Coin {
    issuer: AccountId,
    cap: Option<u128>,
    minted: u128,
}

/// Shares of the opener and the other.
type Shares = (u128, u128);

enum Stage {
    Open,
    Closing { closer: AccountId, with: u64, best: u64, shares: Shares, until: u64 },
    Closed,
}

struct Pipe {
    terms: ChannelTerms,
    stage: Stage,
}

/// What the committed transactions have made.
#[derive(Default)]
pub struct BankModel {
    coins: Vec<Coin>,
    escrows: BTreeMap<Digest, (AccountId, OpenEscrow)>,
    edges: BTreeSet<(AccountId, Cid, Cid)>,
    names: BTreeMap<String, (AccountId, u64)>,
    pipes: BTreeMap<Digest, Pipe>,
    /// Channels that the newest block has paid out, and how.
    paid: Vec<(Digest, Shares)>,
    height: u64,
    epoch: u64,
    channel_epochs: u64,
    /// A block was seen without its epoch: nothing is known of the rest.
    lost: bool,
    hits: Vec<&'static str>,
}

type Allowed = Result<(), &'static str>;

fn check(holds: bool, what: &'static str) -> Allowed {
    if holds { Ok(()) } else { Err(what) }
}

impl BankModel {
    /// An empty state.
    pub fn new(channel_epochs: u64) -> Self {
        Self { channel_epochs, ..Self::default() }
    }

    /// Numbers of the denominations of an account.
    pub fn coins_of(&self, account: &AccountId) -> Vec<u64> {
        let own = (1..).zip(&self.coins).filter(|(_, coin)| coin.issuer == *account);
        own.map(|(number, _)| number).collect()
    }

    /// Links of an account.
    pub fn edges_of(&self, account: &AccountId) -> Vec<(Cid, Cid)> {
        let own = self.edges.iter().filter(|(neuron, ..)| neuron == account);
        own.map(|(_, from, to)| (*from, *to)).collect()
    }

    /// Open escrows with their locks.
    pub fn locks(&self) -> Vec<(Digest, Digest)> {
        let locked = self.escrows.iter().filter_map(|(id, (_, terms))| Some((*id, terms.lock?)));
        locked.collect()
    }

    fn apply(&mut self, sender: AccountId, sequence: u64, body: &Body) -> Allowed {
        match body {
            Body::CreateDenomination(terms) => {
                let (cap, minted) = (terms.cap.map(|c| c.0), terms.supply.0);
                self.coins.push(Coin { issuer: sender, cap, minted });
            }
            Body::Mint { denomination, amount, .. } => {
                let place = denomination.checked_sub(1).and_then(|n| usize::try_from(n).ok());
                let coin =
                    place.and_then(|at| self.coins.get_mut(at)).ok_or("mints nothing known")?;
                coin.minted += amount.0;
                check(coin.issuer == sender, "another than the issuer mints")?;
                check(coin.cap.is_none_or(|cap| coin.minted <= cap), "mints beyond the cap")?;
                self.hits.push("bank: minted");
            }
            Body::MultiSend { .. } => self.hits.push("bank: multi-send"),
            Body::OpenEscrow(terms) => {
                self.escrows.insert(escrow_id(&sender, sequence), (sender, *terms));
            }
            Body::ReleaseEscrow { preimage, escrow } => {
                let (payer, terms) =
                    self.escrows.remove(escrow).ok_or("releases an escrow that is not open")?;
                let opens = preimage.map(|p| Digest(sha3(&[&p.0]))) == terms.lock;
                check(opens || sender == payer, "releases an escrow without the right")?;
                check(self.height < terms.expires, "releases an escrow that has expired")?;
                self.hits.push("escrow: released");
            }
            Body::RefundEscrow { escrow } => {
                let (_, terms) =
                    self.escrows.remove(escrow).ok_or("refunds an escrow that is not open")?;
                let may = sender == terms.payee || self.height >= terms.expires;
                check(may, "refunds an escrow without the right")?;
                self.hits.push("escrow: refunded");
            }
            Body::Link { pairs } => {
                for pair in pairs {
                    check(pair.from != pair.to, "links a particle with itself")?;
                    let new = self.edges.insert((sender, pair.from, pair.to));
                    check(new, "makes a link that exists")?;
                }
                self.hits.push("link: made");
            }
            Body::Unlink { pairs } => {
                for pair in pairs {
                    let had = self.edges.remove(&(sender, pair.from, pair.to));
                    check(had, "takes back a link that does not exist")?;
                }
                self.hits.push("link: taken back");
            }
            other => return self.apply_name_or_channel(sender, other),
        }
        Ok(())
    }

    fn apply_name_or_channel(&mut self, sender: AccountId, body: &Body) -> Allowed {
        match body {
            Body::RegisterName { name, epochs, .. } => {
                if let Some((_, end)) = self.names.get(name) {
                    check(*end <= self.epoch, "takes a name that somebody holds")?;
                    self.hits.push("name: taken after its time");
                }
                self.names.insert(name.clone(), (sender, self.epoch + epochs));
                self.hits.push("name: registered");
            }
            Body::RenewName { name, epochs } => self.own(sender, name)?.1 += epochs,
            Body::SetName { name, .. } => {
                self.own(sender, name)?;
            }
            Body::TransferName { name, to } => self.own(sender, name)?.0 = *to,
            Body::ReleaseName { name } => {
                self.own(sender, name)?;
                self.names.remove(name);
            }
            Body::OpenChannel { terms, .. } => {
                let pipe = Pipe { terms: *terms, stage: Stage::Open };
                let known = self.pipes.insert(terms.id(), pipe);
                check(known.is_none() && terms.opener == sender, "opens a channel again")?;
                self.hits.push("channel: opened");
            }
            Body::CloseChannel { update, channel } => {
                self.close(sender, channel, update.as_ref())?
            }
            Body::DisputeChannel(signed) => self.dispute(signed)?,
            Body::FinaliseChannel { channel } => {
                let pipe = self.pipes.get(channel).ok_or("finalises no channel")?;
                let Stage::Closing { shares, until, .. } = pipe.stage else {
                    return Err("finalises a channel that nobody closes");
                };
                check(self.epoch >= until, "finalises a channel before its time")?;
                self.hits.push("channel: finalised");
                self.pay_out(channel, shares);
            }
            _ => {}
        }
        Ok(())
    }

    fn own(
        &mut self,
        sender: AccountId,
        name: &str,
    ) -> Result<&mut (AccountId, u64), &'static str> {
        let epoch = self.epoch;
        let held = self.names.get_mut(name).filter(|(owner, end)| *owner == sender && *end > epoch);
        held.ok_or("changes a name that it does not hold")
    }

    fn close(
        &mut self,
        sender: AccountId,
        channel: &Digest,
        update: Option<&SignedChannelUpdate>,
    ) -> Allowed {
        let pipe = self.pipes.get_mut(channel).ok_or("closes no channel")?;
        let update = update.map_or(pipe.terms.opening(), |signed| signed.update);
        let shares = (update.opener_balance.0, update.other_balance.0);
        check(!matches!(pipe.stage, Stage::Closed), "closes a channel that is closed")?;
        if update.closing {
            self.hits.push("channel: closed together");
            self.pay_out(channel, shares);
            return Ok(());
        }
        check(matches!(pipe.stage, Stage::Open), "closes a channel twice")?;
        let until = self.epoch + self.channel_epochs + 1;
        let (with, best) = (update.version, update.version);
        pipe.stage = Stage::Closing { closer: sender, with, best, shares, until };
        self.hits.push("channel: closed alone");
        Ok(())
    }

    fn dispute(&mut self, signed: &SignedChannelUpdate) -> Allowed {
        let update = &signed.update;
        let shown = (update.opener_balance.0, update.other_balance.0);
        let pipe = self.pipes.get_mut(&update.channel).ok_or("disputes no channel")?;
        let Stage::Closing { closer, with, best, shares, until } = &mut pipe.stage else {
            return Err("disputes a channel that nobody closes");
        };
        check(update.version > *best, "shows a version that is not later")?;
        check(self.epoch < *until, "disputes a channel after its time")?;
        if update.version > *with + 1 {
            let all = shown.0 + shown.1;
            let opener_lied = *closer == pipe.terms.opener;
            self.hits.push("channel: who closed with an old version lost all");
            self.pay_out(&update.channel, if opener_lied { (0, all) } else { (all, 0) });
        } else {
            (*best, *shares) = (update.version, shown);
            self.hits.push("channel: corrected");
        }
        Ok(())
    }

    fn pay_out(&mut self, channel: &Digest, shares: Shares) {
        if let Some(pipe) = self.pipes.get_mut(channel) {
            pipe.stage = Stage::Closed;
        }
        self.paid.push((*channel, shares));
    }

    fn totals(&self) -> (GraphTotals, BankTotals) {
        let ends = self.edges.iter().flat_map(|(_, from, to)| [from, to]);
        let particles = ends.collect::<BTreeSet<_>>().len() as u64;
        let neurons = self.edges.iter().map(|(n, ..)| n).collect::<BTreeSet<_>>().len() as u64;
        let open = self.pipes.values().filter(|p| !matches!(p.stage, Stage::Closed)).count();
        let graph = GraphTotals { edges: self.edges.len() as u64, particles, neurons };
        let bank = BankTotals {
            denominations: self.coins.len() as u64,
            escrows: self.escrows.len() as u64,
            channels: open as u64,
        };
        (graph, bank)
    }
}

impl World {
    /// Every transaction of the block is allowed by the model, and the state's counts and payouts
    /// are the model's.
    pub(crate) fn check_bank(
        &mut self,
        node: usize,
        block: &Block,
        writes: &Batch,
    ) -> Option<String> {
        if self.bank_model.lost {
            return None;
        }
        self.bank_model.height = block.header.height;
        self.bank_model.paid.clear();
        for signed in &block.transactions {
            let transaction = &signed.transaction;
            let (sender, sequence) = (transaction.sender, transaction.sequence);
            if let Err(what) = self.bank_model.apply(sender, sequence, &transaction.body) {
                return Some(format!("a transaction of {sender} {what}"));
            }
        }
        for mark in std::mem::take(&mut self.bank_model.hits) {
            self.marks.hit(mark);
        }
        let chain = writes.get(&keys::chain()).and_then(Option::as_ref);
        let Some(chain) = chain.and_then(|bytes| ChainState::from_bytes(bytes).ok()) else {
            // Read back from a disk after a crash: the epochs of the blocks in between are not known.
            self.bank_model.lost = true;
            return None;
        };
        self.bank_model.epoch = chain.epoch;
        let ledger = self.nodes[node].process.as_ref()?.engine.ledger();
        let state = ledger.state().ok().filter(|s| s.height() == block.header.height)?;
        let found = (
            state.get(&keys::graph_totals()).ok()?.unwrap_or_default(),
            state.get(&keys::bank_totals()).ok()?.unwrap_or_default(),
        );
        let expected = self.bank_model.totals();
        if found != expected {
            return Some(format!("the state counts {found:?}, not {expected:?}"));
        }
        for (id, shares) in &self.bank_model.paid {
            let record = state.get::<ChannelRecord>(&keys::channel(id)).ok()??;
            let ChannelPhase::Closed { opener_paid, other_paid, .. } = record.phase else {
                return Some(format!("channel {id} is not closed: {record:?}"));
            };
            if (opener_paid.0, other_paid.0) != *shares {
                return Some(format!("channel {id} paid {record:?}, not {shares:?}"));
            }
        }
        None
    }

    /// A run in which nothing is minted shows nothing.
    pub(crate) fn check_supply(&mut self) {
        let up = self.nodes.iter().find(|n| n.process.is_some() && n.is_sound());
        let totals = up.and_then(|n| n.process.as_ref()).map(|p| p.engine.ledger().audit());
        if let Some(Ok(totals)) = totals
            && totals.minted == Amount::ZERO
        {
            self.breaks("nothing was minted in a run: the generator is idle");
        }
    }
}
