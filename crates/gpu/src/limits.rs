//! What a device can do, and how work is cut to fit.

use crate::device::Options;
use crate::{GpuError, Grid};

/// Limits of an open device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes that a kernel may see as one buffer.
    pub binding_bytes: u64,
    /// Most workgroups in each dimension of a dispatch.
    pub groups: u32,
    /// Most bytes that the invocations of a workgroup share.
    pub workgroup_bytes: u32,
    /// Most invocations of a workgroup.
    pub invocations: u32,
    /// The adapter measures its own time.
    pub timestamps: bool,
    /// Buffers lie in the host's memory and are mapped without a copy.
    pub direct: bool,
    /// WGSL's packed dot product of four bytes is there.
    pub packed_dot: bool,
}

impl Limits {
    pub(crate) fn new(
        raw: &wgpu::Limits,
        features: wgpu::Features,
        packed_dot: bool,
        options: &Options,
    ) -> Self {
        let own = raw.max_storage_buffer_binding_size.min(raw.max_buffer_size);
        // Kernels count words in 32 bits, bytes in Vulkan's binding too.
        let own = own.min(u64::from(u32::MAX));
        let bytes = options.binding_limit.map_or(own, |asked| asked.min(own));
        let groups = raw.max_compute_workgroups_per_dimension;
        Self {
            // Kernels see words.
            binding_bytes: bytes / 4 * 4,
            groups: options.group_limit.map_or(groups, |asked| asked.min(groups)),
            workgroup_bytes: raw.max_compute_workgroup_storage_size,
            invocations: raw.max_compute_invocations_per_workgroup,
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            direct: features.contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS),
            packed_dot,
        }
    }

    /// Words that one buffer may hold.
    pub fn binding_words(&self) -> usize {
        usize::try_from(self.binding_bytes / 4).unwrap_or(usize::MAX)
    }

    /// How many rows of `row_words` words fit into one buffer.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] when not even one does.
    pub fn rows(&self, what: &'static str, row_words: usize) -> Result<usize, GpuError> {
        let rows = self.binding_words() / row_words.max(1);
        if rows == 0 {
            let found = (row_words as u64).saturating_mul(4);
            return Err(GpuError::TooLarge { what, limit: self.binding_bytes, found });
        }
        Ok(rows)
    }

    /// A dispatch of `groups` workgroups in a line, folded into two dimensions where one is too short;
    /// the kernel leaves out those beyond its end.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] when two dimensions are too small.
    pub fn line(&self, groups: usize) -> Result<Grid, GpuError> {
        Grid::line(groups, self.groups)
    }

    /// A dispatch in three dimensions.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] when a dimension is beyond the adapter's limit.
    pub fn grid(&self, x: usize, y: usize, z: usize) -> Result<Grid, GpuError> {
        Grid::within(self.groups, [x, y, z])
    }
}

impl Grid {
    /// `groups` workgroups in a line, folded to at most `most` in a dimension.
    pub(crate) fn line(groups: usize, most: u32) -> Result<Self, GpuError> {
        let y = groups.div_ceil((most as usize).max(1)).max(1);
        Self::within(most, [groups.div_ceil(y), y, 1])
    }

    fn within(most: u32, sides: [usize; 3]) -> Result<Self, GpuError> {
        let side = |count: usize| match u32::try_from(count) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(GpuError::TooLarge {
                what: "the number of workgroups in a dimension",
                limit: u64::from(most),
                found: count as u64,
            }),
        };
        let [x, y, z] = sides;
        Ok(Self { x: side(x)?, y: side(y)?, z: side(z)? })
    }
}
