//! What a term does: operands by operators at their boundaries, logic, counts, prohibitions, duties.

use serde_json::{Value, json};

use super::*;
use crate::types::Timestamp;

#[test]
fn every_operand_holds_with_every_operator_that_it_takes() {
    let research = "dpv:ScientificResearch";
    for (operand, operator, value, holds) in [
        ("purpose", "eq", json!(research), true),
        ("purpose", "eq", json!({"@id": "https://w3id.org/dpv#ScientificResearch"}), true),
        ("purpose", "eq", json!("dpv:AcademicResearch"), false),
        ("purpose", "neq", json!("dpv:AcademicResearch"), true),
        ("purpose", "neq", json!(research), false),
        ("purpose", "isAnyOf", json!(["dpv:Marketing", research]), true),
        ("purpose", "isAnyOf", json!(["dpv:Marketing", "dfft:PatentFiling"]), false),
        ("purpose", "isNoneOf", json!(["dpv:Marketing", research]), false),
        ("purpose", "isNoneOf", json!(["dpv:Marketing"]), true),
        ("purpose", "isAllOf", json!([research]), true),
        ("purpose", "isA", json!("dpv:ResearchAndDevelopment"), true),
        ("purpose", "isPartOf", json!("dpv:PublicBenefit"), false),
        ("UsagePurpose", "eq", json!("cx.puris.base:1"), false),
        ("idsc:PURPOSE", "idsc:EQ", json!(research), true),
        ("spatial", "eq", json!("GB"), true),
        ("spatial", "eq", json!("JP"), false),
        ("spatial", "neq", json!("CN"), true),
        ("spatial", "isAnyOf", json!(["JP", "GB"]), true),
        ("spatial", "isNoneOf", json!(["JP", "GB"]), false),
        ("spatial", "isPartOf", json!(["JP", "GB"]), true),
        ("JurisdictionLocation", "eq", json!("GB"), true),
        ("JurisdictionLocation", "eq", json!("DE"), false),
        ("recipient", "eq", json!("wessex.example"), true),
        ("recipient", "neq", json!("did:web:wessex.example"), false),
        ("BusinessPartnerNumber", "isAnyOf", json!(["BPNL00000000WESS"]), true),
        ("recipient", "isNoneOf", json!(["rhein.example"]), true),
        ("Membership", "eq", json!("active"), true),
        ("Membership", "neq", json!("ended"), true),
        ("Membership", "eq", json!("suspended"), false),
        ("FrameworkAgreement", "eq", json!("DataExchangeGovernance:1.0"), true),
        ("FrameworkAgreement", "eq", json!("DataExchangeGovernance:1.1"), false),
        ("FrameworkAgreement", "isAllOf", json!(["DataExchangeGovernance:1.0", "IAP-FA:1.0"]), true),
        ("FrameworkAgreement", "isAllOf", json!(["DataExchangeGovernance:1.0", "Traceability:1.0"]), false),
        ("FrameworkAgreement", "isNoneOf", json!(["Traceability:1.0"]), true),
        ("FrameworkAgreement", "neq", json!("IAP-FA:1.0"), false),
    ] {
        let case = atom(operand, operator, value);
        assert_eq!(Asked::new().is_permitted(&terms(&constrained(case.clone()))), holds, "{case}");
    }
    let puris = terms(&constrained(atom("UsagePurpose", "eq", json!("cx.puris.base:1"))));
    assert!(Asked::new().purpose("dfft:SupplyChainResilience").is_permitted(&puris));
}

#[test]
fn times_bound_to_the_millisecond_and_a_date_is_a_day_long() {
    let millis = |at: &str| match at {
        "before" => 1_796_083_199_999,
        "start" => 1_796_083_200_000,
        "end" => 1_796_169_599_999,
        _ => 1_796_169_600_000,
    };
    assert_eq!(Timestamp::from_millis(millis("start")).to_string(), "2026-12-01T00:00:00Z");
    let date = json!({"@value": "2026-12-01", "@type": "xsd:date"});
    let time = json!("2026-12-01T01:00:00+01:00");
    for (operator, value, expected) in [
        ("lt", &date, [true, false, false, false]),
        ("lteq", &date, [true, true, true, false]),
        ("eq", &date, [false, true, true, false]),
        ("neq", &date, [true, false, false, true]),
        ("gteq", &date, [false, true, true, true]),
        ("gt", &date, [false, false, false, true]),
        ("lt", &time, [true, false, false, false]),
        ("lteq", &time, [true, true, false, false]),
        ("eq", &time, [false, true, false, false]),
        ("gteq", &time, [false, true, true, true]),
        ("gt", &time, [false, false, true, true]),
    ] {
        let terms = terms(&constrained(atom("dateTime", operator, value.clone())));
        let found = ["before", "start", "end", "after"]
            .map(|at| Asked::new().at(Timestamp::from_millis(millis(at))).is_permitted(&terms));
        assert_eq!(found, expected, "{operator} {value}");
    }
}

#[test]
fn the_end_of_provision_bounds_every_permission() {
    let end = |constraint: Value, concluded: Option<&str>| {
        let mut document = with("/obligation", json!([{"action": "use", "constraint": [{"and": [constraint]}]}]));
        if let Some(concluded) = concluded {
            document["dct:issued"] = json!(concluded);
        }
        terms(&document)
    };
    let date = end(atom("DataProvisioningEndDate", "eq", json!("2026-11-21T09:00:00Z")), None);
    let days = end(atom("DataProvisioningEndDurationDays", "eq", json!(10)), Some("2026-11-11T09:00:00Z"));
    for terms in [date, days] {
        assert!(Asked::new().is_permitted(&terms));
        let late = Asked::new().at(Timestamp::from_millis(NOW * 1000 + 1));
        assert_eq!(late.rules(&terms), ["ODRL:AG-1#1"]);
    }
}

#[test]
fn what_is_not_known_never_helps_the_recipient() {
    for (operand, fact, value) in
        [("spatial", "country", "CN"), ("Membership", "membership", "ended"), ("spatial", "country", "GB")]
    {
        for operator in ["eq", "neq", "isAnyOf", "isNoneOf"] {
            let permission = terms(&constrained(atom(operand, operator, json!(value))));
            assert!(!Asked::new().without(fact).is_permitted(&permission), "{operand} {operator} permits");
            let prohibition = json!([{"action": "tdm:mine", "constraint": [atom(operand, operator, json!(value))]}]);
            let prohibition = terms(&with("/prohibition", prohibition));
            let asked = Asked::new().action("train").without(fact);
            assert!(!asked.is_permitted(&prohibition), "a prohibition is escaped by {operand} {operator}");
        }
    }
}

#[test]
fn logic_combines_true_false_and_unknown() {
    let yes = atom("purpose", "eq", json!("dpv:ScientificResearch"));
    let no = atom("purpose", "eq", json!("dpv:DirectMarketing"));
    let unknown = atom("spatial", "eq", json!("GB"));
    for (word, parts, holds) in [
        ("and", vec![&yes, &yes], true),
        ("and", vec![&yes, &no], false),
        ("and", vec![&yes, &unknown], false),
        ("or", vec![&no, &yes], true),
        ("or", vec![&no, &no], false),
        ("or", vec![&unknown, &yes], true),
        ("or", vec![&no, &unknown], false),
        ("xone", vec![&yes, &no], true),
        ("xone", vec![&yes, &yes], false),
        ("xone", vec![&no, &no], false),
        ("xone", vec![&yes, &unknown], false),
        ("xone", vec![&yes, &yes, &unknown], false),
    ] {
        let document = constrained(json!({word: parts}));
        assert_eq!(Asked::new().without("country").is_permitted(&terms(&document)), holds, "{document:#}");
    }
    let nested = constrained(json!({"and": {"@list": [yes, {"or": [no, {"xone": [unknown]}]}]}}));
    assert!(Asked::new().is_permitted(&terms(&nested)));
    assert!(!Asked::new().without("country").is_permitted(&terms(&nested)));
}

#[test]
fn uses_are_counted_when_they_are_on_record_and_given_back_when_not() {
    for (operator, value, uses) in [("lteq", 2, 2), ("lt", 3, 2), ("lteq", 0, 0)] {
        let terms = terms(&constrained(atom("count", operator, json!(value))));
        assert!(terms.counts());
        // A permit that never came into the log's queue is no use.
        drop(Asked::new().under(&terms));
        for _ in 0..uses {
            let weighed = Asked::new().under(&terms);
            assert!(weighed.reasons.is_empty(), "{operator} {value}");
            weighed.taken.unwrap().recorded();
        }
        assert_eq!(Asked::new().rules(&terms), ["ODRL:AG-1#1"], "{operator} {value}");
    }
    let prohibition = json!([{"action": "sekisho:transfer", "constraint": [atom("count", "gt", json!(1))]}]);
    let terms = terms(&with("/prohibition", prohibition));
    let first = Asked::new().under(&terms);
    assert!(first.reasons.is_empty());
    // The last use is taken while the first exchange is still on its way.
    assert_eq!(Asked::new().rules(&terms), ["ODRL:AG-1#2"]);
    drop(first);
    assert!(Asked::new().is_permitted(&terms));
    // What stood in the log when the gateway started counts; of another dataset or action it does not.
    terms.count_recorded(&"open".parse().unwrap(), "transfer");
    terms.count_recorded(&"litho".parse().unwrap(), "read");
    assert!(Asked::new().is_permitted(&terms));
    terms.count_recorded(&"litho".parse().unwrap(), "transfer");
    assert!(!Asked::new().is_permitted(&terms));
}

#[test]
fn the_last_use_goes_to_one_of_many_at_once() {
    let terms = terms(&constrained(atom("count", "lteq", json!(3))));
    let permitted: usize = std::thread::scope(|scope| {
        let ask = || {
            let weighed = Asked::new().under(&terms);
            weighed.taken.iter().for_each(Use::recorded);
            usize::from(weighed.reasons.is_empty())
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(permitted, 3);
}

#[test]
fn an_action_is_permitted_narrowly_and_forbidden_widely() {
    let all = ["read", "transfer", "train", "derive", "publish", "file_abroad", "something-else"];
    for (action, permitted, left) in [
        ("use", vec!["read", "transfer", "train", "derive"], vec![]),
        ("distribute", vec!["read", "transfer"], vec!["read", "transfer", "train", "derive"]),
        ("derive", vec!["derive"], vec!["read", "transfer"]),
        ("aggregate", vec!["derive"], vec!["read", "transfer", "train"]),
        ("tdm:mine", vec!["train"], vec!["read", "transfer", "derive"]),
        ("sekisho:publish", vec!["publish"], vec!["read", "transfer", "train", "derive"]),
    ] {
        let only = terms(&with("/permission/0/action", json!(action)));
        let allowed = |terms: &Terms| -> Vec<&str> {
            all.into_iter().filter(|action| Asked::new().action(action).is_permitted(terms)).collect()
        };
        assert_eq!(allowed(&only), permitted, "{action}");
        let mut document = with("/prohibition", json!([{"action": action}]));
        document["conflict"] = json!("prohibit");
        assert_eq!(allowed(&terms(&document)), left, "but not {action}");
    }
    let terms = terms(&agreement());
    assert_eq!(Asked::new().action("publish").rules(&terms), ["ODRL:AG-1"]);
    assert_eq!(Asked::new().of("open").rules(&terms), ["ODRL:AG-1"]);
    assert_eq!(Asked::new().by("rhein.example").rules(&terms), ["ODRL:AG-1"]);
}

#[test]
fn duties_become_obligations_that_name_their_rule() {
    let delay = |value: &str| json!([atom("delayPeriod", "lteq", json!(value))]);
    for (duty, expected) in [
        (json!({"action": "attribute", "attributedParty": "Kansai"}), json!({"do": "attribute", "creator": "Kansai"})),
        (
            json!({"action": "inform", "informedParty": "dpo@kansai.example"}),
            json!({"do": "notify", "party": "dpo@kansai.example"}),
        ),
        (json!({"action": "delete", "constraint": delay("P30D")}), json!({"do": "delete_after_days", "days": 30})),
        (json!({"action": "delete", "constraint": delay("P2W")}), json!({"do": "delete_after_days", "days": 14})),
        (
            json!({"action": "anonymize", "sekisho:columns": ["name", "age"]}),
            json!({"do": "redact", "fields": ["name", "age"]}),
        ),
        (json!({"action": "watermark"}), json!({"do": "watermark"})),
    ] {
        for (pointer, number) in [("/permission/0/duty", 1), ("/obligation", 2)] {
            let terms = terms(&with(pointer, json!([duty])));
            let mut expected = expected.clone();
            expected["rule"] = json!(format!("ODRL:AG-1#{number}"));
            let weighed = Asked::new().under(&terms);
            assert_eq!(json!(weighed.obligations), json!([expected]), "{duty}");
            assert!(weighed.reasons.is_empty());
        }
    }
    let handing_on = terms(&with("/prohibition", json!([{"action": "distribute"}])));
    assert_eq!(json!(Asked::new().under(&handing_on).obligations[0].action), "no_onward_transfer");
}

#[test]
fn of_several_permissions_one_is_enough_and_each_that_fails_says_why() {
    let permission = |purpose: &str, country: &str| {
        json!({
            "action": "use",
            "constraint": [atom("purpose", "eq", json!(purpose)), atom("spatial", "eq", json!(country))],
        })
    };
    let permissions = json!([permission("dpv:ScientificResearch", "GB"), permission("dfft:JointDevelopment", "GB")]);
    let terms = terms(&with("/permission", permissions));
    assert!(Asked::new().is_permitted(&terms));
    let weighed = Asked::new().purpose("dpv:Marketing").under(&terms);
    let told: Vec<_> = weighed.reasons.iter().map(|reason| (reason.rule.as_str(), reason.why.as_str())).collect();
    assert_eq!(
        told,
        [
            ("ODRL:AG-1#1", "The agreement permits this only when the purpose is dpv:ScientificResearch."),
            ("ODRL:AG-1#2", "The agreement permits this only when the purpose is dfft:JointDevelopment."),
        ]
    );
}

#[test]
fn what_takes_a_purpose_away_takes_what_lies_within_it() {
    let advertising = "dpv:TargetedAdvertising";
    for (operator, value) in
        [("eq", json!("dpv:Marketing")), ("isAnyOf", json!(["dpv:Marketing"])), ("isA", json!("dpv:Marketing"))]
    {
        let terms = terms(&forbidden(atom("purpose", operator, value)));
        for purpose in ["dpv:Marketing", "dpv:Advertising", advertising, "dpv:NotInTheVocabulary", "dpv:Purpose"] {
            assert_eq!(Asked::new().purpose(purpose).rules(&terms), ["ODRL:AG-1#2"], "{operator} {purpose}");
        }
        assert!(Asked::new().is_permitted(&terms), "{operator}");
    }
    for (operator, value) in [("neq", json!("dpv:Marketing")), ("isNoneOf", json!(["dpv:Marketing"]))] {
        let terms = terms(&constrained(json!([atom("purpose", operator, value)])));
        for purpose in ["dpv:Marketing", advertising, "dpv:NotInTheVocabulary"] {
            assert!(!Asked::new().purpose(purpose).is_permitted(&terms), "{operator} {purpose}");
        }
        assert!(Asked::new().is_permitted(&terms), "{operator}");
    }
    // All but research is forbidden: research by that name is left, and no more.
    let terms = terms(&forbidden(atom("purpose", "neq", json!("dpv:ResearchAndDevelopment"))));
    assert!(Asked::new().purpose("dpv:ResearchAndDevelopment").is_permitted(&terms));
    assert!(!Asked::new().is_permitted(&terms));
}

#[test]
fn what_gives_a_purpose_gives_it_alone_unless_it_says_more() {
    let exact = terms(&constrained(json!([atom("purpose", "eq", json!("dpv:Marketing"))])));
    assert!(Asked::new().purpose("dpv:Marketing").is_permitted(&exact));
    assert!(!Asked::new().purpose("dpv:Advertising").is_permitted(&exact));
    let wide = terms(&constrained(json!([atom("purpose", "isA", json!("dpv:Marketing"))])));
    assert!(Asked::new().purpose("dpv:TargetedAdvertising").is_permitted(&wide));
    assert!(!Asked::new().purpose("dpv:NotInTheVocabulary").is_permitted(&wide));
    let own = terms(&constrained(json!([atom("purpose", "eq", json!("dfft:OfTheirOwn"))])));
    assert!(Asked::new().purpose("dfft:OfTheirOwn").is_permitted(&own));
}
