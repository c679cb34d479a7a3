//! Receipts and other signatures that HTTP carried, as entries keep them: each is one Ed25519 verification. Whose key
//! it was, only somebody who holds the parties' keys can tell.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::crypto::{sha256, verifies};
use super::report::Findings;
use crate::types::ExchangeId;

/// Most keys of all parties together.
const MOST_KEYS: usize = 65_536;
/// Answers that are kept in mind for the receipts that follow, the oldest forgotten first: far more than partners may owe
/// at a time, in some 16 MiB.
const MOST_ANSWERS: usize = 262_144;

/// A signature as an entry keeps it.
#[derive(Debug, Deserialize)]
pub(super) struct Kept<'a> {
    #[serde(borrow)]
    pub(super) of: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) party: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) public: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) base: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) signature: Cow<'a, str>,
}

/// Which keys are whose: the public key sets of parties, as they publish them.
#[derive(Debug, Clone, Default)]
pub struct Parties(HashMap<String, Vec<[u8; 32]>>);

impl Parties {
    /// Adds the Ed25519 keys of a party's JWK set (RFC 7517, RFC 8037). Other keys in it are nothing to us.
    ///
    /// # Errors
    /// When it is no key set, or holds no such key.
    pub fn add(&mut self, party: &str, jwks: &[u8]) -> Result<(), String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Key>,
        }
        #[derive(Deserialize)]
        struct Key {
            #[serde(default)]
            crv: String,
            #[serde(default)]
            x: String,
        }
        let set: Set = serde_json::from_slice(jwks).map_err(|error| format!("not a key set: {error}"))?;
        let keys = set.keys.into_iter().filter(|key| key.crv == "Ed25519");
        let public = |key: Key| URL_SAFE_NO_PAD.decode(key.x).ok()?.try_into().ok();
        let keys: Vec<[u8; 32]> = keys.filter_map(public).take(MOST_KEYS).collect();
        if keys.is_empty() {
            return Err("it holds no Ed25519 key".to_owned());
        }
        self.0.entry(party.to_owned()).or_default().extend(keys);
        Ok(())
    }

    fn of(&self, party: &str) -> Option<&[[u8; 32]]> {
        self.0.get(party).map(Vec::as_slice)
    }
}

/// What one signature is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Worth {
    /// It holds, and the key is the party's.
    Good,
    /// It holds; whether the key is this party's was not to be told.
    Unowned(String),
    /// It does not.
    Bad(String),
}

/// Which answer something is about: its status, its digest and its signature, as a hash.
type Answer = [u8; 16];

/// What ties receipts to answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tie {
    /// An answer was signed.
    Answer(Answer),
    /// A receipt was signed for it.
    Receipt(Answer),
    /// A receipt was signed that does not say for what.
    Loose,
}

/// What a signature has to do with an answer; `None` for the signature of a request.
pub(super) fn tie(kept: &Kept<'_>) -> Option<Tie> {
    let line =
        |name: &str| kept.base.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(": ")));
    let digest = || line("\"content-digest\"").or_else(|| line("\"content-digest\";tr"));
    let answer = |signature: &str| {
        let whole = [line("\"@status\"")?, digest()?, signature].join("\n");
        sha256(whole.as_bytes()).first_chunk().copied()
    };
    match kept.of.as_ref() {
        "answer" => {
            let signature = URL_SAFE_NO_PAD.decode(kept.signature.trim_end_matches('=')).ok()?;
            answer(&format!(":{}:", STANDARD.encode(signature))).map(Tie::Answer)
        }
        "receipt" => {
            let names = ["\"signature\";key=\"sekisho\"", "\"signature\";tr;key=\"sekisho\""];
            let signature = names.iter().find_map(|name| line(name)?.strip_prefix(name)?.strip_prefix(": "));
            Some(signature.and_then(answer).map_or(Tie::Loose, Tie::Receipt))
        }
        _ => None,
    }
}

/// Checks a signature of the entry of this exchange. `digests` are those of the payload that the entry states.
pub(super) fn judge(kept: &Kept<'_>, exchange: &str, digests: &[&str], parties: &Parties) -> Worth {
    let about = |what: &str| Worth::Bad(format!("the {} of {} {what}", kept.of, kept.party));
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
    let public: Option<[u8; 32]> = decode(&kept.public).and_then(|bytes| bytes.try_into().ok());
    let (Some(public), Some(signature)) = (public, decode(&kept.signature)) else {
        return about("is not base64url");
    };
    if !verifies(&public, kept.base.as_bytes(), &signature) {
        return about("has a signature that does not fit");
    }
    let component = |name: &str| kept.base.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    match component("\"sekisho-exchange\"") {
        None => return about("does not name an exchange"),
        Some(named) if named != exchange => return about("is about another exchange"),
        Some(_) => {}
    }
    // An answer to a push covers the payload that it is the receipt for by the request's digest; its own is that of a few
    // words of ours.
    let of_request = ["\"content-digest\";req", "\"content-digest\";req;tr", "\"content-digest\";tr;req"];
    let of_request = of_request.iter().find_map(|name| component(name));
    let pushed = component("\"@status\"") == Some("201");
    let own = component("\"content-digest\"").or_else(|| component("\"content-digest\";tr")).filter(|_| !pushed);
    if let Some(content) = of_request.or(own).filter(|_| !digests.is_empty()) {
        let digest = content.strip_prefix("sha-256=:").and_then(|rest| STANDARD.decode(rest.strip_suffix(':')?).ok());
        let hex = digest.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        if !digests.iter().any(|digest| digest.strip_prefix("sha256:") == Some(&hex)) {
            return about("covers another payload than the entry tells of");
        }
    }
    match parties.of(&kept.party) {
        None => Worth::Unowned(kept.party.clone().into_owned()),
        Some(keys) if keys.contains(&public) => Worth::Good,
        Some(_) => about("is signed with a key that is not among this party's"),
    }
}

/// Gathers what the signatures of a log are worth.
#[derive(Default)]
pub(super) struct Receipts {
    pub(super) count: u64,
    unowned: BTreeMap<String, u64>,
    /// The last answers, by their exchange.
    answers: HashMap<ExchangeId, Answer>,
    order: VecDeque<ExchangeId>,
    /// Receipts whose answer was not met, or is forgotten.
    unmatched: u64,
    pub(super) findings: Findings,
}

impl Receipts {
    /// Parties that are told apart in the report.
    const NAMED: usize = 64;

    pub(super) fn take(&mut self, index: u64, worth: Worth) {
        self.count += 1;
        match worth {
            Worth::Good => {}
            Worth::Bad(what) => self.findings.add(Some(index), format!("entry {index}: {what}")),
            Worth::Unowned(party) => {
                let named = self.unowned.len() < Self::NAMED || self.unowned.contains_key(&party);
                *self.unowned.entry(if named { party } else { "others".to_owned() }).or_default() += 1;
            }
        }
    }

    /// Holds receipts against the answers that they are for: those of the same entry, or of an earlier one.
    pub(super) fn tied(&mut self, index: u64, exchange: ExchangeId, ties: &[Tie]) {
        for tie in ties {
            if let Tie::Answer(answer) = tie
                && self.answers.insert(exchange, *answer).is_none()
            {
                self.order.push_back(exchange);
                if self.order.len() > MOST_ANSWERS
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.answers.remove(&oldest);
                }
            }
        }
        for tie in ties {
            let what = match (tie, self.answers.get(&exchange)) {
                (Tie::Answer(_), _) => continue,
                (Tie::Receipt(of), Some(answer)) if of == answer => continue,
                (Tie::Receipt(_), Some(_)) => "is for another answer than the one that the outcome keeps",
                (Tie::Receipt(_), None) => {
                    self.unmatched += 1;
                    continue;
                }
                (Tie::Loose, _) => "does not say which answer it is for",
            };
            self.findings.add(Some(index), format!("entry {index}: the receipt of exchange {exchange} {what}"));
        }
    }

    /// Whose keys were not given, and which answers were not met, each as a clause.
    pub(super) fn gaps(&self) -> impl Iterator<Item = String> {
        let unowned = self.unowned.iter().map(|(party, count)| {
            format!("whose key made {count} signatures in the name of {party}: give --party {party}=JWKS_FILE")
        });
        let unmatched = (self.unmatched > 0).then(|| {
            format!("which answers {} receipts are for: the outcomes before them do not keep those", self.unmatched)
        });
        unowned.chain(unmatched)
    }
}
