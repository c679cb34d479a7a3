//! Reads a bundle without running it: may this policy be put in force, and is it well kept?
//!
//! What is not known to mean the same to every engine is refused: the check lists what it allows, of syntax, of builtins
//! and of names, and refuses the rest with file and line. Each finding has a stable code. Errors refuse the bundle;
//! warnings tell its author what to mend.

mod annotation;
mod builtins;
mod calls;
mod language;
mod manifest;
mod negation;
mod order;
mod patterns;
mod program;
mod syntax;
#[cfg(test)]
mod tests;
mod text;
mod upkeep;
mod vocabulary;

use serde::Serialize;
use serde_json::Value;

use self::program::Program;
use super::{Bundle, BundleFile, DecideError};

pub use annotation::{Annotation, annotations};
pub use builtins::{BUILTINS, Builtin};
pub use vocabulary::OBLIGATIONS;

/// The most findings of one check; whoever has more knows enough.
pub const FINDINGS: usize = 200;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The bundle is refused.
    Error,
    /// The bundle can be put in force; its author should mend this.
    Warning,
}

/// One thing that is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Path inside the bundle.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// How grave it is.
    pub severity: Severity,
    /// What it is, as a stable code.
    pub code: &'static str,
    /// What is wrong and what to write instead.
    pub text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, "{}:{}: {severity} {}: {}", self.file, self.line, self.code, self.text)
    }
}

/// What a check found, by file and line.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CheckReport {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// The findings that refuse the bundle.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }

    /// The findings that do not.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Warning)
    }

    /// The refusal of the bundle, if it is refused.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] with the code `policy_refused` and one error a line.
    pub fn verdict(&self) -> Result<(), DecideError> {
        let lines: Vec<_> =
            self.errors().map(|finding| format!("{}:{}: {}", finding.file, finding.line, finding.text)).collect();
        if lines.is_empty() {
            Ok(())
        } else {
            Err(DecideError::Bundle { code: "policy_refused", why: lines.join("\n") })
        }
    }
}

/// Checks a bundle. `today` (`YYYY-MM-DD`) is held against the facts' review dates; without it they are not looked at.
pub fn check(bundle: &Bundle, today: Option<&str>) -> CheckReport {
    let mut findings = Findings::default();
    let parsed = read(bundle.sources(), &mut findings);
    let program = Program::new(parsed, bundle.data(), &mut findings);
    let uses = language::check(&program, &mut findings);
    program.recursion(&uses, &mut findings);
    order::check(&program, &mut findings);
    order::sets_in_decision(&program, &bundle.entrypoint().replace('/', "."), &mut findings);
    let annotations = annotation::of_all(bundle.sources());
    manifest::check(bundle, &program, &uses, &annotations, &mut findings);
    vocabulary::check(&program, &mut findings);
    upkeep::check(bundle, &program, &uses, &annotations, today, &mut findings);
    findings.report()
}

/// Checks sources for the language alone: which constructs, builtins and names they use, and nothing of what a bundle's
/// manifest promises. `data` is what they find under `data`.
pub fn check_language(sources: &[BundleFile], data: &Value) -> CheckReport {
    let mut findings = Findings::default();
    let parsed = read(sources, &mut findings);
    let program = Program::new(parsed, data, &mut findings);
    let uses = language::check(&program, &mut findings);
    program.recursion(&uses, &mut findings);
    order::check(&program, &mut findings);
    findings.report()
}

fn read<'a>(sources: &'a [BundleFile], findings: &mut Findings) -> Vec<syntax::Parsed<'a>> {
    let (mut parsed, mut bracket_cost) = (Vec::new(), 0);
    for file in sources {
        if text::admit(file, &mut bracket_cost, findings) {
            parsed.extend(syntax::parse(file, findings));
        }
    }
    parsed
}

/// Where a finding is.
#[derive(Debug, Clone)]
struct Place {
    file: String,
    line: u32,
}

impl Place {
    fn of(file: &BundleFile, line: u32) -> Self {
        Self { file: file.path.clone(), line }
    }

    fn manifest() -> Self {
        Self { file: ".manifest".to_owned(), line: 1 }
    }
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, code: &'static str, place: Place, text: impl Into<String>) {
        self.push(Severity::Error, code, place, text.into());
    }

    fn warning(&mut self, code: &'static str, place: Place, text: impl Into<String>) {
        self.push(Severity::Warning, code, place, text.into());
    }

    fn push(&mut self, severity: Severity, code: &'static str, Place { file, line }: Place, text: String) {
        // Errors always find room, or a flood of warnings would hide that the bundle is refused.
        if self.0.len() < FINDINGS || (severity == Severity::Error && self.errors() < FINDINGS) {
            self.0.push(Finding { file, line, severity, code, text });
        }
    }

    fn errors(&self) -> usize {
        self.0.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    fn report(mut self) -> CheckReport {
        self.0.sort();
        self.0.dedup();
        CheckReport { findings: self.0 }
    }
}
