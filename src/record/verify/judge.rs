//! One entry by itself: its form, its signature, what it says, and the signatures that it keeps.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::crypto::{full_root, leaf_hash, sha256, verifies};
use super::receipts::{self, Kept, Parties, Tie, Worth};
use super::signing::{Handover, Signing};
use super::story::Story;
use crate::record::entry::Step;
use crate::record::jws::{self, Compact};
use crate::types::ExchangeId;

/// Entries of a full bundle.
pub(super) const FULL: usize = 256;

/// The protected header of an entry: these members and no others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// As much of an entry as the checks read.
#[derive(Deserialize)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) exchange: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) at: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) decision: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) provider: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) consumer: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) direction: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) dataset: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) purpose: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) ended: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) upstream_status: Option<u16>,
    #[serde(default)]
    pub(super) bytes_in: Option<u64>,
    #[serde(default)]
    pub(super) bytes_out: Option<u64>,
    #[serde(borrow, default)]
    pub(super) digest_before: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) digest_after: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) previous: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) signatures: Vec<Kept<'a>>,
}

/// What was found out about one entry.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) leaf: [u8; 32],
    /// What is wrong with its form or its signature.
    pub(super) fault: Option<&'static str>,
    /// What it says, as far as it can be read.
    pub(super) says: Option<Says>,
}

/// What an entry says.
#[derive(Debug)]
pub(super) struct Says {
    /// What it means to its exchange; `None` for an entry about the log itself.
    pub(super) step: Option<(ExchangeId, Step)>,
    /// When, in milliseconds since 1970.
    pub(super) at: u64,
    /// The key that it hands the log over to.
    pub(super) handover: Option<Box<Handover>>,
    /// What its signatures are worth.
    pub(super) worth: Vec<Worth>,
    /// How receipts and answers among them hang together.
    pub(super) ties: Vec<Tie>,
    /// What another log may be compared with.
    pub(super) story: Option<Box<Story>>,
}

/// A run of entries as they are read.
pub(super) enum Lot {
    /// Entries in the form of a bundle: each behind its length.
    Entries { first: u64, bytes: Vec<u8>, width: usize },
    /// Entries that were counted before, and of which only the hashes are wanted.
    Again { first: u64, bytes: Vec<u8>, width: usize },
    /// Only the hashes of leaves: the entries are not to be had.
    Hashes { first: u64, leaves: Vec<[u8; 32]> },
}

/// A run of entries when each was judged.
pub(super) struct JudgedLot {
    pub(super) first: u64,
    pub(super) again: bool,
    pub(super) entries: Vec<Judged>,
    /// The root over them when they are a full bundle.
    pub(super) root: Option<[u8; 32]>,
    /// The bundle has not exactly the entries that it should have.
    pub(super) misshapen: bool,
    /// There were entries, not only their hashes.
    pub(super) read: bool,
}

/// Judges entries. Shared by all threads.
pub(super) struct Judge<'a> {
    pub(super) keys: &'a Signing,
    pub(super) parties: &'a Parties,
    /// Whether signatures are checked at all.
    pub(super) signatures: bool,
    /// Whether stories are wanted.
    pub(super) stories: bool,
}

impl Judge<'_> {
    /// Judges a run of entries.
    pub(super) fn lot(&self, lot: Lot) -> JudgedLot {
        let (first, bytes, width, again) = match lot {
            Lot::Entries { first, bytes, width } => (first, bytes, width, false),
            Lot::Again { first, bytes, width } => (first, bytes, width, true),
            Lot::Hashes { first, leaves } => {
                let root = (leaves.len() == FULL).then(|| full_root(&leaves));
                let entries = leaves.into_iter().map(|leaf| Judged { leaf, fault: None, says: None }).collect();
                return JudgedLot { first, again: false, entries, root, misshapen: false, read: false };
            }
        };
        let mut scratch = Scratch::default();
        let mut entries = Vec::with_capacity(width);
        let mut rest = bytes.as_slice();
        while entries.len() < width {
            let Some((entry, behind)) = split_entry(rest) else { break };
            let index = first + entries.len() as u64;
            entries.push(if again {
                Judged { leaf: leaf_hash(entry), fault: None, says: None }
            } else {
                self.entry(index, entry, &mut scratch)
            });
            rest = behind;
        }
        let leaves = || entries.iter().map(|entry| entry.leaf).collect::<Vec<_>>();
        let root = (entries.len() == FULL && !again).then(|| full_root(&leaves()));
        JudgedLot { first, again, misshapen: entries.len() < width || !rest.is_empty(), entries, root, read: true }
    }

    fn entry(&self, index: u64, entry: &[u8], scratch: &mut Scratch) -> Judged {
        let fault = self.signature(index, entry, scratch).err();
        let says = if fault.is_none() { self.says(&scratch.payload) } else { None };
        Judged { leaf: leaf_hash(entry), fault, says }
    }

    /// Checks one entry and leaves its payload decoded.
    fn signature(&self, index: u64, entry: &[u8], scratch: &mut Scratch) -> Result<(), &'static str> {
        let jws = Compact::split(entry).ok_or("is not a compact JWS")?;
        jws::decode_into(jws.payload, &mut scratch.payload).ok_or("has a payload that is not base64url")?;
        jws::decode_into(jws.signature, &mut scratch.signature).ok_or("has a signature that is not base64url")?;
        let public = self.keys.at(index).ok_or("stands where no key was valid")?;
        if scratch.good.as_ref().is_none_or(|(header, key)| header != jws.header || key != public) {
            let header = jws::decode(jws.header).and_then(|json| serde_json::from_slice::<Header>(&json).ok());
            let header = header.ok_or("has a header with other members than alg, kid and typ")?;
            if header.alg != "EdDSA" || header.typ != jws::TYPE {
                return Err("is not signed as a record is: EdDSA over sekisho-record+jws");
            }
            if header.kid != kid(public) {
                return Err("is signed by another key");
            }
            scratch.good = Some((jws.header.to_owned(), *public));
        }
        if !self.signatures || verifies(public, jws.signed, &scratch.signature) {
            Ok(())
        } else {
            Err("has a signature that does not fit what it says")
        }
    }

    fn says(&self, payload: &[u8]) -> Option<Says> {
        let entry: Entry<'_> = serde_json::from_slice(payload).ok()?;
        let at = millis(&entry.at)?;
        let step = match (entry.kind.as_ref(), entry.decision.as_deref()) {
            ("decision", Some("permit")) => Some(Step::Decided { permitted: true }),
            ("decision", Some("review" | "deny" | "refused")) => Some(Step::Decided { permitted: false }),
            ("outcome", None) => Some(Step::Ended),
            ("receipt", None) => Some(Step::Noted),
            ("key", None) => None,
            _ => return None,
        };
        let step = match step {
            Some(step) => Some((entry.exchange.parse().ok()?, step)),
            None => None,
        };
        let complete = entry.ended.as_deref() == Some("complete");
        let digests = [entry.digest_before.as_deref(), entry.digest_after.as_deref()];
        let digests: Vec<&str> = digests.into_iter().flatten().filter(|_| complete).collect();
        let worth = |kept: &Kept<'_>| receipts::judge(kept, &entry.exchange, &digests, self.parties);
        let worth = if self.signatures { entry.signatures.iter().map(worth).collect() } else { Vec::new() };
        let ties = entry.signatures.iter().filter(|_| self.signatures).filter_map(receipts::tie).collect();
        let story = (self.stories && step.is_some()).then(|| Box::new(Story::of(&entry, at)));
        let handover = match (entry.kind.as_ref(), &entry.key, &entry.previous) {
            ("key", Some(key), Some(previous)) => {
                let own = |text: &Cow<'_, str>| text.clone().into_owned();
                Some(Box::new(Handover { key: own(key), previous: own(previous), at: own(&entry.at) }))
            }
            ("key", ..) => return None,
            _ => None,
        };
        Some(Says { step, at, handover, worth, ties, story })
    }
}

/// What is kept from one entry to the next.
#[derive(Default)]
struct Scratch {
    /// The last header that was found good, encoded, and for which key: nearly always the next one too.
    good: Option<(Vec<u8>, [u8; 32])>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// The id of a key in entries: its RFC 7638 thumbprint.
pub(super) fn kid(public: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(sha256(jws::canonical_jwk(public).as_bytes()))
}

/// The first entry of what is left of a bundle, and what follows it.
pub(super) fn split_entry(bundle: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, behind) = bundle.split_first_chunk::<2>()?;
    behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Milliseconds since 1970.
pub(super) fn millis(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}
