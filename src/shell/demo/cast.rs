//! Who takes part, and what the provider offers to whom: the demo's configurations, written as an operator would.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// A party of the story, as its partners vetted it.
pub(super) struct Party {
    pub(super) id: &'static str,
    pub(super) country: &'static str,
    pub(super) kind: &'static str,
}

/// The data commons of Kansai: the provider of most of the story.
pub(super) const KANSAI: Party = Party { id: "kansai.example", country: "JP", kind: "public" };
/// A university in England.
pub(super) const WESSEX: Party = Party { id: "wessex.example", country: "GB", kind: "academia" };
/// A laboratory in India, outside the Group A countries of export control.
pub(super) const BENGALURU: Party = Party { id: "bengaluru.example", country: "IN", kind: "academia" };
/// A health centre in Japan, without a gateway.
pub(super) const OSAKA: Party = Party { id: "osaka-health.example", country: "JP", kind: "health_center" };
/// A research institute in Germany, without a gateway.
pub(super) const RHINE: Party = Party { id: "rhine.example", country: "DE", kind: "academia" };
/// A partner in a country on the demonstration list of sanctions, without a gateway.
pub(super) const HARBOUR: Party = Party { id: "closed-harbour.example", country: "KP", kind: "public" };

/// Everyone.
pub(super) const CAST: [&Party; 6] = [&KANSAI, &WESSEX, &BENGALURU, &OSAKA, &RHINE, &HARBOUR];

/// Addresses of one organisation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) partner: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) data: SocketAddr,
}

/// Another organisation with a gateway, as its partners know it.
#[derive(Clone)]
pub(super) struct Known {
    /// Where it listens.
    pub(super) endpoint: SocketAddr,
    /// What signs its log.
    pub(super) log_key: String,
    /// What it cosigns others' with.
    pub(super) witness_key: String,
}

/// The configuration file of one organisation with a gateway. `known` tells of the others that have one.
pub(super) fn configuration(us: &Party, at: &Addresses, known: impl Fn(&Party) -> Option<Known>) -> String {
    let mut text = String::new();
    let Addresses { partner, local, admin, data } = at;
    let Party { id, country, kind, .. } = us;
    let others = CAST.iter().filter(|party| party.id != us.id && known(party).is_some());
    let witnesses = others.map(|party| format!("\"{}\"", party.id)).collect::<Vec<_>>().join(", ");
    // Writing to a String does not fail.
    let _ = write!(
        text,
        r#"# Written by `sekisho demo`. Every key is explained in the reference configuration.

[party]
id = "{id}"
country = "{country}"
type = "{kind}"
membership = "active"
framework = "IAP-FA:1.0"

[listen]
partner = "{partner}"
local = "{local}"
admin = "{admin}"

[tls]
certificate = "gateway.pem"
key = "gateway.key"

[admin]
anchors = "ca.pem"

[passes]
key = "pass.key"

[record]
directory = "log"
key = "log.key"

[pseudonyms]
key = "pseudonym.key"
id = "2026-a"

[state]
directory = "state"

[witness]
key = "witness.key"
partners = [{witnesses}]
quorum = 1
"#
    );
    for party in CAST.iter().filter(|party| party.id != us.id) {
        let Party { id, country, kind, .. } = party;
        let gateway = |Known { endpoint, log_key, witness_key }| {
            format!("endpoint = \"{endpoint}\"\nlog_key = \"{log_key}\"\nwitness_key = \"{witness_key}\"\n")
        };
        let gateway = known(party).map(gateway).unwrap_or_default();
        let _ = write!(
            text,
            r#"
[[partner]]
id = "{id}"
{gateway}anchors = "../{id}/ca.pem"
jwks = "../{id}/jwks.json"
country = "{country}"
type = "{kind}"
membership = "active"
framework = "IAP-FA:1.0"
"#
        );
    }
    let base = format!("http://{data}");
    text.push_str(&match us.id {
        "kansai.example" => KANSAI_OFFERS.replace("{base}", &base),
        "wessex.example" => WESSEX_OFFERS.replace("{base}", &base),
        _ => String::new(),
    });
    text
}

/// What Kansai offers, and the papers it holds.
const KANSAI_OFFERS: &str = r#"
[[dataset]]
id = "usgs-earthquakes"
title = "USGS earthquakes, one week of February 2018"
origin = "US"
licence = "LicenseRef-US-public-domain"
creator = "U.S. Geological Survey"
purposes = ["dfft:DisasterResponse", "dpv:ScientificResearch"]
tags = ["privacy:none", "ip:open", "security:tlp-clear"]
upstream = "{base}/usgs-earthquakes"

[[dataset]]
id = "usgs-earthquakes-once"
title = "The same, for passes that are shown once"
origin = "US"
licence = "LicenseRef-US-public-domain"
creator = "U.S. Geological Survey"
purposes = ["dfft:DisasterResponse"]
tags = ["privacy:none", "ip:open", "security:tlp-clear"]
upstream = "{base}/usgs-earthquakes"
single_use = true

[[dataset]]
id = "covid-case-reports"
title = "COVID-19 test records, 2020"
origin = "JP"
licence = "MIT"
creator = "medicaldata"
purposes = ["dfft:StatutoryHealthNotification", "dpv:AcademicResearch"]
tags = ["privacy:special", "privacy:health", "ip:licensed", "security:tlp-amber"]
upstream = "{base}/covid-case-reports"
[dataset.columns]
subject_id = "person-id"
fake_first_name = "name"
fake_last_name = "name"
gender = "sex"
age = "age"
pan_day = "day"
test_id = "disease"
result = "test-result"
clinic_name = "facility"
[dataset.facts]
subjects = 15524
retention_days = 180

[[dataset]]
id = "qpu-calibration"
title = "Calibration of a 127-qubit processor"
origin = "JP"
licence = "Apache-2.0"
creator = "Qiskit"
purposes = ["dpv:ScientificResearch", "dfft:JointDevelopment"]
tags = ["privacy:none", "ip:open", "security:tlp-green", "security:emerging=7"]
upstream = "{base}/qpu-calibration"

[[dataset]]
id = "litho-process"
title = "Lithography process table (synthetic)"
origin = "JP"
licence = "LicenseRef-proprietary"
purposes = ["dfft:JointDevelopment"]
tags = ["privacy:none", "ip:trade-secret", "security:controlled=7", "security:emerging=4", "security:tlp-amber"]
upstream = "{base}/litho-process"

[[dataset]]
id = "field-notes"
title = "A dataset that nobody has tagged yet"
origin = "JP"
licence = "LicenseRef-internal"
purposes = ["dfft:DisasterResponse"]
tags = []
upstream = "{base}/usgs-earthquakes"

[[dataset]]
id = "sensor-stream"
title = "A long stream of sensor readings (synthetic)"
origin = "JP"
licence = "CC0-1.0"
purposes = ["dfft:DisasterResponse"]
tags = ["privacy:none", "ip:open", "security:tlp-clear"]
upstream = "{base}/stream"

[[dataset]]
id = "flood-extent"
title = "Inbox for satellite scenes of a flood"
origin = "GB"
licence = "LicenseRef-US-public-domain"
purposes = ["dfft:DisasterResponse"]
tags = ["privacy:none", "ip:open", "security:tlp-clear"]
upstream = "{base}/inbox/flood-extent"
accepts = ["push"]

[[agreement]]
id = "NOTIFY-12"
party = "osaka-health.example"
datasets = ["covid-case-reports"]
purposes = ["dfft:StatutoryHealthNotification"]
from = "2026-01-01"
until = "2100-01-01"
need_to_know = true
[agreement.legal]
statute = "JP-IDA-12-1-i"

[[agreement]]
id = "RESEARCH-GB"
party = "wessex.example"
datasets = ["covid-case-reports"]
purposes = ["dpv:AcademicResearch"]
from = "2026-01-01"
until = "2100-01-01"
need_to_know = true

[[agreement]]
id = "RESEARCH-DE"
party = "rhine.example"
datasets = ["covid-case-reports"]
purposes = ["dpv:AcademicResearch"]
from = "2026-01-01"
until = "2100-01-01"
need_to_know = true

[[agreement]]
id = "LITHO-DE"
party = "rhine.example"
datasets = ["litho-process"]
purposes = ["dfft:JointDevelopment"]
from = "2026-01-01"
until = "2100-01-01"
need_to_know = true
[agreement.legal]
licence_type = "general_bulk"
licence_id = "GB-2026-9"
"#;

/// What Wessex offers, and what it may send.
const WESSEX_OFFERS: &str = r#"
[[dataset]]
id = "landsat-stac"
title = "Four Landsat scenes (STAC items)"
origin = "US"
licence = "LicenseRef-US-public-domain"
creator = "U.S. Geological Survey"
purposes = ["dfft:DisasterResponse", "dpv:ScientificResearch"]
tags = ["privacy:none", "ip:open", "security:tlp-clear", "security:eo=optical"]
upstream = "{base}/landsat-stac"
[dataset.facts]
gsd_m = 30

[[dataset]]
id = "sentinel-stac"
title = "Four Sentinel-2 scenes (STAC items)"
origin = "GB"
licence = "LicenseRef-Copernicus-Sentinel"
creator = "Copernicus Sentinel data"
purposes = ["dfft:DisasterResponse", "dpv:ScientificResearch"]
tags = ["privacy:none", "ip:open", "security:tlp-clear", "security:eo=optical"]
upstream = "{base}/sentinel-stac"
[dataset.facts]
gsd_m = 10

[[dataset]]
id = "flood-extent"
title = "Satellite scenes of a flood, for Kansai"
origin = "GB"
licence = "LicenseRef-US-public-domain"
purposes = ["dfft:DisasterResponse"]
tags = ["privacy:none", "ip:open", "security:tlp-clear"]
upstream = "{base}/landsat-stac"
"#;
