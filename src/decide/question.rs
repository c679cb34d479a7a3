//! Everything a policy may see of a request, as the JSON input of the wire reference.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

use super::reads::Kept;
use super::{Agreement, Granularity, Reads};
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
    /// When it is asked; a policy sees it as exactly as it declares.
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

/// Opens the input document.
const OPENING: u8 = b'{';

impl<'a> Question<'a> {
    /// The input document and its digest: what `reads` names of the question and nothing else. Members are in one order, so
    /// equal questions give equal bytes.
    pub fn input(&self, reads: &Reads) -> (Vec<u8>, Digest) {
        let (recipient, sender) = match self.direction {
            Direction::Export => {
                let agreement = self.agreement.map(|agreement| &agreement.recipient);
                (Party::new(self.counterparty_facts, self.vouched(), agreement), None)
            }
            // Whoever sends vouches for its own person, not for us; an agreement's facts are about the partner, too.
            Direction::Import => (
                Party::new(self.our_facts, None, self.agreement.map(|_| &*NOTHING)),
                Some(Party::new(self.counterparty_facts, self.vouched(), None)),
            ),
            Direction::Request => {
                (Party::new(self.our_facts, None, None), Some(Party::new(self.counterparty_facts, None, None)))
            }
        };
        let mut text = Vec::with_capacity(INPUT_BYTES);
        text.push(OPENING);
        if reads.action() {
            open(&mut text, "action");
            push_string(&mut text, self.action);
        }
        if reads.at() {
            open(&mut text, "at");
            text.push(b'"');
            self.push_time(&mut text, reads.time());
            text.push(b'"');
        }
        if reads.channel != Kept::Nothing {
            open(&mut text, "channel");
            text.push(OPENING);
            if reads.channel.keeps("direction") {
                open(&mut text, "direction");
                push_string(&mut text, self.direction.as_str());
            }
            text.push(b'}');
        }
        section(&mut text, "dataset", &reads.dataset, &self.dataset.facts);
        if let Some(agreement) = self.agreement {
            section(&mut text, "legal", &reads.legal, &agreement.legal);
        }
        if reads.purpose() {
            open(&mut text, "purpose");
            push_string(&mut text, self.purpose.as_str());
        }
        recipient.push(&mut text, "recipient", &reads.recipient);
        if reads.request != Kept::Nothing {
            open(&mut text, "request");
            text.push(OPENING);
            for (member, value) in [("method", self.method), ("path", self.path)] {
                if reads.request.keeps(member) {
                    open(&mut text, member);
                    push_string(&mut text, value);
                }
            }
            text.push(b'}');
        }
        if let Some(sender) = sender {
            sender.push(&mut text, "sender", &reads.sender);
        }
        text.push(b'}');
        let digest = Digest::of(&text);
        (text, digest)
    }

    /// What the pass says of the person.
    fn vouched(&self) -> Option<&'a Map<String, Value>> {
        self.person.filter(|person| !person.is_empty())
    }

    fn push_time(&self, text: &mut Vec<u8>, granularity: Granularity) {
        text.extend_from_slice(self.at.date().as_bytes());
        let (hour, minute) = (self.at.seconds() / 3600 % 24, self.at.seconds() / 60 % 60);
        // Writing to memory does not fail.
        let _ = match granularity {
            Granularity::Date => Ok(()),
            Granularity::Hour => write!(text, "T{hour:02}:00:00Z"),
            Granularity::Minute => write!(text, "T{hour:02}:{minute:02}:00Z"),
        };
    }
}

/// An agreement that says nothing of a party but that it is there.
static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// A fact that an agreement adds by being there.
static THERE: Value = Value::Bool(true);

/// A party with what a pass and an agreement add.
struct Party<'a> {
    facts: &'a Facts,
    vouched: Option<&'a Map<String, Value>>,
    agreement: Option<&'a Map<String, Value>>,
}

impl<'a> Party<'a> {
    fn new(
        facts: &'a Facts,
        vouched: Option<&'a Map<String, Value>>,
        agreement: Option<&'a Map<String, Value>>,
    ) -> Self {
        Self { facts, vouched, agreement }
    }

    fn push(&self, text: &mut Vec<u8>, name: &str, kept: &Kept) {
        if self.vouched.is_none() && self.agreement.is_none() {
            return section(text, name, kept, self.facts);
        }
        if *kept == Kept::Nothing {
            return;
        }
        let mut known: BTreeMap<&str, &Value> = BTreeMap::new();
        known.extend(self.facts.map().iter().map(|(name, fact)| (name.as_str(), fact)));
        if let Some(person) = self.vouched {
            for name in PERSON_ATTRIBUTES {
                if let Some(fact) = person.get(name) {
                    // What we vetted ourselves stands; a pass only adds.
                    known.entry(name).or_insert(fact);
                }
            }
        }
        if let Some(agreement) = self.agreement {
            known.extend(agreement.iter().map(|(name, fact)| (name.as_str(), fact)));
            known.insert("agreement", &THERE);
        }
        known.retain(|name, _| kept.keeps(name));
        open(text, name);
        // Writing values that were JSON to memory does not fail.
        let _ = serde_json::to_writer(text, &known);
    }
}

/// Appends a section that is held ready.
fn section(text: &mut Vec<u8>, name: &str, kept: &Kept, facts: &Facts) {
    match kept {
        Kept::Nothing => {}
        Kept::All => {
            open(text, name);
            text.extend_from_slice(facts.json().as_bytes());
        }
        Kept::Members(number, members) => {
            open(text, name);
            facts.append_narrowed(text, *number, |member| members.contains(member));
        }
    }
}

/// Begins a member: its name, after a comma unless it is the first.
fn open(text: &mut Vec<u8>, name: &str) {
    if text.last() != Some(&OPENING) {
        text.push(b',');
    }
    text.push(b'"');
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\":");
}

/// Appends a JSON string.
fn push_string(text: &mut Vec<u8>, value: &str) {
    // Writing text to memory does not fail.
    let _ = serde_json::to_writer(text, value);
}
