//! Tickets: any text, and any body behind a fitting checksum.

use anthill_net::ticket::{TICKET_PREFIX, Ticket};

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Writes five bits a character, as BIP 173 does.
fn base32(bytes: &[u8]) -> String {
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1)).collect();
    let five = |chunk: &[u8]| {
        let number = (0..5).fold(0, |n, i| n << 1 | chunk.get(i).copied().unwrap_or(0));
        char::from(ALPHABET[usize::from(number)])
    };
    bits.chunks(5).map(five).collect()
}

fn with_checksum(body: &[u8]) -> String {
    let mut sum = [0; 8];
    let mut hasher = blake3::Hasher::new_derive_key("anthill 2026 ticket checksum");
    hasher.update(body).finalize_xof().fill(&mut sum);
    format!("{TICKET_PREFIX}{}", base32(&[body, &sum].concat()))
}

/// What is read is written back to the same text, and one altered character is noticed.
pub fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let text = match kind % 2 {
        0 => with_checksum(rest),
        _ => String::from_utf8_lossy(rest).into_owned(),
    };
    let Ok(ticket) = Ticket::decode(&text) else { return };
    let written = ticket.encode();
    assert_eq!(written.as_deref(), Ok(text.trim()), "a ticket has two texts");
    let mut altered = text.trim().as_bytes().to_vec();
    let at = TICKET_PREFIX.len() + usize::from(*kind) % (altered.len() - TICKET_PREFIX.len());
    altered[at] = if altered[at] == b'q' { b'p' } else { b'q' };
    assert!(Ticket::decode(&String::from_utf8_lossy(&altered)).is_err(), "a typo passes");
}
