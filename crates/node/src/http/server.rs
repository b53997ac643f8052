//! Accepts connections and bounds what each may take: how many, how long, how much.
//!
//! A connection that waits for nothing but its client (no request of it is in progress) gives way to
//! a newcomer when all seats are taken, the oldest first: so idle connections, however many, cannot
//! keep a client out that sends its request at once. Only when every seat has a request in progress
//! is a newcomer refused, with status 503.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Sleep;
use tower::ServiceExt;

use super::ApiError;

/// Most connections at once, where the system lets this process open enough files.
const MAX_CONNECTIONS: usize = 1024;
/// Fewest, however few files may be open.
const MIN_CONNECTIONS: usize = 16;
/// Open files that are left to the database, the transport and the blobs.
const KEPT_FILES: u64 = 256;
/// How long a client may take for a request's head, and be silent between two requests.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a client may take for a request's body.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// How long a client may read nothing of an answer.
const STALL_LIMIT: Duration = Duration::from_secs(20);
/// Most header lines of a request.
const MAX_HEADERS: usize = 64;
/// Most bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;
/// Most bytes that a connection buffers.
const MAX_BUFFER: usize = 64 * 1024;
/// Newcomers that are told at once that there is no seat; further ones are just hung up on.
const MAX_REFUSALS: usize = 32;
/// How long a refused client may take to read why.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);

/// Connections that fit beside everything else when this many files may be open.
pub fn seats(open_files: u64) -> usize {
    let half = open_files.saturating_sub(KEPT_FILES) / 2;
    usize::try_from(half).unwrap_or(MAX_CONNECTIONS).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS)
}

/// What the server counts.
#[derive(Default)]
pub struct Counts {
    /// Connections open now.
    pub open: AtomicU64,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Idle connections that gave way to newcomers.
    pub evicted: AtomicU64,
    /// Newcomers refused because every seat had a request in progress.
    pub turned_away: AtomicU64,
}

impl Counts {
    /// The counters as Prometheus text.
    pub fn render(&self) -> String {
        let rows = [
            ("open", "gauge", "HTTP connections that are open", &self.open),
            ("total", "counter", "HTTP connections accepted", &self.accepted),
            ("evicted_total", "counter", "Idle ones that gave way to others", &self.evicted),
            ("turned_away_total", "counter", "Refused for want of a seat", &self.turned_away),
        ];
        let row = |(name, kind, help, count): (&str, &str, &str, &AtomicU64)| {
            let name = format!("anthill_http_connections_{name}");
            let value = count.load(Ordering::Relaxed);
            format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
        };
        rows.map(row).concat()
    }
}

/// One connection, as the door keeper sees it.
#[derive(Default)]
struct Seat {
    /// Requests in progress: received, and not answered to the end.
    busy: AtomicUsize,
    /// Told to leave.
    leave: Notify,
}

/// The connections that are open, in the order in which they came.
struct Door {
    most: usize,
    next: AtomicU64,
    seats: Mutex<BTreeMap<u64, Arc<Seat>>>,
    counts: Arc<Counts>,
}

impl Door {
    /// A seat for a newcomer, if need be that of the oldest idle connection.
    fn admit(self: &Arc<Self>) -> Option<Taken> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if seats.len() >= self.most {
            let idle = seats.iter().find(|(_, s)| s.busy.load(Ordering::Acquire) == 0);
            let Some(oldest) = idle.map(|(number, _)| *number) else {
                self.counts.turned_away.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            if let Some(seat) = seats.remove(&oldest) {
                seat.leave.notify_one();
                self.counts.evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat::default());
        seats.insert(number, seat.clone());
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        Some(Taken { door: self.clone(), number, seat })
    }
}

/// A seat in use; it is given back at the end.
struct Taken {
    door: Arc<Door>,
    number: u64,
    seat: Arc<Seat>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut seats = self.door.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.remove(&self.number);
        self.door.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves connections for ever; `most` at once.
pub async fn run(listener: TcpListener, router: Router, most: usize, counts: Arc<Counts>) {
    let door = Arc::new(Door { most, next: AtomicU64::new(0), seats: Mutex::default(), counts });
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // A connection that ended before it was accepted, or no file to open it: go on.
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if let Some(taken) = door.admit() {
            tokio::spawn(serve(stream, peer, router.clone(), taken));
        } else if let Ok(permit) = refusals.clone().try_acquire_owned() {
            tokio::spawn(async move {
                let _ = tokio::time::timeout(REFUSAL_LIMIT, refuse(stream)).await;
                drop(permit);
            });
        }
    }
}

/// Tells a newcomer that there is no seat, and waits until it has read that.
async fn refuse(mut stream: TcpStream) {
    let message = "all connections of this node are in use: try again in a moment";
    let body = serde_json::to_string(&ApiError::unavailable(message).body()).unwrap_or_default();
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    if stream.write_all(answer.as_bytes()).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    // Closing with unread bytes would take the answer back.
    let mut rest = [0; 4096];
    while matches!(stream.read(&mut rest).await, Ok(n) if n > 0) {}
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router, taken: Taken) {
    // Answers are short, and the client waits for them.
    let _ = stream.set_nodelay(true);
    let seat = taken.seat.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let busy = Busy::new(seat.clone());
        let mut request = request.map(|body| Body::new(Timely::new(body)));
        request.extensions_mut().insert(ConnectInfo(peer));
        let answered = router.clone().oneshot(request);
        async move { answered.await.map(|answer| answer.map(|body| Guarded { body, _busy: busy })) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER);
    let io = TokioIo::new(Unstalled { stream, timer: None });
    tokio::select! {
        ended = http.serve_connection(io, service) => {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection ended");
            }
        }
        () = taken.seat.leave.notified() => {}
    }
}

/// Marks a connection as busy from a request's head to the end of its answer.
struct Busy(Arc<Seat>);

impl Busy {
    fn new(seat: Arc<Seat>) -> Self {
        seat.busy.fetch_add(1, Ordering::AcqRel);
        Self(seat)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body that keeps its connection busy.
struct Guarded {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The client took too long to send a body.
#[derive(Debug, thiserror::Error)]
#[error("the body did not arrive within {} s", BODY_LIMIT.as_secs())]
pub struct TooSlow;

/// A request's body that must arrive in time.
struct Timely {
    body: Incoming,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Timely {
    fn new(body: Incoming) -> Self {
        Self { body, timer: None }
    }
}

impl HttpBody for Timely {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|f| f.map_err(Into::into)));
        }
        // One limit for all of it, from the first wait on: a byte now and then gains nothing.
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(BODY_LIMIT)));
        timer.as_mut().poll(cx).map(|()| Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that ends when its client does not read.
struct Unstalled {
    stream: TcpStream,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Unstalled {
    fn unless_stalled(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.timer = None;
            return wrote;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_LIMIT)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Unstalled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Unstalled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_stalled(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.unless_stalled(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_leave_room_for_the_rest_of_the_node() {
        assert_eq!(seats(20_000), MAX_CONNECTIONS);
        assert_eq!(seats(u64::MAX), MAX_CONNECTIONS);
        assert_eq!(seats(1024), 384);
        assert_eq!(seats(256), MIN_CONNECTIONS);
        assert_eq!(seats(0), MIN_CONNECTIONS);
    }

    #[test]
    fn the_oldest_idle_connection_gives_way_and_a_busy_one_does_not() {
        let door = Arc::new(Door {
            most: 2,
            next: AtomicU64::new(0),
            seats: Mutex::default(),
            counts: Arc::default(),
        });
        let (first, second) = (door.admit().unwrap(), door.admit().unwrap());
        let request = Busy::new(first.seat.clone());
        let third = door.admit().unwrap();
        let open: Vec<u64> = door.seats.lock().unwrap().keys().copied().collect();
        assert_eq!(open, [first.number, third.number]);
        drop(second);
        let other = Busy::new(third.seat.clone());
        assert!(door.admit().is_none(), "every seat has a request in progress");
        drop(other);
        assert!(door.admit().is_some());
        drop(request);
        drop(first);
        let count = |c: &AtomicU64| c.load(Ordering::Relaxed);
        let counts = &door.counts;
        assert_eq!(
            (count(&counts.accepted), count(&counts.evicted), count(&counts.turned_away)),
            (4, 2, 1)
        );
    }
}
