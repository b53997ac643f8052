//! What can go wrong on a graphics processor.

/// Errors of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// The machine has no adapter that can compute.
    #[error(
        "no graphics adapter was found ({reason}): install the driver of the graphics card, or for a software adapter on Debian `apt-get install mesa-vulkan-drivers libvulkan1`"
    )]
    NoAdapter {
        /// Where was looked.
        reason: String,
    },
    /// No adapter matches what was asked for.
    #[error("no adapter is {wanted}; there are: {found}")]
    NoSuchAdapter {
        /// What was asked for.
        wanted: String,
        /// Names of the adapters that are there.
        found: String,
    },
    /// The adapter is there and does not open.
    #[error("adapter {adapter} does not open: {reason}")]
    Open {
        /// Name of the adapter.
        adapter: String,
        /// What the driver said.
        reason: String,
    },
    /// The device went away (driver reset, card removed, closed); its buffers are gone with it.
    #[error("adapter {adapter} was lost: {reason}; open the device again and upload again")]
    Lost {
        /// Name of the adapter.
        adapter: String,
        /// What the driver said.
        reason: String,
    },
    /// The adapter's memory is full.
    #[error("adapter {adapter} has no memory left: {reason}; free buffers, or take smaller parts")]
    OutOfMemory {
        /// Name of the adapter.
        adapter: String,
        /// What the driver said.
        reason: String,
    },
    /// A kernel does not compile.
    #[error("kernel {kernel} does not compile: {reason}")]
    Kernel {
        /// Name of the kernel.
        kernel: String,
        /// Message of the compiler.
        reason: String,
    },
    /// The driver refused an operation.
    #[error("adapter {adapter} refused an operation: {reason}")]
    Refused {
        /// Name of the adapter.
        adapter: String,
        /// What the driver said.
        reason: String,
    },
    /// A dimension is zero.
    #[error("{what} is zero: there is nothing to compute")]
    Empty {
        /// Name of the dimension.
        what: &'static str,
    },
    /// A slice does not have the length that its shape needs.
    #[error("{what} holds {found} values, its shape needs {wanted}")]
    Shape {
        /// Name of the argument.
        what: &'static str,
        /// Length that the shape needs.
        wanted: usize,
        /// Length that was given.
        found: usize,
    },
    /// A dimension is beyond what the kernel or the adapter takes.
    #[error("{what} is {found}, at most {limit} is possible here")]
    TooLarge {
        /// Name of the dimension.
        what: &'static str,
        /// Most that is possible.
        limit: u64,
        /// What was asked for.
        found: u64,
    },
    /// A value is NaN or infinite; WGSL does not say what arithmetic makes of those.
    #[error("{what}[{index}] is not finite")]
    NotFinite {
        /// Name of the argument.
        what: &'static str,
        /// Position of the first such value.
        index: usize,
    },
    /// A graph that focus cannot be computed of.
    #[error("this is no graph to rank: {reason}")]
    Graph {
        /// What is wrong with it.
        reason: String,
    },
    /// A buffer belongs to another device.
    #[error("a buffer of adapter {owner} was given to adapter {user}")]
    ForeignBuffer {
        /// Adapter that the buffer was made on.
        owner: String,
        /// Adapter that was to use it.
        user: String,
    },
}

/// Fails when a dimension is zero.
pub(crate) fn nonzero(dimensions: &[(&'static str, usize)]) -> Result<(), GpuError> {
    match dimensions.iter().find(|(_, value)| *value == 0) {
        Some((what, _)) => Err(GpuError::Empty { what }),
        None => Ok(()),
    }
}

/// Fails when a slice does not have `rows` x `columns` values.
pub(crate) fn check_len(
    what: &'static str,
    rows: usize,
    columns: usize,
    found: usize,
) -> Result<(), GpuError> {
    let wanted = rows.saturating_mul(columns);
    if wanted == found { Ok(()) } else { Err(GpuError::Shape { what, wanted, found }) }
}

/// Fails when a value is NaN or infinite.
pub(crate) fn finite(what: &'static str, values: &[f32]) -> Result<(), GpuError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(GpuError::NotFinite { what, index }),
        None => Ok(()),
    }
}

/// Fails when a dimension is beyond a limit.
pub(crate) fn at_most(what: &'static str, found: usize, limit: u64) -> Result<(), GpuError> {
    let found = found as u64;
    if found <= limit { Ok(()) } else { Err(GpuError::TooLarge { what, limit, found }) }
}

/// A dimension as the kernels take it.
pub(crate) fn word(what: &'static str, value: usize) -> Result<u32, GpuError> {
    let limit = u64::from(u32::MAX);
    u32::try_from(value).map_err(|_| GpuError::TooLarge { what, limit, found: value as u64 })
}
