//! Runs simulated clusters from the command line.
fn main() {
    let seed: u64 = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(1);
    let n: u64 = std::env::args().nth(2).and_then(|s| s.parse().ok()).unwrap_or(1);
    let mut marks = anthill_sim::marks::Marks::default();
    for seed in seed..seed + n {
        let plan = anthill_sim::plan::Plan::draw(seed);
        let begun = std::time::Instant::now();
        let mut world = anthill_sim::world::World::new(plan);
        world.trace.keep = n == 1;
        world.run();
        println!(
            "seed {seed} nodes {} events {} {:?} {} broken {:?}",
            world.plan.nodes(),
            world.trace.events,
            begun.elapsed(),
            world.trace.digest(),
            world.broken
        );
        if world.broken.is_some() && n == 1 {
            let lines = &world.trace.lines;
            for line in &lines[lines.len().saturating_sub(150)..] {
                println!("{line}");
            }
            println!("{:?}", world.plan);
        }
        marks.merge(&world.marks);
    }
    for (name, count) in marks.iter() {
        println!("{count:>9} {name}");
    }
    println!("missing {:?}", marks.missing());
}
