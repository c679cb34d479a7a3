//! `sekisho policy forget`: the way back to an older bundle, on purpose and with the gateway down.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::shell::cli::Verdict;
use crate::shell::{assemble, policies};

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct Options {
    /// Id of a [[policy.source]]; one that is configured no more can be forgotten too
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print what was forgotten as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn forget(options: &Options) -> Result<Verdict> {
    let resolved = assemble::load(&options.config)?;
    let forgotten = policies::forget(&assemble::policy_state(&resolved), &options.source)?;
    let source = &options.source;
    if options.json {
        println!("{}", json!({ "source": source, "forgotten": forgotten }));
    } else {
        match &forgotten {
            Some(accepted) => println!(
                "{source}: revision {} ({}) is forgotten; the next start takes whatever the source offers and is signed",
                accepted.revision, accepted.digest
            ),
            None => println!("{source}: nothing was accepted from it"),
        }
    }
    Ok(if forgotten.is_some() { Verdict::Yes } else { Verdict::No })
}
