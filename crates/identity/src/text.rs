//! Hexadecimal and base32 (RFC 4648, lower case, no padding) forms of identifiers.

use crate::IdentityError;

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|d| char::from(HEX[usize::from(d)])).collect()
}

/// Base32 of `bytes`, the last letter filled with zero bits.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let letters = (bytes.len() * 8).div_ceil(5);
    (0..letters)
        .map(|letter| char::from(BASE32[usize::from(five_bits(bytes, letter * 5))]))
        .collect()
}

/// Five bits of `bytes` from bit `at` on, zeros after the end.
fn five_bits(bytes: &[u8], at: usize) -> u8 {
    let byte = |i: usize| u16::from(bytes.get(i).copied().unwrap_or(0));
    let window = byte(at / 8) << 8 | byte(at / 8 + 1);
    (window >> (11 - at % 8) & 31) as u8
}

/// Reads exactly `N` bytes from their hexadecimal (2N digits) or base32 form.
pub(crate) fn parse<const N: usize>(
    text: &str,
    what: &'static str,
) -> Result<[u8; N], IdentityError> {
    let bad =
        |detail| IdentityError::BadText { text: text.chars().take(80).collect(), what, detail };
    let (alphabet, bits): (&[u8], usize) = if text.len() == N * 2 {
        (HEX, 4)
    } else if text.len() == (N * 8).div_ceil(5) {
        (BASE32, 5)
    } else {
        return Err(bad("it has a wrong length; copy it again"));
    };
    let mut out = [0; N];
    for (i, letter) in text.bytes().enumerate() {
        let letter = letter.to_ascii_lowercase();
        let digit = alphabet.iter().position(|a| *a == letter);
        let digit = digit.ok_or_else(|| bad("it has a letter that cannot occur; copy it again"))?;
        for bit in 0..bits {
            if digit >> (bits - 1 - bit) & 1 == 0 {
                continue;
            }
            let at = i * bits + bit;
            let byte = out.get_mut(at / 8).ok_or_else(|| bad("its last letter is wrong"))?;
            *byte |= 0x80 >> (at % 8);
        }
    }
    Ok(out)
}
