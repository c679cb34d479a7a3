//! Everything a policy may see of a request, as the JSON input of the wire reference.

use serde_json::{Map, Value, json};

use super::Agreement;
use crate::types::{DatasetId, Digest, PartyId, Purpose, Tag, Timestamp};

/// Attributes of a person that the asking party may vouch for in a pass. All others come from our own registry.
const PERSON_FACTS: [&str; 2] = ["clearance", "specific_category"];

/// Which way data flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Data leaves us for the partner.
    Export,
    /// The partner sends data into a dataset of ours.
    Import,
    /// We ask the partner for data of theirs.
    Request,
}

impl Direction {
    /// The word in policy inputs and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Import => "import",
            Self::Request => "request",
        }
    }
}

/// A dataset as a policy sees it.
#[derive(Debug, Clone)]
pub struct Dataset {
    id: DatasetId,
    tags: Vec<Tag>,
    facts: Value,
}

impl Dataset {
    /// A dataset of ours with its tags and everything else that the registry holds of it.
    pub fn new(id: DatasetId, tags: Vec<Tag>, mut facts: Map<String, Value>) -> Self {
        facts.insert("id".to_owned(), json!(id));
        facts.insert("tags".to_owned(), json!(tags));
        Self { id, tags, facts: Value::Object(facts) }
    }

    /// A partner's dataset, of which we know the name only.
    pub fn foreign(id: DatasetId) -> Self {
        let facts = json!({ "id": id });
        Self { id, tags: Vec::new(), facts }
    }

    /// Its id.
    pub fn id(&self) -> &DatasetId {
        &self.id
    }

    /// Its tags; empty for a dataset that we know the name of only.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

/// One question to a policy.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// When it is asked; a policy sees the date.
    pub at: Timestamp,
    /// Which way data flows.
    pub direction: Direction,
    /// The dataset.
    pub dataset: &'a Dataset,
    /// Why.
    pub purpose: &'a Purpose,
    /// What will be done with it.
    pub action: &'a str,
    /// The partner at the other end.
    pub counterparty: &'a PartyId,
    /// What we vetted of that partner.
    pub counterparty_facts: &'a Map<String, Value>,
    /// Who we are.
    pub us: &'a PartyId,
    /// What is known of us.
    pub our_facts: &'a Map<String, Value>,
    /// The agreement that the pass points to, if we hold it and it covers this use.
    pub agreement: Option<&'a Agreement>,
    /// What the asking party vouches for of the person who asks.
    pub person: Option<&'a Map<String, Value>>,
    /// HTTP method.
    pub method: &'a str,
    /// Path below the dataset, normalised.
    pub path: &'a str,
}

impl Question<'_> {
    /// The input document and its digest. Members are in one order, so equal questions give equal bytes.
    pub fn input(&self) -> (String, Digest) {
        let (recipient, sender) = match self.direction {
            Direction::Export => (self.recipient(self.counterparty, self.counterparty_facts), None),
            Direction::Import | Direction::Request => {
                (self.recipient(self.us, self.our_facts), Some(party(self.counterparty, self.counterparty_facts)))
            }
        };
        let mut input = json!({
            "at": self.at.date(),
            "action": self.action,
            "purpose": self.purpose,
            "dataset": self.dataset.facts,
            "recipient": recipient,
            "request": { "method": self.method, "path": self.path },
            "channel": { "direction": self.direction.as_str() },
        });
        if let Some(sender) = sender {
            input["sender"] = Value::Object(sender);
        }
        if let Some(agreement) = self.agreement {
            input["legal"] = Value::Object(agreement.legal.clone());
        }
        let text = input.to_string();
        let digest = Digest::of(text.as_bytes());
        (text, digest)
    }

    fn recipient(&self, id: &PartyId, facts: &Map<String, Value>) -> Map<String, Value> {
        let mut recipient = party(id, facts);
        for name in PERSON_FACTS {
            if let Some(fact) = self.person.and_then(|person| person.get(name)) {
                // What we vetted ourselves stands; a pass only adds.
                recipient.entry(name).or_insert_with(|| fact.clone());
            }
        }
        if let Some(agreement) = self.agreement {
            recipient.extend(agreement.recipient.clone());
            recipient.insert("agreement".to_owned(), true.into());
        }
        recipient
    }
}

fn party(id: &PartyId, facts: &Map<String, Value>) -> Map<String, Value> {
    let mut party = facts.clone();
    party.insert("party".to_owned(), json!(id));
    party
}
