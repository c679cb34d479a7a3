//! Everything a policy may see of a request, as the JSON input of the wire reference.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Agreement;
use crate::types::{DatasetId, Digest, Facts, PartyId, Purpose, Tag, Timestamp};

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
    tags: Arc<[Tag]>,
    facts: Facts,
}

impl Dataset {
    /// A dataset of ours with its tags and everything else that the registry holds of it.
    pub fn new(id: DatasetId, tags: Vec<Tag>, mut facts: Map<String, Value>) -> Self {
        facts.insert("id".to_owned(), json!(id));
        facts.insert("tags".to_owned(), json!(tags));
        Self { id, tags: tags.into(), facts: Facts::new(facts) }
    }

    /// A partner's dataset, of which we know the name only.
    pub fn foreign(id: DatasetId) -> Self {
        let facts = Facts::new(Map::from_iter([("id".to_owned(), json!(id))]));
        Self { id, tags: Arc::new([]), facts }
    }

    /// Its id.
    pub fn id(&self) -> &DatasetId {
        &self.id
    }

    /// Its tags; empty for a dataset that we know the name of only.
    pub fn tags(&self) -> &Arc<[Tag]> {
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
    /// What we vetted of that partner, `party` included.
    pub counterparty_facts: &'a Facts,
    /// What is known of us, `party` included.
    pub our_facts: &'a Facts,
    /// The agreement that the pass points to, if we hold it and it covers this use.
    pub agreement: Option<&'a Agreement>,
    /// What the asking party vouches for of the person who asks.
    pub person: Option<&'a Map<String, Value>>,
    /// HTTP method.
    pub method: &'a str,
    /// Path below the dataset, normalised.
    pub path: &'a str,
}

/// Room for an input of ordinary size.
const INPUT_BYTES: usize = 2048;

impl Question<'_> {
    /// The input document and its digest. Members are in one order, so equal questions give equal bytes.
    pub fn input(&self) -> (Vec<u8>, Digest) {
        let (recipient, sender) = match self.direction {
            Direction::Export => (self.counterparty_facts, None),
            Direction::Import | Direction::Request => (self.our_facts, Some(self.counterparty_facts)),
        };
        let mut text = Vec::with_capacity(INPUT_BYTES);
        text.extend_from_slice(br#"{"action":"#);
        push_string(&mut text, self.action);
        text.extend_from_slice(br#","at":""#);
        text.extend_from_slice(self.at.date().as_bytes());
        text.extend_from_slice(br#"","channel":{"direction":""#);
        text.extend_from_slice(self.direction.as_str().as_bytes());
        text.extend_from_slice(br#""},"dataset":"#);
        text.extend_from_slice(self.dataset.facts.json().as_bytes());
        if let Some(agreement) = self.agreement {
            text.extend_from_slice(br#","legal":"#);
            text.extend_from_slice(agreement.legal.json().as_bytes());
        }
        text.extend_from_slice(br#","purpose":"#);
        push_string(&mut text, self.purpose.as_str());
        text.extend_from_slice(br#","recipient":"#);
        match self.known_beside(recipient) {
            Some(facts) => text.extend_from_slice(facts.json().as_bytes()),
            None => text.extend_from_slice(recipient.json().as_bytes()),
        }
        text.extend_from_slice(br#","request":{"method":"#);
        push_string(&mut text, self.method);
        text.extend_from_slice(br#","path":"#);
        push_string(&mut text, self.path);
        text.push(b'}');
        if let Some(sender) = sender {
            text.extend_from_slice(br#","sender":"#);
            text.extend_from_slice(sender.json().as_bytes());
        }
        text.push(b'}');
        let digest = Digest::of(&text);
        (text, digest)
    }

    /// The recipient with what the agreement and the pass add; `None` when they add nothing.
    fn known_beside(&self, recipient: &Facts) -> Option<Facts> {
        let vouched = PERSON_FACTS.iter().filter_map(|name| Some((*name, self.person?.get(*name)?)));
        let mut vouched = vouched.peekable();
        if vouched.peek().is_none() && self.agreement.is_none() {
            return None;
        }
        let mut facts = recipient.map().clone();
        for (name, fact) in vouched {
            // What we vetted ourselves stands; a pass only adds.
            facts.entry(name).or_insert_with(|| fact.clone());
        }
        if let Some(agreement) = self.agreement {
            facts.extend(agreement.recipient.clone());
            facts.insert("agreement".to_owned(), true.into());
        }
        Some(Facts::new(facts))
    }
}

/// Appends a JSON string.
fn push_string(text: &mut Vec<u8>, value: &str) {
    // Writing text to memory does not fail.
    let _ = serde_json::to_writer(text, value);
}
