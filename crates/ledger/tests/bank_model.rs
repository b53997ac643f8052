//! Random transactions against a small independent model, written from `docs/LEDGER.md` without the
//! ledger's code: the same ones apply, the whole state is the model's, and a refused one changes
//! nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use anthill_types::bank::{
    Balance, BankTotals, CREDITS, CreateDenomination, Denomination, EscrowRecord, OpenEscrow,
    Output, escrow_id,
};
use anthill_types::channel::{
    ChannelPhase, ChannelRecord, ChannelTerms, ChannelUpdate, SIGN_OPEN, SIGN_UPDATE,
    SignedChannelUpdate,
};
use anthill_types::graph::{GraphTotals, Neuron, Pair, Particle};
use anthill_types::hash::sha3;
use anthill_types::registry::{NameRecord, Property, PropertyRecord};
use anthill_types::*;
use common::{Town, params};
use proptest::prelude::*;

const PEOPLE: usize = 3;
const NAME_EPOCHS: u64 = 3;
const CHANNEL_EPOCHS: u64 = 1;

#[derive(Clone, Debug)]
struct Coin {
    issuer: usize,
    cap: Option<u128>,
    mintable: bool,
    minted: u128,
    burned: u128,
}

#[derive(Clone, Debug)]
struct Locked {
    payer: usize,
    terms: OpenEscrow,
}

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    Open,
    Closing { closer: usize, with: u64, best: u64, shares: (u128, u128), until: u64 },
    Closed(u128, u128),
}

#[derive(Clone, Debug)]
struct Pipe {
    terms: ChannelTerms,
    stage: Stage,
}

/// The model: people are numbers, and so are particles.
#[derive(Clone, Default, Debug)]
struct Model {
    height: u64,
    epoch: u64,
    held: BTreeMap<(u64, usize), u128>,
    coins: BTreeMap<u64, Coin>,
    burned: u128,
    escrows: BTreeMap<Digest, Locked>,
    edges: BTreeSet<(usize, Cid, Cid)>,
    names: BTreeMap<String, (usize, Cid, u64)>,
    properties: BTreeMap<(usize, String), Vec<u8>>,
    pipes: BTreeMap<Digest, Pipe>,
}

type Done = Option<()>;

fn check(holds: bool) -> Done {
    holds.then_some(())
}

impl Model {
    fn take(&mut self, coin: u64, who: usize, amount: u128) -> Done {
        check(coin == CREDITS || self.coins.contains_key(&coin))?;
        let held = self.held.entry((coin, who)).or_default();
        *held = held.checked_sub(amount)?;
        Some(())
    }

    fn give(&mut self, coin: u64, who: usize, amount: u128) {
        *self.held.entry((coin, who)).or_default() += amount;
    }

    fn fee(&mut self, who: usize, amount: u128) -> Done {
        self.take(CREDITS, who, amount)?;
        self.burned += amount;
        Some(())
    }

    /// Applies a body, all of it or nothing.
    fn apply(&mut self, town: &Town, who: usize, sequence: u64, bytes: u128, body: &Body) -> Done {
        let mut next = self.clone();
        next.fee(who, bytes)?;
        next.run(town, who, sequence, body)?;
        *self = next;
        Some(())
    }

    fn run(&mut self, town: &Town, who: usize, sequence: u64, body: &Body) -> Done {
        let person = |id: &AccountId| town.people.iter().position(|p| p.id() == *id);
        let p = town.ledger.genesis().params.clone();
        match body {
            Body::CreateDenomination(t) => {
                self.fee(who, p.denomination_fee.0)?;
                check(t.cap.is_none_or(|c| c >= t.supply) && (t.mintable || t.supply.0 > 0))?;
                let id = self.coins.len() as u64 + 1;
                let cap = t.cap.map(|c| c.0);
                let (mintable, minted) = (t.mintable, t.supply.0);
                self.coins.insert(id, Coin { issuer: who, cap, mintable, minted, burned: 0 });
                self.give(id, who, minted);
            }
            Body::Mint { denomination, to, amount } => {
                let coin = self.coins.get_mut(denomination)?;
                check(amount.0 > 0 && coin.issuer == who && coin.mintable)?;
                coin.minted += amount.0;
                check(coin.cap.is_none_or(|cap| coin.minted <= cap))?;
                self.give(*denomination, person(to)?, amount.0);
            }
            Body::Send { denomination, to, amount } => {
                check(amount.0 > 0)?;
                self.take(*denomination, who, amount.0)?;
                self.give(*denomination, person(to)?, amount.0);
            }
            Body::Burn { denomination, amount } => {
                check(amount.0 > 0)?;
                self.take(*denomination, who, amount.0)?;
                match self.coins.get_mut(denomination) {
                    Some(coin) => coin.burned += amount.0,
                    None => self.burned += amount.0,
                }
            }
            Body::MultiSend { denomination, outputs } => {
                check(!outputs.is_empty() && outputs.iter().all(|o| o.amount.0 > 0))?;
                self.take(*denomination, who, outputs.iter().map(|o| o.amount.0).sum())?;
                for output in outputs {
                    self.give(*denomination, person(&output.to)?, output.amount.0);
                }
            }
            Body::OpenEscrow(terms) => {
                check(terms.amount.0 > 0 && person(&terms.payee)? != who)?;
                check(terms.expires > self.height)?;
                self.take(terms.denomination, who, terms.amount.0)?;
                let id = escrow_id(&town.people[who].id(), sequence);
                self.escrows.insert(id, Locked { payer: who, terms: *terms });
            }
            Body::ReleaseEscrow { preimage, escrow } => {
                let Locked { payer, terms } = self.escrows.remove(escrow)?;
                check(self.height < terms.expires)?;
                let arbiter = terms.arbiter.and_then(|a| person(&a));
                let opens = preimage.is_some_and(|x| Some(Digest(sha3(&[&x.0]))) == terms.lock);
                check(who == payer || arbiter == Some(who) || opens)?;
                self.give(terms.denomination, person(&terms.payee)?, terms.amount.0);
            }
            Body::RefundEscrow { escrow } => {
                let Locked { payer, terms } = self.escrows.remove(escrow)?;
                let arbiter = terms.arbiter.and_then(|a| person(&a));
                let friend = person(&terms.payee) == Some(who) || arbiter == Some(who);
                check(self.height >= terms.expires || friend)?;
                self.give(terms.denomination, payer, terms.amount.0);
            }
            Body::Link { pairs } => {
                self.fee(who, p.link_fee.0 * pairs.len() as u128)?;
                check(!pairs.is_empty())?;
                for pair in pairs {
                    check(pair.from != pair.to && self.edges.insert((who, pair.from, pair.to)))?;
                }
            }
            Body::Unlink { pairs } => {
                check(!pairs.is_empty())?;
                for pair in pairs {
                    check(self.edges.remove(&(who, pair.from, pair.to)))?;
                }
            }
            Body::RegisterName { name, target, epochs } => {
                check(self.names.get(name).is_none_or(|(_, _, end)| *end <= self.epoch))?;
                check((1..=NAME_EPOCHS).contains(epochs))?;
                self.fee(who, p.name_price.0 * u128::from(*epochs))?;
                self.names.insert(name.clone(), (who, *target, self.epoch + epochs));
            }
            Body::RenewName { name, epochs } => {
                self.fee(who, p.name_price.0 * u128::from(*epochs))?;
                let epoch = self.epoch;
                let (_, _, end) = self.own_name(who, name)?;
                *end += epochs;
                check(*epochs > 0 && *end <= epoch + NAME_EPOCHS)?;
            }
            Body::SetName { name, target } => self.own_name(who, name)?.1 = *target,
            Body::TransferName { name, to } => self.own_name(who, name)?.0 = person(to)?,
            Body::ReleaseName { name } => {
                self.own_name(who, name)?;
                self.names.remove(name);
            }
            Body::Properties { set, unset } => {
                check(!set.is_empty() || !unset.is_empty())?;
                for Property { key, value } in set {
                    let bytes = (key.len() + value.0.len()) as u128;
                    self.fee(who, p.property_fee.0 * bytes)?;
                    self.properties.insert((who, key.clone()), value.0.clone());
                }
                for key in unset {
                    self.properties.remove(&(who, key.clone()))?;
                }
            }
            Body::OpenChannel { terms, .. } => {
                let other = person(&terms.other)?;
                check(person(&terms.opener) == Some(who) && other != who)?;
                check(!self.pipes.contains_key(&terms.id()))?;
                check(terms.opener_deposit.0 + terms.other_deposit.0 > 0)?;
                self.take(terms.denomination, who, terms.opener_deposit.0)?;
                self.take(terms.denomination, other, terms.other_deposit.0)?;
                self.pipes.insert(terms.id(), Pipe { terms: *terms, stage: Stage::Open });
            }
            Body::CloseChannel { update, channel } => {
                let pipe = self.pipes.get(channel)?.clone();
                check(
                    person(&pipe.terms.opener) == Some(who)
                        || person(&pipe.terms.other) == Some(who),
                )?;
                let (version, shares, last) = match update {
                    Some(s) => pipe.read(s)?,
                    None => (0, (pipe.terms.opener_deposit.0, pipe.terms.other_deposit.0), false),
                };
                match pipe.stage {
                    Stage::Closed(..) => return None,
                    _ if last => self.pay_out(town, channel, shares)?,
                    Stage::Closing { .. } => return None,
                    Stage::Open => {
                        let until = self.epoch + CHANNEL_EPOCHS + 1;
                        self.pipes.get_mut(channel)?.stage = Stage::Closing {
                            closer: who,
                            with: version,
                            best: version,
                            shares,
                            until,
                        };
                    }
                }
            }
            Body::DisputeChannel(signed) => {
                let channel = signed.update.channel;
                let pipe = self.pipes.get(&channel)?.clone();
                let Stage::Closing { closer, with, best, until, .. } = pipe.stage else {
                    return None;
                };
                let (version, shares, _) = pipe.read(signed)?;
                check(self.epoch < until && version > best)?;
                if version >= with + 2 {
                    let all = pipe.total();
                    let opener_lied = person(&pipe.terms.opener) == Some(closer);
                    self.pay_out(town, &channel, if opener_lied { (0, all) } else { (all, 0) })?;
                } else {
                    self.pipes.get_mut(&channel)?.stage =
                        Stage::Closing { closer, with, best: version, shares, until };
                }
            }
            Body::FinaliseChannel { channel } => {
                let Stage::Closing { shares, until, .. } = self.pipes.get(channel)?.stage else {
                    return None;
                };
                check(self.epoch >= until)?;
                self.pay_out(town, channel, shares)?;
            }
            other => panic!("{other:?}"),
        }
        Some(())
    }

    fn own_name(&mut self, who: usize, name: &str) -> Option<&mut (usize, Cid, u64)> {
        let epoch = self.epoch;
        self.names.get_mut(name).filter(|(owner, _, end)| *owner == who && *end > epoch)
    }

    fn pay_out(&mut self, town: &Town, channel: &Digest, shares: (u128, u128)) -> Done {
        let terms = self.pipes.get(channel)?.terms;
        let person = |id: &AccountId| town.people.iter().position(|p| p.id() == *id);
        self.give(terms.denomination, person(&terms.opener)?, shares.0);
        self.give(terms.denomination, person(&terms.other)?, shares.1);
        self.pipes.get_mut(channel)?.stage = Stage::Closed(shares.0, shares.1);
        Some(())
    }
}

impl Pipe {
    fn total(&self) -> u128 {
        self.terms.opener_deposit.0 + self.terms.other_deposit.0
    }

    fn read(&self, signed: &SignedChannelUpdate) -> Option<(u64, (u128, u128), bool)> {
        let update = signed.update;
        let shares = (update.opener_balance.0, update.other_balance.0);
        check(update.version > 0 && shares.0 + shares.1 == self.total())?;
        Some((update.version, shares, update.closing))
    }
}

/// Small numbers that choose what happens.
type Choice = (u8, u8, u8, u8, u8);

fn body(town: &Town, model: &Model, who: usize, choice: Choice) -> Body {
    let (kind, a, b, c, d) = choice;
    let to = town.people[usize::from(a) % PEOPLE].id();
    let denomination = u64::from(b % 4);
    let amount = Amount(u128::from(c % 60));
    let cid = |x: u8| Cid::of(&[x % 4]);
    let names = ["abc", "def"];
    let name = names[usize::from(a) % 2].to_string();
    let escrow = model.escrows.keys().nth(usize::from(a) % model.escrows.len().max(1));
    let escrow = escrow.copied().unwrap_or_default();
    let key = ["k", "key"][usize::from(b) % 2].to_string();
    match kind % 24 {
        0 => Body::CreateDenomination(CreateDenomination {
            symbol: "ANT".into(),
            name: "ant".into(),
            decimals: a % 9,
            cap: (b % 2 == 0).then_some(Amount(90)),
            mintable: c % 4 > 0,
            supply: Amount(u128::from(d % 110)),
        }),
        1 => Body::Mint { denomination, to, amount },
        2 => Body::Send { denomination, to, amount },
        3 => Body::Burn { denomination, amount },
        4 | 5 => {
            let outputs = (0..d % 4).map(|i| Output {
                to: town.people[usize::from(a.wrapping_add(i)) % PEOPLE].id(),
                amount: Amount(u128::from(c % 20)),
            });
            Body::MultiSend { denomination, outputs: outputs.collect() }
        }
        6 | 7 => Body::OpenEscrow(OpenEscrow {
            payee: to,
            denomination,
            amount,
            lock: (d % 2 == 0).then(|| Digest(sha3(&[&[d % 3; 32]]))),
            arbiter: (d % 3 == 0).then(|| town.people[usize::from(d) % PEOPLE].id()),
            expires: (model.height + u64::from(d % 9)).saturating_sub(1),
        }),
        8 | 9 => {
            let preimage = (d % 2 == 0).then_some(Digest([d % 3; 32]));
            Body::ReleaseEscrow { preimage, escrow }
        }
        10 => Body::RefundEscrow { escrow },
        11 | 12 => Body::Link { pairs: pairs(a, b, c) },
        13 if d % 2 == 0 => Body::Unlink { pairs: pairs(a, b, c) },
        13 => {
            let own = model.edges.iter().filter(|(neuron, ..)| *neuron == who);
            let pairs =
                own.take(usize::from(c % 3)).map(|(_, from, to)| Pair { from: *from, to: *to });
            Body::Unlink { pairs: pairs.collect() }
        }
        14 | 15 => Body::RegisterName { name, target: cid(b), epochs: u64::from(c % 5) },
        16 => match b % 4 {
            0 => Body::RenewName { name, epochs: u64::from(c % 4) },
            1 => Body::SetName { name, target: cid(c) },
            2 => Body::TransferName { name, to: town.people[usize::from(c) % PEOPLE].id() },
            _ => Body::ReleaseName { name },
        },
        17 => Body::Properties {
            set: (0..c % 3)
                .map(|i| Property { key: key.clone(), value: Bytes(vec![i; usize::from(d)]) })
                .collect(),
            unset: (0..d % 2).map(|_| key.clone()).collect(),
        },
        18 | 19 => open_channel(town, who, choice),
        _ => on_channel(town, model, who, choice),
    }
}

fn pairs(a: u8, b: u8, count: u8) -> Vec<Pair> {
    let cid = |x: u8| Cid::of(&[x % 4]);
    (0..count % 4).map(|i| Pair { from: cid(a), to: cid(b.wrapping_add(i)) }).collect()
}

fn open_channel(town: &Town, who: usize, (_, a, b, c, d): Choice) -> Body {
    let other = usize::from(a) % PEOPLE;
    let terms = ChannelTerms {
        opener: town.people[who].id(),
        other: town.people[other].id(),
        denomination: u64::from(b % 3),
        opener_deposit: Amount(u128::from(c % 40)),
        other_deposit: Amount(u128::from(d % 40)),
        valid_until: u64::MAX,
        nonce: Digest([c % 2; 32]),
    };
    let genesis = &town.ledger.genesis_hash().0;
    let signature = town.people[other].account.sign(SIGN_OPEN, genesis, &terms.to_bytes());
    Body::OpenChannel { terms, signature: Signature(signature) }
}

fn on_channel(town: &Town, model: &Model, _who: usize, (kind, a, b, c, d): Choice) -> Body {
    let Some((id, pipe)) = model.pipes.iter().nth(usize::from(a) % model.pipes.len().max(1)) else {
        return Body::FinaliseChannel { channel: Digest([a; 32]) };
    };
    let total = pipe.total();
    let opener = u128::from(c).min(total);
    let update = ChannelUpdate {
        channel: *id,
        version: u64::from(b % 5),
        opener_balance: Amount(opener),
        other_balance: Amount(total - opener + u128::from(d == 7)),
        closing: d % 5 == 0,
    };
    let genesis = &town.ledger.genesis_hash().0;
    let by = |id: &AccountId| {
        let person = town.people.iter().find(|p| p.id() == *id).unwrap();
        Signature(person.account.sign(SIGN_UPDATE, genesis, &update.to_bytes()))
    };
    let (opener_signature, other_signature) = (by(&pipe.terms.opener), by(&pipe.terms.other));
    let signed = SignedChannelUpdate { update, opener_signature, other_signature };
    match kind % 4 {
        0 => Body::CloseChannel { update: (d % 3 > 0).then_some(signed), channel: *id },
        1 | 2 => Body::DisputeChannel(signed),
        _ => Body::FinaliseChannel { channel: *id },
    }
}

/// All rows of a part of the state.
fn rows<T: Wire>(town: &Town, prefix: &str) -> Vec<(Vec<u8>, T)> {
    let rows = town.store.prefix(prefix.as_bytes(), usize::MAX).unwrap();
    rows.into_iter()
        .map(|(k, v)| (k[prefix.len()..].to_vec(), T::from_bytes(&v).unwrap()))
        .collect()
}

fn person(town: &Town, bytes: &[u8]) -> usize {
    town.people.iter().position(|p| p.id().0 == bytes).unwrap()
}

/// The whole state of these modules is the model's.
fn compare(town: &Town, model: &Model) {
    let mut held = BTreeMap::new();
    for (key, row) in rows::<state::Account>(town, keys::ACCOUNTS) {
        held.insert((CREDITS, person(town, &key)), row.balance.0);
    }
    for (key, row) in rows::<Balance>(town, keys::BALANCES) {
        assert!(row.amount.0 > 0, "a row of nothing");
        let id = u64::from_be_bytes(key[..8].try_into().unwrap());
        held.insert((id, person(town, &key[8..])), row.amount.0);
    }
    let expected: BTreeMap<_, _> = model
        .held
        .iter()
        .filter(|(k, v)| k.0 == CREDITS || **v > 0)
        .map(|(k, v)| (*k, *v))
        .collect();
    assert_eq!(held, expected);
    let coins = rows::<Denomination>(town, keys::DENOMINATIONS);
    assert_eq!(coins.len(), model.coins.len());
    for ((_, row), (id, coin)) in coins.iter().zip(&model.coins) {
        assert_eq!((row.minted.0, row.burned.0), (coin.minted, coin.burned), "{id}");
        let in_hands: u128 = held.iter().filter(|(k, _)| k.0 == *id).map(|(_, v)| v).sum();
        let locked: u128 = model
            .escrows
            .values()
            .filter(|e| e.terms.denomination == *id)
            .map(|e| e.terms.amount.0)
            .sum();
        let piped: u128 = model
            .pipes
            .values()
            .filter(|p| p.terms.denomination == *id && !matches!(p.stage, Stage::Closed(..)))
            .map(Pipe::total)
            .sum();
        assert_eq!(in_hands + locked + piped + coin.burned, coin.minted, "denomination {id}");
    }
    let escrows = rows::<EscrowRecord>(town, keys::ESCROWS);
    let expected: Vec<_> = model.escrows.iter().map(|(k, e)| (k.0.to_vec(), e.terms)).collect();
    assert_eq!(escrows.iter().map(|(k, e)| (k.clone(), e.terms)).collect::<Vec<_>>(), expected);
    compare_channels(town, model);
    compare_graph(town, model);
    compare_registry(town, model);
    let open = model.pipes.values().filter(|p| !matches!(p.stage, Stage::Closed(..))).count();
    let totals = town.ledger.state().unwrap().get::<BankTotals>(&keys::bank_totals()).unwrap();
    let totals = totals.unwrap_or_default();
    assert_eq!(
        (totals.denominations, totals.escrows, totals.channels),
        (model.coins.len() as u64, model.escrows.len() as u64, open as u64)
    );
}

fn compare_channels(town: &Town, model: &Model) {
    let found = rows::<ChannelRecord>(town, keys::CHANNELS);
    assert_eq!(found.len(), model.pipes.len());
    for ((key, row), (id, pipe)) in found.iter().zip(&model.pipes) {
        assert_eq!(key, &id.0);
        let stage = match row.phase {
            ChannelPhase::Open { .. } => Stage::Open,
            ChannelPhase::Closing {
                closer,
                closed_with,
                version,
                opener_balance,
                other_balance,
                until,
            } => Stage::Closing {
                closer: person(town, &closer.0),
                with: closed_with,
                best: version,
                shares: (opener_balance.0, other_balance.0),
                until,
            },
            ChannelPhase::Closed { opener_paid, other_paid, .. } => {
                assert_eq!(row.held, Amount::ZERO);
                Stage::Closed(opener_paid.0, other_paid.0)
            }
        };
        assert_eq!(stage, pipe.stage);
    }
}

fn compare_graph(town: &Town, model: &Model) {
    let edges: BTreeSet<_> = rows::<graph::Edge>(town, keys::EDGES)
        .into_iter()
        .map(|(k, _)| {
            let cid = |at: usize| Cid(k[at..at + 32].try_into().unwrap());
            (person(town, &k[..32]), cid(32), cid(64))
        })
        .collect();
    assert_eq!(edges, model.edges);
    let mut particles: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let mut neurons: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let mut back = BTreeSet::new();
    for (who, from, to) in &edges {
        let id = town.people[*who].id();
        *neurons.entry(id.0.to_vec()).or_default() += 1;
        for cid in [from, to] {
            *particles.entry(cid.0.to_vec()).or_default() += 1;
        }
        back.insert(keys::back_edge(to, from, &id));
    }
    let found: BTreeMap<_, _> =
        rows::<Particle>(town, keys::PARTICLES).into_iter().map(|(k, p)| (k, p.edges)).collect();
    assert_eq!(found, particles);
    let found: BTreeMap<_, _> =
        rows::<Neuron>(town, keys::NEURONS).into_iter().map(|(k, n)| (k, n.links)).collect();
    assert_eq!(found, neurons);
    let found = town.store.prefix(b"/graph/back/", usize::MAX).unwrap();
    assert_eq!(found.into_iter().map(|(k, _)| k).collect::<BTreeSet<_>>(), back);
    let totals = town.ledger.state().unwrap().get::<GraphTotals>(&keys::graph_totals()).unwrap();
    let sizes = [edges.len(), particles.len(), neurons.len()].map(|n| n as u64);
    let totals = totals.unwrap_or_default();
    assert_eq!([totals.edges, totals.particles, totals.neurons], sizes);
}

fn compare_registry(town: &Town, model: &Model) {
    let mut reverse = BTreeSet::new();
    let mut names = BTreeMap::new();
    for (key, row) in rows::<NameRecord>(town, keys::NAMES) {
        let name = String::from_utf8(key[2..].to_vec()).unwrap();
        reverse.insert(keys::name_of(&row.target, &row.owner, &name));
        names.insert(name, (person(town, &row.owner.0), row.target, row.expires));
    }
    assert_eq!(names, model.names);
    let found = town.store.prefix(b"/kv/name/cid/", usize::MAX).unwrap();
    assert_eq!(found.into_iter().map(|(k, _)| k).collect::<BTreeSet<_>>(), reverse);
    let properties: BTreeMap<_, _> = rows::<PropertyRecord>(town, keys::PROPERTIES)
        .into_iter()
        .map(|(k, row)| {
            let key = String::from_utf8(k[34..].to_vec()).unwrap();
            ((person(town, &k[..32]), key), row.value.0)
        })
        .collect();
    assert_eq!(properties, model.properties);
}

fn state_rows(town: &Town) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = town.store.prefix(b"/bank/", usize::MAX).unwrap();
    for prefix in [&b"/graph/"[..], b"/kv/name/", b"/kv/prop/account/"] {
        rows.extend(town.store.prefix(prefix, usize::MAX).unwrap());
    }
    rows
}

fn plays(choices: Vec<(u8, Choice)>) -> (usize, BTreeMap<u8, usize>) {
    let rules = ChainParams {
        epoch_ms: 3_000,
        name_epochs: NAME_EPOCHS,
        channel_epochs: CHANNEL_EPOCHS,
        ..params()
    };
    let mut town = Town::new(PEOPLE as u8, rules);
    let mut model = Model::default();
    for (key, row) in rows::<state::Account>(&town, keys::ACCOUNTS) {
        model.held.insert((CREDITS, person(&town, &key)), row.balance.0);
    }
    let mut applied = BTreeMap::new();
    let mut refused = 0;
    for (who, choice) in choices {
        let who = usize::from(who) % PEOPLE;
        model.height = town.ledger.height() + 1;
        model.epoch = town.ledger.state().unwrap().chain().epoch;
        let body = body(&town, &model, who, choice);
        let signed = town.by(who, body);
        let bytes = signed.to_bytes().len() as u128;
        let Transaction { sequence, body, .. } = &signed.transaction;
        let expected = model.apply(&town, who, *sequence, bytes, body).is_some();
        let before = state_rows(&town);
        let taken = town.block(vec![signed.clone()]);
        assert_eq!(taken == 1, expected, "{:?}", signed.transaction.body);
        if expected {
            *applied.entry(choice.0 % 24).or_default() += 1;
        } else {
            refused += 1;
            assert!(state_rows(&town) == before, "a refused transaction left a trace");
        }
        compare(&town, &model);
    }
    (refused, applied)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_is_the_model(choices in prop::collection::vec((any::<u8>(), any::<Choice>()), 1..120)) {
        plays(choices);
    }
}

/// The generator above reaches what it is for: every kind applies, and some are refused.
#[test]
fn the_choices_reach_every_kind() {
    let mut all = BTreeMap::new();
    let mut refused = 0;
    for seed in 0..30u8 {
        let bytes = |i: u32, part: u8| sha3(&[&[seed, part], &i.to_be_bytes()]);
        let choices = (0..110).map(|i| {
            let b = bytes(i, 0);
            (b[0], (b[1], b[2], b[3], b[4], b[5]))
        });
        let (no, yes) = plays(choices.collect());
        refused += no;
        for (kind, count) in yes {
            *all.entry(kind).or_insert(0) += count;
        }
    }
    assert!(refused > 100, "{refused}");
    assert_eq!(all.len(), 24, "{all:?}");
}
