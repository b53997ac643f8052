//! Reads the load of the machine: what cannot be measured is absent, never 0.

use std::path::Path;
use std::time::Instant;

use anthill_scheduler::autoscaler::Telemetry;
use nvml_wrapper::Nvml;
use sysinfo::System;

use crate::driver::now_ms;
use crate::shared::Shared;

/// Where the control group of this process says what it may use (Linux).
const CGROUP: &str = "/sys/fs/cgroup";
/// Where graphics drivers say how busy they are (Linux).
const DRM: &str = "/sys/class/drm";

/// Reads loads, some of them as the change since the last reading.
pub struct Sensors {
    system: Option<System>,
    nvml: Option<Nvml>,
    /// Processor time of the control group, microseconds, and when it was read.
    used: Option<(u64, Instant)>,
    /// Bytes on the network, and when they were counted.
    bytes: Option<(u64, Instant)>,
    /// Bytes per second that the owner allows.
    bandwidth: Option<f64>,
}

impl Sensors {
    /// Sensors of this machine, with the owner's limit of bandwidth in bytes per second.
    pub fn new(bandwidth: Option<f64>) -> Self {
        Self {
            system: System::new().ok(),
            nvml: Nvml::init().ok(),
            used: None,
            bytes: None,
            bandwidth,
        }
    }

    /// Reads everything.
    pub fn read(&mut self, shared: &Shared) -> Telemetry {
        let work = shared.fleet.stats();
        let net = shared.net.stats();
        Telemetry {
            now_ms: now_ms(),
            cpu: self.cpu(),
            gpu: self.gpu(),
            memory: self.memory(),
            bandwidth: self.bandwidth(net.bytes_in + net.bytes_out),
            waiting: work.waiting,
            running: work.virtual_nodes - work.idle - work.suspended,
            done: work.work,
        }
    }

    /// Load of the processors: of the control group's quota where there is one, else of the machine.
    fn cpu(&mut self) -> Option<f64> {
        if let Some(quota) = read_quota(Path::new(CGROUP)) {
            let used = read_usage(Path::new(CGROUP))?;
            let now = Instant::now();
            let (before, at) = self.used.replace((used, now))?;
            let span = now.duration_since(at).as_secs_f64() * quota;
            return (span > 0.0).then(|| share((used.saturating_sub(before)) as f64 / 1e6 / span));
        }
        let system = self.system.as_mut()?;
        system.refresh_cpu_usage();
        let first = self.used.replace((0, Instant::now())).is_none();
        // The first reading has nothing to compare with.
        (!first && !system.cpus().is_empty())
            .then(|| share(f64::from(system.global_cpu_usage()) / 100.0))
    }

    fn memory(&mut self) -> Option<f64> {
        let group = |name| number(&Path::new(CGROUP).join(name));
        if let (Some(most), Some(used)) = (group("memory.max"), group("memory.current")) {
            return (most > 0.0).then(|| share(used / most));
        }
        let system = self.system.as_mut()?;
        system.refresh_memory();
        let total = system.total_memory();
        (total > 0).then(|| share(system.used_memory() as f64 / total as f64))
    }

    /// The busiest graphics processor, from the kernel's drivers or from NVIDIA's library.
    fn gpu(&self) -> Option<f64> {
        let drm = read_drm(Path::new(DRM));
        let nvml = self.nvml.as_ref().and_then(|nvml| {
            let count = nvml.device_count().ok()?;
            let load = |i| nvml.device_by_index(i).ok()?.utilization_rates().ok();
            (0..count)
                .filter_map(load)
                .map(|load| share(f64::from(load.gpu) / 100.0))
                .reduce(f64::max)
        });
        drm.into_iter().chain(nvml).reduce(f64::max)
    }

    fn bandwidth(&mut self, bytes: u64) -> Option<f64> {
        let limit = self.bandwidth?;
        let now = Instant::now();
        let (before, at) = self.bytes.replace((bytes, now))?;
        let seconds = now.duration_since(at).as_secs_f64();
        (seconds > 0.0).then(|| share(bytes.saturating_sub(before) as f64 / seconds / limit))
    }
}

fn share(value: f64) -> f64 {
    value.clamp(0.0, 1.0)
}

fn number(path: &Path) -> Option<f64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Processors that the control group may use; `None` without a quota.
fn read_quota(group: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// Processor time that the control group has used, microseconds.
fn read_usage(group: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(group.join("cpu.stat")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok())
}

/// The highest `gpu_busy_percent` of all cards.
fn read_drm(cards: &Path) -> Option<f64> {
    let cards = std::fs::read_dir(cards).ok()?;
    let busy = |card: std::io::Result<std::fs::DirEntry>| {
        number(&card.ok()?.path().join("device/gpu_busy_percent")).map(|busy| share(busy / 100.0))
    };
    cards.filter_map(busy).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read_and_what_is_not_there_is_absent() {
        let folder = std::env::temp_dir().join(format!("anthill-telemetry-{}", std::process::id()));
        assert_eq!(
            (read_quota(&folder), read_usage(&folder), read_drm(&folder)),
            (None, None, None)
        );
        let card = folder.join("card0/device");
        std::fs::create_dir_all(&card).unwrap();
        std::fs::create_dir_all(folder.join("renderD128")).unwrap();
        assert_eq!(read_drm(&folder), None);
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("card0/device/gpu_busy_percent", "37\n");
        write("cpu.max", "50000 100000\n");
        write("cpu.stat", "usage_usec 1234\nuser_usec 1000\n");
        let read = (read_quota(&folder), read_usage(&folder), read_drm(&folder));
        assert_eq!(read, (Some(0.5), Some(1234), Some(0.37)));
        write("cpu.max", "max 100000\n");
        write("cpu.stat", "nothing\n");
        assert_eq!((read_quota(&folder), read_usage(&folder)), (None, None));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn this_machine_has_a_load_and_bandwidth_needs_a_limit() {
        let mut sensors = Sensors::new(None);
        assert_eq!(sensors.cpu(), None, "nothing to compare with");
        std::thread::sleep(std::time::Duration::from_millis(250));
        let cpu = sensors.cpu();
        assert!(cpu.is_some_and(|cpu| (0.0..=1.0).contains(&cpu)), "{cpu:?}");
        assert!(sensors.memory().is_some_and(|m| m > 0.0 && m < 1.0));
        assert_eq!((sensors.bandwidth(5), sensors.bandwidth(9)), (None, None));
        let mut limited = Sensors::new(Some(1e6));
        assert_eq!(limited.bandwidth(0), None);
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(limited.bandwidth(1_000_000_000) == Some(1.0));
    }
}
