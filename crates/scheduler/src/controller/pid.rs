//! The PID controller that moves the optimize weight: anti-windup, reset near zero, bounded steps.

use std::collections::VecDeque;

/// Errors below this reset the integral, seconds.
pub const EPSILON_S: f64 = 1e-4;
/// Most that the optimize weight moves in one beat.
pub const MAX_STEP: f64 = 0.05;
/// Beats that are remembered.
pub const HISTORY: usize = 1000;

/// The gains of one computation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gains {
    /// Proportional.
    pub kp: f64,
    /// Integral.
    pub ki: f64,
    /// Derivative.
    pub kd: f64,
}

/// One beat that is remembered.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sample {
    /// When, seconds on the caller's clock.
    pub now_s: f64,
    /// Error, seconds.
    pub delta_t: f64,
    /// Change of the error, seconds.
    pub delta_v: f64,
    /// The error fell.
    pub stable: bool,
}

/// What one computation gave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PidReport {
    /// Kp times the error.
    pub p: f64,
    /// Ki times the integral.
    pub i: f64,
    /// Kd times the derivative.
    pub d: f64,
    /// Their sum.
    pub out: f64,
    /// The integral after it, -1 to 1.
    pub integral: f64,
    /// Error: measured time of a beat less the threshold, seconds.
    pub delta_t: f64,
    /// Error less the error before.
    pub delta_v: f64,
    /// `delta_v < 0`.
    pub stable: bool,
    /// What the optimize weight is moved by, -0.05 to 0.05.
    pub weight_adjustment: f64,
}

/// State of the PID controller.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Pid {
    integral: f64,
    previous_error: f64,
    previous_s: Option<f64>,
    history: VecDeque<Sample>,
}

impl Pid {
    /// Takes in an error at a time; a clock that stands still or goes back adds nothing to the
    /// integral and gives no derivative.
    pub fn compute(&mut self, delta_t: f64, gains: Gains, now_s: f64) -> PidReport {
        let dt = self.previous_s.map_or(0.0, |before| now_s - before);
        if delta_t.abs() < EPSILON_S {
            self.integral = 0.0;
        }
        let mut derivative = 0.0;
        if dt > 0.0 {
            self.integral = (self.integral + delta_t * dt).clamp(-1.0, 1.0);
            derivative = ((delta_t - self.previous_error) / dt).clamp(f64::MIN, f64::MAX);
        }
        let (p, i, d) = (gains.kp * delta_t, gains.ki * self.integral, gains.kd * derivative);
        let out = p + i + d;
        let delta_v = delta_t - self.previous_error;
        let report = PidReport {
            p,
            i,
            d,
            out,
            integral: self.integral,
            delta_t,
            delta_v,
            stable: delta_v < 0.0,
            // Gains near the largest float can cancel out to no number; the weights must not see it.
            weight_adjustment: if out.is_nan() { 0.0 } else { (-out).clamp(-MAX_STEP, MAX_STEP) },
        };
        self.previous_error = delta_t;
        self.previous_s = Some(now_s);
        self.remember(Sample { now_s, delta_t, delta_v, stable: report.stable });
        report
    }

    fn remember(&mut self, sample: Sample) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(sample);
    }

    /// The last beats, oldest first, at most [`HISTORY`].
    pub fn history(&self) -> impl ExactSizeIterator<Item = &Sample> {
        self.history.iter()
    }

    /// True when the error fell in each of the last `window` beats (and there were so many).
    pub fn is_stable(&self, window: usize) -> bool {
        self.history.len() >= window && self.history.iter().rev().take(window).all(|s| s.stable)
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}
