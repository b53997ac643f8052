//! A peer that sends what makes no sense is cut off by the controller, and let back when its term is over.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_node::{Home, setup};
use anthill_types::ConsensusKind;
use common::{start, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_nonsense_is_cut_off_for_a_time() {
    let folder = std::env::temp_dir().join(format!("anthill-quarantine-{}", std::process::id()));
    let homes = ["a", "b"].map(|name| Home::new(folder.join(name)));
    let params = setup::fast_params();
    setup::found(&homes, "quarantine", params, 1_000, &[], ConsensusKind::default()).unwrap();
    let [first, second] = homes;
    let a = start(first, &[("t1_ms", "20")], vec![]).await;
    let b = start(second, &[("t1_ms", "1000")], a.handle.shared.addresses()).await;
    let (here, there) = (a.handle.shared.clone(), b.handle.shared.clone());
    let (own, bad) = (here.keys.node_key().0, there.keys.node_key().0);
    until("they know each other", || here.connected().contains(&bad)).await;
    for _ in 0..60 {
        there.net.send(&own, vec![0xff; 8]).unwrap();
    }
    until("it is cut off", || here.quarantine.holds(&bad)).await;
    let state = here.steering.state();
    assert!(here.net.malformed()[&bad] >= 15, "{:?}", here.net.malformed());
    until("its connection is gone", || !here.connected().contains(&bad)).await;
    until("the effect is told", || {
        here.steering.state().effects.iter().any(|e| e.contains("cut peer"))
    })
    .await;
    assert!(here.steering.state().actions.get("QUARANTINE") > Some(&0), "{:?}", state.actions);
    // It dials on and is not let in, until its term is over.
    until("it is let back", || !here.quarantine.holds(&bad)).await;
    until("it is back", || here.connected().contains(&bad)).await;
    a.handle.stop().await;
    b.handle.stop().await;
    let _ = (a.wait().await, b.wait().await);
    let _ = std::fs::remove_dir_all(folder);
}
