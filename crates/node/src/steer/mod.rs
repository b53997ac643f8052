//! Steers the node: the autoscaler counts virtual nodes, the controller repairs, balances, warns and tunes.
//!
//! Who scales what (`docs/spec/protocol.md` 18): the autoscaler alone changes counts of virtual nodes;
//! the controller's APPLY_BALANCE moves work and virtual nodes and keeps the counts.

mod act;
mod anomalies;
mod audit;
mod beat;
pub mod quarantine;
mod scale;
pub mod telemetry;
#[cfg(test)]
mod tests;
mod tune;
pub mod webhook;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anthill_scheduler::controller::{Beat, Settings};
use serde::Serialize;

use crate::config::Config;
use crate::error::NodeError;
use crate::handle::Handle;
use crate::http::error::some_whole;

pub use quarantine::Quarantine;
pub use telemetry::Sensors;
pub use tune::Trial;

/// Seed 3's Tt over T1: both are slowed by the same factor on a running node.
const THRESHOLD_PER_T1: f64 = 20.0;

/// What the autoscaler and the controller say of themselves.
#[derive(Default)]
pub struct Steering {
    state: Mutex<State>,
    inbox: Mutex<Vec<Injection>>,
    stopping: AtomicBool,
}

/// Anomalies or a risk weight from outside (seed 3: `inject_data`).
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize, utoipa::ToSchema)]
pub struct Injection {
    /// Anomalies that the controller is to assume in every beat, until another number is injected.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    #[serde(default, deserialize_with = "some_whole")]
    pub anoms: Option<u32>,
    /// Weight of the risk model.
    pub weight: Option<f64>,
}

/// The newest of everything.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct State {
    /// The newest beat, in the form of `anthill controller run --json`.
    #[schema(value_type = Option<Object>)]
    pub beat: Option<serde_json::Value>,
    /// How often each action was decided.
    pub actions: BTreeMap<String, u64>,
    /// What the last actions did, newest last.
    pub effects: Vec<String>,
    /// Entries of the audit log.
    pub audit_entries: u64,
    /// Merkle root of the audit log.
    pub audit_root: String,
    /// The newest decision of the autoscaler.
    pub scaling: Option<ScalingView>,
    /// The newest telemetry.
    pub telemetry: TelemetryView,
    /// The newest trial of a setting.
    pub trial: Option<Trial>,
}

/// A decision of the autoscaler.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ScalingView {
    /// Virtual nodes that are wanted.
    pub target: usize,
    /// Local flows go first.
    pub local_first: bool,
    /// The highest load measured.
    pub load: f64,
    /// Why.
    pub reason: &'static str,
    /// Decisions so far.
    pub decisions: u64,
}

/// What the sensors say; absent: not measured here.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct TelemetryView {
    /// Load of the processors that may be used, 0 to 1.
    pub cpu: Option<f64>,
    /// Load of the busiest graphics processor.
    pub gpu: Option<f64>,
    /// Memory in use.
    pub memory: Option<f64>,
    /// Bandwidth in use, of the owner's limit.
    pub bandwidth: Option<f64>,
    /// Quota of one virtual node (seed 0, section 7): free shares over the count.
    pub quota: Option<f64>,
}

/// What was kept of the actions' effects.
const EFFECTS: usize = 50;

impl Steering {
    /// What is known now.
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an injection to the controller; it counts from its next beat.
    pub fn inject(&self, injection: Injection) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(injection);
    }

    fn injections(&self) -> Vec<Injection> {
        std::mem::take(&mut self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets both loops end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Sleeps, in short pieces; false when the node stops.
    fn sleep(&self, time: Duration) -> bool {
        let end = std::time::Instant::now() + time;
        while !self.stopping() {
            let left = end.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        false
    }

    fn note(&self, beat: &Beat, trial: Option<Trial>) {
        let mut state = self.lock();
        *state.actions.entry(beat.action.name().to_string()).or_default() += 1;
        state.beat = serde_json::from_str(&beat.to_json().to_string()).ok();
        state.trial = trial.or(state.trial.take());
        let extra = state.effects.len().saturating_sub(EFFECTS);
        state.effects.drain(..extra);
    }
}

/// Starts the autoscaler and the controller of a running node.
///
/// # Errors
/// The system gives no thread, or the audit log cannot be opened.
pub fn start(
    handle: &Handle,
    config: &Config,
) -> Result<[std::thread::JoinHandle<()>; 2], NodeError> {
    let system =
        |error: std::io::Error| NodeError::System { what: "starting the controller", error };
    let scaler = scale::Scaler::new(handle.clone(), config);
    let thread = std::thread::Builder::new().name("autoscaler".into());
    let scaling = thread.spawn(move || scaler.run()).map_err(system)?;
    let base = Settings {
        t1_s: config.t1_s(),
        t_threshold_s: config.t1_s() * THRESHOLD_PER_T1,
        ..Settings::default()
    };
    let control = beat::Control::new(handle.clone(), base, config.webhook())?;
    let thread = std::thread::Builder::new().name("controller".into());
    let steering = thread.spawn(move || control.run()).map_err(system)?;
    Ok([scaling, steering])
}
