//! The texts of the focus kernels, for wide workgroups and for narrow ones.

use crate::Kernel;

/// Rows that a workgroup of the gathering kernel takes.
pub(crate) const SLICE: usize = 64;
/// Rows that an invocation of the passes over all rows takes (`BLOCK` in their texts).
const ROWS_PER_LANE: usize = 4;

const WIDE: &str = include_str!("../shaders/focus/wide.wgsl");
const NARROW: &str = include_str!("../shaders/focus/narrow.wgsl");
const WORDS: &str = include_str!("../shaders/focus/words.wgsl");
const TREE: &str = include_str!("../shaders/focus/tree.wgsl");
const HEAVY: &str = include_str!("../shaders/focus/heavy.wgsl");
const COMBINE: &str = include_str!("../shaders/focus/combine.wgsl");
const TOTAL: &str = include_str!("../shaders/focus/total.wgsl");
const REST: &str = include_str!("../shaders/focus/rest.wgsl");
const APPLY: &str = include_str!("../shaders/focus/apply.wgsl");
const CLOSE: &str = include_str!("../shaders/focus/close.wgsl");

/// Rows of few entries, one an invocation; 64 invocations a workgroup in both sets.
pub(crate) const GATHER: Kernel =
    Kernel::new("focus_gather", &[WORDS, include_str!("../shaders/focus/gather.wgsl")]);

/// The kernels of a step that add over a workgroup.
#[derive(Debug)]
pub(crate) struct Kernels {
    pub heavy: Kernel,
    pub combine: Kernel,
    pub total: Kernel,
    pub rest: Kernel,
    pub apply: Kernel,
    pub close: Kernel,
    /// Rows of a workgroup of `total` and `apply`.
    pub block: usize,
}

/// 256 invocations a workgroup.
pub(crate) const WIDE_SET: Kernels = Kernels {
    heavy: Kernel::new("focus_heavy", &[WIDE, WORDS, TREE, HEAVY]),
    combine: Kernel::new("focus_combine", &[WIDE, WORDS, TREE, COMBINE]),
    total: Kernel::new("focus_total", &[WIDE, WORDS, TREE, TOTAL]),
    rest: Kernel::new("focus_rest", &[WIDE, WORDS, TREE, REST]),
    apply: Kernel::new("focus_apply", &[WIDE, WORDS, TREE, APPLY]),
    close: Kernel::new("focus_close", &[WIDE, WORDS, TREE, CLOSE]),
    block: 256 * ROWS_PER_LANE,
};

/// 64 invocations a workgroup.
pub(crate) const NARROW_SET: Kernels = Kernels {
    heavy: Kernel::new("focus_heavy_narrow", &[NARROW, WORDS, TREE, HEAVY]),
    combine: Kernel::new("focus_combine_narrow", &[NARROW, WORDS, TREE, COMBINE]),
    total: Kernel::new("focus_total_narrow", &[NARROW, WORDS, TREE, TOTAL]),
    rest: Kernel::new("focus_rest_narrow", &[NARROW, WORDS, TREE, REST]),
    apply: Kernel::new("focus_apply_narrow", &[NARROW, WORDS, TREE, APPLY]),
    close: Kernel::new("focus_close_narrow", &[NARROW, WORDS, TREE, CLOSE]),
    block: 64 * ROWS_PER_LANE,
};
