//! How much of a policy its worked cases reach: lines that no case evaluates, and rules that no case shows.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use serde::Serialize;
use serde_json::Value;

use super::cases::read_cases;
use super::engine::TIMER_UNITS;
use super::explain::laws;
use super::{Bundle, Case, DecideError, Decision, Law};

#[cfg(test)]
mod tests;

/// The longest that one case may take: a person waits for it, and nothing else does.
const PATIENCE: Duration = Duration::from_secs(60);
/// Two cases are near when they differ in at most so many fields: one shows what the rule turns on, a second goes with it.
const NEAR: usize = 2;

/// What the cases of a policy reach.
#[derive(Debug, Serialize)]
pub struct Coverage {
    /// Each source file.
    pub files: Vec<FileCoverage>,
    /// Each rule that an annotation names.
    pub rules: Vec<RuleCoverage>,
    /// Lines that some case evaluates, of those that can be, in percent.
    pub percent: f64,
}

/// What the cases reach of a file.
#[derive(Debug, Serialize)]
pub struct FileCoverage {
    /// The file.
    pub path: String,
    /// Lines that can be evaluated.
    pub lines: usize,
    /// Those that some case evaluates, in percent.
    pub percent: f64,
    /// Those that none does.
    pub uncovered: Vec<Line>,
}

/// A line of source.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Its number, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
}

/// What the cases show of a rule.
#[derive(Debug, Serialize)]
pub struct RuleCoverage {
    /// The rule's id.
    pub rule: String,
    /// Its title.
    pub title: String,
    /// How many cases it denies, holds or gives duties in.
    pub fires: usize,
    /// A case in which it denies or holds and no other rule does.
    pub alone: Option<String>,
    /// A case in which it fires, and one that differs in two fields at most and in which it does not: its boundary.
    pub boundary: Option<[String; 2]>,
}

/// One case as it came out.
struct Seen {
    id: String,
    fields: BTreeMap<String, Value>,
    against: BTreeSet<String>,
    fired: BTreeSet<String>,
}

/// Runs every case of a bundle and tells what they reach. For the operator's own source: the interpreter is no sandbox.
///
/// # Errors
/// [`DecideError`] when a source, a case or an annotation cannot be read. A case without a decision reaches lines, too.
pub fn coverage(bundle: &Bundle) -> Result<Coverage, DecideError> {
    let mut engine = regorus::Engine::new();
    engine.set_strict_builtin_errors(true);
    engine.set_execution_timer_config(ExecutionTimerConfig { limit: PATIENCE, check_interval: TIMER_UNITS });
    let unusable = |path: &str, error: &dyn std::fmt::Display| DecideError::unusable(format!("{path}: {error}"));
    for source in bundle.sources() {
        engine.add_policy(source.path.clone(), source.text.clone()).map_err(|error| unusable(&source.path, &error))?;
    }
    engine.add_data_json(&bundle.data().to_string()).map_err(|error| unusable("the data", &error))?;
    engine.set_enable_coverage(true);
    let rule = format!("data.{}", bundle.entrypoint().replace('/', "."));
    let mut seen = Vec::new();
    for case in read_cases(bundle)? {
        engine.set_input_json(&case.input.to_string()).map_err(|error| unusable(&case.id, &error))?;
        let evaluated = catch_unwind(AssertUnwindSafe(|| engine.eval_rule(rule.clone())));
        let evaluated = evaluated.map_err(|_| unusable(&case.id, &"the policy engine crashed on this case"))?;
        let Some(document) = evaluated.ok().and_then(|value| value.to_json_str().ok()) else { continue };
        if let Ok(decision) = Decision::read(&document, bundle.identity().clone().into()) {
            seen.push(Seen::new(case, &decision));
        }
    }
    let report = engine.get_coverage_report().map_err(|error| unusable("the coverage", &error))?;
    let (mut files, mut reached, mut all) = (Vec::new(), 0, 0);
    for source in bundle.sources() {
        // A file of which nothing was evaluated is missing from the report.
        let found = report.files.iter().find(|file| file.path == source.path);
        let text = |line: usize| source.text.lines().nth(line - 1).unwrap_or_default().trim().to_owned();
        let (covered, uncovered): (usize, Vec<usize>) = match found {
            // A line counts as reached when anything on it was.
            Some(file) => {
                let missed = file.not_covered.difference(&file.covered).map(|line| *line as usize);
                (file.covered.len(), missed.collect())
            }
            None => (0, code_lines(&source.text)),
        };
        let lines = covered + uncovered.len();
        reached += covered;
        all += lines;
        files.push(FileCoverage {
            path: source.path.clone(),
            lines,
            percent: percent(covered, lines),
            uncovered: uncovered.into_iter().map(|line| Line { line, text: text(line) }).collect(),
        });
    }
    let rules = laws(bundle)?.0.into_iter().map(|law| shown(&law, &seen)).collect();
    Ok(Coverage { files, rules, percent: percent(reached, all) })
}

/// Lines of a file that hold more than a comment, its package or an import.
fn code_lines(text: &str) -> Vec<usize> {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    let code = lines.filter(|(_, line)| {
        !(line.is_empty() || line.starts_with('#') || line.starts_with("package ") || line.starts_with("import "))
    });
    code.map(|(number, _)| number).collect()
}

/// To a tenth; a file without code is reached.
fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 100.0 } else { (part as f64 * 1000.0 / whole as f64).floor() / 10.0 }
}

impl Seen {
    fn new(case: Case, decision: &Decision) -> Self {
        let against: BTreeSet<String> = decision.reasons().iter().map(|reason| reason.rule.clone()).collect();
        let duties = decision.obligations().iter().map(|duty| duty.rule.clone());
        let fired = against.iter().cloned().chain(duties).collect();
        let mut fields = BTreeMap::new();
        for (section, value) in case.input.as_object().into_iter().flatten() {
            match value {
                Value::Object(members) => {
                    fields.extend(members.iter().map(|(name, value)| (format!("{section}.{name}"), value.clone())));
                }
                value => {
                    fields.insert(section.clone(), value.clone());
                }
            }
        }
        Self { id: case.id, fields, against, fired }
    }

    /// In how many fields two cases differ.
    fn distance(&self, other: &Self) -> usize {
        let differing = self.fields.iter().filter(|(name, value)| other.fields.get(*name) != Some(value)).count();
        differing + other.fields.keys().filter(|name| !self.fields.contains_key(*name)).count()
    }
}

fn shown(law: &Law, seen: &[Seen]) -> RuleCoverage {
    let (firing, silent): (Vec<&Seen>, Vec<&Seen>) = seen.iter().partition(|case| case.fired.contains(&law.rule));
    let only = |case: &&&Seen| case.against.len() == 1 && case.against.contains(&law.rule);
    // The case alone is the better half of a boundary.
    let mut ordered = firing.clone();
    ordered.sort_by_key(|case| case.against.len());
    let pairs = ordered.iter().flat_map(|fires| silent.iter().map(move |quiet| (fires, quiet)));
    let boundary = pairs
        .map(|(fires, quiet)| (fires.distance(quiet), fires, quiet))
        .filter(|(distance, ..)| *distance <= NEAR)
        .min_by_key(|(distance, ..)| *distance);
    RuleCoverage {
        rule: law.rule.clone(),
        title: law.title.clone(),
        fires: firing.len(),
        alone: firing.iter().find(only).map(|case| case.id.clone()),
        boundary: boundary.map(|(_, fires, quiet)| [fires.id.clone(), quiet.id.clone()]),
    }
}
