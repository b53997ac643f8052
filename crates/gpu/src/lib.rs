//! Run WGSL kernels on a graphics processor: exact int8 and focus, approximate f32, pooled staging.
//!
//! A [`Device`] is an open adapter. [`Int8Weights`], [`int8_gemm`] and [`Int8Rows`], [`BitRows`] compute
//! in integers and return the same bits as the functions of [`cpu`] on every adapter. All that computes
//! in f32 returns [`Approximate`], which cannot be taken for a result that others verify. A [`Kernel`]
//! of one's own runs by [`Device::run`] or, many in one submission, by a [`Batch`]. [`focus`] ranks the
//! knowledge graph, with the processor's bits.
//!
//! `docs/GPU.md` says what was measured, and on what.

mod adapter;
mod approximate;
mod attention;
mod batch;
mod buffer;
pub mod cpu;
mod device;
mod elementwise;
mod error;
pub mod focus;
mod int8;
mod limits;
mod lora;
mod matmul;
mod nearest;
mod pipeline;
mod pool;

pub use adapter::{AdapterInfo, AdapterKind, Choice, adapters};
pub use approximate::Approximate;
pub use attention::{AttentionShape, attention};
pub use batch::{Batch, Grid, Prepared};
pub use buffer::{Buffer, Word};
pub use device::{Device, Options};
pub use elementwise::{Binary, Reduction, Unary, binary, reduce, unary};
pub use error::GpuError;
pub use int8::{Int8Weights, MAX_INNER, int8_gemm};
pub use limits::Limits;
pub use lora::{Lora, LoraShape};
pub use matmul::{Matrix, matmul, matmul_in_order};
pub use nearest::{BitRows, Int8Rows, MAX_KEPT, Neighbour};
pub use pipeline::Kernel;
pub use pool::{POOL_BYTES, PoolStats};

/// All kernels of this crate, for tests of their text.
pub const KERNELS: [Kernel; 22] = [
    int8::GEMM,
    nearest::DOTS,
    nearest::HAMMING,
    nearest::TOP_K,
    matmul::MATMUL,
    matmul::THIN,
    matmul::PINNED,
    lora::ADD_SCALED,
    attention::ATTENTION,
    elementwise::MAP,
    elementwise::REDUCE,
    focus::GATHER,
    focus::HEAVY,
    focus::COMBINE,
    focus::WIDE_PASSES.total,
    focus::WIDE_PASSES.rest,
    focus::WIDE_PASSES.apply,
    focus::WIDE_PASSES.close,
    focus::NARROW_PASSES.total,
    focus::NARROW_PASSES.rest,
    focus::NARROW_PASSES.apply,
    focus::NARROW_PASSES.close,
];
