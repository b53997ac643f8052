//! The autoscaler's loop: telemetry in, number of virtual nodes out.

use std::time::Duration;

use anthill_engine::wire::{Announcement, PeerLoad};
use anthill_scheduler::autoscaler::{Autoscaler, Bounds, quota};
use anthill_types::Wire;

use super::{ScalingView, Sensors, TelemetryView};
use crate::config::Config;
use crate::handle::Handle;
use crate::threads::cores;

/// Between two readings of the sensors.
const LOOK: Duration = Duration::from_millis(100);

/// Readings between two announcements of the load.
const LOOKS_PER_WORD: u64 = 40;

/// The loop.
pub(super) struct Scaler {
    handle: Handle,
    sensors: Sensors,
    /// False: the owner has set a number.
    steers: bool,
    decisions: u64,
    looks: u64,
}

impl Scaler {
    /// A loop with the sensors of this machine.
    pub fn new(handle: Handle, config: &Config) -> Self {
        let sensors = Sensors::new(config.bandwidth());
        Self { handle, sensors, steers: config.autoscales(), decisions: 0, looks: 0 }
    }

    /// Looks and decides until the node stops.
    pub fn run(mut self) {
        let shared = self.handle.shared.clone();
        let Some(bounds) = self.bounds() else { return };
        let mut scaler = Autoscaler::new(bounds);
        while shared.steering.sleep(LOOK) {
            if let Some(bounds) = self.bounds() {
                scaler.set_bounds(bounds);
                if !self.steers {
                    shared.fleet.set_target(shared.fleet.target().min(bounds.vn_max), "VN_MAX");
                }
            }
            let telemetry = self.sensors.read(&shared);
            let count = shared.fleet.stats().virtual_nodes.max(1) as f64;
            let free = |load: Option<f64>| load.map(|load| 1.0 - load);
            let quota = free(telemetry.cpu)
                .zip(free(telemetry.memory))
                .map(|(cpu, memory)| quota(cpu, free(telemetry.gpu), memory, count));
            shared.steering.lock().telemetry = TelemetryView {
                cpu: telemetry.cpu,
                gpu: telemetry.gpu,
                memory: telemetry.memory,
                bandwidth: telemetry.bandwidth,
                quota,
            };
            self.announce(quota);
            let Some(scaling) = scaler.step(&telemetry) else { continue };
            shared.fleet.set_local_first(scaling.local_first);
            if self.steers {
                shared.fleet.set_target(scaling.target, scaling.reason);
            }
            self.decisions += 1;
            shared.steering.lock().scaling = Some(ScalingView {
                target: scaling.target,
                local_first: scaling.local_first,
                load: scaling.load,
                reason: scaling.reason,
                decisions: self.decisions,
            });
        }
    }

    /// Tells the others how much is free here, every few seconds.
    fn announce(&mut self, quota: Option<f64>) {
        let (Some(quota), true) = (quota, self.looks.is_multiple_of(LOOKS_PER_WORD)) else {
            self.looks += 1;
            return;
        };
        self.looks += 1;
        let shared = &self.handle.shared;
        let work = shared.fleet.stats();
        let load = PeerLoad {
            quota: (quota * 1e9) as u64,
            waiting: work.waiting as u64,
            virtual_nodes: work.virtual_nodes as u64,
        };
        let _inside = shared.runtime.enter();
        if let Err(error) = shared.net.gossip(&Announcement::Load(load).to_bytes()) {
            tracing::debug!(%error, "the load was not announced");
        }
    }

    /// What governance allows, on this machine's processors.
    fn bounds(&self) -> Option<Bounds> {
        let params = self.handle.shared.state().and_then(|state| state.params()).ok()?;
        Some(Bounds::governed(&params, cores()))
    }
}
