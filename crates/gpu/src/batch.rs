//! Dispatches recorded one after the other and submitted together.

use std::sync::Arc;
use std::time::Duration;

use crate::device::{Device, Shared};
use crate::{Buffer, GpuError, Kernel};

/// Workgroups of a dispatch, within the adapter's limits ([`crate::Limits::grid`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Columns.
    pub x: u32,
    /// Rows.
    pub y: u32,
    /// Layers.
    pub z: u32,
}

/// A dispatch with all that it needs, to be added to batches again and again; it holds its buffers.
pub struct Prepared {
    shared: Arc<Shared>,
    pipeline: Arc<wgpu::ComputePipeline>,
    group: wgpu::BindGroup,
    grid: Grid,
}

/// Dispatches that run in order: each sees what those before it wrote.
pub struct Batch {
    device: Device,
    pass: wgpu::ComputePass<'static>,
    encoder: wgpu::CommandEncoder,
    clock: Option<wgpu::QuerySet>,
}

impl Device {
    /// Begins a batch.
    pub fn batch(&self) -> Batch {
        let raw = &self.shared.raw;
        let clock = self.shared.timing.then(|| {
            raw.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("clock"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            })
        });
        let mut encoder = raw.create_command_encoder(&Default::default());
        let pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("batch"),
                timestamp_writes: clock.as_ref().map(|query_set| {
                    wgpu::ComputePassTimestampWrites {
                        query_set,
                        beginning_of_pass_write_index: Some(0),
                        end_of_pass_write_index: Some(1),
                    }
                }),
            })
            .forget_lifetime();
        Batch { device: self.clone(), pass, encoder, clock }
    }

    /// Prepares a dispatch: `words` become the uniform block, `buffers` the bindings from 1 on.
    ///
    /// # Errors
    /// [`GpuError::Kernel`] when the kernel does not compile, [`GpuError::ForeignBuffer`],
    /// [`GpuError::TooLarge`] for a grid beyond the limits, or what the driver says.
    pub fn prepare(
        &self,
        kernel: &Kernel,
        words: &[u32],
        buffers: &[&Buffer],
        grid: Grid,
    ) -> Result<Prepared, GpuError> {
        buffers.iter().try_for_each(|b| self.owns(b))?;
        let grid = self.limits().grid(grid.x as usize, grid.y as usize, grid.z as usize)?;
        let pipeline = self.shared.pipelines.get(self, kernel)?;
        let uniform = uniform(self, words)?;
        let resources = std::iter::once(&uniform).chain(buffers.iter().map(|b| &b.raw));
        let entries: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, raw)| wgpu::BindGroupEntry {
                binding,
                resource: raw.as_entire_binding(),
            })
            .collect();
        let group = self.shared.raw.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(kernel.name()),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        self.check()?;
        Ok(Prepared { shared: Arc::clone(&self.shared), pipeline, group, grid })
    }

    /// Runs one dispatch: a batch of its own.
    ///
    /// # Errors
    /// As [`Batch::run`] and [`Batch::submit`].
    pub fn run(
        &self,
        kernel: &Kernel,
        words: &[u32],
        buffers: &[&Buffer],
        grid: Grid,
    ) -> Result<(), GpuError> {
        let mut batch = self.batch();
        batch.run(kernel, words, buffers, grid)?;
        batch.submit()
    }
}

impl Batch {
    /// Adds a dispatch.
    ///
    /// # Errors
    /// As [`Device::prepare`].
    pub fn run(
        &mut self,
        kernel: &Kernel,
        words: &[u32],
        buffers: &[&Buffer],
        grid: Grid,
    ) -> Result<(), GpuError> {
        self.add(&self.device.prepare(kernel, words, buffers, grid)?)
    }

    /// Adds a prepared dispatch.
    ///
    /// # Errors
    /// [`GpuError::ForeignBuffer`] when it was prepared on another device, or what the driver says.
    pub fn add(&mut self, prepared: &Prepared) -> Result<(), GpuError> {
        self.device.is_own(&prepared.shared)?;
        let Grid { x, y, z } = prepared.grid;
        self.pass.set_pipeline(&prepared.pipeline);
        self.pass.set_bind_group(0, &prepared.group, &[]);
        self.pass.dispatch_workgroups(x, y, z);
        self.device.check()
    }

    /// Hands the batch to the adapter. Does not wait, but on a device that measures time.
    ///
    /// # Errors
    /// [`GpuError::Lost`], or what the driver refused.
    pub fn submit(self) -> Result<(), GpuError> {
        let Self { device, pass, mut encoder, clock } = self;
        drop(pass);
        let times = clock.as_ref().map(|clock| {
            let times = time_buffer(&device);
            encoder.resolve_query_set(clock, 0..2, &times, 0);
            times
        });
        device.shared.queue.submit([encoder.finish()]);
        device.check()?;
        if let Some(times) = times {
            device.add_elapsed(elapsed(&device, &times)?);
        }
        Ok(())
    }
}

fn uniform(device: &Device, words: &[u32]) -> Result<wgpu::Buffer, GpuError> {
    let length = words.len().next_multiple_of(4).max(4);
    let raw = device.shared.raw.create_buffer(&wgpu::BufferDescriptor {
        label: Some("uniform"),
        size: length as u64 * 4,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: true,
    });
    let mut padded = words.to_vec();
    padded.resize(length, 0);
    {
        let mut view = raw.slice(..).get_mapped_range_mut().map_err(|e| device.refused(&e))?;
        view.copy_from_slice(bytemuck::cast_slice(&padded));
    }
    raw.unmap();
    Ok(raw)
}

fn time_buffer(device: &Device) -> wgpu::Buffer {
    device.shared.raw.create_buffer(&wgpu::BufferDescriptor {
        label: Some("times"),
        size: 16,
        usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

fn elapsed(device: &Device, times: &wgpu::Buffer) -> Result<Duration, GpuError> {
    let mut ticks = [0_u64; 2];
    device.shared.pool.read(device, times, bytemuck::cast_slice_mut(&mut ticks))?;
    let period = f64::from(device.shared.queue.get_timestamp_period());
    let nanoseconds = ticks[1].saturating_sub(ticks[0]) as f64 * period;
    Ok(Duration::from_nanos(nanoseconds as u64))
}
