//! Tickets and joining: how a newcomer gets in, on both sides.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anthill_identity::KeyPair;
use anthill_net::ticket::{TICKET_VERSION, Ticket};
use anthill_net::{NetConfig, Network, PeerId};
use anthill_types::{
    AccountId, Admission, Admit, Amount, Body, Digest, Genesis, GenesisHash, NodeKey, Signature,
    SignedAdmission, SignedTransaction, Transaction, Wire,
};
use tokio::sync::{mpsc, oneshot};

use crate::calibrate;
use crate::config::Config;
use crate::driver::now_ms;
use crate::error::NodeError;
use crate::home::{Home, Signers, random};
use crate::input::{Command, Input};
use crate::shared::Shared;
use anthill_engine::beacon::{self, BeaconChain};
use anthill_engine::wire::{JoinReply, JoinRequest, PeerAddress};

/// Most addresses in a welcome: gossip brings the rest.
const MAX_WELCOME: usize = 64;
/// How long a newcomer waits for a block that admits it.
const JOIN_TIMEOUT: Duration = Duration::from_secs(40);

/// Makes a ticket: signed with the account key, for one newcomer, until it expires.
///
/// # Errors
/// The system gives no randomness.
pub fn ticket(shared: &Shared, bond: Amount, valid: Duration) -> Result<String, NodeError> {
    let admission = Admission {
        genesis: shared.genesis_hash,
        nonce: Digest(random::<32>()?),
        issuer: shared.keys.account_id(),
        expires_ms: now_ms() + valid.as_millis() as u64,
        sponsored_bond: bond,
    };
    let genesis = &shared.genesis_hash.0;
    let signature = shared.keys.account.sign("admission", genesis, &admission.to_bytes());
    let signed = SignedAdmission { admission, signature: Signature(signature) };
    let ticket = Ticket {
        version: TICKET_VERSION,
        genesis: *genesis,
        peers: vec![(shared.keys.node_key().0, shared.net.local_addrs())],
        admission: signed.to_bytes(),
    };
    ticket.encode().map_err(|e| NodeError::Join(e.to_string()))
}

/// The transaction by which a newcomer joins.
///
/// # Errors
/// The ticket carries no admission, or one that has expired.
pub fn admit_transaction(
    keys: &Signers,
    ticket: &Ticket,
    offered: u64,
    capabilities: Vec<Digest>,
) -> Result<SignedTransaction, NodeError> {
    let admission = SignedAdmission::from_bytes(&ticket.admission)
        .map_err(|e| NodeError::Join(format!("the ticket is damaged: {e}")))?;
    if admission.admission.expires_ms < now_ms() {
        return Err(NodeError::Join("the ticket has expired: ask for a new one".into()));
    }
    let account = keys.account_id();
    let genesis = &ticket.genesis;
    let bind = |key: &KeyPair| Signature(key.sign("bind", genesis, &account.0));
    let body = Body::Admit(Admit {
        admission,
        node: keys.node_key(),
        validator: keys.validator_key(),
        node_proof: bind(&keys.node),
        validator_proof: bind(&keys.validator),
        beacon_head: BeaconChain::new(&keys.beacon, 0, beacon::LENGTH).head(),
        offered,
        capabilities,
    });
    let transaction = Transaction { sender: account, sequence: 0, body };
    let signature = keys.account.sign("transaction", genesis, &transaction.to_bytes());
    Ok(SignedTransaction { transaction, signature: Signature(signature) })
}

/// Joins with a ticket: makes keys in an empty folder, asks to be let in, and saves the chain.
/// Gives the nodes to dial.
///
/// # Errors
/// The folder cannot be written, or the network says no.
pub async fn enter(
    home: &Home,
    config: &Config,
    ticket: &Ticket,
) -> Result<Vec<PeerAddress>, NodeError> {
    let keys = home.create_keys()?;
    let capabilities = crate::node::capabilities(home)?;
    // The epoch's length is not known yet; the node corrects its offer once it runs.
    let rate = calibrate::units_per_second();
    let offered = calibrate::offer(rate, config.virtual_nodes(), config.cpu(), 1_000);
    let admit = admit_transaction(&keys, ticket, offered, capabilities)?;
    let nobody = Arc::new(|_: PeerId| false);
    let nothing = Arc::new(|_: PeerId, _: [u8; 32]| false);
    let blobs = home.blobs();
    let net = NetConfig::new(keys.secret, config.listen(), ticket.genesis, blobs, nobody, nothing);
    let (net, _events) = Network::start(net).await?;
    let asked = ask(&net, ticket, admit).await;
    net.shutdown().await;
    let (genesis, peers) = asked?;
    // First whom to call, then the chain: a folder with a chain counts as joined.
    let known: BTreeMap<String, &Vec<String>> =
        peers.iter().map(|p| (p.node.to_string(), &p.addresses)).collect();
    home.save_json("peers.json", &known)?;
    home.save_genesis(&genesis)?;
    Ok(peers)
}

/// The nodes that a ticket names.
pub fn named_by(ticket: &Ticket) -> Vec<PeerAddress> {
    let address = |(peer, addresses): &(PeerId, Vec<SocketAddr>)| PeerAddress {
        node: NodeKey(*peer),
        addresses: addresses.iter().map(ToString::to_string).collect(),
    };
    ticket.peers.iter().map(address).collect()
}

/// Asks the ticket's nodes, in turn, to be let in; gives the chain and its nodes.
///
/// # Errors
/// Nobody answers, or the answer is no.
pub async fn ask(
    net: &Network,
    ticket: &Ticket,
    admit: SignedTransaction,
) -> Result<(Genesis, Vec<PeerAddress>), NodeError> {
    let request = JoinRequest { admit }.to_bytes();
    let mut last = String::from("the ticket names no node");
    for (peer, addresses) in &ticket.peers {
        match ask_one(net, *peer, addresses, &request).await {
            Ok(JoinReply::Welcome { genesis, peers }) => {
                if genesis.hash() != GenesisHash(ticket.genesis) {
                    return Err(NodeError::Join("the node answered for another chain".into()));
                }
                return Ok((genesis, peers));
            }
            Ok(JoinReply::Refused(reason)) => return Err(NodeError::Join(reason)),
            Err(reason) => last = reason,
        }
    }
    Err(NodeError::Join(format!(
        "{last}; is the node that made the ticket running, and can this machine reach it?"
    )))
}

async fn ask_one(
    net: &Network,
    peer: PeerId,
    addresses: &[SocketAddr],
    request: &[u8],
) -> Result<JoinReply, String> {
    let asked = net.join_request(addresses.to_vec(), peer, request, JOIN_TIMEOUT);
    let bytes = asked.await.map_err(|e| e.to_string())?;
    JoinReply::from_bytes(&bytes).map_err(|e| e.to_string())
}

/// Answers a newcomer: relays its transaction, waits until it is in a block, and says welcome.
pub fn answer(
    shared: Arc<Shared>,
    outbox: mpsc::Sender<Input>,
    from: PeerId,
    bytes: Vec<u8>,
    reply: oneshot::Sender<Vec<u8>>,
) {
    let runtime = shared.runtime.clone();
    runtime.spawn(async move {
        let answer = match admit(&shared, &outbox, from, &bytes).await {
            Ok(()) => JoinReply::Welcome {
                genesis: shared.genesis.clone(),
                peers: shared.addresses().into_iter().take(MAX_WELCOME).collect(),
            },
            Err(reason) => JoinReply::Refused(reason),
        };
        let _ = reply.send(answer.to_bytes());
    });
}

async fn admit(
    shared: &Shared,
    outbox: &mpsc::Sender<Input>,
    from: PeerId,
    bytes: &[u8],
) -> Result<(), String> {
    let request = JoinRequest::from_bytes(bytes).map_err(|e| e.to_string())?;
    let account = request.admit.transaction.sender;
    let Body::Admit(join) = &request.admit.transaction.body else {
        return Err("not a request to join".into());
    };
    let node = join.node;
    if node.0 != from {
        return Err("the request names another node than the one that sends it".into());
    }
    let mut events = shared.events.subscribe();
    if is_admitted(shared, &account, &node)? {
        return Ok(());
    }
    let (reply, taken) = oneshot::channel();
    let command = Command::Relay { signed: Box::new(request.admit), reply };
    outbox.send(Input::Command(command)).await.map_err(|_| "the node is stopping".to_string())?;
    taken.await.map_err(|_| "the node is stopping".to_string())?.map_err(|e| e.to_string())?;
    let deadline = tokio::time::Instant::now() + JOIN_TIMEOUT;
    loop {
        if is_admitted(shared, &account, &node)? {
            return Ok(());
        }
        let next = tokio::time::timeout_at(deadline, events.recv()).await;
        next.map_err(|_| "no block came in time: is the network stuck?".to_string())?.ok();
    }
}

fn is_admitted(
    shared: &Shared,
    account: &AccountId,
    node: &anthill_types::NodeKey,
) -> Result<bool, String> {
    let found =
        shared.state().and_then(|s| s.node_of_account(account)).map_err(|e| e.to_string())?;
    Ok(found.is_some_and(|n| n.node == *node))
}
