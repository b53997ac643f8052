//! Runs the real binary: commands, and nodes as processes of their own.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod api;
pub mod chain;
#[cfg(target_os = "linux")]
pub mod lab;

use anthill_node::{Home, calibrate, setup};
use anthill_types::{ChainParams, ConsensusKind};
use std::ffi::OsString;
use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything is waited for; only a hang takes this long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A folder that is removed at the end.
pub struct Dir(PathBuf);

impl Dir {
    /// A fresh folder.
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir()
            .join(format!("anthill-test-{}-{number}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A path inside, as text.
    pub fn text(&self, name: &str) -> String {
        self.join(name).display().to_string()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a command left.
#[derive(Debug)]
pub struct Output {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
}

impl Output {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Asserts the exit code and that standard error says all of the words.
    #[track_caller]
    pub fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{} {}", self.text(), self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in: {}", self.err);
        }
    }
}

/// The binary under test: `ANTHILL_BINARY`, or the one that was built with the tests.
pub fn binary() -> OsString {
    std::env::var_os("ANTHILL_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_anthill").into())
}

/// The binary, with nothing of the caller's settings.
pub fn anthill() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANTHILL_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub fn run(args: &[&str]) -> Output {
    run_with(anthill().args(args), &[])
}

/// Runs a prepared command to its end with this standard input.
pub fn run_with(command: &mut Command, input: &[u8]) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // A command that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        out: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Random numbers that a seed repeats (xorshift64, Marsaglia 2003).
pub struct Random(u64);

impl Random {
    /// A generator; 0 is as good a seed as any other.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// True in so many of 100 cases.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// Different numbers below the bound, in random order.
    pub fn draw(&mut self, count: usize, bound: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..bound).collect();
        let mut drawn = Vec::new();
        while drawn.len() < count && !all.is_empty() {
            drawn.push(all.swap_remove(self.below(all.len() as u64) as usize));
        }
        drawn
    }
}

/// A number from the environment.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seed of a test: `ANTHILL_SEED`, or one from the clock; it is printed.
pub fn seed() -> u64 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = setting("ANTHILL_SEED").unwrap_or(clock.as_nanos() as u64 % 1_000_000);
    println!("seed {seed} (ANTHILL_SEED={seed} repeats the plan)");
    seed
}

/// Looks again and again until something is there.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A UDP port of loopback that is free now, for a node that keeps it over restarts.
pub fn free_port() -> String {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap().to_string()
}

/// Micro-credits of a decimal amount.
pub fn micro(amount: &Value) -> u128 {
    amount.as_str().unwrap().parse::<anthill_types::Amount>().unwrap().0
}

/// Mounts a small file system; unmounts it at the end.
pub struct Mount(String);

impl Mount {
    /// Mounts one, where that is permitted.
    pub fn new(path: &str, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let options = format!("size={size}");
        let args = ["-t", "tmpfs", "-o", &options, "tmpfs", path];
        let done = Command::new("mount").args(args).output().ok()?;
        if done.status.success() {
            return Some(Self(path.to_string()));
        }
        eprintln!("not checked, mount says: {}", String::from_utf8_lossy(&done.stderr));
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", &self.0]).status();
    }
}

/// A node as a process of its own; it is killed at the end.
pub struct Node {
    /// Its data folder.
    pub data: PathBuf,
    listen: String,
    /// Address of its API.
    http: String,
    /// Words before every command of it: a program that limits it, say.
    pub within: Vec<String>,
    /// Path of the network namespace in which it lives, if not in that of the test.
    pub network: Option<String>,
    child: Option<Child>,
}

impl Node {
    /// A node on this folder that does not run yet.
    pub fn new(data: PathBuf) -> Self {
        Self::at(data, free_port())
    }

    /// A node that listens at this address for others.
    pub fn at(data: PathBuf, listen: String) -> Self {
        let http = "127.0.0.1:0".to_string();
        Self { data, listen, http, within: Vec::new(), network: None, child: None }
    }

    /// Founds a fast network of one and waits until it runs.
    pub fn up(data: PathBuf) -> Self {
        let mut node = Self::new(data);
        node.start(&["up", "--fast", "--quiet"]);
        node
    }

    /// The same for a network whose workers have minutes to reply, so that no task is given up because this
    /// machine is slow.
    pub fn up_patient(data: PathBuf) -> Self {
        let params = ChainParams { reply_blocks: 900, ..setup::fast_params() };
        let mut node = Self::new(data);
        found_homes(std::slice::from_ref(&node), params, ConsensusKind::Bft);
        node.start(&["up", "--quiet"]);
        node
    }

    /// Joins with a ticket and waits until the node runs and sees a peer.
    pub fn joined(data: PathBuf, ticket: &str) -> Self {
        let mut node = Self::new(data);
        node.start(&["join", ticket]);
        until("the newcomer has a peer", || (node.status()?["peers"] != 0).then_some(()));
        node
    }

    /// Address for other nodes.
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// The binary, where this node lives.
    fn command(&self) -> Command {
        let enter = self
            .network
            .iter()
            .flat_map(|path| ["nsenter".to_string(), format!("--net={path}"), "--".to_string()]);
        let words: Vec<String> = enter.chain(self.within.iter().cloned()).collect();
        let Some((program, rest)) = words.split_first() else { return anthill() };
        let mut command = Command::new(program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANTHILL_")) {
            command.env_remove(name);
        }
        command.args(rest).arg(binary());
        command
    }

    /// Sends a signal to the process.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Files that the process has open, where the system tells.
    pub fn open_files(&self) -> Option<usize> {
        let pid = self.child.as_ref()?.id();
        Some(std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
    }

    /// Memory that the process holds, KiB, where the system tells.
    pub fn memory(&self) -> Option<u64> {
        let pid = self.child.as_ref()?.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Where its API listens.
    pub fn http_address(&self) -> String {
        let run: Value =
            serde_json::from_slice(&std::fs::read(self.data.join("run.json")).unwrap()).unwrap();
        run["http"].as_str().unwrap().to_string()
    }

    /// True while the process has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| c.try_wait().unwrap().is_none())
    }

    /// True while the process has been started and not killed by the test.
    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// Starts the process without waiting for it.
    pub fn spawn(&mut self, words: &[&str]) {
        assert!(self.child.is_none());
        // What a killed process left says where it listened, not where this one will.
        let _ = std::fs::remove_file(self.data.join("run.json"));
        let log = self.data.with_extension("log");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.command();
        command.arg("--data").arg(&self.data).args(words).arg("--json");
        command.args(["--listen", &self.listen, "--http", &self.http]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Starts the process and waits until its API answers.
    #[track_caller]
    pub fn start(&mut self, words: &[&str]) {
        self.spawn(words);
        self.wait();
    }

    /// Waits until the API answers.
    #[track_caller]
    pub fn wait(&mut self) {
        let begun = Instant::now();
        while self.status().is_none() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let late = begun.elapsed() > PATIENCE;
            assert!(ended.is_none() && !late, "the node ended ({ended:?}):\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the process ends by itself; gives its exit code.
    pub fn ended(&mut self) -> i32 {
        let child = self.child.as_mut().unwrap();
        let status = until("the process ends", || child.try_wait().unwrap());
        self.child = None;
        status.code().unwrap_or(-1)
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends it as an owner would, with SIGTERM; gives its exit code.
    pub fn stop(&mut self) -> i32 {
        self.signal("-TERM");
        self.ended()
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }

    /// Runs a command on this node's folder.
    pub fn run(&self, args: &[&str]) -> Output {
        run_with(self.command().arg("--data").arg(&self.data).args(args), &[])
    }

    /// The text of a command that must succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.code, 0, "{args:?}: {} {}\n{}", output.text(), output.err, self.log());
        output.text()
    }

    /// The JSON of a command that must succeed.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}: {text}"))
    }

    /// Its status, while it answers.
    pub fn status(&self) -> Option<Value> {
        let output = self.run(&["status", "--json"]);
        (output.code == 0).then(|| output.json())
    }

    /// A ticket of this node.
    pub fn ticket(&self) -> String {
        self.ok(&["ticket"]).trim().to_string()
    }

    /// Posts to the API, for what no command does.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        let run = std::fs::read(self.data.join("run.json")).unwrap();
        let run: Value = serde_json::from_slice(&run).unwrap();
        let token = std::fs::read_to_string(self.data.join("token")).unwrap();
        let url = format!("http://{}{path}", run["http"].as_str().unwrap());
        let request = ureq::post(url).header("authorization", format!("Bearer {}", token.trim()));
        request.send_json(body).unwrap().body_mut().read_json().unwrap()
    }

    /// Gets from the API, for what no command shows; `None` while it does not answer, and when it
    /// has no such thing.
    pub fn get(&self, path: &str) -> Option<Value> {
        serde_json::from_slice(&self.get_bytes(path)?).ok()
    }

    /// The same, as bytes.
    pub fn get_bytes(&self, path: &str) -> Option<Vec<u8>> {
        let run = std::fs::read(self.data.join("run.json")).ok()?;
        let run: Value = serde_json::from_slice(&run).ok()?;
        let token = std::fs::read_to_string(self.data.join("token")).ok()?;
        let url = format!("http://{}{path}", run["http"].as_str()?);
        let fetch = || {
            let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build();
            let request = ureq::Agent::from(config).get(url);
            let request = request.header("authorization", format!("Bearer {}", token.trim()));
            request.call().ok()?.body_mut().with_config().limit(64 << 20).read_to_vec().ok()
        };
        #[cfg(target_os = "linux")]
        if let Some(path) = &self.network {
            return lab::inside(path, fetch);
        }
        fetch()
    }

    /// The job of an index, once it is in one of these stages.
    #[track_caller]
    pub fn job(&self, name: &str, stages: &[&str]) -> Value {
        until(&format!("index {name} is {stages:?}"), || {
            let output = self.run(&["index", "--status", "--json"]);
            let jobs = if output.code == 0 { output.json() } else { Value::Null };
            let job = jobs.as_array()?.iter().find(|j| j["name"] == name)?.clone();
            assert_ne!(job["stage"], "failed", "{job}");
            stages.iter().any(|s| job["stage"] == *s).then_some(job)
        })
    }

    /// Asserts that held + burned = minted, to the last micro-credit.
    #[track_caller]
    pub fn assert_conserved(&self) {
        let bank = self.json(&["credits"]);
        assert_eq!(micro(&bank["held"]) + micro(&bank["burned"]), micro(&bank["minted"]), "{bank}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes some documents that differ from each other; gives the folder as text.
pub fn documents(dir: &Dir, name: &str, files: usize) -> String {
    let folder = dir.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let about = ["keys and passwords", "bees and honey", "tides and the moon", "bread and yeast"];
    for i in 0..files {
        let topic = about[i % about.len()];
        let mut text = format!("# Note {i} on {topic}\n\n");
        for line in 0..8 {
            text.push_str(&format!(
                "Paragraph {line} of note {i} says what is known about {topic}: measure {}, then \
                 write down the result, compare it with note {}, and keep both.\n\n",
                i * 31 + line,
                (i + 1) % files,
            ));
        }
        std::fs::write(folder.join(format!("note-{i:03}.md")), text).unwrap();
    }
    folder.display().to_string()
}

/// Founds a network of several validators on free ports; each knows the addresses of all.
pub fn found(dir: &Dir, count: usize) -> Vec<Node> {
    let nodes: Vec<Node> = (0..count).map(|i| Node::new(dir.join(&format!("node-{i}")))).collect();
    found_with(nodes)
}

/// Founds a network of these nodes, none of which has been started; each knows the addresses of all.
pub fn found_with(nodes: Vec<Node>) -> Vec<Node> {
    let params = setup::fast_params();
    found_as(nodes, params, ConsensusKind::Bft)
}

/// The same with these parameters and this way to agree.
pub fn found_as(nodes: Vec<Node>, params: ChainParams, consensus: ConsensusKind) -> Vec<Node> {
    let homes = found_homes(&nodes, params, consensus);
    let key = |home: &Home| home.keys().unwrap().node_key().to_string();
    let peers: std::collections::BTreeMap<String, Vec<String>> = homes
        .iter()
        .zip(&nodes)
        .map(|(home, node)| (key(home), vec![node.listen.clone()]))
        .collect();
    homes.iter().for_each(|home| home.save_json("peers.json", &peers).unwrap());
    nodes
}

fn found_homes(nodes: &[Node], params: ChainParams, consensus: ConsensusKind) -> Vec<Home> {
    let homes: Vec<Home> = nodes.iter().map(|n| Home::new(&n.data)).collect();
    let capabilities = anthill_node::node::capabilities(&homes[0]).unwrap();
    let offered = calibrate::offer(calibrate::units_per_second(), 1, 100, params.epoch_ms);
    setup::found(&homes, "test", params, offered, &capabilities, consensus).unwrap();
    homes
}
