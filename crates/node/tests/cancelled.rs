//! A task that its submitter cancels, or that is refunded, stops where it runs, long before its cost limit.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anthill_node::moving::{MoveError, move_to};
use anthill_node::node::Node;
use anthill_node::sandbox::wasm::ModuleParams;
use anthill_node::shared::Shared;
use anthill_node::{Home, setup};
use anthill_types::state::Phase;
use anthill_types::task::task_id;
use anthill_types::{Body, Bytes, ChainParams, Cid, ConsensusKind, TaskId, TaskSpec};
use common::{start, until};

/// One virtual node, which may go to the others.
const SETTINGS: [(&str, &str); 2] = [("virtual_nodes", "1"), ("partners", "all")];
/// Cost units; a node does some 100,000 a second.
const LIMIT: u64 = 1_000_000_000;

/// A guest that never ends: with `on` its first step does not end either.
fn endless(on: &str) -> Vec<u8> {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "step") (param i32) (result i32) (local $i i32)
            (loop $on
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $on (ON)))
            (i32.const 0)))"#;
    wat::parse_str(text.replace("ON", on)).unwrap()
}

const ENDLESS_STEP: &str = "i32.const 1";
const ENDLESS_STEPS: &str = "i32.lt_u (local.get $i) (i32.const 100000)";

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("anthill-cancelled-{name}-{}", std::process::id()))
}

async fn founded(folder: &std::path::Path, names: &[&str]) -> Vec<Node> {
    let homes: Vec<Home> = names.iter().map(|name| Home::new(folder.join(name))).collect();
    // Nothing is given up because no reply came yet: only what is cancelled, or at its deadline.
    let params = ChainParams { reply_blocks: 900, ..setup::fast_params() };
    setup::found(&homes, "cancelled", params, 1_000, &[], ConsensusKind::default()).unwrap();
    let (mut nodes, mut peers) = (Vec::new(), Vec::new());
    for home in homes {
        let node = start(home, &SETTINGS, peers.clone()).await;
        peers = node.handle.shared.addresses();
        nodes.push(node);
    }
    nodes
}

/// Submits the guest through the chain, directed to the node itself.
async fn submit(node: &Node, on: &str, deadline_blocks: u32) -> TaskId {
    let shared = &node.handle.shared;
    let module = endless(on);
    let program = Cid::of(&module);
    shared.net.put_blob(module).await.unwrap();
    let spec = TaskSpec {
        program,
        params: Bytes(ModuleParams::new(1, b"").to_bytes()),
        input: Cid::of(b""),
        input_len: 0,
        cost_limit: LIMIT,
        max_replicas: 1,
        directed: Some(shared.keys.node_key()),
        needs: None,
        deadline_blocks,
    };
    let submitted = node.handle.submit(Body::SubmitTasks(vec![spec])).await.unwrap();
    task_id(&submitted.sender, submitted.sequence)
}

async fn cancel(node: &Node, task_id: TaskId) {
    node.handle.submit(Body::CancelTask { task_id }).await.unwrap();
}

fn phase(shared: &Shared, id: &TaskId) -> Option<Phase> {
    shared.state().unwrap().task(id).unwrap().map(|task| task.phase)
}

/// The virtual node has no task, and the flow records say that so many were stopped, far below the limit.
async fn idle_with(shared: &Arc<Shared>, stopped: u64) {
    until("the virtual node is idle", || {
        let work = shared.fleet.stats();
        work.idle == 1 && work.waiting == 0
    })
    .await;
    until("the flow records hold it", || {
        shared.fleet.sync();
        shared.fleet.flows(100).iter().map(|flow| flow.total().stopped).sum::<u64>() == stopped
    })
    .await;
    let work = shared.fleet.stats();
    assert!(work.cost < LIMIT / 10 && work.done == 0, "{work:?}");
    assert_eq!(work.stopped, stopped, "{work:?}");
}

async fn end(nodes: Vec<Node>, folder: PathBuf) {
    for node in nodes {
        node.handle.stop().await;
        let _ = node.wait().await;
    }
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_task_frees_its_virtual_node() {
    let folder = folder("alone");
    let nodes = founded(&folder, &["a"]).await;
    let (node, shared) = (&nodes[0], nodes[0].handle.shared.clone());
    // Between two steps, and inside a step that never ends.
    for (count, on) in [(1, ENDLESS_STEPS), (2, ENDLESS_STEP)] {
        let id = submit(node, on, 10_000).await;
        until("it runs", || shared.fleet.stats().running == 1).await;
        // One more waits for the only virtual node.
        let waits = submit(node, on, 10_000).await;
        until("another one waits", || shared.fleet.stats().waiting == 1).await;
        cancel(node, waits).await;
        until("it left the queue", || shared.fleet.stats().waiting == 0).await;
        assert_eq!(shared.fleet.stats().running, 1, "the other one goes on");
        cancel(node, id).await;
        idle_with(&shared, count).await;
        assert!(matches!(phase(&shared, &id), Some(Phase::Cancelled { .. })));
    }
    // One that nobody cancels is given up at its deadline, and then stops too.
    let id = submit(node, ENDLESS_STEP, 30).await;
    until("it runs", || shared.fleet.stats().running == 1).await;
    idle_with(&shared, 3).await;
    assert!(matches!(phase(&shared, &id), Some(Phase::Refunded { .. })));
    end(nodes, folder).await;
}

/// The owner tells the machine to which it moved the task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_task_that_moved_stops_on_the_other_machine() {
    let folder = folder("moved");
    let nodes = founded(&folder, &["a", "b"]).await;
    let (here, there) = (nodes[0].handle.shared.clone(), nodes[1].handle.shared.clone());
    let to = there.keys.node_key().0;
    until("they know each other", || here.connected().contains(&to)).await;
    let id = submit(&nodes[0], ENDLESS_STEPS, 10_000).await;
    let busy = || here.fleet.rows().into_iter().find(|row| row.running_cost > Some(0));
    until("it runs", || busy().is_some()).await;
    let vn = busy().unwrap().id;
    // Whoever asked for the move and does not wait loses nothing.
    let asked = tokio::time::timeout(Duration::from_millis(1), move_to(&here, vn, to)).await;
    assert!(asked.is_err(), "{asked:?}");
    until("it runs there", || there.fleet.stats().work > 0).await;
    assert_eq!(here.fleet.rows()[0].phase, "migrate");
    assert_eq!(move_to(&here, vn, to).await, Err(MoveError::Nothing(vn)));
    cancel(&nodes[0], id).await;
    idle_with(&there, 1).await;
    assert_eq!(there.moves.hosted(), 0);
    until("its own virtual node takes tasks again", || {
        here.fleet.rows()[0].phase == "active" && here.fleet.stats().idle == 1
    })
    .await;
    assert!(matches!(phase(&here, &id), Some(Phase::Cancelled { .. })));
    end(nodes, folder).await;
}
