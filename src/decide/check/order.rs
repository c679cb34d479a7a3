//! Orders that engines do not share.
//!
//! OPA walks sets and objects in the order of their members, a compiled module in an order of its own. What comes out of
//! such a walk as an array, as a text or as a part of the decision would differ between them.

use std::collections::BTreeSet;

use regorus::unstable::{AssignOp, Expr, Literal, Query, Rule, RuleHead, Span};

use super::Findings;
use super::program::{Called, Kind, Program, shown};
use super::syntax::{Part, Reference, parts, rule_parts, variable};

/// Builtins that give an array in one order, whatever they are given.
const ARRAYS: [&str; 6] = ["array.concat", "array.reverse", "array.slice", "numbers.range", "sort", "split"];
/// Builtins to which the order of their argument is all one.
const INDIFFERENT: [&str; 4] = ["count", "max", "min", "sort"];
/// Builtins that give a set, or sets among others.
const SETS: [&str; 5] = ["and", "intersection", "object.keys", "or", "union"];

/// Looks at every rule, and at what the entrypoint's decision is made of.
pub(super) fn check(program: &Program<'_>, findings: &mut Findings) {
    for (source, parsed) in program.sources.iter().enumerate() {
        for rule in &parsed.module.policy {
            let mut order = Order { program, source, guards: Vec::new(), wrong: Vec::new() };
            rule_parts(rule, &mut |part| order.part(part, false));
            for (span, text) in order.wrong {
                findings.error("order", parsed.place(&span), text);
            }
        }
    }
}

/// Looks for sets in the document that a rule gives: as JSON they are arrays in some order.
pub(super) fn sets_in_decision(program: &Program<'_>, entrypoint: &str, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    let mut pending = vec![entrypoint.to_owned()];
    while let Some(name) = pending.pop().filter(|name| seen.insert(name.clone())) {
        for definition in program.definitions(&name) {
            values(definition.rule, &mut |value| {
                sets(program, definition.source, value, &mut pending, &mut |span| {
                    let place = program.sources[definition.source].place(span);
                    let text =
                        format!("{} is a set, which has no order as JSON: write sort({})", shown(span), shown(span));
                    findings.error("order", place, text);
                });
            });
        }
    }
}

fn sets(program: &Program<'_>, source: usize, expr: &Expr, rules: &mut Vec<String>, tell: &mut impl FnMut(&Span)) {
    match expr {
        Expr::Set { span, .. } | Expr::SetCompr { span, .. } | Expr::BinExpr { span, .. } => tell(span),
        Expr::Object { fields, .. } => {
            fields.iter().for_each(|(_, _, value)| sets(program, source, value, rules, tell));
        }
        Expr::Array { items, .. } => items.iter().for_each(|item| sets(program, source, item, rules, tell)),
        Expr::ArrayCompr { term, .. } => sets(program, source, term, rules, tell),
        Expr::ObjectCompr { value, .. } => sets(program, source, value, rules, tell),
        Expr::Call { fcn, span, .. } => {
            if let Some(Called::Builtin(name)) = program.called(source, fcn)
                && SETS.contains(&name.as_str())
            {
                tell(span);
            }
        }
        Expr::Var { span, .. } => {
            if let Some(rule) = program.rule(source, span.text()) {
                let is_set = program.definitions(&rule).any(|definition| definition.kind == Kind::Set);
                if is_set { tell(span) } else { rules.push(rule) }
            }
        }
        _ => {}
    }
}

struct Order<'p, 'a> {
    program: &'p Program<'a>,
    source: usize,
    /// Texts of expressions that a statement around here says to be arrays.
    guards: Vec<String>,
    wrong: Vec<(Span, String)>,
}

impl Order<'_, '_> {
    /// Walks a part; `free` where the order of its value is all one.
    fn part(&mut self, part: Part<'_>, free: bool) {
        let before = self.guards.len();
        match part {
            Part::Query(query) => self.guards(query),
            Part::Expr(Expr::ArrayCompr { query, .. }) => {
                self.guards(query);
                if !free {
                    self.generators(query);
                }
            }
            Part::Expr(Expr::SetCompr { query, .. } | Expr::ObjectCompr { query, .. }) => self.guards(query),
            Part::Expr(Expr::Call { fcn, params, .. }) => {
                let called = self.program.called(self.source, fcn);
                let builtin =
                    |names: &[&str]| matches!(&called, Some(Called::Builtin(name)) if names.contains(&name.as_str()));
                if builtin(&["concat"])
                    && let Some(joined) = params.get(1).filter(|joined| !self.is_array(joined, &mut BTreeSet::new()))
                {
                    self.tell(joined.span());
                }
                let free = builtin(&INDIFFERENT);
                return params.iter().for_each(|param| self.part(Part::Expr(param), free));
            }
            Part::Expr(Expr::Membership { key: None, value, collection, .. }) => {
                self.part(Part::Expr(value), false);
                return self.part(Part::Expr(collection), true);
            }
            Part::Expr(_) => {}
        }
        let mut inner = Vec::new();
        parts(part, &mut |part| inner.push(part));
        inner.into_iter().for_each(|part| self.part(part, false));
        self.guards.truncate(before);
    }

    fn tell(&mut self, span: &Span) {
        let text = format!(
            "engines walk {} in different orders unless it is an array: write sort(...), or is_array(...) before it",
            shown(span)
        );
        self.wrong.push((span.clone(), text));
    }

    /// `is_array(x)`, and `x :=` an array, hold for the whole query.
    fn guards(&mut self, query: &Query) {
        for statement in &query.stmts {
            let Literal::Expr { expr, .. } = &statement.literal else { continue };
            match expr.as_ref() {
                Expr::Call { fcn, params, .. } if variable(fcn) == Some("is_array") => {
                    self.guards.extend(params.first().map(|param| param.span().text().to_owned()));
                }
                Expr::AssignExpr { op: AssignOp::ColEq, lhs, rhs, .. } => {
                    if let Some(name) = variable(lhs)
                        && self.is_array(rhs, &mut BTreeSet::new())
                    {
                        self.guards.push(name.to_owned());
                    }
                }
                _ => {}
            }
        }
    }

    /// What an array comprehension walks decides the order of its elements.
    fn generators(&mut self, query: &Query) {
        for statement in &query.stmts {
            match &statement.literal {
                Literal::SomeIn { collection, .. } => {
                    if !self.is_array(collection, &mut BTreeSet::new()) {
                        self.tell(collection.span());
                    }
                }
                Literal::Expr { expr, .. } => self.walked(expr),
                Literal::SomeVars { .. } | Literal::NotExpr { .. } | Literal::Every { .. } => {}
            }
        }
    }

    /// A variable in brackets may walk; where it does not, naming the element first says so.
    fn walked(&mut self, expr: &Expr) {
        if let Expr::RefBrack { refr, index, .. } = expr
            && variable(index).is_some()
            && !self.is_array(refr, &mut BTreeSet::new())
        {
            self.tell(refr.span());
        }
        let mut inner = Vec::new();
        parts(Part::Expr(expr), &mut |part| inner.push(part));
        for part in inner {
            if let Part::Expr(expr) = part {
                self.walked(expr);
            }
        }
    }

    /// Whether an expression is an array wherever it has a value.
    fn is_array(&self, expr: &Expr, seen: &mut BTreeSet<String>) -> bool {
        if self.guards.iter().any(|guard| guard == expr.span().text()) {
            return true;
        }
        match expr {
            Expr::Array { .. } | Expr::ArrayCompr { .. } => true,
            Expr::Call { fcn, .. } => match self.program.called(self.source, fcn) {
                Some(Called::Builtin(name)) => ARRAYS.contains(&name.as_str()),
                Some(Called::Rule(name)) => self.gives_array(&name, seen),
                None => false,
            },
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                let Some(reference) = Reference::of(expr) else { return false };
                let Some(name) = reference.name() else { return false };
                match self.program.rule(self.source, name) {
                    Some(rule) => reference.steps.is_empty() && self.gives_array(&rule, seen),
                    None => self.program.data_value(self.source, &reference).is_some_and(serde_json::Value::is_array),
                }
            }
            _ => false,
        }
    }

    fn gives_array(&self, name: &str, seen: &mut BTreeSet<String>) -> bool {
        if !seen.insert(name.to_owned()) {
            return false;
        }
        let mut definitions = self.program.definitions(name).peekable();
        definitions.peek().is_some()
            && definitions.all(|definition| {
                let mut all = matches!(definition.kind, Kind::Value | Kind::Function(_));
                let own =
                    Order { program: self.program, source: definition.source, guards: Vec::new(), wrong: Vec::new() };
                values(definition.rule, &mut |value| all = all && own.is_array(value, seen));
                all
            })
    }
}

/// Every value that a rule may give.
fn values<'a>(rule: &'a Rule, see: &mut impl FnMut(&'a Expr)) {
    match rule {
        Rule::Default { value, .. } => see(value),
        Rule::Spec { head, bodies, .. } => {
            match head {
                RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
                    assign.iter().for_each(|assign| see(&assign.value));
                }
                RuleHead::Set { key, .. } => key.iter().for_each(|key| see(key)),
            }
            bodies.iter().filter_map(|body| body.assign.as_ref()).for_each(|assign| see(&assign.value));
        }
    }
}
