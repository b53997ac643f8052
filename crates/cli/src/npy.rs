//! NumPy's file format: a magic, a version, the length of a header, the header as a Python literal, the
//! values.

/// Most values of a file that is read whole.
const MAX_VALUES: usize = 1 << 32;

/// Bytes before the values of a file that is written (version 1.0): magic, version, length, and the description filled up with spaces.
pub const HEADER: usize = 128;

/// A two-dimensional array of rows of `width` values, little-endian, in C order.
pub fn encode(rows: &[Vec<f32>], width: usize) -> Vec<u8> {
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend(((HEADER - 10) as u16).to_le_bytes());
    let shape =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {width}), }}", rows.len());
    out.extend(shape.as_bytes());
    out.resize(HEADER - 1, b' ');
    out.push(b'\n');
    out.extend(rows.iter().flatten().flat_map(|v| v.to_le_bytes()));
    out
}

/// The length of a row and all values of a matrix of f32; any version and header that NumPy writes.
///
/// # Errors
/// What is wrong with the file.
pub fn decode(bytes: &[u8]) -> Result<(usize, Vec<f32>), String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("does not start as a .npy file does")?;
    let cut = "the header is cut short";
    let (version, rest) = rest.split_first_chunk::<2>().ok_or(cut)?;
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk::<2>().map(|(n, r)| (u32::from(u16::from_le_bytes(*n)), r)),
        2 | 3 => rest.split_first_chunk::<4>().map(|(n, r)| (u32::from_le_bytes(*n), r)),
        other => return Err(format!("has version {other}; 1 to 3 are known")),
    }
    .ok_or(cut)?;
    let (header, values) = rest.split_at_checked(length as usize).ok_or(cut)?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is no text")?;
    let kind = field(header, "descr").unwrap_or_default();
    if !kind.starts_with("'<f4'") && !kind.starts_with("\"<f4\"") {
        return Err(format!("holds {}; save it as float32", kind.split(',').next().unwrap_or("?")));
    }
    if !field(header, "fortran_order").is_some_and(|order| order.starts_with("False")) {
        return Err("is in Fortran order; save it with numpy.ascontiguousarray".into());
    }
    let (rows, dims) = field(header, "shape").and_then(shape).ok_or("is not a matrix")?;
    let count = rows.checked_mul(dims).filter(|n| *n <= MAX_VALUES).ok_or("is too large")?;
    if dims == 0 || values.len() != count * 4 {
        return Err(format!(
            "has {} bytes of values, but {rows} x {dims} need {}",
            values.len(),
            count * 4
        ));
    }
    let values = values.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Ok((dims, values))
}

/// What follows a key of the header.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let at = header.find(&format!("'{key}':"))? + key.len() + 3;
    header.get(at..).map(str::trim_start)
}

/// `(rows, columns)`.
fn shape(text: &str) -> Option<(usize, usize)> {
    let inner = text.strip_prefix('(')?.split(')').next()?;
    let mut numbers = inner.split(',').map(|n| n.trim().parse::<usize>());
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(rows)), Some(Ok(columns)), None) => Some((rows, columns)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str, values: usize) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend((0..values).flat_map(|v| (v as f32).to_le_bytes()));
        bytes
    }

    #[test]
    fn a_file_is_read_as_it_was_written_or_says_what_is_wrong() {
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
        let (dims, values) = decode(&header(good, 6)).unwrap();
        assert_eq!((dims, values.len(), values[5]), (3, 6, 5.0));
        let rows = [vec![1.0, -2.0], vec![0.5, 4.0], vec![0.0, 9.0]];
        assert_eq!(decode(&encode(&rows, 2)), Ok((2, rows.concat())));
        let says = |bytes: &[u8], what: &str| {
            let said = decode(bytes).unwrap_err();
            assert!(said.contains(what), "{said}");
        };
        says(&header(good, 5), "20 bytes");
        says(&header(&good.replace("<f4", "<f8"), 6), "'<f8'");
        says(&header(&good.replace("False", "True"), 6), "Fortran");
        says(&header(&good.replace("(2, 3)", "(6,)"), 6), "matrix");
        says(&header(&good.replace("(2, 3)", "(2, 18446744073709551615)"), 6), "too large");
        says(b"\x93NUMPY\x01", "cut short");
        says(b"\x93NUMPY\x09\x00\x00\x00", "version 9");
        says(b"PNG", "does not start");
        let whole = header(good, 6);
        (0..whole.len()).for_each(|end| assert!(decode(&whole[..end]).is_err()));
    }
}
