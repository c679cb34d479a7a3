//! A policy's source taken apart: its definitions, their conditions, and what each condition mentions.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Module, Query, Rule, RuleBody, RuleHead, Span};
use serde_json::Value;

use crate::decide::{Bundle, DecideError};

/// Every definition of a bundle, in the order of its files.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) definitions: Vec<Definition>,
    /// The imports of each file, as written, for text that is evaluated as if it stood there.
    pub(super) heads: BTreeMap<String, Head>,
}

/// How a file begins.
#[derive(Debug)]
pub(super) struct Head {
    /// `data.` and the package.
    pub(super) package: String,
    /// The package and import lines.
    pub(super) text: String,
}

/// One definition: a rule head with its bodies.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) file: String,
    /// Line, from 1.
    pub(super) line: usize,
    pub(super) name: String,
    /// The head as it is written, on one line.
    pub(super) head: String,
    /// Whether it takes arguments, so that it holds or not only where it is called.
    pub(super) function: bool,
    /// Whether it adds to a set or an object instead of being one value.
    pub(super) partial: bool,
    /// Whether it has a value other than true.
    pub(super) valued: bool,
    pub(super) mentions: Mentions,
    /// One for each alternative; a body without conditions always holds.
    pub(super) bodies: Vec<Vec<Condition>>,
}

/// One condition of a body.
#[derive(Debug)]
pub(super) struct Condition {
    /// Line, from 1.
    pub(super) line: usize,
    /// The source text.
    pub(super) text: String,
    pub(super) mentions: Mentions,
    /// Whether it can be judged without the conditions before it: it uses no variable of theirs.
    pub(super) alone: bool,
}

/// What an expression mentions.
#[derive(Debug, Default, Clone)]
pub(super) struct Mentions {
    /// Names of rules, functions and variables.
    pub(super) names: BTreeSet<String>,
    /// Functions called, built in or not.
    pub(super) calls: BTreeSet<String>,
    pub(super) strings: BTreeSet<String>,
    pub(super) numbers: Vec<f64>,
    pub(super) truths: bool,
    /// Members that are reached by a dot.
    pub(super) members: BTreeSet<String>,
    /// Constant paths into the data.
    pub(super) data: BTreeSet<Vec<String>>,
}

impl Outline {
    /// Takes a bundle's source apart with the interpreter's parser. For the operator's own source only: the parser is no
    /// sandbox.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] with file and line where the source does not parse.
    pub(super) fn read(bundle: &Bundle) -> Result<Self, DecideError> {
        let mut engine = regorus::Engine::new();
        for source in bundle.sources() {
            engine
                .add_policy(source.path.clone(), source.text.clone())
                .map_err(|error| DecideError::unusable(format!("{}: {error}", source.path)))?;
        }
        let mut outline = Self::default();
        for module in engine.get_modules() {
            outline.add(module);
        }
        Ok(outline)
    }

    fn add(&mut self, module: &Module) {
        let file = module.package.span.source.file().clone();
        let mut imports = BTreeMap::new();
        let mut text = format!("package {}\n", module.package.refr.span().text());
        for import in &module.imports {
            text.push_str(&format!("import {}", import.refr.span().text()));
            let path = constant_path(&import.refr).unwrap_or_default();
            let mut alias = path.last().cloned();
            if let Some(name) = &import.r#as {
                text.push_str(&format!(" as {}", name.text()));
                alias = Some(name.text().to_owned());
            }
            text.push('\n');
            if let (Some(alias), Some("data")) = (alias, path.first().map(String::as_str)) {
                imports.insert(alias, path[1..].to_vec());
            }
        }
        let package = format!("data.{}", module.package.refr.span().text());
        self.heads.insert(file.clone(), Head { package, text });
        for rule in &module.policy {
            if let Rule::Spec { head, bodies, .. } = rule.as_ref() {
                self.definitions.push(definition(&file, head, bodies, &imports));
            }
        }
    }

    /// The definitions by this name.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (usize, &'a Definition)> {
        self.definitions.iter().enumerate().filter(move |(_, definition)| definition.name == name)
    }

    /// Definitions that these lead to by name, themselves included.
    pub(super) fn reached_from(&self, starts: &[usize]) -> BTreeSet<usize> {
        let mut reached: BTreeSet<usize> = BTreeSet::new();
        let mut open: Vec<usize> = starts.to_vec();
        while let Some(next) = open.pop() {
            if !reached.insert(next) {
                continue;
            }
            let definition = &self.definitions[next];
            let conditions = definition.bodies.iter().flatten().map(|condition| &condition.mentions);
            for mentions in conditions.chain([&definition.mentions]) {
                open.extend(mentions.names.iter().flat_map(|name| self.named(name).map(|(place, _)| place)));
            }
        }
        reached
    }
}

fn definition(file: &str, head: &RuleHead, bodies: &[RuleBody], imports: &BTreeMap<String, Vec<String>>) -> Definition {
    let (span, refr, function, partial) = match head {
        RuleHead::Compr { span, refr, .. } => (span, refr, false, !matches!(refr.as_ref(), Expr::Var { .. })),
        RuleHead::Set { span, refr, .. } => (span, refr, false, true),
        RuleHead::Func { span, refr, .. } => (span, refr, true, false),
    };
    let value = match head {
        RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => assign.as_ref().map(|assign| &assign.value),
        RuleHead::Set { key, .. } => key.as_ref(),
    };
    let mut mentions = Mentions::default();
    if let Some(value) = value {
        mentions.add(value, imports);
    }
    for assign in bodies.iter().filter_map(|body| body.assign.as_ref()) {
        mentions.add(&assign.value, imports);
    }
    let name = constant_path(refr).and_then(|path| path.into_iter().next());
    Definition {
        file: file.to_owned(),
        line: span.line as usize,
        name: name.unwrap_or_else(|| refr.span().text().to_owned()),
        head: one_line(span.text()),
        function,
        partial,
        valued: value.is_some(),
        mentions,
        bodies: bodies.iter().map(|body| conditions(&body.query, imports)).collect(),
    }
}

fn conditions(query: &Query, imports: &BTreeMap<String, Vec<String>>) -> Vec<Condition> {
    let mut locals: BTreeSet<String> = BTreeSet::new();
    let mut conditions = Vec::new();
    for statement in &query.stmts {
        let mut mentions = Mentions::default();
        mentions.statement(statement, imports);
        let bound = bound_by(statement);
        let alone = bound.is_empty() && mentions.names.is_disjoint(&locals);
        locals.extend(bound);
        let (line, text) = (statement.span.line as usize, source_text(&statement.span));
        conditions.push(Condition { line, text, mentions, alone });
    }
    conditions
}

/// The text of a statement. The parser's spans leave out the quotes of a text that stands first or last.
fn source_text(span: &Span) -> String {
    let (start, end) = (span.start as usize, span.end as usize);
    let whole = span.source.contents();
    let quote = |place: usize| matches!(whole.as_bytes().get(place), Some(b'"' | b'`'));
    let start = if start > 0 && quote(start - 1) { start - 1 } else { start };
    let end = if quote(end) { end + 1 } else { end };
    whole.get(start..end).unwrap_or_default().trim().to_owned()
}

/// The variables that a statement gives to those after it.
fn bound_by(statement: &LiteralStmt) -> BTreeSet<String> {
    let mut names = Mentions::default();
    let nowhere = BTreeMap::new();
    match &statement.literal {
        Literal::SomeVars { vars, .. } => names.names.extend(vars.iter().map(|span| span.text().to_owned())),
        Literal::SomeIn { key, value, .. } => {
            for pattern in key.iter().chain([value]) {
                names.add(pattern, &nowhere);
            }
        }
        Literal::Expr { expr, .. } => {
            if let Expr::AssignExpr { op: AssignOp::ColEq, lhs, .. } = expr.as_ref() {
                names.add(lhs, &nowhere);
            }
        }
        Literal::NotExpr { .. } | Literal::Every { .. } => {}
    }
    names.names
}

impl Mentions {
    fn statement(&mut self, statement: &LiteralStmt, imports: &BTreeMap<String, Vec<String>>) {
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn { key, value, collection, .. } => {
                for expr in key.iter().chain([value, collection]) {
                    self.add(expr, imports);
                }
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.add(expr, imports),
            Literal::Every { domain, query, .. } => {
                self.add(domain, imports);
                self.query(query, imports);
            }
        }
        for with in &statement.with_mods {
            self.add(&with.r#as, imports);
        }
    }

    fn query(&mut self, query: &Query, imports: &BTreeMap<String, Vec<String>>) {
        for statement in &query.stmts {
            self.statement(statement, imports);
        }
    }

    /// Takes in an expression. It is as deep as the parser allows.
    fn add(&mut self, expr: &Expr, imports: &BTreeMap<String, Vec<String>>) {
        if let Some(path) = constant_path(expr) {
            self.path(path, imports);
            return;
        }
        let mut each = |exprs: &[&Expr]| exprs.iter().for_each(|expr| self.add(expr, imports));
        match expr {
            Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|item| each(&[item])),
            Expr::Object { fields, .. } => fields.iter().for_each(|(_, key, value)| each(&[key, value])),
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                each(&[term]);
                self.query(query, imports);
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                each(&[key, value]);
                self.query(query, imports);
            }
            Expr::Call { fcn, params, .. } => {
                params.iter().for_each(|param| each(&[param]));
                let name = fcn.span().text().to_owned();
                self.names.insert(name.clone());
                self.calls.insert(name);
            }
            Expr::UnaryExpr { expr, .. } => each(&[expr]),
            Expr::RefDot { refr, field, .. } => {
                each(&[refr]);
                self.members.insert(field.0.text().to_owned());
            }
            Expr::RefBrack { refr, index, .. } => each(&[refr, index]),
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => each(&[lhs, rhs]),
            Expr::Membership { key, value, collection, .. } => {
                key.iter().for_each(|key| each(&[key]));
                each(&[value, collection]);
            }
            Expr::String { value, .. } | Expr::RawString { value, .. } => {
                self.strings.extend(value.as_string().ok().map(|text| text.to_string()));
            }
            Expr::Number { value, .. } => self.numbers.extend(value.as_f64().ok()),
            Expr::Bool { .. } => self.truths = true,
            Expr::Null { .. } | Expr::Var { .. } => {}
        }
    }

    fn path(&mut self, path: Vec<String>, imports: &BTreeMap<String, Vec<String>>) {
        let Some((first, rest)) = path.split_first() else { return };
        if first == "data" {
            self.data.insert(rest.to_vec());
        } else if let Some(start) = imports.get(first) {
            self.data.insert(start.iter().chain(rest).cloned().collect());
        } else {
            self.names.insert(first.clone());
            self.members.extend(rest.iter().cloned());
        }
    }

    /// The text constants that the data holds at the paths mentioned: items of lists, keys of objects and their items.
    pub(super) fn named_in<'a>(&self, data: &'a Value) -> Vec<&'a str> {
        let mut found = Vec::new();
        for path in &self.data {
            let value = path.iter().try_fold(data, |value, name| value.get(name));
            match value {
                Some(Value::Array(items)) => found.extend(items.iter().filter_map(Value::as_str)),
                Some(Value::Object(members)) => found.extend(members.keys().map(String::as_str)),
                Some(Value::String(text)) => found.push(text),
                _ => {}
            }
        }
        found
    }
}

/// `a.b["c"]` as its names, where all of them are constant.
fn constant_path(expr: &Expr) -> Option<Vec<String>> {
    match expr {
        Expr::Var { span, .. } => Some(vec![span.text().to_owned()]),
        Expr::RefDot { refr, field, .. } => {
            let mut path = constant_path(refr)?;
            path.push(field.0.text().to_owned());
            Some(path)
        }
        Expr::RefBrack { refr, index, .. } => {
            let mut path = constant_path(refr)?;
            let Expr::String { value, .. } = index.as_ref() else { return None };
            path.push(value.as_string().ok()?.to_string());
            Some(path)
        }
        _ => None,
    }
}

/// Source text on one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
