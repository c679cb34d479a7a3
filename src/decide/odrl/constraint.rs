//! Reads constraints: which operands are enforced, with which operators, and what their values may be.

use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

use super::condition::{Condition, Operand, Order, Quantifier};
use super::document::{Content, Node};
use super::finding::quote;
use super::purposes;
use super::reader::{Object, Reader};
use super::rule::Kind;
use super::{MAX_CONSTRAINTS, MAX_LOGIC, MAX_VALUES};
use crate::types::{Purpose, Timestamp};

/// The operands that are enforced, for findings.
const OPERANDS: &str = "odrl:purpose, odrl:spatial, odrl:recipient, odrl:dateTime, odrl:count, cx-policy:Membership, \
    cx-policy:FrameworkAgreement, cx-policy:UsagePurpose, cx-policy:JurisdictionLocation, \
    cx-policy:BusinessPartnerNumber, cx-policy:DataProvisioningEndDate, cx-policy:DataProvisioningEndDurationDays";

/// Purposes of Catena-X that mean what one of ours means. A purpose that is narrower than the nearest of ours is not
/// here: to read it as ours would permit more than was agreed.
const CATENA_PURPOSES: [(&str, &str); 2] = [
    ("cx.core.legalRequirementForThirdparty:1", "dpv:LegalCompliance"),
    ("cx.puris.base:1", "dfft:SupplyChainResilience"),
];

/// States of a membership, as the registry knows them.
const MEMBERSHIPS: [&str; 3] = ["active", "suspended", "ended"];

/// An operator in the words of ODRL; the IDS codes that mean the same go by these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Order(Order),
    AnyOf,
    AllOf,
    NoneOf,
    Within,
}

fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        "odrl:eq" | "idsc:EQ" | "idsc:EQUALS" => Operator::Order(Order::Equal),
        "odrl:neq" => Operator::Order(Order::NotEqual),
        "odrl:lt" | "idsc:LT" | "idsc:BEFORE" => Operator::Order(Order::Less),
        "odrl:lteq" | "idsc:LTEQ" => Operator::Order(Order::LessOrEqual),
        "odrl:gt" | "idsc:GT" | "idsc:AFTER" => Operator::Order(Order::Greater),
        "odrl:gteq" | "idsc:GTEQ" => Operator::Order(Order::GreaterOrEqual),
        "odrl:isAnyOf" | "idsc:IN" => Operator::AnyOf,
        "odrl:isAllOf" => Operator::AllOf,
        "odrl:isNoneOf" => Operator::NoneOf,
        "odrl:isPartOf" | "odrl:isA" => Operator::Within,
        _ => return None,
    })
}

/// Where a constraint stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    kind: Kind,
    /// Below an `odrl:xone`, where to hold may give as well as take away.
    under_one: bool,
}

/// A value as it is written, and its datatype where it has one.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) text: String,
    datatype: Option<String>,
    number: bool,
}

/// A constraint's three parts, the last not yet held against the first.
struct Atom {
    line: usize,
    operand: String,
    operator: Operator,
    operator_name: String,
    values: Vec<(usize, Written)>,
}

impl Reader<'_> {
    /// All constraints of a rule: every one must hold.
    pub(super) fn conditions(&mut self, node: Option<&Node>, kind: Kind) -> Condition {
        let nodes = node.map(Node::each).unwrap_or_default();
        let place = Place { kind, under_one: false };
        Condition::All(nodes.into_iter().filter_map(|node| self.condition(node, place, 0)).collect())
    }

    fn condition(&mut self, node: &Node, place: Place, depth: usize) -> Option<Condition> {
        let mut object = self.object(node, "the constraint")?;
        let logical = ["odrl:and", "odrl:or", "odrl:xone", "odrl:andSequence"];
        let Some(word) = logical.into_iter().find(|word| object.has(word)) else {
            let atom = self.atom(object)?;
            return self.enforced(atom, place);
        };
        self.declared_as(&mut object, "odrl:LogicalConstraint");
        let inner = object.take(word)?;
        self.finish(object);
        if word == "odrl:andSequence" {
            let what = "odrl:andSequence is not enforced: a decision looks at one moment, and sees no sequence";
            self.findings.add(inner.line, what, "write odrl:and");
            return None;
        }
        if depth >= MAX_LOGIC {
            let what = format!("constraints are nested deeper than {MAX_LOGIC} levels");
            self.findings.add(inner.line, what, "write them flatter");
            return None;
        }
        let nodes = inner.each();
        if nodes.is_empty() {
            self.findings.add(inner.line, format!("{word} holds no constraint"), "add one, or remove it");
        }
        let count = nodes.len();
        let place = Place { under_one: place.under_one || word == "odrl:xone", ..place };
        let parts: Vec<Condition> =
            nodes.into_iter().filter_map(|node| self.condition(node, place, depth + 1)).collect();
        // A part that is missing here is a finding already, so nobody meets the rest.
        (parts.len() == count).then_some(match word {
            "odrl:and" => Condition::All(parts),
            "odrl:or" => Condition::Any(parts),
            _ => Condition::One(parts),
        })
    }

    fn atom(&mut self, mut object: Object<'_>) -> Option<Atom> {
        self.constraints += 1;
        if self.constraints == MAX_CONSTRAINTS + 1 {
            let what = format!("has more than {MAX_CONSTRAINTS} constraints");
            self.findings.add(object.line, what, "make several agreements of it");
        }
        self.declared_as(&mut object, "odrl:Constraint");
        let line = object.line;
        let mut part = |name: &str| {
            let node = object.take(name);
            if node.is_none() {
                self.findings.add(line, format!("the constraint has no {name}"), "add it");
            }
            node
        };
        let (left, relation, right) = (part("odrl:leftOperand"), part("odrl:operator"), part("odrl:rightOperand"));
        let datatype = object.take("odrl:dataType").and_then(|node| self.name(node, "the datatype"));
        self.finish(object);
        let operand = self.name(left?, "the operand")?;
        let relation = relation?;
        let operator_name = self.name(relation, "the operator")?;
        let Some(operator) = operator(&operator_name) else {
            let fix = "use eq, neq, lt, lteq, gt, gteq, isAnyOf, isAllOf, isNoneOf, isPartOf or isA of ODRL";
            self.findings.add(relation.line, format!("the operator {operator_name} is not enforced"), fix);
            return None;
        };
        let right = right?;
        let nodes = right.each();
        if nodes.is_empty() || nodes.len() > MAX_VALUES {
            let what = format!("the constraint lists {} values", nodes.len());
            self.findings.add(right.line, what, format!("list 1 to {MAX_VALUES}"));
            return None;
        }
        let mut values = Vec::with_capacity(nodes.len());
        for node in nodes {
            let mut written = self.value(node)?;
            written.datatype = written.datatype.or_else(|| datatype.clone());
            values.push((node.line, written));
        }
        Some(Atom { line, operand, operator, operator_name, values })
    }

    fn enforced(&mut self, atom: Atom, place: Place) -> Option<Condition> {
        match atom.operand.as_str() {
            "odrl:purpose" | "cx-policy:UsagePurpose" | "idsc:PURPOSE" => self.among(atom, Operand::Purpose, place),
            "odrl:spatial" | "cx-policy:JurisdictionLocation" | "idsc:ABSOLUTE_SPATIAL_POSITION" => {
                self.among(atom, Operand::Country, place)
            }
            "odrl:recipient" | "cx-policy:BusinessPartnerNumber" => self.among(atom, Operand::Recipient, place),
            "cx-policy:Membership" => self.among(atom, Operand::Membership, place),
            "cx-policy:FrameworkAgreement" => self.among(atom, Operand::Framework, place),
            "odrl:dateTime" | "idsc:POLICY_EVALUATION_TIME" => {
                let order = self.order(&atom)?;
                let (line, value) = self.only(&atom)?;
                let (first, last) = self.span(line, value)?;
                Some(Condition::Time { order, first, last, written: value.text.clone() })
            }
            "odrl:count" | "idsc:COUNT" => self.count(&atom, place.kind),
            name if self.is_end(name) => self.end(&atom),
            name => {
                let what = format!("the operand {name} is not enforced");
                self.findings.add(atom.line, what, format!("use one of {OPERANDS}"));
                None
            }
        }
    }

    /// Whether an operand says when the provision of data ends.
    fn is_end(&self, operand: &str) -> bool {
        matches!(operand, "cx-policy:DataProvisioningEndDate" | "cx-policy:DataProvisioningEndDurationDays")
    }

    /// The end of provision in an obligation of the Catena-X profile, which stands beside the rules and bounds them all.
    pub(super) fn ends(&mut self, node: &Node, ends: &mut Vec<Condition>) {
        let Some(mut object) = self.object(node, "the constraint") else { return };
        if let Some(inner) = object.take("odrl:and") {
            self.finish(object);
            inner.each().into_iter().for_each(|node| self.ends(node, ends));
            return;
        }
        let Some(atom) = self.atom(object) else { return };
        if self.is_end(&atom.operand) {
            ends.extend(self.end(&atom));
        } else {
            let what = format!("the operand {} is not enforced in an obligation to use", atom.operand);
            self.findings.add(atom.line, what, "write it as a constraint of a permission");
        }
    }

    fn end(&mut self, atom: &Atom) -> Option<Condition> {
        if atom.operator != Operator::Order(Order::Equal) {
            let what = format!("{} is not enforced with {}", atom.operand, atom.operator_name);
            self.findings.add(atom.line, what, "write odrl:eq");
            return None;
        }
        let (line, value) = self.only(atom)?;
        if atom.operand == "cx-policy:DataProvisioningEndDate" {
            let (first, last) = self.span(line, value)?;
            return Some(Condition::Time { order: Order::LessOrEqual, first, last, written: value.text.clone() });
        }
        let days = self.whole(line, value)?;
        let Some(concluded) = self.concluded else {
            let what = "a number of days counts from the conclusion, and the agreement does not say when that was";
            self.findings.add(line, what, "add its timestamp, or write cx-policy:DataProvisioningEndDate");
            return None;
        };
        let last = concluded.plus(Duration::from_secs(days.saturating_mul(86_400)));
        Some(Condition::Time { order: Order::LessOrEqual, first: last, last, written: last.to_string() })
    }

    fn among(&mut self, atom: Atom, operand: Operand, place: Place) -> Option<Condition> {
        let single = atom.values.len() == 1;
        let quantifier = match atom.operator {
            Operator::Order(Order::Equal) if single => Quantifier::Any,
            Operator::Order(Order::NotEqual) if single => Quantifier::None,
            Operator::AnyOf => Quantifier::Any,
            Operator::NoneOf => Quantifier::None,
            Operator::AllOf if single || operand == Operand::Framework => Quantifier::All,
            Operator::Within if matches!(operand, Operand::Purpose | Operand::Country) => Quantifier::Any,
            _ => {
                let many = if single { "" } else { " and several values" };
                let what = format!("{} is not enforced with {}{many}", atom.operand, atom.operator_name);
                self.findings.add(
                    atom.line,
                    what,
                    "write eq or neq with one value, or isAnyOf or isNoneOf with several",
                );
                return None;
            }
        };
        let mut values = Vec::with_capacity(atom.values.len());
        for (line, written) in &atom.values {
            let value = self.of_operand(*line, &written.text, operand)?;
            if operand == Operand::Purpose {
                for within in self.within(*line, &value, atom.operator, quantifier, place)? {
                    if !values.iter().any(|listed| listed == within) {
                        values.push((*within).to_owned());
                    }
                }
            }
            values.push(value);
        }
        Some(Condition::Among { operand, quantifier, values })
    }

    /// The purposes that a listed one brings with it. What takes away, takes away what lies within, too; what gives, gives
    /// exactly what it names, unless it says that it gives more.
    fn within(
        &mut self,
        line: usize,
        purpose: &str,
        operator: Operator,
        quantifier: Quantifier,
        place: Place,
    ) -> Option<Vec<&'static str>> {
        let widens = operator == Operator::Within;
        let (forbids, excepts) = (place.kind == Kind::Prohibition, quantifier == Quantifier::None);
        if !(widens || forbids || excepts || place.under_one) {
            return Some(Vec::new());
        }
        let Some(within) = purposes::within(purpose) else {
            let what = format!("it is not known which purposes lie within {}, and here they count", quote(purpose));
            self.findings.add(line, what, "name a purpose of DPV 2.0 or of dfft:");
            return None;
        };
        if place.under_one && !within.is_empty() {
            let what = format!("{} is not enforced under odrl:xone: it holds other purposes", quote(purpose));
            self.findings.add(line, what, "name those, or write odrl:and and odrl:or");
            return None;
        }
        // A prohibition of all but some purposes leaves exactly those, as a permission of them would.
        Some(if widens || forbids != excepts { within } else { Vec::new() })
    }

    /// A value in the words of our registry.
    fn of_operand(&mut self, line: usize, text: &str, operand: Operand) -> Option<String> {
        let (what, fix) = match operand {
            Operand::Purpose => {
                if let Some((_, ours)) = CATENA_PURPOSES.iter().find(|(theirs, _)| *theirs == text) {
                    return Some((*ours).to_owned());
                }
                let name = self.vocabulary.expand(text).unwrap_or_else(|| text.to_owned());
                let ours = ["dpv:", "dpv-ai:", "dfft:"].iter().any(|prefix| name.starts_with(prefix));
                if ours && name.parse::<Purpose>().is_ok() {
                    return Some(name);
                }
                ("is no purpose that a request to us can state", "write a purpose of dpv:, dpv-ai: or dfft:")
            }
            Operand::Country => {
                if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
                    return Some(text.to_owned());
                }
                (
                    "is no country code, and only the recipient's country is known",
                    "write ISO 3166-1 alpha-2, such as JP",
                )
            }
            Operand::Recipient => return self.party_named(line, text),
            Operand::Membership => {
                if MEMBERSHIPS.contains(&text) {
                    return Some(text.to_owned());
                }
                ("is no state of a membership", "write active, suspended or ended")
            }
            Operand::Framework => {
                if (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Some(text.to_owned());
                }
                ("is no framework agreement", "write its name and version, such as DataExchangeGovernance:1.0")
            }
        };
        self.findings.add(line, format!("{} {what}", quote(text)), fix);
        None
    }

    fn count(&mut self, atom: &Atom, kind: Kind) -> Option<Condition> {
        let order = self.order(atom)?;
        let (line, value) = self.only(atom)?;
        let fits = match kind {
            Kind::Permission => matches!(order, Order::Less | Order::LessOrEqual),
            Kind::Prohibition => matches!(order, Order::Greater | Order::GreaterOrEqual),
        };
        if !fits {
            let what = format!("{} is not enforced with {} here", atom.operand, atom.operator_name);
            self.findings.add(atom.line, what, "write lt or lteq in a permission, gt or gteq in a prohibition");
            return None;
        }
        let limit = self.whole(line, value)?;
        Some(Condition::Count { order, limit })
    }

    fn order(&mut self, atom: &Atom) -> Option<Order> {
        if let Operator::Order(order) = atom.operator {
            return Some(order);
        }
        let what = format!("{} is not enforced with {}", atom.operand, atom.operator_name);
        self.findings.add(atom.line, what, "write eq, neq, lt, lteq, gt or gteq");
        None
    }

    fn only<'a>(&mut self, atom: &'a Atom) -> Option<(usize, &'a Written)> {
        if let [(line, value)] = &atom.values[..] {
            return Some((*line, value));
        }
        self.findings.add(atom.line, format!("{} is compared with several values", atom.operand), "give one");
        None
    }

    fn whole(&mut self, line: usize, value: &Written) -> Option<u64> {
        let number = value.text.parse::<u64>().ok().filter(|number| *number <= MOST_COUNT);
        if number.is_none() {
            let what = format!("{} is not a whole number", quote(&value.text));
            self.findings.add(line, what, format!("write one from 0 to {MOST_COUNT}"));
        }
        number
    }

    /// First and last instant of a date (UTC) or a time with its zone.
    pub(super) fn span(&mut self, line: usize, value: &Written) -> Option<(Timestamp, Timestamp)> {
        let dated = value.datatype.as_deref();
        let fits = !value.number && matches!(dated, None | Some("xsd:date" | "xsd:dateTime" | "xsd:dateTimeStamp"));
        let date = Date::parse(&value.text, format_description!("[year]-[month]-[day]")).ok();
        let span = if value.text.len() == 10 && dated.is_none_or(|datatype| datatype == "xsd:date") {
            date.and_then(|date| {
                let midnight = PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_utc();
                let first = timestamp(midnight)?;
                Some((first, first.plus(Duration::from_millis(DAY_MILLIS - 1))))
            })
        } else if dated != Some("xsd:date") {
            OffsetDateTime::parse(&value.text, &Rfc3339).ok().and_then(timestamp).map(|at| (at, at))
        } else {
            None
        };
        if span.is_none() || !fits {
            let what = format!("{} is no date and no time with its zone, from 1970 on", quote(&value.text));
            self.findings.add(line, what, "write 2026-12-31, or 2026-12-31T23:59:59Z");
            return None;
        }
        span
    }

    /// A value: a text, a number, or an object with `@value` and `@type`, or with `@id`.
    pub(super) fn value(&mut self, node: &Node) -> Option<Written> {
        let written = |text: &str, number| Some(Written { text: text.to_owned(), datatype: None, number });
        match &node.content {
            Content::Text(text) => written(text, false),
            Content::Number(text) => written(text, true),
            Content::Members(_) => {
                let mut object = self.object(node, "the value")?;
                let inner = object.take("@value").or_else(|| object.take("@id"));
                let datatype = object.take("@type");
                let datatype = datatype.and_then(|node| self.name(node, "the datatype"));
                self.finish(object);
                let mut value = match inner.map(|node| &node.content) {
                    Some(Content::Text(text)) => written(text, false)?,
                    Some(Content::Number(text)) => written(text, true)?,
                    _ => {
                        self.findings.add(node.line, "the value is empty", "give @value or @id");
                        return None;
                    }
                };
                value.datatype = datatype;
                Some(value)
            }
            _ => {
                self.findings.add(node.line, format!("the value is {}", node.kind()), "write a text or a number");
                None
            }
        }
    }
}

const DAY_MILLIS: u64 = 86_400_000;
/// The largest number that every JSON reader takes for what it is (RFC 8259, section 6).
const MOST_COUNT: u64 = (1 << 53) - 1;

fn timestamp(at: OffsetDateTime) -> Option<Timestamp> {
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp::from_millis)
}
