//! The command `anthill`.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod args;
mod args_chain;
mod args_controller;
mod args_embed;
mod args_focus;
mod args_task;
mod args_tx;
mod args_vector;
mod args_vn;
mod args_work;
mod client;
mod commands;
mod demo;
mod error;
mod npy;
mod table;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;

/// Parses the command line, runs the command, and turns its error into a message and an exit code:
/// 0 done, 1 failed, 2 wrong usage, 3 no node is running, 4 a proof was refused.
fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report(json);
            ExitCode::from(error.exit_code())
        }
    }
}
