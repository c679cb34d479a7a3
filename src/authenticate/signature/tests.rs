//! The profile against the vectors of the RFC, and against everything that is not the profile.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::types::{Digest, ManualClock};

const NOW: Timestamp = Timestamp::from_seconds(1_795_251_600);

fn minter() -> PassMinter {
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    let clock = Arc::new(ManualClock::new(NOW));
    PassMinter::new("kansai.example".parse().unwrap(), pem.as_bytes(), Digest::of(b""), PASS_LIFETIME, clock).unwrap()
}

fn keys(minter: &PassMinter) -> PassKeys {
    PassKeys::read(&serde_json::from_value(minter.jwks(&[]).unwrap()).unwrap()).unwrap()
}

fn digested(bytes: &[u8], trailer: bool) -> Digested {
    Digested { field: content_digest(&Digest::of(bytes)), trailer }
}

fn asked() -> Covered {
    request(&Method::PUT, "/data/a/b", Some("sha-256=:BB==:"), "01KAAA", "sha-256=:AA==:", Some(&digested(b"x", true)))
}

fn answered() -> Covered {
    let bound = Bound { member: ":AAAA:".to_owned(), trailer: true, digest: Some(digested(b"x", true)) };
    let (kind, obligations) = (Some("text/csv"), Some("[]"));
    answer(StatusCode::CREATED, "01KAAA", kind, obligations, &digested(b"y", false), Some(&bound))
}

fn check(
    keys: &PassKeys,
    purpose: Purpose,
    covered: &Covered,
    input: &str,
    signature: &str,
    now: Timestamp,
) -> Result<Signature, &'static str> {
    Signature::check_with(keys, purpose, covered, &Fields::new(input, signature), now).map_err(|error| error.code())
}

#[test]
fn the_base_and_the_signature_are_those_of_the_rfc() {
    // RFC 9421, B.2.6, with the public key of B.1.4.
    let line = |identifier, value: &str| (identifier, value.to_owned());
    let covered = Covered::lines(vec![
        line("\"date\"", "Tue, 20 Apr 2021 02:07:55 GMT"),
        line("\"@method\"", "POST"),
        line("\"@path\"", "/foo"),
        line("\"@authority\"", "example.com"),
        line("\"content-type\"", "application/json"),
        line("\"content-length\"", "18"),
    ]);
    let list: Vec<&str> = covered.identifiers().collect();
    let parameters = format!("({});created=1618884473;keyid=\"test-key-ed25519\"", list.join(" "));
    let base = covered.base(&parameters).unwrap();
    let public = URL_SAFE_NO_PAD.decode("JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs").unwrap();
    let signature = STANDARD
        .decode("wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==")
        .unwrap();
    UnparsedPublicKey::new(&ED25519, &public).verify(base.as_bytes(), &signature).unwrap();
}

#[test]
fn a_digest_is_written_and_read_as_the_rfc_does() {
    let field = content_digest(&Digest::of(br#"{"hello": "world"}"#));
    assert_eq!(field, "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:");
    assert_eq!(read_content_digest(&field), Some(Digest::of(br#"{"hello": "world"}"#)));
    assert_eq!(read_content_digest(&format!("md5=:AAAA:, {field}")), read_content_digest(&field));
    for wrong in ["", "sha-256", "sha-256=:AAAA:", "sha-512=:AAAA:", "sha-256=\"AAAA\"", "sha-256=:X48E9qOokqqrvdts8"] {
        assert_eq!(read_content_digest(wrong), None, "{wrong}");
    }
}

#[test]
fn what_is_signed_verifies_and_tells_the_same() {
    let minter = minter();
    let keys = keys(&minter);
    let receipt = receipt(StatusCode::OK, "01KAAA", &digested(b"y", false), ":AAAA:");
    for (purpose, covered) in [(Purpose::Request, asked()), (Purpose::Answer, answered()), (Purpose::Receipt, receipt)]
    {
        let made = Signature::make(&minter, purpose, &covered, NOW).unwrap();
        let read = check(&keys, purpose, &covered, &made.input_field(), &made.field(), NOW).unwrap();
        assert_eq!(made, read);
        assert_eq!(member_of(&read.encoded()), Some(read.member()));
        let base: Vec<&str> = read.base().lines().collect();
        assert_eq!(base.len(), covered.identifiers().count() + 1);
        assert!(base.last().unwrap().starts_with("\"@signature-params\": ("));
    }
}

#[test]
fn other_signatures_on_the_message_do_not_matter() {
    let minter = minter();
    let made = Signature::make(&minter, Purpose::Request, &asked(), NOW).unwrap();
    let input = format!("other=(\"date\");created=1, {}", made.input_field());
    let field = format!("{}, other=:AAAA:", made.field());
    assert_eq!(check(&keys(&minter), Purpose::Request, &asked(), &input, &field, NOW), Ok(made));
}

#[test]
fn whatever_is_not_the_profile_is_refused() {
    let minter = minter();
    let keys = keys(&minter);
    let made = Signature::make(&minter, Purpose::Request, &asked(), NOW).unwrap();
    let (input, field) = (made.input_field(), made.field());
    let wrong = |input: &str, field: &str, code: &str| {
        let found = check(&keys, Purpose::Request, &asked(), input, field, NOW);
        assert_eq!(found, Err(code), "{input}");
    };
    let invalid = "request_signature_invalid";
    wrong(&input.replace("tag=\"sekisho-request\"", "tag=\"sekisho-answer\""), &field, invalid);
    wrong(&input.replace(";alg=\"ed25519\"", ";alg=\"hmac-sha256\""), &field, invalid);
    wrong(&format!("{input};expires=1"), &field, invalid);
    wrong(&format!("{input};nonce=\"a\""), &field, invalid);
    wrong(&input.replace("\"@path\" ", ""), &field, invalid);
    wrong(&input.replace("\"@path\" \"sekisho-query\"", "\"sekisho-query\" \"@path\""), &field, invalid);
    wrong(&input.replace("\"sekisho-query\"", "\"@query\""), &field, invalid);
    wrong(&input.replace("\"sekisho-query\" ", ""), &field, invalid);
    wrong(&input.replace("(\"@method\"", "(\"date\" \"@method\""), &field, invalid);
    wrong(&input.replace("\"content-digest\";tr", "\"content-digest\""), &field, invalid);
    wrong(&input.replace("\"@method\"", "\"@method\";req"), &field, invalid);
    wrong(&input.replace(minter.kid(), "another"), &field, invalid);
    wrong(&input.replace("sekisho=(", "other=("), &field, invalid);
    wrong(&input, &field.replace("sekisho=", "other="), invalid);
    wrong(&input, "sekisho=:AAAA:", invalid);
    wrong(&input, &format!("{field};a=1"), invalid);
    wrong("", "", invalid);
    wrong(&input.replace("created=1795251600", "created=1795251601"), &field, invalid);
    wrong(&input.replace("created=1795251600;", ""), &field, invalid);
    wrong(&input.replace("created=1795251600", "created=-1"), &field, invalid);
    wrong(&input.replace("created=1795251600", "created=1795250900"), &field, "request_signature_stale");
    wrong(&input.replace("created=1795251600", "created=1795251700"), &field, "request_signature_stale");
    wrong(&format!("{input}{}", " ".repeat(5000)), &field, invalid);
}

#[test]
fn a_message_gets_as_old_as_a_pass_and_a_receipt_any_age() {
    let minter = minter();
    let keys = keys(&minter);
    let receipt = receipt(StatusCode::OK, "01KAAA", &digested(b"y", true), ":AAAA:");
    let (answered, ten_minutes) = (answered(), PASS_LIFETIME);
    let signed = |purpose, covered| Signature::make(&minter, purpose, covered, NOW).unwrap();
    let at = |made: &Signature, purpose, covered, now| {
        check(&keys, purpose, covered, &made.input_field(), &made.field(), now).map(drop)
    };
    let answer = signed(Purpose::Answer, &answered);
    assert_eq!(at(&answer, Purpose::Answer, &answered, NOW.plus(ten_minutes)), Ok(()));
    let late = NOW.plus(ten_minutes + Duration::from_secs(1));
    assert_eq!(at(&answer, Purpose::Answer, &answered, late), Err("answer_signature_stale"));
    let made = signed(Purpose::Receipt, &receipt);
    assert_eq!(at(&made, Purpose::Receipt, &receipt, NOW.plus(ten_minutes * 1000)), Ok(()));
    let early = Timestamp::from_seconds(NOW.seconds() - 31);
    assert_eq!(at(&made, Purpose::Receipt, &receipt, early), Err("receipt_signature_invalid"));
}

#[test]
fn more_than_goes_on_record_is_not_signed() {
    let path = format!("/{}", "a".repeat(BASE_BYTES));
    let covered = request(&Method::GET, &path, None, "01KAAA", "sha-256=:AA==:", None);
    let made = Signature::make(&minter(), Purpose::Request, &covered, NOW);
    assert_eq!(made.unwrap_err().code(), "request_signature_invalid");
}

#[test]
fn fields_stand_once_and_together() {
    let code = |fields: &[(&HeaderName, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append((*name).clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Fields::of(&headers, Purpose::Answer).map(|found| found.is_some()).map_err(|error| error.code())
    };
    let (input, signature) = ((&SIGNATURE_INPUT, "sekisho=()"), (&SIGNATURE, "sekisho=:AA==:"));
    assert_eq!(code(&[]), Ok(false));
    assert_eq!(code(&[input, signature]), Ok(true));
    let wrong: [&[_]; 4] = [&[input], &[signature], &[input, input, signature], &[(input.0, "\u{e9}"), signature]];
    for fields in wrong {
        assert_eq!(code(fields), Err("answer_signature_invalid"));
    }
}

#[test]
fn trailers_are_announced_and_signatures_asked_for_by_name() {
    let headers = |name: &'static str, value: &str| {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    };
    assert!(announces(&headers("trailer", "Expires, Signature-Input")));
    assert!(!announces(&headers("trailer", "Expires")));
    assert!(asks_for_answer(&headers("accept-signature", "sekisho=();tag=\"sekisho-answer\"")));
    for no in ["sekisho", "other=()", "sekisho=(", ""] {
        assert!(!asks_for_answer(&headers("accept-signature", no)), "{no}");
    }
}

proptest! {
    #[test]
    fn a_changed_component_never_verifies(
        answers: bool,
        place in any::<proptest::sample::Index>(),
        value in "[ -~]{0,40}",
    ) {
        let minter = minter();
        let (purpose, covered) = if answers { (Purpose::Answer, answered()) } else { (Purpose::Request, asked()) };
        let made = Signature::make(&minter, purpose, &covered, NOW).unwrap();
        let mut changed = covered.clone();
        let place = place.index(changed.values().len());
        let before = std::mem::replace(&mut changed.values()[place].1, value.clone());
        let found = check(&keys(&minter), purpose, &changed, &made.input_field(), &made.field(), NOW);
        prop_assert_eq!(found.is_ok(), before.trim() == value.trim());
        let mut shorter = covered.clone();
        shorter.values().remove(place);
        prop_assert!(check(&keys(&minter), purpose, &shorter, &made.input_field(), &made.field(), NOW).is_err());
    }

    #[test]
    fn no_text_makes_the_parser_panic(input in "\\PC{0,200}", signature in "\\PC{0,200}") {
        let keys = PassKeys::read(&serde_json::from_str(r#"{"keys":[]}"#).unwrap()).unwrap();
        prop_assert!(check(&keys, Purpose::Receipt, &asked(), &input, &signature, NOW).is_err());
        read_content_digest(&input);
    }

    #[test]
    fn nothing_like_a_signature_makes_the_parser_panic(
        input in "sekisho=\\(([\"@;a-z= ]{0,12}){0,6}\\)(;[a-z]{1,7}=[\"a-z0-9?:]{0,9}){0,5}",
        signature in "sekisho=:[A-Za-z0-9+/=]{0,90}:",
    ) {
        let keys = PassKeys::read(&serde_json::from_str(r#"{"keys":[]}"#).unwrap()).unwrap();
        prop_assert!(check(&keys, Purpose::Answer, &answered(), &input, &signature, NOW).is_err());
    }
}
