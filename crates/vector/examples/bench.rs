//! Measures embedding and search on a file of one text a line; search never without recall.
//!
//! usage: cargo run --release -p anthill-vector --example bench -- TEXTS [MINILM_DIR]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Instant;

use anthill_learn::{Embedder, MiniLm, StaticModel};
use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher};
use anthill_vector::{Index, Params};

/// Queries of each measurement.
const QUERIES: usize = 500;

/// A point in time: seconds of this thread on a CPU where the system says so, else on the clock.
struct Start(Option<f64>, Instant);

impl Start {
    fn now() -> Self {
        Self(Self::cpu(), Instant::now())
    }

    /// Nanoseconds on a CPU are the first number of Linux's schedstat.
    fn cpu() -> Option<f64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
    }

    fn seconds(&self) -> f64 {
        match (self.0, Self::cpu()) {
            (Some(from), Some(to)) => to - from,
            _ => self.1.elapsed().as_secs_f64(),
        }
    }
}

fn rate(count: usize, start: &Start) -> f64 {
    count as f64 / start.seconds()
}

fn embedding(name: &str, model: &dyn Embedder, texts: &[&str]) -> Vec<Vec<f32>> {
    let start = Start::now();
    texts.iter().for_each(|t| drop(model.embed_batch(&[t]).unwrap()));
    let single = rate(texts.len(), &start);
    let start = Start::now();
    let vectors: Vec<_> = texts.chunks(32).flat_map(|c| model.embed_batch(c).unwrap()).collect();
    let batched = rate(texts.len(), &start);
    println!(
        "{name}: {single:.0} texts/s one by one, {batched:.0} in batches of 32, per CPU-second of one thread"
    );
    vectors
}

fn search(model_hash: [u8; 32], vectors: Vec<Vec<f32>>) {
    let (queries, base) = vectors.split_at(QUERIES.min(vectors.len() / 10));
    let items: Vec<_> = base
        .iter()
        .enumerate()
        .map(|(i, v)| (Sha256Tree::digest(&[&i.to_le_bytes()]), v.clone()))
        .collect();
    let mut index = Index::new(Params::default(), base[0].len(), model_hash).unwrap();
    let start = Start::now();
    index.insert_batch(&model_hash, items).unwrap();
    println!("index of {}: built in {:.1} CPU-seconds", index.len(), start.seconds());
    let start = Start::now();
    let exact: Vec<_> = queries.iter().map(|q| index.exact(q, 10).unwrap()).collect();
    println!(
        "all compared: {:.0} queries per CPU-second, recall@10 1",
        rate(queries.len(), &start)
    );
    for ef in [16, 32, 64, 128] {
        let start = Start::now();
        let found: Vec<_> = queries.iter().map(|q| index.search(q, 10, ef).unwrap()).collect();
        let speed = rate(queries.len(), &start);
        let hits: usize = found
            .iter()
            .zip(&exact)
            .map(|(f, e)| f.iter().filter(|x| e.iter().any(|y| y.0 == x.0)).count())
            .sum();
        let recall = hits as f64 / (10 * queries.len()) as f64;
        println!("ef {ef}: {speed:.0} queries per CPU-second, recall@10 {recall:.4}");
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let file = std::fs::read_to_string(args.get(1).expect("a file of one text a line")).unwrap();
    let fixed = StaticModel::embedded();
    let texts: Vec<&str> = file.lines().filter(|l| fixed.token_count(l) > 0).collect();
    let vectors = embedding("static-256", fixed, &texts);
    search(fixed.hash(), vectors);
    if let Some(folder) = args.get(2).map(Path::new) {
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let full = MiniLm::from_bytes(&read("model.safetensors"), &read("tokenizer.json")).unwrap();
        embedding("all-MiniLM-L6-v2", &full, &texts[..texts.len().min(640)]);
    }
}
