//! Guest: shrink an image with a Lanczos filter.
//!
//! The input is an image of three colours: PPM (`P6`, 255 levels) or QOI. The arguments are
//! `width height [ppm|qoi]`: the most that the output may measure; it keeps the shape of the input and
//! is not larger than it. A step filters `n` rows.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod image;
pub mod lanczos;

use anthill_guest::{Program, Step, program};

use image::{Format, Image};
use lanczos::{Filter, Pixel};

/// The work between two steps.
#[derive(Default)]
pub struct Thumbnail(Option<Work>);

struct Work {
    source: Image,
    format: Format,
    across: Filter,
    down: Filter,
    /// The source, filtered across: rows of the new width.
    narrow: Vec<Pixel>,
    /// The row at hand.
    row: Vec<Pixel>,
    out: Vec<u8>,
}

/// Measures of the output: the shape of the input, within a box.
fn fit(image: &Image, width: usize, height: usize) -> (usize, usize) {
    let (w, h) = (image.width, image.height);
    let (width, height) = (width.clamp(1, w), height.clamp(1, h));
    if width * h <= height * w {
        (width, (h * width / w).max(1))
    } else {
        ((w * height / h).max(1), height)
    }
}

impl Work {
    fn begin() -> Option<Self> {
        let args = anthill_guest::args();
        let mut words = std::str::from_utf8(&args).ok()?.split_ascii_whitespace();
        let (width, height) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let format = match words.next() {
            None | Some("ppm") => Format::Ppm,
            Some("qoi") => Format::Qoi,
            _ => return None,
        };
        let source = Image::read(&anthill_guest::input())?;
        let (width, height) = fit(&source, width, height);
        let across = Filter::new(source.width, width);
        let down = Filter::new(source.height, height);
        let (narrow, row, out) = (Vec::new(), Vec::new(), Vec::new());
        Some(Self { source, format, across, down, narrow, row, out })
    }

    /// Filters one row; true when that was the last.
    fn row(&mut self) -> bool {
        let width = self.across.len();
        let done = self.narrow.len() / width;
        if done < self.source.height {
            let pixels = self.source.pixels.as_chunks().0;
            let pixels = &pixels[done * self.source.width..][..self.source.width];
            self.row.clear();
            self.row.extend(pixels.iter().map(|bytes| Pixel::new(*bytes)));
            self.across.across(&self.row, &mut self.narrow);
            return false;
        }
        let y = self.out.len() / (3 * width);
        self.row.resize(width, Pixel::default());
        self.down.down(y, &self.narrow, &mut self.row);
        self.out.extend(self.row.iter().flat_map(Pixel::bytes));
        y + 1 == self.down.len()
    }
}

impl Program for Thumbnail {
    fn step(&mut self, n: u32) -> Step {
        if self.0.is_none() {
            self.0 = Work::begin();
        }
        let Some(work) = &mut self.0 else {
            anthill_guest::log("the input is PPM or QOI, the arguments: width height [ppm|qoi]");
            return Step::GiveUp;
        };
        let ended = (0..n.max(1)).any(|_| work.row());
        let rows = (work.narrow.len() + work.out.len() / 3) / work.across.len();
        anthill_guest::progress(rows as u64, (work.source.height + work.down.len()) as u64);
        if !ended {
            return Step::More;
        }
        let pixels = std::mem::take(&mut work.out);
        let image = Image { width: work.across.len(), height: work.down.len(), pixels };
        anthill_guest::output(&image.write(work.format));
        Step::Done
    }
}

program!(Thumbnail);

#[cfg(test)]
mod tests {
    use super::*;
    use anthill_guest::testing::{Host, run};

    fn shrink(image: &Image, format: Format, args: &str) -> Image {
        let host =
            Host { input: image.write(format), args: args.as_bytes().to_vec(), ..Host::default() };
        let (step, left) = run::<Thumbnail>(host, 5);
        assert_eq!(step, Step::Done);
        Image::read(&left.output).unwrap()
    }

    fn gradient(width: usize, height: usize) -> Image {
        let pixel = |i: usize| [(i % width) * 255 / width, (i / width) * 255 / height, 77];
        let pixels = (0..width * height).flat_map(|i| pixel(i).map(|v| v as u8)).collect();
        Image { width, height, pixels }
    }

    #[test]
    fn a_gradient_stays_one() {
        let big = gradient(200, 120);
        for (format, args) in [(Format::Ppm, "50 50"), (Format::Qoi, "50 50 qoi")] {
            let small = shrink(&big, format, args);
            assert_eq!((small.width, small.height), (50, 30));
            let ideal = gradient(50, 30);
            let far = small.pixels.iter().zip(&ideal.pixels).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(far.unwrap() <= 6, "{far:?}");
        }
    }

    #[test]
    fn an_image_of_the_same_size_is_the_same() {
        let image = gradient(31, 17);
        assert_eq!(shrink(&image, Format::Qoi, "31 17"), image);
        assert_eq!(shrink(&image, Format::Ppm, "4000 4000 qoi"), image);
    }

    #[test]
    fn nonsense_is_given_up() {
        for (input, args) in [(&b"P6"[..], "5 5"), (b"qoif", "5 5"), (b"", "5 5")] {
            let host =
                Host { input: input.to_vec(), args: args.as_bytes().to_vec(), ..Host::default() };
            assert_eq!(run::<Thumbnail>(host, 1).0, Step::GiveUp);
        }
    }
}
