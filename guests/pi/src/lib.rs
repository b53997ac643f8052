//! Guest: estimate pi from a range of a counter-based random sequence.
//!
//! The arguments are three decimal numbers: `seed first count`. Sample `i` is a point of the unit square
//! from two 53-bit numbers of Philox4x32-10 with the key `seed` and the counter `i`, so that tasks over
//! disjoint ranges share nothing and their counts add up. The output is a line `inside count pi`. A step
//! takes `n` times 1,024 samples.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

use anthill_guest::{Program, Step, program};

/// Samples in a step of size 1.
const SAMPLES: u64 = 1024;

/// Philox4x32-10 (Salmon et al., 2011): ten rounds over a counter and a key.
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xd251_1f53;
        let b = u64::from(counter[2]) * 0xcd9e_8d57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

/// A number in 0..1 from the upper 53 bits.
fn unit(low: u32, high: u32) -> f64 {
    ((u64::from(high) << 32 | u64::from(low)) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// True when sample `i` lies inside the quarter circle.
fn inside(seed: u64, i: u64) -> bool {
    let counter = [i as u32, (i >> 32) as u32, 0, 0];
    let r = philox(counter, [seed as u32, (seed >> 32) as u32]);
    let (x, y) = (unit(r[0], r[1]), unit(r[2], r[3]));
    x * x + y * y < 1.0
}

/// The samples so far.
#[derive(Default)]
pub struct Pi {
    range: Option<(u64, u64, u64)>,
    done: u64,
    inside: u64,
}

/// `seed first count`.
fn range() -> Option<(u64, u64, u64)> {
    let args = anthill_guest::args();
    let mut words = std::str::from_utf8(&args).ok()?.split_ascii_whitespace().map(str::parse);
    let mut next = || words.next()?.ok();
    let range = (next()?, next()?, next()?);
    words.next().is_none().then_some(range).filter(|(_, _, count)| *count > 0)
}

impl Program for Pi {
    fn step(&mut self, n: u32) -> Step {
        let Some((seed, first, count)) = self.range.or_else(range) else {
            anthill_guest::log("the arguments are: seed first count");
            return Step::GiveUp;
        };
        self.range = Some((seed, first, count));
        let end = count.min(self.done + u64::from(n.max(1)) * SAMPLES);
        let hits = (self.done..end).filter(|i| inside(seed, first.wrapping_add(*i))).count();
        self.inside += hits as u64;
        self.done = end;
        anthill_guest::progress(end, count);
        if end < count {
            return Step::More;
        }
        let pi = 4.0 * self.inside as f64 / count as f64;
        anthill_guest::output(format!("{} {count} {pi:.9}\n", self.inside).as_bytes());
        Step::Done
    }
}

program!(Pi);

#[cfg(test)]
mod tests {
    use super::*;
    use anthill_guest::testing::{Host, run};

    /// Known answers of Random123's kat_vectors.
    #[test]
    fn philox_gives_the_known_answers() {
        let zeros = [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8];
        assert_eq!(philox([0; 4], [0; 2]), zeros);
        let ones = [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd];
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), ones);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let digits = [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1];
        assert_eq!(philox(pi, [0xa409_3822, 0x299f_31d0]), digits);
    }

    fn counts(args: &str) -> (u64, u64) {
        let host = Host { args: args.as_bytes().to_vec(), ..Host::default() };
        let (step, left) = run::<Pi>(host, 3);
        assert_eq!(step, Step::Done);
        let text = String::from_utf8(left.output).unwrap();
        let mut words = text.split(' ');
        let mut next = || words.next().unwrap().parse().unwrap();
        (next(), next())
    }

    #[test]
    fn ranges_add_up_and_come_near_pi() {
        let whole = counts("42 0 200000");
        let parts = [counts("42 0 70000"), counts("42 70000 130000")];
        assert_eq!(whole, (parts[0].0 + parts[1].0, 200_000));
        let error = 4.0 * whole.0 as f64 / 200_000.0 - std::f64::consts::PI;
        // Four standard deviations.
        assert!(error.abs() < 4.0 * 1.642 / 200_000f64.sqrt(), "{error}");
        let bad = Host { args: b"1 2".to_vec(), ..Host::default() };
        assert_eq!(run::<Pi>(bad, 1).0, Step::GiveUp);
    }
}
