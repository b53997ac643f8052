//! The tuner of a running node.

#[cfg(test)]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anthill_learn::{EmbedError, Embedder};
use anthill_sandbox::wasm::ModuleParams;
use anthill_types::task::program;
use anthill_types::{ConsensusKind, Digest};

use super::tune::{self, Knob, Trial};
use crate::node::{Node, Options};
use crate::programs::{Embed, embed_input, embed_params};
use crate::search::{self, AskReply, AskRequest};
use crate::vn::{Fleet, Job, Origin};
use crate::{Config, Home, index, setup};

/// Passages of the index, each a file of its own.
const PASSAGES: usize = 1_500;

struct Fixture {
    node: Node,
    folder: PathBuf,
    words: Vec<&'static str>,
    seed: u64,
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(180), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Fixture {
    /// A node with an index of passages whose words are drawn at random.
    async fn new(name: &str, t1_ms: &str) -> Self {
        let mut fixture = Self::empty(name, t1_ms).await;
        fixture.index().await;
        fixture
    }

    async fn empty(name: &str, t1_ms: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("anthill-{name}-{}", std::process::id()));
        let homes = [Home::new(folder.join("node"))];
        let params = setup::fast_params();
        setup::found(&homes, name, params, 1_000, &[], ConsensusKind::default()).unwrap();
        let flags = [("listen", "127.0.0.1:0"), ("http", "127.0.0.1:0"), ("t1_ms", t1_ms)];
        let flags = flags.map(|(name, value)| (name, value.to_string()));
        let config = Config::load(&folder.join("none.toml"), &[], &flags).unwrap();
        let [home] = homes;
        let node = Node::start(home, &config, Options::default()).await.unwrap();
        let words = include_str!("../../../../README.md").split_whitespace().collect();
        Self { node, folder, words, seed: 7 }
    }

    fn text(&mut self, words: usize) -> String {
        let mut draw = || {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.words[(self.seed >> 33) as usize % self.words.len()]
        };
        (0..words).map(|_| draw()).collect::<Vec<_>>().join(" ")
    }

    async fn index(&mut self) {
        let files = self.folder.join("files");
        std::fs::create_dir_all(&files).unwrap();
        for i in 0..PASSAGES {
            std::fs::write(files.join(format!("{i}.txt")), self.text(20)).unwrap();
        }
        let request = index::IndexRequest {
            path: files.display().to_string(),
            name: "tuned".into(),
            public: false,
            model: None,
        };
        let handle = self.node.handle.clone();
        index::begin(&handle, &request).unwrap();
        until("the index is ready", || {
            let job = handle.jobs.get("tuned").unwrap();
            assert_eq!(job.error, None);
            ["ready", "final"].contains(&job.stage.as_str())
        })
        .await;
    }

    /// So many questions for ten passages each.
    fn ask(&mut self, questions: usize) -> Vec<AskReply> {
        let shared = self.node.handle.shared.clone();
        let ask = |question| {
            let request = AskRequest { question, k: 10, index: None, focus_weight: Some(0.0) };
            search::ask(&shared, &request).unwrap()
        };
        (0..questions).map(|_| ask(self.text(6))).collect()
    }

    async fn end(self) {
        self.node.handle.stop().await;
        self.node.wait().await.unwrap();
        let _ = std::fs::remove_dir_all(self.folder);
    }
}

/// What gains is kept, what does not is taken back, and both are measured on the questions that were asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_setting_is_kept_for_its_measured_gain_alone() {
    // A minute for T1: the node's own controller does not interfere.
    let mut fixture = Fixture::new("ef", "60000").await;
    let shared = fixture.node.handle.shared.clone();
    let time = Duration::from_millis(5);
    let trial = |from, to| {
        // It promises much, whatever is true.
        Trial { knob: Knob::Ef, from, to, gain: 5.0, seconds: 0.1, recall: None, repeated: true }
    };
    shared.indexes.set_ef(1_000);
    assert_eq!(tune::apply(&shared, &trial(1_000, 20), time), None, "nobody has asked");
    assert_eq!(shared.indexes.ef(), 1_000);
    fixture.ask(20);
    assert_eq!(shared.indexes.view().questions, 20);

    // A scan of everything finds all; ten candidates for ten passages miss some, however fast.
    let bad = tune::apply(&shared, &trial(PASSAGES, 10), time).unwrap();
    let [all, few] = bad.recall.unwrap();
    assert!(all == 1.0 && few < 0.99 && bad.gain <= 0.0, "{bad:?}");
    assert_eq!(shared.indexes.ef(), 1_000, "taken back, to what was set");
    assert_eq!(shared.indexes.view().recall, Some(1.0));
    // Looking at more is slower and finds no more.
    shared.indexes.set_ef(700);
    let slower = tune::apply(&shared, &trial(700, PASSAGES), time).unwrap();
    assert!(slower.gain <= 0.0, "{slower:?}");
    assert_eq!(shared.indexes.ef(), 700);

    // What misses too much gains by finding more.
    shared.indexes.set_ef(10);
    let found = tune::apply(&shared, &trial(10, 700), time).unwrap();
    let [few, all] = found.recall.unwrap();
    assert!(few < 0.99 && all >= 0.99 && found.gain > 0.0, "{found:?}");
    assert_eq!(shared.indexes.ef(), 700);
    assert_eq!(shared.indexes.view().recall, Some(all));
    fixture.end().await;
}

/// From telemetry to effect: questions are asked, the controller tries, decides, sets, and measures again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_tunes_the_search_by_the_questions_that_are_asked() {
    let mut fixture = Fixture::new("ef-control", "20").await;
    let shared = fixture.node.handle.shared.clone();
    let effects = |word: &str| {
        let all = shared.steering.state().effects;
        all.into_iter().filter(|e| e.contains("Ef ") && e.contains(word)).collect::<Vec<_>>()
    };
    assert_eq!(shared.indexes.view().recall, None, "nobody has asked");
    // Ten candidates for ten passages: too much is missed.
    shared.indexes.set_ef(10);
    fixture.ask(30);
    until("more candidates are kept, until enough is found", || {
        shared.indexes.view().recall.is_some_and(|recall| recall >= 0.99)
    })
    .await;
    assert!(shared.indexes.ef() > 10 && !effects("kept").is_empty(), "{:?}", effects(""));
    // A scan: fewer candidates are as good, and faster.
    shared.indexes.set_ef(PASSAGES);
    let answers = fixture.ask(30);
    until("fewer are kept", || shared.indexes.ef() < PASSAGES).await;
    until("that is told", || effects(&format!("{PASSAGES} -> ")).len() == 1).await;
    let told = effects(&format!("{PASSAGES} -> ")).remove(0);
    assert!(told.contains("kept") && told.contains("recall"), "{told}");
    assert!(shared.indexes.view().recall >= Some(0.99));
    assert!(answers.iter().all(|reply| reply.answers.len() == 10));
    let state = shared.steering.state();
    assert!(state.actions.get("APPLY_OPTIMIZE") > Some(&0), "{:?}", state.actions);
    assert!(state.trial.is_some_and(|trial| trial.knob == Knob::Ef && trial.recall.is_some()));
    let metrics = crate::metrics::render(&shared);
    assert!(
        metrics.contains("\nanthill_search_ef ") && metrics.contains("\nanthill_search_recall ")
    );
    let log = std::fs::read_to_string(shared.home.path().join("audit.jsonl")).unwrap();
    assert!(log.contains("\"EFFECT\"") && log.contains("Ef 10 -> "), "the audit log holds it");
    drop(shared);
    fixture.end().await;
}

/// The same for what tasks run with: a thread that was resting brings more work done, and is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_tunes_the_threads_by_the_work_that_is_done() {
    let fixture = Fixture::empty("threads-control", "20").await;
    let shared = fixture.node.handle.shared.clone();
    let fleet = shared.fleet.clone();
    fleet.set_target(2, "test");
    if fleet.most_threads() < 2 {
        // One processor: there is nothing to tune.
        drop(shared);
        return fixture.end().await;
    }
    fleet.set_threads(1);
    let endless = wat::parse_str(
        r#"(module (memory (export "memory") 1)
            (func (export "step") (param i32) (result i32) (local $i i32)
                (loop $on
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $on (i32.lt_u (local.get $i) (i32.const 100000))))
                (i32.const 0)))"#,
    );
    let program = fleet.install_module(&endless.unwrap());
    let job = Job {
        program,
        params: ModuleParams::new(1, b"").to_bytes(),
        input: vec![],
        cost_limit: u64::MAX >> 1,
        origin: Origin::Local,
        snapshot: None,
    };
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (fleet, job) = (fleet.clone(), job.clone());
            tokio::spawn(async move { fleet.run(job).await })
        })
        .collect();
    until("the second thread works", || {
        let effects = shared.steering.state().effects;
        effects.iter().any(|effect| effect.contains("Threads 1 -> 2: kept"))
    })
    .await;
    end(tasks, &fleet).await;
    drop((shared, fleet));
    fixture.end().await;
}

/// A model whose every batch takes a millisecond, as on a device that has to be called.
struct Remote;

impl Embedder for Remote {
    fn model_hash(&self) -> [u8; 32] {
        [9; 32]
    }

    fn name(&self) -> &str {
        "remote"
    }

    fn dimensions(&self) -> usize {
        1
    }

    fn token_count(&self, _: &str) -> usize {
        1
    }

    fn embed_batch(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        std::thread::sleep(Duration::from_millis(1));
        Ok(vec![vec![1.0]; texts.len()])
    }

    fn cost(&self, _: usize) -> u64 {
        1
    }
}

/// The same for the texts of a step: more of them at once bring more work done, and are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_tunes_the_batch_by_the_work_that_is_done() {
    let fixture = Fixture::empty("batch-control", "20").await;
    let shared = fixture.node.handle.shared.clone();
    let fleet = shared.fleet.clone();
    let mut models = shared.models.clone();
    models.add(Arc::new(Remote));
    fleet.install(Arc::new(Embed(models)));
    shared.models.set_texts_per_step(1);
    let job = Job {
        program: program::embed(),
        params: embed_params(&Digest(Remote.model_hash())),
        input: embed_input(&["text"; 1_000]),
        cost_limit: u64::MAX >> 1,
        origin: Origin::Local,
        snapshot: None,
    };
    let again = |fleet: Fleet, job: Job| async move {
        loop {
            let outcome = fleet.run(job.clone()).await.unwrap();
            assert!(outcome.result.is_ok() && outcome.cost == 1_000, "{outcome:?}");
        }
    };
    let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(again(fleet.clone(), job.clone()))).collect();
    until("twice as many texts are kept", || {
        let effects = shared.steering.state().effects;
        effects.iter().any(|effect| effect.contains("Batch 1 -> 2: kept"))
    })
    .await;
    assert!(shared.models.texts_per_step() >= 2);
    assert!(tasks.iter().all(|task| !task.is_finished()));
    end(tasks, &fleet).await;
    drop((shared, fleet));
    fixture.end().await;
}

/// Stops the tasks, and waits until their virtual nodes are idle.
async fn end<T>(tasks: Vec<tokio::task::JoinHandle<T>>, fleet: &Fleet) {
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    until("nothing runs", || fleet.stats().running == 0 && fleet.stats().waiting == 0).await;
}
