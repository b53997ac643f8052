//! Replicas of one cluster: they find each other by a shared name, let each other in by a shared
//! secret, and are one network. One of them founds it when there is none.

mod exchange;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anthill_engine::wire::PeerAddress;
use anthill_identity::ClusterSecret;
use anthill_ledger::LedgerError;
use anthill_net::ticket::Ticket;
use anthill_types::state::Account;
use anthill_types::{Amount, GenesisHash, keys};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::config::Config;
use crate::error::NodeError;
use crate::handle::Handle;
use crate::home::Home;
use crate::join;
use crate::shared::Shared;
use exchange::{Answer, Asked, Question};

/// Exchanges at once; further ones are hung up on.
const MAX_EXCHANGES: usize = 16;
/// Most addresses that are asked in one round.
const MAX_REPLICAS: usize = 64;
/// Largest secret file in bytes.
const MAX_SECRET: u64 = 4096;
/// How long the founder looks for a network that exists already.
const FOUND_AFTER: Duration = Duration::from_secs(5);
/// Pause between two rounds of a replica that is in no network yet.
const ROUND: Duration = Duration::from_millis(500);
/// Pause between two looks for replicas that have moved.
const FOLLOW: Duration = Duration::from_secs(10);
/// How long a ticket is good: the asker uses it at once.
const TICKET: Duration = Duration::from_secs(300);
/// What a replica puts into a newcomer's bond, when it has it twice.
const BOND: Amount = Amount::credits(100);

/// A cluster as the configuration names it.
pub struct Cluster {
    names: Vec<String>,
    listen: SocketAddr,
    ordinal: Option<u64>,
    secret: ClusterSecret,
}

/// How a replica without a chain gets one.
pub enum Entry {
    /// There is no network yet, and this replica is the one that founds it.
    Found,
    /// It was let in: the nodes to dial.
    Joined(Vec<PeerAddress>),
}

fn wrong(reason: impl Into<String>) -> NodeError {
    NodeError::Cluster(reason.into())
}

impl Cluster {
    /// The cluster of a configuration; `None` when it names none.
    ///
    /// # Errors
    /// The secret is missing or too short, or a name has no port.
    pub fn from_config(config: &Config) -> Result<Option<Self>, NodeError> {
        let names: Vec<String> = config.cluster().map(ToString::to_string).collect();
        let Some(first) = names.first() else { return Ok(None) };
        let port = first.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port: u16 = port.ok_or_else(|| wrong(format!("{first:?} names no port")))?;
        let listen = config.cluster_listen();
        let listen = listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], port)));
        let secret = read_secret(config.cluster_secret())?;
        Ok(Some(Self { names, listen, ordinal: config.cluster_pod().and_then(ordinal), secret }))
    }

    /// The addresses of all replicas, as the names say now, ascending.
    async fn resolve(&self) -> BTreeSet<SocketAddr> {
        let mut found = BTreeSet::new();
        for name in &self.names {
            match tokio::net::lookup_host(name).await {
                Ok(addresses) => found.extend(addresses.take(MAX_REPLICAS)),
                // A headless service has no name before its first pod has an address.
                Err(error) => tracing::debug!(%name, %error, "the cluster's name is not known yet"),
            }
        }
        found
    }

    /// True for the one replica that may found: the one with ordinal 0, or else with the lowest address.
    fn is_founder(&self, all: &BTreeSet<SocketAddr>) -> bool {
        match self.ordinal {
            Some(ordinal) => ordinal == 0,
            None => all.first() == Some(&self.listen),
        }
    }

    /// Gets a chain for an empty folder: asks the replicas that run until one lets it in. The founder
    /// gives up asking after a while and founds.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub async fn enter(&self, home: &Home, config: &Config) -> Result<Entry, NodeError> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            let all = self.resolve().await;
            for address in all.iter().filter(|a| **a != self.listen) {
                match self.join_at(*address, home, config).await {
                    Ok(peers) => return Ok(Entry::Joined(peers)),
                    Err(reason) => tracing::debug!(%address, %reason, "not let in there"),
                }
            }
            if begun.elapsed() >= FOUND_AFTER {
                if self.is_founder(&all) {
                    return Ok(Entry::Found);
                }
                if !told {
                    let all = all.len();
                    tracing::warn!(
                        replicas = all,
                        "no replica of the cluster lets this one in yet"
                    );
                    told = true;
                }
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    async fn join_at(
        &self,
        address: SocketAddr,
        home: &Home,
        config: &Config,
    ) -> Result<Vec<PeerAddress>, String> {
        let asked = Asked { question: Question::Ticket, genesis: None };
        let answer = exchange::ask(address, &self.secret, &asked).await?;
        let ticket = answer.ticket.ok_or("it gives no ticket now")?;
        let ticket = Ticket::decode(&ticket).map_err(|e| e.to_string())?;
        join::enter(home, config, &ticket).await.map_err(|e| e.to_string())
    }

    /// Answers the other replicas, and follows them when their addresses change, for as long as the
    /// node runs.
    ///
    /// # Errors
    /// The cluster's address is taken, or not this machine's.
    pub async fn serve(self, handle: Handle) -> Result<(), NodeError> {
        let listener = TcpListener::bind(self.listen).await;
        let listener = listener.map_err(|e| {
            wrong(format!(
                "cannot listen on {}: {e}; choose another with --cluster-listen",
                self.listen
            ))
        })?;
        let cluster = Arc::new(self);
        tokio::spawn(cluster.clone().answer_all(listener, handle.clone()));
        tokio::spawn(cluster.follow(handle));
        Ok(())
    }

    async fn answer_all(self: Arc<Self>, listener: TcpListener, handle: Handle) {
        let seats = Arc::new(Semaphore::new(MAX_EXCHANGES));
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let Ok(seat) = seats.clone().try_acquire_owned() else { continue };
            let (cluster, shared) = (self.clone(), handle.shared.clone());
            tokio::spawn(async move {
                let answered = cluster.answer_one(stream, &shared);
                match tokio::time::timeout(exchange::EXCHANGE, answered).await {
                    Ok(Ok(true)) => {}
                    Ok(Ok(false)) => tracing::warn!(%from, "refused: it does not know the secret"),
                    Ok(Err(error)) => tracing::debug!(%from, %error, "an exchange ended early"),
                    Err(_) => tracing::debug!(%from, "an exchange took too long"),
                }
                drop(seat);
            });
        }
    }

    async fn answer_one(&self, mut stream: TcpStream, shared: &Shared) -> std::io::Result<bool> {
        let Some((exchange, asked)) = exchange::hear(&mut stream, &self.secret).await? else {
            return Ok(false);
        };
        let leaving = shared.drain.is_begun();
        let ticket = (asked.question == Question::Ticket && !leaving).then(|| ticket(shared));
        let answer = Answer {
            genesis: shared.genesis_hash.to_string(),
            node: shared.keys.node_key().to_string(),
            addresses: shared.net.local_addrs().iter().map(ToString::to_string).collect(),
            ticket: ticket.transpose().map_err(std::io::Error::other)?,
        };
        exchange::answer(&mut stream, &self.secret, &exchange, &answer).await?;
        Ok(true)
    }

    /// Learns again and again where the others are: a pod that is restarted has another address.
    async fn follow(self: Arc<Self>, handle: Handle) {
        loop {
            for address in self.resolve().await.iter().filter(|a| **a != self.listen) {
                self.learn(*address, &handle.shared).await;
            }
            tokio::time::sleep(FOLLOW).await;
        }
    }

    async fn learn(&self, address: SocketAddr, shared: &Shared) {
        let asked = Asked { question: Question::Who, genesis: Some(shared.genesis_hash) };
        let Ok(answer) = exchange::ask(address, &self.secret, &asked).await else { return };
        let genesis: Option<GenesisHash> = answer.genesis.parse().ok();
        if genesis != Some(shared.genesis_hash) {
            let theirs = answer.genesis;
            tracing::error!(%address, %theirs, "a replica of this cluster is in another network");
            return;
        }
        if let Ok(node) = answer.node.parse() {
            shared.learn_address(&PeerAddress { node, addresses: answer.addresses });
        }
    }
}

/// A ticket with a bond, when this node can well pay it.
fn ticket(shared: &Shared) -> Result<String, NodeError> {
    let read = || -> Result<Amount, LedgerError> {
        let key = keys::account(&shared.keys.account_id());
        Ok(shared.state()?.get::<Account>(&key)?.unwrap_or_default().balance)
    };
    let rich = read()? >= Amount(BOND.0 * 2);
    join::ticket(shared, if rich { BOND } else { Amount::ZERO }, TICKET)
}

/// The number at the end of a pod's name.
fn ordinal(pod: &str) -> Option<u64> {
    pod.rsplit_once('-').and_then(|(_, number)| number.parse().ok())
}

fn read_secret(path: &str) -> Result<ClusterSecret, NodeError> {
    if path.is_empty() {
        return Err(wrong("a cluster needs a secret: name its file with --cluster-secret-file"));
    }
    let size = std::fs::metadata(path).map_err(|e| wrong(format!("{path}: {e}")))?.len();
    if size > MAX_SECRET {
        return Err(wrong(format!("{path} has {size} bytes: a secret has at most {MAX_SECRET}")));
    }
    let bytes = std::fs::read(path).map_err(|e| wrong(format!("{path}: {e}")))?;
    ClusterSecret::new(&bytes).map_err(|e| wrong(format!("{path}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(listen: &str, pod: Option<&str>) -> Cluster {
        Cluster {
            names: Vec::new(),
            listen: listen.parse().unwrap(),
            ordinal: pod.and_then(ordinal),
            secret: ClusterSecret::new(b"a secret of enough length").unwrap(),
        }
    }

    #[test]
    fn exactly_one_replica_founds() {
        let all: BTreeSet<SocketAddr> =
            (1..=9).map(|i| format!("127.0.0.{i}:7").parse().unwrap()).collect();
        let by_address = |i: u32| cluster(&format!("127.0.0.{i}:7"), None).is_founder(&all);
        assert_eq!((1..=9).filter(|i| by_address(*i)).collect::<Vec<_>>(), [1]);
        // A pod goes by its ordinal, wherever it is.
        let by_pod =
            |i: u32| cluster("0.0.0.0:7", Some(&format!("my-anthill-{i}"))).is_founder(&all);
        assert_eq!((0..9).filter(|i| by_pod(*i)).collect::<Vec<_>>(), [0]);
        // Who knows neither does not found.
        assert!(!cluster("0.0.0.0:7", None).is_founder(&all));
        assert!(!cluster("127.0.0.1:7", None).is_founder(&BTreeSet::new()));
        assert_eq!((ordinal("a-b-12"), ordinal("a-b"), ordinal("12")), (Some(12), None, None));
    }
}
