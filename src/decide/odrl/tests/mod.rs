//! Agreements in ODRL: what each term does at its boundary, and what is refused rather than passed over.

mod documents;
mod enforcement;
mod refusals;

use serde_json::{Map, Value, json};

use super::terms::Weighed;
use super::*;
use crate::decide::{Dataset, DecideError, Direction, Question};
use crate::types::{Facts, PartyId, Purpose, Timestamp};

/// 2026-11-21T09:00:00Z.
const NOW: u64 = 1_795_251_600;

fn registry() -> Registry {
    let mut registry = Registry::new("kansai.example".parse().unwrap(), vec!["BPNL00000000KANS".to_owned()]);
    registry.party("wessex.example".parse().unwrap(), vec!["BPNL00000000WESS".to_owned()]);
    registry.party("rhein.example".parse().unwrap(), Vec::new());
    registry.dataset("litho".parse().unwrap());
    registry.dataset("open".parse().unwrap());
    registry
}

/// An agreement without constraints, to which each case makes a change.
fn agreement() -> Value {
    json!({
        "@context": [
            "http://www.w3.org/ns/odrl.jsonld",
            "https://w3id.org/catenax/2025/9/policy/context.jsonld",
            {"sekisho": "urn:sekisho:odrl:", "tdm": "http://www.w3.org/ns/tdmrep#", "idsc": "https://w3id.org/idsa/code/"},
        ],
        "@type": "Agreement",
        "uid": "urn:uuid:1",
        "assigner": "kansai.example",
        "assignee": "wessex.example",
        "target": "litho",
        "permission": [{"action": "use"}],
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut document = agreement();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[member] = value;
    document
}

fn constrained(constraint: Value) -> Value {
    with("/permission/0/constraint", constraint)
}

/// What is permitted always is forbidden under a constraint, and means it.
fn forbidden(constraint: Value) -> Value {
    let mut document = with("/prohibition", json!([{"action": "use", "constraint": [constraint]}]));
    document["conflict"] = json!("prohibit");
    document
}

fn atom(operand: &str, operator: &str, value: Value) -> Value {
    json!({"leftOperand": operand, "operator": operator, "rightOperand": value})
}

fn text(document: &Value) -> String {
    serde_json::to_string_pretty(document).unwrap()
}

fn terms(document: &Value) -> Terms {
    read("AG-1", &text(document), &registry()).unwrap_or_else(|error| panic!("{error}\n{document:#}"))
}

fn findings(text: &str) -> Vec<TermFinding> {
    match read("AG-1", text, &registry()) {
        Err(DecideError::Agreement(findings)) => findings,
        other => panic!("not refused: {other:?}\n{text}"),
    }
}

/// An exchange under the agreement.
struct Asked {
    dataset: Dataset,
    purpose: Purpose,
    action: &'static str,
    party: PartyId,
    facts: Facts,
    now: Timestamp,
}

impl Asked {
    fn new() -> Self {
        Self {
            dataset: Dataset::new("litho".parse().unwrap(), Vec::new(), Map::new()),
            purpose: "dpv:ScientificResearch".parse().unwrap(),
            action: "transfer",
            party: "wessex.example".parse().unwrap(),
            facts: Facts::new(
                json!({
                    "party": "wessex.example", "country": "GB", "membership": "active", "framework": "IAP-FA:1.0",
                    "frameworks": ["DataExchangeGovernance:1.0"],
                })
                .as_object()
                .unwrap()
                .clone(),
            ),
            now: Timestamp::from_seconds(NOW),
        }
    }

    fn purpose(mut self, purpose: &str) -> Self {
        self.purpose = purpose.parse().unwrap();
        self
    }

    fn action(mut self, action: &'static str) -> Self {
        self.action = action;
        self
    }

    fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    fn without(mut self, fact: &str) -> Self {
        let mut facts = self.facts.map().clone();
        facts.remove(fact).unwrap();
        self.facts = Facts::new(facts);
        self
    }

    fn of(mut self, dataset: &str) -> Self {
        self.dataset = Dataset::new(dataset.parse().unwrap(), Vec::new(), Map::new());
        self
    }

    fn by(mut self, party: &str) -> Self {
        self.party = party.parse().unwrap();
        self
    }

    fn under(&self, terms: &Terms) -> Weighed {
        let question = Question {
            at: self.now,
            direction: Direction::Export,
            dataset: &self.dataset,
            purpose: &self.purpose,
            action: self.action,
            counterparty: &self.party,
            counterparty_facts: &self.facts,
            our_facts: &self.facts,
            agreement: None,
            person: None,
            method: "GET",
            path: "/",
        };
        terms.weigh(&question, self.now, true)
    }

    /// The rules that stand against it.
    fn rules(&self, terms: &Terms) -> Vec<String> {
        self.under(terms).reasons.into_iter().map(|reason| reason.rule).collect()
    }

    fn is_permitted(&self, terms: &Terms) -> bool {
        self.rules(terms).is_empty()
    }
}
