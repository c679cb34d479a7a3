//! `[witness]`: whose logs we cosign, who cosigns ours, and what holds when they do not.

use std::time::Duration;

use super::file::{Content, FileRef};
use super::model::Partner;
use super::name::parsed;
use super::problem::Complaint;
use super::reader::Section;
use super::registry::Partners;
use super::tables::key_name;
use super::value::{count, duration, text};
use crate::types::PartyId;

/// `[witness]`: partners cosign each other's checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// `key`: Ed25519 private key, PKCS#8 PEM, of its own. Secret. Default: none, and then we are no witness.
    pub key: Option<FileRef>,
    /// `name`: our name as a witness. Default: `<party id>/witness`.
    pub name: String,
    /// `partners`: those that are asked to cosign our checkpoints. Default: none.
    pub partners: Vec<PartyId>,
    /// `quorum`: how many of them have to. Default: 0.
    pub quorum: usize,
    /// `interval`: between two checkpoints that are sent to them, 100ms to 1h. Default: [`Witness::INTERVAL`].
    pub interval: Duration,
    /// `overdue`: how long the quorum may be missing before exchanges are refused, up to 24h; 0s: for ever. Default: 0s.
    pub overdue: Duration,
}

impl Witness {
    /// As often as the log publishes a checkpoint.
    pub const INTERVAL: Duration = Duration::from_secs(1);
    const LEAST_INTERVAL: Duration = Duration::from_millis(100);
    const MOST_INTERVAL: Duration = Duration::from_secs(60 * 60);
    const MOST_OVERDUE: Duration = Duration::from_secs(24 * 60 * 60);
}

/// Reads the table, and holds it against the partners.
pub(super) fn witness(
    root: &mut Section<'_>,
    us: Option<&PartyId>,
    seen: &Partners,
    partners: &[Partner],
) -> Option<Witness> {
    let mut table = root.section("witness", "[witness]");
    let key = table.file("key", Content::Ed25519);
    let name = table.optional("name", key_name);
    let has_name = table.has("name");
    let asked = table.list("partners", |value| parsed::<PartyId>(text(value)?, "wessex.example"));
    let asked = asked.unwrap_or_default();
    for id in &asked {
        let line = table.line_of_element("partners", id.as_str());
        seen.ids.expect(id, "partners", line, &table);
        let Some(partner) = partners.iter().find(|partner| partner.party.id == *id) else { continue };
        let lacks = match (&partner.endpoint, partner.witness_keys.is_empty()) {
            (None, _) => "endpoint",
            (_, true) => "witness_key",
            _ => continue,
        };
        let what = format!("partners: {id} has no {lacks}, and cannot be asked to witness");
        table.report(line, what, format!("add {lacks} to its [[partner]], or leave it out here"));
    }
    let quorum = table.optional("quorum", |value| count(value, 0..=asked.len())).unwrap_or(0);
    let interval =
        table.optional("interval", |value| duration(value, Witness::LEAST_INTERVAL..=Witness::MOST_INTERVAL));
    let overdue = table.optional("overdue", |value| duration(value, Duration::ZERO..=Witness::MOST_OVERDUE));
    let overdue = overdue.unwrap_or_default();
    if !overdue.is_zero() && quorum == 0 {
        let what = "overdue: without a quorum nothing is ever overdue";
        table.report(table.line_of("overdue"), what, "give quorum = 1 or more, or remove overdue");
    }
    table.finish();
    let name = match name {
        None if !has_name => format!("{}/witness", us?),
        name => name?,
    };
    Some(Witness { key, name, partners: asked, quorum, interval: interval.unwrap_or(Witness::INTERVAL), overdue })
}

/// One key or a list of them: during a rotation the old one and the new one count.
pub(super) fn keys(
    table: &mut Section<'_>,
    key: &'static str,
    read: impl Fn(&str) -> Result<String, Complaint>,
) -> Vec<String> {
    if table.is_list(key) {
        table.filled_list(key, "\"NAME+KEYID+KEY\"", |value| read(text(value)?)).unwrap_or_default()
    } else {
        table.optional(key, |value| read(text(value)?)).into_iter().collect()
    }
}
