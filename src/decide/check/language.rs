//! Which constructs, names and builtins the rules use.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{AssignOp, Expr, Literal, Query, Rule, RuleAssign, RuleHead, Span};

use super::builtins;
use super::program::{Definition, Kind, Program, shown};
use super::syntax::{Part, Reference, Step, parts, pattern_variables, text, variable};
use super::{Findings, Place};

/// Digits of a number literal. Engines keep fifteen decimal digits alike, whatever they compute with.
const DIGITS: usize = 15;

/// What a name's rules use.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Rules, by full name.
    pub rules: BTreeSet<String>,
    /// Parts of the input: section and member, and where it is read.
    pub inputs: BTreeMap<Vec<String>, Option<(usize, u32)>>,
    /// Imports, by source and name.
    pub imports: BTreeSet<(usize, String)>,
    /// Texts and names of members: what may be looked up by name.
    pub words: BTreeSet<String>,
}

/// Walks every rule; gives what each name uses.
pub(super) fn check(program: &Program<'_>, findings: &mut Findings) -> BTreeMap<String, Uses> {
    let mut all = BTreeMap::new();
    for name in program.names.keys() {
        let mut uses = Uses::default();
        for definition in program.definitions(name) {
            let mut walker = Walker { program, source: definition.source, uses: &mut uses, findings };
            walker.definition(&definition);
        }
        all.insert(name.clone(), uses);
    }
    for (place, source) in program.sources.iter().enumerate() {
        if !source.module.rego_v1 {
            findings.error("rego_version", Place::of(source.file, 1), "this is not Rego v1: write import rego.v1");
        }
        for package in program.packages() {
            let name = package.rsplit('.').next().unwrap_or(package);
            if program.package(place) != package
                && program.rule(place, name).is_some()
                && package.starts_with(program.package(place))
            {
                findings.error(
                    "shadowed",
                    Place::of(source.file, 1),
                    format!("{name} is a package and a rule: rename one"),
                );
            }
        }
    }
    all
}

pub(super) struct Walker<'w, 'a> {
    pub program: &'w Program<'a>,
    pub source: usize,
    pub uses: &'w mut Uses,
    pub findings: &'w mut Findings,
}

/// The variables that an expression may use.
type Scope<'e> = BTreeSet<&'e str>;

impl Walker<'_, '_> {
    pub fn error(&mut self, code: &'static str, span: &Span, text: impl Into<String>) {
        let place = self.program.sources[self.source].place(span);
        self.findings.error(code, place, text);
    }

    fn definition(&mut self, definition: &Definition<'_>) {
        match definition.rule {
            Rule::Default { refr, args, value, .. } => {
                self.head(refr, &Scope::new(), false);
                let scope = args.iter().filter_map(|arg| variable(arg)).collect();
                self.expression(value, &scope);
                if !is_constant(value) {
                    self.error("default_value", value.span(), "a default is a constant: write one");
                }
            }
            Rule::Spec { head, bodies, .. } => {
                let (refr, args, key, assign) = match head {
                    RuleHead::Compr { refr, assign, .. } => (refr, &[][..], None, assign.as_ref()),
                    RuleHead::Set { refr, key, .. } => (refr, &[][..], key.as_ref(), None),
                    RuleHead::Func { refr, args, assign, .. } => (refr, &args[..], None, assign.as_ref()),
                };
                let mut arguments = Scope::new();
                for arg in args {
                    self.argument(arg, &mut arguments);
                }
                // `else` has a value of its own, so each body goes with the assignment that stands beside it.
                let mut scopes = Vec::new();
                for body in bodies {
                    let inner = self.query(&body.query, &arguments);
                    if let Some(RuleAssign { value, .. }) = &body.assign {
                        self.expression(value, &inner);
                    }
                    if !body.is_else {
                        scopes.push(inner);
                    }
                }
                if bodies.is_empty() {
                    scopes.push(arguments);
                }
                for scope in &scopes {
                    self.head(refr, scope, key.is_some());
                    let values = key.map(AsRef::as_ref).into_iter().chain(assign.map(|assign| assign.value.as_ref()));
                    values.for_each(|value| self.expression(value, scope));
                }
            }
        }
    }

    fn head(&mut self, refr: &Expr, scope: &Scope<'_>, is_set: bool) {
        let Some(reference) = Reference::of(refr) else { return };
        // The interpreter loses sets that several rules build up inside an object with computed names.
        let computed = reference.indexes().count();
        let last = matches!(reference.steps.last(), Some(Step::Index(_)));
        if computed > 1 || (computed == 1 && (is_set || !last)) {
            let text =
                "a rule may compute the last name of an object's member only: build inner objects with a comprehension";
            self.error("rule_name", refr.span(), text);
        }
        for index in reference.indexes() {
            self.expression(index, scope);
        }
        if let Some(name @ ("input" | "data")) = reference.name() {
            self.error("rule_name", refr.span(), format!("{name} cannot be a rule: rename it"));
        }
        if let Some(name) = reference.name()
            && builtins::find(name).is_some()
        {
            self.error("shadowed", refr.span(), format!("{name} is a builtin: rename the rule"));
        }
    }

    /// An argument of a function: a name or a constant. Patterns are left to no engine's reading.
    fn argument<'e>(&mut self, arg: &'e Expr, scope: &mut Scope<'e>) {
        match variable(arg) {
            Some("_") => {}
            Some(name) => self.declare(name, arg.span(), scope),
            None if is_constant(arg) => {}
            None => self.error(
                "argument_pattern",
                arg.span(),
                "an argument is a name or a constant: take it apart in the body",
            ),
        }
    }

    fn declare<'e>(&mut self, name: &'e str, span: &Span, scope: &mut Scope<'e>) {
        if matches!(name, "input" | "data") || self.program.imports[self.source].contains_key(name) {
            self.error("shadowed", span, format!("{name} means something else in this file: rename the variable"));
        }
        scope.insert(name);
    }

    /// Walks a query in its scope and gives the scope with what the query binds.
    fn query<'e>(&mut self, query: &'e Query, outer: &Scope<'e>) -> Scope<'e> {
        let mut scope = outer.clone();
        self.bind(query, &mut scope);
        for statement in &query.stmts {
            if let Some(with) = statement.with_mods.first() {
                self.error(
                    "with",
                    &with.span,
                    "with replaces what others decided on: pass it to a function as an argument",
                );
            }
            match &statement.literal {
                Literal::SomeVars { .. } => {}
                Literal::SomeIn { key, value, collection, .. } => {
                    key.iter().for_each(|key| self.pattern(key, &scope));
                    self.pattern(value, &scope);
                    self.expression(collection, &scope);
                }
                Literal::Expr { expr, .. } => self.statement(expr, &scope),
                Literal::NotExpr { expr, span } => {
                    self.expression(expr, &scope);
                    self.negated(expr, span, &scope);
                }
                Literal::Every { key, value, domain, query, .. } => {
                    self.expression(domain, &scope);
                    let mut inner = scope.clone();
                    for name in key.iter().chain([value]) {
                        self.declare(name.text(), name, &mut inner);
                    }
                    self.query(query, &inner);
                }
            }
        }
        scope
    }

    /// Adds what a query's statements bind, wherever among them: engines put them in an order of their own.
    fn bind<'e>(&mut self, query: &'e Query, scope: &mut Scope<'e>) {
        for statement in &query.stmts {
            match &statement.literal {
                // Declared here, bound by another statement; one that no statement binds is unsafe, and `compile` says so.
                Literal::SomeVars { vars, .. } => vars.iter().for_each(|span| self.declare(span.text(), span, scope)),
                Literal::SomeIn { key, value, collection, .. } => {
                    for pattern in key.iter().chain([value]) {
                        let mut names = BTreeSet::new();
                        pattern_variables(pattern, &mut names);
                        names.into_iter().for_each(|name| self.declare(name, pattern.span(), scope));
                    }
                    self.bind_indexes(Part::Expr(collection), scope);
                }
                Literal::Expr { expr, .. } => self.bind_expression(expr, scope),
                Literal::NotExpr { .. } | Literal::Every { .. } => {}
            }
        }
    }

    fn bind_expression<'e>(&mut self, expr: &'e Expr, scope: &mut Scope<'e>) {
        self.bind_indexes(Part::Expr(expr), scope);
        let Expr::AssignExpr { op, lhs, rhs, .. } = expr else { return };
        let mut names = BTreeSet::new();
        pattern_variables(lhs, &mut names);
        if *op == AssignOp::Eq {
            pattern_variables(rhs, &mut names);
            names.retain(|name| self.is_free(name, scope));
        }
        names.into_iter().for_each(|name| self.declare(name, lhs.span(), scope));
    }

    /// A free variable in brackets iterates. A comprehension keeps what iterates in it to itself.
    fn bind_indexes<'e>(&mut self, part: Part<'e>, scope: &mut Scope<'e>) {
        let Part::Expr(expr) = part else { return };
        if let Expr::RefBrack { index, .. } = expr
            && let Some(name) = variable(index)
            && self.is_free(name, scope)
        {
            scope.insert(name);
        }
        if !matches!(expr, Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. }) {
            let mut inner = Vec::new();
            parts(part, &mut |part| inner.push(part));
            inner.into_iter().for_each(|part| self.bind_indexes(part, scope));
        }
    }

    fn is_free(&self, name: &str, scope: &Scope<'_>) -> bool {
        !scope.contains(name)
            && !matches!(name, "input" | "data")
            && self.program.rule(self.source, name).is_none()
            && !self.program.imports[self.source].contains_key(name)
    }

    fn pattern(&mut self, pattern: &Expr, scope: &Scope<'_>) {
        match pattern {
            Expr::Var { .. } => {}
            Expr::Array { items, .. } => items.iter().for_each(|item| self.pattern(item, scope)),
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.expression(key, scope);
                    self.pattern(value, scope);
                }
            }
            other => self.expression(other, scope),
        }
    }

    /// A statement of a query: the only place of an assignment.
    fn statement(&mut self, expr: &Expr, scope: &Scope<'_>) {
        match expr {
            Expr::AssignExpr { op, lhs, rhs, .. } => {
                match op {
                    AssignOp::ColEq => self.pattern(lhs, scope),
                    AssignOp::Eq => self.expression(lhs, scope),
                }
                self.expression(rhs, scope);
            }
            other => self.expression(other, scope),
        }
    }

    pub fn expression(&mut self, expr: &Expr, scope: &Scope<'_>) {
        match expr {
            Expr::String { .. } | Expr::RawString { .. } => {
                if let Some(text) = text(expr) {
                    self.uses.words.insert(text.to_owned());
                }
            }
            Expr::Number { span, .. } => self.number(span),
            Expr::Bool { .. } | Expr::Null { .. } => {}
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => self.reference(expr, scope),
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                items.iter().for_each(|item| self.expression(item, scope));
            }
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.expression(key, scope);
                    self.expression(value, scope);
                }
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                let inner = self.query(query, scope);
                self.expression(term, &inner);
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                let inner = self.query(query, scope);
                self.expression(key, &inner);
                self.expression(value, &inner);
            }
            Expr::Call { fcn, params, span, .. } => {
                self.call(fcn, params, span);
                params.iter().for_each(|param| self.expression(param, scope));
            }
            Expr::UnaryExpr { expr, .. } => self.expression(expr, scope),
            Expr::BinExpr { lhs, rhs, .. } | Expr::BoolExpr { lhs, rhs, .. } | Expr::ArithExpr { lhs, rhs, .. } => {
                self.expression(lhs, scope);
                self.expression(rhs, scope);
            }
            Expr::AssignExpr { span, lhs, rhs, .. } => {
                self.error("nested_assignment", span, "an assignment is a statement of its own: compare with ==");
                self.expression(lhs, scope);
                self.expression(rhs, scope);
            }
            Expr::Membership { key, value, collection, .. } => {
                key.iter().for_each(|key| self.expression(key, scope));
                self.expression(value, scope);
                self.expression(collection, scope);
            }
        }
    }

    fn number(&mut self, span: &Span) {
        let text = span.text();
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        if digits > DIGITS || text.contains(['e', 'E', '_']) {
            self.error(
                "number",
                span,
                format!("engines may differ on {}: at most {DIGITS} digits and no exponent", shown(span)),
            );
        }
    }

    fn reference(&mut self, expr: &Expr, scope: &Scope<'_>) {
        let Some(reference) = Reference::of(expr) else {
            return self.error("reference", expr.span(), "a part can be taken of a name or a value only");
        };
        for step in &reference.steps {
            match step {
                Step::Name(name) => drop(self.uses.words.insert((*name).to_owned())),
                Step::Index(index) => self.expression(index, scope),
            }
        }
        let Some(name) = reference.name() else { return self.expression(reference.root, scope) };
        if scope.contains(name) {
            return;
        }
        if name == "input" {
            return self.input(&reference, expr.span());
        }
        if let Some(rule) = self.program.rule(self.source, name) {
            if self.program.definitions(&rule).any(|definition| matches!(definition.kind, Kind::Function(_))) {
                self.error("function_value", expr.span(), format!("{name} is a function: call it"));
            }
            self.uses.rules.insert(rule);
            return;
        }
        let names = reference.names();
        let index = match reference.steps.get(names.len()) {
            Some(Step::Index(index)) => Some(*index),
            _ => None,
        };
        if name == "data" {
            return self.data(&names, index, expr.span());
        }
        if let Some(path) = self.program.imports[self.source].get(name) {
            self.uses.imports.insert((self.source, name.to_owned()));
            let path: Vec<_> = path[1..].iter().map(String::as_str).chain(names).collect();
            return self.data(&path, index, expr.span());
        }
        if name == "_" && reference.steps.is_empty() {
            return;
        }
        self.error(
            "unknown_name",
            expr.span(),
            format!("nothing defines {name}: declare it with some or :=, or define a rule"),
        );
    }

    fn input(&mut self, reference: &Reference<'_>, span: &Span) {
        let names = reference.names();
        if names.is_empty() {
            let text = "the input as a whole is more than a policy declares: read its members, such as input.recipient.country";
            return self.error("whole_input", span, text);
        }
        let path = names.iter().take(2).map(|name| (*name).to_owned()).collect();
        self.uses.inputs.entry(path).or_insert(Some((self.source, span.line)));
    }

    fn data(&mut self, path: &[&str], index: Option<&Expr>, span: &Span) {
        let (rules, value) = self.program.reach(path);
        // OPA's compiler makes a name of a number here, and engines differ on whether that is the same.
        if matches!(index, Some(Expr::Number { .. })) && value.is_some_and(|value| !value.is_array()) {
            self.error("data_index", span, "a number in brackets picks out of an array only: write the name as a text");
        }
        if rules.is_empty() && value.is_none() {
            let text = format!("nothing in the bundle provides data.{}: correct the path", path.join("."));
            return self.error("unknown_data", span, text);
        }
        let rules: Vec<_> = rules.into_iter().map(str::to_owned).collect();
        self.uses.rules.extend(rules);
    }
}

/// Whether an expression is made of literals alone.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::String { .. } | Expr::RawString { .. } | Expr::Number { .. } | Expr::Bool { .. } | Expr::Null { .. } => {
            true
        }
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().all(|item| is_constant(item)),
        Expr::Object { fields, .. } => fields.iter().all(|(_, key, value)| is_constant(key) && is_constant(value)),
        // set() is how the empty set is written.
        Expr::Call { fcn, params, .. } => params.is_empty() && variable(fcn) == Some("set"),
        _ => false,
    }
}
