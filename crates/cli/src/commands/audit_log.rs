//! `audit-log verify` and `audit-log manifest`: a log of the controller, checked entry by entry.

use anthill_scheduler::controller::audit::{Entry, Head};

use super::controller::lines::Lines;
use super::{Context, write_out};
use crate::args_controller::AuditLogCommand;
use crate::error::CliError;

/// Runs a subcommand.
pub fn run(context: &Context, what: &AuditLogCommand) -> Result<(), CliError> {
    let (AuditLogCommand::Verify { file } | AuditLogCommand::Manifest { file }) = what;
    let head = walk(&mut Lines::open(file)?)?;
    if head.is_empty() {
        return Err(CliError::Usage(format!("{}: there is no entry in it", file.display())));
    }
    let manifest = head.manifest();
    let text = match what {
        _ if context.json => format!("{manifest}\n"),
        AuditLogCommand::Verify { .. } => {
            format!("{} entries are whole\nMerkle root {}\n", head.len(), head.merkle_root())
        }
        AuditLogCommand::Manifest { .. } => {
            let value =
                |name: &str| manifest.get(name).map(ToString::to_string).unwrap_or_default();
            let names = [
                "entries",
                "hash_algorithm",
                "first_timestamp",
                "last_timestamp",
                "first_hash",
                "last_hash",
                "merkle_root",
            ];
            let line = |name: &&str| format!("{name}: {}\n", value(name).trim_matches('"'));
            names.iter().map(line).collect()
        }
    };
    write_out(text.as_bytes())
        .map_err(|error| CliError::File { path: "standard output".into(), error })
}

/// Follows a log to its end.
///
/// # Errors
/// The first entry that is not what it must be, with its line.
pub fn walk(lines: &mut Lines) -> Result<Head, CliError> {
    let mut head = Head::default();
    while let Some(line) = lines.next()? {
        let accepted = Entry::parse(&line).and_then(|entry| head.accept(&entry));
        accepted.map_err(|error| {
            let reason = format!("{error} (entry {} should stand here)", head.len());
            CliError::Untrusted { url: lines.place(), reason }
        })?;
    }
    Ok(head)
}
