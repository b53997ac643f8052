//! Heights per second of four and seven validators in one thread, without network or disk.
//!
//! `cargo run --release -p anthill-consensus --example heights`
#![allow(clippy::unwrap_used)]
use anthill_consensus::{Bft, Config, Consensus, In, Out, Timeouts};
use anthill_identity::KeyPair;
use std::collections::VecDeque;
use std::time::Instant;

/// The hash of a block here is its first 32 bytes.
fn block_hash(block: &[u8]) -> Option<[u8; 32]> {
    block.first_chunk().copied()
}

fn main() {
    for n in [1u8, 4, 7] {
        let keys: Vec<KeyPair> = (1..=n).map(|i| KeyPair::from_seed([i; 32])).collect();
        let validators: Vec<_> = keys.iter().map(|key| (key.public(), 1)).collect();
        let config = |key: &KeyPair| Config {
            genesis: [0; 32],
            key: Some(key.clone()),
            timeouts: Timeouts::default(),
            max_block_bytes: 1 << 20,
            block_hash,
        };
        let mut nodes: Vec<Bft> = keys.iter().map(|key| Bft::new(config(key))).collect();
        let begin = |height| In::Start { height, validators: validators.clone(), beacon: [0; 32] };
        let mut queue: VecDeque<(usize, In)> = (0..nodes.len()).map(|i| (i, begin(1))).collect();
        let (heights, mut logged, mut sent) = (200, 0usize, 0usize);
        let start = Instant::now();
        while let Some((i, input)) = queue.pop_front() {
            for out in nodes[i].step(input, 0).unwrap() {
                match out {
                    Out::Broadcast(bytes) => {
                        for to in (0..nodes.len()).filter(|to| *to != i) {
                            sent += bytes.len();
                            let from = keys[i].public();
                            queue.push_back((to, In::Message { from, bytes: bytes.clone() }));
                        }
                    }
                    Out::BuildBlock { height, round, .. } => {
                        let mut block = vec![0; 10_000];
                        block[..8].copy_from_slice(&height.to_be_bytes());
                        let hash = block_hash(&block).unwrap();
                        queue.push_back((i, In::Built { height, round, hash, block }));
                    }
                    Out::Verify { hash, .. } => {
                        queue.push_back((i, In::Verified { hash, ok: true }))
                    }
                    Out::Persist(entry) => logged += entry.len(),
                    Out::Commit { height, .. } if height < heights => {
                        queue.push_back((i, begin(height + 1)));
                    }
                    _ => {}
                }
            }
        }
        let took = start.elapsed();
        println!(
            "{n} validators: {:.0} heights/s in one thread, {:.2} ms per node and height, {} log bytes and {} sent bytes per node and height (blocks of 10,000 bytes)",
            heights as f64 / took.as_secs_f64(),
            took.as_secs_f64() * 1e3 / heights as f64 / f64::from(n),
            logged / heights as usize / usize::from(n),
            sent / heights as usize / usize::from(n),
        );
    }
}
