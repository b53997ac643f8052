//! NumPy's file format, version 1.0: a header of fixed length and an array of f32.

/// Bytes before the values: magic, version, length, and the description filled up with spaces.
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
