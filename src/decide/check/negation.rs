//! `not` over what may be undefined: the construct on which engines differ silently.
//!
//! OPA evaluates the operands of a negated expression before it negates, so `not input.role in banned` is undefined when
//! no role is given; the interpreter negates the whole. Both agree when every operand is certain to have a value.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Span};

use super::language::Walker;
use super::program::shown;
use super::syntax::{Part, Reference, each, variable};

impl Walker<'_, '_> {
    /// Judges the expression behind `not`.
    pub(super) fn negated(&mut self, expr: &Expr, span: &Span, scope: &BTreeSet<&str>) {
        let uncertain = match expr {
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => self.negated_reference(expr, scope),
            Expr::Call { params, .. } => params.iter().find_map(|param| self.uncertain(param, scope)),
            Expr::BinExpr { lhs, rhs, .. } | Expr::BoolExpr { lhs, rhs, .. } | Expr::ArithExpr { lhs, rhs, .. } => {
                self.uncertain(lhs, scope).or_else(|| self.uncertain(rhs, scope))
            }
            Expr::Membership { key, value, collection, .. } => {
                key.iter().chain([value, collection]).find_map(|part| self.uncertain(part, scope))
            }
            Expr::AssignExpr { .. } => return self.error("negation", span, "not takes no assignment: compare with =="),
            other => self.uncertain(other, scope),
        };
        if let Some(part) = uncertain {
            let text = format!(
                "engines differ on not where {part} has no value: give it one before, such as a rule with a default, \
                 object.get with a fallback inside a function with else, or put the test into a rule and negate that"
            );
            self.error("negation", span, text);
        }
        each(Part::Expr(expr), &mut |inner| {
            if let Expr::Var { span, .. } = inner
                && span.text() == "_"
            {
                self.error(
                    "negation",
                    span,
                    "not over _ means different things to engines: use some in a rule and negate that",
                );
            }
        });
    }

    /// A negated reference may itself be undefined, which is what `not` is for; what it is looked up by may not.
    fn negated_reference(&self, expr: &Expr, scope: &BTreeSet<&str>) -> Option<String> {
        let reference = Reference::of(expr)?;
        if let Expr::Call { params, .. } = reference.root
            && let Some(part) = params.iter().find_map(|param| self.uncertain(param, scope))
        {
            return Some(part);
        }
        if reference.name().is_none() && !matches!(reference.root, Expr::Call { .. }) {
            return Some(shown(expr.span()));
        }
        reference.indexes().find_map(|index| self.uncertain(index, scope))
    }

    fn uncertain(&self, expr: &Expr, scope: &BTreeSet<&str>) -> Option<String> {
        if variable(expr) == Some("_") {
            return Some("_".to_owned());
        }
        self.program.is_certain(self.source, expr, scope).err()
    }
}
