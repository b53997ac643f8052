//! `demo`: the whole story on one machine, every claim of it checked.

mod cluster;
mod report;
mod story;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anthill_node::index::{IndexRequest, JobView};
use anthill_node::search::AskReply;
use anthill_node::views::{CreditsView, EpochView, StatusView};
use serde::Serialize;

use crate::args::DemoArgs;
use crate::commands::{Context, ask, credits};
use crate::error::CliError;
use crate::table::{Table, short};
use cluster::Cluster;
use story::{Claim, Story};

/// The three questions, each with a word that a right passage holds.
const QUESTIONS: [(&str, &str); 3] = [
    ("How is a wrong result found, and what does the liar lose?", "wrong"),
    ("How does a newcomer join with a ticket?", "ticket"),
    ("How does the random beacon get its next value?", "beacon"),
];
/// The name of the demo's index.
const INDEX: &str = "demo";
/// The story must end within this time.
const LIMIT: Duration = Duration::from_secs(110);

/// Everything that the demo found out.
#[derive(Serialize)]
pub struct Outcome {
    /// Seconds from the first process to the last claim.
    pub seconds: f64,
    /// What happened when.
    pub timeline: Vec<(f64, String)>,
    /// The claims, all of which hold.
    pub claims: Vec<Claim>,
    /// The index.
    pub index: JobView,
    /// Questions with answers.
    pub answers: Vec<(String, AskReply)>,
    /// The epoch that paid.
    pub epoch: EpochView,
    /// The bank at the end.
    pub credits: CreditsView,
    /// The network at the end.
    pub status: StatusView,
    /// Node keys of the liars.
    pub liars: Vec<String>,
    /// Node that was killed and came back.
    pub killed: String,
    /// The proof that was checked.
    pub proof: String,
}

/// Runs the demo.
pub fn run(context: &Context, args: &DemoArgs) -> Result<(), CliError> {
    if args.nodes < 4 || args.nodes > 32 || args.liars > args.nodes {
        return Err(CliError::Usage(
            "the demo needs 4 to 32 --nodes, and no more --liars than nodes".into(),
        ));
    }
    let root = args.keep.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("anthill-demo-{}", std::process::id()))
    });
    let mut story = Story::new(!context.json, LIMIT);
    let result = tell(&mut story, args, &root);
    let kept = args.keep.is_some();
    match result {
        Ok((outcome, cluster)) => {
            finish(context, args, &outcome)?;
            if !args.exit {
                wait_for_enter(context, &cluster)?;
            }
            drop(cluster);
            clean(&root, kept);
            Ok(())
        }
        Err(error) => {
            let logs = cluster::last_logs(&root);
            clean(&root, kept);
            Err(CliError::Failed(format!("the story does not hold: {error}\n{logs}")))
        }
    }
}

fn clean(root: &Path, kept: bool) {
    if !kept {
        // A temporary folder; the system clears it if this does not.
        let _ = std::fs::remove_dir_all(root);
    }
}

fn tell(story: &mut Story, args: &DemoArgs, root: &Path) -> Result<(Outcome, Cluster), CliError> {
    let mut cluster = Cluster::found(root, args.nodes)?;
    cluster.start_all(story)?;
    story.say(format!(
        "{} validators run as processes of their own, joined over QUIC on loopback",
        args.nodes
    ));
    let liars = join_liars(story, &mut cluster, args.liars)?;
    let index = begin_index(story, &cluster, args, root)?;
    let killed = kill_in_the_middle(story, &mut cluster)?;
    let index =
        wait_for_index(story, &cluster).map(|ready| JobView { tasks: index.tasks, ..ready })?;
    check_results(story, &cluster)?;
    let answers = ask_questions(story, &cluster)?;
    cluster.start(killed, story)?;
    story.say(format!("node {} is started again", short(&cluster.node(killed).key)));
    let epoch = wait_for_rewards(story, &cluster)?;
    check_liars(story, &cluster, &liars, &epoch)?;
    let proof = prove_one(story, &cluster, args, &epoch)?;
    check_agreement(story, &cluster, killed)?;
    let index = cluster.client(0)?.get::<JobView>(&format!("/api/jobs/{INDEX}")).unwrap_or(index);
    let outcome = Outcome {
        seconds: story.elapsed(),
        timeline: story.timeline.clone(),
        claims: story.claims.clone(),
        index,
        answers,
        epoch,
        credits: cluster.client(0)?.get("/api/credits?newest=20")?,
        status: cluster.client(0)?.get("/api/status")?,
        liars,
        killed: cluster.node(killed).key.clone(),
        proof: proof.display().to_string(),
    };
    Ok((outcome, cluster))
}

fn join_liars(
    story: &mut Story,
    cluster: &mut Cluster,
    liars: usize,
) -> Result<Vec<String>, CliError> {
    for _ in 0..liars {
        let body = serde_json::json!({ "bond": "100", "valid_seconds": 600 });
        let reply: serde_json::Value = cluster.client(0)?.post("/api/tickets", &body)?;
        let ticket = reply.get("ticket").and_then(|t| t.as_str()).unwrap_or_default().to_string();
        cluster.join_liar(&ticket)?;
    }
    let all = cluster.len();
    story.until("all nodes are connected", || {
        let status: StatusView = cluster.client(0)?.get("/api/status")?;
        Ok((status.peers + 1 >= all).then_some(()))
    })?;
    let keys: Vec<String> = cluster.liars().map(|n| n.key.clone()).collect();
    if !keys.is_empty() {
        let names: Vec<&str> = keys.iter().map(|k| short(k)).collect();
        story.say(format!(
            "{} joined with a ticket and a sponsored bond, and will return wrong embeddings",
            names.join(", ")
        ));
    }
    Ok(keys)
}

/// Gathers the project's own pages (and the given folder) and begins the index.
fn begin_index(
    story: &mut Story,
    cluster: &Cluster,
    args: &DemoArgs,
    root: &Path,
) -> Result<JobView, CliError> {
    let corpus = root.join("corpus");
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    story::copy_text(&project.join("README.md"), &corpus.join("README.md"))?;
    story::copy_text(&project.join("docs"), &corpus.join("docs"))?;
    if let Some(path) = &args.path {
        story::copy_text(path, &corpus.join("path"))?;
    }
    let request = IndexRequest {
        path: corpus.display().to_string(),
        name: INDEX.into(),
        public: false,
        model: None,
    };
    let view: JobView = cluster.client(0)?.post("/api/index", &request)?;
    story.say(format!(
        "{} files are split into {} passages, {} tasks; the text goes to assigned nodes only",
        view.files, view.passages, view.tasks
    ));
    Ok(view)
}

/// SIGKILLs the last validator once the tasks are drawn, while their results are still open.
fn kill_in_the_middle(story: &mut Story, cluster: &mut Cluster) -> Result<usize, CliError> {
    let victim = cluster.validators() - 1;
    let client = cluster.client(0)?;
    let height = client.get::<StatusView>("/api/status")?.height;
    story.until("the tasks are drawn", || {
        let status: StatusView = client.get("/api/status")?;
        Ok((status.height >= height + 3).then_some(()))
    })?;
    let view: JobView = client.get(&format!("/api/jobs/{INDEX}"))?;
    cluster.kill(victim)?;
    story.say(format!(
        "node {} is killed (SIGKILL) with {} of {} results accepted",
        short(&cluster.node(victim).key),
        view.accepted,
        view.tasks
    ));
    Ok(victim)
}

fn wait_for_index(story: &mut Story, cluster: &Cluster) -> Result<JobView, CliError> {
    let view = story.until("the index is ready", || {
        let view: JobView = cluster.client(0)?.get(&format!("/api/jobs/{INDEX}"))?;
        match view.stage.as_str() {
            "ready" | "final" => Ok(Some(view)),
            "failed" => Err(CliError::Failed(view.error.unwrap_or_default())),
            _ => Ok(None),
        }
    })?;
    story.say(format!("the index is ready: digest {}", view.digest.as_deref().map_or("", short)));
    Ok(view)
}

/// Recomputes every accepted result here and compares.
fn check_results(story: &mut Story, cluster: &Cluster) -> Result<(), CliError> {
    let (checked, wrong) = cluster.recompute(INDEX)?;
    story.claim(
        format!(
            "all {checked} accepted results equal a recomputation in this process, bit for bit"
        ),
        checked > 0 && wrong == 0,
    )
}

fn ask_questions(
    story: &mut Story,
    cluster: &Cluster,
) -> Result<Vec<(String, AskReply)>, CliError> {
    let client = cluster.client(0)?;
    let mut answers = Vec::new();
    for (question, word) in QUESTIONS {
        let reply = ask::send(&client, question, 3, None)?;
        let holds = reply.answers.iter().any(|a| a.text.to_lowercase().contains(word));
        story.claim(
            format!("\"{question}\" is answered by passages, one of which speaks of {word:?}"),
            holds,
        )?;
        answers.push((question.to_string(), reply));
    }
    Ok(answers)
}

/// Waits for the epoch in which the work became final and was paid.
fn wait_for_rewards(story: &mut Story, cluster: &Cluster) -> Result<EpochView, CliError> {
    let epoch = story.until("an epoch pays for the work", || {
        let view: JobView = cluster.client(0)?.get(&format!("/api/jobs/{INDEX}"))?;
        if view.stage != "final" {
            return Ok(None);
        }
        cluster.paying_epoch()
    })?;
    let rewards: Result<Vec<u128>, _> =
        epoch.rows.iter().map(|r| story::micro(&r.reward)).collect();
    let sum: u128 = rewards?.iter().sum();
    story.claim(
        format!("epoch {} shares out its pool of {} rUv exactly", epoch.epoch, epoch.pool),
        sum == story::micro(&epoch.pool)? && sum > 0,
    )?;
    Ok(epoch)
}

fn check_liars(
    story: &mut Story,
    cluster: &Cluster,
    liars: &[String],
    epoch: &EpochView,
) -> Result<(), CliError> {
    let status: StatusView = cluster.client(0)?.get("/api/status")?;
    for liar in liars {
        let node = status.nodes.iter().find(|n| n.node == *liar);
        let slashed = node.map_or("0".to_string(), |n| n.slashed.clone());
        let paid = cluster.paid_to(liar)?;
        let earned = epoch.rows.iter().any(|r| r.node == *liar && r.reward != "0");
        story.claim(
            format!(
                "liar {} was caught, lost {slashed} rUv of its bond, and earned nothing",
                short(liar)
            ),
            story::micro(&slashed)? > 0 && paid == 0 && !earned,
        )?;
    }
    Ok(())
}

/// Proves one reward, checks it in a process of its own, and sees an altered file refused.
fn prove_one(
    story: &mut Story,
    cluster: &Cluster,
    args: &DemoArgs,
    epoch: &EpochView,
) -> Result<PathBuf, CliError> {
    let payment = epoch.rows.iter().find_map(|r| r.payment);
    let payment = payment.ok_or_else(|| CliError::Failed("no reward was paid".into()))?;
    let bundle = cluster.client(0)?.get_bytes(&format!("/api/proofs/credits:{payment}"))?;
    let file = args.proof_out.clone().unwrap_or_else(|| cluster.root().join("proof.cbor"));
    story::write(&file, &bundle)?;
    let genesis = cluster.genesis().to_string();
    let said = cluster::verify_elsewhere(&file, &genesis)?;
    story.claim(
        format!("credit {payment} is proved from task to state root by the light client in a process of its own, offline"),
        said == 0,
    )?;
    let mut altered = bundle;
    let middle = altered.len() / 2;
    if let Some(byte) = altered.get_mut(middle) {
        *byte ^= 1;
    }
    let wrong = cluster.root().join("altered.cbor");
    story::write(&wrong, &altered)?;
    let said = cluster::verify_elsewhere(&wrong, &genesis)?;
    story.claim("the same file with one bit changed is refused".into(), said == 4)?;
    Ok(file)
}

/// All nodes, the one that was killed too, hold the same state.
fn check_agreement(story: &mut Story, cluster: &Cluster, killed: usize) -> Result<(), CliError> {
    let begun = Instant::now();
    story.until("all nodes hold the same block", || {
        let mut tips = Vec::new();
        for i in 0..cluster.len() {
            let status: StatusView = cluster.client(i)?.get("/api/status")?;
            tips.push((status.height, status.root));
        }
        Ok((tips.windows(2).all(|w| w[0] == w[1])).then_some(()))
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let name = short(&cluster.node(killed).key).to_string();
    story.claim(
        format!(
            "all {} nodes, {name} too, agree on one state root (seen within {seconds:.1} s)",
            cluster.len()
        ),
        true,
    )?;
    let bank: CreditsView = cluster.client(0)?.get("/api/credits?newest=1")?;
    let total = story::micro(&bank.held)? + story::micro(&bank.burned)?;
    story.claim(
        format!("held {} + burned {} = minted {} rUv", bank.held, bank.burned, bank.minted),
        total == story::micro(&bank.minted)?,
    )
}

fn finish(context: &Context, args: &DemoArgs, outcome: &Outcome) -> Result<(), CliError> {
    if let Some(path) = &args.report {
        story::write(path, report::html(outcome).as_bytes())?;
    }
    context.print(outcome, || {
        let mut text = String::from("\nWho did what\n");
        let mut table =
            Table::new(&["node", "passages embedded", "rUv earned", "trust", "slashed", ""]);
        for node in &outcome.status.nodes {
            let passages = outcome.index.workers.get(&node.node).copied().unwrap_or(0);
            let row = outcome.epoch.rows.iter().find(|r| r.node == node.node);
            let note = match (outcome.liars.contains(&node.node), outcome.killed == node.node) {
                (true, _) => "liar",
                (_, true) => "killed and back",
                _ => "",
            };
            table.row(vec![
                short(&node.node).into(),
                passages.to_string(),
                row.map_or("0".into(), |r| r.reward.clone()),
                node.trust.clone(),
                node.slashed.clone(),
                note.into(),
            ]);
        }
        text.push_str(&table.render());
        text.push_str("\nAnswers\n");
        for (question, reply) in &outcome.answers {
            text.push_str(&format!("\n? {question}\n{}", ask::answers_text(reply)));
        }
        text.push('\n');
        text.push_str(&credits::epoch_text(&outcome.epoch));
        text.push_str(&format!(
            "\nAll {} claims hold, after {:.1} s.\n",
            outcome.claims.len(),
            outcome.seconds
        ));
        if let Some(path) = &args.report {
            text.push_str(&format!("Report: {}\n", path.display()));
        }
        if let Some(path) = &args.proof_out {
            text.push_str(&format!(
                "Proof:  {} (check it: anthill verify {})\n",
                path.display(),
                path.display()
            ));
        }
        text
    });
    Ok(())
}

fn wait_for_enter(context: &Context, cluster: &Cluster) -> Result<(), CliError> {
    let reply: serde_json::Value =
        cluster.client(0)?.post("/api/login-code", &serde_json::json!({}))?;
    let code = reply.get("code").and_then(|c| c.as_str()).unwrap_or_default();
    if !context.json {
        println!(
            "\nThe dashboard is at {}/?code={code}\nPress Enter to end.",
            cluster.client(0)?.base()
        );
    }
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line) {
        // No terminal: stay up until the process is ended.
        Ok(0) => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        _ => Ok(()),
    }
}
