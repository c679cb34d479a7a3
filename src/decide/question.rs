//! Everything a policy may see of a request, as the JSON input of the wire reference.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

use super::Agreement;
use crate::authenticate::PERSON_ATTRIBUTES;
use crate::types::{DatasetId, Digest, Facts, PartyId, Purpose, Tag, Timestamp};

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
            Direction::Export => (
                known(self.counterparty_facts, self.vouched(), self.agreement.map(|agreement| &agreement.recipient)),
                None,
            ),
            // Whoever sends vouches for its own person, not for us; an agreement's facts are about the partner, too.
            Direction::Import => (
                known(self.our_facts, Vec::new(), self.agreement.map(|_| &*NOTHING)),
                Some(known(self.counterparty_facts, self.vouched(), None)),
            ),
            Direction::Request => (Cow::Borrowed(self.our_facts), Some(Cow::Borrowed(self.counterparty_facts))),
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
        text.extend_from_slice(recipient.json().as_bytes());
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

    /// What the pass says of the person, of what may be believed of it.
    fn vouched(&self) -> Vec<(&'static str, &Value)> {
        let Some(person) = self.person.filter(|person| !person.is_empty()) else { return Vec::new() };
        PERSON_ATTRIBUTES.iter().filter_map(|name| Some((*name, person.get(*name)?))).collect()
    }
}

/// An agreement that says nothing of a party but that it is there.
static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// A party with what a pass and an agreement add.
fn known<'a>(
    party: &'a Facts,
    vouched: Vec<(&'static str, &Value)>,
    agreement: Option<&Map<String, Value>>,
) -> Cow<'a, Facts> {
    if vouched.is_empty() && agreement.is_none() {
        return Cow::Borrowed(party);
    }
    let mut facts = party.map().clone();
    for (name, fact) in vouched {
        // What we vetted ourselves stands; a pass only adds.
        facts.entry(name).or_insert_with(|| fact.clone());
    }
    if let Some(agreement) = agreement {
        facts.extend(agreement.clone());
        facts.insert("agreement".to_owned(), true.into());
    }
    Cow::Owned(Facts::new(facts))
}

/// Appends a JSON string.
fn push_string(text: &mut Vec<u8>, value: &str) {
    // Writing text to memory does not fail.
    let _ = serde_json::to_writer(text, value);
}
