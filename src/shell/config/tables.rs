//! Reads the tables that configure this gateway itself.

use std::net::SocketAddr;
use std::time::Duration;

use toml::de::DeValue;

use super::environment::Overrides;
use super::file::Content;
use super::model::{Admin, Inputs, Limits, Listen, Passes, Pseudonyms, Receipts, Record, State, Subjects, Tls};
use super::problem::Complaint;
use super::reader::Section;
use super::value::{boolean, count, days, duration, identifier, listen_address, loopback_address, text};
use crate::types::PartyId;

/// The longest time that a limit may have: longer is a mistake in the unit.
const MOST_TIME: Duration = Duration::from_secs(60 * 60);
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
/// As many as a machine can have open sockets or streams, by any sane count.
const MOST_COUNT: usize = 1_000_000;

pub(super) fn listen(root: &mut Section<'_>, overrides: &Overrides) -> Option<Listen> {
    let mut table = root.section("listen", "[listen]");
    let partner = table.optional("partner", |value| listen_address(text(value)?));
    let local = table.optional("local", |value| loopback_address(text(value)?));
    let admin = table.optional("admin", |value| listen_address(text(value)?));
    if overrides.partner.is_none() && !table.has("partner") {
        table.missing("partner", "\"0.0.0.0:8443\"");
    }
    let partner = overrides.partner.or(partner);
    let (local, admin) = (overrides.local.or(local), overrides.admin.or(admin));
    let listeners = [("partner", partner), ("local", local), ("admin", admin)];
    for (index, (name, address)) in listeners.iter().enumerate() {
        let taken = |other: &&(&str, Option<SocketAddr>)| collide(*address, other.1);
        if let Some((other, _)) = listeners[..index].iter().find(taken) {
            let what = format!("{name} listens on the same address as {other}");
            table.report(table.line_of(name), what, "give each listener a port of its own");
        }
    }
    table.finish();
    Some(Listen { partner: partner?, local, admin })
}

/// Whether two listeners cannot both be opened. Port 0 means any free port, which never collides.
fn collide(left: Option<SocketAddr>, right: Option<SocketAddr>) -> bool {
    let (Some(left), Some(right)) = (left, right) else { return false };
    let same_host = left.ip() == right.ip() || left.ip().is_unspecified() || right.ip().is_unspecified();
    left.port() != 0 && left.port() == right.port() && same_host
}

pub(super) fn tls(root: &mut Section<'_>) -> Option<Tls> {
    let mut table = root.section("tls", "[tls]");
    let certificate = table.required_file("certificate", "\"gateway.pem\"", Content::Chain);
    let key = table.required_file("key", "\"gateway.key\"", Content::TlsKey);
    table.finish();
    Some(Tls { certificate: certificate?, key: key? })
}

/// `[admin]` may be absent only when there is no admin listener.
pub(super) fn admin(root: &mut Section<'_>, is_needed: bool) -> Option<Option<Admin>> {
    let is_given = root.has("admin");
    let mut table = root.section("admin", "[admin]");
    if !is_given && !is_needed {
        return Some(None);
    }
    let anchors = table.required_file("anchors", "\"ca.pem\", the authorities of our own operators", Content::Anchors);
    table.finish();
    Some(Some(Admin { anchors: anchors? }))
}

pub(super) fn passes(root: &mut Section<'_>) -> Option<Passes> {
    let mut table = root.section("passes", "[passes]");
    let key = table.required_file("key", "\"pass.key\"", Content::Ed25519);
    let retired = table.file("retired", Content::RetiredJwks);
    let lifetime = table.optional("lifetime", |value| duration(value, SECOND..=Passes::MOST_LIFETIME));
    let subject = table.optional("subject", identifier);
    table.finish();
    Some(Passes {
        key: key?,
        retired,
        lifetime: lifetime.unwrap_or(Passes::LIFETIME),
        subject: subject.unwrap_or_else(|| Passes::SUBJECT.to_owned()),
    })
}

pub(super) fn record(root: &mut Section<'_>, overrides: &Overrides, party: Option<&PartyId>) -> Option<Record> {
    let mut table = root.section("record", "[record]");
    let directory = table.file("directory", Content::NewDirectory);
    if overrides.record_directory.is_none() && !table.has("directory") {
        table.missing("directory", "\"log\"");
    }
    let key = table.required_file("key", "\"log.key\"", Content::Ed25519);
    let origin = table.optional("origin", key_name);
    let has_origin = table.has("origin");
    table.finish();
    let origin = match origin {
        None if !has_origin => format!("{}/log", party?),
        origin => origin?,
    };
    Some(Record { directory: overrides.record_directory.clone().or(directory)?, key: key?, origin })
}

/// A name of a log or a witness. C2SP puts it on a line and into `NAME+ID+KEY`: no spaces, no plus.
pub(super) fn key_name(value: &DeValue<'_>) -> Result<String, Complaint> {
    identifier(value).and_then(|name| match name.contains('+') {
        true => Err(Complaint::new("holds a plus sign", "choose a name without '+'")),
        false => Ok(name),
    })
}

/// `None` when the table is there and wrong.
pub(super) fn pseudonyms(root: &mut Section<'_>) -> Option<Option<Pseudonyms>> {
    let is_given = root.has("pseudonyms");
    let mut table = root.section("pseudonyms", "[pseudonyms]");
    if !is_given {
        return Some(None);
    }
    let key = table.required_file("key", "\"pseudonym.key\"", Content::Hex);
    let id = table.required("id", "\"2026-a\"", identifier);
    table.finish();
    Some(Some(Pseudonyms { key: key?, id: id? }))
}

pub(super) fn state(root: &mut Section<'_>) -> State {
    let mut table = root.section("state", "[state]");
    let directory = table.file("directory", Content::NewDirectory);
    let directory =
        directory.unwrap_or_else(|| table.place("directory", State::DIRECTORY.into(), Content::NewDirectory));
    table.finish();
    State { directory }
}

pub(super) fn inputs(root: &mut Section<'_>) -> Inputs {
    let mut table = root.section("inputs", "[inputs]");
    let enabled = table.optional("enabled", boolean);
    let directory = table.file("directory", Content::NewDirectory);
    let directory =
        directory.unwrap_or_else(|| table.place("directory", Inputs::DIRECTORY.into(), Content::NewDirectory));
    let retention_days = table.optional("retention", |value| days(value, 1..=Inputs::MOST_RETENTION_DAYS));
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let bytes = table.optional("bytes", |value| count(value, size(Inputs::LEAST_BYTES)..=size(Inputs::MOST_BYTES)));
    table.finish();
    Inputs {
        enabled: enabled.unwrap_or(true),
        directory,
        retention_days: retention_days.unwrap_or(Inputs::RETENTION_DAYS),
        bytes: bytes.map_or(Inputs::BYTES, |bytes| bytes as u64),
    }
}

pub(super) fn subjects(root: &mut Section<'_>) -> Subjects {
    let mut table = root.section("subjects", "[subjects]");
    let enabled = table.optional("enabled", boolean);
    let directory = table.file("directory", Content::NewDirectory);
    let directory =
        directory.unwrap_or_else(|| table.place("directory", Subjects::DIRECTORY.into(), Content::NewDirectory));
    let retention_days = table.optional("retention", |value| days(value, 1..=Inputs::MOST_RETENTION_DAYS));
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let bytes = table.optional("bytes", |value| count(value, size(Inputs::LEAST_BYTES)..=size(Subjects::MOST_BYTES)));
    table.finish();
    Subjects {
        enabled: enabled.unwrap_or(true),
        directory,
        retention_days: retention_days.unwrap_or(Inputs::RETENTION_DAYS),
        bytes: bytes.map_or(Subjects::BYTES, |bytes| bytes as u64),
    }
}

pub(super) fn receipts(root: &mut Section<'_>) -> Receipts {
    let mut table = root.section("receipts", "[receipts]");
    let owed_at_most = table.optional("owed_at_most", |value| count(value, 0..=Receipts::MOST_OWED));
    table.finish();
    Receipts { owed_at_most: owed_at_most.unwrap_or_default() }
}

pub(super) fn limits(root: &mut Section<'_>) -> Limits {
    let mut table = root.section("limits", "[limits]");
    let mut limits = Limits::default();
    let counts = [
        ("workers", 0..=1024, &mut limits.workers),
        ("connections", 1..=MOST_COUNT, &mut limits.connections),
        ("exchanges", 1..=MOST_COUNT, &mut limits.exchanges),
        ("head_bytes", 4096..=1024 * 1024, &mut limits.head_bytes),
        ("headers", 16..=1024, &mut limits.headers),
    ];
    for (key, bounds, limit) in counts {
        if let Some(given) = table.optional(key, |value| count(value, bounds)) {
            *limit = given;
        }
    }
    let times = [
        ("handshake", &mut limits.handshake),
        ("request_head", &mut limits.request_head),
        ("upstream_connect", &mut limits.upstream_connect),
        ("upstream_response", &mut limits.upstream_response),
        ("idle", &mut limits.idle),
        ("drain", &mut limits.drain),
    ];
    for (key, limit) in times {
        if let Some(given) = table.optional(key, |value| duration(value, 100 * MILLISECOND..=MOST_TIME)) {
            *limit = given;
        }
    }
    table.finish();
    limits
}
