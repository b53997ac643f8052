//! The side that owns the task: gives it away, waits for its output, or takes it back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anthill_engine::wire::Request;
use anthill_net::PeerId;
use anthill_sandbox::{MAX_OUTPUT, Outcome};
use anthill_scheduler::vnode::migration::{Ended, Message, Offer, Source, SourceOut};
use anthill_types::ids::to_hex;
use anthill_types::{Bytes, Cid, Wire};
use serde::Serialize;
use thiserror::Error;

use super::{MAX_SNAPSHOT, is_partner, read_answer};
use crate::driver::now_ms;
use crate::shared::Shared;
use crate::vn::Departure;

/// How long one message may take.
const ASK: Duration = Duration::from_millis(1_500);

/// Why a virtual node's task stayed here, or came back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MoveError {
    /// It takes no virtual nodes of this one's.
    #[error(
        "node {0} is no connected partner: name its account in the setting `partners`, on both sides"
    )]
    NoPartner(String),
    /// There is nothing to move.
    #[error("virtual node {0} has no task that can be moved")]
    Nothing(u64),
    /// The task went on here.
    #[error("the task of virtual node {vn} came back: {reason}")]
    CameBack {
        /// The virtual node.
        vn: u64,
        /// Why.
        reason: String,
    },
    /// Nobody wants its outcome any more.
    #[error("the task of virtual node {0} was stopped: nobody wants its outcome any more")]
    Stopped(u64),
    /// A blob could not be kept.
    #[error("the state could not be handed over: {0}")]
    Blob(String),
}

/// A task that was done elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Moved {
    /// The virtual node that it left.
    pub vn: u64,
    /// The node that did it.
    pub to: String,
    /// Bytes of its state.
    pub snapshot_bytes: u64,
    /// From leaving its virtual node to running on the other machine, milliseconds.
    pub moved_ms: f64,
    /// Reference cost of the whole task.
    pub cost: u64,
}

/// Moves the task of a virtual node to a partner and waits until it is done there. If that fails, it goes
/// on here. The move goes on when whoever asked for it does not wait.
///
/// # Errors
/// [`MoveError`]; the task is never lost.
pub async fn move_to(shared: &Arc<Shared>, vn: u64, peer: PeerId) -> Result<Moved, MoveError> {
    let moving = shared.clone();
    let task = shared.runtime.spawn(async move { carry(&moving, vn, peer).await });
    task.await.unwrap_or(Err(MoveError::Nothing(vn)))
}

async fn carry(shared: &Arc<Shared>, vn: u64, peer: PeerId) -> Result<Moved, MoveError> {
    if !is_partner(shared, &peer) || !shared.connected().contains(&peer) {
        return Err(MoveError::NoPartner(to_hex(&peer)));
    }
    let begun = Instant::now();
    let mut departure = shared.fleet.depart(vn).await.ok_or(MoveError::Nothing(vn))?;
    let lent = match lend(shared, &departure, &peer).await {
        Ok(lent) => lent,
        Err(reason) => {
            shared.fleet.take_back(vn, departure, &reason);
            return Err(MoveError::Blob(reason));
        }
    };
    let ticket = shared.moves.ticket();
    let offer = lent.offer(&departure);
    let result = tokio::select! {
        result = follow(shared, ticket, offer, peer, begun) => Some(result),
        () = departure.asker.gone() => None,
    };
    let release = Message::Release { ticket };
    let releasing = shared.clone();
    shared.runtime.spawn(async move {
        let _ = ask(&releasing, &peer, release).await;
    });
    lent.end(shared, &peer).await;
    match result {
        // The release tells the other machine; if it is lost, the lease ends.
        None => {
            shared.fleet.returned(vn, "nobody wants the outcome of its task any more");
            Err(MoveError::Stopped(vn))
        }
        Some(Ok((outcome, moved_ms))) => {
            shared.moves.sent.fetch_add(1, Ordering::Relaxed);
            let cost = outcome.cost;
            let snapshot_bytes = departure.snapshot.len() as u64;
            departure.asker.answer(Ok(outcome));
            shared.fleet.returned(vn, "its task was done elsewhere");
            Ok(Moved { vn, to: to_hex(&peer), snapshot_bytes, moved_ms, cost })
        }
        Some(Err(reason)) => {
            shared.moves.returned.fetch_add(1, Ordering::Relaxed);
            shared.fleet.take_back(vn, departure, &reason);
            Err(MoveError::CameBack { vn, reason })
        }
    }
}

/// Moves the tasks of all virtual nodes to connected partners, in turn, and waits until they are done there;
/// gives how many were.
pub async fn move_all(shared: &Arc<Shared>) -> usize {
    let partners: Vec<PeerId> =
        shared.connected().into_iter().filter(|peer| is_partner(shared, peer)).collect();
    if partners.is_empty() {
        return 0;
    }
    let busy = shared.fleet.rows().into_iter().filter(|row| row.program.is_some());
    let moves: Vec<_> = busy
        .zip(partners.iter().cycle())
        .map(|(row, peer)| {
            let (shared, peer) = (shared.clone(), *peer);
            tokio::spawn(async move { move_to(&shared, row.id, peer).await })
        })
        .collect();
    let mut done = 0;
    for moving in moves {
        match moving.await {
            Ok(Ok(_)) => done += 1,
            Ok(Err(error)) => tracing::info!(%error, "a virtual node stays"),
            Err(error) => tracing::warn!(%error, "a move ended"),
        }
    }
    done
}

/// Blobs that a peer may read during a move.
struct Lent {
    program: Cid,
    input: Cid,
    snapshot: Cid,
}

async fn lend(shared: &Shared, departure: &Departure, peer: &PeerId) -> Result<Lent, String> {
    let job = &departure.job;
    if departure.snapshot.len() as u64 > MAX_SNAPSHOT {
        return Err(format!("its state has more than {MAX_SNAPSHOT} bytes"));
    }
    let put = async |bytes: &[u8]| {
        let kept = shared.net.put_blob(bytes.to_vec()).await;
        kept.map(Cid).map_err(|error| error.to_string())
    };
    let snapshot = put(&departure.snapshot).await?;
    let input = put(&job.input).await?;
    let lent = Lent { program: job.program, input, snapshot };
    lent.all().iter().for_each(|cid| shared.permissions.lend(peer, *cid));
    Ok(lent)
}

impl Lent {
    fn all(&self) -> [Cid; 3] {
        [self.program, self.input, self.snapshot]
    }

    fn offer(&self, departure: &Departure) -> Offer {
        let job = &departure.job;
        Offer {
            program: job.program,
            params: Bytes(job.params.clone()),
            input: self.input,
            input_len: job.input.len() as u64,
            cost_limit: job.cost_limit,
            snapshot: self.snapshot,
            snapshot_len: departure.snapshot.len() as u64,
        }
    }

    /// The peer may not read them any more, and the snapshot is of no use to anybody.
    async fn end(&self, shared: &Shared, peer: &PeerId) {
        self.all().iter().for_each(|cid| shared.permissions.take_back(peer, *cid));
        if let Err(error) = shared.net.delete_blob(self.snapshot.0).await {
            tracing::debug!(%error, "a snapshot stays");
        }
    }
}

/// Drives the source's state machine; gives the outcome, and when the other machine had taken the task.
async fn follow(
    shared: &Shared,
    ticket: u64,
    offer: Offer,
    peer: PeerId,
    begun: Instant,
) -> Result<(Outcome, f64), String> {
    let limit = offer.cost_limit;
    let mut source = Source::new(ticket, offer, now_ms());
    let mut taken_ms = None;
    loop {
        let mut out = source.tick(now_ms());
        if let Some(SourceOut::Send(message)) = out {
            let answer = ask(shared, &peer, message).await;
            if answer.is_some() && taken_ms.is_none() {
                taken_ms = Some(begun.elapsed().as_secs_f64() * 1e3);
            }
            out = source.answered(answer, now_ms());
        }
        match out {
            Some(SourceOut::Fetch(ended)) => {
                let outcome = fetch(shared, &peer, &ended, limit).await?;
                return Ok((outcome, taken_ms.unwrap_or_default()));
            }
            Some(SourceOut::TakeBack { reason }) => return Err(reason),
            Some(SourceOut::Send(_)) => {}
            None => {
                let wait = source.next_wake().saturating_sub(now_ms()).max(1);
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
        }
    }
}

async fn ask(
    shared: &Shared,
    peer: &PeerId,
    message: Message,
) -> Option<anthill_scheduler::vnode::migration::Answer> {
    let request = Request::VirtualNode(Bytes(message.to_bytes())).to_bytes();
    let reply = shared.net.request(peer, &request, ASK).await.ok()?;
    read_answer(&reply)
}

async fn fetch(
    shared: &Shared,
    peer: &PeerId,
    ended: &Ended,
    limit: u64,
) -> Result<Outcome, String> {
    let most = MAX_OUTPUT as u64 + 64;
    let Ended { output, chunks, cost } = *ended;
    let bytes = shared.net.fetch_blob(output.0, &[*peer], most).await.map_err(|e| e.to_string())?;
    let result = Outcome::from_output(&bytes).ok_or("the output is not understood")?;
    if cost > limit {
        return Err(format!("it says that it cost {cost}, more than the limit {limit}"));
    }
    Ok(Outcome { result, cost, chunks })
}
