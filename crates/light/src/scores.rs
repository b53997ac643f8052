//! The numbers of a PoEI message: metrics and score (`docs/spec/poei.md` 8).

/// Metrics and score of one participant, in nano.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scores {
    /// Efficiency.
    pub e: u64,
    /// Quality.
    pub q: u64,
    /// Impact.
    pub i: u64,
    /// Trust.
    pub t: u64,
    /// Smoothed score.
    pub score: u64,
}

impl Scores {
    /// Reads a canonical PoEI message (a CBOR map with text keys); `None` when it is none.
    pub fn read(message: &[u8]) -> Option<Self> {
        let mut d = minicbor::Decoder::new(message);
        let mut scores = Self::default();
        for _ in 0..d.map().ok()?? {
            match d.str().ok()? {
                "E" => scores.e = d.u64().ok()?,
                "Q" => scores.q = d.u64().ok()?,
                "I" => scores.i = d.u64().ok()?,
                "T" => scores.t = d.u64().ok()?,
                "score" => scores.score = d.u64().ok()?,
                _ => d.skip().ok()?,
            }
        }
        Some(scores)
    }
}

/// A nano value as a decimal with four places.
pub fn decimal(nano: u64) -> String {
    format!("{}.{:04}", nano / 1_000_000_000, nano % 1_000_000_000 / 100_000)
}
