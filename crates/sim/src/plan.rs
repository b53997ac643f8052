//! What one seed asks for: nodes with their roles, disks, faults and work.

use std::fmt;

use anthill_types::ConsensusKind;

use crate::rng::Rng;

/// A minute of simulated time.
pub const MINUTE: u64 = 60_000;

/// How a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Follows the protocol.
    Honest,
    /// Returns wrong results of its own.
    Liar,
    /// Returns the same wrong results as its accomplices.
    Colluder,
    /// Does not work; copies what others reveal, or commits to nothing.
    FreeRider,
    /// Signs two votes where one is allowed, and proposes invalid blocks.
    Equivocator,
    /// Forges votes, certificates, transactions and blocks, and plays old ones again.
    Forger,
    /// Sends as much as it can.
    Flooder,
    /// One of many nodes of a single operator, all lying alike.
    Sybil,
}

impl Role {
    /// True for nodes that follow the protocol.
    pub fn is_honest(self) -> bool {
        self == Self::Honest
    }

    /// True for nodes whose results cannot be believed.
    pub fn lies(self) -> bool {
        matches!(self, Self::Liar | Self::Colluder | Self::Sybil | Self::FreeRider)
    }
}

/// What a node's state is kept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskKind {
    /// Memory whose commits are atomic.
    Memory,
    /// redb on a simulated disk that can tear, lose and misplace writes.
    Simulated,
}

/// A thing that goes wrong, from a time until another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins, milliseconds from the start.
    pub at: u64,
    /// When it ends.
    pub until: u64,
    /// What it is.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The process is killed and starts again at the end.
    Crash {
        /// Which.
        node: usize,
    },
    /// The process is killed between two effects of one step, and starts again at the end.
    CrashInStep {
        /// Which.
        node: usize,
    },
    /// The power of a simulated disk fails in one of its next operations.
    PowerCut {
        /// Which.
        node: usize,
        /// How many operations later.
        operations: u64,
        /// What is left of unsynced writes: 0 none, 1 a prefix, 2 a subset.
        mode: u8,
    },
    /// Nodes inside and outside the set cannot speak to each other.
    Partition {
        /// The set, a bit a node.
        side: u32,
    },
    /// What the first set sends to the second is lost.
    OneWay {
        /// Senders.
        from: u32,
        /// Receivers.
        to: u32,
    },
    /// Messages are lost at this rate, in per mille.
    Loss(u64),
    /// Messages come twice.
    Duplicate(u64),
    /// Messages come up to two seconds later than those sent after them.
    Reorder(u64),
    /// A byte of a message changes.
    Corrupt(u64),
    /// A clock is wrong by so many milliseconds.
    Skew {
        /// Which.
        node: usize,
        /// By how much.
        ms: i64,
    },
    /// A clock jumps at the start and jumps back at the end.
    Jump {
        /// Which.
        node: usize,
        /// By how much.
        ms: i64,
    },
    /// Each commit takes so long.
    SlowDisk {
        /// Which.
        node: usize,
        /// Milliseconds.
        ms: u64,
    },
    /// The disk takes nothing more; the process ends, and starts again when there is room.
    DiskFull {
        /// Which.
        node: usize,
    },
    /// A commit is written and reported as failed.
    LostReply {
        /// Which.
        node: usize,
    },
    /// A write of a simulated disk lands elsewhere; the process ends and starts again.
    Misdirect {
        /// Which.
        node: usize,
    },
    /// A stored bit flips while the process is down.
    Rot {
        /// Which.
        node: usize,
    },
    /// The node hears and speaks to dishonest nodes alone.
    Eclipse {
        /// Which.
        victim: usize,
    },
    /// The flooders send what they can.
    Flood,
    /// A node leaves for good.
    Leave {
        /// Which.
        node: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} from {} to {} ms", self.kind, self.at, self.until)
    }
}

/// Everything that a seed asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Roles of the founding validators.
    pub founders: Vec<Role>,
    /// Roles of nodes that join later, and when.
    pub joiners: Vec<(Role, u64)>,
    /// Disks of all nodes, founders first.
    pub disks: Vec<DiskKind>,
    /// Shortest and longest time of a message, milliseconds.
    pub latency: (u64, u64),
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// How long faults may happen, milliseconds.
    pub safety_ms: u64,
    /// How long the cluster then has to converge, milliseconds.
    pub heal_ms: u64,
    /// Mean time between two submissions, milliseconds.
    pub work_every_ms: u64,
    /// Values in a beacon chain.
    pub beacon_length: usize,
    /// How the nodes agree.
    pub consensus: ConsensusKind,
}

/// Simulated minutes of a run: faults, then convergence.
pub const SAFETY_MINUTES: u64 = 7;
/// The rest of the ten minutes.
pub const HEAL_MINUTES: u64 = 3;

impl Plan {
    /// The plan of a seed: 4 to 16 nodes.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 1);
        let founders = rng.between(4, 11) as usize;
        let joiners = rng.between(0, 5).min(16 - founders as u64) as usize;
        Self::with_nodes(seed, founders, joiners)
    }

    /// A plan with a given number of founders and joiners.
    pub fn with_nodes(seed: u64, founders: usize, joiners: usize) -> Self {
        let mut rng = Rng::new(seed, 2);
        let safety_ms = SAFETY_MINUTES * MINUTE;
        let roles = founder_roles(&mut rng, founders);
        let swarm = rng.chance(300);
        let joiners: Vec<(Role, u64)> = (0..joiners)
            .map(|_| (joiner_role(&mut rng, swarm), rng.between(20_000, safety_ms / 2)))
            .collect();
        let all = founders + joiners.len();
        let disks = (0..all).map(|_| disk(&mut rng)).collect();
        let mut plan = Self {
            seed,
            founders: roles,
            joiners,
            disks,
            latency: *rng.pick(&[(1, 5), (5, 40), (20, 120), (50, 400)]).unwrap_or(&(5, 40)),
            faults: Vec::new(),
            safety_ms,
            heal_ms: HEAL_MINUTES * MINUTE,
            work_every_ms: rng.between(4_000, 20_000),
            beacon_length: if rng.chance(150) { rng.between(1, 6) } else { rng.between(66, 400) }
                as usize,
            consensus: consensus(seed),
        };
        plan.faults = faults(&mut rng, &plan);
        plan
    }

    /// Number of nodes, joiners included.
    pub fn nodes(&self) -> usize {
        self.founders.len() + self.joiners.len()
    }

    /// A node's role.
    pub fn role(&self, node: usize) -> Role {
        let joiner = || self.joiners.get(node - self.founders.len()).map(|(role, _)| *role);
        self.founders.get(node).copied().or_else(joiner).unwrap_or(Role::Honest)
    }

    /// Founders that are dishonest.
    pub fn dishonest(&self) -> usize {
        self.founders.iter().filter(|role| !role.is_honest()).count()
    }
}

/// Every fifth seed runs Snowman.
fn consensus(seed: u64) -> ConsensusKind {
    if seed % 5 == 2 { ConsensusKind::Snowman } else { ConsensusKind::Bft }
}

/// Fewer than a third of the founders are dishonest, and, so that a committee of seven cannot be
/// theirs, at most four of them lie.
fn founder_roles(rng: &mut Rng, founders: usize) -> Vec<Role> {
    let most = (founders - 1) / 3;
    let bad = rng.between(0, most as u64) as usize;
    let kinds = [
        Role::Liar,
        Role::Colluder,
        Role::FreeRider,
        Role::Equivocator,
        Role::Forger,
        Role::Flooder,
    ];
    let mut roles = vec![Role::Honest; founders];
    for role in roles.iter_mut().take(bad) {
        *role = *rng.pick(&kinds).unwrap_or(&Role::Liar);
    }
    // Not always the first nodes.
    let turn = rng.below(founders as u64) as usize;
    roles.rotate_right(turn);
    roles
}

fn joiner_role(rng: &mut Rng, swarm: bool) -> Role {
    if swarm {
        return Role::Sybil;
    }
    let kinds = [Role::Honest, Role::Honest, Role::Honest, Role::Liar, Role::FreeRider];
    *rng.pick(&kinds).unwrap_or(&Role::Honest)
}

fn disk(rng: &mut Rng) -> DiskKind {
    if rng.chance(80) { DiskKind::Simulated } else { DiskKind::Memory }
}

fn faults(rng: &mut Rng, plan: &Plan) -> Vec<Fault> {
    let count = rng.between(6, 24);
    let mut list: Vec<Fault> = (0..count).map(|_| fault(rng, plan)).collect();
    // Wiped disks cost a vote each: with the dishonest they stay below a third, and so that every
    // poll of a Snowman node can win, at most a quarter.
    let most = match plan.consensus {
        ConsensusKind::Bft => (plan.founders.len() - 1) / 3,
        ConsensusKind::Snowman => plan.founders.len() / 4,
    };
    let mut lost = plan.dishonest();
    list.retain(|fault| match fault.kind {
        FaultKind::Misdirect { node } | FaultKind::Rot { node } if node < plan.founders.len() => {
            lost += 1;
            lost <= most
        }
        _ => true,
    });
    list.sort_by_key(|fault| (fault.at, fault.until));
    list
}

fn fault(rng: &mut Rng, plan: &Plan) -> Fault {
    let at = rng.between(2_000, plan.safety_ms - 10_000);
    let until = (at + rng.between(1_000, 60_000)).min(plan.safety_ms);
    let kind = fault_kind(rng, plan);
    Fault { at, until, kind }
}

fn fault_kind(rng: &mut Rng, plan: &Plan) -> FaultKind {
    let node = rng.below(plan.nodes() as u64) as usize;
    let all = (1u64 << plan.nodes()) - 1;
    let some = |rng: &mut Rng| (rng.draw() & all) as u32;
    let on_disk = (0..plan.nodes()).filter(|i| plan.disks.get(*i) == Some(&DiskKind::Simulated));
    let on_disk: Vec<usize> = on_disk.collect();
    match rng.below(24) {
        0..=3 => FaultKind::Crash { node },
        4 | 5 => FaultKind::CrashInStep { node },
        6 | 7 => FaultKind::Partition { side: some(rng) },
        8 => FaultKind::OneWay { from: some(rng), to: some(rng) },
        9 | 10 => FaultKind::Loss(rng.between(10, 300)),
        11 => FaultKind::Duplicate(rng.between(10, 400)),
        12 => FaultKind::Reorder(rng.between(10, 300)),
        13 => FaultKind::Corrupt(rng.between(5, 100)),
        14 => FaultKind::Skew { node, ms: rng.between(0, 8_000) as i64 - 4_000 },
        15 => FaultKind::Jump { node, ms: rng.between(0, 60_000) as i64 - 30_000 },
        16 => FaultKind::SlowDisk { node, ms: rng.between(5, 400) },
        17 => FaultKind::DiskFull { node },
        18 => FaultKind::LostReply { node },
        19 => FaultKind::Eclipse { victim: node },
        20 => FaultKind::Flood,
        21 if node >= plan.founders.len() => FaultKind::Leave { node },
        other => match rng.pick(&on_disk).copied() {
            None => FaultKind::Crash { node },
            Some(node) if other == 22 && rng.chance(400) => FaultKind::Misdirect { node },
            Some(node) if other == 22 => FaultKind::Rot { node },
            Some(node) => {
                let (operations, mode) = (rng.between(1, 60), rng.below(3) as u8);
                FaultKind::PowerCut { node, operations, mode }
            }
        },
    }
}
