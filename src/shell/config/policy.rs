//! `[policy]` and `[[policy.source]]`: what decides, and where it comes from.

use std::net::SocketAddr;
use std::time::Duration;

use super::bundle_url::BundleUrl;
use super::file::{Content, FileRef};
use super::model::Listen;
use super::problem::{Complaint, quote};
use super::reader::Section;
use super::value::{boolean, count, duration, identifier, one_of, text, words};
use crate::decide::{FEWEST_INPUTS, ShadowMode};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Between two looks at a source: more often than every second is load without use, more seldom than daily would keep a
/// regulator's change waiting.
const POLL: std::ops::RangeInclusive<Duration> = SECOND..=Duration::from_secs(24 * 60 * 60);
/// The most that a bundle may be tried on: at some 0.5 ms an input, ten minutes.
const MOST_TRIAL_INPUTS: usize = 1_000_000;
/// The longest id of a source; it names a directory.
const SOURCE_ID_BYTES: usize = 64;
/// Ids that stand for the policies that no source brings.
const RESERVED: [&str; 2] = ["directory", "built-in"];

/// `[policy]`: what decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `directory`: a policy bundle directory of our own. Default: with no source either, the built-in reference policy.
    pub directory: Option<FileRef>,
    /// `budget`: the most time one decision may take, 1ms to 10s. Default: [`Policy::BUDGET`].
    pub budget: Duration,
    /// `development`: whether bundles without a signature are taken. Default: false; refused unless every listener is on
    /// loopback.
    pub development: bool,
    /// `shadow`: how many decisions a second engine is asked for as well. Default: sampled.
    pub shadow: ShadowMode,
    /// `trial_inputs`: generated inputs on which both engines must agree before a bundle is activated, at least
    /// [`Policy::TRIAL_INPUTS`]. Default: as many.
    pub trial_inputs: usize,
    /// `stale_after`: how long a source may fail before the gateway calls itself degraded, up to 720h; `None` (0s) for
    /// never. Default: [`Policy::STALE_AFTER`].
    pub stale_after: Option<Duration>,
    /// `[[policy.source]]`: where others' policies come from, in the order of the file.
    pub sources: Vec<PolicySource>,
}

impl Policy {
    /// Far above what rules of ordinary size take; whoever needs more is probably caught in a loop.
    pub const BUDGET: Duration = Duration::from_millis(50);
    /// As many as a trial takes at least.
    pub const TRIAL_INPUTS: usize = FEWEST_INPUTS;
    /// A day: a weekend night's outage of a bundle server is no alarm, a lasting one is.
    pub const STALE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
}

/// `[[policy.source]]`: one policy that is fetched, checked and kept up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// `id`: the source's name, unique; lower-case letters, digits, `-`, `_` and `.`, 1 to 64. Required.
    pub id: String,
    /// `file`, `directory` or `url`: exactly one. Required.
    pub place: PolicyPlace,
    /// `keys`: who may sign the bundle. Required for `file` and `url` outside development.
    pub keys: Vec<PolicyKey>,
    /// `poll`: the time between two looks, 1s to 24h. Default: [`PolicySource::POLL`].
    pub poll: Duration,
    /// `expect`: the id that the bundle's policy must have. Default: any.
    pub expect: Option<String>,
    /// `owner`: whose policy it is, for people. Default: not said.
    pub owner: Option<PolicyOwner>,
}

impl PolicySource {
    /// What OPA's own bundle client does by default.
    pub const POLL: Duration = Duration::from_secs(60);
}

/// Where a policy comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyPlace {
    /// `file`: a bundle archive on this machine. It may come later.
    File(FileRef),
    /// `directory`: a policy bundle directory of our own, that is, of people who may change this gateway anyway.
    Directory(FileRef),
    /// `url`: a bundle server.
    Url {
        /// `url`: `https://`, or `http://` to a loopback or private host.
        url: BundleUrl,
        /// `anchors`: PEM certificates of the authorities of the server. Required for https.
        anchors: Option<FileRef>,
    },
}

/// `keys` of a source: one key that may sign its bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyKey {
    /// `id`: the key's name in signatures, unique in the source. Required.
    pub id: String,
    /// `file`: the public key, PEM. Required.
    pub file: FileRef,
    /// `algorithm`: the one algorithm that it signs with. Required.
    pub algorithm: String,
    /// `scope`: the scope that a signature must name. Default: none.
    pub scope: Option<String>,
}

/// `owner` of a source: whose policy it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyOwner {
    /// `role`: `exporter`, `importer` or `regulator`. Required.
    pub role: String,
    /// `name`: who it is. Required.
    pub name: String,
}

const SHADOWS: [&str; 3] = ["off", "sampled", "all"];
const ROLES: [&str; 3] = ["exporter", "importer", "regulator"];
/// Asymmetric signatures only (RFC 7518, section 3.1; RFC 8037): whoever checks must not be able to sign.
const ALGORITHMS: [&str; 9] = ["EdDSA", "ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

/// `[policy]`; `listen` tells whether this may be a gateway for development.
pub(super) fn policy(root: &mut Section<'_>, listen: Option<&Listen>) -> Policy {
    let mut table = root.section("policy", "[policy]");
    let directory = table.file("directory", Content::Directory);
    let budget = table.optional("budget", |value| duration(value, MILLISECOND..=10 * SECOND));
    let development = table.optional("development", boolean).unwrap_or_default();
    let shadow = table.optional("shadow", |value| one_of(value, &SHADOWS));
    let trial_inputs = table.optional("trial_inputs", |value| count(value, Policy::TRIAL_INPUTS..=MOST_TRIAL_INPUTS));
    let stale_after = table.optional("stale_after", |value| duration(value, Duration::ZERO..=720 * HOUR));
    if development && let Some((name, address)) = listen.and_then(reachable) {
        let what = format!("development = true takes policies that nobody signed, and {name} listens on {address}");
        table.report(table.line_of("development"), what, "set it to false, or listen on loopback addresses only");
    }
    let mut sources: Vec<PolicySource> = Vec::new();
    let mut declared: Vec<(String, usize)> = Vec::new();
    for section in table.sections("source") {
        sources.extend(source(section, development, &mut declared));
    }
    table.finish();
    Policy {
        directory,
        budget: budget.unwrap_or(Policy::BUDGET),
        development,
        shadow: match shadow.as_deref() {
            Some("off") => ShadowMode::Off,
            Some("all") => ShadowMode::All,
            _ => ShadowMode::Sampled,
        },
        trial_inputs: trial_inputs.unwrap_or(Policy::TRIAL_INPUTS),
        stale_after: Some(stale_after.unwrap_or(Policy::STALE_AFTER)).filter(|time| !time.is_zero()),
        sources,
    }
}

/// A listener that others than this machine reach.
fn reachable(listen: &Listen) -> Option<(&'static str, SocketAddr)> {
    let listeners = [("listen.partner", Some(listen.partner)), ("listen.admin", listen.admin)];
    let mut given = listeners.into_iter().filter_map(|(name, address)| Some((name, address?)));
    given.find(|(_, address)| !address.ip().is_loopback())
}

fn source(mut table: Section<'_>, development: bool, declared: &mut Vec<(String, usize)>) -> Option<PolicySource> {
    let id = table.required("id", "\"dfft\"", source_id);
    match &id {
        Some(id) => table.rename(format!("[[policy.source]] {id}")),
        None => table.rename("[[policy.source]]".to_owned()),
    }
    if let Some(id) = &id {
        let line = table.line_of("id");
        match declared.iter().find(|(other, _)| other == id) {
            Some((_, first)) => {
                table.report(line, format_args!("id: {id} is already taken on line {first}"), "rename one")
            }
            None => declared.push((id.clone(), line)),
        }
    }
    let given: Vec<&str> = ["file", "directory", "url"].into_iter().filter(|key| table.has(key)).collect();
    match given[..] {
        [_] => {}
        [] => table.report(
            table.line,
            "names no place",
            "add one of file = \"policy.tar.gz\", directory = \"policy\", url = \"https://...\"",
        ),
        [_, second, ..] => {
            table.report(table.line_of(second), "names more than one place", "keep one of file, directory and url");
        }
    }
    let file = table.file("file", Content::Archive);
    let directory = table.file("directory", Content::Directory);
    let url = table.optional("url", |value| BundleUrl::read(text(value)?));
    let anchors = table.file("anchors", Content::Anchors);
    if table.has("anchors") && !table.has("url") {
        table.report(table.line_of("anchors"), "anchors are for a url", "remove them");
    }
    if let Some(url) = &url {
        match (url.is_https(), table.has("anchors")) {
            (true, false) => table.missing("anchors", "\"regulator-ca.pem\", the authorities of the bundle server"),
            (false, true) => {
                table.report(table.line_of("anchors"), "anchors are for https", "remove them, or use https")
            }
            _ => {}
        }
    }
    let mut keys: Vec<PolicyKey> = Vec::new();
    let source_name = id.clone().unwrap_or_default();
    for mut section in table.sections("keys") {
        section.rename(format!("[[policy.source]] {source_name} keys"));
        let line = section.line;
        if let Some(key) = key(&mut section) {
            if keys.iter().any(|other| other.id == key.id) {
                section.report(line, format_args!("id: {} is there twice", key.id), "rename one, or remove it");
            }
            keys.push(key);
        }
        section.finish();
    }
    let is_archive = matches!(given[..], ["file" | "url"]);
    if is_archive && !development {
        let example =
            "[{ id = \"2026\", file = \"regulator.pub\", algorithm = \"EdDSA\" }], the keys that may sign the bundle";
        if !table.has("keys") {
            table.missing("keys", example);
        } else if table.is_empty_list("keys") {
            let what = "keys is empty, so nobody could sign the bundle";
            table.report(table.line_of("keys"), what, format!("write keys = {example}"));
        }
    }
    if given == ["directory"] && table.has("keys") {
        let fix = "remove them; a directory is the operator's own, what others wrote comes as a signed archive";
        table.report(table.line_of("keys"), "keys are for an archive", fix);
    }
    let poll = table.optional("poll", |value| duration(value, POLL));
    let expect = table.optional("expect", identifier);
    let owner = table.has("owner").then(|| owner(&mut table));
    let place = match (file, directory, url) {
        (Some(file), None, None) => Some(PolicyPlace::File(file)),
        (None, Some(directory), None) => Some(PolicyPlace::Directory(directory)),
        (None, None, Some(url)) => Some(PolicyPlace::Url { url, anchors }),
        _ => None,
    };
    table.finish();
    Some(PolicySource {
        id: id?,
        place: place?,
        keys,
        poll: poll.unwrap_or(PolicySource::POLL),
        expect,
        owner: owner.flatten(),
    })
}

fn key(table: &mut Section<'_>) -> Option<PolicyKey> {
    let id = table.required("id", "\"2026\"", identifier);
    let file = table.required_file("file", "\"regulator.pub\"", Content::PublicKey);
    let algorithm = table.required("algorithm", "\"EdDSA\"", |value| one_of(value, &ALGORITHMS));
    let scope = table.optional("scope", identifier);
    Some(PolicyKey { id: id?, file: file?, algorithm: algorithm?, scope })
}

fn owner(table: &mut Section<'_>) -> Option<PolicyOwner> {
    let mut table = table.section("owner", "owner = { role = \"regulator\", name = \"...\" }");
    table.rename("[[policy.source]] owner".to_owned());
    let role = table.required("role", "\"regulator\"", |value| one_of(value, &ROLES));
    let name = table.required("name", "\"Ministry of Economy, Trade and Industry\"", words);
    table.finish();
    Some(PolicyOwner { role: role?, name: name? })
}

/// Whether a source may have this id: one that can name a directory on any file system, and leads out of none.
pub fn is_source_id(text: &str) -> bool {
    let in_id = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    starts_well && text.len() <= SOURCE_ID_BYTES && text.bytes().all(in_id)
}

fn source_id(value: &toml::de::DeValue<'_>) -> Result<String, Complaint> {
    let text = text(value)?;
    if !is_source_id(text) {
        return Err(Complaint::new(
            format!("{} is not the id of a source", quote(text)),
            "give 1 to 64 lower-case letters, digits, '-', '_' and '.', the first a letter or a digit",
        ));
    }
    if RESERVED.contains(&text) {
        let fix = "choose another name; these two stand for [policy] directory and the built-in policy";
        return Err(Complaint::new(format!("{text} is taken by the gateway itself"), fix));
    }
    Ok(text.to_owned())
}
