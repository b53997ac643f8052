//! What a machine may do to one of five validators: its disk is full, its files may not grow, its
//! ports are taken. It must say so and stop; the others go on; and it comes back with nothing lost.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use common::chain::{Acknowledged, assert_one_chain, one_tip};
use common::{Dir, Mount, Node, Random, documents, found, found_with, seed, until};

const NODES: usize = 5;
/// The node that has bad luck.
const VICTIM: usize = NODES - 1;
const UP: [&str; 4] = ["up", "--quiet", "--virtual-nodes", "1"];
const FULL: &str = "no space left on the disk";
const ADVICE: &str = "free some and start again, nothing is lost";

struct Network {
    dir: Dir,
    nodes: Vec<Node>,
    acknowledged: Acknowledged,
    jobs: usize,
}

impl Network {
    fn new(dir: Dir, mut nodes: Vec<Node>) -> Self {
        nodes.iter_mut().for_each(|n| n.spawn(&UP));
        nodes.iter_mut().for_each(Node::wait);
        for node in &nodes {
            until("all are connected", || (node.status()?["peers"] == NODES - 1).then_some(()));
        }
        let acknowledged = Acknowledged::new(&dir, &nodes[0]);
        Self { dir, nodes, acknowledged, jobs: 0 }
    }

    /// Gives the first node some work, which all take part in; gives its name.
    fn load(&mut self, files: usize) -> String {
        let name = format!("job-{}", self.jobs);
        self.jobs += 1;
        let folder = documents(&self.dir, &name, files);
        self.nodes[0].ok(&["index", &folder, "--name", &name, "--detach"]);
        name
    }

    /// The others go on without the victim.
    fn others_go_on(&mut self) {
        let name = self.load(4);
        self.nodes[0].job(&name, &["ready", "final"]);
        self.acknowledged.look(&self.nodes[1]);
    }

    /// The victim is back and as good as the others, and has lost nothing.
    fn assert_whole(&mut self) {
        let height = self.nodes[0].status().unwrap()["height"].as_u64().unwrap();
        let victim = &self.nodes[VICTIM];
        until("the victim has caught up", || {
            (victim.status()?["height"].as_u64()? >= height).then_some(())
        });
        let name = self.load(2);
        self.nodes[0].job(&name, &["final"]);
        self.acknowledged.look(&self.nodes[VICTIM]);
        let (height, root) = one_tip(&self.nodes);
        let heights = assert_one_chain(&self.nodes);
        let proofs = self.acknowledged.assert_kept(&self.nodes);
        println!(
            "block {height}, one root on {NODES} nodes: {root}; {heights} heights compared, \
             {} payments kept, {proofs} proofs verified",
            self.acknowledged.count()
        );
    }
}

/// Takes all room that is left.
fn fill(filler: &Path) {
    let mut file = std::fs::File::options().create(true).append(true).open(filler).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    while file.write_all(&[1]).is_ok() {}
}

#[test]
fn a_full_disk_stops_one_validator_and_it_comes_back() {
    let dir = Dir::new("disk");
    let Some(mount) = Mount::new(&dir.text("disk"), "8m") else {
        println!("no file system can be mounted here; files that may not grow are checked instead");
        return;
    };
    let mut random = Random::new(seed());
    let mut nodes: Vec<Node> =
        (0..VICTIM).map(|i| Node::new(dir.join(&format!("node-{i}")))).collect();
    // By way of a link, so that the log beside it is on another disk.
    std::fs::create_dir(dir.join("disk/node")).unwrap();
    let place = dir.join(&format!("node-{VICTIM}"));
    std::os::unix::fs::symlink(dir.join("disk/node"), &place).unwrap();
    nodes.push(Node::new(place));
    let nodes = found_with(nodes);
    let filler = dir.join("disk/filler");
    let mut network = Network::new(dir, nodes);
    for round in 0..3 {
        network.load(6);
        std::thread::sleep(std::time::Duration::from_millis(random.below(1_500)));
        fill(&filler);
        let victim = &mut network.nodes[VICTIM];
        if round == 1 {
            // Killed at a random moment while its writes fail, instead of ending by itself.
            std::thread::sleep(std::time::Duration::from_millis(random.below(300)));
            victim.kill();
        } else {
            let code = victim.ended();
            assert_eq!(code, 1, "{}", victim.log());
            assert!(victim.log().contains(FULL) && victim.log().contains(ADVICE));
        }
        assert!(!victim.log().contains("panicked"), "{}", victim.log());
        network.others_go_on();
        // On a disk that is still full it does not start, or stops again, and says why.
        fill(&filler);
        let victim = &mut network.nodes[VICTIM];
        victim.spawn(&UP);
        assert_eq!(victim.ended(), 1, "{}", victim.log());
        let log = victim.log();
        assert!(log.contains(ADVICE) || log.contains("has room"), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        std::fs::remove_file(&filler).unwrap();
        network.nodes[VICTIM].start(&UP);
    }
    network.assert_whole();
    drop((network, mount));
}

/// The system refuses to let files grow (EFBIG), which needs no right to mount anything.
#[test]
fn files_that_may_not_grow_stop_one_validator_and_it_comes_back() {
    let dir = Dir::new("grow");
    let nodes = found(&dir, NODES);
    let mut network = Network::new(dir, nodes);
    network.load(4);
    network.others_go_on();
    let state = network.nodes[VICTIM].data.join("state.redb");
    assert_eq!(network.nodes[VICTIM].stop(), 0);
    // A little more than the database has now, in blocks of 512 bytes. The signal that the system
    // sends as well is ignored, so that the write itself fails.
    for room in [0, 64] {
        let blocks = std::fs::metadata(&state).unwrap().len() / 512 + room;
        let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let victim = &mut network.nodes[VICTIM];
        victim.within = ["sh", "-c", &limit, "sh"].map(String::from).to_vec();
        victim.spawn(&UP);
        // Work until there is no room for it.
        let mut rounds = 0;
        while network.nodes[VICTIM].is_running() {
            network.others_go_on();
            rounds += 1;
            assert!(rounds < 100, "the database never grew");
        }
        let victim = &mut network.nodes[VICTIM];
        assert_eq!(victim.ended(), 1, "{}", victim.log());
        let log = victim.log();
        assert!(log.contains(FULL) && log.contains(ADVICE) && !log.contains("panicked"), "{log}");
    }
    let victim = &mut network.nodes[VICTIM];
    victim.within = Vec::new();
    victim.start(&UP);
    network.assert_whole();
}

#[test]
fn ports_cannot_be_taken_from_a_running_node_and_taken_ones_are_named() {
    let dir = Dir::new("ports");
    let nodes = found(&dir, NODES);
    let mut network = Network::new(dir, nodes);
    let victim = &mut network.nodes[VICTIM];
    let (http, listen) = (victim.http_address(), victim.listen().to_string());
    let udp_port = listen.rsplit(':').next().unwrap();
    assert!(TcpListener::bind(&http).is_err() && UdpSocket::bind(&listen).is_err());
    let everywhere = format!("0.0.0.0:{udp_port}");
    assert!(UdpSocket::bind(everywhere).is_err(), "half of its datagrams could be taken");
    victim.kill();
    let (tcp, udp) = (TcpListener::bind(&http).unwrap(), UdpSocket::bind(&listen).unwrap());
    let up = |listen: &str, http: &str| {
        ["up", "--quiet", "--listen", listen, "--http", http].map(String::from)
    };
    let try_up = |node: &Node, listen: &str, http: &str| {
        let words = up(listen, http);
        node.run(&words.each_ref().map(String::as_str))
    };
    try_up(victim, "127.0.0.1:0", &http).fails(1, &[&http, "choose another with --http"]);
    try_up(victim, &listen, "127.0.0.1:0").fails(1, &[&listen, "choose another port"]);
    try_up(victim, &listen, &http).fails(1, &["cannot listen on", "choose another"]);
    network.others_go_on();
    drop((tcp, udp));
    network.nodes[VICTIM].start(&UP);
    network.assert_whole();
}
