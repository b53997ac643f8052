//! Decoders: the first byte names a type, the rest is decoded as it (see [`crate::doors`]).

use crate::doors::DOORS;

/// Decodes, and checks what was accepted.
pub fn run(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let (_, decode) = DOORS[usize::from(*which) % DOORS.len()];
    decode(bytes);
}
