//! Everything that would not be enforced refuses the agreement, on the line where it stands.

use serde_json::{Value, json};

use super::*;

/// The one finding of a document says these words, and its line holds these.
fn check(document: &Value, line: &str, words: &str) {
    let text = text(document);
    let findings = findings(&text);
    assert_eq!(findings.len(), 1, "{findings:#?}\n{text}");
    assert!(findings[0].what.contains(words), "expected {words:?}: {findings:#?}");
    assert!(findings[0].fix.len() > 4, "{findings:#?}");
    let found = text.lines().nth(findings[0].line - 1).unwrap_or_default();
    assert!(found.contains(line), "line {} is {found:?} and not {line:?}", findings[0].line);
}

#[test]
fn what_is_not_enforced_refuses_the_constraint() {
    for (operand, operator, value, line, words) in [
        ("industry", "eq", json!("x"), "{", "operand odrl:industry is not enforced"),
        ("elapsedTime", "lteq", json!("P30D"), "{", "operand odrl:elapsedTime is not enforced"),
        ("UsageRestriction", "eq", json!("cx.thirdParty.forbidden:1"), "{", "cx-policy:UsageRestriction is not"),
        ("ContractReference", "eq", json!("X"), "{", "cx-policy:ContractReference is not enforced"),
        ("idsc:SECURITY_LEVEL", "eq", json!("X"), "{", "idsc:SECURITY_LEVEL is not enforced"),
        ("unknown:Thing", "eq", json!("X"), "unknown:Thing", "means nothing"),
        ("purpose", "hasPart", json!("dpv:Marketing"), "hasPart", "operator odrl:hasPart is not enforced"),
        ("purpose", "lt", json!("dpv:Marketing"), "{", "odrl:purpose is not enforced with odrl:lt"),
        ("purpose", "isAllOf", json!(["dpv:Marketing", "dpv:PublicBenefit"]), "{", "and several values"),
        ("purpose", "eq", json!(["dpv:Marketing", "dpv:PublicBenefit"]), "{", "and several values"),
        ("UsagePurpose", "eq", json!("cx.pcf.base:1"), "cx.pcf.base", "no purpose that a request"),
        ("purpose", "isAnyOf", json!(["dpv:Marketing", "cx.pcf.base:1"]), "cx.pcf.base", "no purpose that a request"),
        ("purpose", "isA", json!("dpv:Purpose"), "dpv:Purpose", "not known which purposes lie within"),
        ("purpose", "isPartOf", json!("dfft:Other"), "dfft:Other", "not known which purposes lie within"),
        ("purpose", "neq", json!("dpv:Other"), "dpv:Other", "not known which purposes lie within"),
        ("purpose", "isNoneOf", json!(["dpv:Marketing", "dpv:Other"]), "dpv:Other", "not known which purposes lie"),
        ("spatial", "eq", json!("Berlin"), "Berlin", "no country code"),
        ("spatial", "isPartOf", json!("EU-27"), "EU-27", "no country code"),
        ("spatial", "gt", json!("GB"), "{", "odrl:spatial is not enforced with odrl:gt"),
        ("Membership", "eq", json!("gold"), "gold", "no state of a membership"),
        ("Membership", "isA", json!("active"), "{", "is not enforced with odrl:isA"),
        ("FrameworkAgreement", "eq", json!("a b"), "a b", "no framework agreement"),
        ("recipient", "eq", json!("stranger.example"), "stranger", "no party of the registry"),
        ("count", "eq", json!(5), "{", "odrl:count is not enforced with odrl:eq here"),
        ("count", "gteq", json!(5), "{", "odrl:count is not enforced with odrl:gteq here"),
        ("count", "lteq", json!(-1), "-1", "no"),
        ("count", "lteq", json!(1.5), "1.5", "not a whole number"),
        ("count", "lteq", json!(9_007_199_254_740_992_u64), "9007", "not a whole number"),
        ("count", "isAnyOf", json!([1, 2]), "{", "is not enforced with odrl:isAnyOf"),
        ("dateTime", "lt", json!("2026-02-30"), "2026-02-30", "no date"),
        ("dateTime", "lt", json!("2026-02-03T10:00:00"), "2026-02-03T", "no time with its zone"),
        ("dateTime", "lt", json!("1969-12-31"), "1969", "no date"),
        ("dateTime", "lt", json!("tomorrow"), "tomorrow", "no date"),
        ("dateTime", "lt", json!(20_260_101), "20260101", "no date"),
        ("dateTime", "lt", json!({"@value": "2026-02-03T10:00:00Z", "@type": "xsd:date"}), "{", "no date"),
        ("dateTime", "isAnyOf", json!(["2026-01-01"]), "{", "is not enforced with odrl:isAnyOf"),
        ("dateTime", "lt", json!(["2026-01-01", "2026-01-02"]), "{", "several values"),
        ("DataProvisioningEndDurationDays", "eq", json!(5), "5", "does not say when"),
        ("DataProvisioningEndDate", "lteq", json!("2026-01-01"), "{", "is not enforced with odrl:lteq"),
        ("purpose", "eq", json!(true), "true", "the value is true or false"),
        ("purpose", "eq", Value::Null, "null", "the value is null"),
    ] {
        check(&constrained(json!([atom(operand, operator, value)])), line, words);
    }
    for (constraint, words) in [
        (json!({"andSequence": [atom("spatial", "eq", json!("GB"))]}), "odrl:andSequence is not enforced"),
        (json!({"or": []}), "odrl:or holds no constraint"),
        (
            json!({"or": [atom("spatial", "eq", json!("GB"))], "and": [atom("spatial", "eq", json!("GB"))]}),
            "of the constraint is not enforced",
        ),
        (json!({"leftOperand": "spatial", "operator": "eq"}), "has no odrl:rightOperand"),
        (json!({"leftOperand": "spatial", "rightOperand": "GB"}), "has no odrl:operator"),
        (json!("urn:uuid:constraint"), "the constraint is a text"),
    ] {
        check(&constrained(constraint), "", words);
    }
    let mut unit = atom("count", "lteq", json!(5));
    unit["unit"] = json!("http://dbpedia.org/resource/Euro");
    check(&constrained(unit), "Euro", "odrl:unit of the constraint is not enforced");
}

#[test]
fn what_is_not_enforced_refuses_the_rule() {
    let use_it = || json!({"action": "use"});
    for (pointer, value, line, words) in [
        ("/permission/0/action", json!("play"), "play", "the action odrl:play is not enforced"),
        ("/permission/0/action", json!("transfer"), "transfer", "the action odrl:transfer is not enforced"),
        ("/permission/0/action", json!("access"), "access", "the action cx-policy:access is not enforced"),
        ("/permission/0/action", json!({"@id": "use", "refinement": []}), "refinement", "odrl:refinement of the name"),
        ("/permission/0/remedy", json!([]), "remedy", "odrl:remedy of the permission is not enforced"),
        ("/permission/0/target", json!([]), "[]", "the target names nothing"),
        ("/permission/0/target", json!("nothing"), "nothing", "is no dataset of ours"),
        ("/permission/0/assignee", json!("rhein.example"), "rhein", "a second assignee"),
        ("/permission/0/duty", json!([{"action": "compensate"}]), "compensate", "the duty odrl:compensate is not"),
        ("/permission/0/duty", json!([{"action": "delete"}]), "{", "does not say when the data must be deleted"),
        ("/permission/0/duty", json!([{"action": "anonymize"}]), "{", "does not say what must go"),
        ("/permission/0/duty", json!([{"action": "attribute"}]), "{", "does not say whom to attribute"),
        ("/permission/0/duty", json!([{"action": "inform"}]), "{", "does not say whom to inform"),
        (
            "/permission/0/duty",
            json!([{"action": "watermark", "consequence": use_it()}]),
            "consequence",
            "odrl:consequence of the duty is not enforced",
        ),
        (
            "/permission/0/duty",
            json!([{"action": "delete", "constraint": atom("delayPeriod", "lteq", json!("P1M"))}]),
            "P1M",
            "no number of days",
        ),
        ("/prohibition", json!([{"action": "use"}]), "{", "forbids odrl:use, which is permitted"),
        ("/obligation", json!([{"action": "use"}]), "{", "is not enforced without an end of provision"),
        (
            "/obligation",
            json!([{"action": "use", "constraint": [atom("spatial", "eq", json!("GB"))]}]),
            "{",
            "odrl:spatial is not enforced in an obligation",
        ),
        ("/permission", json!([]), "{", "permits nothing"),
        ("/permission", json!("urn:uuid:permission"), "", "the permission is a text"),
    ] {
        let document = with(pointer, value);
        if words.ends_with("is a text") {
            assert!(findings(&text(&document)).iter().any(|finding| finding.what.contains(words)), "{words}");
        } else {
            check(&document, line, words);
        }
    }
}

#[test]
fn what_is_not_understood_refuses_the_document() {
    for (pointer, value, line, words) in [
        ("/@type", json!("Offer"), "Offer", "is of type odrl:Offer"),
        ("/@type", json!("Set"), "Set", "is of type odrl:Set"),
        ("/profile", json!("https://example.com/profile"), "example.com", "the profile"),
        ("/conflict", json!("perm"), "perm", "the conflict strategy odrl:perm is not enforced"),
        ("/inheritFrom", json!("urn:uuid:2"), "inheritFrom", "odrl:inheritFrom of the agreement is not enforced"),
        ("/dct:isReplacedBy", json!("urn:uuid:2"), "isReplacedBy", "dct:isReplacedBy of the agreement"),
        ("/action", json!("use"), "use", "odrl:action of the agreement is not enforced"),
        ("/ex:note", json!("x"), "ex:note", "means nothing under the contexts"),
        ("/assigner", json!("wessex.example"), "assigner", "the assigner is wessex.example, and we are"),
        ("/assigner", json!("stranger.example"), "stranger", "is no party of the registry"),
        ("/assignee", json!("kansai.example"), "assignee", "the assignee is ourselves"),
        ("/assignee", json!({"@type": "PartyCollection", "@id": "wessex.example"}), "PartyColl", "the type odrl:Party"),
        ("/target", json!("urn:sekisho:dataset:wessex.example:litho"), "wessex", "is no dataset of ours"),
    ] {
        let document = with(pointer, value);
        let text = text(&document);
        let findings = findings(&text);
        let finding = findings.iter().find(|finding| finding.what.contains(words));
        let finding = finding.unwrap_or_else(|| panic!("expected {words:?}: {findings:#?}"));
        let found = text.lines().nth(finding.line - 1).unwrap();
        assert!(found.contains(line), "{found} {finding:?}");
    }
    for (member, words) in
        [("assignee", "no assignee"), ("assigner", "no assigner"), ("uid", "no uid"), ("@type", "no @type")]
    {
        let mut document = agreement();
        document.as_object_mut().unwrap().remove(member).unwrap();
        check(&document, "{", words);
    }
    for (context, words) in [
        (json!("https://example.com/odrl.jsonld"), "is not known, and none is fetched"),
        (json!(["http://www.w3.org/ns/odrl.jsonld", {"ex": "https://example.com/"}]), "is not a known namespace"),
        (json!(["http://www.w3.org/ns/odrl.jsonld", {"use": {"@id": "odrl:read", "@type": "@id"}}]), "known namespace"),
        (json!(["http://www.w3.org/ns/odrl.jsonld", {"@base": "http://purl.org/dc/terms/"}]), "is not understood"),
        (json!([7]), "a context is a number"),
    ] {
        let findings = findings(&text(&with("/@context", context)));
        assert!(findings.iter().any(|finding| finding.what.contains(words)), "{words}: {findings:#?}");
    }
    for (text, line, words) in [
        ("{\n\"uid\": }", 2, "is not JSON"),
        ("{\n\"uid\": 1,\n\"uid\": 2}", 3, "stands twice"),
        ("[]", 1, "is a list"),
        ("{}", 1, "no @context"),
        ("", 1, "is not JSON"),
        ("{\"uid\": \"\\ud800\"}", 1, "cannot be read"),
    ] {
        let found = findings(text);
        assert!(found[0].line == line && found[0].what.contains(words), "{text}: {found:#?}");
    }
    let twice = agreement();
    let mut twice_named = twice.clone();
    twice_named["odrl:target"] = json!("open");
    assert!(findings(&text(&twice_named)).iter().any(|finding| finding.what.contains("under two names")));
}

#[test]
fn a_prohibition_that_takes_everything_back_must_be_meant() {
    let document = with("/prohibition", json!([{"action": "use"}]));
    check(&document, "{", "forbids odrl:use");
    let mut meant = document.clone();
    meant["conflict"] = json!("prohibit");
    assert_eq!(Asked::new().rules(&terms(&meant)), ["ODRL:AG-1#2"]);
    let mut void = document;
    void["conflict"] = json!("invalid");
    check(&void, "{", "forbids odrl:use");
    // What is only a part of the permission is no contradiction.
    let part = with("/prohibition", json!([{"action": "derive"}]));
    assert!(Asked::new().is_permitted(&terms(&part)));
}

#[test]
fn a_purpose_whose_reach_is_not_known_takes_nothing_away() {
    for operator in ["eq", "neq", "isA", "isAnyOf", "isNoneOf"] {
        check(
            &forbidden(atom("purpose", operator, json!("dpv:Other"))),
            "dpv:Other",
            "not known which purposes lie within",
        );
    }
    for (purpose, words) in [("dpv:Marketing", "under odrl:xone"), ("dpv:Other", "not known which purposes lie")] {
        let one = json!({"xone": [atom("purpose", "eq", json!(purpose)), atom("spatial", "eq", json!("GB"))]});
        check(&constrained(one), purpose, words);
    }
}
