//! The controller's loop on a running node: one beat after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anthill_scheduler::controller::advisers::{self, Advice, View};
use anthill_scheduler::controller::audit::{self, Json};
use anthill_scheduler::controller::{Action, Beat, Controller, Features, Settings};

use super::act;
use super::anomalies::{Findings, Watch};
use super::audit::AuditFile;
use super::tune::{Trial, Tuner};
use crate::driver::now_ms;
use crate::error::NodeError;
use crate::handle::Handle;
use crate::shared::Shared;

/// Longest trial of a setting, in thresholds Tt for a weight O of 1.
const TRIAL: f64 = 2.0;

/// Beats for which what a trial found waits for its APPLY_OPTIMIZE.
const WAITS: u32 = 20;

/// A trial that is worth an APPLY_OPTIMIZE. The beat that measured was long, so that APPLY_BALANCE comes
/// first in the next one; while this waits nothing is measured, and the beat after that is short.
#[derive(Clone, Copy)]
struct Pending {
    trial: Trial,
    beats: u32,
}

impl Pending {
    fn of(trial: Option<Trial>) -> Option<Self> {
        trial.filter(Trial::is_worth_it).map(|trial| Self { trial, beats: 0 })
    }

    /// It has waited for one beat more; in the end it is too old to be true.
    fn older(self) -> Option<Self> {
        (self.beats < WAITS).then_some(Self { beats: self.beats + 1, ..self })
    }
}

/// The loop's state.
pub(super) struct Control {
    shared: Arc<Shared>,
    controller: Controller,
    log: AuditFile,
    webhook: Option<String>,
    tuner: Tuner,
    last_action: Option<Action>,
}

fn now_s() -> f64 {
    now_ms() as f64 / 1e3
}

impl Control {
    /// A loop with these settings, and the audit log of the node's folder.
    pub fn new(
        handle: Handle,
        settings: Settings,
        webhook: Option<&str>,
    ) -> Result<Self, NodeError> {
        let shared = handle.shared.clone();
        let fail = |error| NodeError::System { what: "opening the audit log", error };
        let log = AuditFile::open(&shared.home, now_s()).map_err(fail)?;
        let controller = Controller::new(settings)
            .map_err(|error| fail(std::io::Error::other(error.to_string())))?;
        let webhook = webhook.map(str::to_string);
        Ok(Self { shared, controller, log, webhook, tuner: Tuner::default(), last_action: None })
    }

    /// Beats until the node stops.
    pub fn run(mut self) {
        let mut watch = Watch::new(&self.shared);
        let begun = Instant::now();
        let (mut beat_s, mut pending): (_, Option<Pending>) = (None, None);
        loop {
            let at = Instant::now();
            self.take_injections();
            let findings = watch.look(&self.shared);
            let features = Features {
                anoms: findings.anoms,
                imbalance: self.shared.fleet.imbalance(),
                gain: pending.map_or(0.0, |pending| pending.trial.gain),
                beat_s,
            };
            let view = self.controller.view(&features);
            let (advice, tried) = self.ask(&view, pending.is_none());
            beat_s = Some(at.elapsed().as_secs_f64());
            let beat = self.controller.conclude(&view, advice, begun.elapsed().as_secs_f64());
            self.carry_out(&beat, &findings, pending.map(|pending| pending.trial).as_ref());
            self.shared.steering.note(&beat, tried);
            pending = match pending {
                Some(_) if beat.action == Action::ApplyOptimize => None,
                Some(waits) => waits.older(),
                None => Pending::of(tried),
            };
            let rest = Duration::from_secs_f64(beat.t_lambda).saturating_sub(at.elapsed());
            if !self.shared.steering.sleep(rest) {
                return;
            }
        }
    }

    fn take_injections(&mut self) {
        for injection in self.shared.steering.injections() {
            if let Err(error) =
                self.controller.inject(injection.anoms.map(u64::from), injection.weight)
            {
                tracing::warn!(%error, "an injection is refused");
            }
        }
    }

    /// Asks the four advisers at once. The optimizer measures a candidate for the beats to come: the more
    /// its weight, the longer, so the beat's time grows with O and the loop has something to settle.
    fn ask(&mut self, view: &View, tries: bool) -> (Advice, Option<Trial>) {
        let time = Duration::from_secs_f64(TRIAL * view.weights.o * view.settings.t_threshold_s);
        let (shared, tuner) = (&self.shared, &mut self.tuner);
        std::thread::scope(|scope| {
            let repair = scope.spawn(|| advisers::repair(view));
            let balance = scope.spawn(|| advisers::balance(view));
            let risk = scope.spawn(|| advisers::risk(view));
            let trial = tries.then(|| tuner.trial(shared, time)).flatten();
            let advice = Advice {
                // An adviser that panicked is asked again here.
                repair: repair.join().unwrap_or_else(|_| advisers::repair(view)),
                balance: balance.join().unwrap_or_else(|_| advisers::balance(view)),
                risk: risk.join().unwrap_or_else(|_| advisers::risk(view)),
                optimize: advisers::optimize(view),
            };
            (advice, trial)
        })
    }

    /// Acts, and records the beat when something was done or recommended anew.
    fn carry_out(&mut self, beat: &Beat, findings: &Findings, trial: Option<&Trial>) {
        let hook = self.webhook.as_deref();
        let effect = act::act(&self.shared, beat.action, findings, trial, hook);
        let guarded = act::guard(&self.shared, beat.action, findings);
        let changed = self.last_action.replace(beat.action) != Some(beat.action);
        if changed || effect.is_some() || !guarded.is_empty() {
            audit::of_beat(beat).into_iter().for_each(|entry| self.record(entry));
        }
        for effect in effect.into_iter().chain(guarded) {
            let what = Json::object([("effect", effect.as_str().into())]);
            self.record(audit::action("EFFECT", what));
            self.shared.steering.lock().effects.push(format!("{}: {effect}", beat.action.name()));
        }
        let (entries, root) = self.log.summary();
        let mut state = self.shared.steering.lock();
        (state.audit_entries, state.audit_root) = (entries, root);
    }

    fn record(&mut self, data: Json) {
        if let Err(error) = self.log.append(data, now_s()) {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }
}
