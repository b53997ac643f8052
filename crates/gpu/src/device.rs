//! An open adapter: its limits, its faults, and what is shared by all work on it.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::adapter::{self, AdapterInfo, AdapterKind, Choice};
use crate::pipeline::Pipelines;
use crate::pool::{Pool, PoolStats};
use crate::{GpuError, Limits};

/// How to open a device.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which adapter.
    pub adapter: Choice,
    /// Binds at most this many bytes as one buffer, below the adapter's own limit; larger work is cut.
    pub binding_limit: Option<u64>,
    /// Dispatches at most this many workgroups in a dimension, below the adapter's own limit; longer lines
    /// are folded.
    pub group_limit: Option<u32>,
    /// Copies through the staging pool also where the adapter's memory can be mapped directly.
    pub always_stage: bool,
    /// Takes the plain form of the four-byte dot product also where WGSL's packed one is there.
    pub plain_dot: bool,
    /// Waits for each batch and adds up the time that the adapter itself measures.
    pub timing: bool,
}

/// An open adapter; clones share it.
#[derive(Clone)]
pub struct Device {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub info: AdapterInfo,
    pub raw: wgpu::Device,
    pub queue: wgpu::Queue,
    pub limits: Limits,
    pub pipelines: Pipelines,
    pub pool: Pool,
    pub timing: bool,
    faults: Arc<Faults>,
    elapsed: Mutex<Duration>,
}

/// What the driver reported outside of any call.
#[derive(Default)]
struct Faults {
    lost: Mutex<Option<String>>,
    error: Mutex<Option<wgpu::Error>>,
}

impl Device {
    /// Opens the best adapter.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`] on a machine without one; [`GpuError::Open`] when the driver refuses.
    pub fn open() -> Result<Self, GpuError> {
        Self::with(&Options::default())
    }

    /// Opens an adapter.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`], [`GpuError::NoSuchAdapter`] or [`GpuError::Open`].
    pub fn with(options: &Options) -> Result<Self, GpuError> {
        let instance = adapter::instance();
        let (info, adapter) = adapter::choose(instance.as_ref(), &options.adapter)?;
        let features = wanted_features(&info, &adapter, options);
        let limits = wanted_limits(&adapter.limits());
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("anthill"),
            required_features: features,
            required_limits: limits.clone(),
            ..Default::default()
        };
        let (raw, queue) = block_on(adapter.request_device(&descriptor))
            .map_err(|e| GpuError::Open { adapter: info.name.clone(), reason: e.to_string() })?;
        let packed = instance.is_some_and(|i| {
            i.wgsl_language_features()
                .contains(wgpu::WgslLanguageFeatures::Packed4x8IntegerDotProduct)
        });
        let limits = Limits::new(&limits, features, packed && !options.plain_dot, options);
        Ok(Self::assemble(info, raw, queue, limits, options))
    }

    fn assemble(
        info: AdapterInfo,
        raw: wgpu::Device,
        queue: wgpu::Queue,
        limits: Limits,
        options: &Options,
    ) -> Self {
        let faults = Arc::new(Faults::default());
        let seen = Arc::clone(&faults);
        // Without a handler wgpu panics; the error is given out by the next check instead.
        raw.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&seen.error).get_or_insert(error);
        }));
        let seen = Arc::clone(&faults);
        raw.set_device_lost_callback(move |reason, text| {
            lock(&seen.lost).get_or_insert(format!("{reason:?} {text}").trim().to_string());
        });
        let shared = Shared {
            info,
            raw,
            queue,
            limits,
            pipelines: Pipelines::default(),
            pool: Pool::default(),
            timing: options.timing && limits.timestamps,
            faults,
            elapsed: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The adapter's name and kind.
    pub fn info(&self) -> &AdapterInfo {
        &self.shared.info
    }

    /// What the adapter can do.
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// What the staging pool did so far.
    pub fn pool_stats(&self) -> PoolStats {
        self.shared.pool.stats()
    }

    /// Number of pipelines compiled so far; a kernel that runs again adds none.
    pub fn pipelines_compiled(&self) -> usize {
        self.shared.pipelines.len()
    }

    /// Takes the time that the adapter measured since the last call; none without timestamps or
    /// without [`Options::timing`].
    pub fn take_elapsed(&self) -> Option<Duration> {
        self.shared.timing.then(|| std::mem::take(&mut *lock(&self.shared.elapsed)))
    }

    /// Gives the device back at once; work on it, and on its clones, then ends as [`GpuError::Lost`].
    pub fn close(&self) {
        self.shared.raw.destroy();
        // Brings the driver's report in; that it has nothing else to do is no error here.
        let _ = self.shared.raw.poll(wgpu::PollType::Poll);
        lock(&self.shared.faults.lost).get_or_insert("closed".into());
    }

    pub(crate) fn add_elapsed(&self, time: Duration) {
        *lock(&self.shared.elapsed) += time;
    }

    /// Fails when the device is lost or an earlier operation was refused; a refusal is told once.
    pub(crate) fn check(&self) -> Result<(), GpuError> {
        let adapter = self.shared.info.name.clone();
        if let Some(reason) = lock(&self.shared.faults.lost).clone() {
            return Err(GpuError::Lost { adapter, reason });
        }
        match lock(&self.shared.faults.error).take() {
            None => Ok(()),
            Some(wgpu::Error::OutOfMemory { source }) => {
                Err(GpuError::OutOfMemory { adapter, reason: source.to_string() })
            }
            Some(error) => Err(GpuError::Refused { adapter, reason: error.to_string() }),
        }
    }

    /// Waits until all submitted work is done.
    ///
    /// # Errors
    /// [`GpuError::Lost`], or what an earlier operation was refused for.
    pub fn wait(&self) -> Result<(), GpuError> {
        let waited = self.shared.raw.poll(wgpu::PollType::wait_indefinitely());
        self.check()?;
        waited.map(|_| ()).map_err(|e| self.refused(&e))
    }

    /// The error for what the driver said to a call.
    pub(crate) fn refused(&self, reason: &dyn std::fmt::Display) -> GpuError {
        match self.check() {
            Err(error) => error,
            Ok(()) => GpuError::Refused {
                adapter: self.shared.info.name.clone(),
                reason: reason.to_string(),
            },
        }
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("adapter", &self.shared.info).finish_non_exhaustive()
    }
}

/// Timestamps where they are; direct mapping only where the adapter computes in the host's memory.
fn wanted_features(
    info: &AdapterInfo,
    adapter: &wgpu::Adapter,
    options: &Options,
) -> wgpu::Features {
    let mut wanted = wgpu::Features::TIMESTAMP_QUERY;
    let same_memory = matches!(info.kind, AdapterKind::Integrated | AdapterKind::Software);
    if same_memory && !options.always_stage {
        wanted |= wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
    }
    adapter.features() & wanted
}

/// WebGPU's default limits, which the kernels keep, with the adapter's own sizes of buffers.
fn wanted_limits(own: &wgpu::Limits) -> wgpu::Limits {
    wgpu::Limits {
        max_buffer_size: own.max_buffer_size,
        max_storage_buffer_binding_size: own.max_storage_buffer_binding_size,
        ..wgpu::Limits::defaults().or_worse_values_from(own)
    }
}

/// Runs a future of wgpu to its end; off the web they are ready when they are made.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::yield_now();
    }
}

/// A lock whose holder may have panicked: what it guards here is valid after every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
