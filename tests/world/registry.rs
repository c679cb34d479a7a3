//! What the two organisations hold and know: datasets, partners, agreements. The policy is the built-in one.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sekisho::authenticate::{Credentials, PartnerEntry, Signatures};
use sekisho::decide::{Agreement, Bundle, Dataset, Policy, PolicySet, Registry, read_agreement};
use sekisho::enforce::PseudonymKeys;
use sekisho::forward::Timeouts;
use sekisho::gateway::{DatasetSetup, Setup, Witnessing};
use sekisho::record::{InputConfig, InputStore, Log, LogConfig, Signer, SubjectConfig, SubjectStore};
use sekisho::shell::certs::Identity;
use sekisho::types::{Clock, Facts};
use serde_json::{Map, Value, json};

use super::{Upstream, party};

pub const KANSAI: &str = "kansai.example";
pub const WESSEX: &str = "wessex.example";
/// Far longer than a decision takes, so that a busy machine does not decide a test.
const BUDGET: Duration = Duration::from_secs(30);

/// A partner as it was vetted.
pub struct Vetted {
    pub id: &'static str,
    country: &'static str,
    kind: &'static str,
    membership: &'static str,
}

pub const WESSEX_AS_PARTNER: Vetted = active(WESSEX, "GB", "academia");
pub const KANSAI_AS_PARTNER: Vetted = active(KANSAI, "JP", "company");

/// Kansai's partners without a gateway.
pub const PARTNERS: [Vetted; 5] = [
    active("rhein.example", "DE", "academia"),
    active("chennai.example", "IN", "company"),
    active("sumida-health.example", "JP", "health_center"),
    active("taedong.example", "KP", "company"),
    Vetted { id: "lapsed.example", country: "GB", kind: "academia", membership: "ended" },
];

const fn active(id: &'static str, country: &'static str, kind: &'static str) -> Vetted {
    Vetted { id, country, kind, membership: "active" }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

impl Vetted {
    fn facts(&self) -> Map<String, Value> {
        object(json!({
            "country": self.country,
            "type": self.kind,
            "membership": self.membership,
            "framework": "IAP-FA:1.0",
        }))
    }
}

/// A partner's entry in a registry.
pub fn entry(vetted: &Vetted, identity: &Identity, endpoint: Option<SocketAddr>) -> PartnerEntry {
    PartnerEntry {
        id: party(vetted.id),
        endpoint: endpoint.map(|address| address.to_string()),
        names: vec![format!("spiffe://{}/gateway", vetted.id)],
        anchors: vec![der(&identity.authority.certificate_pem())],
        keys: serde_json::from_value(identity.jwks.clone()).unwrap(),
        facts: vetted.facts(),
        suspended: false,
        signatures: Signatures::default(),
        owed_at_most: 0,
    }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Kansai: holds the data of the story.
pub fn kansai(
    identity: &Identity,
    partners: Vec<PartnerEntry>,
    upstream: &Upstream,
    directory: &Path,
    clock: Arc<dyn Clock>,
) -> Setup {
    let open = json!({
        "origin": "US", "licence": "LicenseRef-US-PD",
        "purposes": ["dfft:DisasterResponse", "dpv:ScientificResearch"],
    });
    let open_tags = ["privacy:none", "ip:open", "security:tlp-clear"];
    let health = json!({
        "origin": "JP", "licence": "CC0-1.0",
        "purposes": ["dfft:StatutoryHealthNotification", "dpv:ScientificResearch"],
        "columns": {
            "subject_id": "person-id", "fake_first_name": "name", "fake_last_name": "name", "gender": "sex",
            "pan_day": "day", "test_id": "disease", "clinic_name": "facility", "result": "test-result", "age": "age",
        },
    });
    let qubits = json!({ "origin": "JP", "licence": "CC0-1.0", "purposes": ["dfft:JointDevelopment"] });
    let process = json!({
        "origin": "JP", "licence": "LicenseRef-proprietary", "purposes": ["dfft:JointDevelopment"],
    });
    let secret_tags = ["privacy:none", "ip:trade-secret", "security:tlp-amber", "security:controlled=3.1"];
    let health_tags = ["privacy:personal", "privacy:health", "ip:open", "security:tlp-green"];
    let datasets = vec![
        Held::new("usgs-earthquakes", &open_tags, &open),
        Held::new("stac-items", &open_tags, &open),
        Held::new("survey-items", &open_tags, &open),
        Held::new("survey-counts", &open_tags, &open),
        Held::new("covid-testing", &health_tags, &health),
        Held::new(
            "qubit-calibration",
            &["privacy:none", "ip:open", "security:tlp-clear", "security:emerging=7"],
            &qubits,
        ),
        Held::new("qubit-archive", &["privacy:none", "ip:open", "security:tlp-clear", "security:emerging=7"], &qubits),
        Held::new("litho-process", &secret_tags, &process),
        Held::new("untagged", &[], &open),
        Held { single_use: true, ..Held::new("once-only", &open_tags, &open) },
        Held { push: true, pull: false, ..Held::new("field-readings", &open_tags, &open) },
    ];
    let litho = agreement(
        "AG-LITHO",
        WESSEX,
        "litho-process",
        json!({ "need_to_know": true }),
        json!({
            "licence_type": "individual", "licence_id": "METI-2026-0042",
        }),
    );
    let notification =
        agreement("AG-IDA", "sumida-health.example", "covid-testing", json!({}), json!({ "statute": "JP-IDA-12-1-i" }));
    let agreements = vec![
        litho,
        notification,
        in_odrl("AG-ODRL", WESSEX, "survey-items", &research()),
        in_odrl("AG-ODRL-DE", "rhein.example", "survey-items", &research()),
        in_odrl(
            "AG-TWICE",
            WESSEX,
            "survey-counts",
            &json!({
                "permission": [{
                    "action": "use",
                    "constraint": [{ "leftOperand": "count", "operator": "lteq", "rightOperand": 2 }],
                }],
            }),
        ),
    ];
    setup(&KANSAI_AS_PARTNER, identity, partners, datasets, agreements, upstream, directory, clock)
}

/// Wessex: asks, and sends its field readings.
pub fn wessex(
    identity: &Identity,
    partners: Vec<PartnerEntry>,
    upstream: &Upstream,
    directory: &Path,
    clock: Arc<dyn Clock>,
) -> Setup {
    let facts =
        json!({ "origin": "GB", "licence": "CC0-1.0", "purposes": ["dfft:DisasterResponse", "dfft:JointDevelopment"] });
    let datasets = vec![
        Held::new("field-readings", &["privacy:none", "ip:open", "security:tlp-clear"], &facts),
        Held::new("process-notes", &["privacy:none", "ip:trade-secret", "security:tlp-clear"], &facts),
    ];
    setup(&WESSEX_AS_PARTNER, identity, partners, datasets, Vec::new(), upstream, directory, clock)
}

struct Held {
    id: &'static str,
    tags: Vec<String>,
    facts: Map<String, Value>,
    pull: bool,
    push: bool,
    single_use: bool,
}

impl Held {
    fn new(id: &'static str, tags: &[&str], facts: &Value) -> Self {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Self { id, tags, facts: object(facts.clone()), pull: true, push: false, single_use: false }
    }

    fn setup(self, upstream: &Upstream) -> DatasetSetup {
        let tags = self.tags.iter().map(|tag| tag.parse().unwrap()).collect();
        DatasetSetup {
            dataset: Dataset::new(self.id.parse().unwrap(), tags, self.facts),
            upstream: upstream.base(self.id),
            pull: self.pull,
            push: self.push,
            single_use: self.single_use,
        }
    }
}

fn agreement(id: &str, with: &str, dataset: &str, recipient: Value, legal: Value) -> Agreement {
    Agreement {
        id: id.to_owned(),
        party: party(with),
        datasets: vec![dataset.parse().unwrap()],
        purposes: Vec::new(),
        from: "2026-01-01".to_owned(),
        until: "2027-01-01".to_owned(),
        recipient: object(recipient),
        legal: Facts::new(object(legal)),
        terms: None,
    }
}

/// For research in two countries until the day ends, without the names of operators and without training.
fn research() -> Value {
    json!({
        "permission": [{
            "action": "use",
            "constraint": [
                { "leftOperand": "purpose", "operator": "eq", "rightOperand": "dpv:ScientificResearch" },
                { "leftOperand": "spatial", "operator": "isAnyOf", "rightOperand": ["GB", "JP"] },
                { "leftOperand": "dateTime", "operator": "lt", "rightOperand": "2026-11-22T00:00:00Z" },
            ],
            "duty": [
                { "action": "anonymize", "sekisho:columns": ["operator"] },
                { "action": "attribute", "attributedParty": "Kansai" },
            ],
        }],
        "prohibition": [{ "action": "tdm:mine" }],
    })
}

/// An agreement of Kansai's whose rules are in ODRL.
fn in_odrl(id: &str, with: &str, dataset: &str, rules: &Value) -> Agreement {
    let mut document = json!({
        "@context": [
            "http://www.w3.org/ns/odrl.jsonld",
            { "sekisho": "urn:sekisho:odrl:", "tdm": "http://www.w3.org/ns/tdmrep#" },
        ],
        "@type": "Agreement",
        "uid": format!("urn:sekisho:agreement:{id}"),
        "assigner": KANSAI,
        "assignee": with,
        "target": dataset,
    });
    document.as_object_mut().unwrap().extend(object(rules.clone()));
    let mut registry = Registry::new(party(KANSAI), Vec::new());
    registry.party(party(with), Vec::new());
    registry.dataset(dataset.parse().unwrap());
    let terms = read_agreement(id, &document.to_string(), &registry).unwrap();
    Agreement { terms: Some(Arc::new(terms)), ..agreement(id, with, dataset, json!({}), json!({})) }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one setup, each used once")]
fn setup(
    us: &Vetted,
    identity: &Identity,
    partners: Vec<PartnerEntry>,
    datasets: Vec<Held>,
    agreements: Vec<Agreement>,
    upstream: &Upstream,
    directory: &Path,
    clock: Arc<dyn Clock>,
) -> Setup {
    let signer = Signer::from_pkcs8(identity.log_key_pem.as_bytes()).unwrap();
    // A reserve for a full disk costs each of many logs a moment.
    let config = LogConfig { reserve: 0, ..LogConfig::new(directory.join("log"), format!("{}/log", us.id)) };
    let inputs = InputConfig { directory: directory.join("inputs"), retention_days: 400, bytes: 64 * 1024 * 1024 };
    let subjects = SubjectConfig { directory: directory.join("subjects"), retention_days: 400, bytes: 1024 * 1024 };
    let secret = identity.pseudonym_key_hex.trim();
    let secret: Vec<u8> =
        (0..secret.len()).step_by(2).map(|at| u8::from_str_radix(&secret[at..at + 2], 16).unwrap()).collect();
    Setup {
        us: party(us.id),
        our_facts: us.facts(),
        credentials: Credentials {
            chain: vec![der(&identity.gateway.certificate_pem)],
            key: PrivateKeyDer::from_pem_slice(identity.gateway.key_pem.as_bytes()).unwrap(),
        },
        admin_anchors: vec![der(&identity.authority.certificate_pem())],
        pass_key: identity.pass_key_pem.clone().into_bytes(),
        retired_keys: Vec::new(),
        pass_lifetime: Duration::from_secs(300),
        subject: "service:local".to_owned(),
        partners,
        datasets: datasets.into_iter().map(|held| held.setup(upstream)).collect(),
        agreements,
        policies: PolicySet::new(vec![Arc::new(Policy::compile(&Bundle::built_in().unwrap(), BUDGET).unwrap())])
            .unwrap(),
        log: Log::open(config, signer, Arc::clone(&clock)).unwrap(),
        inputs: Some(InputStore::open(inputs, Arc::clone(&clock)).unwrap()),
        subjects: Some(SubjectStore::open(subjects, Arc::clone(&clock)).unwrap()),
        pseudonyms: Some(PseudonymKeys::new("2026-test", &secret).unwrap()),
        exchanges: 64,
        timeouts: Timeouts::default(),
        clock,
        witnessing: Witnessing::default(),
    }
}
