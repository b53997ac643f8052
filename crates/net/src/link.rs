//! Run one connection of the mesh: hello, frames both ways, requests, and its end.
//!
//! The dialling side opens the first bi-directional stream; both write a hello (magic and a number
//! drawn at start). The side with the smaller id then says `GO` on the one connection that counts,
//! or closes the connection as a duplicate: so two simultaneous dials end as one connection, and a
//! restarted peer, which has a new number, replaces its dead one. Frames follow on that stream;
//! each request has a stream of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{
    MAX_FRAME, MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES, MAX_RESPONSE, NetEvent, PeerId,
};
use crate::error::{CloseReason, NetError};
use crate::lock;
use crate::stats::Counters;
use crate::wire::{WireError, read_message, write_message};

const MAGIC: [u8; 4] = *b"ANT1";
/// Bytes of a hello: the magic and the number of this start.
const HELLO_LEN: usize = 20;
/// What the smaller id says on the connection that counts.
const GO: u8 = 1;
/// Time in which hello and go must be done.
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Time in which a request must have arrived.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Time in which our owner must have answered a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// First byte of a response.
const ANSWER: u8 = 0;
const NO_ANSWER: u8 = 1;

/// The number of one start of a node.
pub(crate) type Boot = [u8; 16];

/// A connection that is, or was, the one with its peer.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: PeerId,
    pub(crate) boot: Boot,
    pub(crate) conn: Connection,
    queue: mpsc::Sender<Bytes>,
    queued_bytes: AtomicUsize,
    reason: Mutex<Option<CloseReason>>,
    ended: watch::Receiver<bool>,
}

/// What runs a [`Link`]: handed from [`Link::new`] to [`Link::run`].
pub(crate) struct Engine {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    queue: mpsc::Receiver<Bytes>,
    end: watch::Sender<bool>,
}

/// The streams of a connection whose hello is done.
pub(crate) struct Greeted {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    pub(crate) boot: Boot,
}

/// Exchanges hellos.
pub(crate) async fn greet(
    conn: &Connection,
    dialled: bool,
    boot: Boot,
) -> Result<Greeted, WireError> {
    let hello = [&MAGIC[..], &boot].concat();
    let streams = if dialled { conn.open_bi().await } else { conn.accept_bi().await };
    let (mut send, mut recv) = streams.map_err(|_| WireError::Broken)?;
    send.write_all(&hello).await.map_err(|_| WireError::Broken)?;
    let mut theirs = [0; HELLO_LEN];
    recv.read_exact(&mut theirs).await?;
    let (magic, boot) = theirs.split_first_chunk().ok_or(WireError::Truncated)?;
    let boot = boot.try_into().map_err(|_| WireError::Truncated)?;
    if *magic != MAGIC {
        return Err(WireError::Truncated);
    }
    Ok(Greeted { send, recv, boot })
}

/// Says that this connection counts.
pub(crate) async fn say_go(send: &mut SendStream) -> Result<(), WireError> {
    send.write_all(&[GO]).await.map_err(|_| WireError::Broken)
}

/// Waits until the peer says that this connection counts.
pub(crate) async fn await_go(recv: &mut RecvStream) -> Result<(), WireError> {
    let mut go = [0];
    recv.read_exact(&mut go).await?;
    if go == [GO] { Ok(()) } else { Err(WireError::Truncated) }
}

impl Link {
    pub(crate) fn new(peer: PeerId, conn: Connection, greeted: Greeted) -> (Arc<Self>, Engine) {
        let (queue, queued) = mpsc::channel(MAX_QUEUED_FRAMES);
        let (end, ended) = watch::channel(false);
        let link = Link {
            peer,
            boot: greeted.boot,
            conn,
            queue,
            queued_bytes: AtomicUsize::new(0),
            reason: Mutex::default(),
            ended,
        };
        let engine = Engine { send: greeted.send, recv: greeted.recv, queue: queued, end };
        (Arc::new(link), engine)
    }

    /// Whether frames can still be expected to pass.
    pub(crate) fn alive(&self) -> bool {
        self.conn.close_reason().is_none() && !*self.ended.borrow()
    }

    /// Closes the connection and tells the peer why.
    pub(crate) fn close(&self, reason: CloseReason) {
        lock(&self.reason).get_or_insert(reason);
        let (code, text) = reason.wire();
        self.conn.close(code, text);
    }

    /// Waits until the last event of this connection has been delivered.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.clone();
        // An error means that the engine is gone, which is an end, too.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Queues a frame; never waits.
    pub(crate) fn push(&self, bytes: Bytes, counters: &Counters) -> Result<(), NetError> {
        let len = bytes.len();
        let before = self.queued_bytes.fetch_add(len, Ordering::Relaxed);
        let peer = self.peer;
        let sent = if before + len > MAX_QUEUED_BYTES {
            Err(NetError::QueueFull { peer })
        } else {
            self.queue.try_send(bytes).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => NetError::QueueFull { peer },
                mpsc::error::TrySendError::Closed(_) => NetError::NotConnected { peer },
            })
        };
        if sent.is_err() {
            self.queued_bytes.fetch_sub(len, Ordering::Relaxed);
            counters.dropped(1);
        }
        sent
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn request(
        &self,
        bytes: &[u8],
        counters: &Counters,
    ) -> Result<Vec<u8>, NetError> {
        let peer = self.peer;
        let lost = || match self.conn.close_reason() {
            Some(error) => NetError::of_connection(peer, &error),
            None => NetError::NoAnswer { peer },
        };
        let (mut send, mut recv) = self.conn.open_bi().await.map_err(|_| lost())?;
        write_message(&mut send, bytes).await.map_err(|_| lost())?;
        send.finish().map_err(|_| lost())?;
        counters.sent(bytes.len());
        let mut status = [0];
        recv.read_exact(&mut status).await.map_err(|_| lost())?;
        if status != [ANSWER] {
            return Err(NetError::NoAnswer { peer });
        }
        match read_message(&mut recv, MAX_RESPONSE).await {
            Ok(Some(answer)) => {
                counters.received(answer.len());
                Ok(answer)
            }
            Ok(None) | Err(WireError::Broken) => Err(lost()),
            Err(fault) => {
                counters.malformed(Some(&peer));
                self.close(fault.fault().unwrap_or(CloseReason::Malformed));
                Err(NetError::NoAnswer { peer })
            }
        }
    }

    /// Runs the connection to its end and returns why it ended.
    pub(crate) async fn run(
        self: &Arc<Self>,
        engine: Engine,
        events: &mpsc::Sender<NetEvent>,
        counters: &Arc<Counters>,
    ) -> (CloseReason, watch::Sender<bool>) {
        let Engine { send, recv, queue, end } = engine;
        let mut tasks = JoinSet::new();
        tasks.spawn(write_frames(self.clone(), send, queue, counters.clone()));
        tasks.spawn(read_frames(self.clone(), recv, events.clone(), counters.clone()));
        tasks.spawn(accept_requests(self.clone(), events.clone(), counters.clone()));
        let error = self.conn.closed().await;
        // Frames that arrived before the close are still delivered; the others stop by themselves.
        while tasks.join_next().await.is_some() {}
        let reason = lock(&self.reason).unwrap_or_else(|| CloseReason::of(&error));
        (reason, end)
    }
}

async fn write_frames(
    link: Arc<Link>,
    mut send: SendStream,
    mut queue: mpsc::Receiver<Bytes>,
    counters: Arc<Counters>,
) {
    loop {
        let frame = tokio::select! {
            frame = queue.recv() => frame,
            _ = link.conn.closed() => None,
        };
        let Some(frame) = frame else { break };
        link.queued_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        if write_message(&mut send, &frame).await.is_err() {
            counters.dropped(1);
            break;
        }
        counters.frame_sent(&link.peer, frame.len());
    }
    queue.close();
    let mut left = 0;
    while queue.recv().await.is_some() {
        left += 1;
    }
    counters.dropped(left);
}

async fn read_frames(
    link: Arc<Link>,
    mut recv: RecvStream,
    events: mpsc::Sender<NetEvent>,
    counters: Arc<Counters>,
) {
    let from = link.peer;
    loop {
        match read_message(&mut recv, MAX_FRAME).await {
            Ok(Some(bytes)) => {
                counters.frame_received(bytes.len());
                if events.send(NetEvent::Frame { from, bytes }).await.is_err() {
                    return link.close(CloseReason::Shutdown);
                }
            }
            // The frame stream lives as long as the connection: its end is an end, too.
            Ok(None) => return link.close(CloseReason::Malformed),
            Err(error) => {
                if let Some(reason) = error.fault() {
                    counters.malformed(Some(&link.peer));
                    link.close(reason);
                }
                return;
            }
        }
    }
}

async fn accept_requests(link: Arc<Link>, events: mpsc::Sender<NetEvent>, counters: Arc<Counters>) {
    let mut open = JoinSet::new();
    // QUIC allows the peer `MAX_OPEN_REQUESTS` streams, so this set is bounded.
    while let Ok((send, recv)) = link.conn.accept_bi().await {
        while open.try_join_next().is_some() {}
        open.spawn(answer(link.clone(), send, recv, events.clone(), counters.clone()));
    }
}

async fn answer(
    link: Arc<Link>,
    mut send: SendStream,
    mut recv: RecvStream,
    events: mpsc::Sender<NetEvent>,
    counters: Arc<Counters>,
) {
    let from = link.peer;
    let bytes = match timeout(READ_TIMEOUT, read_message(&mut recv, MAX_FRAME)).await {
        Ok(Ok(Some(bytes))) => bytes,
        Ok(Err(error)) => {
            if let Some(reason) = error.fault() {
                counters.malformed(Some(&from));
                link.close(reason);
            }
            return;
        }
        Ok(Ok(None)) | Err(_) => return,
    };
    counters.received(bytes.len());
    let (reply, answer) = oneshot::channel();
    let event = NetEvent::Request { from, bytes, reply };
    if events.send(event).await.is_err() {
        return;
    }
    match timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(answer)) if answer.len() <= MAX_RESPONSE => {
            let sent = async {
                send.write_all(&[ANSWER]).await?;
                write_message(&mut send, &answer).await
            };
            if sent.await.is_ok() {
                counters.response_sent(&from, answer.len());
            }
        }
        other => {
            if let Ok(Ok(answer)) = other {
                tracing::warn!(len = answer.len(), "response longer than allowed, not sent");
            }
            let _ = send.write_all(&[NO_ANSWER]).await;
        }
    }
    let _ = send.finish();
}
