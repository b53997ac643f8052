//! Power cuts at every change and sync of the files of a data folder, with none, the first or any
//! of what was not synced: each operation is there, is absent, or can be run again; nothing that was
//! acknowledged is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#[path = "../../../tests/support/crash_record.rs"]
mod crash_record;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use anthill_learn::{Embedder, StaticModel};
use anthill_node::documents::{Document, Documents};
use anthill_node::home::Restored;
use anthill_node::index::plan::Plan;
use anthill_node::index::{IndexRequest, snapshot};
use anthill_node::search::install_minilm;
use anthill_node::{Home, HomeError, NodeError, setup, state_file};
use anthill_store::RedbStore;
use anthill_store::files::{is_temporary, make_folder, write_whole};
use anthill_store::sim::{Crash, SimDisk, SimFiles};
use anthill_types::ConsensusKind;
use anthill_types::{Cid, Digest, Genesis};

/// Different losses tried at each point and mode.
const SEEDS: u64 = 4;

fn home_on(files: &SimFiles) -> Home {
    Home::with_files("home", Arc::new(files.clone()))
}

/// Crashes `operation` at every point. `check` gets the folder as the next start finds it, and what
/// the operation had returned, if it had.
fn crash_everywhere<T>(
    name: &str,
    prepare: impl Fn(&Home),
    operation: impl Fn(&Home) -> Option<T>,
    check: impl Fn(&Home, Option<T>),
) {
    let files = SimFiles::new(0);
    prepare(&home_on(&files));
    let (first, synced) = (files.operations(), files.syncs());
    assert!(operation(&home_on(&files)).is_some(), "{name} fails on a good disk");
    let (last, syncs) = (files.operations(), files.syncs() - synced);
    let mut cases = 0;
    for cut in first + 1..=last + 1 {
        for crash in Crash::ALL {
            for seed in 0..if crash == Crash::Nothing { 1 } else { SEEDS } {
                let files = SimFiles::new(cut << 8 | seed);
                prepare(&home_on(&files));
                files.power_cut_at(cut);
                let done = operation(&home_on(&files));
                assert_eq!(done.is_some(), cut > last, "{name}, cut before {cut} of {last}");
                check(&home_on(&files.crash(crash)), done);
                cases += 1;
            }
        }
    }
    crash_record::visited(name, last + 1 - first, syncs, cases);
}

fn found(home: &Home) -> Result<Genesis, NodeError> {
    let homes = std::slice::from_ref(home);
    setup::found(homes, "town", setup::fast_params(), 1000, &[], ConsensusKind::Bft)
}

fn belongs(home: &Home) {
    let keys = home.keys().unwrap();
    let node = &home.genesis().unwrap().nodes[0];
    assert_eq!((node.account, node.validator), (keys.account_id(), keys.validator_key()));
}

#[test]
fn founding_is_done_or_can_be_run_again() {
    crash_everywhere(
        "founding a node",
        |_| {},
        |home| found(home).ok(),
        |home, done| {
            if let Some(genesis) = &done {
                assert!(home.genesis().unwrap() == *genesis);
            }
            if !home.has_node() {
                found(home).unwrap();
            }
            belongs(home);
        },
    );
}

/// What `join` writes once the network has let the newcomer in.
fn enter(home: &Home, genesis: &Genesis) -> Result<(), HomeError> {
    home.create_keys()?;
    home.save_json("peers.json", &["a peer"])?;
    home.save_genesis(genesis)
}

fn a_chain() -> Genesis {
    found(&home_on(&SimFiles::new(9))).unwrap()
}

#[test]
fn joining_is_done_or_can_be_run_again_with_the_same_keys() {
    let genesis = a_chain();
    let admitted = Cell::new(None);
    crash_everywhere(
        "joining a network",
        |_| admitted.set(None),
        |home| {
            // The network admits the keys before anything else is saved.
            let keys = home.create_keys().ok()?;
            admitted.set(Some(keys.account_id()));
            enter(home, &genesis).ok()
        },
        |home, done| {
            assert!(done.is_none() || home.has_node());
            if !home.has_node() {
                enter(home, &genesis).unwrap();
            }
            let account = home.keys().unwrap().account_id();
            assert!(admitted.get().is_none_or(|admitted| admitted == account));
            assert!(home.genesis().unwrap() == genesis);
            assert!(home.load_json::<Vec<String>>("peers.json").unwrap().is_some());
        },
    );
}

#[test]
fn a_restore_is_done_or_can_be_run_again_and_nothing_runs_before() {
    let backup = || Restored {
        account: [1; 32],
        node: [2; 32],
        genesis: Some(a_chain()),
        peers: Some(serde_json::json!({ "peer": [] })),
    };
    crash_everywhere(
        "restoring keys",
        |_| {},
        |home| home.restore(&backup()).ok(),
        |home, done| {
            if home.keys().is_err() {
                assert!(done.is_none());
                let error = home.keys().err().unwrap();
                let chain = home.has_node();
                // A folder with the chain but no keys founds nothing, and says what to do.
                assert_eq!(matches!(error, HomeError::KeyMissing { .. }), chain, "{error}");
                assert_eq!(home.create_keys().is_err(), chain);
                if !chain {
                    return;
                }
                home.restore(&backup()).unwrap();
            }
            assert_eq!(home.backup_seeds().unwrap(), [[1; 32], [2; 32]]);
            assert!(home.has_node());
            assert!(home.load_json::<serde_json::Value>("peers.json").unwrap().is_some());
            assert!(matches!(home.restore(&backup()), Err(HomeError::Exists(_))));
        },
    );
}

#[test]
fn a_backup_file_a_token_and_the_peers_are_whole() {
    let backup = Path::new("elsewhere/backup.bin");
    crash_everywhere(
        "writing a backup",
        |home| make_folder(home.files(), Path::new("elsewhere")).unwrap(),
        |home| home.write_secret(backup, &[7; 2000]).ok(),
        |home, done| match home.files().read(backup) {
            Ok(bytes) => assert_eq!(bytes, [7; 2000]),
            Err(_) => assert!(done.is_none()),
        },
    );
    crash_everywhere(
        "making the API token",
        |_| {},
        |home| home.token().ok(),
        |home, done| {
            let token = home.token().unwrap();
            assert!(done.is_none_or(|done| done == token));
        },
    );
    let (old, new) = (vec![String::from("old"); 9], vec![String::from("new"); 99]);
    crash_everywhere(
        "replacing peers.json",
        |home| home.save_json("peers.json", &old).unwrap(),
        |home| home.save_json("peers.json", &new).ok(),
        |home, done| {
            let found: Vec<String> = home.load_json("peers.json").unwrap().unwrap();
            assert!(found == new || (done.is_none() && found == old));
        },
    );
}

#[test]
fn a_model_is_installed_whole_or_is_absent() {
    let source = Path::new("source");
    let (weights, words) = (vec![3; 5000], vec![4; 700]);
    let prepare = |home: &Home| {
        write_whole(home.files(), &source.join("model.safetensors"), &weights, false).unwrap();
        write_whole(home.files(), &source.join("tokenizer.json"), &words, false).unwrap();
    };
    let path = |home: &Home, name: &str| home.models().join("minilm").join(name);
    crash_everywhere(
        "installing a model",
        prepare,
        |home| install_minilm(home, source).ok(),
        |home, done| {
            if let Ok(found) = home.files().read(&path(home, "model.safetensors")) {
                assert_eq!(found, weights);
                let found = home.files().read(&path(home, "tokenizer.json"));
                assert_eq!(found.unwrap(), words);
            } else {
                assert!(done.is_none());
                install_minilm(home, source).unwrap();
            }
        },
    );
}

fn plan(texts: &[&str]) -> Plan {
    let documents = texts
        .iter()
        .enumerate()
        .map(|(n, text)| Document { path: format!("{n}.txt"), text: text.to_string() });
    let documents = Documents { documents: documents.collect(), skipped: vec![] };
    let request =
        IndexRequest { path: "notes".into(), name: "notes".into(), public: false, model: None };
    Plan::new(&request, StaticModel::embedded(), documents).unwrap()
}

/// An index job as the node runs it, its tasks answered on the spot. Counts what it acknowledged:
/// the plan, each part, the index.
fn index(home: &Home, texts: &[&str], acknowledged: &Cell<usize>) -> Option<Plan> {
    let folder = home.index("notes");
    let mut plan = match Plan::load(home.files(), &folder).ok()? {
        Some(plan) if plan.passages == self::plan(texts).passages => plan,
        _ => self::plan(texts),
    };
    plan.save(home.files(), &folder).ok()?;
    acknowledged.set(acknowledged.get().max(1));
    for n in 0..plan.parts.len() {
        if plan.parts[n].output.is_none() {
            plan.parts[n].output = Some(Cid::of(&[n as u8]).to_string());
            plan.save(home.files(), &folder).ok()?;
            acknowledged.set(acknowledged.get() + 1);
        }
    }
    if plan.digest.is_none() {
        let model = StaticModel::embedded();
        let vector = |text: &str| model.embed_batch(&[text]).unwrap().remove(0);
        let items = plan.passages.iter().map(|p| {
            let id: Digest = p.id.parse().unwrap();
            (id.0, vector(&p.text))
        });
        let model = Digest(model.model_hash());
        let built = snapshot::build(home.files(), &folder, model, items.collect()).ok()?;
        plan.digest = Some(Digest(built).to_string());
        plan.save(home.files(), &folder).ok()?;
        acknowledged.set(acknowledged.get() + 1);
    }
    Some(plan)
}

const OLD: [&str; 3] = ["the queen lays eggs", "workers carry leaves", "soldiers guard the gate"];
const NEW: [&str; 4] = ["rain falls on the hill", "leaves rot", "a fungus grows", "the nest moves"];

/// What was acknowledged of the job is in the plan, and a plan that names an index has it.
fn check_index(home: &Home, acknowledged: usize) -> Option<Plan> {
    let folder = home.index("notes");
    let plan = Plan::load(home.files(), &folder).unwrap();
    assert!(plan.is_some() || acknowledged == 0);
    let plan = plan?;
    if plan.digest.is_some() {
        let index = snapshot::load(home.files(), &folder, &plan).unwrap();
        assert_eq!(index.len(), plan.passages.len());
    }
    Some(plan)
}

fn steps(plan: &Plan) -> usize {
    let parts = plan.parts.iter().filter(|p| p.output.is_some()).count();
    1 + parts + usize::from(plan.digest.is_some())
}

#[test]
fn an_index_job_goes_on_where_it_was() {
    let acknowledged = Cell::new(0);
    let nothing = Cell::new(0);
    let whole = index(&home_on(&SimFiles::new(0)), &NEW, &nothing).unwrap();
    crash_everywhere(
        "building an index",
        |_| acknowledged.set(0),
        |home| index(home, &NEW, &acknowledged),
        |home, done| {
            let plan = check_index(home, acknowledged.get());
            let reached = plan.as_ref().map_or(0, steps);
            assert!(reached >= acknowledged.get(), "{reached} of {}", acknowledged.get());
            assert!(done.is_none_or(|done| Some(done) == plan));
            assert_eq!(index(home, &NEW, &nothing).unwrap(), whole);
        },
    );
}

#[test]
fn a_new_index_replaces_the_old_one_whole() {
    let acknowledged = Cell::new(0);
    let nothing = Cell::new(0);
    let old = index(&home_on(&SimFiles::new(0)), &OLD, &nothing).unwrap();
    crash_everywhere(
        "replacing an index",
        |home| {
            index(home, &OLD, &nothing).unwrap();
            acknowledged.set(0);
        },
        |home| index(home, &NEW, &acknowledged),
        |home, done| {
            // Before the new plan is acknowledged, the old index still answers.
            let plan = check_index(home, 1).unwrap();
            assert!(plan != old || acknowledged.get() == 0);
            assert!(plan == old || plan.passages == self::plan(&NEW).passages);
            assert!(plan == old || steps(&plan) >= acknowledged.get());
            assert!(done.is_none_or(|done| done == plan));
            let whole = index(home, &NEW, &nothing).unwrap();
            snapshot::load(home.files(), &home.index("notes"), &whole).unwrap();
        },
    );
}

fn store(disk: &SimDisk) -> RedbStore {
    RedbStore::with_backend(disk.clone()).unwrap()
}

#[test]
fn the_first_start_is_never_taken_for_a_loss() {
    // One run to count both disks; then cut the power of both at each point of either.
    let start = |files: &SimFiles, disk: &SimDisk| {
        let store = RedbStore::with_backend(disk.clone()).ok()?;
        state_file::claim(&home_on(files), &store, false).ok()
    };
    let fresh = |seed| {
        let (files, disk) = (SimFiles::new(seed), SimDisk::new(seed));
        found(&home_on(&files)).unwrap();
        drop(store(&disk));
        (files, disk.reopen())
    };
    let (files, disk) = fresh(0);
    let (first, synced) = (files.operations(), files.syncs());
    start(&files, &disk).unwrap();
    let (last, operations) = (files.operations(), disk.counts().operations());
    let points: Vec<(u64, u64)> = (first + 1..=last + 1)
        .map(|cut| (cut, u64::MAX))
        .chain((1..=operations).map(|cut| (u64::MAX, cut)))
        .collect();
    let mut cases = 0;
    for (n, (file_cut, disk_cut)) in points.iter().enumerate() {
        for crash in Crash::ALL {
            let (files, disk) = fresh(n as u64);
            files.power_cut_at(*file_cut);
            disk.power_cut_at(*disk_cut);
            let done = start(&files, &disk);
            let (files, disk) = (files.crash(crash), disk.crash(crash));
            start(&files, &disk).unwrap();
            start(&files, &disk.reopen()).unwrap();
            // And from then on, the loss of the database is seen.
            let other = SimDisk::new(1);
            let refused = state_file::claim(&home_on(&files), &store(&other), false);
            assert!(matches!(refused, Err(NodeError::StateLost { .. })), "{done:?}");
            cases += 1;
        }
    }
    let syncs = disk.counts().syncs + files.syncs() - synced;
    crash_record::visited("first start", points.len() as u64, syncs, cases);
}

#[test]
fn after_a_loss_the_old_validator_never_votes_on_the_new_state() {
    let disk = SimDisk::new(5);
    let old = Cell::new(None);
    crash_everywhere(
        "accepting a lost state",
        |home| {
            found(home).unwrap();
            state_file::claim(home, &store(&SimDisk::new(1)), false).unwrap();
            old.set(Some(home.keys().unwrap().validator_key()));
        },
        |home| state_file::claim(home, &store(&disk.reopen()), true).ok(),
        |home, done| {
            let lost = store(&SimDisk::new(2));
            let keys = home.keys().unwrap();
            let renewed = Some(keys.validator_key()) != old.get();
            assert!(renewed || done.is_none());
            let refused = state_file::claim(home, &lost, false);
            assert!(matches!(refused, Err(NodeError::StateLost { .. })), "{refused:?}");
            state_file::claim(home, &lost, true).unwrap();
            state_file::claim(home, &lost, false).unwrap();
            assert!(Some(home.keys().unwrap().validator_key()) != old.get());
            // The old key is put aside, not destroyed.
            let names = home.files().list(Path::new("home/keys")).unwrap();
            let old = old.get().unwrap().to_string();
            let aside = names.iter().any(|n| n.ends_with(".lost") && n.contains(&old[..16]));
            assert!(aside, "{names:?}");
            assert!(names.iter().all(|name| !is_temporary(name)), "{names:?}");
        },
    );
}
