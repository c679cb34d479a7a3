//! `sekisho log`: read and verify a log, offline and without a gateway.

mod export;
mod forget;
mod prove;
mod remote;
mod rotate;
mod verify;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Verdict;
use crate::record::{Entries, ReadEntry, Subjects, escape_controls, show_line};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print entries, one a line
    Show(ShowOptions),
    /// Check every entry, the tree, the checkpoint; list what was checked and what was not
    Verify(verify::Options),
    /// Prove one entry to somebody who has nothing else of the log
    Prove(prove::Options),
    /// Write a part of a log to one file that verifies offline
    Export(export::Options),
    /// Forget a person or service: their commitments in the log can never be opened again
    Forget(forget::Options),
    /// Give the log a new key, while the gateway does not run; it stays one log
    RotateKey(rotate::Options),
}

#[derive(Debug, Args)]
pub(super) struct ShowOptions {
    /// The log's directory
    path: PathBuf,
    /// First entry to print
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    from: u64,
    /// Only entries of this exchange
    #[arg(long, value_name = "ID")]
    exchange: Option<String>,
    /// The directory of [subjects]: names who is behind a pass, where that is not forgotten
    #[arg(long, value_name = "DIR")]
    subjects: Option<PathBuf>,
    /// Print whole entries as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Command) -> Result<Verdict> {
    match command {
        Command::Show(options) => show(&options),
        Command::Verify(options) => verify::verify(&options),
        Command::Prove(options) => prove::prove(&options),
        Command::Export(options) => export::export(&options),
        Command::Forget(options) => forget::forget(&options),
        Command::RotateKey(options) => rotate::rotate(&options),
    }
}

fn show(options: &ShowOptions) -> Result<Verdict> {
    let subjects = options.subjects.as_deref().map(Subjects::open).transpose()?;
    let name = |entry: &ReadEntry| {
        let commitment = entry.payload.pointer("/pass/subject")?.as_str()?.parse().ok()?;
        subjects.as_ref()?.name(&commitment)
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for entry in Entries::from(&options.path, options.from)? {
        let entry = entry?;
        let exchange = entry.payload.get("exchange").and_then(serde_json::Value::as_str);
        if options.exchange.is_some() && options.exchange.as_deref() != exchange {
            continue;
        }
        if options.json {
            let mut shown = json!({ "index": entry.index, "header": entry.header, "entry": entry.payload });
            if let Some(name) = name(&entry) {
                shown["subject"] = name.into();
            }
            writeln!(out, "{shown}")?;
        } else {
            let name = name(&entry).map(|name| format!("  subject={}", escape_controls(name))).unwrap_or_default();
            writeln!(out, "{}{name}", show_line(&entry))?;
        }
    }
    out.flush()?;
    Ok(Verdict::Yes)
}
