//! Read and write length-prefixed messages on a QUIC stream, never trusting the length.

use iroh::endpoint::{ReadExactError, RecvStream, SendStream, WriteError};

use crate::error::CloseReason;

/// Bytes that are set aside for a body before any of it has arrived.
const FIRST_STEP: usize = 64 << 10;
/// Frames up to this size are copied behind their length and written at once.
const COALESCE: usize = 16 << 10;

/// Why a message could not be read.
#[derive(Debug)]
pub(crate) enum WireError {
    /// Its length prefix is past the bound.
    TooLarge,
    /// The stream ended within it.
    Truncated,
    /// The stream or connection broke; the connection knows why.
    Broken,
}

impl WireError {
    /// The reason to close the connection with, when the peer is at fault.
    pub(crate) fn fault(&self) -> Option<CloseReason> {
        match self {
            WireError::TooLarge => Some(CloseReason::TooLarge),
            WireError::Truncated => Some(CloseReason::Malformed),
            WireError::Broken => None,
        }
    }
}

impl From<ReadExactError> for WireError {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => WireError::Truncated,
            ReadExactError::ReadError(_) => WireError::Broken,
        }
    }
}

/// Reads a u32 big-endian length and as many bytes; `None` at the stream's clean end.
pub(crate) async fn read_message(
    recv: &mut RecvStream,
    max: usize,
) -> Result<Option<Vec<u8>>, WireError> {
    let mut prefix = [0; 4];
    match recv.read_exact(&mut prefix).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let len = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if len > max {
        return Err(WireError::TooLarge);
    }
    let mut body = Vec::new();
    while body.len() < len {
        // Memory follows what has arrived, at most doubling, so that a lie costs little.
        let have = body.len();
        let step = (len - have).min(have.max(FIRST_STEP));
        body.resize(have + step, 0);
        recv.read_exact(&mut body[have..]).await?;
    }
    Ok(Some(body))
}

/// Writes `bytes` behind their length. The caller has checked the bound.
pub(crate) async fn write_message(send: &mut SendStream, bytes: &[u8]) -> Result<(), WriteError> {
    let prefix = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    if bytes.len() <= COALESCE {
        return send.write_all(&[&prefix, bytes].concat()).await;
    }
    send.write_all(&prefix).await?;
    send.write_all(bytes).await
}
