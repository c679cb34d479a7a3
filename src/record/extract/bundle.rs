//! Writes a part of a log as one file that verifies offline. Its format is told in `verify/bundle.rs`.

use std::collections::HashSet;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Extract, payload};
use crate::record::verify::BUNDLE_FORMAT;
use crate::types::{ExchangeId, PartyId, Timestamp};

/// Exchanges with one party that are followed through a log.
const MOST_FOLLOWED: usize = 4_000_000;

/// Which entries are wanted: all that hold.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Of exchanges with this party.
    pub party: Option<PartyId>,
    /// Of this exchange.
    pub exchange: Option<ExchangeId>,
}

impl Selection {
    fn is_range(&self) -> bool {
        self.party.is_none() && self.exchange.is_none()
    }

    fn covers(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at < until)
    }

    fn words(&self) -> Value {
        let mut words = serde_json::Map::new();
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                words.insert(name.to_owned(), value.into());
            }
        };
        add("from", self.from.map(|from| from.to_string()));
        add("until", self.until.map(|until| until.to_string()));
        add("party", self.party.as_ref().map(ToString::to_string));
        add("exchange", self.exchange.map(|exchange| exchange.to_string()));
        words.into()
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Entries in the bundle.
    pub entries: u64,
    /// Entries under the checkpoint.
    pub of: u64,
}

/// Writes the selected entries, each with its proof. A selection by time alone is every entry between two places, and says
/// so, that whoever verifies it can tell that none is left out.
///
/// # Errors
/// As reading and writing; `OutOfMemory` when more exchanges would have to be followed than are.
pub fn export(log: &Extract<'_>, selection: &Selection, out: &mut dyn Write) -> io::Result<Written> {
    let mut followed = HashSet::new();
    let (mut first, mut next) = (None, None);
    if selection.is_range() {
        log.each(|index, entry| {
            if payload(entry).and_then(|payload| at(&payload)).is_some_and(|at| selection.covers(at)) {
                first.get_or_insert(index);
                next = Some(index + 1);
            }
            Ok(())
        })?;
    }
    let range = selection.is_range().then(|| (first.unwrap_or(0), next.unwrap_or(0)));
    let mut words = selection.words();
    if let Some((first, next)) = range {
        words["first"] = first.into();
        words["next"] = next.into();
    }
    let missing = || io::Error::new(io::ErrorKind::NotFound, "the log shows no key of its own");
    let keys = log.keys.as_ref().ok_or_else(missing)?;
    let listed: Value = serde_json::from_str(&keys.text())?;
    let head = json!({
        "format": BUNDLE_FORMAT, "origin": log.origin, "keys": listed, "checkpoint": log.note, "selection": words
    });
    writeln!(out, "{head}")?;
    for change in keys.changes() {
        line(log, "change", change, &log.entry(change)?, out)?;
    }
    let mut entries = 0;
    log.each(|index, entry| {
        let wanted = match range {
            Some((first, next)) => (first..next).contains(&index),
            None => match payload(entry) {
                Some(payload) => selected(selection, &payload, &mut followed)?,
                None => false,
            },
        };
        if wanted {
            line(log, "index", index, entry, out)?;
            entries += 1;
        }
        Ok(())
    })?;
    writeln!(out, "{}", json!({ "end": entries }))?;
    Ok(Written { entries, of: log.size })
}

/// Writes an entry with its proof, and its place under this name.
fn line(log: &Extract<'_>, place: &str, index: u64, entry: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let text = std::str::from_utf8(entry).map_err(io::Error::other)?;
    let path: Vec<_> = log.path(index)?.iter().map(|hash| STANDARD.encode(hash)).collect();
    writeln!(out, "{}", json!({ place: index, "entry": text, "proof": path }))
}

fn selected(selection: &Selection, payload: &Value, followed: &mut HashSet<ExchangeId>) -> io::Result<bool> {
    let Some(exchange) = payload["exchange"].as_str().and_then(|id| id.parse().ok()) else { return Ok(false) };
    if selection.exchange.is_some_and(|wanted| wanted != exchange) {
        return Ok(false);
    }
    if let Some(party) = &selection.party {
        let named = ["provider", "consumer"].iter().any(|side| payload[side].as_str() == Some(party.as_str()));
        if named {
            followed.insert(exchange);
        }
        if followed.len() > MOST_FOLLOWED {
            let what = format!("more than {MOST_FOLLOWED} exchanges with {party}: choose a shorter time");
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, what));
        }
        if !followed.contains(&exchange) {
            return Ok(false);
        }
    }
    Ok(at(payload).is_some_and(|at| selection.covers(at)))
}

fn at(payload: &Value) -> Option<Timestamp> {
    let at = OffsetDateTime::parse(payload["at"].as_str()?, &Rfc3339).ok()?;
    Some(Timestamp::from_millis(u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()?))
}
