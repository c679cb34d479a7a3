//! What one entry tells that another organisation's log tells, too.

use super::crypto::sha256;
use super::judge::Entry;

/// An entry as far as two logs can be compared by it.
#[derive(Debug, Clone, Default)]
pub(super) struct Story {
    pub(super) at: u64,
    pub(super) outcome: bool,
    pub(super) receipt: bool,
    pub(super) permitted: Option<bool>,
    pub(super) complete: bool,
    pub(super) provider: Option<String>,
    pub(super) consumer: Option<String>,
    pub(super) direction: Option<String>,
    pub(super) dataset: Option<String>,
    pub(super) purpose: Option<String>,
    pub(super) upstream_status: Option<u16>,
    pub(super) bytes_in: Option<u64>,
    pub(super) bytes_out: Option<u64>,
    pub(super) before: Option<[u8; 16]>,
    pub(super) after: Option<[u8; 16]>,
    /// What was signed (`request`, `answer`, `receipt`), by whom, and which signature it is.
    pub(super) signatures: Vec<(String, String, [u8; 16])>,
}

impl Story {
    pub(super) fn of(entry: &Entry<'_>, at: u64) -> Self {
        let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let short = |text: &str| {
            let mut short = [0; 16];
            short.copy_from_slice(&sha256(text.as_bytes())[..16]);
            short
        };
        let signature = |kept: &super::receipts::Kept<'_>| {
            (kept.of.clone().into_owned(), kept.party.clone().into_owned(), short(&kept.signature))
        };
        Self {
            at,
            outcome: entry.kind == "outcome",
            receipt: entry.kind == "receipt",
            permitted: entry.decision.as_deref().map(|decision| decision == "permit"),
            complete: entry.ended.as_deref() == Some("complete"),
            provider: text(&entry.provider),
            consumer: text(&entry.consumer),
            direction: text(&entry.direction),
            dataset: text(&entry.dataset),
            purpose: text(&entry.purpose),
            upstream_status: entry.upstream_status,
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            before: entry.digest_before.as_deref().map(short),
            after: entry.digest_after.as_deref().map(short),
            signatures: entry.signatures.iter().map(signature).collect(),
        }
    }
}
