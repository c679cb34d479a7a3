//! `sekisho check`: everything `serve` would look at, without starting anything.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::Verdict;
use crate::authenticate::Certificate;
use crate::shell::{assemble, config, policies};
use crate::types::{Clock, SystemClock};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print problems as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn check(options: &Options) -> Result<Verdict> {
    let (problems, warnings) = match config::load(&options.config, std::env::vars_os()) {
        Err(problems) => (problems.iter().map(ToString::to_string).collect(), Vec::new()),
        Ok(resolved) => (beyond_the_text(&resolved), assemble::warnings(&resolved.config)),
    };
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    if options.json {
        let ok = problems.is_empty();
        println!("{}", json!({ "config": options.config, "ok": ok, "problems": problems, "warnings": warnings }));
    } else {
        for problem in &problems {
            println!("{problem}");
        }
        if problems.is_empty() {
            println!("{}: no problems", options.config.display());
        }
    }
    Ok(if problems.is_empty() { Verdict::Yes } else { Verdict::No })
}

/// What only shows when the parts are tried: the policies that are on this machine pass all but their trial, certificates
/// are in their time. No bundle server is asked.
fn beyond_the_text(resolved: &config::Resolved) -> Vec<String> {
    let mut problems = Vec::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match assemble::policies(resolved) {
        Ok(setup) => problems.extend(policies::problems(setup, &clock)),
        Err(error) => problems.push(format!("policy: {error:#}")),
    }
    let now = SystemClock.now();
    match assemble::certificates(&resolved.tls_certificate).map(|chain| Certificate::read(&chain[0])) {
        Ok(Ok(certificate)) => {
            let (from, until) = certificate.validity();
            if now < from || now > until {
                problems.push(format!("tls.certificate: valid from {from} to {until}, and now it is {now}"));
            }
            if !certificate.for_client() || !certificate.for_server() {
                problems.push("tls.certificate: it must name both serverAuth and clientAuth".to_owned());
            }
        }
        Ok(Err(error)) => problems.push(format!("tls.certificate: {error}")),
        Err(error) => problems.push(format!("tls.certificate: {error:#}")),
    }
    problems
}
