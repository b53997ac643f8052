//! One run from a plan to its outcome.

use crate::marks::Marks;
use crate::plan::{Plan, Role};
use crate::world::World;

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Nodes of the plan.
    pub nodes: usize,
    /// What must never happen, if it did.
    pub broken: Option<String>,
    /// Digest of all events.
    pub digest: String,
    /// Events.
    pub events: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Counts.
    pub marks: Marks,
}

/// Runs a plan.
pub fn run(plan: Plan) -> Outcome {
    let mut world = World::new(plan);
    world.run();
    let mut outcome = outcome(&world);
    for small in [crate::steering::run, crate::moving::run] {
        let (marks, broken) = small(outcome.seed);
        outcome.marks.merge(&marks);
        outcome.broken = outcome.broken.or(broken);
    }
    outcome
}

/// The outcome of a world that has run.
pub fn outcome(world: &World) -> Outcome {
    Outcome {
        seed: world.plan.seed,
        nodes: world.plan.nodes(),
        broken: world.broken.clone(),
        digest: world.trace.digest(),
        events: world.trace.events,
        simulated_ms: world.now,
        marks: world.marks.clone(),
    }
}

/// What is changed in a seed's plan: the shrunk form of a failure, in one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Which faults stay; all when none is given.
    pub faults: Option<Vec<usize>>,
    /// Founders that are honest after all.
    pub honest: Vec<usize>,
}

impl Changes {
    /// The seed's plan with these changes.
    pub fn plan(&self, seed: u64) -> Plan {
        let mut plan = Plan::draw(seed);
        if let Some(kept) = &self.faults {
            let all = std::mem::take(&mut plan.faults);
            let kept = |i: &usize| kept.contains(i);
            plan.faults =
                all.into_iter().enumerate().filter(|(i, _)| kept(i)).map(|(_, f)| f).collect();
        }
        for place in &self.honest {
            if let Some(role) = plan.founders.get_mut(*place) {
                *role = Role::Honest;
            } else if let Some((role, _)) = plan.joiners.get_mut(place - plan.founders.len()) {
                *role = Role::Honest;
            }
        }
        plan
    }

    /// The arguments that bring the changes back.
    pub fn arguments(&self) -> String {
        let list = |items: &[usize]| {
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            if items.is_empty() { "none".to_string() } else { items.join(",") }
        };
        let mut text = String::new();
        if let Some(faults) = &self.faults {
            text.push_str(&format!(" --faults {}", list(faults)));
        }
        if !self.honest.is_empty() {
            text.push_str(&format!(" --honest {}", list(&self.honest)));
        }
        text
    }
}

/// Takes away faults and roles as long as the run still breaks; gives what is left.
pub fn shrink(seed: u64) -> (Changes, Outcome) {
    let mut changes = Changes::default();
    let mut last = run(changes.plan(seed));
    if last.broken.is_none() {
        return (changes, last);
    }
    let mut try_it = |candidate: Changes, changes: &mut Changes| {
        let outcome = run(candidate.plan(seed));
        let breaks = outcome.broken.is_some();
        if breaks {
            *changes = candidate;
            last = outcome;
        }
        breaks
    };
    let count = Plan::draw(seed).faults.len();
    let mut kept: Vec<usize> = (0..count).collect();
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        let mut place = 0;
        while place < kept.len() {
            let end = (place + size).min(kept.len());
            let rest: Vec<usize> = kept[..place].iter().chain(&kept[end..]).copied().collect();
            let candidate = Changes { faults: Some(rest.clone()), ..changes.clone() };
            if try_it(candidate, &mut changes) {
                kept = rest;
            } else {
                place = end;
            }
        }
        size /= 2;
    }
    let plan = Plan::draw(seed);
    for node in (0..plan.nodes()).filter(|n| !plan.role(*n).is_honest()) {
        let mut candidate = changes.clone();
        candidate.honest.push(node);
        try_it(candidate, &mut changes);
    }
    (changes, last)
}
