//! `sekisho demo`: three organisations on loopback, each with its own authority, gateway and data service, and partners
//! without a gateway, play a story with real data. Then an outsider verifies the logs.

mod cast;
mod client;
mod data_service;
mod forgery;
mod report;
mod scenes;
mod stage;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use super::cli::Verdict;
use report::Report;
use stage::Stage;

pub(super) use data_service::{DataServiceOptions, data_service};

/// What `sekisho demo` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print the exchanges as JSON
    #[arg(long)]
    json: bool,
    /// Leave configuration, certificates and logs in this directory, with the commands to type next
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Keep everything running until interrupted
    #[arg(long)]
    stay: bool,
    /// Size of the streamed payload
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    stream_mib: u64,
}

/// Plays the story. `Yes` only if every exchange ended as it should and every log verifies.
pub(super) fn demo(options: &Options) -> Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("starting the runtime")?.block_on(play(options))
}

async fn play(options: &Options) -> Result<Verdict> {
    let mut report = Report::new(options.json);
    report.say("Sekisho demo: three organisations, their partners, real data, on loopback only.");
    let mut stage = Stage::set(options.keep.clone()).await.context("setting the stage")?;
    report.say(&format!("State in {}\n", stage.directory().display()));
    scenes::play(&mut stage, &mut report, options.stream_mib).await?;
    report.memory(stage.peak_memory()?);
    stage.settle().await?;
    for (party, witnesses) in stage.witnessed(true).await? {
        report.cosigned(party, &witnesses);
    }
    for verification in stage.verify()? {
        report.verified(verification);
    }
    report.say("\nTampered with:");
    for forgery in forgery::forge(&stage).await? {
        report.forgery(&forgery);
    }
    let verdict = report.finish()?;
    if options.stay {
        report.say(&stage.next_steps(true)?);
        report.say("Everything keeps running; interrupt to end it.");
        tokio::signal::ctrl_c().await.context("waiting for the interrupt")?;
    }
    stage.strike().await?;
    if options.keep.is_some() && !options.stay {
        report.say(&stage.next_steps(false)?);
    }
    Ok(verdict)
}
