//! Moves virtual nodes' tasks between machines that trust each other (`anthill_scheduler::vnode::migration`).
//!
//! The machine that the network assigned the task to stays answerable for it, so both sides name each
//! other as partners. What travels are content ids; snapshot, input, module and output are blobs, lent
//! to the other machine for as long as the move lasts, and checked against their ids by the transport.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anthill_engine::wire::PeerLoad;
use anthill_net::PeerId;
use anthill_scheduler::vnode::migration::{Answer, Ended, Host, HostOut, Key, Message, Offer};
use anthill_types::task::MAX_INPUT;
use anthill_types::{AccountId, Cid, NodeKey, Wire};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

pub use source::{MoveError, Moved, move_all, move_to};

use crate::driver::now_ms;
use crate::shared::Shared;
use crate::vn::{Job, Origin};

/// Tasks of others that may be here at once.
const MOST_HOSTED: usize = 256;
/// Largest snapshot that is taken.
pub const MAX_SNAPSHOT: u64 = 64 << 20;
/// Peers whose load is remembered.
const MOST_LOADS: usize = 4_096;
/// How long what a peer said of its load counts, milliseconds.
const LOAD_TTL_MS: u64 = 15_000;
/// Between two looks for sources that fell silent.
const SWEEP: Duration = Duration::from_secs(1);

/// Whose nodes exchange virtual nodes with this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partners {
    /// Every admitted node's.
    All,
    /// These accounts' (and this node's own).
    Some(BTreeSet<AccountId>),
}

impl FromStr for Partners {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
        ids.map(|id| id.parse().map_err(|_| format!("{id:?} is no account id")))
            .collect::<Result<_, _>>()
            .map(Self::Some)
    }
}

/// What this node has lent and borrowed.
pub struct Moves {
    partners: Partners,
    host: Mutex<Host>,
    hosted: Mutex<BTreeMap<Key, Hosted>>,
    loads: Mutex<BTreeMap<PeerId, (PeerLoad, u64)>>,
    tickets: AtomicU64,
    sweeping: std::sync::Once,
    /// Tasks that moved away and were done there.
    pub sent: AtomicU64,
    /// Tasks that came back undone.
    pub returned: AtomicU64,
    /// Tasks of others that were taken.
    pub taken: AtomicU64,
}

#[derive(Default)]
struct Hosted {
    work: Option<AbortHandle>,
    output: Option<Cid>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Moves {
    /// Nothing moved yet.
    pub fn new(partners: Partners) -> Self {
        // A restarted node must not use a number again while the other side remembers it.
        let tickets = AtomicU64::new(now_ms() << 16);
        Self {
            partners,
            host: Mutex::new(Host::new(MOST_HOSTED)),
            hosted: Mutex::default(),
            loads: Mutex::default(),
            tickets,
            sweeping: std::sync::Once::new(),
            sent: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        }
    }

    fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes what a peer says of its load.
    pub fn hear(&self, peer: PeerId, load: PeerLoad) {
        let mut loads = lock(&self.loads);
        if loads.len() < MOST_LOADS || loads.contains_key(&peer) {
            loads.insert(peer, (load, now_ms()));
        }
    }

    /// The connected partner with the most room, if it has none waiting.
    pub fn idlest(&self, shared: &Shared) -> Option<PeerId> {
        let loads = lock(&self.loads).clone();
        let fresh = |peer: &PeerId| {
            let (load, at_ms) = loads.get(peer)?;
            (now_ms().saturating_sub(*at_ms) < LOAD_TTL_MS && load.waiting == 0)
                .then_some(load.quota)
        };
        let partners = shared.connected().into_iter().filter(|peer| is_partner(shared, peer));
        partners.filter_map(|peer| Some((fresh(&peer)?, peer))).max().map(|(_, peer)| peer)
    }

    /// Tasks of others that are here now.
    pub fn hosted(&self) -> usize {
        lock(&self.host).len()
    }
}

/// True when virtual nodes may go to this peer and come from it.
pub fn is_partner(shared: &Shared, peer: &PeerId) -> bool {
    let node = shared.state().and_then(|s| s.node(&NodeKey(*peer))).ok().flatten();
    let Some(node) = node else { return false };
    match &shared.moves.partners {
        Partners::All => true,
        Partners::Some(ids) => {
            node.account == shared.keys.account_id() || ids.contains(&node.account)
        }
    }
}

/// Answers a peer's message about a virtual node.
pub fn answer(shared: &Arc<Shared>, from: PeerId, message: &[u8], reply: oneshot::Sender<Vec<u8>>) {
    let Ok(message) = Message::from_bytes(message) else { return };
    let welcome = is_partner(shared, &from) && !shared.fleet.limits().is_paused();
    let (answer, out) = lock(&shared.moves.host).on(from, message, welcome, now_ms());
    let _ = reply.send(answer.to_bytes());
    if let Some(out) = out {
        carry_out(shared, out);
    }
    let sweeper = shared.clone();
    shared.moves.sweeping.call_once(|| drop(shared.runtime.spawn(sweep(sweeper))));
}

fn carry_out(shared: &Arc<Shared>, out: HostOut) {
    match out {
        HostOut::Begin(key, offer) => {
            shared.moves.taken.fetch_add(1, Ordering::Relaxed);
            lock(&shared.moves.hosted).insert(key, Hosted::default());
            let doing = shared.clone();
            let task = shared.runtime.spawn(async move {
                let result = host(&doing, &key, &offer).await;
                lock(&doing.moves.host).ended(&key, result);
            });
            if let Some(hosted) = lock(&shared.moves.hosted).get_mut(&key) {
                hosted.work = Some(task.abort_handle());
            }
        }
        HostOut::Drop(key) => {
            let Some(hosted) = lock(&shared.moves.hosted).remove(&key) else { return };
            // The virtual node sees that nobody waits, and is free after its step.
            hosted.work.iter().for_each(AbortHandle::abort);
            if let Some(output) = hosted.output {
                shared.permissions.take_back(&key.0, output);
            }
        }
    }
}

/// Drops what silent sources left here.
async fn sweep(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let outs = lock(&shared.moves.host).expire(now_ms());
        outs.into_iter().for_each(|out| carry_out(&shared, out));
    }
}

/// Goes on with another machine's task.
async fn host(shared: &Arc<Shared>, key: &Key, offer: &Offer) -> Result<Ended, String> {
    let peers = [key.0];
    let fetch = async |cid: &Cid, most: u64| {
        let found = shared.net.fetch_blob(cid.0, &peers, most).await;
        found.map_err(|error| error.to_string())
    };
    if !shared.fleet.has(&offer.program) {
        let most = anthill_sandbox::wasm::cost::MAX_MODULE as u64;
        crate::modules::install(shared, &fetch(&offer.program, most).await?);
    }
    let snapshot = fetch(&offer.snapshot, offer.snapshot_len.min(MAX_SNAPSHOT)).await?;
    let input = match offer.input_len {
        0 => Vec::new(),
        length => fetch(&offer.input, length.min(MAX_INPUT)).await?,
    };
    let job = Job {
        program: offer.program,
        params: offer.params.0.clone(),
        input,
        cost_limit: offer.cost_limit,
        origin: Origin::Moved,
        snapshot: Some(snapshot),
    };
    let outcome = shared.fleet.run(job).await.map_err(|error| error.to_string())?;
    let output = outcome.to_output();
    let cid = Cid::of(&output);
    shared.net.put_blob(output).await.map_err(|error| error.to_string())?;
    shared.permissions.lend(&key.0, cid);
    if let Some(hosted) = lock(&shared.moves.hosted).get_mut(key) {
        hosted.output = Some(cid);
    }
    Ok(Ended { output: cid, chunks: outcome.chunks, cost: outcome.cost })
}

/// The answer of a peer, if it is one.
fn read_answer(bytes: &[u8]) -> Option<Answer> {
    Answer::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partners_are_all_or_named() {
        assert_eq!("all".parse(), Ok(Partners::All));
        assert_eq!("".parse(), Ok(Partners::Some(BTreeSet::new())));
        let (a, b) = (AccountId([1; 32]), AccountId([2; 32]));
        assert_eq!(format!("{a}, {b}").parse(), Ok(Partners::Some(BTreeSet::from([a, b]))));
        assert!("everybody".parse::<Partners>().is_err());
    }
}
