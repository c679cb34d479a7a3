//! Reads sources into syntax trees and walks them.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Literal, Module, Query, Ref, Rule, RuleHead, Span};

use super::{Findings, Place};
use crate::decide::BundleFile;

/// Levels of a syntax tree. The walks below recurse, and a chain such as `a | b | c` is as deep as it is long.
const TREE_DEPTH: u32 = 64;
/// Stack of the thread that parses, in bytes: a parser that recurses ends in an error before it ends the process.
const PARSER_STACK: usize = 32 * 1024 * 1024;

/// A parsed source.
pub(super) struct Parsed<'a> {
    pub file: &'a BundleFile,
    pub module: Ref<Module>,
}

impl Parsed<'_> {
    /// The package, such as `dfft`.
    pub fn package(&self) -> Option<String> {
        Reference::of(&self.module.package.refr)?.fixed(0).map(|parts| parts.join("."))
    }

    pub fn place(&self, span: &Span) -> Place {
        Place::of(self.file, span.line)
    }
}

/// Parses a source that `text::admit` let through.
pub(super) fn parse<'a>(file: &'a BundleFile, findings: &mut Findings) -> Option<Parsed<'a>> {
    let parse = || {
        let mut engine = regorus::Engine::new();
        engine.add_policy(file.path.clone(), file.text.clone()).map_err(|error| error.to_string())?;
        engine.get_modules().first().cloned().ok_or_else(|| "nothing in it".to_owned())
    };
    let parsed = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(PARSER_STACK).spawn_scoped(scope, parse);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(parsed)) => parsed,
            Ok(Err(_)) => Err("the parser crashed".to_owned()),
            Err(error) => Err(format!("no thread for the parser: {error}")),
        }
    });
    match parsed {
        Ok(module) if shallow(&module) => Some(Parsed { file, module }),
        Ok(module) => {
            let text = format!("an expression of this file has more than {TREE_DEPTH} levels: name its parts");
            findings.error("nested_too_deeply", Place::of(file, module.package.span.line), text);
            None
        }
        Err(error) => {
            let (line, text) = told(&error);
            findings.error("syntax", Place::of(file, line), text);
            None
        }
    }
}

/// Line and message out of the parser's drawing: `--> file:line:column`, the source, `error: message`.
fn told(error: &str) -> (u32, String) {
    let place = error.lines().find_map(|line| line.trim_start().strip_prefix("--> "));
    let line = place.and_then(|place| place.rsplit(':').nth(1)?.parse().ok()).unwrap_or(1);
    let message = error.lines().find_map(|line| line.trim_start().strip_prefix("error: "));
    (line, message.unwrap_or_else(|| error.lines().next().unwrap_or("not readable")).to_owned())
}

fn shallow(module: &Module) -> bool {
    let mut pending: Vec<(Part<'_>, u32)> = Vec::new();
    for rule in &module.policy {
        rule_parts(rule, &mut |part| pending.push((part, 1)));
    }
    while let Some((part, depth)) = pending.pop() {
        if depth > TREE_DEPTH {
            return false;
        }
        parts(part, &mut |inner| pending.push((inner, depth + 1)));
    }
    true
}

/// A node of the tree.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    Expr(&'a Expr),
    Query(&'a Query),
}

/// Gives every expression below a part to `see`, the part's own included. The tree is known to be shallow.
pub(super) fn each<'a>(part: Part<'a>, see: &mut impl FnMut(&'a Expr)) {
    if let Part::Expr(expr) = part {
        see(expr);
    }
    let mut inner = Vec::new();
    parts(part, &mut |part| inner.push(part));
    for part in inner {
        each(part, see);
    }
}

/// The parts of a rule: head, values, bodies.
pub(super) fn rule_parts<'a>(rule: &'a Rule, see: &mut impl FnMut(Part<'a>)) {
    match rule {
        Rule::Default { refr, args, value, .. } => {
            see(Part::Expr(refr));
            args.iter().for_each(|arg| see(Part::Expr(arg)));
            see(Part::Expr(value));
        }
        Rule::Spec { head, bodies, .. } => {
            match head {
                RuleHead::Compr { refr, assign, .. } => {
                    see(Part::Expr(refr));
                    assign.iter().for_each(|assign| see(Part::Expr(&assign.value)));
                }
                RuleHead::Set { refr, key, .. } => {
                    see(Part::Expr(refr));
                    key.iter().for_each(|key| see(Part::Expr(key)));
                }
                RuleHead::Func { refr, args, assign, .. } => {
                    see(Part::Expr(refr));
                    args.iter().for_each(|arg| see(Part::Expr(arg)));
                    assign.iter().for_each(|assign| see(Part::Expr(&assign.value)));
                }
            }
            for body in bodies {
                body.assign.iter().for_each(|assign| see(Part::Expr(&assign.value)));
                see(Part::Query(&body.query));
            }
        }
    }
}

/// The parts directly below one.
pub(super) fn parts<'a>(part: Part<'a>, see: &mut impl FnMut(Part<'a>)) {
    let expr = match part {
        Part::Expr(expr) => expr,
        Part::Query(query) => {
            for statement in &query.stmts {
                statement.with_mods.iter().for_each(|with| see(Part::Expr(&with.r#as)));
                match &statement.literal {
                    Literal::SomeVars { .. } => {}
                    Literal::SomeIn { key, value, collection, .. } => {
                        key.iter().for_each(|key| see(Part::Expr(key)));
                        see(Part::Expr(value));
                        see(Part::Expr(collection));
                    }
                    Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => see(Part::Expr(expr)),
                    Literal::Every { domain, query, .. } => {
                        see(Part::Expr(domain));
                        see(Part::Query(query));
                    }
                }
            }
            return;
        }
    };
    match expr {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. } => {}
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|item| see(Part::Expr(item))),
        Expr::Object { fields, .. } => {
            for (_, key, value) in fields {
                see(Part::Expr(key));
                see(Part::Expr(value));
            }
        }
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            see(Part::Expr(term));
            see(Part::Query(query));
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            see(Part::Expr(key));
            see(Part::Expr(value));
            see(Part::Query(query));
        }
        Expr::Call { fcn, params, .. } => {
            see(Part::Expr(fcn));
            params.iter().for_each(|param| see(Part::Expr(param)));
        }
        Expr::UnaryExpr { expr, .. } => see(Part::Expr(expr)),
        Expr::RefDot { refr, .. } => see(Part::Expr(refr)),
        Expr::RefBrack { refr, index, .. } => {
            see(Part::Expr(refr));
            see(Part::Expr(index));
        }
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => {
            see(Part::Expr(lhs));
            see(Part::Expr(rhs));
        }
        Expr::Membership { key, value, collection, .. } => {
            key.iter().for_each(|key| see(Part::Expr(key)));
            see(Part::Expr(value));
            see(Part::Expr(collection));
        }
    }
}

/// The text of a literal.
pub(super) fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::String { value, .. } | Expr::RawString { value, .. } => value.as_string().ok().map(AsRef::as_ref),
        _ => None,
    }
}

/// The name of a variable.
pub(super) fn variable(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Var { span, .. } => Some(span.text()),
        _ => None,
    }
}

/// One step of a reference.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Name(&'a str),
    Index(&'a Expr),
}

/// A reference taken apart: `input.recipient[x]` is `input`, `.recipient`, `[x]`.
pub(super) struct Reference<'a> {
    /// A variable; or a call or a literal, of which a part is taken.
    pub root: &'a Expr,
    pub steps: Vec<Step<'a>>,
}

impl<'a> Reference<'a> {
    /// Takes a variable or a chain of `.` and `[]` apart.
    pub fn of(expr: &'a Expr) -> Option<Self> {
        let (mut root, mut steps) = (expr, Vec::new());
        loop {
            match root {
                Expr::RefDot { refr, field, .. } => {
                    steps.push(Step::Name(field.1.as_string().ok()?.as_ref()));
                    root = refr;
                }
                Expr::RefBrack { refr, index, .. } => {
                    steps.push(text(index).map_or(Step::Index(index), Step::Name));
                    root = refr;
                }
                Expr::Var { .. } => break,
                _ if steps.is_empty() => return None,
                _ => break,
            }
        }
        steps.reverse();
        Some(Self { root, steps })
    }

    pub fn name(&self) -> Option<&'a str> {
        variable(self.root)
    }

    /// The names up to the first index, without the root.
    pub fn names(&self) -> Vec<&'a str> {
        let name = |step: &Step<'a>| if let Step::Name(name) = step { Some(*name) } else { None };
        self.steps.iter().map_while(name).collect()
    }

    /// Root and names, if all after the first `skip` names is fixed.
    pub fn fixed(&self, skip: usize) -> Option<Vec<&'a str>> {
        let names: Vec<_> = self.name().into_iter().chain(self.names()).collect();
        (names.len() == self.steps.len() + 1).then(|| names[skip..].to_vec())
    }

    pub fn indexes(&self) -> impl Iterator<Item = &'a Expr> {
        self.steps.iter().filter_map(|step| if let Step::Index(index) = step { Some(*index) } else { None })
    }
}

/// The variables of a pattern such as `[x, {"k": y}]`.
pub(super) fn pattern_variables<'a>(pattern: &'a Expr, names: &mut BTreeSet<&'a str>) {
    match pattern {
        Expr::Var { span, .. } => drop(names.insert(span.text())),
        Expr::Array { items, .. } => items.iter().for_each(|item| pattern_variables(item, names)),
        Expr::Object { fields, .. } => fields.iter().for_each(|(_, _, value)| pattern_variables(value, names)),
        _ => {}
    }
}
