//! What the logs say, once the gateways are down: read and verified as an outsider would.

use std::collections::HashMap;
use std::path::Path;

use sekisho::record::verify::verify_directory;
use sekisho::record::{Entries, ReadEntry};
use serde_json::Value;

use super::Reply;

/// Both logs.
pub struct Books {
    pub kansai: Book,
    pub wessex: Book,
}

/// One exchange as one log tells it.
#[derive(Debug, Clone)]
pub struct Told {
    pub decision: Value,
    pub outcome: Value,
}

/// One log.
pub struct Book {
    entries: Vec<ReadEntry>,
}

impl Book {
    /// Verifies the log in a directory under the key that its owner gave, and reads it.
    ///
    /// # Panics
    /// When it does not verify, or when a decision and an outcome do not stand in a pair, in this order.
    pub fn read(directory: &Path, key: &str) -> Self {
        let report = verify_directory(directory, Some(key), |_, _| ()).unwrap();
        assert!(report.verified, "{}", report.render());
        let entries: Vec<ReadEntry> = Entries::open(directory).unwrap().map(Result::unwrap).collect();
        assert_eq!(report.entries, entries.len() as u64);
        assert_eq!(report.checkpointed, report.entries, "a log that was closed is covered by its checkpoint");
        let mut open: HashMap<String, bool> = HashMap::new();
        for entry in &entries {
            let exchange = entry.payload["exchange"].as_str().unwrap().to_owned();
            match entry.payload["kind"].as_str() {
                Some("decision") => assert!(open.insert(exchange, true).is_none(), "decided twice: {entry:?}"),
                Some("receipt") => assert!(open.contains_key(&exchange), "a receipt for no exchange: {entry:?}"),
                Some("outcome") => assert_eq!(open.insert(exchange, false), Some(true), "no decision: {entry:?}"),
                _ => panic!("an entry of no known kind: {entry:?}"),
            }
        }
        let waiting: Vec<_> = open.iter().filter(|(_, open)| **open).collect();
        assert!(waiting.is_empty(), "decisions without an outcome: {waiting:?}");
        Self { entries }
    }

    /// How many exchanges it tells of.
    pub fn len(&self) -> usize {
        self.entries.iter().filter(|entry| entry.payload["kind"] == "decision").count()
    }

    /// Every exchange, in the order of the decisions.
    pub fn all(&self) -> Vec<Told> {
        let decisions = self.entries.iter().filter(|entry| entry.payload["kind"] == "decision");
        decisions.map(|entry| self.named(entry.payload["exchange"].as_str().unwrap())).collect()
    }

    /// The receipts for an exchange.
    pub fn receipts(&self, exchange: &str) -> Vec<Value> {
        let found = self.entries.iter().map(|entry| &entry.payload);
        found.filter(|entry| entry["kind"] == "receipt" && entry["exchange"] == exchange).cloned().collect()
    }

    /// The one exchange that an answer names.
    pub fn of(&self, reply: &Reply) -> Told {
        self.named(reply.exchange())
    }

    /// The exchange with this id.
    pub fn named(&self, exchange: &str) -> Told {
        let find = |kind: &str| {
            let found = self.entries.iter().map(|entry| &entry.payload);
            found.clone().find(|entry| entry["kind"] == kind && entry["exchange"] == exchange).cloned()
        };
        let missing = || panic!("the log does not tell of {exchange}");
        Told { decision: find("decision").unwrap_or_else(missing), outcome: find("outcome").unwrap_or_else(missing) }
    }
}

impl Told {
    /// It was permitted and every byte of `before` went in, every byte of `after` out.
    pub fn check_complete(&self, before: &[u8], after: &[u8]) {
        assert_eq!(self.decision["decision"], "permit", "{self:?}");
        assert_eq!(self.outcome["ended"], "complete", "{self:?}");
        assert_eq!(self.outcome["bytes_in"], before.len());
        assert_eq!(self.outcome["bytes_out"], after.len());
        assert_eq!(self.outcome["digest_before"], super::sha256(before));
        assert_eq!(self.outcome["digest_after"], super::sha256(after));
    }

    /// It was refused with this code and status, and nothing left.
    pub fn check_refused(&self, decision: &str, code: &str, status: u16) {
        assert_eq!(self.decision["decision"], decision, "{self:?}");
        assert_eq!(self.decision["code"], code, "{self:?}");
        assert_eq!(self.outcome["ended"], "refused", "{self:?}");
        assert_eq!(self.outcome["code"], code, "{self:?}");
        assert_eq!(self.outcome["status"], status, "{self:?}");
        assert_eq!(self.outcome.get("bytes_out"), None, "{self:?}");
    }

    /// The rules behind a denial, in order.
    pub fn rules(&self) -> Vec<String> {
        strings(&self.decision["reasons"], "rule")
    }

    /// What was done to the payload, as `rule:action`, in order.
    pub fn carried(&self) -> Vec<String> {
        let carried = self.outcome["obligations_carried"].as_array().cloned().unwrap_or_default();
        let word = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
        carried.iter().map(|entry| format!("{}:{}", word(entry, "rule"), word(entry, "do"))).collect()
    }
}

fn strings(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().cloned().unwrap_or_default();
    list.iter().map(|entry| entry[key].as_str().unwrap().to_owned()).collect()
}
