//! What a trial found.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Answer;
use crate::decide::{CaseOutcome, DecideError, PolicyIdentity, Verdict};
use crate::types::{Digest, Obligation};

/// The findings of each kind that are kept; the others are counted.
const KEPT: usize = 5;
/// The longest text of an answer or an input in a finding, in bytes.
const TEXT: usize = 2048;

/// What a trial found. It passes if [`verdict`](Self::verdict) says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialReport {
    /// The policy's id.
    pub policy: String,
    /// The revision that its author gave it.
    pub revision: String,
    /// SHA-256 of its source.
    pub digest: Digest,
    /// The engines that were compared, with their versions.
    #[serde(default)]
    pub engines: String,
    /// Inputs on which both engines were asked.
    pub inputs: usize,
    /// Those of the bundle's own cases.
    pub cases: usize,
    /// Those of the examples of the reference policy.
    pub examples: usize,
    /// Those that were generated.
    pub generated: usize,
    /// Inputs on which the engines agreed.
    pub agreed: usize,
    /// Decisions to permit, among all inputs.
    pub permitted: usize,
    /// Decisions to ask a person.
    pub reviewed: usize,
    /// Decisions to deny.
    pub denied: usize,
    /// Inputs without a decision, on which a gateway refuses.
    pub undecided: usize,
    /// Cases of its own that do not hold, the first few.
    pub failed_cases: Findings<String>,
    /// Where the engines disagree.
    pub disagreements: Findings<Disagreement>,
    /// Where the answer depends on what the bundle does not declare that it reads.
    pub undeclared: Findings<Disagreement>,
    /// Where the decision does not have the gateway's shape.
    pub malformed: Findings<String>,
    /// Where the decision demands what the gateway does not know.
    pub unknown_obligations: Findings<String>,
    /// How long the trial took, in milliseconds.
    pub took_ms: u64,
}

/// Findings of one kind: how many there were, and the first few.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Findings<T> {
    /// How many there were.
    pub count: usize,
    /// The first few.
    pub first: Vec<T>,
}

/// Two answers to one input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disagreement {
    /// The case, the example, or the number of the generated input.
    pub name: String,
    /// The input, cut short where it is long.
    pub input: String,
    /// The parts of the input that matter and are not declared, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The answer of the engine that decides.
    pub decided: String,
    /// The other answer: of the engine that reads the source, or to the declared part of the input alone.
    pub other: String,
}

impl<T> Default for Findings<T> {
    fn default() -> Self {
        Self { count: 0, first: Vec::new() }
    }
}

impl<T> Findings<T> {
    fn add(&mut self, finding: impl FnOnce() -> T) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(finding());
        }
    }
}

impl TrialReport {
    /// A report that found nothing yet.
    pub(super) fn of(policy: &PolicyIdentity) -> Self {
        Self {
            policy: policy.id.clone(),
            revision: policy.revision.clone(),
            digest: policy.digest,
            engines: String::new(),
            inputs: 0,
            cases: 0,
            examples: 0,
            generated: 0,
            agreed: 0,
            permitted: 0,
            reviewed: 0,
            denied: 0,
            undecided: 0,
            failed_cases: Findings::default(),
            disagreements: Findings::default(),
            undeclared: Findings::default(),
            malformed: Findings::default(),
            unknown_obligations: Findings::default(),
            took_ms: 0,
        }
    }

    /// Whether the bundle may decide.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] with the code of the gravest kind of finding and the first few findings of each kind.
    pub fn verdict(&self) -> Result<(), DecideError> {
        let answers = |finding: &Disagreement| {
            format!("{}: {} against {} on {}", finding.name, finding.decided, finding.other, finding.input)
        };
        let reads = |finding: &Disagreement| {
            let paths = match &finding.paths[..] {
                [] => "several undeclared parts together".to_owned(),
                paths => paths.join(", "),
            };
            format!("{}: {paths}", finding.name)
        };
        let kinds: [(&'static str, usize, Vec<String>, &str); 5] = [
            (
                "bundle_engines_disagree",
                self.disagreements.count,
                self.disagreements.first.iter().map(answers).collect(),
                "the module and the source decide differently: build the module from this source, and write rules in the \
                 way that `sekisho policy check` asks for",
            ),
            (
                "bundle_inputs_undeclared",
                self.undeclared.count,
                self.undeclared.first.iter().map(reads).collect(),
                ".manifest: the decision depends on input that metadata.inputs does not name: add it there",
            ),
            (
                "bundle_decision_malformed",
                self.malformed.count,
                self.malformed.first.clone(),
                "the decision does not have the shape that docs/wire.md gives",
            ),
            (
                "bundle_obligation_unknown",
                self.unknown_obligations.count,
                self.unknown_obligations.first.clone(),
                "the gateway does not know what the decision demands",
            ),
            (
                "bundle_cases_fail",
                self.failed_cases.count,
                self.failed_cases.first.clone(),
                "a case of the bundle's own does not hold: mend the rule or the case",
            ),
        ];
        let Some(code) = kinds.iter().find(|(_, count, ..)| *count > 0).map(|(code, ..)| *code) else { return Ok(()) };
        let mut lines = Vec::new();
        for (_, count, first, what) in kinds.iter().filter(|(_, count, ..)| *count > 0) {
            lines.push(format!("{what} ({count} of {} inputs)", self.inputs));
            lines.extend(first.iter().map(|finding| format!("  {finding}")));
        }
        Err(DecideError::Bundle { code, why: lines.join("\n") })
    }

    pub(super) fn case_fails(&mut self, outcome: &CaseOutcome) {
        let text = format!("{}: {}", outcome.id, outcome.differences.join("; "));
        self.failed_cases.add(|| short(&text));
    }

    pub(super) fn disagree(&mut self, name: &str, input: &Value, ours: &Answer, theirs: &Answer) {
        self.disagreements.add(|| Disagreement {
            name: short(name),
            input: short(&input.to_string()),
            paths: Vec::new(),
            decided: shortened(ours),
            other: shortened(theirs),
        });
    }

    pub(super) fn reads_undeclared(
        &mut self,
        name: &str,
        input: &Value,
        paths: impl FnOnce() -> Vec<String>,
        ours: &Answer,
        blind: &Answer,
    ) {
        self.undeclared.add(|| Disagreement {
            name: short(name),
            input: short(&input.to_string()),
            paths: paths(),
            decided: shortened(ours),
            other: shortened(blind),
        });
    }

    pub(super) fn malformed(&mut self, name: &str, why: &str, answer: &Answer) {
        self.malformed.add(|| short(&format!("{name}: {why}: {}", shortened(answer))));
    }

    pub(super) fn unknown_obligation(&mut self, name: &str, obligation: &Obligation) {
        let Obligation { rule, action, .. } = obligation;
        self.unknown_obligations.add(|| short(&format!("{name}: rule {rule} demands {action:?}")));
    }

    pub(super) fn decided(&mut self, verdict: Verdict) {
        let count = match verdict {
            Verdict::Permit => &mut self.permitted,
            Verdict::Review => &mut self.reviewed,
            Verdict::Deny => &mut self.denied,
        };
        *count += 1;
    }
}

/// An answer as one line of bounded length.
pub(in crate::decide) fn shortened(answer: &Answer) -> String {
    match answer {
        Ok(document) => short(&document.to_string()),
        Err(error) => short(&format!("no decision ({}: {error})", error.code())),
    }
}

/// A text on one line, cut where it gets long.
pub(super) fn short(text: &str) -> String {
    let cut = text.floor_char_boundary(TEXT);
    let line: String = text[..cut].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if cut < text.len() { format!("{line}...") } else { line }
}
