//! Two organisations' logs side by side: an exchange that both passed must read the same in both.

use std::collections::HashMap;
use std::io::BufRead;

use super::bundle::verify_bundle_heard;
use super::report::Findings;
use super::source::Source;
use super::story::Story;
use super::{Options, Prove, Report, VerifyError, verify_heard};
use crate::types::ExchangeId;

/// Exchanges of one log that are compared: some hundred bytes each.
pub(super) const MOST_EXCHANGES: usize = 4_000_000;
/// Clocks of two organisations differ, and what one wrote last the other may not have written yet, in milliseconds.
const MARGIN: u64 = 120_000;

/// Where the other organisation's log lies.
pub enum Other<'a> {
    /// A log.
    Log(&'a dyn Source),
    /// An exported part of one.
    Bundle(String, &'a mut dyn BufRead),
}

/// A log beside the first; key and proofs are as in [`Options`], and are its own.
pub struct Beside<'a> {
    /// Where it lies.
    pub log: Other<'a>,
    /// Its key as its owner gave it.
    pub key: Option<&'a str>,
    /// Makes proofs of its tiles.
    pub prove: Option<Prove<'a>>,
}

/// One exchange as one log tells it.
#[derive(Default)]
struct Tale {
    index: u64,
    at: u64,
    story: Story,
    ended: bool,
    receipt: bool,
}

/// All that a log tells.
#[derive(Default)]
struct Told {
    tales: HashMap<ExchangeId, Tale>,
    full: bool,
    /// Whose log it is, as its entries say.
    party: Option<String>,
    first: Option<u64>,
    last: u64,
}

impl Told {
    fn hear(&mut self, index: u64, exchange: ExchangeId, story: Story) {
        if self.tales.len() >= MOST_EXCHANGES && !self.tales.contains_key(&exchange) {
            self.full = true;
            return;
        }
        self.first.get_or_insert(story.at);
        self.last = self.last.max(story.at);
        if self.party.is_none() {
            let own = if story.direction.as_deref() == Some("export") { &story.provider } else { &story.consumer };
            self.party.clone_from(own);
        }
        let tale = self.tales.entry(exchange).or_insert_with(|| Tale { index, at: story.at, ..Tale::default() });
        tale.ended |= story.outcome;
        tale.receipt |= story.receipt;
        tale.story.merge(story);
    }
}

impl Story {
    /// Adds what a later entry of the same exchange tells.
    fn merge(&mut self, later: Self) {
        self.permitted = self.permitted.or(later.permitted);
        self.complete |= later.complete;
        for (mine, theirs) in [
            (&mut self.provider, later.provider),
            (&mut self.consumer, later.consumer),
            (&mut self.direction, later.direction),
            (&mut self.dataset, later.dataset),
            (&mut self.purpose, later.purpose),
        ] {
            if mine.is_none() {
                *mine = theirs;
            }
        }
        self.upstream_status = self.upstream_status.or(later.upstream_status);
        self.bytes_in = self.bytes_in.or(later.bytes_in);
        self.bytes_out = self.bytes_out.or(later.bytes_out);
        self.before = self.before.or(later.before);
        self.after = self.after.or(later.after);
        self.signatures.extend(later.signatures);
    }

    fn provides(&self) -> bool {
        self.direction.as_deref() == Some("export")
    }

    fn signed_by(&self, party: Option<&str>) -> bool {
        self.signatures.iter().any(|(_, by, _)| Some(by.as_str()) == party)
    }
}

/// Verifies a log, and others beside it: each for itself, and each against the first.
///
/// # Errors
/// As [`verify_log`](super::verify_log); [`VerifyError::TooMany`] when there are too many exchanges to compare.
pub fn verify_with(
    first: &mut Other<'_>,
    options: &Options<'_>,
    others: &mut [Beside<'_>],
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    let mut ours = Told::default();
    let mut report = hear(first, options, &mut ours, &mut progress)?;
    for Beside { log, key, prove } in others {
        let mut theirs = Told::default();
        let beside = hear(log, &Options { key: *key, prove: *prove, ..*options }, &mut theirs, &mut progress)?;
        report.check("other log", beside.entries, &format!("{} verifies by itself", beside.origin), |findings| {
            for finding in &beside.findings {
                findings.add(None, format!("{}: {}: {}", beside.origin, finding.check, finding.what));
            }
        });
        report.not_checked.extend(beside.not_checked.iter().map(|gap| format!("of {}: {gap}", beside.origin)));
        compare(&ours, &theirs, &beside.origin, &mut report);
    }
    Ok(report)
}

fn hear(
    log: &mut Other<'_>,
    options: &Options<'_>,
    told: &mut Told,
    progress: &mut impl FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    let mut listener = |index, exchange, story| told.hear(index, exchange, story);
    let report = match log {
        Other::Log(source) => verify_heard(*source, options, Some(&mut listener), progress)?,
        Other::Bundle(name, file) => verify_bundle_heard(name, *file, options, Some(&mut listener), progress)?,
    };
    if told.full { Err(VerifyError::TooMany(report.origin)) } else { Ok(report) }
}

fn compare(ours: &Told, theirs: &Told, name: &str, report: &mut Report) {
    if ours.tales.is_empty() || theirs.tales.is_empty() {
        let what =
            format!("whether {name} tells the same: one of the logs tells of no exchange, or shows us no entries");
        return report.not_checked.push(what);
    }
    let mut findings = Findings::default();
    let (mut both, mut unsigned) = (0_u64, 0_u64);
    // Beyond what both logs reach, an exchange may be missing from one.
    let from = ours.first.max(theirs.first).unwrap_or(0).saturating_add(MARGIN);
    let until = ours.last.min(theirs.last).saturating_sub(MARGIN);
    let mut mine: Vec<_> = ours.tales.iter().collect();
    mine.sort_unstable_by_key(|(_, tale)| tale.index);
    for (exchange, tale) in mine {
        match theirs.tales.get(exchange) {
            Some(other) => {
                both += 1;
                for what in differences(tale, other, until) {
                    findings.add(Some(tale.index), format!("exchange {exchange}: {what}"));
                }
            }
            None if (from..until).contains(&tale.at) => match lacking(tale, theirs.party.as_deref()) {
                Lack::Wrong => {
                    let what = format!("exchange {exchange} reached {name}, and its log does not tell of it");
                    findings.add(Some(tale.index), what);
                }
                Lack::Unknown => unsigned += 1,
                Lack::Right => {}
            },
            None => {}
        }
    }
    let mut alone: Vec<_> = theirs.tales.iter().filter(|(exchange, _)| !ours.tales.contains_key(*exchange)).collect();
    alone.sort_unstable_by_key(|(_, tale)| tale.index);
    for (exchange, tale) in alone {
        if (from..until).contains(&tale.at) {
            match lacking(tale, ours.party.as_deref()) {
                Lack::Wrong => {
                    findings.add(
                        None,
                        format!("exchange {exchange} of {name} reached us, and this log does not tell of it"),
                    );
                }
                Lack::Unknown => unsigned += 1,
                Lack::Right => {}
            }
        }
    }
    if unsigned > 0 {
        let what = format!(
            "{unsigned} exchanges that only one of the logs tells of, and that the other's gateway did not sign"
        );
        report.not_checked.push(what);
    }
    report.conclude("same story", both, format!("each exchange with {name} reads the same in both logs"), findings);
}

/// What it means that another party's log does not tell of an exchange.
enum Lack {
    /// It must have been there.
    Wrong,
    /// It never got there, or is none of its business.
    Right,
    /// Nothing tells.
    Unknown,
}

fn lacking(tale: &Tale, party: Option<&str>) -> Lack {
    let story = &tale.story;
    let concerns = party.is_some() && (story.provider.as_deref() == party || story.consumer.as_deref() == party);
    if !concerns {
        Lack::Right
    } else if story.signed_by(party) {
        Lack::Wrong
    } else if story.direction.as_deref() == Some("request") {
        // We asked: whatever came back, came from the other's gateway.
        if story.complete || story.upstream_status.is_some() { Lack::Wrong } else { Lack::Right }
    } else if story.complete {
        // Somebody with its certificate asked us or pushed to us: with a gateway, or without one.
        Lack::Unknown
    } else {
        Lack::Right
    }
}

/// What two logs tell differently of one exchange.
fn differences(ours: &Tale, theirs: &Tale, until: u64) -> Vec<String> {
    let (mine, other) = (&ours.story, &theirs.story);
    let mut found = Vec::new();
    for (what, here, there) in [
        ("the provider", &mine.provider, &other.provider),
        ("the consumer", &mine.consumer, &other.consumer),
        ("the dataset", &mine.dataset, &other.dataset),
        ("the purpose", &mine.purpose, &other.purpose),
    ] {
        if let (Some(here), Some(there)) = (here, there)
            && here != there
        {
            found.push(format!("{what} is {here} here and {there} there"));
        }
    }
    if mine.direction.is_none() || other.direction.is_none() {
        return found;
    }
    if mine.provides() == other.provides() {
        found.push("both logs claim the same side of it".to_owned());
        return found;
    }
    let (provider, consumer) = if mine.provides() { (ours, theirs) } else { (theirs, ours) };
    let (sent, received) = (&provider.story, &consumer.story);
    if received.complete && sent.permitted == Some(false) {
        found.push("the provider refused it, and the consumer says that it arrived whole".to_owned());
    }
    if sent.complete && received.permitted == Some(false) {
        found.push("the consumer's own policy refused it, and the provider says that it was delivered".to_owned());
    }
    if sent.complete && received.complete {
        if sent.after.zip(received.before).is_some_and(|(sent, received)| sent != received) {
            found.push("the payload that was sent is not the one that arrived".to_owned());
        }
        if let Some((sent, received)) = sent.bytes_out.zip(received.bytes_in)
            && sent != received
        {
            found.push(format!("{sent} bytes were sent and {received} arrived"));
        }
    }
    for (of, party, signature) in &mine.signatures {
        let same = |(other_of, other_party, _): &&(String, String, [u8; 16])| other_of == of && other_party == party;
        if let Some((_, _, there)) = other.signatures.iter().find(same)
            && there != signature
        {
            found.push(format!("the {of} of {party} has two signatures"));
        }
    }
    let acknowledged = received.signatures.iter().any(|(of, _, _)| of == "receipt");
    // A receipt is posted afterwards: what is recent may be under way.
    if acknowledged && provider.ended && !provider.receipt && provider.at < until {
        let has = sent.signatures.iter().any(|(of, _, _)| of == "receipt");
        if !has {
            found.push("the consumer made a receipt, and the provider's log does not hold it".to_owned());
        }
    }
    found
}
