//! The phases of a virtual node and the changes between them (seed 0, section 4).

use thiserror::Error;

/// Where a virtual node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It was made, and is not known to its parent yet.
    Spawn,
    /// It registers its id, its place and its proof hook.
    Initialize,
    /// It takes tasks and runs them.
    Active,
    /// It stands between two steps and keeps its state.
    Suspend,
    /// Its task is on its way to another machine, or runs there.
    Migrate,
    /// Its state is being taken over by its parent.
    Merge,
    /// It is gone.
    Terminate,
}

/// What happens to a virtual node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The parent gives it an id.
    Register,
    /// It is registered and begins.
    Begin,
    /// It is to stand still after its step.
    Suspend,
    /// It goes on.
    Resume,
    /// Its task leaves for another machine.
    Depart,
    /// Its task came back, or was done elsewhere.
    Return,
    /// It is idle or redundant: its last reports are taken over.
    Merge,
    /// It ends: merged, or cut off.
    Terminate,
}

/// A change that a virtual node's phase does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a virtual node in phase {phase:?} cannot take the change {change:?}")]
pub struct LifecycleError {
    /// Its phase.
    pub phase: Phase,
    /// What was asked.
    pub change: Change,
}

impl Phase {
    /// All phases, in the seed's order.
    pub const ALL: [Self; 7] = [
        Self::Spawn,
        Self::Initialize,
        Self::Active,
        Self::Suspend,
        Self::Migrate,
        Self::Merge,
        Self::Terminate,
    ];

    /// The phase after a change.
    ///
    /// # Errors
    /// [`LifecycleError`] when this phase does not allow it; then nothing changes.
    pub fn after(self, change: Change) -> Result<Self, LifecycleError> {
        use Change as C;
        match (self, change) {
            (Self::Spawn, C::Register) => Ok(Self::Initialize),
            (Self::Initialize, C::Begin) => Ok(Self::Active),
            (Self::Active, C::Suspend) => Ok(Self::Suspend),
            (Self::Suspend, C::Resume) => Ok(Self::Active),
            (Self::Active | Self::Suspend, C::Depart) => Ok(Self::Migrate),
            (Self::Migrate, C::Return) => Ok(Self::Active),
            (Self::Active | Self::Suspend, C::Merge) => Ok(Self::Merge),
            // Whatever it does, a virtual node can be cut off.
            (Self::Terminate, _) => Err(LifecycleError { phase: self, change }),
            (_, C::Terminate) => Ok(Self::Terminate),
            _ => Err(LifecycleError { phase: self, change }),
        }
    }

    /// Its name in tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Initialize => "initialize",
            Self::Active => "active",
            Self::Suspend => "suspend",
            Self::Migrate => "migrate",
            Self::Merge => "merge",
            Self::Terminate => "terminate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGES: [Change; 8] = [
        Change::Register,
        Change::Begin,
        Change::Suspend,
        Change::Resume,
        Change::Depart,
        Change::Return,
        Change::Merge,
        Change::Terminate,
    ];

    #[test]
    fn a_life_goes_through_the_seeds_phases() {
        let mut phase = Phase::Spawn;
        let life = [
            (Change::Register, Phase::Initialize),
            (Change::Begin, Phase::Active),
            (Change::Suspend, Phase::Suspend),
            (Change::Resume, Phase::Active),
            (Change::Depart, Phase::Migrate),
            (Change::Return, Phase::Active),
            (Change::Merge, Phase::Merge),
            (Change::Terminate, Phase::Terminate),
        ];
        for (change, expected) in life {
            phase = phase.after(change).unwrap();
            assert_eq!(phase, expected);
        }
        for change in CHANGES {
            let refused = phase.after(change).unwrap_err();
            assert_eq!(refused, LifecycleError { phase: Phase::Terminate, change });
        }
    }

    /// Every phase is reached, every phase but the last can be left, and what begins is never reached again.
    #[test]
    fn the_table_has_no_dead_end() {
        for phase in Phase::ALL {
            let next: Vec<Phase> = CHANGES.iter().filter_map(|c| phase.after(*c).ok()).collect();
            assert_eq!(next.is_empty(), phase == Phase::Terminate, "{phase:?}");
            assert!(!next.contains(&Phase::Spawn) && !next.contains(&phase), "{phase:?}");
            let reached =
                Phase::ALL.iter().any(|p| CHANGES.iter().any(|c| p.after(*c) == Ok(phase)));
            assert_eq!(reached, phase != Phase::Spawn, "{phase:?}");
        }
    }
}
