//! The trial of a bundle: two engines answer the same inputs, and they must agree before the bundle decides anything.
//!
//! The inputs are the bundle's own cases, sixty-one examples of the reference policy, and as many generated ones as asked.
//! Each is asked of the engine that will decide and of a second one that reads the source. The first is asked once more
//! with no more of the input than the bundle declares that it reads: an answer that changes comes of something undeclared.

mod generate;
mod report;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::cases::read_cases;
use super::{Bundle, DecideError, Decision, InputPaths, Policy, run_cases};
use generate::Generator;
pub use report::{Disagreement, Findings, TrialReport};

/// The fewest generated inputs of a trial that counts.
pub const FEWEST_INPUTS: usize = 10_000;

/// What an engine answers to an input: a decision document, or why it has none.
pub type Answer = Result<Value, DecideError>;

/// The engine that the deciding one is compared with. It is asked first and heard afterwards, so that both work at once.
pub trait SecondEngine {
    /// Asks for the decision on an input (JSON).
    ///
    /// # Errors
    /// When the engine is lost, and the trial with it.
    fn ask(&mut self, input: &str) -> Result<(), DecideError>;

    /// The answer to what was asked last.
    ///
    /// # Errors
    /// When the engine is lost, and the trial with it.
    fn answer(&mut self) -> Result<Answer, DecideError>;
}

/// One trial.
pub struct Trial<'a> {
    /// What is tried.
    pub bundle: &'a Bundle,
    /// Generated inputs; [`FEWEST_INPUTS`] for a trial that counts.
    pub inputs: usize,
    /// The obligations that the gateway knows.
    pub obligations: &'a [&'a str],
    /// Told how many inputs of how many are done.
    pub progress: Option<&'a dyn Fn(usize, usize)>,
    /// The longest that the trial may take.
    pub patience: Duration,
}

/// An example request of the reference policy.
#[derive(Deserialize)]
struct Example {
    id: String,
    input: Value,
}

/// Requests that a reader of the reference policy knows, of each of its rules.
const EXAMPLES: &str = include_str!("examples.json");
/// The longest name of an undeclared part of an input in a finding, in bytes.
const PATH: usize = 128;
/// Undeclared parts of one input that are each tried alone: naming them helps the author, and each costs an evaluation.
const PATHS: usize = 64;
/// How often progress is told, in inputs.
const STEP: usize = 64;

impl Trial<'_> {
    /// Holds the trial. `decides` is the engine that will decide.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] when the trial cannot be held to its end. What the engines answer, however wrong, is no
    /// error here: [`TrialReport::verdict`] judges it.
    pub fn run(&self, decides: &Policy, second: &mut dyn SecondEngine) -> Result<TrialReport, DecideError> {
        let started = Instant::now();
        let examples: Vec<Example> =
            serde_json::from_str(EXAMPLES).map_err(|error| untried(format!("the examples: {error}")))?;
        let cases = read_cases(self.bundle)?;
        let mut report = TrialReport::of(self.bundle.identity());
        let outcomes = run_cases(self.bundle, decides, self.patience)?;
        report.cases = outcomes.len();
        for outcome in outcomes.into_iter().filter(|outcome| !outcome.differences.is_empty()) {
            report.case_fails(&outcome);
        }
        report.examples = examples.len();
        report.generated = self.inputs;
        let mut known: Vec<(String, Value)> = cases.into_iter().map(|case| (case.id, case.input)).collect();
        known.extend(examples.into_iter().map(|example| (example.id, example.input)));
        let generator = Generator::new(self.bundle, known.iter().map(|(_, input)| input.clone()).collect());
        let total = known.len() + self.inputs;
        let numbered = (1..).map(|number: usize| format!("generated {number}"));
        let generated = numbered.zip(generator).take(self.inputs);
        for (done, (name, input)) in known.into_iter().chain(generated).enumerate() {
            if started.elapsed() > self.patience {
                let seconds = self.patience.as_secs();
                return Err(untried(format!("{done} of {total} inputs took {seconds} s: the policy is too slow")));
            }
            if let Some(progress) = self.progress.filter(|_| done.is_multiple_of(STEP)) {
                progress(done, total);
            }
            self.compare(&name, &input, decides, second, &mut report)?;
        }
        if let Some(progress) = self.progress {
            progress(total, total);
        }
        report.took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(report)
    }

    fn compare(
        &self,
        name: &str,
        input: &Value,
        decides: &Policy,
        second: &mut dyn SecondEngine,
        report: &mut TrialReport,
    ) -> Result<(), DecideError> {
        let declared = &self.bundle.manifest().metadata.inputs;
        let text = input.to_string();
        second.ask(&text)?;
        let document = decides.document(&text);
        let ours = parsed(document.clone());
        // What a gateway asks has these parts and no others; what else a case holds says nothing about undeclared reads.
        let whole = InputPaths::everything().project(input);
        let all = if whole == *input { ours.clone() } else { parsed(decides.document(&whole.to_string())) };
        let seen = declared.project(input);
        let blind = if seen == whole { all.clone() } else { parsed(decides.document(&seen.to_string())) };
        let theirs = second.answer()?;
        for (engine, answer) in [
            ("that decides", &ours),
            ("that decides", &all),
            ("that decides", &blind),
            ("that reads the source", &theirs),
        ] {
            if matches!(answer, Err(DecideError::Overrun)) {
                let input = report::short(&text);
                return Err(untried(format!("{name}: the engine {engine} overran its budget on {input}")));
            }
        }
        report.inputs += 1;
        if alike(&ours, &theirs) {
            report.agreed += 1;
        } else {
            report.disagree(name, input, &ours, &theirs);
        }
        if !alike(&all, &blind) {
            let paths = || undeclared(declared, &whole, &all, decides);
            report.reads_undeclared(name, &whole, paths, &all, &blind);
        }
        match document.and_then(|document| Decision::read(&document, decides.identity().clone())) {
            Ok(decision) => {
                report.decided(decision.verdict());
                let mut demanded = decision.obligations().iter();
                if let Some(unknown) = demanded.find(|demand| !self.obligations.contains(&demand.action.as_str())) {
                    report.unknown_obligation(name, unknown);
                }
            }
            Err(DecideError::Malformed(why)) => report.malformed(name, &why, &ours),
            Err(_) => report.undecided += 1,
        }
        Ok(())
    }
}

/// A trial that was not held to its end.
pub(super) fn untried(why: impl std::fmt::Display) -> DecideError {
    DecideError::Bundle {
        code: "bundle_untried",
        why: format!("the trial of the bundle was not held to its end: {why}"),
    }
}

/// An engine's text as an answer.
pub(super) fn parsed(document: Result<String, DecideError>) -> Answer {
    document.and_then(|text| serde_json::from_str(&text).map_err(|error| DecideError::Malformed(error.to_string())))
}

/// Whether two engines say the same: equal documents, or none from either. Engines word a failure each in its own way,
/// and one may call undefined what the other calls failed; either way nothing crosses.
pub(super) fn alike(one: &Answer, other: &Answer) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => equal(one, other),
        (Err(_), Err(_)) => true,
        _ => false,
    }
}

/// Equality of JSON documents, where `1` and `1.0` are one number.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => one == other,
    }
}

/// Which undeclared parts of an input change the answer, each alone, among the first [`PATHS`]; none where it takes several
/// together.
fn undeclared(declared: &InputPaths, input: &Value, ours: &Answer, decides: &Policy) -> Vec<String> {
    let without = |path: &str| {
        let mut less = input.clone();
        match path.split_once('.') {
            Some((section, member)) => {
                less.get_mut(section).and_then(Value::as_object_mut).and_then(|section| section.remove(member))
            }
            None => less.as_object_mut().and_then(|sections| sections.remove(path)),
        };
        less
    };
    let mut paths = Vec::new();
    for (section, content) in input.as_object().into_iter().flatten() {
        match content {
            Value::Object(members) if declared.touches(section) => {
                let members = members.keys().filter(|member| !declared.covers(section, Some(member)));
                paths.extend(members.map(|member| format!("{section}.{member}")));
            }
            _ if !declared.touches(section) => paths.push(section.clone()),
            _ => {}
        }
    }
    paths.truncate(PATHS);
    paths.retain(|path| !alike(ours, &parsed(decides.document(&without(path).to_string()))));
    paths.iter_mut().for_each(|path| path.truncate(path.floor_char_boundary(PATH)));
    paths
}
