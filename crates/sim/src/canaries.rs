//! The planted bugs: each must be found within a number of seeds.

use anthill_types::canary::{Canary, plant};
use serde_json::{Value, json};

use crate::outcome::run;
use crate::plan::Plan;

/// Seeds within which a planted bug must be found.
pub const MOST_SEEDS: u64 = 200;

/// One planted bug and how it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// The seed that found it; none when none of the seeds did.
    pub seed: Option<u64>,
    /// What the rig said.
    pub said: String,
}

/// Runs seeds with a bug planted until one breaks; `only` names the seed to try alone.
pub fn find(canary: Canary, name: &'static str, what: &'static str, only: Option<u64>) -> Found {
    let seeds = only.map_or(1..=MOST_SEEDS, |seed| seed..=seed);
    for seed in seeds {
        plant(Some(canary));
        let outcome = run(Plan::draw(seed));
        plant(None);
        if let Some(said) = outcome.broken {
            return Found { name, what, seed: Some(seed), said };
        }
    }
    Found { name, what, seed: None, said: String::new() }
}

/// The table as it is kept.
pub fn to_json(found: &[Found]) -> Value {
    let row = |f: &Found| json!({"name": f.name, "what": f.what, "seed": f.seed, "said": f.said});
    json!(found.iter().map(row).collect::<Vec<_>>())
}

/// The seed that found a bug before, from the kept table.
pub fn recorded(table: &Value, name: &str) -> Option<u64> {
    let row = table.as_array()?.iter().find(|row| row["name"] == name)?;
    row["seed"].as_u64()
}
