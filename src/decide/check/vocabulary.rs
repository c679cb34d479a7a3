//! Tags and obligations that a policy writes as text: a word that the gateway does not know would never match or always
//! refuse.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Rule, RuleHead};
use serde_json::Value;

use super::Findings;
use super::program::{Called, Program};
use super::syntax::{Part, each, rule_parts, text, variable};
use crate::types::Tag;

/// The obligations that a policy may demand: the seventeen of the vocabulary, and four notices that single laws ask for
/// by name. `enforce` carries each out or conveys it; any other refuses the exchange.
pub const OBLIGATIONS: [&str; 21] = [
    "aggregate",
    "apply_appi_supplementary_rules",
    "attribute",
    "confirm_specific_category",
    "degrade_resolution",
    "delete_after_days",
    "document_fallback_scc",
    "exporter_held_keys",
    "generalise",
    "k_anonymity",
    "keep_only",
    "log_training_content",
    "no_onward_transfer",
    "notify",
    "notify_gov_access_request",
    "periodic_check_recipient",
    "pseudonymise_hmac",
    "record_licence",
    "redact",
    "require_purpose",
    "watermark",
];

/// Tags that carry a value, with what they begin with.
const VALUED: [&str; 6] = [
    "ip:patent-field",
    "security:chokepoint",
    "security:controlled",
    "security:critical-infra",
    "security:emerging",
    "security:eo",
];

/// Beginnings that tags share, as `startswith` and `concat` may use them.
const BEGINNINGS: [&str; 4] = ["privacy:", "ip:", "security:", "security:tlp-"];

pub(super) fn check(program: &Program<'_>, findings: &mut Findings) {
    let own = own_tags(program.data);
    let speaking = spoken(program, "do");
    for (place, source) in program.sources.iter().enumerate() {
        for rule in &source.module.policy {
            let mut parts = Vec::new();
            rule_parts(rule, &mut |part| parts.push(part));
            for part in parts {
                each(part, &mut |expr| {
                    if let Some(word) = text(expr)
                        && !is_known_tag(word, &own)
                    {
                        let text =
                            format!("{word:?} is not a tag of the vocabulary, so no dataset carries it: correct it");
                        findings.error("unknown_tag", source.place(expr.span()), text);
                    }
                    if let Some(word) = given(program, place, expr, "do", &speaking)
                        && let Some(name) = text(word)
                        && !OBLIGATIONS.contains(&name)
                    {
                        let text =
                            format!("the gateway knows no obligation {name:?}: it knows {}", OBLIGATIONS.join(", "));
                        findings.error("unknown_obligation", source.place(word.span()), text);
                    }
                });
            }
        }
    }
}

fn is_known_tag(word: &str, own: &BTreeSet<&str>) -> bool {
    if !["privacy:", "ip:", "security:"].iter().any(|family| word.starts_with(family)) {
        return true;
    }
    // A sentence that begins like a tag is a sentence.
    word.contains(' ')
        || word.parse::<Tag>().is_ok()
        || own.contains(word)
        || BEGINNINGS.contains(&word)
        || VALUED.contains(&word.strip_suffix('=').unwrap_or(word))
}

/// The tags that the policy's own data defines, under any `vocabulary`.
fn own_tags(data: &Value) -> BTreeSet<&str> {
    let (mut found, mut pending) = (BTreeSet::new(), vec![(data, 0)]);
    while let Some((value, depth)) = pending.pop() {
        let Some(members) = value.as_object() else { continue };
        for (name, value) in members {
            if name == "vocabulary" {
                for list in ["tags", "valued_tags"] {
                    found.extend(value[list].as_object().into_iter().flat_map(|tags| tags.keys().map(String::as_str)));
                }
            } else if depth < 3 {
                pending.push((value, depth + 1));
            }
        }
    }
    found
}

/// Functions of which an argument becomes the member `member` of an object: by full name, the argument's place.
pub(super) fn spoken(program: &Program<'_>, member: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for name in program.names.keys() {
        for definition in program.definitions(name) {
            let Rule::Spec { head: RuleHead::Func { args, .. }, .. } = definition.rule else { continue };
            let names: Vec<_> = args.iter().map(|arg| variable(arg)).collect();
            rule_parts(definition.rule, &mut |part: Part<'_>| {
                each(part, &mut |expr| {
                    let passed = member_of(expr, member).and_then(variable);
                    let place = passed.and_then(|passed| names.iter().position(|name| *name == Some(passed)));
                    found.extend(place.map(|place| (name.clone(), place)));
                });
            });
        }
    }
    found
}

/// What an expression gives as `member`: in an object, or to a function that makes one.
pub(super) fn given<'a>(
    program: &Program<'_>,
    source: usize,
    expr: &'a Expr,
    member: &str,
    speaking: &BTreeMap<String, usize>,
) -> Option<&'a Expr> {
    if let Expr::Call { fcn, params, .. } = expr {
        let Some(Called::Rule(name)) = program.called(source, fcn) else { return None };
        return params.get(*speaking.get(&name)?).map(AsRef::as_ref);
    }
    member_of(expr, member)
}

fn member_of<'a>(expr: &'a Expr, member: &str) -> Option<&'a Expr> {
    let Expr::Object { fields, .. } = expr else { return None };
    fields.iter().find(|(_, key, _)| text(key) == Some(member)).map(|(_, _, value)| value.as_ref())
}
