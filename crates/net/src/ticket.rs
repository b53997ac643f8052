//! Write and read tickets: one line of text that lets a stranger find and join a network.
//!
//! A ticket is `anthill1` followed by 5-bit characters (the alphabet of BIP 173, which leaves out
//! `b`, `i`, `o` and `1`) of a body and the first eight bytes of the BLAKE3 hash of that body. An
//! altered character therefore passes with probability 2^-64. Body, all integers big-endian:
//! version (1 byte), genesis hash (32), number of peers (1), for each peer its key (32), number
//! of addresses (1), each address as 4 or 6, the IP address and the port (2); then the length of
//! the admission (2) and the admission, opaque to this crate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::PeerId;

/// What every ticket starts with.
pub const TICKET_PREFIX: &str = "anthill1";
/// The version that this crate writes and reads.
pub const TICKET_VERSION: u8 = 1;
/// Peers that a ticket may name.
pub const MAX_TICKET_PEERS: usize = 16;
/// Addresses that a ticket may give for one peer.
pub const MAX_TICKET_ADDRS: usize = 8;
/// Bytes that the admission in a ticket may take.
pub const MAX_TICKET_ADMISSION: usize = 2048;
/// Characters that a ticket may have: the fullest body that the other bounds allow.
pub const MAX_TICKET_LEN: usize = TICKET_PREFIX.len() + (MAX_BODY + CHECKSUM_LEN) * 8 / 5 + 1;

const MAX_BODY: usize =
    1 + 32 + 1 + MAX_TICKET_PEERS * (32 + 1 + MAX_TICKET_ADDRS * 19) + 2 + MAX_TICKET_ADMISSION;
const CHECKSUM_LEN: usize = 8;
const CHECKSUM_CONTEXT: &str = "anthill 2026 ticket checksum";
const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// An invitation: which network, where to knock, and by what right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Version of the ticket format; only [`TICKET_VERSION`] is written and read.
    pub version: u8,
    /// Hash of the genesis block: names the network.
    pub genesis: [u8; 32],
    /// Peers that are likely up, with the addresses that they listen on.
    pub peers: Vec<(PeerId, Vec<SocketAddr>)>,
    /// Signed admission, opaque here; empty in an open network.
    pub admission: Vec<u8>,
}

/// Why a text is not a ticket, or a ticket cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// The text does not start with [`TICKET_PREFIX`].
    #[error("a ticket starts with `anthill1`; copy the whole line that `anthill up` printed")]
    Prefix,
    /// A character that no ticket contains.
    #[error(
        "character {found:?} at position {at} cannot be in a ticket (lower-case letters and \
         digits, no b, i, o, 1); copy it again"
    )]
    Character {
        /// Position in the trimmed text, from 0.
        at: usize,
        /// The character found.
        found: char,
    },
    /// The checksum does not fit: mistyped, or cut short.
    #[error("the ticket's checksum does not fit: it was mistyped or cut short; copy it again")]
    Checksum,
    /// The text ends too early for any ticket.
    #[error("the ticket is cut short ({len} characters); copy the whole line")]
    Truncated {
        /// Characters found.
        len: usize,
    },
    /// A version that this program does not know.
    #[error(
        "the ticket has format version {found}, this program reads {TICKET_VERSION}; update anthill"
    )]
    Version {
        /// The version found.
        found: u8,
    },
    /// Longer than any ticket may be.
    #[error("{what} has {len}, at most {max} are allowed")]
    TooLong {
        /// Which part is too long.
        what: &'static str,
        /// Its size.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// The checksum fits but the body is not one that this crate writes.
    #[error("the ticket's body is malformed ({what}); ask for a new ticket")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

impl Ticket {
    /// Writes the ticket as text.
    ///
    /// # Errors
    /// [`TicketError::TooLong`] past a bound, [`TicketError::Version`] for another version.
    pub fn encode(&self) -> Result<String, TicketError> {
        if self.version != TICKET_VERSION {
            return Err(TicketError::Version { found: self.version });
        }
        let mut body = vec![self.version];
        body.extend_from_slice(&self.genesis);
        body.push(count("peers", self.peers.len(), MAX_TICKET_PEERS)?);
        for (peer, addrs) in &self.peers {
            body.extend_from_slice(peer);
            body.push(count("addresses of a peer", addrs.len(), MAX_TICKET_ADDRS)?);
            addrs.iter().for_each(|addr| put_addr(&mut body, addr));
        }
        bound("admission", self.admission.len(), MAX_TICKET_ADMISSION)?;
        let len = u16::try_from(self.admission.len()).unwrap_or(u16::MAX);
        body.extend_from_slice(&len.to_be_bytes());
        body.extend_from_slice(&self.admission);
        let sum = checksum(&body);
        body.extend_from_slice(&sum);
        Ok(format!("{TICKET_PREFIX}{}", to_base32(&body)))
    }

    /// Reads a ticket; white space around it is ignored.
    ///
    /// # Errors
    /// A [`TicketError`] that says what to do.
    pub fn decode(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        bound("the ticket", text.len(), MAX_TICKET_LEN)?;
        let rest = text.strip_prefix(TICKET_PREFIX).ok_or(TicketError::Prefix)?;
        let bytes = from_base32(rest)?;
        let truncated = TicketError::Truncated { len: text.len() };
        let Some(len) = bytes.len().checked_sub(CHECKSUM_LEN).filter(|n| *n > 0) else {
            return Err(truncated);
        };
        let (body, sum) = bytes.split_at(len);
        if checksum(body) != sum {
            return Err(TicketError::Checksum);
        }
        let mut reader = Reader(body);
        let ticket = reader.ticket()?;
        if reader.0.is_empty() {
            Ok(ticket)
        } else {
            Err(TicketError::Malformed { what: "bytes after the end" })
        }
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        Ticket::decode(text)
    }
}

fn bound(what: &'static str, len: usize, max: usize) -> Result<(), TicketError> {
    if len > max {
        return Err(TicketError::TooLong { what, len, max });
    }
    Ok(())
}

fn count(what: &'static str, len: usize, max: usize) -> Result<u8, TicketError> {
    bound(what, len, max)?;
    u8::try_from(len).map_err(|_| TicketError::TooLong { what, len, max })
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut sum = [0; CHECKSUM_LEN];
    blake3::Hasher::new_derive_key(CHECKSUM_CONTEXT).update(body).finalize_xof().fill(&mut sum);
    sum
}

fn put_addr(body: &mut Vec<u8>, addr: &SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => {
            body.push(4);
            body.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            body.push(6);
            body.extend_from_slice(&ip.octets());
        }
    }
    body.extend_from_slice(&addr.port().to_be_bytes());
}

fn to_base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut held, mut bits) = (0u32, 0u32);
    let push = |text: &mut String, five: u32| {
        let char = ALPHABET[(five & 31) as usize];
        text.push(char::from(char));
    };
    for byte in bytes {
        held = (held & 0xff) << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(&mut text, held >> bits);
        }
    }
    if bits > 0 {
        push(&mut text, held << (5 - bits));
    }
    text
}

fn from_base32(text: &str) -> Result<Vec<u8>, TicketError> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut held, mut bits) = (0u32, 0u32);
    for (at, found) in text.char_indices() {
        let Some(five) = ALPHABET.iter().position(|c| char::from(*c) == found) else {
            let at = at + TICKET_PREFIX.len();
            return Err(TicketError::Character { at, found });
        };
        held = (held & 0xff) << 5 | five as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    // What is left over is padding: fewer bits than a character has, and all zero.
    if bits >= 5 || held & ((1 << bits) - 1) != 0 {
        return Err(TicketError::Checksum);
    }
    Ok(bytes)
}

/// Takes the fields of a body from its front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], TicketError> {
        let (head, tail) =
            self.0.split_first_chunk().ok_or(TicketError::Malformed { what: "ends too early" })?;
        self.0 = tail;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, TicketError> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn addr(&mut self) -> Result<SocketAddr, TicketError> {
        let ip = match self.byte()? {
            4 => IpAddr::V4(Ipv4Addr::from(self.take::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.take::<16>()?)),
            _ => {
                return Err(TicketError::Malformed { what: "unknown kind of address" });
            }
        };
        let port = u16::from_be_bytes(self.take()?);
        Ok(SocketAddr::new(ip, port))
    }

    fn peer(&mut self) -> Result<(PeerId, Vec<SocketAddr>), TicketError> {
        let id = self.take()?;
        let len = usize::from(self.byte()?);
        bound("addresses of a peer", len, MAX_TICKET_ADDRS)?;
        let addrs = (0..len).map(|_| self.addr()).collect::<Result<_, _>>()?;
        Ok((id, addrs))
    }

    fn ticket(&mut self) -> Result<Ticket, TicketError> {
        let version = self.byte()?;
        if version != TICKET_VERSION {
            return Err(TicketError::Version { found: version });
        }
        let genesis = self.take()?;
        let len = usize::from(self.byte()?);
        bound("peers", len, MAX_TICKET_PEERS)?;
        let peers = (0..len).map(|_| self.peer()).collect::<Result<_, _>>()?;
        let len = usize::from(u16::from_be_bytes(self.take()?));
        bound("admission", len, MAX_TICKET_ADMISSION)?;
        let (admission, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(TicketError::Malformed { what: "admission ends too early" })?;
        self.0 = rest;
        Ok(Ticket { version, genesis, peers, admission: admission.to_vec() })
    }
}
