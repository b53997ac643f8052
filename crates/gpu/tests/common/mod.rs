//! What the tests share: seeded numbers, and devices of every way of working.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod graphs;

use anthill_gpu::{Device, GpuError, Options};

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 1 to `most`.
    pub fn size(&mut self, most: u64) -> usize {
        (self.word() % most + 1) as usize
    }

    pub fn bytes(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.word() as i8).collect()
    }

    pub fn words(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.word() as u32).collect()
    }

    /// Between -1 and 1.
    pub fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.word() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0).collect()
    }
}

/// Opens a device; a machine without an adapter fails the test with what to install.
pub fn open(options: &Options) -> Device {
    Device::with(options).unwrap_or_else(|error: GpuError| panic!("{error}"))
}

/// Every way of working: mapped memory and packed dot where they are, staging and plain dot, and buffers
/// of 4 KiB at most, so that nearly all work is cut.
pub fn devices() -> Vec<(&'static str, Device)> {
    let staged = Options { always_stage: true, plain_dot: true, ..Options::default() };
    let cut = Options { binding_limit: Some(4096), ..Options::default() };
    vec![
        ("direct, packed", open(&Options::default())),
        ("staged, plain", open(&staged)),
        ("cut", open(&cut)),
    ]
}

/// Greatest difference to the yardstick, relative to the yardstick's greatest value.
pub fn error(found: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let scale = wanted.iter().fold(f64::MIN_POSITIVE, |m, w| m.max(w.abs()));
    let worst = found.iter().zip(wanted).fold(0.0_f64, |m, (f, w)| {
        assert!(f.is_finite());
        m.max((f64::from(*f) - w).abs())
    });
    worst / scale
}
