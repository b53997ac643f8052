//! Let strangers ask to be admitted: one bounded question and one bounded answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::Connection;
use iroh::protocol::{AcceptError, ProtocolHandler};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::config::{MAX_JOIN, NetEvent, PeerId};
use crate::error::{CloseReason, NetError};
use crate::mesh::Mesh;
use crate::wire::{WireError, read_message, write_message};

/// Join requests that are open at a time.
const MAX_OPEN: usize = 32;
/// Time in which a request must have arrived, and in which its answer must have been taken.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Time in which our owner must have answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Accepts the join protocol, from admitted peers and strangers alike.
#[derive(Debug)]
pub(crate) struct JoinProtocol {
    mesh: Arc<Mesh>,
    open: Semaphore,
}

impl JoinProtocol {
    pub(crate) fn new(mesh: Arc<Mesh>) -> Self {
        JoinProtocol { mesh, open: Semaphore::new(MAX_OPEN) }
    }

    /// Serves one request; `Err` is the reason to close with.
    async fn serve(&self, conn: &Connection) -> Result<(), CloseReason> {
        let _permit = self.open.try_acquire().map_err(|_| CloseReason::Busy)?;
        let question = async {
            let (send, mut recv) = conn.accept_bi().await.map_err(|_| WireError::Broken)?;
            Ok((read_message(&mut recv, MAX_JOIN).await?, send))
        };
        let (bytes, mut send) = match timeout(READ_TIMEOUT, question).await {
            Ok(Ok((Some(bytes), send))) => (bytes, send),
            Ok(Ok((None, _))) => return Err(CloseReason::Malformed),
            Ok(Err::<_, WireError>(error)) => {
                return Err(error.fault().unwrap_or(CloseReason::Transport));
            }
            Err(_) => return Err(CloseReason::TimedOut),
        };
        let counters = &self.mesh.counters;
        counters.received(bytes.len());
        let from = *conn.remote_id().as_bytes();
        let (reply, answer) = oneshot::channel();
        let event = NetEvent::JoinRequest { from, bytes, reply };
        let events = &self.mesh.events;
        events.send(event).await.map_err(|_| CloseReason::Shutdown)?;
        let answer = match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(answer)) if answer.len() <= MAX_JOIN => answer,
            _ => return Err(CloseReason::NotAdmitted),
        };
        let sent = write_message(&mut send, &answer).await;
        sent.map_err(|_| CloseReason::Transport)?;
        counters.sent(answer.len());
        let _ = send.finish();
        // The asker closes when it has read the answer.
        let _ = timeout(READ_TIMEOUT, conn.closed()).await;
        Ok(())
    }
}

impl ProtocolHandler for JoinProtocol {
    async fn accept(&self, conn: Connection) -> Result<(), AcceptError> {
        if let Err(reason) = self.serve(&conn).await {
            if matches!(reason, CloseReason::Malformed | CloseReason::TooLarge) {
                self.mesh.counters.malformed(None);
            }
            let (code, text) = reason.wire();
            conn.close(code, text);
        }
        Ok(())
    }
}

/// Asks `peer` at `addrs` to admit us.
pub(crate) async fn ask(
    mesh: &Mesh,
    addrs: Vec<SocketAddr>,
    peer: PeerId,
    bytes: &[u8],
    wait: Duration,
) -> Result<Vec<u8>, NetError> {
    if bytes.len() > MAX_JOIN {
        let (what, len, max) = ("join request", bytes.len(), MAX_JOIN);
        return Err(NetError::TooLarge { what, len, max });
    }
    let conn = mesh.connect(peer, addrs, &mesh.alpns.join).await?;
    let asked = async {
        let (mut send, mut recv) = conn.open_bi().await.map_err(|_| WireError::Broken)?;
        let sent = write_message(&mut send, bytes).await;
        sent.map_err(|_| WireError::Broken)?;
        let _ = send.finish();
        read_message(&mut recv, MAX_JOIN).await
    };
    let answer = timeout(wait, asked).await;
    let error = conn.close_reason();
    let (code, text) = CloseReason::Shutdown.wire();
    conn.close(code, text);
    match answer {
        Ok(Ok(Some(answer))) => {
            mesh.counters.sent(bytes.len());
            mesh.counters.received(answer.len());
            Ok(answer)
        }
        Ok(_) => Err(match error {
            Some(error) => NetError::of_connection(peer, &error),
            None => NetError::NoAnswer { peer },
        }),
        Err(_) => Err(NetError::TimedOut { peer, after: wait }),
    }
}
