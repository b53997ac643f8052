//! PPM and QOI (qoiformat.org, version 1.0): reading and writing images of three colours.

/// Most pixels of an image.
const MOST: usize = 1 << 24;

/// How an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `P6` with 255 levels.
    Ppm,
    /// The Quite OK Image format.
    Qoi,
}

/// An image: rows of red, green and blue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// Three bytes a pixel.
    pub pixels: Vec<u8>,
}

impl Image {
    /// Reads an image; `None` when it is neither.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.get(..2)? {
            b"P6" => read_ppm(&bytes[2..]),
            b"qo" => read_qoi(bytes.strip_prefix(b"qoif")?),
            _ => None,
        }
    }

    /// Writes it.
    pub fn write(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Ppm => {
                let mut out = format!("P6\n{} {}\n255\n", self.width, self.height).into_bytes();
                out.extend_from_slice(&self.pixels);
                out
            }
            Format::Qoi => write_qoi(self),
        }
    }
}

fn measures(width: usize, height: usize) -> Option<usize> {
    width.checked_mul(height).filter(|count| (1..=MOST).contains(count))
}

/// A number after white space and comments, and the rest.
fn number(mut bytes: &[u8]) -> Option<(usize, &[u8])> {
    loop {
        match bytes.first()? {
            b'#' => {
                let end = bytes.iter().position(|b| *b == b'\n')?;
                bytes = &bytes[end..];
            }
            b if b.is_ascii_whitespace() => bytes = &bytes[1..],
            _ => break,
        }
    }
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()?;
    Some((number, &bytes[digits..]))
}

fn read_ppm(bytes: &[u8]) -> Option<Image> {
    let (width, rest) = number(bytes)?;
    let (height, rest) = number(rest)?;
    let (levels, rest) = number(rest)?;
    let count = measures(width, height).filter(|_| levels == 255)?;
    let pixels = rest.get(1..1 + 3 * count)?.to_vec();
    Some(Image { width, height, pixels })
}

fn slot(p: [u8; 4]) -> usize {
    let [r, g, b, a] = p.map(usize::from);
    (r * 3 + g * 5 + b * 7 + a * 11) % 64
}

fn read_qoi(bytes: &[u8]) -> Option<Image> {
    let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let (width, height) = (word(0)? as usize, word(4)? as usize);
    let count = measures(width, height)?;
    let mut rest = bytes.get(10..)?.iter().copied();
    let (mut seen, mut p, mut pixels) = ([[0u8; 4]; 64], [0, 0, 0, 255], Vec::new());
    while pixels.len() < 3 * count {
        let tag = rest.next()?;
        let mut repeat = 1;
        match (tag, tag >> 6) {
            (0xfe, _) => p = [rest.next()?, rest.next()?, rest.next()?, p[3]],
            (0xff, _) => p = [rest.next()?, rest.next()?, rest.next()?, rest.next()?],
            (_, 0) => p = seen[usize::from(tag & 63)],
            (_, 1) => {
                let step = |shift: u8| (tag >> shift & 3).wrapping_sub(2);
                p = add(p, [step(4), step(2), step(0)]);
            }
            (_, 2) => {
                let (green, more) = ((tag & 63).wrapping_sub(32), rest.next()?);
                let near = |nibble: u8| green.wrapping_sub(8).wrapping_add(nibble);
                p = add(p, [near(more >> 4), green, near(more & 15)]);
            }
            _ => repeat = usize::from(tag & 63) + 1,
        }
        seen[slot(p)] = p;
        let left = count - pixels.len() / 3;
        (0..repeat.min(left)).for_each(|_| pixels.extend_from_slice(&p[..3]));
    }
    Some(Image { width, height, pixels })
}

fn add(p: [u8; 4], d: [u8; 3]) -> [u8; 4] {
    [p[0].wrapping_add(d[0]), p[1].wrapping_add(d[1]), p[2].wrapping_add(d[2]), p[3]]
}

fn write_qoi(image: &Image) -> Vec<u8> {
    let mut out = b"qoif".to_vec();
    out.extend((image.width as u32).to_be_bytes());
    out.extend((image.height as u32).to_be_bytes());
    out.extend([3, 0]);
    let (mut seen, mut last, mut run) = ([[0u8; 4]; 64], [0, 0, 0, 255], 0u8);
    for pixel in image.pixels.as_chunks::<3>().0 {
        let p = [pixel[0], pixel[1], pixel[2], 255];
        if p == last {
            run += 1;
            if run == 62 {
                out.push(0xc0 | (run - 1));
                run = 0;
            }
            continue;
        }
        if run > 0 {
            out.push(0xc0 | (run - 1));
            run = 0;
        }
        if seen[slot(p)] == p {
            out.push(slot(p) as u8);
        } else {
            seen[slot(p)] = p;
            push_difference(&mut out, last, p);
        }
        last = p;
    }
    if run > 0 {
        out.push(0xc0 | (run - 1));
    }
    out.extend([0, 0, 0, 0, 0, 0, 0, 1]);
    out
}

fn push_difference(out: &mut Vec<u8>, last: [u8; 4], p: [u8; 4]) {
    let [r, g, b] = [0, 1, 2].map(|c| p[c].wrapping_sub(last[c]));
    let small = [r, g, b].map(|d| d.wrapping_add(2));
    let (red, blue) = (r.wrapping_sub(g).wrapping_add(8), b.wrapping_sub(g).wrapping_add(8));
    if small.iter().all(|d| *d < 4) {
        out.push(0x40 | small[0] << 4 | small[1] << 2 | small[2]);
    } else if g.wrapping_add(32) < 64 && red < 16 && blue < 16 {
        out.extend([0x80 | g.wrapping_add(32), red << 4 | blue]);
    } else {
        out.extend([0xfe, p[0], p[1], p[2]]);
    }
}
