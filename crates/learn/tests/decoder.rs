//! The decoder: sharded and incremental runs equal the whole run bit for bit, parity with an
//! independent implementation, sampling, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_learn::decoder::{Cache, Decoder, Sampling, Shape, Stage, VOCABULARY, random_file};
use proptest::prelude::*;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Logits of all positions in one run of all layers.
fn whole(decoder: &Decoder, tokens: &[u8]) -> Vec<u32> {
    let mut x = decoder.embed(tokens, 0).unwrap();
    decoder.run(decoder.whole(), &mut x, &mut Cache::default()).unwrap();
    bits(&decoder.logits(&x).unwrap())
}

/// Logits of all positions, in stages that end at `cuts` and calls that end at `calls`.
fn cut(decoder: &Decoder, tokens: &[u8], cuts: &[usize], calls: &[usize]) -> Vec<u32> {
    let edges = |inner: &[usize], end: usize| {
        let mut all: Vec<usize> = inner.iter().copied().filter(|c| *c > 0 && *c < end).collect();
        all.extend([0, end]);
        all.sort_unstable();
        all.dedup();
        all
    };
    let stages: Vec<Stage> = edges(cuts, decoder.shape().layers)
        .windows(2)
        .map(|w| Stage { from: w[0], to: w[1] })
        .collect();
    let mut caches = vec![Cache::default(); stages.len()];
    let mut out = Vec::new();
    for call in edges(calls, tokens.len()).windows(2) {
        let mut x = decoder.embed(&tokens[call[0]..call[1]], call[0]).unwrap();
        for (stage, cache) in stages.iter().zip(&mut caches) {
            assert_eq!(cache.positions(), call[0]);
            decoder.run(*stage, &mut x, cache).unwrap();
        }
        out.extend(bits(&decoder.logits(&x).unwrap()));
    }
    out
}

#[test]
fn every_split_of_the_layers_gives_the_same_bits() {
    let decoder = Decoder::embedded().unwrap();
    let layers = decoder.shape().layers;
    let tokens = b"A result is a hash. The same task gives";
    let expected = whole(decoder, tokens);
    // Every subset of the inner edges is a split.
    for set in 0..1usize << (layers - 1) {
        let cuts: Vec<usize> = (1..layers).filter(|i| set >> (i - 1) & 1 == 1).collect();
        assert_eq!(cut(decoder, tokens, &cuts, &[]), expected, "{cuts:?}");
    }
    // One token after another, as in generation.
    let single: Vec<usize> = (1..tokens.len()).collect();
    assert_eq!(cut(decoder, tokens, &[], &single), expected);
    assert_eq!(cut(decoder, tokens, &[1, 3], &single), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_split_of_layers_and_positions_gives_the_same_bits(
        (layers, heads, part) in (1usize..6, 1usize..4, 1usize..9),
        seed: u64,
        tokens in proptest::collection::vec(any::<u8>(), 1..20),
        cuts in proptest::collection::vec(0usize..6, 0..5),
        calls in proptest::collection::vec(0usize..20, 0..8),
    ) {
        let shape = Shape { layers, heads, width: heads * part, context: 20 };
        let decoder = Decoder::from_bytes(&random_file(shape, seed)).unwrap();
        prop_assert_eq!(cut(&decoder, &tokens, &cuts, &calls), whole(&decoder, &tokens));
    }

    #[test]
    fn stages_cover_all_layers_evenly(layers in 1usize..40, count in 0usize..50) {
        let stages = Stage::split(layers, count);
        prop_assert_eq!(stages.len(), count.clamp(1, layers));
        prop_assert_eq!((stages[0].from, stages[stages.len() - 1].to), (0, layers));
        prop_assert!(stages.windows(2).all(|w| w[0].to == w[1].from));
        let sizes = || stages.iter().map(|s| s.to - s.from);
        prop_assert!(sizes().min().unwrap() >= 1);
        prop_assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1);
    }
}

/// `xtask/train/reference.py` made the file, in numpy with 64-bit floats.
#[test]
fn logits_are_those_of_an_independent_implementation() {
    let decoder = Decoder::embedded().unwrap();
    let text = include_str!("decoder_reference.json");
    let cases: serde_json::Value = serde_json::from_str(text).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 3);
    let mut worst = 0.0f64;
    for case in cases {
        let tokens = case["text"].as_str().unwrap().as_bytes();
        let mut x = decoder.embed(tokens, 0).unwrap();
        decoder.run(decoder.whole(), &mut x, &mut Cache::default()).unwrap();
        let logits = decoder.logits(&x).unwrap();
        let last = &logits[logits.len() - VOCABULARY..];
        let expected = case["logits"].as_array().unwrap();
        assert_eq!(expected.len(), VOCABULARY);
        for (found, expected) in last.iter().zip(expected) {
            worst = worst.max((f64::from(*found) - expected.as_f64().unwrap()).abs());
        }
    }
    assert!(worst < 1e-4, "{worst}");
}

/// The embedded weights have learnt: text of the project is likelier than the same bytes reversed.
#[test]
fn the_embedded_weights_know_the_language_of_the_documents() {
    let decoder = Decoder::embedded().unwrap();
    let loss = |tokens: &[u8]| {
        let logits = whole(decoder, tokens);
        let rows = logits.chunks_exact(VOCABULARY).zip(&tokens[1..]);
        let nats = rows.map(|(row, next)| {
            let row: Vec<f64> = row.iter().map(|b| f64::from(f32::from_bits(*b))).collect();
            let total: f64 = row.iter().map(|l| l.exp()).sum();
            total.ln() - row[usize::from(*next)]
        });
        nats.sum::<f64>() / (tokens.len() - 1) as f64
    };
    let text =
        b"The node writes the state and the block in one transaction, and the root is signed.";
    let mut reversed = text.to_vec();
    reversed.reverse();
    assert!(loss(text) < 2.2, "{}", loss(text));
    assert!(loss(&reversed) > loss(text) + 1.0, "{}", loss(&reversed));
}

#[test]
fn choices_are_repeatable_and_follow_the_shares() {
    let mut logits = vec![0.0f32; VOCABULARY];
    (logits[7], logits[9], logits[11]) = (3.0, 3.0, 2.0);
    assert_eq!(Sampling::GREEDY.choose(&logits, 0), 7, "the lower of equals");
    let sampling = Sampling { top_k: 3, temperature_milli: 1000, seed: 5 };
    let draw = |s: Sampling| -> Vec<u8> { (0..3000).map(|i| s.choose(&logits, i)).collect() };
    let drawn = draw(sampling);
    assert_eq!(drawn, draw(sampling));
    assert_ne!(drawn, draw(Sampling { seed: 6, ..sampling }));
    let share = |t: u8| drawn.iter().filter(|d| **d == t).count() as f64 / drawn.len() as f64;
    // e^3, e^3 and e^2: 0.42, 0.42, 0.16.
    assert!((share(7) - 0.42).abs() < 0.05 && (share(9) - 0.42).abs() < 0.05);
    assert!((share(11) - 0.155).abs() < 0.05 && share(7) + share(9) + share(11) == 1.0);
    let cold = draw(Sampling { temperature_milli: 1, ..sampling });
    assert!(cold.iter().all(|t| *t == 7 || *t == 9));
}

#[test]
fn what_does_not_fit_is_refused() {
    let shape = Shape { layers: 2, heads: 2, width: 4, context: 8 };
    let file = random_file(shape, 1);
    let decoder = Decoder::from_bytes(&file).unwrap();
    assert_eq!((decoder.shape(), decoder.hash()), (shape, *blake3::hash(&file).as_bytes()));
    assert!(decoder.embed(&[], 0).is_err());
    assert!(decoder.embed(&[0; 9], 0).is_err());
    assert!(decoder.embed(&[0], 8).is_err() && decoder.embed(&[0], usize::MAX).is_err());
    let mut x = decoder.embed(&[1, 2], 0).unwrap();
    let run = |stage: Stage, x: &mut [f32], cache: &mut Cache| decoder.run(stage, x, cache);
    for stage in [Stage { from: 0, to: 3 }, Stage { from: 1, to: 1 }, Stage { from: 2, to: 1 }] {
        assert!(run(stage, &mut x, &mut Cache::default()).is_err(), "{stage:?}");
    }
    assert!(run(decoder.whole(), &mut x[..3], &mut Cache::default()).is_err());
    assert!(run(decoder.whole(), &mut [], &mut Cache::default()).is_err());
    assert!(run(decoder.whole(), &mut [f32::NAN; 4], &mut Cache::default()).is_err());
    let mut cache = Cache::default();
    run(Stage { from: 0, to: 1 }, &mut x, &mut cache).unwrap();
    assert!(run(decoder.whole(), &mut x, &mut cache).is_err(), "another stage's cache");
    assert!(decoder.logits(&[0.0; 3]).is_err());

    for cut in [0, 7, 8, 100, file.len() - 1] {
        assert!(Decoder::from_bytes(&file[..cut]).is_err(), "{cut}");
    }
    let text = String::from_utf8_lossy(&file).into_owned();
    assert!(text.contains(r#"\"width\":4"#));
    for (from, to) in [
        (r#"\"width\":4"#, r#"\"width\":8"#),
        (r#"\"heads\":2"#, r#"\"heads\":3"#),
        (r#"\"layers\":2"#, r#"\"layers\":0"#),
        (r#"\"layers\":2"#, r#"\"layers\":3"#),
    ] {
        let at = file.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut bad = file.clone();
        bad[at..at + from.len()].copy_from_slice(to.as_bytes());
        assert!(Decoder::from_bytes(&bad).is_err(), "{to}");
    }
}
