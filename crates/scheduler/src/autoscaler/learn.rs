//! Tuning of [`super::Weights::fill`] by recursive least squares on the measured throughput.
//!
//! Crowded caches make the same work cost more processor time: `load / rate = a + b * (count -
//! cores)`. The ratio `b / a` says how much a virtual node more costs all others, and with it the
//! best filling follows: high where crowding costs nothing, near 1 where it is dear.

/// How much an interval's weight fades in the next.
const FADING: f64 = 0.98;
/// Fillings that are compared.
const FILLS: (f64, f64) = (0.7, 2.0);
/// Steps between them.
const STEPS: u32 = 26;
/// How sharply the load of many that compute at random times bends into saturation.
const BEND: f64 = 4.0;
/// Evidence below which nothing is changed: the spread of counts that were seen.
const SPREAD: f64 = 1.0;

/// Sums of the fit, with old samples faded.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Crowding {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Crowding {
    /// Takes in an interval: virtual nodes at work beyond the cores, own load per work done.
    pub fn add(&mut self, beyond: f64, cost: f64) {
        for sum in [&mut self.n, &mut self.x, &mut self.y, &mut self.xx, &mut self.xy] {
            *sum *= FADING;
        }
        self.n += 1.0;
        self.x += beyond;
        self.y += cost;
        self.xx += beyond * beyond;
        self.xy += beyond * cost;
    }

    /// What one virtual node more costs, as a share of the work; none: not seen at counts that differ.
    pub fn slope(&self) -> Option<f64> {
        let spread = self.xx - self.x * self.x / self.n.max(1.0);
        if self.n < 3.0 || spread < SPREAD {
            return None;
        }
        let b = (self.xy - self.x * self.y / self.n) / spread;
        let a = (self.y - b * self.x) / self.n;
        (a > 0.0 && b.is_finite()).then(|| (b / a).max(0.0))
    }

    /// The best filling where `full` virtual nodes would fill the machine if each computed evenly.
    pub fn best_fill(&self, full: f64, cores: f64) -> Option<f64> {
        let slope = self.slope()?;
        let work = |fill: f64| {
            let slower = 1.0 + slope * (fill * full - cores).max(0.0);
            let asked = fill * slower;
            asked / (1.0 + asked.powf(BEND)).powf(1.0 / BEND) / slower
        };
        let fill = |step| FILLS.0 + (FILLS.1 - FILLS.0) * f64::from(step) / f64::from(STEPS);
        (0..=STEPS).map(fill).max_by(|a, b| work(*a).total_cmp(&work(*b)))
    }
}
