//! Reads duties and obligations into what `enforce` carries out or conveys.

use serde_json::json;

use super::condition::Condition;
use super::document::{Content, Node};
use super::finding::quote;
use super::reader::{Object, Reader};
use crate::types::Obligation;

/// The duties that are carried out or conveyed, for findings.
const DUTIES: &str = "odrl:attribute, odrl:delete, odrl:inform, odrl:anonymize, odrl:watermark";
/// The longest text that a duty conveys, in characters: all of them together must fit a header.
const MOST_TEXT: usize = 256;
/// The longest time until a deletion, in days: what an obligation can say.
const MOST_DAYS: u64 = 1_000_000;

impl Reader<'_> {
    /// An obligation of the agreement as a whole: a duty, or in the Catena-X profile the end of provision.
    pub(super) fn obligation(
        &mut self,
        node: &Node,
        number: usize,
        obligations: &mut Vec<Obligation>,
        ends: &mut Vec<Condition>,
    ) {
        let Some(mut object) = self.object(node, "the obligation") else { return };
        let is_use = object.entries.iter().any(|(name, node)| {
            let action = match &node.content {
                Content::Text(text) => self.vocabulary.expand(text),
                _ => None,
            };
            name == "odrl:action" && action.as_deref() == Some("odrl:use")
        });
        if !is_use {
            self.duty(node, number, obligations);
            return;
        }
        self.declared_as(&mut object, "odrl:Duty");
        self.parties(&mut object);
        object.take("odrl:action");
        let constraints = object.take("odrl:constraint").map(Node::each).unwrap_or_default();
        if constraints.is_empty() {
            let what = "an obligation to use is not enforced without an end of provision";
            self.findings.add(node.line, what, "add cx-policy:DataProvisioningEndDate, or remove it");
        }
        constraints.into_iter().for_each(|node| self.ends(node, ends));
        self.finish(object);
    }

    /// A duty of a permission, or of the agreement.
    pub(super) fn duty(&mut self, node: &Node, number: usize, obligations: &mut Vec<Obligation>) {
        let Some(mut object) = self.object(node, "the duty") else { return };
        self.declared_as(&mut object, "odrl:Duty");
        self.parties(&mut object);
        let Some(action) = object.take("odrl:action") else {
            self.findings.add(object.line, "the duty has no action", format!("use one of {DUTIES}"));
            return;
        };
        let Some(name) = self.name(action, "the action") else { return };
        let demanded = match name.as_str() {
            "odrl:attribute" => self.attribute(&mut object, number),
            "odrl:inform" => self.inform(&mut object, number),
            "odrl:delete" | "idsc:DELETE" => self.delete(&mut object, number),
            "odrl:anonymize" | "idsc:ANONYMIZE" => self.anonymize(&mut object, number),
            "odrl:watermark" => Some(self.demand(number, "watermark", [])),
            _ => {
                self.findings.add(
                    action.line,
                    format!("the duty {name} is not enforced"),
                    format!("use one of {DUTIES}"),
                );
                return;
            }
        };
        obligations.extend(demanded);
        self.finish(object);
    }

    fn attribute(&mut self, object: &mut Object<'_>, number: usize) -> Option<Obligation> {
        let party = object.take("odrl:attributedParty").map(|node| self.conveyed(node));
        let creator = object.take("dct:creator").map(|node| self.conveyed(node));
        match creator.or(party) {
            Some(whom) => Some(self.demand(number, "attribute", [("creator", json!(whom?))])),
            None => {
                self.findings.add(object.line, "does not say whom to attribute", "add odrl:attributedParty");
                None
            }
        }
    }

    fn inform(&mut self, object: &mut Object<'_>, number: usize) -> Option<Obligation> {
        match object.take("odrl:informedParty") {
            Some(node) => {
                let whom = self.conveyed(node)?;
                Some(self.demand(number, "notify", [("party", json!(whom))]))
            }
            None => {
                self.findings.add(object.line, "does not say whom to inform", "add odrl:informedParty");
                None
            }
        }
    }

    fn delete(&mut self, object: &mut Object<'_>, number: usize) -> Option<Obligation> {
        let fix = "add one constraint: odrl:delayPeriod, odrl:lteq, P30D";
        let Some(node) = object.take("odrl:constraint") else {
            self.findings.add(object.line, "does not say when the data must be deleted", fix);
            return None;
        };
        let nodes = node.each();
        let [node] = nodes[..] else {
            self.findings.add(node.line, "does not say with one constraint when the data must be deleted", fix);
            return None;
        };
        let mut constraint = self.object(node, "the constraint")?;
        self.declared_as(&mut constraint, "odrl:Constraint");
        let line = constraint.line;
        let mut part = |name: &str| {
            let node = constraint.take(name);
            if node.is_none() {
                self.findings.add(line, format!("the constraint has no {name}"), fix);
            }
            node
        };
        let (left, relation, right) = (part("odrl:leftOperand"), part("odrl:operator"), part("odrl:rightOperand"));
        self.finish(constraint);
        let (left, relation, right) = (left?, relation?, right?);
        let operand = self.name(left, "the operand")?;
        let operator = self.name(relation, "the operator")?;
        let delays = ["odrl:delayPeriod", "odrl:elapsedTime", "idsc:DELAY", "idsc:ELAPSED_TIME"];
        if !delays.contains(&operand.as_str()) || !["odrl:eq", "odrl:lteq", "idsc:LTEQ"].contains(&operator.as_str()) {
            self.findings.add(left.line, format!("a deletion is not enforced with {operand} {operator}"), fix);
            return None;
        }
        let value = self.value(right)?;
        match days(&value.text) {
            Some(days) => Some(self.demand(number, "delete_after_days", [("days", json!(days))])),
            None => {
                let what = format!("{} is no number of days or weeks", quote(&value.text));
                self.findings.add(right.line, what, "write it as ISO 8601 does, such as P30D");
                None
            }
        }
    }

    /// ODRL does not say how to anonymise, and a gateway that guessed would call data anonymous that is not: the columns
    /// that go must be named.
    fn anonymize(&mut self, object: &mut Object<'_>, number: usize) -> Option<Obligation> {
        let Some(node) = object.take("sekisho:columns") else {
            let what = "does not say what must go to make the data anonymous";
            self.findings.add(object.line, what, "list the columns in sekisho:columns (urn:sekisho:odrl:columns)");
            return None;
        };
        let mut columns = Vec::new();
        for node in node.each() {
            columns.push(self.conveyed(node)?);
        }
        if columns.is_empty() {
            self.findings.add(node.line, "lists no column", "name at least one");
            return None;
        }
        Some(self.demand(number, "redact", [("fields", json!(columns))]))
    }

    /// A short plain text.
    fn conveyed(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        if text.is_empty() || text.chars().count() > MOST_TEXT || text.chars().any(char::is_control) {
            self.findings.add(node.line, format!("{} is no short text", quote(&text)), "give one line of text");
            return None;
        }
        Some(text)
    }
}

/// Whole days of an ISO 8601 duration in days or weeks; other units have no fixed number of days, or none.
fn days(text: &str) -> Option<u64> {
    let rest = text.strip_prefix('P')?;
    let (number, each) = match rest.strip_suffix('D') {
        Some(number) => (number, 1),
        None => (rest.strip_suffix('W')?, 7),
    };
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let days = number.parse::<u64>().ok().filter(|_| plain)?.checked_mul(each)?;
    (days <= MOST_DAYS).then_some(days)
}
