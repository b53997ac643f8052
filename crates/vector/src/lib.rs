//! Find nearest neighbours with a deterministic HNSW index that has an identity.
//!
//! The graph is that of Malkov and Yashunin ("Efficient and robust approximate nearest neighbor
//! search using hierarchical navigable small world graphs", 2018), algorithms 1 to 5, over unit
//! vectors with the cosine as score. A node's level comes from a hash of its id and equal scores
//! are ordered by id, so replaying the same inserts gives the same graph, bit for bit.
//!
//! Architecture Invariant: [`Index::digest`] depends on the parameters and the ordered log of
//! inserts alone; [`Index::identity`] depends on the parameters and the set of items alone.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod ask;
mod by_id;
pub mod filter;
mod graph;
mod index;
mod legacy;
pub mod log;
mod read;
mod rows;
mod search;
pub mod shards;
mod snapshot;
mod space;
mod store;
mod view;

pub use ask::nearest_rows;
pub use filter::{Plan, Route};
pub use index::Index;
pub use log::{Journal, Op, Vector};
pub use search::Scratch;
pub use shards::{AnswerFault, Audit, merge_answers};
pub use view::View;

/// Name of an item: the hash of what was embedded.
pub type ItemId = [u8; 32];
/// Items found with their scores, best first.
pub type Answer = Vec<(ItemId, f32)>;
/// Most dimensions of an index.
pub const MAX_DIMENSIONS: usize = 4096;
/// Most items of an index.
pub const MAX_ITEMS: usize = 1 << 28;
/// Highest level of a node.
pub const MAX_LEVEL: u8 = 15;

/// How two vectors are scored; a higher score is always the nearer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    /// The cosine of unit vectors.
    #[default]
    Cosine,
    /// The dot product of any vectors.
    Dot,
    /// The squared Euclidean distance, negative.
    L2,
    /// The number of differing bits, negative.
    Hamming,
}

/// What is stored of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// The f32 values, and 8-bit codes beside them: the codes steer a search, the values rank what
    /// it found. 1.25 times the memory of the values, and the fastest.
    #[default]
    F32Int8,
    /// The f32 values alone; they steer and rank.
    F32,
    /// 8-bit codes and a scale alone (a quarter of the memory): the codes steer, the exact query
    /// and the dequantised codes rank.
    Int8,
    /// Bits, for [`Metric::Hamming`].
    Bits,
}

impl Storage {
    /// Whether 8-bit codes are stored.
    pub(crate) fn has_codes(self) -> bool {
        matches!(self, Self::F32Int8 | Self::Int8)
    }

    /// Whether f32 values are stored.
    pub(crate) fn has_values(self) -> bool {
        matches!(self, Self::F32Int8 | Self::F32)
    }
}

/// A vector as it is given: values, or words of bits.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Finite values, as many as the index has dimensions; of unit length for [`Metric::Cosine`],
    /// at most 1e18 long for the others.
    Values(&'a [f32]),
    /// For [`Storage::Bits`]: one word for each 64 dimensions.
    Bits(&'a [u64]),
}

impl<'a> From<&'a [f32]> for Input<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::Values(values)
    }
}

impl<'a> From<&'a Vec<f32>> for Input<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Self::Values(values)
    }
}

impl<'a, const N: usize> From<&'a [f32; N]> for Input<'a> {
    fn from(values: &'a [f32; N]) -> Self {
        Self::Values(values)
    }
}

impl<'a> From<&'a [u64]> for Input<'a> {
    fn from(words: &'a [u64]) -> Self {
        Self::Bits(words)
    }
}

impl<'a> From<&'a Vec<u64>> for Input<'a> {
    fn from(words: &'a Vec<u64>) -> Self {
        Self::Bits(words)
    }
}

/// How the graph is built and searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Links of a new node on each level, and at most so many above the ground level (2..=256).
    pub m: u32,
    /// Most links on the ground level (m..=512).
    pub m0: u32,
    /// Candidates kept while inserting (1..=4096).
    pub ef_construction: u32,
    /// Candidates kept while searching, unless the caller says otherwise (1..=4096).
    pub ef_search: u32,
    /// How two vectors are scored.
    pub metric: Metric,
    /// What is stored of a vector; [`Storage::Bits`] goes with [`Metric::Hamming`] and no other.
    pub storage: Storage,
}

impl Default for Params {
    fn default() -> Self {
        let (metric, storage) = (Metric::default(), Storage::default());
        Self { m: 32, m0: 64, ef_construction: 200, ef_search: 64, metric, storage }
    }
}

impl Params {
    /// Refuses parameters outside their ranges.
    ///
    /// # Errors
    /// [`VectorError::BadParams`].
    pub fn check(&self) -> Result<(), VectorError> {
        let fine = (2..=256).contains(&self.m)
            && (self.m..=512).contains(&self.m0)
            && (1..=4096).contains(&self.ef_construction)
            && (1..=4096).contains(&self.ef_search)
            && (self.metric == Metric::Hamming) == (self.storage == Storage::Bits);
        if fine { Ok(()) } else { Err(VectorError::BadParams { params: *self }) }
    }

    /// The kinds of metric and storage as one number; 0 is the default, which is not written, so
    /// that indexes from before there was a choice keep their identity.
    pub(crate) fn kinds(&self) -> u32 {
        self.metric as u32 | (self.storage as u32) << 8
    }
}

/// Why the index refused something.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VectorError {
    /// Parameters or dimensions are out of range.
    #[error("index parameters {params:?} or the dimensions are out of range; see Params")]
    BadParams {
        /// The parameters given.
        params: Params,
    },
    /// The item is already there.
    #[error("item {} is already in the index; insert each item once", short(id))]
    Duplicate {
        /// The item.
        id: ItemId,
    },
    /// The vector has another length than the index's dimensions.
    #[error("a vector has {found} values but the index has {expected} dimensions")]
    Dimensions {
        /// Dimensions of the index.
        expected: usize,
        /// Length of the vector.
        found: usize,
    },
    /// The vector holds a NaN or an infinity.
    #[error(transparent)]
    NotFinite(#[from] anthill_kernels::KernelError),
    /// The vector is not of unit length, so its scores would not be cosines.
    #[error("a vector has length {norm}, not 1; normalise it first")]
    NotUnit {
        /// The length found.
        norm: f32,
    },
    /// The vector is zero, and so has no direction.
    #[error("a vector is zero and has no cosine with anything; leave empty inputs out")]
    Zero,
    /// The vector is too long to be scored in `f32`.
    #[error("a vector has length {norm}, more than 1e18; scale the vectors down")]
    TooLong {
        /// The length found.
        norm: f32,
    },
    /// Bits were given to an index of values, or values to an index of bits.
    #[error("{} in an index of {}; check the metric", if *bits { "bits" } else { "values" }, if *bits { "values" } else { "bits" })]
    Kind {
        /// Bits were given.
        bits: bool,
    },
    /// The index holds nothing to be found.
    #[error("the index is empty; insert items before asking it")]
    Empty,
    /// More items are asked for than there are.
    #[error("{k} items are asked for, but the index holds {items}; ask for at most so many")]
    TooMany {
        /// Items asked for.
        k: usize,
        /// Items in the index.
        items: usize,
    },
    /// The item is not there.
    #[error("item {} is not in the index", short(id))]
    Unknown {
        /// The item.
        id: ItemId,
    },
    /// The vectors come from another model than the index's.
    #[error("vectors of model {} cannot enter an index of model {}", short(found), short(expected))]
    OtherModel {
        /// Model of the index.
        expected: [u8; 32],
        /// Model of the vectors.
        found: [u8; 32],
    },
    /// The index holds [`MAX_ITEMS`].
    #[error("the index is full; start another one")]
    Full,
    /// A snapshot is damaged or of another kind.
    #[error("the index snapshot is damaged ({what}); rebuild the index or restore a backup")]
    Corrupt {
        /// The part that does not fit.
        what: &'static str,
    },
}

/// The first eight bytes of a hash, hexadecimal, for messages.
fn short(id: &[u8; 32]) -> String {
    id.iter().take(8).map(|b| format!("{b:02x}")).collect()
}
