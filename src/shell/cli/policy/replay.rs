//! `sekisho policy replay`: what a change of the policy would have done to recorded exchanges.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use time::macros::format_description;

use super::PATIENCE;
use crate::record::escape_controls;
use crate::shell::cli::Verdict;
use crate::shell::cli::progress::Progress;
use crate::shell::replay::{Candidate, Flip, Side, Span, Summary, replay};
use crate::types::Obligation;

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct ReplayOptions {
    /// The policy to try; given several times, the policies that would be in force together
    #[arg(long, value_name = "DIR", required = true)]
    candidate: Vec<PathBuf>,
    /// The log's directory
    #[arg(long, value_name = "DIR")]
    log: PathBuf,
    /// The directory of stored inputs; `inputs` beside the log when absent
    #[arg(long, value_name = "DIR")]
    inputs: Option<PathBuf>,
    /// Only what was decided on this day (UTC) or later
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    from: Option<String>,
    /// Only what was decided before this day (UTC)
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    until: Option<String>,
    /// Decide as if everything were asked on this day
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    at: Option<String>,
    /// List this many flips at most; all are counted
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Exit with 2 when a single decision could not be made again
    #[arg(long)]
    strict: bool,
    /// Print flips and sums as one JSON document
    #[arg(long)]
    json: bool,
}

fn day(text: &str) -> Result<String, String> {
    match time::Date::parse(text, format_description!("[year]-[month]-[day]")) {
        Ok(_) if text.len() == "YYYY-MM-DD".len() => Ok(text.to_owned()),
        _ => Err("write a day of the calendar as YYYY-MM-DD".to_owned()),
    }
}

pub(super) fn run(options: &ReplayOptions) -> Result<Verdict> {
    let mut candidate = Candidate::read(&options.candidate, PATIENCE)?;
    if let Some(at) = &options.at {
        candidate = candidate.asked_at(at.clone());
    }
    let beside = || options.log.parent().unwrap_or_else(|| Path::new("")).join("inputs");
    let inputs = options.inputs.clone().unwrap_or_else(beside);
    let span = Span { from: options.from.clone(), until: options.until.clone() };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    // A flip that is printed takes the line of the progress.
    let progress = RefCell::new(Progress::new("replaying", options.json));
    if options.json {
        write!(out, r#"{{"candidate":{},"flips":["#, json!(candidate.identity()))?;
    }
    let mut listed = 0;
    let found = replay(
        &options.log,
        &inputs,
        &candidate,
        &span,
        |done, total| progress.borrow_mut().show(done, total),
        |flip| {
            if options.limit.is_some_and(|limit| listed == limit) {
                return Ok(());
            }
            if options.json {
                write!(out, "{}{}", if listed == 0 { "" } else { "," }, serde_json::to_string(flip)?)?;
            } else {
                progress.borrow_mut().clear();
                writeln!(out, "{}", line(flip))?;
            }
            listed += 1;
            Ok(())
        },
    );
    drop(progress);
    let summary = match found {
        Ok(summary) => summary,
        Err(error) => {
            // What was printed stays one document, and says that it is not the whole.
            if options.json {
                writeln!(out, r#"],"error":{}}}"#, json!(format!("{error:#}")))?;
            }
            out.flush()?;
            return Err(error);
        }
    };
    match options.json {
        true => writeln!(out, r#"],"listed":{listed},"summary":{}}}"#, serde_json::to_string(&summary)?)?,
        false => write!(out, "{}", sums(&summary, listed))?,
    }
    out.flush()?;
    verdict(&summary, options.strict)
}

/// No flips is a yes only where something was decided again.
fn verdict(summary: &Summary, strict: bool) -> Result<Verdict> {
    let untold = summary.cannot_tell.total();
    if strict && untold > 0 {
        bail!("{untold} decisions could not be made again");
    }
    if untold > 0 && untold == summary.decisions {
        bail!("not one of {untold} decisions could be made again");
    }
    Ok(if summary.flips == 0 { Verdict::Yes } else { Verdict::No })
}

/// A flip in one line. Rules of a candidate are anybody's words, so control characters are shown escaped.
fn line(flip: &Flip) -> String {
    let word = |word: &Option<String>| word.as_deref().unwrap_or("-").to_owned();
    let mut line = format!(
        "{}  {}  {} {} {}: {} -> {}",
        flip.at,
        flip.exchange,
        flip.direction,
        word(&flip.partner),
        word(&flip.dataset),
        side(&flip.recorded),
        side(&flip.candidate)
    );
    let (before, after) = (&flip.recorded.obligations, &flip.candidate.obligations);
    let mut tell = |what: &str, these: &[Obligation], others: &[Obligation]| {
        for obligation in these.iter().filter(|obligation| !others.contains(obligation)) {
            // Writing to a String does not fail.
            let _ = write!(line, "; {what} {}", json!(obligation));
        }
    };
    tell("without", before, after);
    tell("with", after, before);
    escape_controls(&line)
}

fn side(side: &Side) -> String {
    let rules = match &side.code {
        Some(code) if side.rules.is_empty() => code.clone(),
        _ => side.rules.join(" "),
    };
    if rules.is_empty() { side.status.to_string() } else { format!("{} [{rules}]", side.status) }
}

fn sums(summary: &Summary, listed: u64) -> String {
    let kinds: Vec<String> =
        summary.kinds.iter().map(|counted| format!("{} {}", counted.count, counted.kind)).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
    let untold = &summary.cannot_tell;
    let mut text = format!(
        "{} recorded decisions, {} distinct inputs, {} cannot be told, {} would change{kinds}\n",
        summary.decisions,
        summary.distinct_inputs,
        untold.total(),
        summary.flips
    );
    let mut tell = |count: u64, what: &str| {
        if count > 0 {
            // Writing to a String does not fail.
            let _ = writeln!(text, "  {count} {what}");
        }
    };
    tell(summary.flips - listed, "more would change than are listed");
    tell(summary.other_rules, "keep their verdict under other rules");
    tell(summary.decided_by_agreement, "are decided by their agreement, whatever a policy says");
    tell(untold.missing, "cannot be told: the store does not hold their input");
    tell(untold.damaged, "cannot be told: their stored input is not what was decided on");
    tell(untold.narrowed, &format!("cannot be told: their input was kept without {}", untold.lacking.join(", ")));
    tell(summary.refused_unasked, "were refused without asking a policy, and are left out");
    for place in &summary.damaged {
        let _ = writeln!(text, "  damaged: {place}");
    }
    text
}
