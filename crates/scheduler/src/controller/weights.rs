//! The weights of the four advisers.

/// Weights of the advisers; they sum to one after every beat.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Weights {
    /// Repair.
    pub r: f64,
    /// Balance.
    pub b: f64,
    /// Risk.
    pub e: f64,
    /// Optimize.
    pub o: f64,
}

impl Default for Weights {
    /// Those at the start (`docs/spec/controller.md`, State).
    fn default() -> Self {
        Self { r: 0.25, b: 0.25, e: 0.15, o: 0.35 }
    }
}

impl Weights {
    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.r + self.b + self.e + self.o
    }

    fn normalized(self) -> Self {
        let sum = self.sum();
        Self { r: self.r / sum, b: self.b / sum, e: self.e / sum, o: self.o / sum }
    }

    /// Steps 5 and 6 of the definition: moves O by `change`, then sets E by the threat of the beat
    /// that is now number `beat`.
    pub(super) fn moved(self, change: f64, threat: f64, beat: u64) -> Self {
        let moved = Self { o: (self.o + change).clamp(0.1, 0.9), ..self }.normalized();
        let e = if threat > 0.5 {
            let fading = (-(beat as f64) / 50.0).exp();
            0.15 * threat * fading * (1.0 - moved.o / 0.3).max(0.0)
        } else {
            0.10
        };
        Self { e: e.clamp(0.05, 0.30), ..moved }.normalized()
    }
}
