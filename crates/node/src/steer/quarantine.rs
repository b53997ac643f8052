//! Who is cut off now: the warden's orders, and what the transport asks before it lets anybody in.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anthill_net::PeerId;
use anthill_scheduler::controller::Action;
use anthill_scheduler::controller::warden::{Order, Warden};

use super::anomalies::Suspect;

/// The warden of this node, shared with the transport.
#[derive(Default)]
pub struct Quarantine(Mutex<Held>);

#[derive(Default)]
struct Held {
    warden: Warden<Suspect>,
    until_ms: BTreeMap<PeerId, u64>,
}

impl Quarantine {
    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts anomalies of a suspect in this beat.
    pub fn note(&self, suspect: Suspect, anomalies: u64) {
        self.lock().warden.note(suspect, anomalies);
    }

    /// Ends a beat with its action; at most `most` suspects are held at once.
    pub fn act(&self, action: Action, most: usize, now_ms: u64) -> Vec<Order<Suspect>> {
        let mut held = self.lock();
        let orders = held.warden.act(action, most, now_ms);
        for order in &orders {
            match order {
                Order::Cut(Suspect::Peer(peer), until) => drop(held.until_ms.insert(*peer, *until)),
                Order::Release(Suspect::Peer(peer)) => drop(held.until_ms.remove(peer)),
                _ => {}
            }
        }
        orders
    }

    /// True while a peer is cut off.
    pub fn holds(&self, peer: &PeerId) -> bool {
        self.lock().until_ms.contains_key(peer)
    }

    /// The peers that are cut off, with the ends of their terms.
    pub fn all(&self) -> Vec<(PeerId, u64)> {
        self.lock().until_ms.iter().map(|(peer, until)| (*peer, *until)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_peer_is_held_until_its_term_is_over() {
        let (quarantine, peer) = (Quarantine::default(), [1; 32]);
        quarantine.note(Suspect::Peer(peer), 20);
        quarantine.note(Suspect::VirtualNode(3), 5);
        assert_eq!(quarantine.act(Action::Alert, 1, 0), [], "not without the action");
        assert!(!quarantine.holds(&peer));
        quarantine.note(Suspect::Peer(peer), 20);
        let orders = quarantine.act(Action::Quarantine, 1, 1_000);
        let [Order::Cut(Suspect::Peer(cut), until)] = orders[..] else { panic!("{orders:?}") };
        assert!(cut == peer && until > 1_000 && quarantine.holds(&peer));
        assert_eq!(quarantine.all(), [(peer, until)]);
        assert_eq!(quarantine.act(Action::Noop, 1, until - 1), []);
        let orders = quarantine.act(Action::Noop, 1, until);
        assert_eq!(orders, [Order::Release(Suspect::Peer(peer))]);
        assert!(!quarantine.holds(&peer) && quarantine.all().is_empty());
    }
}
