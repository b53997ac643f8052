//! Why a graph or a run was refused.

/// What the focus crate refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FocusError {
    /// A stake is out of range.
    #[error("the stake {stake} of neuron {neuron} is not below 2^96; give a smaller one")]
    Stake {
        /// Whose.
        neuron: String,
        /// How much.
        stake: u128,
    },
    /// The stakes together are out of range.
    #[error("the stakes sum to 2^96 or more; give smaller ones")]
    StakeSum,
    /// The damping is out of range, or no decimal number.
    #[error("the damping {0:?} is not a decimal number above 0.7 and up to 0.9929")]
    Damping(String),
    /// Too many particles or links for this version's indexes.
    #[error("{0} {1} are more than a graph can hold")]
    TooLarge(usize, &'static str),
    /// A start vector does not belong to the graph.
    #[error("{found} masses were given for {particles} particles")]
    Masses {
        /// Masses given.
        found: usize,
        /// Particles of the graph.
        particles: usize,
    },
    /// A start vector has the wrong sum.
    #[error("the masses sum to {0}, not to 2^62 = 4611686018427387904")]
    Sum(u128),
    /// A delta's encoding is damaged.
    #[error("the encoded delta is damaged: {0}")]
    Delta(&'static str),
    /// An outcome was made for another change.
    #[error("this outcome belongs to another change of the graph; compute it anew")]
    Outcome,
}
