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

mod graph;
mod index;
mod snapshot;

pub use index::Index;

/// Name of an item: the hash of what was embedded.
pub type ItemId = [u8; 32];
/// Most dimensions of an index.
pub const MAX_DIMENSIONS: usize = 4096;
/// Most items of an index.
pub const MAX_ITEMS: usize = 1 << 28;
/// Highest level of a node.
pub const MAX_LEVEL: u8 = 15;

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
}

impl Default for Params {
    fn default() -> Self {
        Self { m: 32, m0: 64, ef_construction: 200, ef_search: 64 }
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
            && (1..=4096).contains(&self.ef_search);
        if fine { Ok(()) } else { Err(VectorError::BadParams { params: *self }) }
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
