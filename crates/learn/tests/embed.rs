//! The embedded model, the file decoder and the splitter.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::OnceLock;

use anthill_learn::{Chunk, EmbedError, Embedder, StaticModel, split};
use proptest::prelude::*;

fn cosine(a: &str, b: &str) -> f32 {
    let model = StaticModel::embedded();
    anthill_kernels::dot(&model.embed(a).unwrap(), &model.embed(b).unwrap())
}

#[test]
fn the_embedded_file_decodes_and_is_small() {
    let bytes = StaticModel::embedded_bytes();
    assert!(bytes.len() <= 8 << 20, "{} bytes", bytes.len());
    let model = StaticModel::from_bytes(bytes).unwrap();
    assert_eq!(model.hash(), *blake3::hash(bytes).as_bytes());
    assert_eq!(StaticModel::embedded().hash(), model.hash());
    assert_eq!((model.dimensions(), model.name()), (256, "anthill-static-256"));
}

#[test]
fn meaning_shows_in_the_cosine() {
    for (anchor, near, far) in [
        ("how do I restore a key?", "recover your keys from a backup", "the weather in spring"),
        ("a fast web server", "high performance HTTP daemon", "a kind of small bird"),
        ("play music files", "audio player for songs", "compile a program"),
    ] {
        assert!(cosine(anchor, near) > cosine(anchor, far) + 0.1, "{anchor}");
    }
}

#[test]
fn vectors_are_unit_and_their_bits_are_pinned() {
    let model = StaticModel::embedded();
    let mut hasher = blake3::Hasher::new();
    for text in
        ["Hello, world", "Gr\u{fc}\u{df}e aus \u{6771}\u{4eac} \u{1f600}", &"word ".repeat(5000)]
    {
        let vector = model.embed(text).unwrap();
        assert!((anthill_kernels::l2_norm(&vector) - 1.0).abs() < 1e-6);
        for value in &vector {
            hasher.update(&value.to_le_bytes());
        }
    }
    assert_eq!(hasher.finalize().to_hex().as_str(), include_str!("static_bits.txt").trim());
}

#[test]
fn a_batch_changes_no_bit_and_errors_name_the_text() {
    let model = StaticModel::embedded();
    let texts = ["one text", "another", "and a third one"];
    let batch = model.embed_batch(&texts).unwrap();
    for (text, vector) in texts.iter().zip(&batch) {
        assert_eq!(&model.embed(text).unwrap(), vector);
    }
    assert_eq!(model.embed_batch(&["a", " \n"]), Err(EmbedError::NoTokens { index: 1 }));
    let long = "a ".repeat(anthill_learn::MAX_TEXT_BYTES / 2 + 1);
    assert!(matches!(model.embed(&long), Err(EmbedError::TooLong { index: 0, .. })));
    assert_eq!(model.cost(10), 4);
}

/// A model file of three tokens and two dimensions.
fn tiny() -> Vec<u8> {
    let mut file = b"ANTSTAT1".to_vec();
    for n in [2u32, 3, 9, 4] {
        file.extend(n.to_le_bytes());
    }
    file.extend(b"tiny[UNK]\na\nb");
    [0.5f32, 1.0, 2.0].iter().for_each(|s| file.extend(s.to_le_bytes()));
    file.extend([1u8, 0, 3, 4, 0, 1]);
    file
}

#[test]
fn damaged_model_files_are_typed_errors() {
    let good = tiny();
    assert_eq!(StaticModel::from_bytes(&good).unwrap().embed("A").unwrap(), [0.6, 0.8]);
    for end in 0..good.len() {
        assert!(StaticModel::from_bytes(&good[..end]).is_err(), "cut at {end}");
    }
    assert!(StaticModel::from_bytes(&[&good[..], &[0]].concat()).is_err());
    for at in 0..24 {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        assert!(matches!(StaticModel::from_bytes(&bad), Err(EmbedError::BadModel { .. })), "{at}");
    }
}

fn count(text: &str) -> usize {
    StaticModel::embedded().token_count(text)
}

#[test]
fn documents_split_at_their_seams() {
    let sentence = "The quick brown fox jumps over the lazy dog and runs far away. ";
    let paragraph = sentence.repeat(5);
    let text = format!("# Title\n\n{paragraph}\n\n{paragraph}\n\n## Part\n\n- one\n- two\n");
    let chunks = split(&text, &count);
    let parts: Vec<&str> = chunks.iter().map(|c| &text[c.start..c.end]).collect();
    assert!(parts[0].starts_with("# Title\n\nThe quick"), "{parts:?}");
    assert!(parts[0].ends_with("away."));
    assert_eq!(*parts.last().unwrap(), "## Part\n\n- one\n- two");
    assert!(parts.iter().all(|p| count(p) <= 130));
    let long = split(&sentence.repeat(40), &count);
    assert!(long.windows(2).all(|w| w[1].start < w[0].end && w[1].end > w[0].end), "overlap");
    assert!(split(" \n\u{200b}\n", &count).is_empty());
    assert_eq!(split("word", &count), [Chunk { start: 0, end: 4 }]);
}

#[test]
fn the_projects_documents_split_into_passages_of_the_stated_size() {
    let text = include_str!("../../../docs/spec/protocol.md");
    let chunks = split(text, &count);
    let sizes: Vec<usize> = chunks.iter().map(|c| count(&text[c.start..c.end])).collect();
    assert!(sizes.iter().all(|s| *s <= 130), "{sizes:?}");
    let mean = sizes.iter().sum::<usize>() as f64 / sizes.len() as f64;
    assert!((55.0..=115.0).contains(&mean), "mean {mean}: {sizes:?}");
}

/// Deterministic bits of a text's embedding, to compare with other targets.
fn documents() -> &'static Vec<String> {
    static MADE: OnceLock<Vec<String>> = OnceLock::new();
    MADE.get_or_init(|| vec!["\u{e9}\u{4e00}x. ".repeat(300), "0123456789abcdef".repeat(200)])
}

#[test]
fn dense_and_wide_text_is_bounded() {
    for text in documents() {
        let chunks = split(text, &count);
        assert!(chunks.iter().all(|c| count(&text[c.start..c.end]) <= 130));
        assert!(!chunks.is_empty());
    }
}

proptest! {
    #[test]
    fn chunks_cover_every_token_on_character_bounds(text in "([a-zA-Z\u{e9}\u{4e00}\u{3002} .!?#\\n-]|word |Long sentence here\\. |\\n\\n){0,300}") {
        let chunks = split(&text, &count);
        let mut covered = 0;
        for chunk in &chunks {
            prop_assert!(chunk.start < chunk.end);
            prop_assert!(text.is_char_boundary(chunk.start) && text.is_char_boundary(chunk.end));
            prop_assert!(chunk.end > covered, "ends rise");
            if chunk.start > covered {
                prop_assert_eq!(count(&text[covered..chunk.start]), 0, "a gap holds words");
            }
            prop_assert!(count(&text[chunk.start..chunk.end]) > 0);
            covered = chunk.end;
        }
        prop_assert_eq!(count(&text[covered..]), 0);
        prop_assert_eq!(split(&text, &count), chunks);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..60, value in any::<u8>()) {
        prop_assert!(StaticModel::from_bytes(&bytes).is_err());
        let mut file = tiny();
        let at = at % file.len();
        file[at] = value;
        if let Ok(model) = StaticModel::from_bytes(&file) {
            let _ = model.embed("a b");
        }
    }
}
