//! The demo's processes: nodes on loopback, each with a data folder of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anthill_node::index::plan::Plan;
use anthill_node::programs::{Embed, Models};
use anthill_node::views::{EpochView, PaymentView, StatusView};
use anthill_node::{Home, calibrate, setup};
use anthill_types::task::program;
use anthill_types::{Cid, ConsensusKind, GenesisHash};

use super::story::{Story, micro};
use crate::client::Client;
use crate::error::CliError;

/// One process.
pub struct Member {
    /// Node key.
    pub key: String,
    home: Home,
    listen: String,
    liar: bool,
    child: Option<Child>,
}

/// All processes; they end with it.
pub struct Cluster {
    root: PathBuf,
    genesis: GenesisHash,
    members: Vec<Member>,
}

/// A free UDP port of loopback, for a node that must keep it over a restart.
fn free_port() -> Result<String, CliError> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|s| s.local_addr());
    let address = socket.map_err(|error| CliError::File { path: "a UDP port".into(), error })?;
    Ok(address.to_string())
}

impl Cluster {
    /// Founds a network of validators, each in a folder below `root`.
    pub fn found(root: &Path, validators: usize) -> Result<Self, CliError> {
        let homes: Vec<Home> =
            (0..validators).map(|i| Home::new(root.join(format!("node-{i}")))).collect();
        let capabilities = anthill_node::node::capabilities(&Home::new(root))?;
        let params = setup::fast_params();
        let offered = calibrate::offer(calibrate::units_per_second(), 1, 100, params.epoch_ms);
        let genesis =
            setup::found(&homes, "demo", params, offered, &capabilities, ConsensusKind::Bft)?;
        let mut members = Vec::new();
        for home in homes {
            let key = home.keys()?.node_key().to_string();
            members.push(Member { key, home, listen: free_port()?, liar: false, child: None });
        }
        let addresses: BTreeMap<String, Vec<String>> =
            members.iter().map(|m| (m.key.clone(), vec![m.listen.clone()])).collect();
        for member in &members {
            member.home.save_json("peers.json", &addresses)?;
        }
        Ok(Self { root: root.to_path_buf(), genesis: genesis.hash(), members })
    }

    /// The folder of everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The chain.
    pub fn genesis(&self) -> &GenesisHash {
        &self.genesis
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Number of validators.
    pub fn validators(&self) -> usize {
        self.members.iter().filter(|m| !m.liar).count()
    }

    /// The liars.
    pub fn liars(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.liar)
    }

    /// A member.
    pub fn node(&self, i: usize) -> &Member {
        &self.members[i]
    }

    /// The API of a member.
    pub fn client(&self, i: usize) -> Result<Client, CliError> {
        Client::open(&self.members[i].home)
    }

    /// Starts all validators and waits until each sees all others.
    pub fn start_all(&mut self, story: &Story) -> Result<(), CliError> {
        for i in 0..self.members.len() {
            self.spawn(i, &["up", "--quiet"])?;
        }
        for i in 0..self.members.len() {
            self.wait_until_up(i, self.members.len() - 1, story)?;
        }
        Ok(())
    }

    /// Starts a member that was killed, and waits until it is up.
    pub fn start(&mut self, i: usize, story: &Story) -> Result<(), CliError> {
        self.spawn(i, &["up", "--quiet"])?;
        self.wait_until_up(i, 1, story)
    }

    fn wait_until_up(&self, i: usize, peers: usize, story: &Story) -> Result<(), CliError> {
        story.until(&format!("node {i} is up"), || {
            let status: StatusView = self.client(i)?.get("/api/status")?;
            Ok((status.peers >= peers).then_some(()))
        })
    }

    fn spawn(&mut self, i: usize, words: &[&str]) -> Result<(), CliError> {
        let member = &mut self.members[i];
        let fail = |error| CliError::File { path: "anthill".into(), error };
        // What a killed process left behind says where it listened, not where this one will.
        let _ = std::fs::remove_file(member.home.file(crate::client::RUN_FILE));
        let log = member.home.path().with_extension("log");
        let log = File::options().create(true).append(true).open(log).map_err(fail)?;
        let mut command = Command::new(std::env::current_exe().map_err(fail)?);
        command.arg("--data").arg(member.home.path()).args(words);
        command.args(["--listen", &member.listen, "--http", "127.0.0.1:0"]);
        command.args([
            "--virtual-nodes",
            "1",
            "--attached",
            "--log",
            "info,arc_malachitebft_core_consensus=warn",
        ]);
        if member.liar {
            command.args(["--fault", "wrong-results"]);
        }
        // The open pipe ends the node with this process, however this process ends.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        member.child = Some(command.spawn().map_err(fail)?);
        Ok(())
    }

    /// Has a liar join with a ticket.
    pub fn join_liar(&mut self, ticket: &str) -> Result<(), CliError> {
        let home = Home::new(self.root.join(format!("liar-{}", self.liars().count())));
        let key = home.create_keys()?.node_key().to_string();
        self.members.push(Member { key, home, listen: free_port()?, liar: true, child: None });
        self.spawn(self.members.len() - 1, &["join", ticket])
    }

    /// Kills a member with SIGKILL.
    pub fn kill(&mut self, i: usize) -> Result<(), CliError> {
        if let Some(mut child) = self.members[i].child.take() {
            let ended = child.kill().and_then(|()| child.wait().map(|_| ()));
            ended.map_err(|error| CliError::File { path: "a node's process".into(), error })?;
        }
        Ok(())
    }

    /// Computes every accepted result of an index here; gives how many, and how many differ.
    pub fn recompute(&self, index: &str) -> Result<(usize, usize), CliError> {
        let home = &self.members[0].home;
        let plan = Plan::load(home.files(), &home.index(index))?;
        let plan = plan.ok_or_else(|| CliError::Failed("the index has no plan".into()))?;
        let models: Models = anthill_node::search::load_models(home)?;
        let mut sandbox = anthill_node::sandbox::Sandbox::new();
        sandbox.install(std::sync::Arc::new(Embed(models)));
        let model = plan.model_hash.parse().map_err(|_| CliError::Failed("no model".into()))?;
        let params = anthill_node::programs::embed_params(&model);
        let mut wrong = 0;
        for part in &plan.parts {
            let input = plan.input(part).0;
            let instance = sandbox.start(&program::embed(), &params, &input, part.cost);
            let instance = instance.map_err(|e| CliError::Failed(e.to_string()))?;
            let own = Cid::of(&instance.finish().to_output()).to_string();
            wrong += usize::from(part.output.as_ref() != Some(&own));
        }
        Ok((plan.parts.len(), wrong))
    }

    /// The newest epoch that paid anybody, once there is one.
    pub fn paying_epoch(&self) -> Result<Option<EpochView>, CliError> {
        let client = self.client(0)?;
        let latest: EpochView = client.get("/api/epochs/latest")?;
        let mut best: Option<EpochView> = None;
        for number in (0..=latest.epoch).rev().take(8) {
            let epoch: EpochView = client.get(&format!("/api/epochs/{number}"))?;
            let larger = |b: &EpochView| {
                epoch.rows.iter().map(|r| r.tasks).sum::<u64>()
                    > b.rows.iter().map(|r| r.tasks).sum()
            };
            if micro(&epoch.pool)? > 0 && best.as_ref().is_none_or(larger) {
                best = Some(epoch);
            }
        }
        Ok(best)
    }

    /// Micro-credits that were ever paid to a node.
    pub fn paid_to(&self, node: &str) -> Result<u128, CliError> {
        let client = self.client(0)?;
        let payments: Vec<PaymentView> = client.get("/api/payments")?;
        let mine = payments.iter().filter(|p| p.node == node);
        mine.map(|p| micro(&p.amount)).sum()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(child) = &mut member.child {
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Runs `anthill verify` as a process without a data folder; gives its exit code.
pub fn verify_elsewhere(file: &Path, genesis: &str) -> Result<i32, CliError> {
    let fail = |error| CliError::File { path: "anthill verify".into(), error };
    let mut command = Command::new(std::env::current_exe().map_err(fail)?);
    command.env_clear().arg("verify").arg(file).args(["--genesis", genesis, "--json"]);
    let output = command.stdin(Stdio::null()).output().map_err(fail)?;
    Ok(output.status.code().unwrap_or(-1))
}

/// The last lines of every node's log, for a story that does not hold.
pub fn last_logs(root: &Path) -> String {
    let mut text = String::new();
    let Ok(entries) = std::fs::read_dir(root) else { return text };
    let mut logs: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    logs.retain(|p| p.extension().is_some_and(|e| e == "log"));
    logs.sort();
    for path in logs {
        let log = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(8).collect();
        text.push_str(&format!("--- {}\n", path.display()));
        for line in lines.iter().rev() {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}
