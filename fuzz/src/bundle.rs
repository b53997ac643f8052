//! Proof files of the light client: nothing in one can be altered and still prove something else.
//!
//! The chain behind them is the one of the light client's own tests: four validators, one of whom
//! lies, with wages, rewards and a slash.

use std::sync::OnceLock;

use anthill_light::{Bundle, Subject, Verified, verify};
use anthill_types::{GenesisHash, Header, Wire};

use crate::chain;
use crate::input::Input;

struct Known {
    bundle: Bundle,
    bytes: Vec<u8>,
    verified: Verified,
}

struct World {
    genesis: GenesisHash,
    known: Vec<Known>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let town = chain::chain();
        let genesis = *town.ledger.genesis_hash();
        let subjects = chain::one_of_each(town).map(|p| Subject::Credits(p.number));
        let others = [
            Subject::Epoch(0),
            Subject::Task(town.tasks()[0].id),
            Subject::Account(town.people[0].id()),
            Subject::Node(town.people[3].node_key()),
        ];
        let known = subjects.into_iter().chain(others).map(|subject| {
            let bundle = chain::bundle(town, &subject, 4);
            let bytes = bundle.to_bytes();
            let verified = verify(&bytes, Some(&genesis)).expect("an honest bundle");
            Known { bundle, bytes, verified }
        });
        World { genesis, known: known.collect() }
    })
}

/// Whole proof files, for the corpus.
pub fn samples() -> Vec<Vec<u8>> {
    world().known.iter().map(|known| known.bytes.clone()).collect()
}

/// Alters the bytes, or one part, of a good bundle.
pub fn run(data: &[u8]) {
    let world = world();
    let mut input = Input::new(data);
    let known = &world.known[input.below(world.known.len())];
    let mut bytes = known.bytes.clone();
    match input.byte() % 4 {
        0 => input.alter(&mut bytes, 4),
        1 => bytes = input.rest().to_vec(),
        _ => {
            let Some(bundle) = altered(known.bundle.clone(), &mut input) else { return };
            bytes = bundle.to_bytes();
        }
    }
    if let Ok(found) = verify(&bytes, Some(&world.genesis)) {
        // Fewer signatures may do, and fewer of an epoch's tasks may be shown: the sentences on the
        // block and on receipts count them. Every other sentence must be one that is true.
        for said in found.statements.iter().filter(|s| s.kind != "block" && s.kind != "receipt") {
            assert!(known.verified.statements.contains(said), "{said:?}");
        }
        assert_eq!(found.statements.first(), known.verified.statements.first());
        assert_eq!(found.state_root, known.verified.state_root);
        assert_eq!(found.subject, known.verified.subject);
    }
}

fn altered(mut bundle: Bundle, input: &mut Input<'_>) -> Option<Bundle> {
    let at = input.below(bundle.entries.len());
    match input.byte() % 10 {
        0 => input.alter(&mut bundle.certificate.0, 3),
        1 => input.alter(&mut bundle.entries[at].key.0, 2),
        2 => input.alter(&mut bundle.entries[at].value.0, 2),
        3 => input.alter(&mut bundle.entries[at].proof.0, 2),
        4 => {
            let mut header = bundle.header.to_bytes();
            input.alter(&mut header, 3);
            bundle.header = Header::from_bytes(&header).ok()?;
        }
        5 => bundle.entries.swap(0, at),
        6 => {
            bundle.entries.remove(at);
        }
        7 => bundle.entries.push(bundle.entries[at].clone()),
        8 => bundle.subject = String::from_utf8_lossy(input.bytes(80)).into_owned(),
        _ => {
            let nodes = bundle.genesis.nodes.len();
            let node = &mut bundle.genesis.nodes[input.below(nodes)];
            node.validator.0[input.below(32)] ^= input.byte();
            node.bond.0 ^= u128::from(input.byte());
        }
    }
    Some(bundle)
}
