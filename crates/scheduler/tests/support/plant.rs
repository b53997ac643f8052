//! A model machine: cores, a queue, and virtual nodes that compute and wait in turns.
//!
//! Cores are shared evenly by those that compute. From event to event, so nothing is rounded.
#![allow(dead_code)]

use anthill_scheduler::autoscaler::{Autoscaler, Scaling, Telemetry};

use super::Random;

/// What the machine and its tasks are like.
#[derive(Clone, Copy, Debug)]
pub struct Plant {
    pub cores: usize,
    /// Share of a task's time alone that it computes, 0 to 1.
    pub compute: f64,
    /// Milliseconds of a task alone.
    pub task_ms: f64,
    /// Compute-and-wait rounds of a task.
    pub rounds: u32,
    /// Load of other programs, a share of all cores.
    pub others: f64,
    /// Work that all waiting parts together can do (a disk, a link), in tasks' waits at once.
    pub waits: f64,
    /// Slow-down per virtual node beyond the cores, as caches get crowded.
    pub crowding: f64,
    /// Relative error of the measured load.
    pub noise: f64,
}

#[derive(Clone, Copy)]
struct Slot {
    computing: bool,
    left_ms: f64,
    rounds: u32,
}

/// The machine at work.
pub struct Machine {
    pub plant: Plant,
    random: Random,
    slots: Vec<Slot>,
    /// Slots beyond this count end their task and take no other.
    count: usize,
    pub queue: u64,
    now_ms: u64,
    done: f64,
    busy_ms: f64,
    reported_ms: u64,
    wait_used: f64,
}

impl Machine {
    pub fn new(plant: Plant, seed: u64) -> Self {
        Self {
            plant,
            random: Random(seed),
            slots: Vec::new(),
            count: 1,
            queue: 0,
            now_ms: 0,
            done: 0.0,
            busy_ms: 0.0,
            reported_ms: 0,
            wait_used: 0.0,
        }
    }

    pub fn set_count(&mut self, count: usize) {
        self.count = count;
    }

    /// Work done, in milliseconds of tasks alone.
    pub fn done(&self) -> f64 {
        self.done
    }

    /// Lengths vary between a half and one and a half.
    fn phase(&mut self, computing: bool) -> f64 {
        let share = if computing { self.plant.compute } else { 1.0 - self.plant.compute };
        share * self.plant.task_ms / f64::from(self.plant.rounds) * (0.5 + self.random.unit())
    }

    /// Goes on to the next event, or to the end of `most` milliseconds; gives how long that was.
    fn step(&mut self, most: f64) -> f64 {
        while self.slots.len() < self.count && self.queue > 0 {
            self.queue -= 1;
            let left_ms = self.phase(true);
            self.slots.push(Slot { computing: true, left_ms, rounds: self.plant.rounds });
        }
        let many = self.slots.iter().filter(|s| s.computing).count() as f64;
        let waiting = self.slots.len() as f64 - many;
        let cores = self.plant.cores as f64 * (1.0 - self.plant.others);
        let crowd = (self.slots.len() as f64 - self.plant.cores as f64).max(0.0);
        let useful = 1.0 / (1.0 + self.plant.crowding * crowd);
        let share = (cores / many.max(1e-9)).min(1.0);
        let wait = (self.plant.waits / waiting.max(1e-9)).min(1.0);
        let speed = |slot: &Slot| if slot.computing { share * useful } else { wait };
        let left = |slot: &Slot| slot.left_ms / speed(slot);
        let span = self.slots.iter().map(left).fold(most, f64::min);
        self.busy_ms += span * share * many;
        self.wait_used += span * wait * waiting;
        for at in (0..self.slots.len()).rev() {
            let used = span * speed(&self.slots[at]);
            self.done += used;
            self.slots[at].left_ms -= used;
            if self.slots[at].left_ms < 1e-6 {
                self.next_phase(at);
            }
        }
        span
    }

    fn next_phase(&mut self, at: usize) {
        let Slot { computing, rounds, .. } = self.slots[at];
        let rounds = if computing { rounds } else { rounds - 1 };
        if rounds == 0 {
            self.slots.swap_remove(at);
            return;
        }
        let left_ms = self.phase(!computing);
        self.slots[at] = Slot { computing: !computing, left_ms, rounds };
    }

    /// Runs for a time.
    pub fn run(&mut self, ms: u64) {
        let mut left = ms as f64;
        while left > 1e-6 {
            left -= self.step(left);
        }
        self.now_ms += ms;
    }

    /// What a node would measure since the last call.
    pub fn telemetry(&mut self) -> Telemetry {
        let span = (self.now_ms - self.reported_ms).max(1) as f64;
        let load = self.busy_ms / span / self.plant.cores as f64 + self.plant.others;
        let noise = 1.0 + self.plant.noise * (self.random.unit() - 0.5);
        let bandwidth = self.wait_used / span / self.plant.waits;
        (self.busy_ms, self.wait_used, self.reported_ms) = (0.0, 0.0, self.now_ms);
        Telemetry {
            now_ms: self.now_ms,
            cpu: Some((load * noise).min(1.0)),
            bandwidth: Some(bandwidth.min(1.0)),
            waiting: usize::try_from(self.queue).unwrap(),
            running: self.slots.len(),
            done: self.done as u64,
            ..Telemetry::default()
        }
    }
}

/// Milliseconds of work done in a second by a fixed count under a full queue, once it runs evenly.
pub fn fixed_rate(plant: Plant, count: usize, seconds: u64) -> f64 {
    let mut machine = Machine::new(plant, 77);
    machine.queue = 1 << 40;
    machine.set_count(count);
    machine.run(3_000);
    let before = machine.done();
    machine.run(seconds * 1000);
    (machine.done() - before) / seconds as f64
}

/// The best fixed count up to `most` and its rate.
pub fn best_fixed(plant: Plant, most: usize, seconds: u64) -> (usize, f64) {
    let mut best = (1, 0.0);
    let mut count = 1;
    while count <= most {
        let rate = fixed_rate(plant, count, seconds);
        if rate > best.1 {
            best = (count, rate);
        }
        count += (count / 8).max(1);
    }
    best
}

/// One interval of a run.
pub struct Interval {
    pub target: usize,
    pub load: f64,
    pub waiting: usize,
    /// Milliseconds of work done a second.
    pub rate: f64,
    pub reason: &'static str,
}

/// Lets an autoscaler run the machine: `arrivals` gives the tasks that come at the start of a second.
pub fn drive(
    machine: &mut Machine,
    scaler: &mut Autoscaler,
    seconds: u64,
    samples: u64,
    mut arrivals: impl FnMut(u64) -> u64,
) -> Vec<Interval> {
    let mut out = Vec::new();
    machine.set_count(scaler.target());
    scaler.step(&machine.telemetry());
    for second in 0..seconds {
        machine.queue += arrivals(second);
        let before = machine.done();
        let mut scaling: Option<Scaling> = None;
        for _ in 0..samples {
            machine.run(1000 / samples);
            let telemetry = machine.telemetry();
            if let Some(found) = scaler.step(&telemetry) {
                machine.set_count(found.target);
                scaling = Some(found);
            }
        }
        let Some(scaling) = scaling else { panic!("no decision in second {second}") };
        out.push(Interval {
            target: scaling.target,
            load: scaling.load,
            waiting: machine.queue as usize,
            rate: machine.done() - before,
            reason: scaling.reason,
        });
    }
    out
}

/// How often the target changed from rising to falling or back.
pub fn turns(intervals: &[Interval]) -> usize {
    let targets: Vec<usize> = intervals.iter().map(|i| i.target).collect();
    let moves: Vec<bool> =
        targets.windows(2).filter(|w| w[0] != w[1]).map(|w| w[1] > w[0]).collect();
    moves.windows(2).filter(|w| w[0] != w[1]).count()
}

/// A machine drawn from a seed.
pub fn random_plant(seed: u64) -> Plant {
    let mut random = Random(seed);
    let task_ms = [40.0, 150.0, 400.0][random.below(3) as usize];
    Plant {
        cores: [1, 2, 4, 8][random.below(4) as usize],
        compute: [0.05, 0.1, 0.25, 0.5, 0.8, 0.95][random.below(6) as usize],
        task_ms,
        rounds: 1 + random.below(4) as u32,
        others: [0.0, 0.0, 0.1, 0.25][random.below(4) as usize],
        waits: [1e9, 1e9, 20.0][random.below(3) as usize],
        crowding: [0.0, 0.0, 0.01, 0.03][random.below(4) as usize],
        noise: [0.0, 0.05, 0.15][random.below(3) as usize],
    }
}

/// Work done on a trace of four minutes: idle, a full queue, a trickle, bursts, a full queue.
pub fn trace(plant: Plant, scaler: &mut Autoscaler, seed: u64) -> f64 {
    let mut machine = Machine::new(plant, seed);
    let mut random = Random(seed ^ 0x7261_6365);
    drive(&mut machine, scaler, 10, 4, |_| 0);
    for minute in 0..4 {
        machine.queue = 0;
        let burst = 1 + random.below(400);
        let every = 5 + random.below(15);
        drive(&mut machine, scaler, 60, 4, |second| match minute {
            0 | 3 if second == 0 => 1 << 40,
            1 => second % 3,
            2 if second % every == 0 => burst,
            _ => 0,
        });
    }
    machine.done()
}
