//! All sources of a bundle together: which names exist, what each depends on, and which values are always defined.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Literal, Query, Rule, RuleHead, Span};
use serde_json::Value;

use super::language::Uses;
use super::syntax::{Parsed, Reference, variable};
use super::{Findings, Place};

/// What a definition makes of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One value.
    Value,
    /// A set, element by element.
    Set,
    /// An object, member by member, or a rule inside one.
    Object,
    /// A function of so many arguments.
    Function(usize),
}

/// One rule of a source.
pub(super) struct Definition<'a> {
    pub source: usize,
    pub rule: &'a Rule,
    pub kind: Kind,
    pub is_default: bool,
}

/// The sources of a bundle and the names that they define.
pub(super) struct Program<'a> {
    pub sources: Vec<Parsed<'a>>,
    pub data: &'a Value,
    /// Full path of a rule's first name, such as `dfft.decision`, to its places in `rules`.
    pub names: BTreeMap<String, Vec<(usize, usize)>>,
    /// What `import` calls by a short name, by source: the full path.
    pub imports: Vec<BTreeMap<String, Vec<String>>>,
    packages: Vec<String>,
}

impl<'a> Program<'a> {
    pub fn new(sources: Vec<Parsed<'a>>, data: &'a Value, findings: &mut Findings) -> Self {
        let (mut names, mut imports, mut packages) = (BTreeMap::<_, Vec<_>>::new(), Vec::new(), Vec::new());
        for (place, source) in sources.iter().enumerate() {
            let package = source.package().unwrap_or_else(|| {
                let at = source.place(&source.module.package.span);
                findings.error("package_name", at, "the package has no plain name: write package a.b");
                String::new()
            });
            for (number, rule) in source.module.policy.iter().enumerate() {
                match head(rule).and_then(|expr| Reference::of(expr)?.name()) {
                    Some(name) => names.entry(format!("{package}.{name}")).or_default().push((place, number)),
                    None => findings.error("rule_name", source.place(rule.span()), "the rule has no plain name"),
                }
            }
            packages.push(package);
            imports.push(read_imports(source, findings));
        }
        Self { sources, data, names, imports, packages }
    }

    pub fn package(&self, source: usize) -> &str {
        &self.packages[source]
    }

    pub fn packages(&self) -> &[String] {
        &self.packages
    }

    /// What defines a name.
    pub fn definitions(&self, name: &str) -> impl Iterator<Item = Definition<'_>> {
        self.names.get(name).into_iter().flatten().map(|&(source, number)| {
            let rule = self.sources[source].module.policy[number].as_ref();
            Definition { source, rule, kind: kind(rule), is_default: matches!(rule, Rule::Default { .. }) }
        })
    }

    /// The name that a variable stands for in a source, if a rule of its package goes by it.
    pub fn rule(&self, source: usize, name: &str) -> Option<String> {
        let full = format!("{}.{name}", self.package(source));
        self.names.contains_key(&full).then_some(full)
    }

    /// What a path below `data` reaches: rules, by their names; or a value of the data document.
    pub fn reach(&self, path: &[&str]) -> (Vec<&str>, Option<&'a Value>) {
        let full = path.join(".");
        let mut rules = Vec::new();
        for name in self.names.keys() {
            let within = |outer: &str, inner: &str| {
                inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            if full.is_empty() || within(&full, name) || within(name, &full) {
                rules.push(name.as_str());
            }
        }
        (rules, path.iter().try_fold(self.data, |value, name| value.get(name)))
    }

    /// Whether a name has a value whatever the input.
    fn total(&self, name: &str, seen: &mut BTreeSet<String>) -> bool {
        // A name that depends on itself is refused elsewhere; here it must only end.
        if !seen.insert(name.to_owned()) {
            return false;
        }
        let mut found = self.definitions(name).peekable();
        // A set or an object that is built up may be empty, but it is there.
        let total = found.peek().is_some()
            && found.any(|definition| match definition.kind {
                _ if definition.is_default => true,
                Kind::Set => true,
                Kind::Object => false,
                Kind::Value | Kind::Function(_) => self.always(&definition, seen),
            });
        seen.remove(name);
        total
    }

    /// Whether a rule has a branch without a condition, and that branch a value.
    fn always(&self, definition: &Definition<'_>, seen: &mut BTreeSet<String>) -> bool {
        let Rule::Spec { head, bodies, .. } = definition.rule else { return true };
        let (args, assign) = match head {
            RuleHead::Compr { assign, .. } => (&[][..], assign),
            RuleHead::Func { args, assign, .. } => (&args[..], assign),
            RuleHead::Set { .. } => return true,
        };
        let Some(locals) = args.iter().map(|arg| variable(arg)).collect::<Option<BTreeSet<_>>>() else { return false };
        let mut certain = |value: &Expr| self.certain(definition.source, value, &locals, seen).is_ok();
        let unconditional = |query: &Query| {
            query.stmts.iter().all(|statement| match &statement.literal {
                Literal::Expr { expr, .. } => matches!(expr.as_ref(), Expr::Bool { span, .. } if span.text() == "true"),
                _ => false,
            })
        };
        match bodies.iter().find(|body| unconditional(&body.query)) {
            Some(body) => body.assign.as_ref().or(assign.as_ref()).is_none_or(|assign| certain(&assign.value)),
            None => bodies.is_empty() && assign.as_ref().is_none_or(|assign| certain(&assign.value)),
        }
    }

    /// Whether an expression has a value whatever the input; `Err` names the part that may have none.
    pub fn is_certain(&self, source: usize, expr: &Expr, locals: &BTreeSet<&str>) -> Result<(), String> {
        self.certain(source, expr, locals, &mut BTreeSet::new())
    }

    fn certain(
        &self,
        source: usize,
        expr: &Expr,
        locals: &BTreeSet<&str>,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let all = |exprs: &mut dyn Iterator<Item = &Expr>, seen: &mut BTreeSet<String>| {
            for expr in exprs {
                self.certain(source, expr, locals, seen)?;
            }
            Ok(())
        };
        match expr {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. }
            | Expr::ArrayCompr { .. }
            | Expr::SetCompr { .. }
            | Expr::ObjectCompr { .. } => Ok(()),
            Expr::Array { items, .. } | Expr::Set { items, .. } => all(&mut items.iter().map(AsRef::as_ref), seen),
            Expr::Object { fields, .. } => {
                all(&mut fields.iter().flat_map(|(_, key, value)| [key.as_ref(), value.as_ref()]), seen)
            }
            Expr::UnaryExpr { expr, .. } => self.certain(source, expr, locals, seen),
            Expr::BinExpr { lhs, rhs, .. } | Expr::BoolExpr { lhs, rhs, .. } | Expr::ArithExpr { lhs, rhs, .. } => {
                all(&mut [lhs.as_ref(), rhs.as_ref()].into_iter(), seen)
            }
            Expr::Membership { key, value, collection, .. } => {
                let parts = key.iter().chain([value, collection]);
                all(&mut parts.map(AsRef::as_ref), seen)
            }
            Expr::Call { fcn, params, span, .. } => {
                all(&mut params.iter().map(AsRef::as_ref), seen)?;
                let total = match self.called(source, fcn) {
                    Some(Called::Rule(name)) => self.total(&name, seen),
                    Some(Called::Builtin(name)) => super::builtins::find(&name).is_some_and(|builtin| builtin.total),
                    None => false,
                };
                if total { Ok(()) } else { Err(shown(span)) }
            }
            Expr::Var { span, .. } | Expr::RefDot { span, .. } | Expr::RefBrack { span, .. } => {
                if self.reference_certain(source, expr, locals, seen) { Ok(()) } else { Err(shown(span)) }
            }
            Expr::AssignExpr { span, .. } => Err(shown(span)),
        }
    }

    fn reference_certain(
        &self,
        source: usize,
        expr: &Expr,
        locals: &BTreeSet<&str>,
        seen: &mut BTreeSet<String>,
    ) -> bool {
        let Some(reference) = Reference::of(expr) else { return false };
        let Some(name) = reference.name() else { return false };
        if locals.contains(name) {
            return reference.steps.is_empty();
        }
        if let Some(rule) = self.rule(source, name) {
            return reference.steps.is_empty() && self.total(&rule, seen);
        }
        let Some(path) = self.path(source, &reference) else { return false };
        let (rules, value) = self.reach(&path);
        match &rules[..] {
            [] => value.is_some(),
            [rule] => *rule == path.join(".") && self.total(rule, seen),
            _ => false,
        }
    }

    /// The full path below `data` of a reference that begins with `data` or with an import, if it is fixed.
    fn path<'b>(&'b self, source: usize, reference: &Reference<'b>) -> Option<Vec<&'b str>> {
        let parts = reference.fixed(0)?;
        let (first, rest) = parts.split_first()?;
        if *first == "data" {
            return Some(rest.to_vec());
        }
        let imported = self.imports[source].get(*first)?;
        let (root, below) = imported.split_first()?;
        (root == "data").then(|| below.iter().map(String::as_str).chain(rest.iter().copied()).collect())
    }

    /// The value of the data document that a reference names.
    pub fn data_value(&self, source: usize, reference: &Reference<'_>) -> Option<&'a Value> {
        let (rules, value) = self.reach(&self.path(source, reference)?);
        value.filter(|_| rules.is_empty())
    }

    /// What a call calls.
    pub fn called(&self, source: usize, function: &Expr) -> Option<Called> {
        let reference = Reference::of(function)?;
        let parts = reference.fixed(0)?;
        if parts.len() == 1
            && let Some(rule) = self.rule(source, parts[0])
        {
            return Some(Called::Rule(rule));
        }
        match self.path(source, &reference) {
            Some(path) => Some(Called::Rule(path.join("."))),
            None => Some(Called::Builtin(parts.join("."))),
        }
    }

    /// Finds rules that depend on themselves.
    pub fn recursion(&self, uses: &BTreeMap<String, Uses>, findings: &mut Findings) {
        for name in self.names.keys() {
            let below = |name: &String| uses.get(name).into_iter().flat_map(|uses| uses.rules.iter().cloned());
            let mut seen = BTreeSet::new();
            let mut pending: Vec<String> = below(name).collect();
            while let Some(next) = pending.pop() {
                if seen.insert(next.clone()) {
                    pending.extend(below(&next));
                }
            }
            if seen.contains(name)
                && let Some(definition) = self.definitions(name).next()
            {
                let place = self.sources[definition.source].place(definition.rule.span());
                findings.error("recursion", place, format!("{name} depends on itself: no engine may follow that"));
            }
        }
    }
}

/// What a call calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Called {
    /// A function of the bundle, by its full name.
    Rule(String),
    /// Anything else, by the name that it is called by.
    Builtin(String),
}

/// A part of the source for a message, on one line.
pub(super) fn shown(span: &Span) -> String {
    let text = span.text().split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() > 60 { text.chars().take(57).chain("...".chars()).collect() } else { text }
}

/// The expression that names a rule.
pub(super) fn head(rule: &Rule) -> Option<&Expr> {
    Some(match rule {
        Rule::Default { refr, .. } => refr,
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. } => refr,
        },
    })
}

fn kind(rule: &Rule) -> Kind {
    let stepped = head(rule).and_then(Reference::of).is_some_and(|reference| !reference.steps.is_empty());
    match rule {
        Rule::Default { args, .. } if !args.is_empty() => Kind::Function(args.len()),
        Rule::Spec { head: RuleHead::Func { args, .. }, .. } => Kind::Function(args.len()),
        _ if stepped => Kind::Object,
        Rule::Spec { head: RuleHead::Set { .. }, .. } => Kind::Set,
        _ => Kind::Value,
    }
}

fn read_imports(source: &Parsed<'_>, findings: &mut Findings) -> BTreeMap<String, Vec<String>> {
    let mut imports = BTreeMap::new();
    for import in &source.module.imports {
        let place = || Place::of(source.file, import.span.line);
        let Some(path) = Reference::of(&import.refr).and_then(|reference| reference.fixed(0)) else {
            findings.error("import", place(), "the import has no plain path");
            continue;
        };
        let name = match (&import.r#as, path.last()) {
            (Some(alias), _) => alias.text(),
            (None, Some(last)) => last,
            (None, None) => continue,
        };
        match path[0] {
            "rego" | "future" => {}
            "data" if path.len() > 1 => {
                if imports.insert(name.to_owned(), path.iter().map(|part| (*part).to_owned()).collect()).is_some() {
                    findings.error("import", place(), format!("{name} is imported twice: give one an alias"));
                }
            }
            _ => findings.error("import", place(), "import paths below data only; read the input where it is used"),
        }
    }
    imports
}
