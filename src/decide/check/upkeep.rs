//! Whether a policy is well kept: described, without dead rules and unused names, its facts reviewed.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Literal, Query, Rule, RuleHead};
use serde_json::Value;

use super::annotation::Annotation;
use super::language::Uses;
use super::program::{Kind, Program, head};
use super::syntax::{Part, Reference, each, parts, pattern_variables, rule_parts, text, variable};
use super::vocabulary::{given, spoken};
use super::{Findings, Place};
use crate::decide::Bundle;

pub(super) fn check(
    bundle: &Bundle,
    program: &Program<'_>,
    uses: &BTreeMap<String, Uses>,
    annotations: &[Annotation],
    today: Option<&str>,
    findings: &mut Findings,
) {
    descriptions(bundle, program, annotations, findings);
    dead_rules(bundle, program, uses, findings);
    unused(program, uses, findings);
    conflicts(program, findings);
    if let Some(today) = today {
        reviews(bundle.data(), today, findings);
    }
}

/// Whatever a reason or an obligation names as its rule must be described somewhere in the bundle.
fn descriptions(bundle: &Bundle, program: &Program<'_>, annotations: &[Annotation], findings: &mut Findings) {
    let described: BTreeMap<&str, &Annotation> = annotations
        .iter()
        .filter(|annotation| !annotation.title.is_empty() && !annotation.description.is_empty())
        .map(|annotation| (annotation.rule.as_str(), annotation))
        .collect();
    let speaking = spoken(program, "rule");
    let mut told = BTreeSet::new();
    for (place, source) in program.sources.iter().enumerate() {
        for rule in &source.module.policy {
            let mut parts = Vec::new();
            rule_parts(rule, &mut |part| parts.push(part));
            for part in parts {
                each(part, &mut |expr| {
                    if let Some(id) = given(program, place, expr, "rule", &speaking).and_then(text)
                        && !described.contains_key(id)
                        && told.insert(id.to_owned())
                    {
                        let text =
                            format!("nothing describes {id}: add # METADATA with title, description and custom.rule");
                        findings.warning("undescribed_rule", source.place(expr.span()), text);
                    }
                });
            }
        }
    }
    for annotation in annotations.iter().filter(|annotation| !annotation.rule.is_empty()) {
        let missing = [
            ("basis", annotation.basis.is_empty()),
            ("source", annotation.source.is_empty()),
            ("remedy", annotation.remedy.is_empty()),
            ("inputs", annotation.inputs.is_empty()),
        ];
        let missing: Vec<_> =
            missing.iter().filter(|(_, missing)| *missing).map(|(name, _)| format!("custom.{name}")).collect();
        if !missing.is_empty() {
            let place = Place { file: annotation.file.clone(), line: annotation.line };
            let text = format!("{} is described without {}: say it", annotation.rule, missing.join(", "));
            findings.warning("incomplete_metadata", place, text);
        }
    }
    let entrypoint = bundle.entrypoint().replace('/', ".");
    for definition in program.definitions(&entrypoint).take(1) {
        let source = &program.sources[definition.source];
        let line = definition.rule.span().line;
        let is_described = annotations.iter().any(|annotation| {
            annotation.file == source.file.path
                && annotation.subject == line
                && !annotation.title.is_empty()
                && !annotation.description.is_empty()
        });
        if !is_described {
            let text = "the entrypoint is not described: add # METADATA with title and description above it";
            findings.warning("undescribed_rule", source.place(definition.rule.span()), text);
        }
    }
}

fn dead_rules(bundle: &Bundle, program: &Program<'_>, uses: &BTreeMap<String, Uses>, findings: &mut Findings) {
    let mut alive = BTreeSet::new();
    let mut pending = vec![bundle.entrypoint().replace('/', ".")];
    while let Some(name) = pending.pop() {
        if let Some(uses) = uses.get(&name).filter(|_| alive.insert(name)) {
            pending.extend(uses.rules.iter().cloned());
        }
    }
    for name in program.names.keys().filter(|name| !alive.contains(*name)) {
        for definition in program.definitions(name).take(1) {
            let text = format!("{name} is never reached from the entrypoint: use it or remove it");
            findings.warning("dead_rule", program.sources[definition.source].place(definition.rule.span()), text);
        }
    }
}

fn unused(program: &Program<'_>, uses: &BTreeMap<String, Uses>, findings: &mut Findings) {
    let used: BTreeSet<_> = uses.values().flat_map(|uses| uses.imports.iter().cloned()).collect();
    for (place, source) in program.sources.iter().enumerate() {
        for (name, path) in &program.imports[place] {
            if !used.contains(&(place, name.clone())) {
                let import = source.module.imports.iter().find(|import| {
                    Reference::of(&import.refr)
                        .and_then(|reference| reference.fixed(0))
                        .is_some_and(|found| found == *path)
                });
                let line = import.map_or(1, |import| import.span.line);
                findings.warning(
                    "unused_import",
                    Place::of(source.file, line),
                    format!("{name} is imported and not used"),
                );
            }
        }
        for rule in &source.module.policy {
            unused_variables(rule, &mut |name, line| {
                let text = format!("{name} gets a value and is not used: remove it, or name it _");
                findings.warning("unused_variable", Place::of(source.file, line), text);
            });
        }
    }
}

fn unused_variables(rule: &Rule, tell: &mut impl FnMut(&str, u32)) {
    let mut bound = Vec::new();
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    if let Rule::Spec { head: RuleHead::Func { args, .. }, .. } = rule {
        bound.extend(args.iter().filter_map(|arg| Some((variable(arg)?, arg.span().line))));
    }
    let mut queries = Vec::new();
    rule_parts(rule, &mut |part| {
        collect_queries(part, &mut queries);
        each(part, &mut |expr| {
            if let Some(name) = variable(expr) {
                *uses.entry(name).or_default() += 1;
            }
        });
    });
    for query in queries {
        for statement in &query.stmts {
            let mut names = BTreeSet::new();
            match &statement.literal {
                Literal::SomeIn { key, value, .. } => {
                    key.iter().chain([value]).for_each(|pattern| pattern_variables(pattern, &mut names));
                }
                Literal::Expr { expr, .. } => {
                    if let Expr::AssignExpr { op: regorus::unstable::AssignOp::ColEq, lhs, .. } = expr.as_ref() {
                        pattern_variables(lhs, &mut names);
                    }
                }
                Literal::SomeVars { .. } | Literal::NotExpr { .. } | Literal::Every { .. } => {}
            }
            bound.extend(names.into_iter().map(|name| (name, statement.span.line)));
        }
    }
    for (name, line) in bound {
        // Where it is bound counts as one.
        if !name.starts_with('_') && uses.get(name).is_none_or(|uses| *uses < 2) {
            tell(name, line);
        }
    }
}

fn collect_queries<'a>(part: Part<'a>, found: &mut Vec<&'a Query>) {
    if let Part::Query(query) = part {
        found.push(query);
    }
    let mut inner = Vec::new();
    parts(part, &mut |part| inner.push(part));
    inner.into_iter().for_each(|part| collect_queries(part, found));
}

/// Two rules that may both hold and give different values end an evaluation with an error.
fn conflicts(program: &Program<'_>, findings: &mut Findings) {
    for name in program.names.keys() {
        let mut heads: BTreeMap<String, (BTreeSet<String>, usize)> = BTreeMap::new();
        let mut last = None;
        for definition in program.definitions(name).filter(|definition| !definition.is_default) {
            let Rule::Spec { head: rule_head, .. } = definition.rule else { continue };
            let (assign, args) = match rule_head {
                RuleHead::Compr { assign, .. } => (assign, &[][..]),
                RuleHead::Func { assign, args, .. } => (assign, &args[..]),
                RuleHead::Set { .. } => continue,
            };
            // Functions that differ in a constant argument, and members with different names, never meet.
            let constants = args.iter().map(|arg| if variable(arg).is_some() { "_" } else { arg.span().text() });
            let place = head(definition.rule).map_or("", |refr| refr.span().text());
            let key = match definition.kind {
                Kind::Function(_) => constants.collect::<Vec<_>>().join(","),
                _ => place.to_owned(),
            };
            let value = assign.as_ref().map_or("true", |assign| assign.value.span().text());
            let entry = heads.entry(key).or_default();
            entry.0.insert(value.to_owned());
            entry.1 += 1;
            last = Some(definition);
        }
        if let Some(definition) = last
            && heads.values().any(|(values, rules)| *rules > 1 && values.len() > 1)
        {
            let text = format!("two rules for {name} may hold at once with different values: join them with else");
            findings.warning("may_conflict", program.sources[definition.source].place(definition.rule.span()), text);
        }
    }
}

/// Facts whose `review_by` lies before today.
fn reviews(data: &Value, today: &str, findings: &mut Findings) {
    let mut pending = vec![("data".to_owned(), data, 0)];
    while let Some((path, value, depth)) = pending.pop() {
        if let Some(until) = value.get("review_by").and_then(Value::as_str)
            && until < today
        {
            let text = format!("{path} was to be reviewed by {until}: review the fact and date it anew");
            findings.warning("past_review", Place { file: "data.json".to_owned(), line: 1 }, text);
        }
        if depth < super::text::BRACKET_DEPTH {
            match value {
                Value::Object(members) => {
                    pending.extend(members.iter().map(|(name, value)| (format!("{path}.{name}"), value, depth + 1)))
                }
                Value::Array(items) => pending.extend(
                    items.iter().enumerate().map(|(place, value)| (format!("{path}[{place}]"), value, depth + 1)),
                ),
                _ => {}
            }
        }
    }
}
