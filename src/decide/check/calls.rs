//! What the rules call: functions of the bundle, and builtins that are allowed.

use regorus::unstable::{Expr, Ref, Span};

use super::language::Walker;
use super::program::{Called, Kind};
use super::syntax::{Reference, text};
use super::{builtins, patterns};

/// The widest `numbers.range`: bounds are literals, and so many steps apart at most.
const RANGE: i64 = 1000;

impl Walker<'_, '_> {
    pub(super) fn call(&mut self, function: &Expr, params: &[Ref<Expr>], span: &Span) {
        match self.program.called(self.source, function) {
            Some(Called::Rule(name)) => {
                if let Some(reference) = Reference::of(function)
                    && let Some(first) = reference.name()
                    && self.program.imports[self.source].contains_key(first)
                {
                    self.uses.imports.insert((self.source, first.to_owned()));
                }
                let arity = self.program.definitions(&name).find_map(|definition| match definition.kind {
                    Kind::Function(arguments) => Some(arguments),
                    _ => None,
                });
                match arity {
                    None => self.error("unknown_function", span, format!("nothing defines the function {name}")),
                    Some(arguments) => self.arguments(&name, arguments, params.len(), span),
                }
                self.uses.rules.insert(name);
            }
            Some(Called::Builtin(name)) => match builtins::find(&name) {
                Some(builtin) => {
                    self.arguments(&name, builtin.arguments, params.len(), span);
                    self.literals(&name, params, span);
                }
                None => {
                    let text = format!("{name} is not allowed: {}", builtins::advice(&name));
                    self.error("builtin", span, text);
                }
            },
            None => self.error("unknown_function", span, "only named functions can be called"),
        }
    }

    fn arguments(&mut self, name: &str, wanted: usize, given: usize, span: &Span) {
        if given == wanted + 1 {
            self.error("output_argument", span, format!("{name} takes {wanted} arguments: assign its result with :="));
        } else if given != wanted {
            self.error("arguments", span, format!("{name} takes {wanted} arguments and is given {given}"));
        }
    }

    /// Builtins whose arguments must stand in the source, where the check can judge them.
    fn literals(&mut self, name: &str, params: &[Ref<Expr>], span: &Span) {
        match name {
            "numbers.range" => {
                let bound = |param: Option<&Ref<Expr>>| match param?.as_ref() {
                    Expr::Number { span, .. } => span.text().parse::<i64>().ok(),
                    _ => None,
                };
                let near = bound(params.first()).zip(bound(params.get(1)));
                if near.is_none_or(|(from, to)| from.abs_diff(to) > RANGE.unsigned_abs()) {
                    self.error(
                        "range",
                        span,
                        format!("bounds are whole literals at most {RANGE} apart: write them out"),
                    );
                }
            }
            "regex.match" => match params.first().and_then(|pattern| text(pattern)) {
                Some(pattern) => {
                    if let Err(why) = patterns::check(pattern) {
                        self.error("pattern", span, why);
                    }
                }
                None => self.error("pattern", span, "a pattern is a literal: write it here"),
            },
            _ => {}
        }
    }
}
