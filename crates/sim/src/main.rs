//! Runs seeds, replays one, shrinks a failure, draws a run, hunts planted bugs.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anthill_sim::campaign::{Campaign, Record, seeds};
use anthill_sim::outcome::{Changes, Outcome, outcome, shrink};
use anthill_sim::plan::Plan;
use anthill_sim::trace::What;
use anthill_sim::world::World;
use anthill_sim::{diagram, marks};

const USAGE: &str = "usage: anthill-sim COMMAND
  run [--first SEED] [--seeds N | --minutes N] [--threads N] [--record FILE --protocol HASH] [--coverage]
                      run clusters; a break is shrunk, and the line that replays it printed
  replay SEED [--faults I,J|none] [--honest I,J] [--log FILE] [--svg FILE --from MS --to MS]
                      run one seed and print what happened
  speed [--nodes N]   simulated time per second of CPU
  canaries [--table FILE] [--replay] [--only NAME]
                      plant each known bug and look for it (needs --cfg canary)";

/// Events shown of a run that breaks.
const LAST_EVENTS: usize = 40;

struct Arguments(Vec<String>);

impl Arguments {
    fn value(&self, name: &str) -> Option<&str> {
        let place = self.0.iter().position(|a| a == name)?;
        self.0.get(place + 1).map(String::as_str)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let read = |text: &str| text.parse().map_err(|_| format!("{name} {text}: not a number"));
        self.value(name).map(read).transpose()
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|a| a == name)
    }

    fn list(&self, name: &str) -> Result<Option<Vec<usize>>, String> {
        let Some(text) = self.value(name) else { return Ok(None) };
        if text == "none" {
            return Ok(Some(Vec::new()));
        }
        let read = |t: &str| t.parse().map_err(|_| format!("{name} {text}: not numbers"));
        text.split(',').map(read).collect::<Result<_, _>>().map(Some)
    }
}

fn main() -> ExitCode {
    anthill_sim::panics::keep_expected_ones_quiet();
    let arguments = Arguments(std::env::args().skip(1).collect());
    let result = match arguments.0.first().map(String::as_str) {
        Some("run") => campaign(&arguments),
        Some("replay") => replay(&arguments),
        Some("speed") => speed(&arguments),
        Some("canaries") => canaries(&arguments),
        _ => Err(USAGE.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn campaign(arguments: &Arguments) -> Result<(), String> {
    let threads = arguments.number("--threads")?.unwrap_or(2) as usize;
    let minutes = arguments.number("--minutes")?;
    let most =
        arguments.number("--seeds")?.unwrap_or(if minutes.is_some() { u64::MAX } else { 100 });
    let file = arguments.value("--record");
    let protocol = arguments.value("--protocol").unwrap_or("unknown");
    let text = file.and_then(|f| std::fs::read_to_string(f).ok()).unwrap_or_default();
    let mut record = Record::read(&text, protocol);
    let first = if file.is_some() { record.next_seed } else { 1 };
    let first = arguments.number("--first")?.unwrap_or(first);
    let begun = Instant::now();
    let limit = minutes.map(|m| Duration::from_secs(m * 60));
    let over = |begun_seeds: u64| {
        begun_seeds >= most || limit.is_some_and(|limit| begun.elapsed() >= limit)
    };
    let quiet = |outcome: &Outcome| {
        if outcome.broken.is_some() {
            println!("seed {}: {}", outcome.seed, outcome.broken.as_deref().unwrap_or_default());
        }
    };
    let done = seeds(first, threads, &over, &quiet);
    report(first, &done, begun.elapsed());
    if let Some(broken) = done.broken.first() {
        let said = broken.broken.clone().unwrap_or_default();
        return Err(explain(broken.seed, &said));
    }
    if let Some(file) = file {
        record.add(&done);
        std::fs::write(file, record.write()).map_err(|e| format!("{file}: {e}"))?;
        println!("{file}: {} seeds in all", record.seeds);
    }
    if arguments.has("--coverage") {
        let missing = done.marks.missing();
        if !missing.is_empty() {
            return Err(format!("never happened in these seeds: {}", missing.join("; ")));
        }
    }
    Ok(())
}

fn report(first: u64, done: &Campaign, spent: Duration) {
    for (name, count) in done.marks.iter() {
        println!("{count:>10}  {name}");
    }
    println!(
        "seeds {first} to {}: {} clusters, {} simulated minutes, {} events, {} faults, {} run twice, \
         {} broken, {:.0} s",
        first + done.seeds.saturating_sub(1),
        done.seeds,
        done.simulated_ms / 60_000,
        done.events,
        done.marks.faults(),
        done.repeated,
        done.broken.len(),
        spent.as_secs_f64()
    );
}

/// Shrinks a failure and says how to replay it.
fn explain(seed: u64, said: &str) -> String {
    let (changes, last) = shrink(seed);
    let plan = changes.plan(seed);
    let mut text = format!(
        "seed {seed} breaks: {}\nleft after shrinking: {} faults, {} dishonest founders\n",
        last.broken.unwrap_or(format!("{said} (not in a second run)")),
        plan.faults.len(),
        plan.dishonest()
    );
    for fault in &plan.faults {
        text.push_str(&format!("  {fault}\n"));
    }
    text.push_str(&last_events(plan));
    text.push_str(&format!(
        "replay: cargo run --release -p anthill-sim -- replay {seed}{}",
        changes.arguments()
    ));
    text
}

/// The end of a run's log, without its messages.
fn last_events(plan: Plan) -> String {
    let mut world = World::new(plan);
    world.trace.keep = true;
    world.run();
    let told = |w: &What| matches!(w, What::Note(_) | What::Commit { .. });
    let lines: Vec<String> =
        world.trace.lines.iter().filter(|l| told(&l.what)).map(ToString::to_string).collect();
    let from = lines.len().saturating_sub(LAST_EVENTS);
    lines.get(from..).unwrap_or_default().join("\n") + "\n"
}

fn replay(arguments: &Arguments) -> Result<(), String> {
    let seed = arguments.0.get(1).and_then(|s| s.parse().ok()).ok_or(USAGE)?;
    let changes = Changes {
        faults: arguments.list("--faults")?,
        honest: arguments.list("--honest")?.unwrap_or_default(),
    };
    let mut world = World::new(changes.plan(seed));
    world.trace.keep = true;
    world.run();
    print_notes(&world);
    if let Some(file) = arguments.value("--log") {
        let lines: Vec<String> = world.trace.lines.iter().map(ToString::to_string).collect();
        write(file, &(lines.join("\n") + "\n"))?;
    }
    if let Some(file) = arguments.value("--svg") {
        let to = arguments.number("--to")?.unwrap_or(world.now);
        let from = arguments.number("--from")?.unwrap_or(to.saturating_sub(5_000));
        write(file, &diagram::draw(&world.plan, &world.trace.lines, from, to))?;
    }
    let Outcome { digest, events, broken, .. } = outcome(&world);
    println!("seed {seed}: {events} events, digest {digest}");
    broken.map_or(Ok(()), Err)
}

fn write(file: &str, text: &str) -> Result<(), String> {
    std::fs::write(Path::new(file), text).map_err(|e| format!("{file}: {e}"))?;
    println!("wrote {file}");
    Ok(())
}

/// The log without its messages and blocks.
fn print_notes(world: &World) {
    for node in &world.nodes {
        println!(
            "node {}: {:?}, disk {:?}",
            node.index,
            node.role,
            world.plan.disks.get(node.index)
        );
    }
    for line in world.trace.lines.iter().filter(|l| matches!(l.what, What::Note(_))) {
        println!("{line}");
    }
    for node in &world.nodes {
        if let Some(process) = &node.process {
            println!("node {} at the end: {}", node.index, process.engine.describe());
        }
    }
}

fn speed(arguments: &Arguments) -> Result<(), String> {
    let nodes = arguments.number("--nodes")?.unwrap_or(7) as usize;
    let mut ratios = Vec::new();
    for seed in 1..=5 {
        let begun = Instant::now();
        let mut world = World::new(Plan::with_nodes(seed, nodes, 0));
        world.run();
        let spent = begun.elapsed().as_secs_f64();
        let ratio = world.now as f64 / 1000.0 / spent;
        let per_second = world.trace.events as f64 / spent;
        println!(
            "seed {seed}: {nodes} nodes, {} simulated s in {spent:.2} s: {ratio:.0} x real time, \
             {per_second:.0} events/s, {} faults",
            world.now / 1000,
            world.marks.faults()
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or(0.0);
    println!("median {median:.0} x real time ({} fault kinds known)", marks::FAULTS.len());
    Ok(())
}

#[cfg(not(canary))]
fn canaries(_: &Arguments) -> Result<(), String> {
    Err("this build has no planted bugs; `cargo xtask reliability --canaries` builds one that has"
        .into())
}

#[cfg(canary)]
fn canaries(arguments: &Arguments) -> Result<(), String> {
    use anthill_sim::canaries::{find, recorded, to_json};
    let file = arguments.value("--table");
    let text = file.and_then(|f| std::fs::read_to_string(f).ok()).unwrap_or_default();
    let table = serde_json::from_str(&text).unwrap_or_default();
    let only = arguments.value("--only");
    let all = anthill_types::canary::Canary::ALL;
    let wanted = all.iter().filter(|(_, name, _)| only.is_none_or(|o| o == *name));
    let mut jobs = Vec::new();
    for (canary, name, what) in wanted {
        let seed = arguments.has("--replay").then(|| recorded(&table, name));
        if seed == Some(None) {
            return Err(format!("{name} has no recorded seed: run without --replay first"));
        }
        jobs.push((*canary, *name, what.trim(), seed.flatten()));
    }
    let threads = arguments.number("--threads")?.unwrap_or(2) as usize;
    let next = std::sync::atomic::AtomicUsize::new(0);
    let rows = std::sync::Mutex::new(std::collections::BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some((canary, name, what, seed)) = jobs.get(place).copied() else { return };
                    let row = find(canary, name, what, seed);
                    match row.seed {
                        Some(seed) => println!("{name}: found by seed {seed}: {}", row.said),
                        None => println!("{name}: NOT FOUND"),
                    }
                    rows.lock().unwrap_or_else(|e| e.into_inner()).insert(place, row);
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap_or_else(|e| e.into_inner());
    let found: Vec<_> = rows.into_values().collect();
    let missed: Vec<&str> = found.iter().filter(|f| f.seed.is_none()).map(|f| f.name).collect();
    if let Some(file) = file.filter(|_| !arguments.has("--replay") && only.is_none()) {
        write(file, &(serde_json::to_string_pretty(&to_json(&found)).unwrap_or_default() + "\n"))?;
    }
    if missed.is_empty() {
        println!("all {} planted bugs found", found.len());
        return Ok(());
    }
    Err(format!("not found: {}", missed.join(", ")))
}
