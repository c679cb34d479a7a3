//! `sekisho policy check`: read a policy without running it, then compile it and run its cases.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::PATIENCE;
use crate::decide::{
    BUILTINS, Bundle, CASES_PATIENCE, CheckReport, DecideError, Finding, Policy, Severity, check, run_cases,
};
use crate::shell::cli::Verdict;
use crate::types::{Clock as _, SystemClock};

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct CheckOptions {
    /// Policy directory, or a bundle, which the sandbox runs
    #[arg(value_name = "DIR_OR_BUNDLE", default_value = "policies/dfft")]
    policy: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Hold the facts' review dates against this day (YYYY-MM-DD) instead of today
    #[arg(long, value_name = "DATE", value_parser = date)]
    at: Option<String>,
    /// Let warnings fail the check, too
    #[arg(long)]
    strict: bool,
    /// List the builtins that a policy may call, and why, instead of checking one
    #[arg(long)]
    builtins: bool,
}

pub(super) fn run(options: &CheckOptions) -> Result<Verdict> {
    if options.builtins {
        for builtin in BUILTINS {
            println!("{} ({} arguments): {}", builtin.name, builtin.arguments, builtin.why);
        }
        return Ok(Verdict::Yes);
    }
    if !options.policy.exists() {
        bail!("{} is not there: name a policy's directory or a bundle", options.policy.display());
    }
    let today = options.at.clone().unwrap_or_else(|| SystemClock.now().date());
    let (identity, report) = match Bundle::open(&options.policy) {
        Ok(bundle) => (Some(bundle.identity().clone()), findings(&bundle, &today)),
        Err(error) => (None, CheckReport { findings: vec![refused(&error)] }),
    };
    let (errors, warnings) = (report.errors().count(), report.warnings().count());
    let passes = errors == 0 && (warnings == 0 || !options.strict);
    if options.json {
        let told = json!({ "policy": identity, "ok": passes, "errors": errors, "warnings": warnings, "findings": report.findings });
        println!("{told}");
    } else {
        for finding in &report.findings {
            println!("{finding}");
        }
        let name =
            identity.map_or_else(|| options.policy.display().to_string(), |own| format!("{} {}", own.id, own.revision));
        println!("{name}: {errors} errors, {warnings} warnings");
    }
    Ok(if passes { Verdict::Yes } else { Verdict::No })
}

/// What the check finds; and, where it lets the policy through, what compiling it and running its cases finds.
fn findings(bundle: &Bundle, today: &str) -> CheckReport {
    let mut report = check(bundle, Some(today));
    if report.errors().count() > 0 {
        return report;
    }
    match Policy::compile(bundle, PATIENCE).and_then(|policy| run_cases(bundle, &policy, CASES_PATIENCE)) {
        Err(error) => report.findings.push(refused(&error)),
        Ok(outcomes) => {
            for outcome in outcomes.iter().filter(|outcome| !outcome.differences.is_empty()) {
                report.findings.push(Finding {
                    file: "cases".to_owned(),
                    line: 1,
                    severity: Severity::Error,
                    code: "case_fails",
                    text: format!("{}: {}: mend the rules or the case", outcome.id, outcome.differences.join("; ")),
                });
            }
        }
    }
    report
}

/// A bundle that cannot be read or compiled, as a finding.
fn refused(error: &DecideError) -> Finding {
    Finding {
        file: ".manifest".to_owned(),
        line: 1,
        severity: Severity::Error,
        code: error.code(),
        text: error.to_string(),
    }
}

fn date(text: &str) -> Result<String, String> {
    let form = time::macros::format_description!("[year]-[month]-[day]");
    time::Date::parse(text, form).map(|_| text.to_owned()).map_err(|error| format!("{error}: write YYYY-MM-DD"))
}
