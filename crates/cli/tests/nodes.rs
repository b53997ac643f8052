//! The number of nodes, and the loss of one in the middle, do not change what comes out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Dir, Node, documents, micro, until};
use serde_json::{Value, json};

const QUESTIONS: [&str; 3] =
    ["what is known about the moon?", "how do bees make honey?", "measure 62 of the passwords"];

/// Digest of an index, and path, start and score of the answers from it.
fn index_and_ask(node: &Node, folder: &str) -> (Value, Vec<Value>) {
    let job = node.json(&["index", folder, "--name", "same"]);
    let answers = QUESTIONS.iter().flat_map(|question| {
        let reply = node.json(&["ask", question, "-k", "5", "--index", "same"]);
        let answers = reply["answers"].as_array().unwrap().clone();
        assert_eq!(answers.len(), 5);
        answers.into_iter().map(|a| json!([a["path"], a["start"], a["end"], a["score"]]))
    });
    (job["digest"].clone(), answers.collect())
}

#[test]
fn one_two_and_four_nodes_give_the_same_index_and_answers() {
    let dir = Dir::new("same");
    let folder = documents(&dir, "docs", 12);
    let mut found = Vec::new();
    for count in [1, 2, 4] {
        let first = Node::up(dir.join(&format!("{count}-first")));
        let joined: Vec<Node> = (1..count)
            .map(|i| Node::joined(dir.join(&format!("{count}-{i}")), &first.ticket()))
            .collect();
        until("all are connected", || (first.status()?["peers"] == count - 1).then_some(()));
        found.push(index_and_ask(&first, &folder));
        let workers = first.job("same", &["ready", "final"])["workers"].clone();
        // With two or more nodes every task has two workers; with four, at least three share.
        assert!(workers.as_object().unwrap().len() >= count.min(3), "{count}: {workers}");
        drop(joined);
    }
    assert_eq!(found[0], found[1], "one node and two");
    assert_eq!(found[0], found[2], "one node and four");
}

#[test]
fn the_lone_submitter_is_killed_in_the_middle_and_the_job_ends_all_the_same() {
    let dir = Dir::new("lone");
    let folder = documents(&dir, "docs", 40);
    let mut node = Node::up(dir.join("node"));
    let calm = node.json(&["index", &folder, "--name", "calm"])["digest"].clone();
    node.job("calm", &["final"]);
    node.json(&["index", &folder, "--name", "torn", "--detach"]);
    let mut kills = 0;
    // Each time as soon as there is something new to lose.
    for step in [0, 5, 20] {
        let job = until("some tasks are accepted", || {
            let jobs = node.json(&["index", "--status"]);
            let job = jobs.as_array().unwrap().iter().find(|j| j["name"] == "torn").cloned()?;
            (job["accepted"].as_u64()? >= step).then_some(job)
        });
        kills += usize::from(job["accepted"].as_u64() < job["tasks"].as_u64());
        node.kill();
        node.start(&["up", "--quiet"]);
        node.assert_conserved();
    }
    assert!(kills > 0, "the job was over before the first kill");
    let job = node.job("torn", &["final"]);
    assert_eq!(job["digest"], calm);
    assert_eq!(job["settled"], job["tasks"]);
    node.assert_conserved();
    let bank = node.json(&["credits"]);
    assert!(micro(&bank["accounts"][0]["balance"]) > 0);
}
