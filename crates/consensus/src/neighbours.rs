//! What every back-end does about peers that are at another height: keep what comes early, help who
//! is behind, say when this node is.

use crate::Out;
use std::collections::BTreeMap;

/// Decided heights whose time is remembered.
const MAX_RECENT: usize = 64;
/// Heights ahead of the current one whose messages are kept.
const MAX_AHEAD: u64 = 2;
/// Messages of a later height kept per peer, and their bytes over all peers.
const MAX_EARLY_PER_PEER: usize = 64;
const MAX_EARLY_BYTES: usize = 32 << 20;
/// Peers whose last help is remembered.
const MAX_HELPED: usize = 1024;

/// A message that came before its height, and its sender.
pub(crate) type Early = ([u8; 32], Vec<u8>);

/// Peers at other heights.
pub(crate) struct Neighbours {
    patience_ms: u64,
    /// Messages of later heights, in order of arrival.
    early: BTreeMap<u64, Vec<Early>>,
    /// When the last heights were decided.
    recent: BTreeMap<u64, u64>,
    /// When each peer was last helped.
    helped: BTreeMap<[u8; 32], u64>,
    /// When the caller was last told that the others are ahead.
    told_behind: Option<u64>,
}

impl Neighbours {
    /// `patience_ms` is how long votes of a decided height count as late, not as repeated.
    pub(crate) fn new(patience_ms: u64) -> Self {
        let (early, recent, helped) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { patience_ms, early, recent, helped, told_behind: None }
    }

    /// Takes a message of a height beyond `current`: keeps it until that height starts, and says
    /// now and then that a peer speaks of a height beyond the next one.
    pub(crate) fn ahead(
        &mut self,
        current: u64,
        height: u64,
        from: [u8; 32],
        bytes: &[u8],
        now_ms: u64,
    ) -> Option<Out> {
        if height - current <= MAX_AHEAD {
            let kept: usize = self.early.values().flatten().map(|(_, bytes)| bytes.len()).sum();
            let queue = self.early.entry(height).or_default();
            let of_peer = queue.iter().filter(|(peer, _)| *peer == from).count();
            if of_peer < MAX_EARLY_PER_PEER && kept + bytes.len() <= MAX_EARLY_BYTES {
                queue.push((from, bytes.to_vec()));
            }
        }
        let due = self.told_behind.is_none_or(|at| now_ms.saturating_sub(at) >= self.patience_ms);
        if height <= current + 1 || !due {
            return None;
        }
        self.told_behind = Some(now_ms);
        Some(Out::Behind { peer: from, height })
    }

    /// The messages that came before `height` began.
    pub(crate) fn take_early(&mut self, height: u64) -> Vec<Early> {
        let later = self.early.split_off(&(height + 1));
        let mut now = std::mem::replace(&mut self.early, later);
        now.remove(&height).unwrap_or_default()
    }

    /// Asks the caller to send a peer the block of a decided height of which it still speaks.
    pub(crate) fn help(&mut self, to: [u8; 32], height: u64, now_ms: u64) -> Option<Out> {
        let since = |at: &u64| now_ms.saturating_sub(*at);
        // Votes that arrive soon after the decision are late, not repeated.
        let too_soon = self.recent.get(&height).is_some_and(|at| since(at) < self.patience_ms);
        let again = self.helped.get(&to).is_some_and(|at| since(at) < self.patience_ms / 2);
        if too_soon || again {
            return None;
        }
        if self.helped.len() >= MAX_HELPED {
            self.helped.clear();
        }
        self.helped.insert(to, now_ms);
        Some(Out::Help { to, height })
    }

    /// Notes when a height was decided.
    pub(crate) fn decided(&mut self, height: u64, now_ms: u64) {
        self.recent.entry(height).or_insert(now_ms);
        if self.recent.len() > MAX_RECENT {
            self.recent.pop_first();
        }
    }
}
