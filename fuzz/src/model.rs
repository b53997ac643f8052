//! Model loaders: the static model, word pieces, safetensors, and text through what was loaded.

use anthill_learn::decoder::{Cache, Decoder, Shape, Stage, VOCABULARY, random_file};
use anthill_learn::split::split;
use anthill_learn::tensors::Tensors;
use anthill_learn::{Embedder, StaticModel, WordPiece};

use crate::input::Input;

/// Loads, then embeds: vectors are unit vectors, and counting tokens agrees with encoding.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 7 {
        0 => drop(StaticModel::from_bytes(input.rest()).map(|model| embed(&model, "a b \u{e9}"))),
        1 => {
            let (text, size) = (input.bytes(60).to_vec(), input.byte());
            let mut bytes = tiny(size);
            input.alter(&mut bytes, 3);
            let model = StaticModel::from_bytes(&bytes);
            drop(model.map(|model| embed(&model, &String::from_utf8_lossy(&text))));
        }
        2 => tensors(input.rest()),
        3 => tokens(&mut input),
        4 => {
            let text = String::from_utf8_lossy(input.rest()).into_owned();
            embed(StaticModel::embedded(), &text);
            chunks(&text);
        }
        5 => drop(Decoder::from_bytes(input.rest()).map(|decoder| decode(&decoder, b"ab"))),
        _ => {
            let (tokens, layers) = (input.bytes(4).to_vec(), 1 + input.below(3));
            let heads = 1 + input.below(2);
            let shape = Shape { layers, heads, width: 4, context: 6 };
            let mut bytes = random_file(shape, u64::from(input.byte()));
            input.alter(&mut bytes, 4);
            drop(Decoder::from_bytes(&bytes).map(|decoder| decode(&decoder, &tokens)));
        }
    }
}

/// Whatever was loaded gives finite logits or an error, and the same ones in two stages.
fn decode(decoder: &Decoder, tokens: &[u8]) {
    let through = |stages: Vec<Stage>| {
        let mut x = decoder.embed(tokens, 0).ok()?;
        for stage in stages {
            decoder.run(stage, &mut x, &mut Cache::default()).ok()?;
        }
        decoder.logits(&x).ok().map(|l| l.iter().map(|v| v.to_bits()).collect::<Vec<u32>>())
    };
    let layers = decoder.shape().layers;
    let whole = through(Stage::split(layers, 1));
    let halves = through(Stage::split(layers, 2));
    // A value that is not finite is found after a stage, so the halves may find one that the whole
    // passes over, and not the other way round.
    assert!(halves.is_none() || halves == whole);
    if let Some(logits) = whole {
        assert_eq!(logits.len(), tokens.len() * VOCABULARY);
        assert!(logits.iter().all(|bits| f32::from_bits(*bits).is_finite()));
    }
}

fn embed(model: &StaticModel, text: &str) {
    assert_eq!(model.token_count(text), model.tokenizer().encode(text).len());
    if let Ok(vector) = model.embed(text) {
        assert_eq!(vector.len(), model.dimensions());
        let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        assert!((length - 1.0).abs() < 1e-3, "length {length}");
        assert_eq!(Ok(vec![vector]), model.embed_batch(&[text]));
    }
}

/// A model file of a few tokens and dimensions.
pub fn tiny(size: u8) -> Vec<u8> {
    let (dimensions, words) = (1 + u32::from(size % 4), "[UNK]\na\nb\n##c");
    let (tokens, name) = (4u32, "tiny");
    let mut out = b"ANTSTAT1".to_vec();
    for number in [dimensions, tokens, words.len() as u32, name.len() as u32] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(words.as_bytes());
    (0..tokens).for_each(|i| out.extend_from_slice(&(i as f32 / 2.0).to_le_bytes()));
    (0..tokens * dimensions).for_each(|i| out.push((i * 31 + 1) as u8));
    out
}

fn tensors(bytes: &[u8]) {
    let Ok(tensors) = Tensors::read(bytes) else { return };
    for (name, count) in [("a", 1), ("a", 2), ("b", 0), ("b", 4)] {
        if let Ok(values) = tensors.values(name, count) {
            assert_eq!(values.len(), count);
            assert!(values.iter().all(|v| v.is_finite()));
        }
    }
}

fn tokens(input: &mut Input<'_>) {
    let words = String::from_utf8_lossy(input.bytes(120)).into_owned();
    let Ok(pieces) = WordPiece::new(words.split('\n').zip(0u32..)) else { return };
    assert_eq!(pieces.vocabulary_len(), words.split('\n').count());
    let text = String::from_utf8_lossy(input.rest()).into_owned();
    let ids = pieces.encode(&text);
    assert_eq!(ids.len(), pieces.count(&text));
    assert!(ids.iter().all(|id| (*id as usize) < pieces.vocabulary_len()));
}

/// Passages are parts of the text, in order.
fn chunks(text: &str) {
    let mut last = 0;
    for chunk in split(text, &|part| StaticModel::embedded().token_count(part)) {
        assert!(chunk.start >= last && chunk.start < chunk.end && chunk.end <= text.len());
        assert!(text.is_char_boundary(chunk.start) && text.is_char_boundary(chunk.end));
        last = chunk.start;
    }
}
