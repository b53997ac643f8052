//! APPLY_BALANCE on a running node: a task leaves a node where others wait for a partner that has none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_node::sandbox::wasm::ModuleParams;
use anthill_node::vn::{Job, Origin};
use anthill_node::{Home, setup};
use anthill_types::ConsensusKind;
use common::{start, until};

/// A guest of 30,000 steps, some seconds of work; its output is how many it made.
const LONG: &str = r#"(module
    (import "anthill" "output" (func $output (param i32 i32)))
    (memory (export "memory") 1)
    (func (export "step") (param i32) (result i32) (local $i i32)
        (loop $on
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $on (i32.lt_u (local.get $i) (i32.const 200000))))
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (if (result i32) (i32.lt_u (i32.load (i32.const 0)) (i32.const 30000))
            (then (i32.const 0))
            (else (call $output (i32.const 0) (i32.const 4)) (i32.const 1)))))"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_sends_a_task_to_a_partner_without_work() {
    let folder = std::env::temp_dir().join(format!("anthill-balance-{}", std::process::id()));
    let homes = ["a", "b"].map(|name| Home::new(folder.join(name)));
    let params = setup::fast_params();
    setup::found(&homes, "balance", params, 1_000, &[], ConsensusKind::default()).unwrap();
    let [first, second] = homes;
    let settings = |t1_ms| [("virtual_nodes", "1"), ("partners", "all"), ("t1_ms", t1_ms)];
    let a = start(first, &settings("20"), vec![]).await;
    // A minute for T1: its own controller does nothing meanwhile.
    let b = start(second, &settings("60000"), a.handle.shared.addresses()).await;
    let (here, there) = (a.handle.shared.clone(), b.handle.shared.clone());
    let partner = there.keys.node_key().0;
    until("they know each other", || here.connected().contains(&partner)).await;
    until("the partner has said that it has room", || here.moves.idlest(&here).is_some()).await;
    let module = wat::parse_str(LONG).unwrap();
    here.net.put_blob(module.clone()).await.unwrap();
    let job = Job {
        program: here.fleet.install_module(&module),
        params: ModuleParams::new(1, b"").to_bytes(),
        input: vec![],
        cost_limit: u64::MAX >> 1,
        origin: Origin::Local,
        snapshot: None,
    };
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (fleet, job) = (here.fleet.clone(), job.clone());
            tokio::spawn(async move { fleet.run(job).await.unwrap() })
        })
        .collect();
    until("a task is sent", || {
        here.steering.state().effects.iter().any(|effect| effect.contains("a task goes to"))
    })
    .await;
    until("the partner works on it", || there.fleet.stats().running == 1).await;
    assert!(here.steering.state().actions.get("APPLY_BALANCE") > Some(&0));
    let mut costs = Vec::new();
    for task in tasks {
        let outcome = task.await.unwrap();
        assert_eq!(outcome.result.unwrap(), 30_000u32.to_le_bytes());
        costs.push(outcome.cost);
    }
    assert!(costs.iter().all(|cost| *cost == costs[0]), "moved or not: {costs:?}");
    assert!(there.fleet.stats().done > 0 && here.fleet.stats().done < 4);
    let log = std::fs::read_to_string(here.home.path().join("audit.jsonl")).unwrap();
    assert!(log.contains("a task goes to"), "the audit log holds it");
    a.handle.stop().await;
    b.handle.stop().await;
    let _ = (a.wait().await, b.wait().await);
    let _ = std::fs::remove_dir_all(folder);
}
