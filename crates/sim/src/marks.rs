//! Coverage marks: what happened how often, so that a generator that never makes the bad order is
//! seen.

use std::collections::BTreeMap;

/// Faults that a campaign must have injected.
pub const FAULTS: [&str; 26] = [
    "fault: message lost",
    "fault: message duplicated",
    "fault: message delayed out of order",
    "fault: message corrupted",
    "fault: partition cut a message",
    "fault: one-way cut took a message",
    "fault: crash",
    "fault: crash between two effects",
    "fault: restart",
    "fault: clock skew",
    "fault: clock jump",
    "fault: slow disk",
    "fault: disk full",
    "fault: commit without a reply",
    "fault: power cut, unsynced writes lost",
    "fault: power cut, a prefix of them kept",
    "fault: power cut, a subset of them kept",
    "fault: misdirected write",
    "fault: bit rot",
    "fault: eclipse",
    "fault: flood",
    "fault: node joined",
    "fault: node left",
    "fault: double vote",
    "fault: wrong block proposed",
    "fault: message forged",
];

/// Branches of the protocol that a campaign must have taken.
pub const BRANCHES: [&str; 113] = [
    "role: liar",
    "role: liar about the cost alone",
    "role: colluding liar",
    "role: free-rider",
    "role: equivocator",
    "role: forger",
    "role: flooder",
    "role: sybil",
    "task: assigned",
    "task: assigned again after a failed attempt",
    "task: doubt, results differ",
    "task: doubt, nobody proven",
    "task: doubt, audit",
    "task: doubt, challenged",
    "task: second committee",
    "task: provisional",
    "task: final",
    "task: refunded",
    "task: cancelled before the draw",
    "task: cancelled after the draw",
    "task: worker late",
    "pay: task",
    "pay: epoch",
    "pay: slash",
    "pay: equivocation",
    "set: changed",
    "set: entered",
    "stake: delegated",
    "stake: unbonded",
    "stake: jailed",
    "stake: withdrawn",
    "governance: vote",
    "governance: passed",
    "governance: executed",
    "block: reveal missed",
    "block: beacon renewed",
    "block: agreed in a later round",
    "sync: decision received",
    "start: votes replayed",
    "start: from an empty disk",
    "sync: blocks fetched",
    "sync: a wrong answer",
    "sync: a state taken over",
    "sync: a wrong snapshot",
    "consensus: evidence",
    "epoch: closed",
    "transaction: refused",
    "proof: verified",
    "proof: altered and refused",
    "snowman: block agreed",
    "snowman: answer flipped",
    "snowman: proposal withheld",
    "snowman: block fetched",
    "bank: minted",
    "bank: multi-send",
    "escrow: released",
    "escrow: refunded",
    "link: made",
    "link: taken back",
    "focus: computed",
    "focus: no particle left",
    "name: registered",
    "name: taken after its time",
    "channel: opened",
    "channel: closed together",
    "channel: closed alone",
    "channel: corrected",
    "channel: who closed with an old version lost all",
    "channel: finalised",
    "controller: alert",
    "controller: peer cut off",
    "controller: a quarantine cut a frame",
    "controller: peer let back",
    "controller: a node forgot whom it held",
    "move: begun",
    "move: output fetched",
    "move: taken back",
    "move: question doubled",
    "move: question or answer lost",
    "move: the owner crashed",
    "move: a host crashed",
    "move: a clock was put right",
    "guest: counter",
    "guest: damaged module",
    "guest: bad parameters",
    "guest: endless loop",
    "guest: endless steps",
    "guest: memory bomb",
    "guest: flood of host calls",
    "guest: flood of the log",
    "guest: flood of output",
    "guest: stack bomb",
    "guest: trap",
    "guest: pointer outside of its memory",
    "guest: trap before its first step",
    "guest: gave up",
    "guest: reached for keys without a grant",
    "guest: forbidden import",
    "guest: no module",
    "guest: ended after several steps",
    "guest: paid",
    "guest: a lie about the meter",
    "guard: alert",
    "guard: peer cut off",
    "guard: peer let back",
    "guard: a quarantine cut a message",
    "visit: begun",
    "visit: taken in",
    "visit: the snapshot did not come",
    "visit: output fetched",
    "visit: taken back",
    "visit: a silent partner's guest was dropped",
    "visit: a stranger was refused",
];

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<&'static str, u64>);

impl Marks {
    /// Counts one.
    pub fn hit(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts several.
    pub fn add(&mut self, name: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// How often.
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Takes over another run's counts.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            self.add(name, *count);
        }
    }

    /// All counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(name, count)| (*name, *count))
    }

    /// Injected faults in all.
    pub fn faults(&self) -> u64 {
        FAULTS.iter().map(|name| self.count(name)).sum()
    }

    /// What a campaign should have met and has not.
    pub fn missing(&self) -> Vec<&'static str> {
        FAULTS.iter().chain(&BRANCHES).copied().filter(|name| self.count(name) == 0).collect()
    }
}
