//! One simulated disk under one redb file.

use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::{Crash, SECTOR};
use crate::random::Random;

/// How a disk misbehaves; rates are per million operations of the kind. The default is a good disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Bytes the file may grow to; beyond, writes fail with "no space left". `None`: no limit.
    pub capacity: Option<u64>,
    /// Writes that fail with "no space left" and leave nothing.
    pub failed_writes: u32,
    /// Syncs that fail; what was to be synced may be on the disk or not.
    pub failed_syncs: u32,
    /// Writes that land at another sector of the file, and are reported as done.
    pub misdirected_writes: u32,
    /// Reads that bring one wrong bit.
    pub misreads: u32,
    /// What each sync costs, in milliseconds of the simulator's time.
    pub sync_ms: u64,
}

/// What a disk has done since it was made; [`SimDisk::crash`] and [`SimDisk::reopen`] begin anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Reads.
    pub reads: u64,
    /// Writes and changes of length.
    pub writes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Writes that failed, for want of space or by [`Faults::failed_writes`].
    pub failed_writes: u64,
    /// Syncs that failed by [`Faults::failed_syncs`].
    pub failed_syncs: u64,
    /// Writes that went astray.
    pub misdirected_writes: u64,
    /// Reads that brought a wrong bit.
    pub misreads: u64,
}

impl DiskCounts {
    /// Writes and syncs: the moments at which the power can fail, see [`SimDisk::power_cut_at`].
    pub fn operations(&self) -> u64 {
        self.writes + self.syncs
    }
}

#[derive(Debug, Clone)]
enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug)]
struct Disk {
    /// What a sync has secured.
    durable: Vec<u8>,
    /// What the running process sees.
    current: Vec<u8>,
    pending: Vec<Pending>,
    counts: DiskCounts,
    power_cut_at: Option<u64>,
    faults: Faults,
    /// Cost of the syncs since it was last asked for, in milliseconds.
    latency_ms: u64,
    random: Random,
}

/// A simulated disk for [`crate::RedbStore::with_backend`]. Clones are handles of one disk.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<Disk>>);

impl SimDisk {
    /// An empty, good disk; all that is random on it comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with_image(seed, Vec::new())
    }

    /// A good disk that holds `image`.
    pub fn with_image(seed: u64, image: Vec<u8>) -> Self {
        Self::made(image, Faults::default(), Random(seed))
    }

    fn made(image: Vec<u8>, faults: Faults, random: Random) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            durable: image.clone(),
            current: image,
            pending: Vec::new(),
            counts: DiskCounts::default(),
            power_cut_at: None,
            faults,
            latency_ms: 0,
            random,
        })))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the disk misbehave from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.disk().faults = faults;
    }

    /// Counts so far.
    pub fn counts(&self) -> DiskCounts {
        self.disk().counts
    }

    /// Cuts the power before write or sync number `operation` (counted as in
    /// [`DiskCounts::operations`], the first is 1): it and all after it fail and leave nothing.
    pub fn power_cut_at(&self, operation: u64) {
        self.disk().power_cut_at = Some(operation);
    }

    /// Cuts the power now.
    pub fn power_cut(&self) {
        self.power_cut_at(0);
    }

    /// Milliseconds that the syncs since the last call cost ([`Faults::sync_ms`] each). The disk
    /// has no clock: who simulates time delays what waited for them.
    pub fn take_latency_ms(&self) -> u64 {
        std::mem::take(&mut self.disk().latency_ms)
    }

    /// Cuts the power; the disk as the next start finds it, with the same faults. Handles of this
    /// one fail from now on.
    pub fn crash(&self, crash: Crash) -> Self {
        self.power_cut();
        let mut disk = self.disk();
        let image = disk.image_after(crash);
        let random = Random(disk.random.next());
        Self::made(image, disk.faults, random)
    }

    /// The disk after the process ended with the power on: all that was written is there, synced or
    /// not (and still not synced). Handles of this one fail from now on.
    pub fn reopen(&self) -> Self {
        self.power_cut();
        let mut disk = self.disk();
        let random = Random(disk.random.next());
        let next = Self::made(disk.durable.clone(), disk.faults, random);
        {
            let mut other = next.disk();
            other.current.clone_from(&disk.current);
            other.pending.clone_from(&disk.pending);
        }
        next
    }

    /// Removes all that is stored, as if the file were removed and made anew.
    pub fn clear(&self) {
        let mut disk = self.disk();
        (disk.durable, disk.current, disk.pending) = (Vec::new(), Vec::new(), Vec::new());
    }

    /// Flips one bit of what is stored, for good (bit rot); its byte, or `None` of an empty disk.
    pub fn rot(&self) -> Option<u64> {
        let mut disk = self.disk();
        let length = disk.durable.len().min(disk.current.len()) as u64;
        if length == 0 {
            return None;
        }
        let (at, bit) = (disk.random.below(length), disk.random.below(8));
        disk.durable[at as usize] ^= 1 << bit;
        disk.current[at as usize] ^= 1 << bit;
        Some(at)
    }

    /// What the running process sees, unsynced writes included.
    pub fn image(&self) -> Vec<u8> {
        self.disk().current.clone()
    }
}

impl Disk {
    fn powered(&self, operation: u64) -> Result<(), Error> {
        match self.power_cut_at {
            Some(at) if operation >= at => Err(Error::other("the power is cut")),
            _ => Ok(()),
        }
    }

    /// Counts a write, and says whether it can be done. `length`: that of the file after it.
    fn begin_write(&mut self, length: u64) -> Result<(), Error> {
        self.counts.writes += 1;
        self.powered(self.counts.operations())?;
        let full = self.faults.capacity.is_some_and(|capacity| length > capacity);
        if full || self.random.happens(self.faults.failed_writes) {
            self.counts.failed_writes += 1;
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let length = (self.current.len() as u64).max(offset.saturating_add(data.len() as u64));
        self.begin_write(length)?;
        self.counts.bytes += data.len() as u64;
        let mut offset = offset;
        if self.random.happens(self.faults.misdirected_writes) {
            self.counts.misdirected_writes += 1;
            let room = (self.current.len() as u64).saturating_sub(data.len() as u64);
            offset = self.random.below(room / SECTOR as u64 + 1) * SECTOR as u64;
        }
        put(&mut self.current, offset, data);
        self.pending.push(Pending::Write(offset, data.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.counts.syncs += 1;
        self.powered(self.counts.operations())?;
        self.latency_ms += self.faults.sync_ms;
        if self.random.happens(self.faults.failed_syncs) {
            self.counts.failed_syncs += 1;
            return Err(Error::other("the disk could not sync"));
        }
        for pending in std::mem::take(&mut self.pending) {
            pending.apply(&mut self.durable);
        }
        Ok(())
    }

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.counts.reads += 1;
        // A read is no point of its own: it fails once the power is gone.
        self.powered(self.counts.operations())?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = self.current.get(start..start.saturating_add(out.len()));
        out.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        if self.random.happens(self.faults.misreads) && !out.is_empty() {
            self.counts.misreads += 1;
            let (at, bit) = (self.random.below(out.len() as u64), self.random.below(8));
            out[at as usize] ^= 1 << bit;
        }
        Ok(())
    }

    fn image_after(&mut self, crash: Crash) -> Vec<u8> {
        let mut image = self.durable.clone();
        match crash {
            Crash::Nothing => {}
            Crash::Prefix => {
                let whole = self.random.below(self.pending.len() as u64 + 1) as usize;
                self.pending[..whole].iter().for_each(|pending| pending.apply(&mut image));
                if let Some(Pending::Write(at, data)) = self.pending.get(whole) {
                    let sectors = self.random.below(data.len().div_ceil(SECTOR) as u64) as usize;
                    put(&mut image, *at, &data[..sectors * SECTOR]);
                }
            }
            Crash::Subset => {
                for pending in &self.pending {
                    match (self.random.below(4), pending) {
                        (0, _) => {}
                        (1, Pending::Write(at, data)) => {
                            torn(&mut image, *at, data, &mut self.random);
                        }
                        _ => pending.apply(&mut image),
                    }
                }
            }
        }
        image
    }
}

/// Any of a write's sectors.
fn torn(image: &mut Vec<u8>, at: u64, data: &[u8], random: &mut Random) {
    for (n, sector) in data.chunks(SECTOR).enumerate() {
        if random.below(2) == 1 {
            put(image, at + (n * SECTOR) as u64, sector);
        }
    }
}

impl Pending {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write(at, data) => put(image, *at, data),
            Self::Length(length) => image.resize(*length as usize, 0),
        }
    }
}

fn put(image: &mut Vec<u8>, at: u64, data: &[u8]) {
    let (start, end) = (at as usize, at as usize + data.len());
    if image.len() < end {
        image.resize(end, 0);
    }
    image[start..end].copy_from_slice(data);
}

impl StorageBackend for SimDisk {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.disk().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.disk().read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        let mut disk = self.disk();
        disk.begin_write(len)?;
        disk.current.resize(len as usize, 0);
        disk.pending.push(Pending::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.disk().sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.disk().write(offset, data)
    }
}
