//! The autoscaler (ARO of seed 0): how many virtual nodes a node should have.
//!
//! `VN_count = f(cpu, gpu, queue, bandwidth)`: what the queue asks for, but not more than fill the
//! processors. While tasks wait and the processors are not full, the share of the machine that one
//! virtual node takes is measured, and so many are wanted that they fill it ([`Weights::fill`]); a
//! larger count that brings no work done and no load is taken back, since something else is short.
//! When nothing waits, what the queue has not needed for some intervals is merged. Short bandwidth
//! does not change the count: local AI flows go first then.
//!
//! What was not measured is none, never 0. It is a pure state machine: telemetry in, a target out.
//! The autoscaler alone changes counts (`docs/spec/protocol.md` 18).

mod learn;
mod measure;

use std::collections::VecDeque;

use anthill_types::genesis::NANO;
use anthill_types::params::ChainParams;

use learn::Crowding;
use measure::{Measure, Steady, Window};

/// From here on the processors are full: more virtual nodes cannot show in the load.
const FULL: f64 = 0.94;
/// Growth at most to so many times the count (or the cores) in one interval.
const LEAP: f64 = 16.0;
/// Growth in one interval when the load is above `CPU_threshold`.
const CAREFUL: f64 = 1.25;
/// Intervals after which a larger count must have shown an effect.
const TRIAL: u32 = 3;
/// Intervals for which a count that brought nothing is not tried again, doubled each time.
const CEILING: u64 = 32;
/// Intervals of low demand before virtual nodes are merged; doubled when they are wanted again soon.
const PATIENCE: usize = 5;
/// The longest patience.
const LONGEST: usize = 80;
/// Bandwidth from which local flows go first, and below which all are equal again.
const BANDWIDTH: (f64, f64) = (0.90, 0.75);
/// Memory from which no virtual node is added, and from which some are taken away.
const MEMORY: (f64, f64) = (0.90, 0.95);

/// What the node measured; best several times an interval, so that bursts are seen. Shares are 0 to 1 of what may be used; none: not measured.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Telemetry {
    /// Milliseconds on the node's clock.
    pub now_ms: u64,
    /// Load of the processors.
    pub cpu: Option<f64>,
    /// Load of the graphics processor.
    pub gpu: Option<f64>,
    /// Memory in use.
    pub memory: Option<f64>,
    /// Bandwidth in use.
    pub bandwidth: Option<f64>,
    /// Tasks that wait.
    pub waiting: usize,
    /// Tasks that run.
    pub running: usize,
    /// Work done since the start, cost units.
    pub done: u64,
}

/// What the autoscaler may do.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bounds {
    /// Most virtual nodes (`VN_MAX`).
    pub vn_max: usize,
    /// Milliseconds between two decisions (`ARO_INTERVAL`).
    pub interval_ms: u64,
    /// Load below which virtual nodes are spawned in leaps, and above which by eighths
    /// (`CPU_threshold`).
    pub cpu_threshold: f64,
    /// Processor cores.
    pub cores: usize,
}

impl Bounds {
    /// Those that governance has set, on a machine of so many cores.
    pub fn governed(params: &ChainParams, cores: usize) -> Self {
        Self {
            vn_max: usize::try_from(params.vn_max).unwrap_or(usize::MAX),
            interval_ms: params.aro_interval_ms,
            cpu_threshold: params.cpu_threshold as f64 / NANO as f64,
            cores: cores.max(1),
        }
    }
}

/// The weights of `f`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Weights {
    /// How full the processors are to be: the sum of the shares that virtual nodes would take alone.
    /// Above 1, since they do not all compute at the same time.
    pub fill: f64,
    /// What is kept above the demand when virtual nodes are merged, as a share of it.
    pub spare: f64,
}

impl Default for Weights {
    /// The best of those tried on the plants of `tests/autoscaler.rs` (`docs/CONTROLLER.md`).
    fn default() -> Self {
        Self { fill: 1.3, spare: 0.25 }
    }
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scaling {
    /// How many virtual nodes there should be, 1 to `vn_max`.
    pub target: usize,
    /// Bandwidth is short: AI flows whose data is here go first.
    pub local_first: bool,
    /// The highest load that was measured, 0 to 1; demand over count when none was.
    pub load: f64,
    /// Why.
    pub reason: &'static str,
}

/// A larger count under test.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Trial {
    from: usize,
    rate: f64,
    load: Option<f64>,
}

/// A count above which nothing was gained.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Ceiling {
    count: usize,
    until: u64,
    length: u64,
}

/// The autoscaler.
#[derive(Clone, PartialEq, Debug)]
pub struct Autoscaler {
    bounds: Bounds,
    weights: Weights,
    crowding: Option<Crowding>,
    window: Window,
    count: usize,
    tick: u64,
    /// What was measured at this count.
    steady: Steady,
    /// Load of other programs, as seen when nothing ran.
    others: f64,
    /// Share of the machine that one virtual node takes alone, as last measured below full load.
    share: Option<f64>,
    /// What the last intervals asked for.
    demands: VecDeque<usize>,
    patience: usize,
    /// The interval of the last merge.
    merged_at: u64,
    trial: Option<Trial>,
    ceiling: Option<Ceiling>,
    local_first: bool,
}

impl Autoscaler {
    /// One with the default weights, which it tunes; it begins with a virtual node for each core.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            weights: Weights::default(),
            crowding: Some(Crowding::default()),
            window: Window::default(),
            count: bounds.cores.clamp(1, bounds.vn_max.max(1)),
            tick: 0,
            steady: Steady::default(),
            others: 0.0,
            share: None,
            demands: VecDeque::new(),
            patience: PATIENCE,
            merged_at: 0,
            trial: None,
            ceiling: None,
            local_first: false,
        }
    }

    /// One that keeps its weights: the fixed variant.
    pub fn fixed(bounds: Bounds, weights: Weights) -> Self {
        Self { weights, crowding: None, ..Self::new(bounds) }
    }

    /// The weights now.
    pub fn weights(&self) -> Weights {
        self.weights
    }

    /// Other bounds from the next decision on.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// The count that it asked for last.
    pub fn target(&self) -> usize {
        self.count
    }

    /// Takes in telemetry, as often as the node likes; at the end of an interval it decides.
    pub fn step(&mut self, telemetry: &Telemetry) -> Option<Scaling> {
        let measure = self.window.take(telemetry, self.bounds.interval_ms)?;
        self.tick += 1;
        self.watch(&measure);
        self.remember(&measure);
        let (wanted, reason) = self.wanted(&measure);
        let (wanted, reason) = self.within_memory(&measure, wanted, reason);
        let target = wanted.clamp(1, self.bounds.vn_max.max(1));
        self.change(target);
        let load = measure.load().unwrap_or(measure.demand as f64 / target as f64);
        Some(Scaling { target, local_first: self.local_first, load, reason })
    }

    /// Sets the count. Virtual nodes that are wanted again soon after they were merged make the next
    /// merge wait longer.
    fn change(&mut self, target: usize) {
        let since = self.tick - self.merged_at;
        if target > self.count && self.merged_at > 0 && since <= 2 * self.patience as u64 {
            self.patience = (self.patience * 2).min(LONGEST);
            self.merged_at = 0;
        } else if since > 4 * LONGEST as u64 {
            self.patience = PATIENCE;
        }
        if target == self.count {
            return;
        }
        if target < self.count {
            self.merged_at = self.tick;
        }
        self.count = target;
        self.steady = Steady::default();
    }

    fn remember(&mut self, measure: &Measure) {
        let asked = self.asked(measure).min(self.bounds.vn_max);
        self.demands.push_front(asked);
        self.demands.truncate(self.patience);
    }

    /// Virtual nodes that an interval asked for: seen in samples, or, for tasks that came and went
    /// between them, by the load that they made.
    fn asked(&self, measure: &Measure) -> usize {
        let own = measure.load().map_or(0.0, |load| (load - self.others).max(0.0));
        let by_load = self.share.map_or(0.0, |share| own / share.max(1e-6));
        // A load of less than a twentieth of a virtual node is the node's own.
        measure.demand.max((by_load - 0.05).max(0.0).ceil() as usize)
    }

    /// Takes in what an interval says about the machine, whatever is decided.
    fn watch(&mut self, measure: &Measure) {
        let limit = if self.local_first { BANDWIDTH.1 } else { BANDWIDTH.0 };
        self.local_first = measure.bandwidth.is_some_and(|used| used >= limit);
        match measure.load() {
            Some(load) if measure.busy < 0.05 => self.others = f64::midpoint(self.others, load),
            _ => {}
        }
        if measure.waiting > 0 {
            self.steady.add(measure);
        } else {
            self.steady = Steady::default();
        }
        if let Some(load) = self.steady.load().filter(|load| *load < FULL)
            && self.steady.busy() >= 0.1
        {
            // Others may have gone since they were seen: at least a tenth of the load is ours.
            let own = (load - self.others).max(load * 0.1);
            self.share = Some(own / self.steady.busy());
        }
        self.learn(measure);
    }

    /// Updates the filling, when it learns: crowded processors do less work for the same load.
    fn learn(&mut self, measure: &Measure) {
        let (Some(crowding), Some(load)) = (&mut self.crowding, measure.load()) else { return };
        let cores = self.bounds.cores as f64;
        let own = load - self.others;
        if measure.waiting > 0 && own > 0.004 && measure.rate > 0.0 {
            crowding.add((measure.busy - cores).max(0.0), own / measure.rate);
        }
        let full = self.share.map(|share| (1.0 - self.others) / share.max(1e-6));
        if let Some(fill) = full.and_then(|full| crowding.best_fill(full, cores)) {
            self.weights.fill = fill;
        }
    }

    fn wanted(&mut self, measure: &Measure) -> (usize, &'static str) {
        if measure.waiting == 0 {
            self.trial = None;
            return self.merged(measure);
        }
        if let Some(verdict) = self.judge() {
            return verdict;
        }
        let goal = self.goal().min(self.demand());
        let goal = match self.ceiling {
            Some(ceiling) if self.tick < ceiling.until => goal.min(ceiling.count),
            _ => goal,
        };
        // A virtual node for each core is never too many: it gets its turn even where others fill the
        // processors, and there the load tells nothing.
        let cores = self.bounds.cores.min(self.demand());
        let goal = goal.max(cores);
        if goal > self.count + self.count / 16 {
            if goal > cores {
                let (rate, load) = (self.steady.rate(), self.steady.load());
                self.trial = Some(Trial { from: self.count, rate, load });
            }
            return (goal, "tasks wait: spawn");
        }
        if goal * 8 < self.count * 7 {
            return (goal, "fewer are enough: merge");
        }
        (self.count, "enough for what waits")
    }

    /// The highest demand of the last intervals.
    fn demand(&self) -> usize {
        self.demands.iter().copied().max().unwrap_or(0).max(1)
    }

    /// How many virtual nodes fill the processors, as far as one interval's growth goes.
    fn goal(&self) -> usize {
        let (count, cores) = (self.count as f64, self.bounds.cores as f64);
        let own = 1.0 - self.others;
        let goal = match (self.steady.load(), self.share) {
            (Some(load), Some(share)) => {
                let fitting = own * self.weights.fill / share.max(1e-6);
                if load < self.bounds.cpu_threshold {
                    fitting
                } else if load < self.others + FULL * own {
                    fitting.min((count * CAREFUL).max(count + 1.0))
                } else if self.crowding.is_some() {
                    // Only what was learned takes any away from full processors.
                    fitting.max(cores).min(count)
                } else {
                    count
                }
            }
            (Some(load), None) if load >= FULL => count,
            // Nothing is measured: double, and look whether more is done.
            _ => count * 2.0,
        };
        (goal.min(LEAP * count.max(cores)).round() as usize).max(1)
    }

    /// Looks whether a larger count brought more work done; none: nothing is on trial any more.
    fn judge(&mut self) -> Option<(usize, &'static str)> {
        let trial = self.trial?;
        let growth = self.count as f64 / trial.from.max(1) as f64;
        let wanted = 1.0 + ((growth - 1.0) / 3.0).clamp(0.0, 0.1);
        if self.steady.rate() >= trial.rate * wanted {
            self.trial = None;
            return None;
        }
        if self.steady.intervals() < TRIAL {
            return Some((self.count, "a larger count is on trial"));
        }
        self.trial = None;
        // Few and long tasks end in lumps: a load that grew, while no less is done, will do.
        let is_busier = match (trial.load, self.steady.load()) {
            (Some(before), Some(now)) => now >= before * wanted || now >= FULL,
            _ => false,
        };
        if is_busier && self.steady.rate() >= trial.rate * 0.95 {
            return None;
        }
        let again = self.ceiling.filter(|c| c.count == trial.from).map(|c| c.length * 2);
        let length = again.unwrap_or(CEILING);
        self.ceiling = Some(Ceiling { count: trial.from, until: self.tick + length, length });
        Some((trial.from, "more brought nothing: back"))
    }

    /// Nothing waits: keeps what the last intervals needed and some more.
    fn merged(&self, measure: &Measure) -> (usize, &'static str) {
        let goal = (self.demand() as f64 * (1.0 + self.weights.spare)).ceil() as usize;
        let is_idle = self.demands.iter().all(|demand| *demand == 0);
        let goal = if is_idle { 1 } else { goal };
        if self.demands.len() == self.patience
            && goal * 4 <= self.count * 3
            && measure.running < self.count
        {
            return (goal, "low load: merge");
        }
        (self.count, "nothing waits")
    }

    fn within_memory(
        &self,
        measure: &Measure,
        wanted: usize,
        reason: &'static str,
    ) -> (usize, &'static str) {
        match measure.memory {
            Some(used) if used >= MEMORY.1 && wanted + self.count / 8 >= self.count => {
                (self.count - (self.count / 8).max(1).min(self.count - 1), "memory is full: merge")
            }
            Some(used) if used >= MEMORY.0 && wanted > self.count => {
                (self.count, "memory is short: no more")
            }
            _ => (wanted, reason),
        }
    }
}

/// A virtual node's quota, by seed 0, section 7: `(CPU_share + GPU_share + Memory_share) /
/// MAX_capacity`, in the unit of the shares. A graphics processor that was not measured adds
/// nothing; without a capacity there is no quota.
pub fn quota(cpu: f64, gpu: Option<f64>, memory: f64, capacity: f64) -> f64 {
    let quota = (cpu + gpu.unwrap_or(0.0) + memory) / capacity;
    if capacity > 0.0 && quota.is_finite() { quota } else { 0.0 }
}
