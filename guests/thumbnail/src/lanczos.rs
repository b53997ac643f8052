//! Lanczos resampling in one direction.
//!
//! The sums use vectors of four numbers where the guest is built for WebAssembly. Each lane adds the
//! same numbers in the same order as plain code would, so the result is the same to the bit.

/// Lobes of the kernel.
const LOBES: f32 = 3.0;

/// A pixel in work: red, green, blue, and a lane that is always 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(align(16))]
pub struct Pixel(pub [f32; 4]);

impl Pixel {
    /// Of three bytes.
    pub fn new(bytes: [u8; 3]) -> Self {
        let [r, g, b] = bytes.map(f32::from);
        Self([r, g, b, 0.0])
    }

    /// The nearest bytes.
    pub fn bytes(&self) -> [u8; 3] {
        let [r, g, b, _] = self.0;
        // Saturates; a value that is no number cannot come of finite weights.
        [r, g, b].map(|v| (v + 0.5) as u8)
    }

    #[inline(always)]
    fn add(&mut self, weight: f32, other: &Self) {
        for (sum, value) in self.0.iter_mut().zip(&other.0) {
            *sum += weight * value;
        }
    }
}

/// What each output sample takes from which input samples.
pub struct Filter(Vec<(usize, Vec<f32>)>);

/// The sine of pi times x, for 0 <= x <= 3, by its series around the nearest whole number.
fn sine(x: f32) -> f32 {
    let whole = (x + 0.5) as i32;
    let t = (x - whole as f32) * std::f32::consts::PI;
    let s = t * t;
    let sine = t * (1.0 - s / 6.0 * (1.0 - s / 20.0 * (1.0 - s / 42.0 * (1.0 - s / 72.0))));
    if whole % 2 == 0 { sine } else { -sine }
}

fn kernel(x: f32) -> f32 {
    let x = x.abs();
    if x < 1e-6 {
        return 1.0;
    }
    if x >= LOBES {
        return 0.0;
    }
    let angle = x * std::f32::consts::PI;
    sine(x) * sine(x / LOBES) * LOBES / (angle * angle)
}

impl Filter {
    /// From so many samples to so many, not more.
    pub fn new(from: usize, to: usize) -> Self {
        let scale = from as f32 / to as f32;
        let reach = LOBES * scale;
        let taps = (0..to).map(|i| {
            let centre = (i as f32 + 0.5) * scale - 0.5;
            let first = (centre - reach).max(0.0).ceil() as usize;
            let last = ((centre + reach) as usize).min(from - 1);
            let weights = (first..=last).map(|at| kernel((at as f32 - centre) / scale));
            let weights: Vec<f32> = weights.collect();
            let sum: f32 = weights.iter().sum();
            (first, weights.into_iter().map(|w| w / sum).collect())
        });
        Self(taps.collect())
    }

    /// Number of output samples.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for a filter without output.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Filters a row: appends one pixel for each output sample.
    #[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
    pub fn across(&self, row: &[Pixel], out: &mut Vec<Pixel>) {
        out.extend(self.0.iter().map(|(first, weights)| {
            let mut sum = Pixel::default();
            for (weight, pixel) in weights.iter().zip(&row[*first..]) {
                sum.add(*weight, pixel);
            }
            sum
        }));
    }

    /// Sets a row to one output sample of each column of an image of such rows.
    #[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
    pub fn down(&self, output: usize, image: &[Pixel], row: &mut [Pixel]) {
        let (first, weights) = &self.0[output];
        row.fill(Pixel::default());
        for (weight, pixels) in weights.iter().zip(image.chunks_exact(row.len()).skip(*first)) {
            for (sum, pixel) in row.iter_mut().zip(pixels) {
                sum.add(*weight, pixel);
            }
        }
    }
}
