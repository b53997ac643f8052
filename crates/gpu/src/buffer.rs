//! Typed buffers on a device: upload, allocate, write, read.

use std::sync::Arc;

use crate::device::{Device, Shared};
use crate::error::{at_most, check_len, nonzero};
use crate::{GpuError, pool};

/// A value of one 32-bit word, the unit of WGSL's storage.
pub trait Word: bytemuck::Pod + sealed::Sealed {}

mod sealed {
    /// Closes [`super::Word`]: other types have no storage in WGSL.
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for i32 {}
    impl Sealed for f32 {}
}

impl Word for u32 {}
impl Word for i32 {}
impl Word for f32 {}

/// Words in the adapter's memory; freed when dropped.
pub struct Buffer {
    pub(crate) raw: wgpu::Buffer,
    pub(crate) shared: Arc<Shared>,
    words: usize,
}

impl Buffer {
    /// Number of words.
    pub fn words(&self) -> usize {
        self.words
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("words", &self.words).finish_non_exhaustive()
    }
}

impl Device {
    /// Makes a buffer of zeros.
    ///
    /// # Errors
    /// [`GpuError::Empty`], [`GpuError::TooLarge`] above [`crate::Limits::binding_bytes`], or what the
    /// driver says.
    pub fn alloc(&self, words: usize) -> Result<Buffer, GpuError> {
        let map = if self.shared.limits.direct {
            wgpu::BufferUsages::MAP_READ
        } else {
            wgpu::BufferUsages::empty()
        };
        let buffer = self.create(words, map, false)?;
        self.check()?;
        Ok(buffer)
    }

    /// Makes a buffer with these words; without a copy in between where the memory can be mapped.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn upload<T: Word>(&self, words: &[T]) -> Result<Buffer, GpuError> {
        if !self.shared.limits.direct {
            let buffer = self.create(words.len(), wgpu::BufferUsages::empty(), false)?;
            self.shared.pool.write(self, &buffer, 0, bytemuck::cast_slice(words))?;
            return Ok(buffer);
        }
        let buffer = self.create(words.len(), wgpu::BufferUsages::MAP_WRITE, true)?;
        self.check()?;
        let bytes: &[u8] = bytemuck::cast_slice(words);
        {
            let mut view =
                buffer.raw.slice(..).get_mapped_range_mut().map_err(|e| self.refused(&e))?;
            view.copy_from_slice(bytes);
        }
        buffer.raw.unmap();
        self.shared.pool.count_direct(bytes.len() as u64);
        self.check()?;
        Ok(buffer)
    }

    /// Writes words into a buffer, from word `at` on; work submitted before still sees the old ones.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] past the buffer's end, or what the driver says.
    pub fn write<T: Word>(&self, to: &Buffer, at: usize, words: &[T]) -> Result<(), GpuError> {
        self.owns(to)?;
        at_most("the end of the write", at.saturating_add(words.len()), to.words as u64)?;
        self.shared.pool.write(self, to, at as u64 * 4, bytemuck::cast_slice(words))
    }

    /// Waits for all submitted work and reads a whole buffer.
    ///
    /// # Errors
    /// What the driver says.
    pub fn read<T: Word>(&self, from: &Buffer) -> Result<Vec<T>, GpuError> {
        self.owns(from)?;
        self.check()?;
        let mut words = vec![T::zeroed(); from.words];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        if from.raw.usage().contains(wgpu::BufferUsages::MAP_READ) {
            pool::read_mapped(self, &from.raw, bytes)?;
            self.shared.pool.count_direct(bytes.len() as u64);
        } else {
            self.shared.pool.read(self, &from.raw, bytes)?;
        }
        Ok(words)
    }

    /// Copies a buffer to one of the same length, after all work that was submitted before.
    ///
    /// # Errors
    /// [`GpuError::Shape`], or what the driver says.
    pub fn copy(&self, from: &Buffer, to: &Buffer) -> Result<(), GpuError> {
        self.owns(from)?;
        self.owns(to)?;
        check_len("the buffer to copy to", from.words, 1, to.words)?;
        pool::copy(self, (&from.raw, 0), (&to.raw, 0), from.words as u64 * 4);
        self.check()
    }

    /// Fails when a buffer was made on another device.
    pub(crate) fn owns(&self, buffer: &Buffer) -> Result<(), GpuError> {
        self.is_own(&buffer.shared)
    }

    /// Fails when what hangs on `shared` belongs to another device.
    pub(crate) fn is_own(&self, shared: &Arc<Shared>) -> Result<(), GpuError> {
        if Arc::ptr_eq(&self.shared, shared) {
            return Ok(());
        }
        let owner = shared.info.name.clone();
        Err(GpuError::ForeignBuffer { owner, user: self.shared.info.name.clone() })
    }

    fn create(
        &self,
        words: usize,
        map: wgpu::BufferUsages,
        mapped: bool,
    ) -> Result<Buffer, GpuError> {
        self.check()?;
        nonzero(&[("the length of a buffer", words)])?;
        at_most("a buffer's length in words", words, self.shared.limits.binding_words() as u64)?;
        let raw = self.shared.raw.create_buffer(&wgpu::BufferDescriptor {
            label: Some("words"),
            size: words as u64 * 4,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST
                | map,
            mapped_at_creation: mapped,
        });
        Ok(Buffer { raw, shared: Arc::clone(&self.shared), words })
    }
}
