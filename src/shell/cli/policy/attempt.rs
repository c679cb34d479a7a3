//! `sekisho policy try`: both engines on a policy's cases and on generated inputs.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::decide::{Bundle, FEWEST_INPUTS, TrialReport};
use crate::shell::cli::Verdict;
use crate::shell::trial::{TrialOptions, hold_trial};

/// Codes of a trial that was not held.
const COULD_NOT_TELL: [&str; 2] = ["bundle_unconfinable", "bundle_untried"];

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct Options {
    /// The policy, with its compiled module: a directory or an archive
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Generated inputs
    #[arg(long, value_name = "NUMBER", default_value_t = FEWEST_INPUTS)]
    inputs: usize,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<Verdict> {
    let bundle = Bundle::open(&options.bundle)?;
    let shown = Cell::new(usize::MAX);
    let bar = |done: usize, total: usize| {
        let percent = done * 100 / total.max(1);
        if shown.replace(percent) != percent {
            // A terminal that is gone is no reason to stop.
            let _ = write!(std::io::stderr(), "\r{percent:3} % of {total} inputs");
        }
    };
    let terminal = std::io::stderr().is_terminal();
    let progress: Option<&dyn Fn(usize, usize)> = if terminal { Some(&bar) } else { None };
    let held = hold_trial(&bundle, &TrialOptions { inputs: options.inputs, progress, ..TrialOptions::default() });
    if terminal {
        eprintln!();
    }
    let report = match held {
        Ok(report) => report,
        Err(error) if COULD_NOT_TELL.contains(&error.code()) => return Err(error.into()),
        // What breaks the interpreter or does not compile is a finding.
        Err(error) => {
            if options.json {
                println!("{}", json!({ "code": error.code(), "why": error.to_string() }));
            }
            eprintln!("{}: {error}", error.code());
            return Ok(Verdict::No);
        }
    };
    let verdict = report.verdict();
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", told(&report));
    }
    match verdict {
        Ok(()) => Ok(Verdict::Yes),
        Err(error) => {
            eprintln!("{}: {error}", error.code());
            Ok(Verdict::No)
        }
    }
}

fn told(report: &TrialReport) -> String {
    let TrialReport { policy, revision, inputs, agreed, permitted, reviewed, denied, undecided, .. } = report;
    format!(
        "{policy} {revision}: the engines agree on {agreed} of {inputs} inputs ({permitted} permits, {reviewed} reviews, \
         {denied} denials, {undecided} without a decision), {:.1} s",
        report.took_ms as f64 / 1000.0
    )
}
