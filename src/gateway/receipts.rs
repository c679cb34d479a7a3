//! Receipts: which answers of ours were signed for, which of them partners still owe a receipt, and which receipts of
//! ours are yet to be posted.
//!
//! All of it follows from the log: what was signed and what was received stands there, and is read back at start. The
//! tables here are bounded; what they forget is still on record.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use lru::LruCache;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::authenticate::signature::{Digested, member_of};
use crate::types::{ExchangeId, PartyId, Timestamp};

/// Receipts that one partner may owe, or that are yet to be posted to it: the oldest are forgotten first. At 300 bytes
/// each, 3 MiB a partner.
const KEPT: usize = 10_000;
/// Exchanges of one partner whose receipt came, remembered so that a second one is known: twice what it can owe.
const RECEIVED: NonZeroUsize = NonZeroUsize::new(2 * KEPT).unwrap();
/// A receipt is not owed before this much time has passed since the answer: it takes its way in batches.
const GRACE: Duration = Duration::from_secs(60);

/// A receipt as it is posted: one line of `application/x-ndjson`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The exchange whose answer arrived.
    pub exchange: ExchangeId,
    /// `Signature-Input`, as a header has it.
    pub signature_input: String,
    /// `Signature`, as a header has it.
    pub signature: String,
}

/// What a receipt for an answer of ours covers.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) at: Timestamp,
    pub(super) status: StatusCode,
    pub(super) digest: Digested,
    pub(super) member: String,
}

/// What follows the end of an exchange.
#[derive(Debug)]
pub(super) enum Then {
    /// The partner owes a receipt for what it got.
    Owe(PartyId, ExchangeId, Sent),
    /// We owe the partner one, and have made it.
    Post(PartyId, Receipt),
}

/// What is known of an exchange that a partner names.
pub(super) enum Standing {
    Owed(Sent),
    Known,
    Unknown,
}

/// The receipts of all partners.
pub struct Receipts {
    accounts: HashMap<PartyId, Mutex<Account>>,
    /// Told when there is something to post to a partner.
    fresh: HashMap<PartyId, Notify>,
}

struct Account {
    owed: HashMap<ExchangeId, Sent>,
    /// The same by time, oldest first.
    order: BTreeSet<(Timestamp, ExchangeId)>,
    received: LruCache<ExchangeId, ()>,
    count: u64,
    refused: BTreeMap<&'static str, u64>,
    unposted: VecDeque<Receipt>,
}

impl Account {
    fn new() -> Self {
        Self {
            owed: HashMap::new(),
            order: BTreeSet::new(),
            received: LruCache::new(RECEIVED),
            count: 0,
            refused: BTreeMap::new(),
            unposted: VecDeque::new(),
        }
    }

    fn owe(&mut self, exchange: ExchangeId, sent: Sent) {
        if self.received.contains(&exchange) {
            return;
        }
        self.order.insert((sent.at, exchange));
        self.owed.insert(exchange, sent);
        if self.owed.len() > KEPT
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.owed.remove(&oldest);
        }
    }

    fn receive(&mut self, exchange: ExchangeId) {
        if let Some(sent) = self.owed.remove(&exchange) {
            self.order.remove(&(sent.at, exchange));
        }
        if self.received.put(exchange, ()).is_none() {
            self.count += 1;
        }
    }

    fn post(&mut self, receipt: Receipt) {
        self.unposted.push_back(receipt);
        if self.unposted.len() > KEPT {
            self.unposted.pop_front();
        }
    }
}

impl Receipts {
    pub(super) fn new<'a>(partners: impl Iterator<Item = &'a PartyId>) -> Self {
        let accounts: HashMap<_, _> = partners.map(|partner| (partner.clone(), Mutex::new(Account::new()))).collect();
        let fresh = accounts.keys().map(|partner| (partner.clone(), Notify::new())).collect();
        Self { accounts, fresh }
    }

    fn account(&self, partner: &PartyId) -> Option<MutexGuard<'_, Account>> {
        Some(self.accounts.get(partner)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn follow(&self, then: Then) {
        match then {
            Then::Owe(partner, exchange, sent) => {
                if let Some(mut account) = self.account(&partner) {
                    account.owe(exchange, sent);
                }
            }
            Then::Post(partner, receipt) => {
                if let Some(mut account) = self.account(&partner) {
                    account.post(receipt);
                }
                self.fresh.get(&partner).into_iter().for_each(Notify::notify_one);
            }
        }
    }

    /// Whether a partner owes more than `most` receipts that it had time to send.
    pub(super) fn is_past(&self, partner: &PartyId, most: usize, now: Timestamp) -> bool {
        let Some(account) = self.account(partner).filter(|_| most > 0) else { return false };
        // In the order of time: if this one is due, so are all before it.
        account.order.iter().nth(most).is_some_and(|(at, _)| now.since(*at) >= GRACE)
    }

    pub(super) fn standing(&self, partner: &PartyId, exchange: &ExchangeId) -> Standing {
        let Some(account) = self.account(partner) else { return Standing::Unknown };
        match account.owed.get(exchange) {
            Some(sent) => Standing::Owed(sent.clone()),
            None if account.received.contains(exchange) => Standing::Known,
            None => Standing::Unknown,
        }
    }

    pub(super) fn received(&self, partner: &PartyId, exchange: ExchangeId) {
        if let Some(mut account) = self.account(partner) {
            account.receive(exchange);
        }
    }

    pub(super) fn refused(&self, partner: &PartyId, code: &'static str) {
        if let Some(mut account) = self.account(partner) {
            *account.refused.entry(code).or_default() += 1;
        }
    }

    /// The next receipts for a partner, oldest first.
    pub(super) fn unposted(&self, partner: &PartyId, most: usize) -> Vec<Receipt> {
        let Some(account) = self.account(partner) else { return Vec::new() };
        account.unposted.iter().take(most).cloned().collect()
    }

    /// The partner answered for these.
    pub(super) fn posted(&self, partner: &PartyId, exchanges: &[ExchangeId]) {
        if let Some(mut account) = self.account(partner) {
            account.unposted.retain(|receipt| !exchanges.contains(&receipt.exchange));
        }
    }

    /// Returns once there may be something new to post to a partner.
    pub async fn fresh(&self, partner: &PartyId) {
        match self.fresh.get(partner) {
            Some(fresh) => fresh.notified().await,
            None => std::future::pending().await,
        }
    }

    /// How many receipts a partner owes, those of the last minute included.
    pub fn owed(&self, partner: &PartyId) -> usize {
        self.account(partner).map_or(0, |account| account.owed.len())
    }

    /// All accounts, for operators.
    pub fn shown(&self) -> Value {
        let mut partners: Vec<_> = self.accounts.keys().collect();
        partners.sort();
        let shown = partners.into_iter().filter_map(|partner| {
            let account = self.account(partner)?;
            Some(json!({
                "party": partner,
                "owed": account.owed.len(),
                "oldest": account.order.first().map(|(at, _)| at),
                "received": account.count,
                "refused": account.refused,
                "to_post": account.unposted.len(),
            }))
        });
        shown.collect()
    }
}

/// Reads accounts back from entries of the log, in their order. Entries are our own, so what is not understood is left
/// aside.
#[derive(Default)]
pub struct Recall {
    /// Exchanges that were decided and have not ended yet: the partner, and whether it was to get data from us.
    open: HashMap<ExchangeId, (PartyId, bool)>,
}

impl Recall {
    /// Takes in the next entry.
    pub fn take(&mut self, us: &PartyId, receipts: &Receipts, entry: &Value) {
        let word = |name: &str| entry.get(name).and_then(Value::as_str);
        let Some(exchange) = word("exchange").and_then(|id| id.parse::<ExchangeId>().ok()) else { return };
        match word("kind") {
            Some("decision") if word("decision") == Some("permit") => {
                let export = word("direction") == Some("export");
                let partner = word(if export { "consumer" } else { "provider" });
                if let Some(partner) = partner.and_then(|id| id.parse().ok()) {
                    self.open.insert(exchange, (partner, export && find(entry, "request", None).is_some()));
                }
            }
            Some("outcome") => {
                let Some((partner, signed)) = self.open.remove(&exchange) else { return };
                if let Some(receipt) = find(entry, "receipt", Some(us)).and_then(|found| receipt(exchange, found)) {
                    receipts.follow(Then::Post(partner.clone(), receipt));
                }
                if signed
                    && word("ended") == Some("complete")
                    && let Some(sent) = find(entry, "answer", Some(us)).and_then(|found| sent(entry, found))
                {
                    receipts.follow(Then::Owe(partner, exchange, sent));
                }
            }
            Some("receipt") => {
                if let Some(partner) = word("party").and_then(|id| id.parse().ok()) {
                    receipts.received(&partner, exchange);
                }
            }
            _ => {}
        }
    }
}

/// The signature of this kind in an entry, by this party.
fn find<'a>(entry: &'a Value, of: &str, party: Option<&PartyId>) -> Option<&'a Value> {
    let signatures = entry.get("signatures")?.as_array()?;
    signatures
        .iter()
        .find(|signature| signature["of"] == of && party.is_none_or(|us| signature["party"] == us.as_str()))
}

fn receipt(exchange: ExchangeId, signature: &Value) -> Option<Receipt> {
    let parameters = signature["base"].as_str()?.rsplit_once("\"@signature-params\": ")?.1;
    Some(Receipt {
        exchange,
        signature_input: format!("sekisho={parameters}"),
        signature: format!("sekisho={}", member_of(signature["signature"].as_str()?)?),
    })
}

/// What a receipt has to cover, from the base of the answer's signature.
fn sent(entry: &Value, signature: &Value) -> Option<Sent> {
    let base = signature["base"].as_str()?;
    let line = |name: &str| base.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let status = StatusCode::from_bytes(line("\"@status\"")?.as_bytes()).ok()?;
    let (field, trailer) = match line("\"content-digest\"") {
        Some(field) => (field, false),
        None => (line("\"content-digest\";tr")?, true),
    };
    let at = entry.get("at").and_then(Value::as_str)?;
    let at = time::OffsetDateTime::parse(at, &time::format_description::well_known::Rfc3339).ok()?;
    Some(Sent {
        at: Timestamp::from_seconds(u64::try_from(at.unix_timestamp()).ok()?),
        status,
        digest: Digested { field: field.to_owned(), trailer },
        member: member_of(signature["signature"].as_str()?)?,
    })
}

#[cfg(test)]
mod tests;
