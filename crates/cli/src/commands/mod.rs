//! One module for each group of commands.

pub mod ask;
mod audit_log;
mod chain;
mod controller;
pub mod credits;
mod data_keys;
mod doctor;
mod embed;
mod focus;
mod generate;
mod graph;
mod graph_files;
mod keys;
mod light;
mod model;
mod poei;
mod proof;
mod run;
mod status;
mod task;
mod tx;
pub mod up;
mod vector;
mod vn;
mod work;

pub use vector::files::VectorFileError;

use std::io::Write;

use anthill_node::{Config, Home};
use serde::Serialize;

use crate::args::{Cli, Command, Settings};
use crate::client::Client;
use crate::error::CliError;

/// What every command needs.
pub struct Context {
    /// The data folder.
    pub home: Home,
    /// Print JSON.
    pub json: bool,
}

impl Context {
    /// The node that runs on the data folder.
    ///
    /// # Errors
    /// None runs.
    pub fn client(&self) -> Result<Client, CliError> {
        Client::open(&self.home)
    }

    /// Prints a value: as JSON for programs, else as the text.
    pub fn print<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) {
        let mut text =
            if self.json { serde_json::to_string(value).unwrap_or_default() } else { text() };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        if let Err(error) = write_out(text.as_bytes()) {
            let _ = writeln!(std::io::stderr(), "error: standard output: {error}");
        }
    }

    /// The configuration in force.
    ///
    /// # Errors
    /// A setting is unknown or out of range.
    pub fn config(&self, settings: &Settings) -> Result<Config, CliError> {
        let file = self.home.file("config.toml");
        let environment = anthill_node::config::environment();
        Ok(Config::load(&file, &environment, &settings.given())?)
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) closes the pipe: that is no
/// failure.
///
/// # Errors
/// What else the system says.
pub fn write_out(bytes: &[u8]) -> std::io::Result<()> {
    match std::io::stdout().write_all(bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code.
pub fn run(cli: Cli) -> Result<(), CliError> {
    let context = Context { home: Home::new(cli.data), json: cli.json };
    match cli.command {
        Command::Up { settings, how } => up::up(&context, &settings, &how),
        Command::Join { ticket, settings } => up::join(&context, &ticket, &settings),
        Command::Ticket { bond, hours } => up::ticket(&context, &bond, hours),
        Command::Index { path, name, public, model, status, detach } => {
            if status {
                return ask::jobs(&context);
            }
            let path = path.ok_or_else(|| {
                CliError::Usage("name a folder: anthill index ./notes --name notes".into())
            })?;
            ask::index(&context, &path, &name, public, model, detach)
        }
        Command::Ask { question, k, index, focus_weight } => {
            ask::ask(&context, &question, k, index, focus_weight)
        }
        Command::Credits { what } => credits::run(&context, what),
        Command::Task(args) => task::run(&context, &args),
        Command::Vn(args) => vn::run(&context, &args),
        Command::Tx { what, wait } => tx::run(&context, what, wait),
        Command::Epoch { number } => credits::epoch(&context, number),
        Command::Prove { subject, output } => proof::prove(&context, &subject, output.as_deref()),
        Command::Verify { files, genesis, checkpoint } => {
            proof::verify(&context, &files, genesis.as_deref(), checkpoint.as_deref())
        }
        Command::Proof { key, output } => light::proof(&context, &key, output.as_deref()),
        Command::Light { what } => light::run(&context, what),
        Command::Validators => chain::validators(&context),
        Command::Stake { what, wait } => chain::stake(&context, what, wait),
        Command::Gov { what, wait } => chain::gov(&context, what, wait),
        Command::Block { height } => chain::block(&context, &height),
        Command::Poei { what } => poei::run(&context, &what),
        Command::Status => status::status(&context),
        Command::Drain { timeout } => up::drain(&context, timeout),
        Command::Pause => status::steer(&context, "pause", &serde_json::json!({})),
        Command::Resume => status::steer(&context, "resume", &serde_json::json!({})),
        Command::Limit { cpu } => status::limit(&context, cpu),
        Command::Doctor { settings } => doctor::run(&context, &settings),
        Command::Backup { file, password_file } => {
            keys::backup(&context, &file, password_file.as_deref())
        }
        Command::Restore { file, password_file } => {
            keys::restore(&context, &file, password_file.as_deref())
        }
        Command::Model { what } => model::run(&context, what),
        Command::Embed(args) => embed::run(&context, &args),
        Command::Focus(args) => focus::run(&context, &args),
        Command::Graph { what } => graph::run(&context, &what),
        Command::Vector { what } => vector::run(&context, &what),
        Command::Match(args) => work::matching(&context, &args),
        Command::Run(args) => run::run(&context, &args),
        Command::Compress(args) => work::compress(&context, &args),
        Command::Decompress { file, output, max_bytes } => {
            work::decompress(&context, &file, &output, max_bytes)
        }
        Command::Generate(args) => generate::run(&context, &args),
        Command::Key { what } => data_keys::run(&context, what),
        Command::Encrypt { args, key } => data_keys::encrypt(&context, &args, &key),
        Command::Decrypt { file, output } => data_keys::decrypt(&context, &file, &output),
        Command::Config { settings } => status::config(&context, &settings),
        Command::Bench { tasks, one_by_one } => status::bench(&context, tasks, one_by_one),
        Command::Demo(args) => crate::demo::run(&context, &args),
        Command::Controller { what } => controller::run(&context, &what),
        Command::AuditLog { what } => audit_log::run(&context, &what),
        Command::Complete { shell } => status::complete(&shell),
    }
}
