//! The mesh of controllers: datagrams with a keyed hash, queued first in first out, passed on to all
//! but whom they came from.
//!
//! A datagram is canonical JSON and SHA3-256 over tag, key and text. Whoever has the key can speak for
//! everybody who has it. Times more than a minute off and numbers that were seen are refused, so a
//! datagram cannot be played again within a run. Without a key the mesh stays on loopback.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anthill_scheduler::controller::audit::Json;
use anthill_scheduler::controller::mesh::{Message, News, Queue};
use anthill_types::hash::sha3;
use anthill_types::ids::to_hex;

use crate::args_controller::RunArgs;
use crate::error::CliError;

/// Longest datagram that is taken.
const LONGEST: usize = 512;
/// Most other controllers that are remembered.
const MOST_ORIGINS: usize = 1024;
/// Most peers of one controller.
const MOST_PEERS: usize = 64;
/// Milliseconds by which clocks may differ.
const SKEW_MS: u64 = 60_000;
/// How often a standing injection is said again, since datagrams get lost and peers start later.
const AGAIN: Duration = Duration::from_secs(1);
/// Messages between the loop and the mesh's thread.
const CHANNEL: usize = 1024;
/// How long the mesh's thread waits for a datagram.
const NAP: Duration = Duration::from_micros(300);

/// News from another controller.
pub struct Heard {
    /// Whose: a number that it drew when it started.
    pub origin: String,
    /// What.
    pub news: News,
}

impl Heard {
    /// For the beat's line.
    pub fn to_json(&self) -> Json {
        fields(&self.news).merged(Json::object([("from", self.origin.as_str().into())]))
    }
}

/// The mesh's thread, seen from the loop.
pub struct Mesh {
    out: SyncSender<News>,
    heard: Receiver<Heard>,
    thread: JoinHandle<()>,
}

impl Mesh {
    /// Opens the port and starts.
    pub fn start(args: &RunArgs) -> Result<Self, CliError> {
        let key = args.mesh_key.as_deref().map(read_key).transpose()?;
        let far = args.mesh_peer.iter().find(|peer| !peer.ip().is_loopback());
        if let (None, Some(peer)) = (&key, far) {
            let text = format!("{peer} is another machine: give both the same --mesh-key FILE");
            return Err(CliError::Usage(text));
        }
        if args.mesh_peer.len() > MOST_PEERS {
            return Err(CliError::Usage(format!("more than {MOST_PEERS} --mesh-peer")));
        }
        let ip = if key.is_some() { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        let address = SocketAddr::new(IpAddr::V4(ip), args.mesh_port);
        let failed = |error| CliError::File { path: format!("UDP port {address}"), error };
        let socket = UdpSocket::bind(address).map_err(failed)?;
        socket.set_read_timeout(Some(NAP)).map_err(failed)?;
        let (out, from_loop) = sync_channel(CHANNEL);
        let (to_loop, heard) = sync_channel(CHANNEL);
        let standing = News::Inject { anoms: args.inject_anoms, weight: args.inject_weight };
        let is_standing = args.inject_anoms.is_some() || args.inject_weight.is_some();
        let link = Link {
            socket,
            address,
            key: key.unwrap_or_default(),
            origin: origin(address),
            number: 0,
            seen: BTreeMap::new(),
            queue: Queue::new(args.mesh_peer.iter().copied()),
            standing: is_standing.then_some(standing),
            start: Instant::now(),
        };
        let thread = std::thread::spawn(move || link.run(&from_loop, &to_loop));
        Ok(Self { out, heard, thread })
    }

    /// Tells all peers; when too much waits already, this is lost.
    pub fn say(&self, news: News) {
        let _ = self.out.try_send(news);
    }

    /// What was heard since the last call.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.try_iter().collect()
    }

    /// Sends what still waits and stops.
    pub fn end(self) {
        drop(self.out);
        let _ = self.thread.join();
    }
}

fn read_key(file: &Path) -> Result<Vec<u8>, CliError> {
    let path = file.display().to_string();
    let key = std::fs::read(file).map_err(|error| CliError::File { path: path.clone(), error })?;
    if (32..=4096).contains(&key.len()) {
        return Ok(key);
    }
    Err(CliError::Usage(format!("{path}: a mesh key has 32 to 4096 bytes, not {}", key.len())))
}

/// Names one run of one controller.
fn origin(address: SocketAddr) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let words = format!("{address} {} {now}", std::process::id());
    to_hex(&sha3(&[b"anthill mesh origin", words.as_bytes()])[..8])
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// News with the name of who said it first.
struct Parcel {
    origin: String,
    number: u64,
    news: News,
}

/// The thread's state.
struct Link {
    socket: UdpSocket,
    address: SocketAddr,
    key: Vec<u8>,
    origin: String,
    number: u64,
    /// The highest number of each origin.
    seen: BTreeMap<String, u64>,
    queue: Queue<SocketAddr, Parcel>,
    standing: Option<News>,
    start: Instant,
}

impl Link {
    fn run(mut self, from_loop: &Receiver<News>, to_loop: &SyncSender<Heard>) {
        let mut again = Instant::now();
        let mut is_over = false;
        while !is_over || !self.queue.is_empty() {
            if !is_over && Instant::now() >= again {
                again = Instant::now() + AGAIN;
                self.standing.clone().into_iter().for_each(|news| self.speak(news));
            }
            loop {
                match from_loop.recv_timeout(Duration::ZERO) {
                    Ok(news) => self.speak(news),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => {
                        is_over = true;
                        break;
                    }
                }
            }
            self.hear();
            self.deliver(to_loop);
        }
    }

    fn now_s(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Queues news of this controller.
    fn speak(&mut self, news: News) {
        self.number += 1;
        let parcel = Parcel { origin: self.origin.clone(), number: self.number, news };
        let now_s = self.now_s();
        // A full queue loses the newest.
        let _ = self.queue.push(Message { from: self.address, news: parcel }, now_s);
    }

    /// Waits a moment for a datagram; queues it if it is sound and new.
    fn hear(&mut self) {
        let mut buffer = [0; LONGEST + 1];
        let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { return };
        let Some(parcel) = buffer.get(..length).and_then(|bytes| self.open(bytes)) else { return };
        if parcel.origin == self.origin {
            return;
        }
        let known = self.seen.get(&parcel.origin).copied();
        if known.is_some_and(|last| parcel.number <= last)
            || (known.is_none() && self.seen.len() >= MOST_ORIGINS)
        {
            return;
        }
        self.seen.insert(parcel.origin.clone(), parcel.number);
        let now_s = self.now_s();
        let _ = self.queue.push(Message { from, news: parcel }, now_s);
    }

    /// Passes on what is due: to the peers it did not come from, and to the loop if others said it.
    fn deliver(&mut self, to_loop: &SyncSender<Heard>) {
        let now_s = self.now_s();
        while let Some(due) = self.queue.due_s().filter(|due| *due <= now_s) {
            let Some((message, to)) = self.queue.step(due) else { return };
            let bytes = self.seal(&message.news);
            for peer in to {
                // A peer that is not there yet gets standing injections again.
                let _ = self.socket.send_to(&bytes, peer);
            }
            let Parcel { origin, news, .. } = message.news;
            if origin != self.origin {
                let _ = to_loop.try_send(Heard { origin, news });
            }
        }
    }

    fn tag(&self, text: &[u8]) -> [u8; 32] {
        let length = (self.key.len() as u64).to_be_bytes();
        sha3(&[b"anthill/1/mesh\0", &length, &self.key, text])
    }

    fn seal(&self, parcel: &Parcel) -> Vec<u8> {
        let head = Json::object([
            ("origin", parcel.origin.as_str().into()),
            ("number", parcel.number.into()),
            ("time_ms", now_ms().into()),
        ]);
        let mut bytes = fields(&parcel.news).merged(head).to_string().into_bytes();
        bytes.extend(self.tag(&bytes));
        bytes
    }

    fn open(&self, bytes: &[u8]) -> Option<Parcel> {
        let (text, tag) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if bytes.len() > LONGEST || !same(&self.tag(text), tag) {
            return None;
        }
        let json = Json::parse(std::str::from_utf8(text).ok()?).ok()?;
        if integer(&json, "time_ms")?.abs_diff(now_ms()) > SKEW_MS {
            return None;
        }
        let origin = json.get("origin")?.as_str()?.to_string();
        (origin.len() == 16).then_some(())?;
        Some(Parcel { origin, number: integer(&json, "number")?, news: news(&json)? })
    }
}

/// Compares without saying by time where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

fn integer(json: &Json, name: &str) -> Option<u64> {
    let Json::Int(number) = json.get(name)? else { return None };
    u64::try_from(*number).ok()
}

fn fields(news: &News) -> Json {
    match news {
        News::Inject { anoms, weight } => Json::object([
            ("kind", "inject".into()),
            ("anoms", anoms.map_or(Json::Null, Json::from)),
            ("weight", weight.map_or(Json::Null, Json::from)),
        ]),
        News::Threat { beat, threat } => Json::object([
            ("kind", "threat".into()),
            ("beat", (*beat).into()),
            ("threat", (*threat).into()),
        ]),
    }
}

fn news(json: &Json) -> Option<News> {
    let float = |name: &str| match json.get(name)? {
        Json::Float(number) if number.is_finite() => Some(*number),
        _ => None,
    };
    match json.get("kind")?.as_str()? {
        "inject" => Some(News::Inject { anoms: integer(json, "anoms"), weight: float("weight") }),
        "threat" => Some(News::Threat { beat: integer(json, "beat")?, threat: float("threat")? }),
        _ => None,
    }
}
