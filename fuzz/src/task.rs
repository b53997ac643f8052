//! Tasks: any parameters and input through the built-in programs, step by step, within limits.

use std::sync::{Arc, OnceLock};

use anthill_identity::{DataKey, Place};
use anthill_learn::decoder::{Decoder, Stage};
use anthill_learn::{Embedder, StaticModel};
use anthill_node::Home;
use anthill_node::keyring::KeyRing;
use anthill_node::programs::cipher::{cipher_params, encrypt_params};
use anthill_node::programs::decode::{Flow, stage_params};
use anthill_node::programs::matching::{MatchInput, MatchOutput};
use anthill_node::programs::searching::{read_search_output, search_input, search_params};
use anthill_node::programs::{
    MAX_TEXTS, Models, decode_output, embed_input, embed_params, foretell, sandbox,
};
use anthill_sandbox::codec;
use anthill_sandbox::{Outcome, Sandbox, SandboxError, Step};
use anthill_types::task::program;
use anthill_types::{Cid, Digest};
use anthill_vector::{Index, Metric, Params};

use crate::input::Input;
use crate::model::tiny;

struct World {
    sandbox: Sandbox,
    models: Models,
    model: Arc<dyn Embedder>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let model = StaticModel::from_bytes(&tiny(3)).expect("a good model");
        let model: Arc<dyn Embedder> = Arc::new(model);
        let mut models = Models::default();
        models.add(model.clone());
        // No folder, no keys: what is under a key is lacking, and the parameters are read before.
        let keys = KeyRing(Home::new("/nonexistent/anthill-fuzz"));
        World { sandbox: sandbox(&models, &keys), models, model }
    })
}

/// Runs a task twice: it ends, within its cost limit, with the same bytes.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let model = Digest(world().model.model_hash());
    let (kind, limit) = (input.byte(), u64::from(input.byte()));
    if kind % 8 >= 6 {
        return other(kind, &mut input);
    }
    let program = match kind % 8 {
        0 => Cid::of(&[kind]),
        1 => program::noop(),
        _ => program::embed(),
    };
    let mut params = embed_params(&model);
    if kind & 8 != 0 {
        input.alter(&mut params, 2);
    }
    let body = match kind >> 4 & 3 {
        0 => input.rest().to_vec(),
        1 => altered_texts(&mut input),
        _ => texts(&mut input, 40),
    };
    let first = outcome(&program, &params, &body, limit);
    assert_eq!(first, outcome(&program, &params, &body, limit), "two runs differ");
    if let Ok(outcome) = first {
        check(&outcome, &program, &body, limit);
    }
    // What comes back from another node is read by the same functions.
    drop(decode_output(&body, usize::from(kind)));
    drop(Outcome::from_output(&body));
}

/// The programs beside embedding: an honest input, whole or altered, within the foretold cost.
fn other(kind: u8, input: &mut Input<'_>) {
    let model = Digest(world().model.model_hash());
    let which = input.byte() % 7;
    let (program, mut params, mut body) = match which {
        0 => (program::matching(), embed_params(&model), matching(input)),
        1 => (program::compress(), Vec::new(), input.rest().to_vec()),
        2 => {
            let packed = codec::compress(input.bytes(64)).expect("a frame");
            (program::decompress(), codec::decompress_params(4096), packed)
        }
        3 => (program::decompress(), codec::decompress_params(1 << 16), input.rest().to_vec()),
        4 => {
            let place = Place { salt: [kind; 16], index: u32::from(kind), last: kind & 16 != 0 };
            (program::encrypt(), encrypt_params(&[kind; 32], &place), input.bytes(40).to_vec())
        }
        5 => {
            let query = [f32::from(kind), 1.0, f32::from(input.byte()), 0.5];
            let params = search_params(1 + input.below(5), input.below(70));
            (program::searching(), params, search_input(shard(), &[&query]))
        }
        _ => {
            let hash = Digest(Decoder::embedded().expect("the decoder").hash());
            let stage = Stage { from: input.below(3), to: 1 + input.below(5) };
            (program::decode_stage(), stage_params(&hash, stage), flow(input, stage))
        }
    };
    if kind & 8 != 0 {
        input.alter(&mut params, 2);
    }
    if kind & 32 != 0 {
        input.alter(&mut body, 3);
    }
    let foretold = foretell(&world().models, &program, &params, &body);
    let limit = foretold.map_or(u64::MAX, |f| f.cost);
    let first = outcome(&program, &params, &body, limit);
    assert_eq!(first, outcome(&program, &params, &body, limit), "two runs differ");
    readers(&params, &body);
    let Ok(Outcome { result: Ok(bytes), cost, .. }) = first else { return };
    assert!(cost <= limit, "a task costs {cost}, more than the foretold {limit}");
    readers(&params, &bytes);
    if which == 0 {
        assert!(MatchOutput::from_bytes(&bytes).is_some());
    } else if which == 1 && program == program::compress() {
        assert_eq!(codec::decompress(&bytes, body.len()).as_ref(), Ok(&body));
    }
}

/// The snapshot of a small index.
fn shard() -> &'static [u8] {
    static SHARD: OnceLock<Vec<u8>> = OnceLock::new();
    SHARD.get_or_init(|| {
        let params = Params { metric: Metric::Dot, ..Params::default() };
        let mut index = Index::new(params, 4, [0; 32]).expect("good parameters");
        for n in 1..12u8 {
            let vector = [f32::from(n), f32::from(n % 3), 0.5, 0.25];
            index.insert([n; 32], &vector[..]).expect("a good vector");
        }
        index.to_bytes()
    })
}

/// Whatever comes from another node is read by these; a piece under a key too.
fn readers(params: &[u8], bytes: &[u8]) {
    drop((cipher_params(params), MatchInput::from_bytes(bytes), MatchOutput::from_bytes(bytes)));
    drop((Flow::from_bytes(bytes), read_search_output(bytes, 1)));
    let key = DataKey::from_bytes([7; 32]);
    assert!(key.decrypt(bytes).is_err(), "nobody made this under the key");
}

fn matching(input: &mut Input<'_>) -> Vec<u8> {
    let words = ["a", "b", "ac", "z", "a b", "b b b"];
    let list = |input: &mut Input<'_>| -> Vec<String> {
        (0..input.below(4)).map(|_| words[input.below(words.len())].to_string()).collect()
    };
    let count = 1 + input.below(3);
    let categories = (0..count).map(|_| list(input)).collect();
    MatchInput { categories, texts: list(input) }.to_bytes()
}

fn flow(input: &mut Input<'_>, stage: Stage) -> Vec<u8> {
    if stage.from == 0 {
        return Flow::Tokens(input.bytes(6).to_vec()).to_bytes();
    }
    let rows = input.below(3) * 128;
    Flow::Activations((0..rows).map(|i| f32::from(input.byte()) - i as f32).collect()).to_bytes()
}

fn outcome(program: &Cid, params: &[u8], body: &[u8], limit: u64) -> Result<Outcome, SandboxError> {
    let mut instance = world().sandbox.start(program, params, body, limit)?;
    for _ in 0..=MAX_TEXTS {
        match instance.step() {
            Step::Done(outcome) => return Ok(outcome),
            Step::More => {}
            Step::Stopped => unreachable!("nobody stops it"),
        }
    }
    panic!("a task takes more than {MAX_TEXTS} steps");
}

fn check(outcome: &Outcome, program: &Cid, body: &[u8], limit: u64) {
    assert!(outcome.cost <= limit, "cost {} above the limit {limit}", outcome.cost);
    assert_eq!(Outcome::from_output(&outcome.to_output()).as_ref(), Some(&outcome.result));
    let Ok(bytes) = &outcome.result else { return };
    if *program == program::noop() {
        assert_eq!(bytes, body);
        return;
    }
    // The length of the output says how many vectors it holds.
    let width = world().model.dimensions();
    let vectors = (1..=MAX_TEXTS).find_map(|count| decode_output(bytes, count));
    let vectors = vectors.expect("an output of the embedding program");
    assert!(vectors.iter().all(|vector| vector.len() == width));
    assert!(outcome.cost >= vectors.len() as u64, "a text costs at least 1");
}

fn texts(input: &mut Input<'_>, most: usize) -> Vec<u8> {
    let count = input.below(most);
    let words = ["a", "b", "ac", "z", "", " ", "a b", "\u{e9}a", "b b b b b b"];
    let texts: Vec<&str> = (0..count).map(|_| words[input.below(words.len())]).collect();
    embed_input(&texts)
}

fn altered_texts(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = texts(input, 12);
    input.alter(&mut bytes, 3);
    bytes
}
