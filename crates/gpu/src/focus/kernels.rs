//! The texts of the focus kernels, the passes over all rows for wide workgroups and for narrow ones.

use crate::Kernel;

/// Rows of a workgroup of the gathering kernel.
pub(crate) const GATHERED: usize = 64;
/// Rows that an invocation of the passes over all rows takes (`BLOCK` in their texts).
const ROWS_PER_LANE: usize = 4;

const WIDE: &str = include_str!("../shaders/focus/wide.wgsl");
const NARROW: &str = include_str!("../shaders/focus/narrow.wgsl");
const WORDS: &str = include_str!("../shaders/focus/words.wgsl");
const TREE: &str = include_str!("../shaders/focus/tree.wgsl");
const FLOW: &str = include_str!("../shaders/focus/flow.wgsl");
const TOTAL: &str = include_str!("../shaders/focus/total.wgsl");
const REST: &str = include_str!("../shaders/focus/rest.wgsl");
const APPLY: &str = include_str!("../shaders/focus/apply.wgsl");
const CLOSE: &str = include_str!("../shaders/focus/close.wgsl");

/// Rows of few entries, one an invocation.
pub(crate) const GATHER: Kernel =
    Kernel::new("focus_gather", &[WORDS, FLOW, include_str!("../shaders/focus/gather.wgsl")]);
/// Pieces of heavy rows, one a workgroup.
pub(crate) const HEAVY: Kernel = Kernel::new(
    "focus_heavy",
    &[NARROW, WORDS, TREE, FLOW, include_str!("../shaders/focus/heavy.wgsl")],
);
/// Heavy rows from their pieces, one a workgroup.
pub(crate) const COMBINE: Kernel = Kernel::new(
    "focus_combine",
    &[NARROW, WORDS, TREE, include_str!("../shaders/focus/combine.wgsl")],
);

/// The kernels of the passes over all rows.
#[derive(Debug)]
pub(crate) struct Passes {
    pub total: Kernel,
    pub rest: Kernel,
    pub apply: Kernel,
    pub close: Kernel,
    /// Rows of a workgroup of `total` and `apply`.
    pub block: usize,
}

/// 256 invocations a workgroup.
pub(crate) const WIDE_PASSES: Passes = Passes {
    total: Kernel::new("focus_total", &[WIDE, WORDS, TREE, TOTAL]),
    rest: Kernel::new("focus_rest", &[WIDE, WORDS, TREE, REST]),
    apply: Kernel::new("focus_apply", &[WIDE, WORDS, TREE, APPLY]),
    close: Kernel::new("focus_close", &[WIDE, WORDS, TREE, CLOSE]),
    block: 256 * ROWS_PER_LANE,
};

/// 64 invocations a workgroup.
pub(crate) const NARROW_PASSES: Passes = Passes {
    total: Kernel::new("focus_total_narrow", &[NARROW, WORDS, TREE, TOTAL]),
    rest: Kernel::new("focus_rest_narrow", &[NARROW, WORDS, TREE, REST]),
    apply: Kernel::new("focus_apply_narrow", &[NARROW, WORDS, TREE, APPLY]),
    close: Kernel::new("focus_close_narrow", &[NARROW, WORDS, TREE, CLOSE]),
    block: 64 * ROWS_PER_LANE,
};
