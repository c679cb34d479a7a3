//! `sekisho policy explain`: why an input is decided as it is, in words or as JSON.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;

use super::{load, open};
use crate::decide::{
    Change, ConditionAccount, DefinitionAccount, EVALUATIONS, Effect, Explanation, Nature, Outcome, Reading,
    RuleAccount, Verdict as Decided, Way, explain,
};
use crate::shell::cli::Verdict;

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct ExplainOptions {
    /// Policy directory, or a bundle, of which the decisions are told and not the conditions; the built-in reference
    /// policy when absent
    #[arg(long, value_name = "DIR_OR_BUNDLE")]
    policy: Option<PathBuf>,
    /// The input (JSON), `-` for stdin
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the explanation. Exit 0 for a permit, 1 for anything else.
pub(super) fn run(options: &ExplainOptions) -> Result<Verdict> {
    let (bundle, policy) = load(options.policy.as_deref())?;
    // What is no directory is an archive, which others may have written: the sandbox answers, and its source is not read here.
    let reading = match options.policy.as_ref().is_some_and(|path| !path.is_dir()) {
        true => Reading::DecisionsOnly,
        false => Reading::Source,
    };
    let path = &options.input;
    let input: Value =
        serde_json::from_reader(open(path)?).with_context(|| format!("{} is not JSON", path.display()))?;
    let mut ask = |input: &Value| policy.evaluate(&input.to_string());
    let explanation = explain(&bundle, &input, &mut ask, reading, EVALUATIONS)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match options.json {
        true => writeln!(out, "{}", serde_json::to_string(&explanation)?)?,
        false => out.write_all(words(&explanation).as_bytes())?,
    }
    out.flush()?;
    Ok(match explanation.decision.verdict() {
        Decided::Permit => Verdict::Yes,
        Decided::Review | Decided::Deny => Verdict::No,
    })
}

/// The explanation as a page of text.
fn words(explanation: &Explanation) -> String {
    let policy = explanation.decision.policy();
    let mut page = format!(
        "{}  (policy {}, revision {})\n",
        explanation.decision.verdict().as_str().to_uppercase(),
        policy.id,
        policy.revision
    );
    let (fired, silent): (Vec<_>, Vec<_>) = explanation.rules.iter().partition(|rule| rule.fired);
    if fired.is_empty() && explanation.decision.reasons().is_empty() {
        page.push_str("\nNo rule stands against it, and none demands anything.\n");
    }
    for rule in fired {
        page.push_str(&account(rule));
    }
    for reason in explanation.decision.reasons() {
        if explanation.rules.iter().all(|rule| rule.law.rule != reason.rule) {
            page.push_str(&format!("\n{}: {}\n  Remedy: {}\n", reason.rule, reason.why, reason.remedy));
        }
    }
    if explanation.decision.verdict() != Decided::Permit {
        page.push_str("\nWhat would permit it\n");
        for way in &explanation.permitted_if {
            page.push_str(&format!("  - permitted if it were the case that {}\n", condition(way)));
        }
        if explanation.permitted_if.is_empty() {
            page.push_str(
                "  No small change of what the rules read was found that permits it. See the remedies above.\n",
            );
        }
        if explanation.search_cut_short {
            page.push_str("  The search ended with its budget; there may be other ways.\n");
        }
        page.push_str("  A fact is so or is not so: a record is mended only where it is wrong.\n");
    }
    if !silent.is_empty() {
        page.push_str("\nRules that did not fire\n");
        for rule in silent {
            page.push_str(&format!("  {}  {}: {}\n", rule.law.rule, rule.law.title, silence(rule)));
        }
    }
    page
}

/// A rule that fired.
fn account(rule: &RuleAccount) -> String {
    let law = &rule.law;
    let mut text = format!("\n{}  {}\n  {}\n  Law: {}\n", law.rule, law.title, law.description, law.basis);
    for link in law.links.iter().chain(&law.sources) {
        let place = link.link.as_ref().map_or(String::new(), |link| format!(" <{link}>"));
        text.push_str(&format!("  See: {}{place}\n", link.title));
    }
    for reason in &rule.reasons {
        let effect = match reason.effect {
            Effect::Deny => "Denies",
            Effect::Review => "Asks for a person",
        };
        text.push_str(&format!("  {effect}: {}\n  Remedy: {}\n", reason.why, reason.remedy));
    }
    for duty in &rule.obligations {
        let parameters = serde_json::to_string(&duty.parameters).unwrap_or_default();
        let parameters = if parameters == "{}" { String::new() } else { format!(" {parameters}") };
        text.push_str(&format!("  Demands: {}{parameters}\n", duty.action));
    }
    let reads = rule.reads.iter().map(|(path, value)| match value {
        Some(value) => format!("{path} = {value}"),
        None => format!("{path} not stated"),
    });
    text.push_str(&format!("  It read: {}\n", reads.collect::<Vec<_>>().join("; ")));
    for definition in rule.definitions.iter().filter(|definition| definition.holds) {
        text.push_str("  It fired because\n");
        let holding = definition.bodies.iter().filter(|body| body.iter().all(|one| one.outcome == Outcome::Holds));
        for one in holding.flatten() {
            text.push_str(&format!("    {} ({}){}\n", one.text, one.place, detail(one)));
        }
    }
    for way in &rule.silent_if {
        text.push_str(&format!("  It would be silent if it were the case that {}\n", condition(way)));
    }
    text
}

/// Why a rule that a condition leads to came out as it did.
fn detail(one: &ConditionAccount) -> String {
    let told: Vec<String> = one.because.iter().filter_map(reason).collect();
    if told.is_empty() { String::new() } else { format!("\n        {}", told.join("\n        ")) }
}

/// In one line, why a definition holds or does not.
fn reason(definition: &DefinitionAccount) -> Option<String> {
    if definition.holds {
        let body = definition.bodies.iter().find(|body| body.iter().all(|one| one.outcome == Outcome::Holds))?;
        let texts: Vec<&str> = body.iter().map(|one| one.text.as_str()).collect();
        return Some(format!("{} holds: {} ({})", definition.name, texts.join("; "), definition.place));
    }
    let failing = definition.bodies.iter().filter_map(|body| body.iter().find(|one| one.outcome == Outcome::Fails));
    let texts: Vec<String> = failing.map(|one| format!("{} ({})", one.text, one.place)).collect();
    (!texts.is_empty()).then(|| format!("{} does not hold: not {}", definition.name, texts.join(", nor ")))
}

/// In one line, why a rule did not fire.
fn silence(rule: &RuleAccount) -> String {
    if rule.definitions.is_empty() {
        return "it gives no reason here; conditions are told of a policy's source".to_owned();
    }
    let failing = rule.definitions.iter().flat_map(|definition| &definition.bodies);
    let failing = failing.filter_map(|body| body.iter().find(|one| one.outcome == Outcome::Fails));
    let mut texts: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for one in failing.filter(|one| seen.insert(one.text.as_str())) {
        texts.push(format!("{} ({})", one.text, one.place));
    }
    match texts.is_empty() {
        true => "its conditions hold, but this decision does not weigh it".to_owned(),
        false => format!("it is not so that {}", texts.join(", nor that ")),
    }
}

/// `legal.mechanism were "scc" and legal.tia were true`.
fn condition(way: &Way) -> String {
    let changes: Vec<String> = way.changes.iter().map(change).collect();
    let effect = match way.decision {
        Decided::Permit => "",
        Decided::Review => " (then a person still has to look)",
        Decided::Deny => " (other reasons remain)",
    };
    format!("{}{effect}", changes.join(" and "))
}

fn change(change: &Change) -> String {
    let Some(to) = &change.to else { return format!("{} were not stated{}", change.path, label(change.nature)) };
    let mut text = format!("{} {}", change.path, becomes(change.from.as_ref(), to));
    for other in &change.or {
        text.push_str(&match other.is_array() {
            true => format!(", or {}", becomes(change.from.as_ref(), other)),
            false => format!(" or {other}"),
        });
    }
    text + label(change.nature)
}

/// What another value would be: of a list, what is more or less in it.
fn becomes(from: Option<&Value>, to: &Value) -> String {
    if let (Some(Value::Array(from)), Value::Array(to)) = (from, to) {
        let listed = |items: &[&Value]| items.iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ");
        let gone: Vec<&Value> = from.iter().filter(|item| !to.contains(item)).collect();
        let new: Vec<&Value> = to.iter().filter(|item| !from.contains(item)).collect();
        match (gone.is_empty(), new.is_empty()) {
            (false, true) => return format!("were without {}", listed(&gone)),
            (true, false) => return format!("held {} too", listed(&new)),
            _ => {}
        }
    }
    format!("were {to}")
}

fn label(nature: Nature) -> &'static str {
    match nature {
        Nature::Choice => " (the requester's choice)",
        Nature::Paper => " (a paper on file)",
        Nature::Fact => " (a fact)",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::becomes;

    #[test]
    fn of_a_list_only_the_difference_is_told() {
        let from = json!(["a", "b"]);
        assert_eq!(becomes(Some(&from), &json!(["b"])), "were without \"a\"");
        assert_eq!(becomes(Some(&from), &json!(["a", "b", "c"])), "held \"c\" too");
        assert_eq!(becomes(Some(&from), &json!(["c"])), "were [\"c\"]");
        assert_eq!(becomes(None, &json!(["a"])), "were [\"a\"]");
        assert_eq!(becomes(Some(&json!("x")), &json!(true)), "were true");
    }
}
