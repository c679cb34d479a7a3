//! The ways in which one agreement is written, and offers that come back as agreements.

use serde_json::json;

use super::*;
use crate::types::{DatasetId, Tag};

#[test]
fn the_same_agreement_is_read_in_every_form() {
    let plain = text(&json!({
        "@context": [
            "https://w3id.org/dspace/2025/1/odrl-profile.jsonld",
            "https://w3id.org/catenax/2025/9/policy/context.jsonld",
        ],
        "@type": "Agreement", "@id": "urn:uuid:1", "assigner": "BPNL00000000KANS", "assignee": "BPNL00000000WESS",
        "target": "litho", "timestamp": "2026-01-01T00:00:00Z",
        "permission": [{"action": "use", "constraint": [{"and": [atom("Membership", "eq", json!("active"))]}]}],
    }));
    let connector = text(&json!({
        "@context": {
            "@vocab": "https://w3id.org/edc/v0.0.1/ns/",
            "odrl": "http://www.w3.org/ns/odrl/2/",
            "cx-policy": {"@id": "https://w3id.org/catenax/policy/"},
        },
        "@type": "odrl:Agreement", "@id": "urn:uuid:1",
        "odrl:assigner": {"@id": "did:web:kansai.example"}, "odrl:assignee": {"@id": "wessex.example"},
        "odrl:target": {"@id": "urn:sekisho:dataset:kansai.example:litho"},
        "odrl:permission": {
            "odrl:action": {"@id": "odrl:use"},
            "odrl:constraint": {
                "odrl:leftOperand": {"@id": "cx-policy:Membership"}, "odrl:operator": {"@id": "odrl:eq"},
                "odrl:rightOperand": {"@value": "active", "@type": "http://www.w3.org/2001/XMLSchema#string"},
            },
        },
    }));
    let full = text(&json!({
        "@context": {},
        "@type": "http://www.w3.org/ns/odrl/2/Agreement", "@id": "urn:uuid:1",
        "http://www.w3.org/ns/odrl/2/permission": [{
            "http://www.w3.org/ns/odrl/2/assigner": "kansai.example",
            "http://www.w3.org/ns/odrl/2/assignee": "wessex.example",
            "http://www.w3.org/ns/odrl/2/target": ["litho"],
            "http://www.w3.org/ns/odrl/2/action": "http://www.w3.org/ns/odrl/2/use",
            "http://www.w3.org/ns/odrl/2/constraint": [{
                "http://www.w3.org/ns/odrl/2/leftOperand": "https://w3id.org/catenax/policy/Membership",
                "http://www.w3.org/ns/odrl/2/operator": "http://www.w3.org/ns/odrl/2/eq",
                "http://www.w3.org/ns/odrl/2/rightOperand": "active",
            }],
        }],
    }));
    for text in [plain, connector, full] {
        let terms = read("AG-1", &text, &registry()).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let summary = terms.summary();
        assert_eq!((summary.uid.as_str(), summary.assignee.as_str()), ("urn:uuid:1", "wessex.example"));
        assert_eq!(terms.datasets(), ["litho".parse::<DatasetId>().unwrap()]);
        assert_eq!(summary.rules[0].when, "the recipient's membership is active");
        assert!(Asked::new().is_permitted(&terms));
        assert!(!Asked::new().without("membership").is_permitted(&terms));
    }
}

#[test]
fn an_agreement_made_from_our_own_offer_is_read_back() {
    let tags: Vec<Tag> =
        ["privacy:none", "ip:trade-secret", "ip:no-derivatives", "ip:tdm-reserved", "security:tlp-red"]
            .map(|tag| tag.parse().unwrap())
            .to_vec();
    let purposes = ["dpv:ScientificResearch".parse().unwrap(), "dpv-ai:ModelTraining".parse().unwrap()];
    let (us, dataset) = ("kansai.example".parse().unwrap(), "litho".parse().unwrap());
    let mut document = offer(&Offer {
        us: &us,
        dataset: &dataset,
        title: Some("Lithography"),
        purposes: &purposes,
        tags: &tags,
        licence: "CC-BY-4.0",
        creator: Some("Kansai Ltd."),
        membership: true,
        framework: Some("IAP-FA:1.0"),
    });
    assert_eq!(document["@type"], "Offer");
    let unsigned = findings(&text(&document));
    assert!(unsigned[0].what.contains("no odrl:Agreement"), "an offer binds: {unsigned:?}");

    document["@type"] = json!("Agreement");
    document["uid"] = json!("urn:uuid:2");
    document["assignee"] = json!("wessex.example");
    for permission in document["permission"].as_array_mut().unwrap() {
        let constraints = permission["constraint"].as_array_mut().unwrap();
        constraints.push(atom("dateTime", "lt", json!("2027-01-01T00:00:00Z")));
    }
    let terms = terms(&document);
    let weighed = Asked::new().under(&terms);
    assert!(weighed.reasons.is_empty(), "{:?}", weighed.reasons);
    let demanded: Vec<&str> = weighed.obligations.iter().map(|obligation| obligation.action.as_str()).collect();
    assert_eq!(demanded, ["attribute", "watermark", "no_onward_transfer"]);
    assert_eq!(weighed.obligations[0].parameters["creator"], "Kansai Ltd.");
    for forbidden in ["train", "derive", "publish"] {
        assert!(!Asked::new().action(forbidden).is_permitted(&terms), "{forbidden}");
    }
    assert!(!Asked::new().purpose("dpv:Marketing").is_permitted(&terms));
    assert!(!Asked::new().without("membership").is_permitted(&terms));
    assert!(!Asked::new().at(Timestamp::from_seconds(1_798_761_600)).is_permitted(&terms), "2027 has come");
}

#[test]
fn limits_hold_at_their_boundary() {
    let rules = |count: usize| with("/permission", json!(vec![json!({"action": "use"}); count]));
    assert_eq!(terms(&rules(MAX_RULES)).summary().rules.len(), MAX_RULES);
    assert!(findings(&text(&rules(MAX_RULES + 1)))[0].what.contains("more than 64 rules"));

    let country = || atom("spatial", "eq", json!("GB"));
    let constraints = |count: usize| constrained(json!(vec![country(); count]));
    assert!(Asked::new().is_permitted(&terms(&constraints(MAX_CONSTRAINTS))));
    assert!(findings(&text(&constraints(MAX_CONSTRAINTS + 1)))[0].what.contains("more than 256 constraints"));

    let values = |count: usize| constrained(atom("spatial", "isAnyOf", json!(vec!["GB"; count])));
    assert!(Asked::new().is_permitted(&terms(&values(MAX_VALUES))));
    for count in [0, MAX_VALUES + 1] {
        assert!(findings(&text(&values(count)))[0].what.contains(&format!("lists {count} values")));
    }

    let logic = |depth: usize| (0..depth).fold(country(), |inner, _| json!({"and": [inner]}));
    assert!(Asked::new().is_permitted(&terms(&constrained(logic(MAX_LOGIC)))));
    assert!(findings(&text(&constrained(logic(MAX_LOGIC + 1))))[0].what.contains("nested deeper than 4"));

    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(findings(&nested(MAX_DEPTH + 1))[0].what.contains("is a list"), "as deep as it may be");
    assert!(findings(&nested(MAX_DEPTH + 2))[0].what.contains("nested deeper than 32"));
    assert!(findings(&nested(100_000))[0].what.contains("nested deeper than 32"), "the stack holds");

    let long = |bytes: usize| {
        let text = text(&agreement());
        format!("{text}{}", " ".repeat(bytes - text.len()))
    };
    assert!(read("AG-1", &long(MAX_DOCUMENT), &registry()).is_ok());
    assert!(findings(&long(MAX_DOCUMENT + 1))[0].what.contains("longer than"));

    let wrong = with("/permission", json!(vec![json!({"action": "odrl:play"}); MAX_RULES]));
    assert_eq!(findings(&text(&wrong)).len(), MAX_FINDINGS);
}
