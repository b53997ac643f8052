//! A network of its own for each node, and a relay between them that loses, delays, repeats and cuts.
//!
//! Every node lives in a network namespace in which only loopback exists, and there the addresses of
//! all nodes are sockets of the relay: whatever two nodes say to each other passes through it, in each
//! direction apart. A namespace lives as long as a process that holds it, so nothing is left behind,
//! however the test ends.

use std::collections::BinaryHeap;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::{Random, until};

/// UDP port of every node, each on an address of its own.
const PORT: u16 = 4478;

/// What the tests of a lab may do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Make namespaces.
    Granted,
    /// Make them inside a user namespace, in which this test must be started again.
    AsUser,
    /// Neither.
    Refused,
}

/// Finds out what is permitted.
pub fn permission() -> Permission {
    let works = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(arguments).args(["ip", "link", "set", "lo", "up"]);
        command.stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    if works(&["--net"]) {
        return Permission::Granted;
    }
    if works(&["--user", "--map-root-user", "--net"]) {
        return Permission::AsUser;
    }
    Permission::Refused
}

/// Moves the calling thread into a network namespace, for good.
pub fn enter(path: &str) {
    let file = std::fs::File::open(path).unwrap();
    let kind = rustix::thread::LinkNameSpaceType::Network;
    rustix::thread::move_into_link_name_space(file.as_fd(), Some(kind)).unwrap();
}

/// Does something in a network namespace.
pub fn inside<T: Send>(path: &str, what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            enter(path);
            what()
        });
        there.join().unwrap()
    })
}

/// A network namespace; it ends with the process that holds it, which ends with this one.
struct Namespace(Child);

impl Namespace {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        // Reads until this process is gone, and with it the other end of the pipe.
        command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let made = Self(command.spawn().unwrap());
        until("the namespace exists", || {
            let link = std::fs::read_link(made.path()).ok()?;
            (link != own).then_some(())
        });
        made.run(&["ip", "link", "set", "lo", "up"]).unwrap();
        made
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    fn run(&self, words: &[&str]) -> Result<(), String> {
        let mut command = Command::new("nsenter");
        let output = command.arg(format!("--net={}", self.path())).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What happens to datagrams.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Lost, percent.
    pub loss: u64,
    /// Sent twice, percent.
    pub twice: u64,
    /// Least delay in one direction, milliseconds.
    pub delay_ms: u64,
    /// Most that is added to it, at random: what arrives is then out of order.
    pub jitter_ms: u64,
    /// `cut[i][j]`: nothing goes from node i to node j.
    pub cut: Vec<Vec<bool>>,
}

/// What happened to datagrams.
#[derive(Default, Debug)]
pub struct Counts {
    /// Handed on.
    pub delivered: AtomicU64,
    /// Lost at random.
    pub lost: AtomicU64,
    /// Handed on once more.
    pub repeated: AtomicU64,
    /// Stopped by a cut.
    pub cut: AtomicU64,
}

/// A datagram on its way; the earliest is the greatest, as the heap wants it.
struct Flight {
    due: Instant,
    number: u64,
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

/// What the relay's threads share.
struct Relay {
    /// `sockets[i][j]`: the address of node j in the namespace of node i.
    sockets: Vec<Vec<Option<UdpSocket>>>,
    weather: Mutex<(Weather, Random)>,
    flights: Mutex<(BinaryHeap<Flight>, u64)>,
    wake: Condvar,
    stop: AtomicBool,
    counts: Counts,
}

impl Relay {
    /// Takes what node i says to node j.
    fn take(&self, from: usize, to: usize) {
        let socket = self.sockets[from][to].as_ref().unwrap();
        let mut buffer = vec![0; 1 << 16];
        while !self.stop.load(Ordering::Relaxed) {
            match socket.recv_from(&mut buffer) {
                Ok((length, _)) => self.launch(from, to, &buffer[..length]),
                // Nothing for a while, or the network is down.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Decides what becomes of a datagram.
    fn launch(&self, from: usize, to: usize, bytes: &[u8]) {
        let mut times = Vec::new();
        {
            let mut guard = self.weather.lock().unwrap();
            let (weather, random) = &mut *guard;
            if weather.cut[from][to] {
                self.counts.cut.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if random.percent(weather.loss) {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let copies = 1 + u64::from(random.percent(weather.twice));
            self.counts.repeated.fetch_add(copies - 1, Ordering::Relaxed);
            for _ in 0..copies {
                times.push(weather.delay_ms + random.below(weather.jitter_ms + 1));
            }
        }
        let mut flights = self.flights.lock().unwrap();
        for delay in times {
            let due = Instant::now() + Duration::from_millis(delay);
            flights.1 += 1;
            let number = flights.1;
            flights.0.push(Flight { due, number, from, to, bytes: bytes.to_vec() });
        }
        self.wake.notify_one();
    }

    /// Hands on what is due; what was cut meanwhile still arrives, as on a real line.
    fn land(&self) {
        let mut flights = self.flights.lock().unwrap();
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let wait = match flights.0.peek() {
                Some(first) if first.due <= now => {
                    let flight = flights.0.pop().unwrap();
                    drop(flights);
                    let socket = self.sockets[flight.to][flight.from].as_ref().unwrap();
                    // The other end may not run now.
                    if socket.send_to(&flight.bytes, address(flight.to)).is_ok() {
                        self.counts.delivered.fetch_add(1, Ordering::Relaxed);
                    }
                    flights = self.flights.lock().unwrap();
                    continue;
                }
                Some(first) => first.due - now,
                None => Duration::from_millis(100),
            };
            flights = self.wake.wait_timeout(flights, wait).unwrap().0;
        }
    }
}

/// Where a node listens, as all see it.
pub fn address(node: usize) -> String {
    format!("127.0.1.{}:{PORT}", node + 1)
}

/// Networks for some nodes.
pub struct Lab {
    namespaces: Vec<Namespace>,
    relay: Arc<Relay>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Lab {
    /// Networks without faults; the seed decides about single datagrams later on.
    pub fn new(count: usize, seed: u64) -> Self {
        let namespaces: Vec<Namespace> = (0..count).map(|_| Namespace::new()).collect();
        let open = |here: usize| {
            inside(&namespaces[here].path(), || {
                let socket = |there: usize| {
                    let socket = UdpSocket::bind(address(there)).unwrap();
                    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                    socket
                };
                (0..count).map(|there| (there != here).then(|| socket(there))).collect()
            })
        };
        let weather = Weather {
            loss: 0,
            twice: 0,
            delay_ms: 0,
            jitter_ms: 0,
            cut: vec![vec![false; count]; count],
        };
        let relay = Arc::new(Relay {
            sockets: (0..count).map(open).collect(),
            weather: Mutex::new((weather, Random::new(seed))),
            flights: Mutex::default(),
            wake: Condvar::new(),
            stop: AtomicBool::new(false),
            counts: Counts::default(),
        });
        let mut threads = Vec::new();
        for (i, j) in (0..count).flat_map(|i| (0..count).map(move |j| (i, j))) {
            let relay = relay.clone();
            threads.push(match i == j {
                false => std::thread::spawn(move || relay.take(i, j)),
                true if i == 0 => std::thread::spawn(move || relay.land()),
                true => continue,
            });
        }
        Self { namespaces, relay, threads }
    }

    /// Path of a node's namespace.
    pub fn path(&self, node: usize) -> String {
        self.namespaces[node].path()
    }

    /// Runs a command in a node's namespace.
    pub fn run(&self, node: usize, words: &[&str]) -> Result<(), String> {
        self.namespaces[node].run(words)
    }

    /// Changes the weather.
    pub fn weather(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.relay.weather.lock().unwrap().0);
    }

    /// Cuts and mends: nothing goes from i to j where the rule holds.
    pub fn cut(&self, rule: impl Fn(usize, usize) -> bool) {
        self.weather(|w| {
            for (i, row) in w.cut.iter_mut().enumerate() {
                row.iter_mut().enumerate().for_each(|(j, cut)| *cut = rule(i, j));
            }
        });
    }

    /// What happened so far.
    pub fn counts(&self) -> &Counts {
        &self.relay.counts
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.relay.stop.store(true, Ordering::Relaxed);
        self.relay.wake.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
