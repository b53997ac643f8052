//! Founding a network: keys and genesis for one node, or for several at once.

use anthill_types::{
    Amount, BeaconValue, ChainParams, ConsensusKind, Digest, Genesis, GenesisBalance, GenesisNode,
};

use crate::driver::now_ms;
use crate::error::NodeError;
use crate::home::{Home, Signers, random};
use anthill_engine::beacon::{self, BeaconChain};

/// Credits that a founder starts with: working capital to submit tasks and sponsor newcomers.
pub const FOUNDER_BALANCE: Amount = Amount::credits(1_000_000);
/// Bond of a founding validator.
pub const FOUNDER_BOND: Amount = Amount::credits(1_000);

/// Parameters of a network for trying things out: seconds where a real one has minutes.
pub fn fast_params() -> ChainParams {
    ChainParams {
        block_interval_ms: 150,
        idle_interval_ms: 500,
        epoch_ms: 4_000,
        reply_blocks: 12,
        base_pool: Amount::credits(1_000),
        // A trial keeps its nodes busy for a thousandth of what they offer; full marks for that.
        e_ref: 1_000_000,
        ..ChainParams::default()
    }
}

/// Founds a network of the validators in these folders; each gets the same genesis.
///
/// # Errors
/// A folder holds a node already or cannot be written.
pub fn found(
    homes: &[Home],
    name: &str,
    params: ChainParams,
    offered: u64,
    capabilities: &[Digest],
    consensus: ConsensusKind,
) -> Result<Genesis, NodeError> {
    let mut nodes = Vec::new();
    let mut balances = Vec::new();
    for home in homes {
        let keys = home.create_keys()?;
        nodes.push(genesis_node(&keys, offered, capabilities));
        balances.push(GenesisBalance { account: keys.account_id(), amount: FOUNDER_BALANCE });
    }
    nodes.sort_by_key(|n| n.account);
    balances.sort_by_key(|b| b.account);
    let genesis = Genesis {
        version: 1,
        name: name.to_string(),
        time_ms: now_ms(),
        params,
        nodes,
        balances,
        beacon: BeaconValue(random::<32>()?),
        consensus,
    };
    for home in homes {
        home.save_genesis(&genesis)?;
    }
    Ok(genesis)
}

fn genesis_node(keys: &Signers, offered: u64, capabilities: &[Digest]) -> GenesisNode {
    GenesisNode {
        account: keys.account_id(),
        node: keys.node_key(),
        validator: keys.validator_key(),
        beacon_head: BeaconChain::new(&keys.beacon, 0, beacon::LENGTH).head(),
        bond: FOUNDER_BOND,
        offered,
        capabilities: capabilities.to_vec(),
    }
}
