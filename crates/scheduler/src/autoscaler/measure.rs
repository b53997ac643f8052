//! What an interval of telemetry comes to.

use super::Telemetry;

/// Means and ends of an interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Measure {
    pub cpu: Option<f64>,
    pub gpu: Option<f64>,
    pub memory: Option<f64>,
    pub bandwidth: Option<f64>,
    /// Virtual nodes at work, on average.
    pub busy: f64,
    /// Cost units a second.
    pub rate: f64,
    pub waiting: usize,
    pub running: usize,
    /// Most tasks that ran or waited in any sample.
    pub demand: usize,
}

impl Measure {
    /// The higher of the processors' loads, if one was measured.
    pub fn load(&self) -> Option<f64> {
        match (self.cpu, self.gpu) {
            (Some(cpu), Some(gpu)) => Some(cpu.max(gpu)),
            (cpu, gpu) => cpu.or(gpu),
        }
    }
}

/// A mean over the samples that have the value.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value.filter(|v| v.is_finite()) {
            self.sum += value.clamp(0.0, 1.0);
            self.count += 1;
        }
    }

    fn get(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

/// The interval that is being gathered.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Window {
    /// The sample at its beginning.
    first: Option<Telemetry>,
    last: Option<Telemetry>,
    cpu: Mean,
    gpu: Mean,
    memory: Mean,
    bandwidth: Mean,
    /// Integral of running tasks over time, in task-milliseconds.
    busy: f64,
    demand: usize,
}

impl Window {
    /// Takes in a sample; at the end of an interval gives what it comes to and begins the next.
    pub fn take(&mut self, sample: &Telemetry, interval_ms: u64) -> Option<Measure> {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            // The very first sample: loads of a time before it say nothing about the interval.
            *self = Self { first: Some(*sample), last: Some(*sample), ..Self::default() };
            return None;
        };
        let step_ms = sample.now_ms.saturating_sub(last.now_ms) as f64;
        self.busy += f64::midpoint(last.running as f64, sample.running as f64) * step_ms;
        self.demand = self.demand.max(sample.waiting.saturating_add(sample.running));
        self.cpu.add(sample.cpu);
        self.gpu.add(sample.gpu);
        self.memory.add(sample.memory);
        self.bandwidth.add(sample.bandwidth);
        self.last = Some(*sample);
        let length_ms = sample.now_ms.saturating_sub(first.now_ms);
        if length_ms < interval_ms.max(1) {
            return None;
        }
        let measure = Measure {
            cpu: self.cpu.get(),
            gpu: self.gpu.get(),
            memory: self.memory.get(),
            bandwidth: self.bandwidth.get(),
            busy: self.busy / length_ms as f64,
            rate: sample.done.saturating_sub(first.done) as f64 * 1000.0 / length_ms as f64,
            waiting: sample.waiting,
            running: sample.running,
            demand: self.demand,
        };
        *self = Self { first: Some(*sample), last: Some(*sample), ..Self::default() };
        Some(measure)
    }
}

/// Means over the intervals since the count changed; old ones fade.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Steady {
    intervals: u32,
    rate: f64,
    busy: f64,
    load: Option<f64>,
}

impl Steady {
    /// Takes in an interval.
    pub fn add(&mut self, measure: &Measure) {
        self.intervals = self.intervals.saturating_add(1);
        let share = (1.0 / f64::from(self.intervals)).max(0.2);
        self.rate += (measure.rate - self.rate) * share;
        self.busy += (measure.busy - self.busy) * share;
        self.load = match (self.load, measure.load()) {
            (Some(old), Some(new)) => Some(old + (new - old) * share),
            (old, new) => new.or(old),
        };
    }

    /// How many intervals there were.
    pub fn intervals(&self) -> u32 {
        self.intervals
    }

    /// Cost units a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Virtual nodes at work.
    pub fn busy(&self) -> f64 {
        self.busy
    }

    /// The higher of the processors' loads, if one was measured.
    pub fn load(&self) -> Option<f64> {
        self.load
    }
}
