//! Real nodes on loopback agree with either consensus back-end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_types::{ChainParams, ConsensusKind};
use common::chain::{assert_one_chain, genesis, header};
use common::{Dir, Node, found_as, until};

const NODES: usize = 5;
const HEIGHTS: u64 = 40;

/// Blocks follow one another as fast as the nodes agree, so the time between them is that of finality.
fn agree(consensus: ConsensusKind) {
    let dir = Dir::new(consensus.name());
    let place = |i| Node::new(dir.join(&format!("node-{i}")));
    let fast = anthill_node::setup::fast_params();
    let params = ChainParams { block_interval_ms: 10, idle_interval_ms: 10, ..fast };
    let mut nodes = found_as((0..NODES).map(place).collect(), params, consensus);
    nodes.iter_mut().for_each(|node| node.start(&["up"]));
    let height = |node: &Node| node.status()?["height"].as_u64();
    until("blocks are agreed on", || {
        nodes.iter().all(|node| height(node).is_some_and(|h| h >= HEIGHTS)).then_some(())
    });
    assert!(assert_one_chain(&nodes) >= HEIGHTS);
    let genesis = genesis(&nodes[0]);
    assert_eq!(genesis.consensus, consensus);
    let time = |height| header(&nodes[0], &genesis, height).0.time_ms;
    let each = (time(HEIGHTS) - time(10)) as f64 / (HEIGHTS - 10) as f64;
    println!("{}: {each:.0} ms per block, {NODES} nodes on one machine", consensus.name());
}

#[test]
fn five_nodes_agree_by_bft() {
    agree(ConsensusKind::Bft);
}

#[test]
fn five_nodes_agree_by_snowman() {
    agree(ConsensusKind::Snowman);
}

/// The choice is made when the network is founded; who starts again, or joins, follows the genesis.
#[test]
fn up_founds_a_network_with_the_back_end_that_was_named() {
    let dir = Dir::new("named");
    let mut node = Node::new(dir.join("node"));
    node.start(&["up", "--fast", "--consensus", "snowman"]);
    until("a block is there", || (node.status()?["height"].as_u64()? > 2).then_some(()));
    assert_eq!(genesis(&node).consensus, ConsensusKind::Snowman);
}
