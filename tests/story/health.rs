//! Health records: to a health centre only what the statute names; abroad for research only pseudonyms.

use std::collections::{HashMap, HashSet};

use crate::people::{Record, quoted, records, table};
use crate::world::{Reply, World};

const PATH: &str = "/data/covid-testing/2026.csv";

#[tokio::test]
async fn only_the_statutes_fields_reach_the_health_centre() {
    let world = World::open().await;
    let records = records();
    let table = table(&records);
    world.kansai.upstream.offer("/covid-testing/2026.csv", "text/csv; charset=utf-8", table.clone());
    let centre = world.peer("sumida-health.example");
    let pass = centre.pass("dfft:StatutoryHealthNotification").agreement("AG-IDA");
    let reply = centre.get(PATH, &pass.sign()).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);

    // Article 12(1)(i) of the Infectious Diseases Act: name, age, sex and disease, of which the result is a part.
    let mut expected = String::from("fake_first_name,fake_last_name,gender,test_id,result,age\n");
    for r in &records {
        expected += &format!("{},{},{},covid,{},{}\n", r.first, quoted(&r.last), r.sex, r.result, r.age);
    }
    assert_eq!(reply.text(), expected);
    assert_eq!(reply.header("content-type"), Some("text/csv; charset=utf-8"));
    for described in ["etag", "content-length"] {
        assert_eq!(reply.header(described), None, "{described} spoke of other bytes");
    }

    let without_agreement = centre.pass("dfft:StatutoryHealthNotification").sign();
    let denied = centre.get(PATH, &without_agreement).await;
    assert_eq!(denied.code(), "policy_denied");
    assert_eq!(denied.rules(), ["DFFT-P8"]);

    let books = world.close().await;
    let told = books.kansai.of(&reply);
    told.check_complete(table.as_bytes(), expected.as_bytes());
    assert_eq!(told.carried(), ["DFFT-P8:keep_only"]);
    assert_eq!(told.decision["agreement"], "AG-IDA");
    assert_eq!(told.decision["tags"][1], "privacy:health");
    books.kansai.of(&denied).check_refused("deny", "policy_denied", 403);
    assert_eq!(books.kansai.of(&denied).rules(), ["DFFT-P8"]);
}

/// A research copy as it must be: everything but the pseudonym, with the subject whose pseudonym stands there.
fn research_copy(records: &[Record]) -> Vec<(String, String)> {
    let band = |age: &str| {
        let decade = age.parse::<f64>().unwrap() as u32 / 10 * 10;
        format!("{decade}-{}", decade + 9)
    };
    let week = |day: u32| format!("{}-{}", day / 7 * 7, day / 7 * 7 + 6);
    let group = |r: &Record| (r.sex, r.clinic, band(&r.age));
    let mut sizes: HashMap<_, usize> = HashMap::new();
    for record in records {
        *sizes.entry(group(record)).or_default() += 1;
    }
    let copy = |r: &Record| {
        let rest = format!("{},{},covid,{},{},{},{}", r.sex, week(r.day), r.clinic, r.result, band(&r.age), r.payor);
        (r.subject.clone(), rest)
    };
    records.iter().filter(|record| sizes[&group(record)] >= 10).map(copy).collect()
}

/// Checks a research copy against the records, and gives the pseudonym of each subject.
fn check_copy(reply: &Reply, records: &[Record]) -> HashMap<String, String> {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let mut lines = reply.text().lines();
    assert_eq!(lines.next(), Some("subject_id,gender,pan_day,test_id,clinic_name,result,age,payor_group"));
    let expected = research_copy(records);
    let mut pseudonyms = HashMap::new();
    let mut count = 0;
    for (line, (subject, rest)) in lines.zip(&expected) {
        let (pseudonym, left) = line.split_once(',').unwrap();
        assert_eq!(left, rest, "for {subject}");
        assert_eq!(pseudonym.len(), 22);
        let known = pseudonyms.entry(subject.clone()).or_insert_with(|| pseudonym.to_owned());
        assert_eq!(known, pseudonym, "{subject} has two names");
        count += 1;
    }
    assert_eq!(count, expected.len());
    assert_eq!(reply.text().lines().count(), expected.len() + 1);
    let distinct: HashSet<&String> = pseudonyms.values().collect();
    assert_eq!(distinct.len(), pseudonyms.len(), "two people share a name");
    pseudonyms
}

#[tokio::test]
async fn research_abroad_gets_pseudonyms_that_cannot_be_joined() {
    let world = World::open().await;
    let records = records();
    let table = table(&records);
    world.kansai.upstream.offer("/covid-testing/2026.csv", "text/csv", table.clone());
    let (wessex, rhein) = (world.peer("wessex.example"), world.peer("rhein.example"));
    let first = wessex.get(PATH, &wessex.pass("dpv:ScientificResearch").sign()).await;
    let again = wessex.get(PATH, &wessex.pass("dpv:ScientificResearch").sign()).await;
    let other = rhein.get(PATH, &rhein.pass("dpv:ScientificResearch").sign()).await;

    let here = check_copy(&first, &records);
    assert_eq!(here.len(), 200, "everybody but the very old is there");
    assert_eq!(first.body, again.body, "the same person keeps one name with one recipient");
    let there = check_copy(&other, &records);
    let (here, there): (HashSet<_>, HashSet<_>) = (here.values().collect(), there.values().collect());
    assert!(here.is_disjoint(&there), "two recipients can join their copies");
    for reply in [&first, &other] {
        for secret in ["first", "last", "hara", "fake_", "1900"] {
            assert!(!reply.text().contains(secret), "{secret} is in the copy");
        }
    }
    let conveyed: serde_json::Value = serde_json::from_str(first.header("sekisho-obligations").unwrap()).unwrap();
    assert_eq!(conveyed[0]["do"], "delete_after_days");
    assert_eq!(conveyed[0]["days"], 180);
    assert_eq!(conveyed[1]["do"], "notify_gov_access_request");

    let books = world.close().await;
    for reply in [&first, &again, &other] {
        let told = books.kansai.of(reply);
        told.check_complete(table.as_bytes(), &reply.body);
        let carried = [
            "DFFT-P9:redact",
            "DFFT-P9:pseudonymise_hmac",
            "DFFT-P9:generalise",
            "DFFT-P9:k_anonymity",
            "DFFT-P9:delete_after_days",
            "DFFT-S5:notify_gov_access_request",
        ];
        assert_eq!(told.carried(), carried);
        let entry = serde_json::to_string(&(&told.decision, &told.outcome)).unwrap();
        assert!(!entry.contains("first1") && !entry.contains("last1"), "a record holds no payload");
    }
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_never_leaves() {
    let world = World::open().await;
    let wessex = world.peer("wessex.example");
    let pass = wessex.pass("dpv:ScientificResearch").sign();
    let cases = [
        // (path, content type, body, code, status)
        ("a.parquet", "application/vnd.apache.parquet", "PAR1", "obligation_not_possible", 403),
        ("b.csv", "text/csv", "subject_id,\"gender\n", "payload_malformed", 422),
        ("c.csv", "text/csv", "gender,age\nfemale,3\n", "obligation_not_possible", 403),
    ];
    let mut replies = Vec::new();
    for (path, content_type, body, code, status) in cases {
        world.kansai.upstream.offer(&format!("/covid-testing/{path}"), content_type, body);
        let reply = wessex.get(&format!("/data/covid-testing/{path}"), &pass).await;
        assert_eq!((reply.code().as_str(), reply.status.as_u16()), (code, status), "{path}");
        replies.push(reply);
    }
    let books = world.close().await;
    for (reply, (path, .., code, status)) in replies.iter().zip(cases) {
        let told = books.kansai.of(reply);
        assert_eq!(told.decision["decision"], "permit", "{path}");
        assert_eq!(told.outcome["ended"], "refused", "{path}");
        assert_eq!(told.outcome["code"], code, "{path}");
        assert_eq!(told.outcome["status"], status, "{path}");
    }
}
