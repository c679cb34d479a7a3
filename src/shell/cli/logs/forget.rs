//! `sekisho log forget`: takes a person out of what opens the record's commitments.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::record::{RecordError, SubjectStore};
use crate::shell::assemble;
use crate::shell::cli::Verdict;
use crate::shell::cli::person::AdminOptions;
use crate::types::SystemClock;

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct Options {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The person or service, as its passes name it (sub); `-` reads it from stdin, so that no list of processes shows it
    #[arg(long, value_name = "SUB")]
    subject: String,
    #[command(flatten)]
    admin: AdminOptions,
    /// Print what was forgotten as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn forget(options: &Options) -> Result<Verdict> {
    let subject = match options.subject.as_str() {
        "-" => std::io::read_to_string(std::io::stdin())?.trim_end_matches(['\r', '\n']).to_owned(),
        subject => subject.to_owned(),
    };
    let forgotten = match options.admin.post("/api/subjects/forget", &json!({ "subject": subject }))? {
        Some(forgotten) => forgotten,
        None => alone(options, &subject)?,
    };
    let count = |name: &str| forgotten.get(name).and_then(Value::as_u64).unwrap_or_default();
    if options.json {
        println!("{forgotten}");
    } else {
        println!("forgotten: {} passes on {} days", count("passes"), count("days"));
        if count("unreadable") > 0 {
            println!("{} lines that could not be read went with them", count("unreadable"));
        }
    }
    Ok(if count("passes") > 0 { Verdict::Yes } else { Verdict::No })
}

/// Forgets while no gateway runs: the store's lock says so.
fn alone(options: &Options, subject: &str) -> Result<Value> {
    let resolved = assemble::load(&options.config)?;
    let store = match SubjectStore::open(assemble::subjects(&resolved), Arc::new(SystemClock)) {
        Ok(store) => store,
        Err(error @ RecordError::Locked(_)) => {
            return Err(error).context("the gateway runs: name its admin listener with --admin, or stop it");
        }
        Err(error) => return Err(error).context("opening the store of subjects"),
    };
    let forgotten = store.forget(subject);
    store.close();
    Ok(json!(forgotten?))
}
