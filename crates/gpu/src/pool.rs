//! A pool of staging buffers, 16 MiB in all, by which bytes reach memory that cannot be mapped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::device::{Device, lock};
use crate::{Buffer, GpuError};

/// Most bytes that the pool holds.
pub const POOL_BYTES: u64 = 16 << 20;
/// Most bytes of one staging buffer; longer transfers go in pieces.
const PIECE: u64 = 4 << 20;
/// Fewest bytes of one staging buffer.
const SMALLEST: u64 = 4 << 10;

/// What the pool did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Staging buffers made.
    pub created: u64,
    /// Transfers that found a buffer in the pool.
    pub reused: u64,
    /// Bytes that the pool holds, in use or idle.
    pub held_bytes: u64,
    /// Bytes that went through staging buffers.
    pub staged_bytes: u64,
    /// Bytes that were written or read in place, without a staging buffer.
    pub direct_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

struct Slot {
    raw: wgpu::Buffer,
    bytes: u64,
    way: Way,
    /// An upload buffer is ready when the driver has mapped it again.
    ready: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    idle: Vec<Slot>,
    stats: PoolStats,
}

/// Staging buffers of one device.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
}

impl Pool {
    /// What was done so far.
    pub fn stats(&self) -> PoolStats {
        lock(&self.state).stats
    }

    /// Counts bytes that needed no staging buffer.
    pub fn count_direct(&self, bytes: u64) {
        lock(&self.state).stats.direct_bytes += bytes;
    }

    /// Copies bytes to a buffer, from `offset` on; lengths are multiples of four.
    pub fn write(
        &self,
        device: &Device,
        to: &Buffer,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), GpuError> {
        let mut at = offset;
        for piece in bytes.chunks(PIECE as usize) {
            let length = piece.len() as u64;
            let slot = self.take(device, Way::Up, length)?;
            {
                let mut view = slot
                    .raw
                    .slice(..length)
                    .get_mapped_range_mut()
                    .map_err(|e| device.refused(&e))?;
                view.copy_from_slice(piece);
            }
            slot.raw.unmap();
            copy(device, (&slot.raw, 0), (&to.raw, at), length);
            let ready = Arc::clone(&slot.ready);
            ready.store(false, Ordering::Release);
            slot.raw.slice(..).map_async(wgpu::MapMode::Write, move |mapped| {
                ready.store(mapped.is_ok(), Ordering::Release);
            });
            self.give_back(slot, length);
            at += length;
        }
        device.check()
    }

    /// Copies the first bytes of a buffer; the length is a multiple of four.
    pub fn read(
        &self,
        device: &Device,
        from: &wgpu::Buffer,
        bytes: &mut [u8],
    ) -> Result<(), GpuError> {
        let mut at = 0;
        for piece in bytes.chunks_mut(PIECE as usize) {
            let length = piece.len() as u64;
            let slot = self.take(device, Way::Down, length)?;
            copy(device, (from, at), (&slot.raw, 0), length);
            read_mapped(device, &slot.raw, piece)?;
            self.give_back(slot, length);
            at += length;
        }
        Ok(())
    }

    fn take(&self, device: &Device, way: Way, bytes: u64) -> Result<Slot, GpuError> {
        device.check()?;
        if way == Way::Up {
            // Brings in which upload buffers the driver is done with; that nothing is to do is no error.
            let _ = device.shared.raw.poll(wgpu::PollType::Poll);
        }
        if let Some(slot) = self.find(way, bytes) {
            return Ok(slot);
        }
        let size = bytes.next_power_of_two().max(SMALLEST);
        if !self.make_room(size) {
            // All of the pool waits for the driver: let it finish, then take what became free.
            device.wait()?;
            if let Some(slot) = self.find(way, bytes) {
                return Ok(slot);
            }
            self.make_room(size);
        }
        let slot = create(device, way, size);
        device.check()?;
        let mut state = lock(&self.state);
        state.stats.created += 1;
        state.stats.held_bytes += size;
        Ok(slot)
    }

    /// The smallest ready buffer that is long enough.
    fn find(&self, way: Way, bytes: u64) -> Option<Slot> {
        let mut state = lock(&self.state);
        let fits = |s: &Slot| {
            s.way == way
                && s.bytes >= bytes
                && (way == Way::Down || s.ready.load(Ordering::Acquire))
        };
        let best = (0..state.idle.len())
            .filter(|i| fits(&state.idle[*i]))
            .min_by_key(|i| state.idle[*i].bytes)?;
        state.stats.reused += 1;
        Some(state.idle.swap_remove(best))
    }

    /// Drops idle buffers until `size` more bytes fit; false when those in use are too many.
    fn make_room(&self, size: u64) -> bool {
        let mut state = lock(&self.state);
        while state.stats.held_bytes + size > POOL_BYTES {
            let unused = |s: &Slot| s.way == Way::Down || s.ready.load(Ordering::Acquire);
            let Some(place) = state.idle.iter().position(unused) else { return false };
            let slot = state.idle.swap_remove(place);
            state.stats.held_bytes -= slot.bytes;
        }
        true
    }

    fn give_back(&self, slot: Slot, moved: u64) {
        let mut state = lock(&self.state);
        state.stats.staged_bytes += moved;
        if state.stats.held_bytes > POOL_BYTES {
            // Several threads at once asked for more than the pool: the surplus goes.
            state.stats.held_bytes -= slot.bytes;
            return;
        }
        state.idle.push(slot);
    }
}

fn create(device: &Device, way: Way, bytes: u64) -> Slot {
    let usage = match way {
        Way::Up => wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
        Way::Down => wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
    };
    let raw = device.shared.raw.create_buffer(&wgpu::BufferDescriptor {
        label: Some("staging"),
        size: bytes,
        usage,
        mapped_at_creation: way == Way::Up,
    });
    Slot { raw, bytes, way, ready: Arc::new(AtomicBool::new(true)) }
}

/// Copies bytes from one buffer to another, after all work that was submitted before.
pub(crate) fn copy(
    device: &Device,
    from: (&wgpu::Buffer, u64),
    to: (&wgpu::Buffer, u64),
    bytes: u64,
) {
    let mut encoder = device.shared.raw.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(from.0, from.1, to.0, to.1, bytes);
    device.shared.queue.submit([encoder.finish()]);
}

/// Maps a buffer when all work is done, and copies its bytes out.
pub(crate) fn read_mapped(
    device: &Device,
    raw: &wgpu::Buffer,
    bytes: &mut [u8],
) -> Result<(), GpuError> {
    let slice = raw.slice(..bytes.len() as u64);
    slice.map_async(wgpu::MapMode::Read, |_| ());
    device.wait()?;
    {
        let view = slice.get_mapped_range().map_err(|e| device.refused(&e))?;
        bytes.copy_from_slice(&view);
    }
    raw.unmap();
    Ok(())
}
