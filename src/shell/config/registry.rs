//! Reads the tables that say who the parties are, what is shared, and under which agreements; and holds them against
//! each other.

use std::fmt;

use serde_json::Map;
use toml::de::DeValue;

use super::file::Content;
use super::model::{Accept, Agreement, Dataset, Partner, Party, Receipts};
use super::name::{Endpoint, SanName, Upstream, country, parsed, verifier_key, witness_key};
use super::nearest::nearest;
use super::problem::Complaint;
use super::reader::Section;
use super::value::{boolean, count, date, identifier, one_of, text, words};
use super::witness::keys;
use crate::authenticate::Signatures;
use crate::types::{DatasetId, PartyId};

const PARTY_TYPES: [&str; 5] = ["company", "academia", "public", "health_center", "person"];
const MEMBERSHIPS: [&str; 3] = ["active", "suspended", "ended"];
/// Facts that policies usually read: only so that a misspelling of one is noticed.
const PARTY_FACTS: [&str; 9] = [
    "clearance",
    "cbpr",
    "controlled_by",
    "dpf",
    "eo_certified",
    "meti_informed",
    "military_end_use",
    "sanctioned",
    "specific_category",
];
const DATASET_FACTS: [&str; 4] = ["subjects", "gsd_m", "retention_days", "product"];
const LEGAL_FACTS: [&str; 8] = [
    "mechanism",
    "tia",
    "licence_type",
    "licence_id",
    "statute",
    "gov_access_assessment",
    "consent_info",
    "prior_confirmation",
];
/// What the policy input says of a party from elsewhere: its id, and whether an agreement covers the exchange.
const PARTY_RESERVED: [&str; 2] = ["party", "agreement"];
/// As above, and what holds only under an agreement: on a partner it would hold without one.
const PARTNER_RESERVED: [&str; 4] = ["party", "agreement", "need_to_know", "named"];
/// Partner keys that mean nothing in `[party]`.
const PARTNER_KEYS: [&str; 10] = [
    "endpoint",
    "names",
    "anchors",
    "jwks",
    "log_key",
    "witness_key",
    "log_entries",
    "owed_at_most",
    "signatures",
    "suspended",
];
const DATASET_RESERVED: [&str; 13] = [
    "id",
    "title",
    "origin",
    "licence",
    "creator",
    "purposes",
    "tags",
    "upstream",
    "accepts",
    "single_use",
    "visible_to",
    "columns",
    "facts",
];

/// Ids declared so far, each with its line; kept also for entries that are wrong elsewhere, so that one mistake is
/// not told twice.
pub(super) struct Declared<T> {
    entries: Vec<(T, usize)>,
}

impl<T: PartialEq + fmt::Display> Declared<T> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Takes in an id, or notes that it is taken.
    fn declare(&mut self, id: T, key: &str, line: usize, table: &Section<'_>) {
        if let Some((_, first)) = self.entries.iter().find(|(other, _)| *other == id) {
            table.report(
                line,
                format_args!("{key}: {id} is already taken on line {first}"),
                "remove one of the two, or rename it",
            );
        } else {
            self.entries.push((id, line));
        }
    }

    /// Notes that an id names nothing, with the id that was probably meant.
    pub(super) fn expect(&self, id: &T, key: &str, line: usize, table: &Section<'_>) {
        if self.entries.iter().any(|(known, _)| known == id) {
            return;
        }
        let known: Vec<String> = self.entries.iter().map(|(known, _)| known.to_string()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let fix = match nearest(&id.to_string(), &known) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "add an entry with that id, or remove the reference".to_owned(),
        };
        table.report(line, format_args!("{key}: there is no {id}"), fix);
    }
}

fn party_id(value: &DeValue<'_>) -> Result<PartyId, Complaint> {
    parsed(text(value)?, "wessex.example")
}

fn dataset_id(value: &DeValue<'_>) -> Result<DatasetId, Complaint> {
    parsed(text(value)?, "usgs-earthquakes")
}

/// `[party]`.
pub(super) fn party(root: &mut Section<'_>) -> (Option<PartyId>, Option<Party>) {
    let mut table = root.section("party", "[party]");
    let id = table.required("id", "\"kansai.example\"", party_id);
    let reserved: Vec<&str> = PARTY_RESERVED.iter().chain(&PARTNER_KEYS).copied().collect();
    let party = attributes(table, id.clone(), &reserved);
    (id, party)
}

/// The vetted attributes of a party, and every further key as a fact.
fn attributes(mut table: Section<'_>, id: Option<PartyId>, reserved: &[&str]) -> Option<Party> {
    let country = table.required("country", "\"JP\"", |value| country(text(value)?));
    let kind = table.required("type", "\"company\"", |value| one_of(value, &PARTY_TYPES));
    let membership = table.optional("membership", |value| one_of(value, &MEMBERSHIPS));
    let framework = table.optional("framework", identifier);
    let facts = table.facts(reserved, &PARTY_FACTS);
    Some(Party { id: id?, country: country?, kind: kind?, membership, framework, facts })
}

/// Who the partners are, and which certificate names they claim.
pub(super) struct Partners {
    pub(super) ids: Declared<PartyId>,
    names: Declared<SanName>,
}

/// `[[partner]]`, all of them.
pub(super) fn partners(root: &mut Section<'_>, us: Option<&PartyId>) -> (Partners, Vec<Partner>) {
    let tables = root.sections("partner");
    let mut seen = Partners { ids: Declared::new(), names: Declared::new() };
    let mut claims = Vec::new();
    let mut partners = Vec::with_capacity(tables.len());
    for mut table in tables {
        let id = table.required("id", "\"wessex.example\"", party_id);
        if let Some(id) = &id {
            table.rename(format!("[[partner]] {id}"));
            if us == Some(id) {
                table.report(
                    table.line_of("id"),
                    "id is our own",
                    "a gateway is not a partner of itself: remove the entry",
                );
            }
            seen.ids.declare(id.clone(), "id", table.line_of("id"), &table);
        }
        let endpoint = table.optional("endpoint", |value| Endpoint::read(text(value)?));
        let names = names(&mut table, id.as_ref(), us, &mut seen.names);
        for name in &names {
            claims.push((id.clone(), name.trust_domain().map(str::to_owned), table.line_of("names")));
        }
        let anchors = table.required_file("anchors", "\"partners/NAME/ca.pem\"", Content::Anchors);
        let jwks = table.required_file("jwks", "\"partners/NAME/jwks.json\"", Content::Jwks);
        let log_keys = keys(&mut table, "log_key", verifier_key);
        let witness_keys = keys(&mut table, "witness_key", witness_key);
        let log_entries = table.optional("log_entries", boolean).unwrap_or(false);
        let suspended = table.optional("suspended", boolean);
        let signatures = table.optional("signatures", |value| one_of(value, &["none", "answers", "all"]));
        let signatures = match signatures.as_deref() {
            Some("none") => Signatures::None,
            Some("all") => Signatures::All,
            _ => Signatures::Answers,
        };
        let owed_at_most = table.optional("owed_at_most", |value| count(value, 0..=Receipts::MOST_OWED));
        let party = attributes(table, id, &PARTNER_RESERVED);
        if let (Some(party), Some(anchors), Some(jwks)) = (party, anchors, jwks) {
            let suspended = suspended.unwrap_or(false);
            partners.push(Partner {
                party,
                endpoint,
                names,
                anchors,
                jwks,
                log_keys,
                witness_keys,
                log_entries,
                suspended,
                signatures,
                owed_at_most,
            });
        }
    }
    // A trust domain that is one party's id is that party's: nobody else may be known by it.
    for (id, domain, line) in claims {
        let Some((id, domain)) = id.zip(domain) else { continue };
        if domain != id.as_str() && seen.ids.entries.iter().any(|(other, _)| other.as_str() == domain) {
            let what = format!("[[partner]] {id} names: {domain} is another partner's domain");
            root.report(line, what, "name only what this partner's own certificates carry");
        }
    }
    (seen, partners)
}

/// The certificate names of one partner; nobody else's, and not ours.
fn names(
    table: &mut Section<'_>,
    id: Option<&PartyId>,
    us: Option<&PartyId>,
    taken: &mut Declared<SanName>,
) -> Vec<SanName> {
    let given = table.has("names");
    let names = table.filled_list("names", "\"spiffe://wessex.example/gateway\"", |value| SanName::read(text(value)?));
    let names = match names {
        None if !given => id.map(SanName::gateway).into_iter().collect(),
        names => names.unwrap_or_default(),
    };
    for name in &names {
        let line = table.line_of_element("names", &name.to_string());
        if us.is_some_and(|us| name.trust_domain() == Some(us.as_str())) && us != id {
            table.report(
                line,
                format_args!("names: {name} is in our own domain"),
                "name what the partner's certificate carries",
            );
        }
        taken.declare(name.clone(), "names", line, table);
    }
    names
}

/// `[[dataset]]`, all of them.
pub(super) fn datasets(root: &mut Section<'_>, partners: &Partners) -> (Declared<DatasetId>, Vec<Dataset>) {
    let tables = root.sections("dataset");
    let mut ids = Declared::new();
    let mut datasets = Vec::with_capacity(tables.len());
    for mut table in tables {
        let id = table.required("id", "\"usgs-earthquakes\"", dataset_id);
        if let Some(id) = &id {
            table.rename(format!("[[dataset]] {id}"));
            ids.declare(id.clone(), "id", table.line_of("id"), &table);
        }
        datasets.extend(dataset(table, id, partners));
    }
    (ids, datasets)
}

fn dataset(mut table: Section<'_>, id: Option<DatasetId>, partners: &Partners) -> Option<Dataset> {
    let title = table.optional("title", words);
    let origin = table.required("origin", "\"JP\"", |value| country(text(value)?));
    let licence = table.required("licence", "\"CC-BY-4.0\"", words);
    let creator = table.optional("creator", words);
    let purposes = table.required_list("purposes", "[\"dpv:ScientificResearch\"]", |value| {
        parsed(text(value)?, "dpv:ScientificResearch")
    });
    if !table.has("tags") {
        table.missing("tags", "[\"privacy:none\", \"ip:open\", \"security:tlp-clear\"]");
    }
    let tags = table.list("tags", |value| parsed(text(value)?, "privacy:none, ip:open or security:tlp-clear"));
    let upstream = table.required("upstream", "\"http://127.0.0.1:9000/data\"", |value| Upstream::read(text(value)?));
    let accepts = table.filled_list("accepts", "\"pull\"", |value| {
        one_of(value, &["pull", "push"]).map(|word| if word == "pull" { Accept::Pull } else { Accept::Push })
    });
    let single_use = table.optional("single_use", boolean);
    let visible_to = visible_to(&mut table, partners);
    let columns = table.section("columns", "[dataset.columns]").texts();
    let facts = table.section("facts", "[dataset.facts]").facts(&DATASET_RESERVED, &DATASET_FACTS);
    table.finish();
    Some(Dataset {
        id: id?,
        title,
        origin: origin?,
        licence: licence?,
        creator,
        purposes: purposes?,
        tags: tags?,
        upstream: upstream?,
        accepts: accepts.unwrap_or_else(|| vec![Accept::Pull]),
        single_use: single_use.unwrap_or(false),
        visible_to,
        columns,
        facts,
    })
}

/// The partners that see a dataset; `None` for all of them.
fn visible_to(table: &mut Section<'_>, partners: &Partners) -> Option<Vec<PartyId>> {
    let texts = table.list("visible_to", |value| text(value).map(str::to_owned))?;
    if texts == ["*"] {
        return None;
    }
    let mut visible = Vec::with_capacity(texts.len());
    for text in texts {
        let line = table.line_of_element("visible_to", &text);
        match parsed::<PartyId>(&text, "wessex.example, or [\"*\"] alone for all partners") {
            Ok(id) => {
                partners.ids.expect(&id, "visible_to", line, table);
                visible.push(id);
            }
            Err(complaint) => table.report(line, format_args!("visible_to: {}", complaint.what), complaint.fix),
        }
    }
    Some(visible)
}

/// `[[agreement]]`, all of them.
pub(super) fn agreements(
    root: &mut Section<'_>,
    partners: &Partners,
    datasets: &Declared<DatasetId>,
) -> Vec<Agreement> {
    let tables = root.sections("agreement");
    let mut ids = Declared::new();
    let mut agreements = Vec::with_capacity(tables.len());
    for mut table in tables {
        let id = table.required("id", "\"AG-2026-07\"", identifier);
        if let Some(id) = &id {
            table.rename(format!("[[agreement]] {id}"));
            ids.declare(id.clone(), "id", table.line_of("id"), &table);
        }
        agreements.extend(agreement(table, id, partners, datasets));
    }
    agreements
}

fn agreement(
    mut table: Section<'_>,
    id: Option<String>,
    partners: &Partners,
    datasets: &Declared<DatasetId>,
) -> Option<Agreement> {
    let party = table.required("party", "\"wessex.example\"", party_id);
    if let Some(party) = &party {
        partners.ids.expect(party, "party", table.line_of("party"), &table);
    }
    let odrl = table.file("odrl", Content::Odrl);
    // An agreement in ODRL says itself what it covers and when; what stands beside it narrows it.
    let (covered, from, until) = if table.has("odrl") {
        let covered = table.filled_list("datasets", "[\"litho-process\"]", dataset_id);
        let from = table.optional("from", date).or_else(|| Some(Agreement::EVER.to_owned()));
        let until = table.optional("until", date).or_else(|| Some(Agreement::NEVER.to_owned()));
        (covered.or_else(|| Some(Vec::new())), from, until)
    } else {
        let covered = table.required_list("datasets", "[\"litho-process\"]", dataset_id);
        (covered, table.required("from", "\"2026-01-01\"", date), table.required("until", "\"2027-01-01\"", date))
    };
    for dataset in covered.iter().flatten() {
        datasets.expect(dataset, "datasets", table.line_of_element("datasets", dataset.as_str()), &table);
    }
    let purposes = table
        .filled_list("purposes", "[\"dfft:JointDevelopment\"]", |value| parsed(text(value)?, "dfft:JointDevelopment"));
    if let Some((from, until)) = from.as_ref().zip(until.as_ref())
        && from >= until
    {
        let what = format!("until: {until} is not after from, {from}");
        table.report(table.line_of("until"), what, "until is the first day on which the agreement no longer holds");
    }
    let mut recipient = Map::new();
    for key in ["need_to_know", "named"] {
        if let Some(fact) = table.optional(key, boolean) {
            recipient.insert(key.to_owned(), fact.into());
        }
    }
    let legal = table.section("legal", "[agreement.legal]").facts(&[], &LEGAL_FACTS);
    table.finish();
    Some(Agreement {
        id: id?,
        party: party?,
        odrl,
        datasets: covered?,
        purposes,
        from: from?,
        until: until?,
        recipient,
        legal,
    })
}
