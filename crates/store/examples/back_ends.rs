//! Times durable commits of changed rows into 100,000 rows, redb and fjall side by side.
//!
//! `cargo run --release -p anthill-store --features fjall --example back_ends [folder]`
#![allow(clippy::unwrap_used)]
use anthill_store::{Batch, DEFAULT_CACHE_BYTES, FjallStore, RedbStore, Store};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::time::{Duration, Instant};

const ROWS: u64 = 100_000;
const ROUNDS: usize = 21;

/// Keys that lie as those of hashes do: 32 bytes, all over the range.
fn key(number: u64) -> Vec<u8> {
    let mut key = vec![0; 32];
    ChaCha8Rng::seed_from_u64(number).fill_bytes(&mut key);
    key
}

fn value(rng: &mut ChaCha8Rng) -> Option<Vec<u8>> {
    let mut value = vec![0; 100];
    rng.fill_bytes(&mut value);
    Some(value)
}

/// `count` different rows of those that are there, with new values.
fn changed(keys: &[Vec<u8>], count: usize, rng: &mut ChaCha8Rng) -> Batch {
    let mut batch = Batch::new();
    while batch.len() < count {
        batch.insert(keys[(rng.next_u64() % ROWS) as usize].clone(), value(rng));
    }
    batch
}

fn time(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn main() {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let folder = base.join(format!("anthill-back-ends-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let redb = RedbStore::open(folder.join("redb")).unwrap();
    let fjall = FjallStore::open(folder.join("fjall")).unwrap();
    // With small memtables, so that tables are written and merged while it runs.
    let tables =
        FjallStore::open_with(folder.join("tables"), DEFAULT_CACHE_BYTES, 4 << 20).unwrap();
    let stores: [(&str, &dyn Store); 3] =
        [("redb", &redb), ("fjall", &fjall), ("fjall, 4 MiB memtables", &tables)];

    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let keys: Vec<_> = (0..ROWS).map(key).collect();
    let all: Batch = keys.iter().map(|key| (key.clone(), value(&mut rng))).collect();
    for (name, store) in stores {
        let taken = time(|| store.commit(&all).unwrap());
        println!("{name:<22} {ROWS} rows of 132 bytes at once: {:.1} ms", millis(taken));
    }
    for count in [100, 1_000, 10_000] {
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let batch = changed(&keys, count, &mut rng);
            for ((_, store), times) in stores.iter().zip(&mut times) {
                times.push(time(|| store.commit(&batch).unwrap()));
            }
        }
        for ((name, _), times) in stores.iter().zip(&mut times) {
            times.sort();
            let (median, worst) = (millis(times[ROUNDS / 2]), millis(times[ROUNDS - 1]));
            println!(
                "{name:<22} {count:>6} changed rows: median {median:.1} ms, worst {worst:.1} ms"
            );
        }
    }
    for (name, store) in stores {
        let mut found = 0;
        let taken = time(|| found = store.range(&[], None, usize::MAX).unwrap().len());
        println!("{name:<22} {found} rows read in order: {:.1} ms", millis(taken));
    }
    for name in ["fjall", "tables"] {
        let tables = folder.join(name).join("keyspaces/1/tables");
        println!("{name}: {} tables on disk", std::fs::read_dir(tables).unwrap().count());
    }
    drop((redb, fjall, tables));
    std::fs::remove_dir_all(folder).unwrap();
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
