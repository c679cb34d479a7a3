//! Counts how engines answer.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::cases::{Case, Expectation};

/// What an engine answers.
#[derive(Debug, Clone)]
pub enum Answer {
    Value(Value),
    Undefined,
    Failed(String),
}

#[derive(Default)]
struct Count {
    agree: usize,
    fail_closed: Vec<String>,
    wrong: Vec<(String, String)>,
}

/// The answers of every engine.
#[derive(Default)]
pub struct Tally(BTreeMap<&'static str, Count>);

impl Tally {
    pub fn add(&mut self, engine: &'static str, case: &Case, answer: &Answer) {
        let count = self.0.entry(engine).or_default();
        match (crate::fits(case, answer), answer, &case.expected) {
            (true, ..) => count.agree += 1,
            // Where OPA has a value and an engine says that it has none to give, the gateway refuses.
            (false, Answer::Failed(why), Expectation::Value(_)) => {
                count.fail_closed.push(format!("{}: {}", case.note, why.lines().last().unwrap_or_default()));
            }
            (false, ..) => {
                let text = format!(
                    "{engine}: {}: expected {:?}, found {answer:?}\n{}",
                    case.note,
                    case.expected,
                    case.modules.join("\n")
                );
                count.wrong.push((case.note.clone(), text));
            }
        }
    }

    /// The answers that differ from OPA's, but for those of the named cases.
    pub fn wrong(&self, exceptions: &[&str]) -> Vec<String> {
        let all = self.0.values().flat_map(|count| &count.wrong);
        all.filter(|(note, _)| !exceptions.contains(&note.as_str())).map(|(_, text)| text.clone()).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (engine, count) in &self.0 {
            let (agree, closed, wrong) = (count.agree, count.fail_closed.len(), count.wrong.len());
            writeln!(f, "{engine}: {agree} agree with OPA, {closed} end in an error, {wrong} differ")?;
            for line in &count.fail_closed {
                writeln!(f, "  error: {line}")?;
            }
        }
        Ok(())
    }
}
