//! Tasks: any parameters and input through the built-in programs, step by step, within limits.

use std::sync::{Arc, OnceLock};

use anthill_learn::{Embedder, StaticModel};
use anthill_node::programs::{Embed, MAX_TEXTS, Models, decode_output, embed_input, embed_params};
use anthill_sandbox::{Outcome, Sandbox, SandboxError};
use anthill_types::task::program;
use anthill_types::{Cid, Digest};

use crate::input::Input;
use crate::model::tiny;

struct World {
    sandbox: Sandbox,
    model: Arc<dyn Embedder>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let model = StaticModel::from_bytes(&tiny(3)).expect("a good model");
        let model: Arc<dyn Embedder> = Arc::new(model);
        let mut models = Models::default();
        models.add(model.clone());
        let mut sandbox = Sandbox::new();
        sandbox.install(Arc::new(Embed(models)));
        World { sandbox, model }
    })
}

/// Runs a task twice: it ends, within its cost limit, with the same bytes.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let model = Digest(world().model.model_hash());
    let (kind, limit) = (input.byte(), u64::from(input.byte()));
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

fn outcome(program: &Cid, params: &[u8], body: &[u8], limit: u64) -> Result<Outcome, SandboxError> {
    let mut instance = world().sandbox.start(program, params, body, limit)?;
    for _ in 0..=MAX_TEXTS {
        if let Some(outcome) = instance.step() {
            return Ok(outcome);
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
