//! The full encoder against vectors that torch and transformers made (xtask/distill/reference.py).
//!
//! The weights (90 MB) are not in the repository: set ANTHILL_MINILM_DIR to a folder with
//! `model.safetensors` and `tokenizer.json`. Without it the parity tests say so and return.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use anthill_kernels::Backend;
use anthill_learn::{EmbedError, Embedder, MiniLm, Precision};

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("ANTHILL_MINILM_DIR");
    if folder.is_none() {
        println!("ANTHILL_MINILM_DIR is not set: the MiniLM weights are not checked");
    }
    folder.map(PathBuf::from)
}

fn load(folder: &std::path::Path) -> MiniLm {
    let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
    let tokenizer = std::fs::read(folder.join("tokenizer.json")).unwrap();
    MiniLm::from_bytes(&weights, &tokenizer).unwrap()
}

/// Texts, token counts with [CLS] and [SEP], and unit vectors of the reference.
fn reference() -> Vec<(String, usize, Vec<f64>)> {
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("minilm_reference.json")).unwrap();
    let vector = |row: &serde_json::Value| {
        row["vector"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    rows.iter()
        .map(|row| {
            let tokens = row["tokens"].as_u64().unwrap() as usize;
            (row["text"].as_str().unwrap().to_string(), tokens, vector(row))
        })
        .collect()
}

#[test]
fn other_files_are_refused_by_their_hash() {
    let refused = MiniLm::from_bytes(b"weights", b"{}").map(|_| ());
    assert!(matches!(refused, Err(EmbedError::WrongHash { file: "model.safetensors", .. })));
}

#[test]
fn vectors_equal_the_reference() {
    let Some(folder) = folder() else { return };
    let model = load(&folder);
    let rows = reference();
    assert!(rows.len() >= 12);
    for (text, tokens, expected) in rows {
        assert_eq!((model.token_count(&text) + 2).min(256), tokens, "{text:?}");
        let found = model.embed_batch(&[&text]).unwrap().remove(0);
        let product: f64 = found.iter().zip(&expected).map(|(a, b)| f64::from(*a) * b).sum();
        let length: f64 = found.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>().sqrt();
        println!("1 - cosine {:.2e}: {:.40}", 1.0 - product / length, text);
        assert!((length - 1.0).abs() < 1e-6, "{text:?}");
        assert!(product / length >= 0.99999, "{text:?}: cosine {}", product / length);
        for (a, b) in found.iter().zip(&expected) {
            assert!((f64::from(*a) - b).abs() < 2e-5, "{text:?}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_batch() {
    let Some(folder) = folder() else { return };
    let model = load(&folder);
    let rows = reference();
    let texts: Vec<&str> = rows.iter().map(|r| r.0.as_str()).collect();
    let together = model.embed_batch(&texts).unwrap();
    for (text, vector) in texts.iter().zip(&together) {
        assert_eq!(&model.embed_batch(&[text]).unwrap()[0], vector, "{text:?}");
    }
    let mut backwards = texts.clone();
    backwards.reverse();
    let mut reversed = model.embed_batch(&backwards).unwrap();
    reversed.reverse();
    assert_eq!(reversed, together);
    assert_eq!(model.embed_batch(&["x", "\n"]), Err(EmbedError::NoTokens { index: 1 }));
}

#[test]
fn backends_and_int8_products_give_the_same_bits() {
    let Some(folder) = folder() else { return };
    let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
    let tokenizer = std::fs::read(folder.join("tokenizer.json")).unwrap();
    let int8 = MiniLm::with_precision(&weights, &tokenizer, Precision::int8()).unwrap();
    let float = load(&folder);
    assert_ne!(int8.model_hash(), float.model_hash());
    let rows = reference();
    let texts: Vec<&str> = rows.iter().map(|r| r.0.as_str()).filter(|t| t.len() < 200).collect();
    let all = |model: &MiniLm| {
        let embed = |b: Backend| {
            b.select().unwrap();
            model.embed_batch(&texts).unwrap()
        };
        Backend::available().into_iter().map(embed).collect::<Vec<_>>()
    };
    let (floats, bytes) = (all(&float), all(&int8));
    for backend in 1..floats.len() {
        assert_eq!((&floats[0], &bytes[0]), (&floats[backend], &bytes[backend]));
    }
    for (a, b) in floats[0].iter().zip(&bytes[0]) {
        let cosine = anthill_kernels::dot(a, b);
        println!("int8 against f32: cosine {cosine:.5}");
        assert!(cosine > 0.98, "cosine {cosine}");
    }
}
