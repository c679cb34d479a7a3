//! Signatures: whose word is taken, for which bytes, until when.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::*;
use crate::types::Timestamp;

pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_795_219_200);

/// A key pair made for one test.
pub(super) struct Pair {
    signer: BundleSigner,
    public: String,
}

fn pair(algorithm: &'static rcgen::SignatureAlgorithm, id: &str) -> Pair {
    let key = KeyPair::generate_for(algorithm).unwrap();
    Pair { signer: BundleSigner::new(id.to_owned(), &key.serialize_pem()).unwrap(), public: key.public_key_pem() }
}

pub(super) fn ed25519(id: &str) -> Pair {
    pair(&rcgen::PKCS_ED25519, id)
}

impl Pair {
    fn key(&self, id: Option<&str>) -> BundleKey {
        BundleKey::new(id.map(str::to_owned), &self.public, None).unwrap()
    }

    pub(super) fn keys(&self) -> BundleKeys {
        BundleKeys::new(vec![self.key(Some("regulator"))]).unwrap()
    }

    /// Any claims under a header, signed.
    fn token(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.signer.key).unwrap()
    }
}

pub(super) fn signed(pair: &Pair, revision: &str) -> Archive {
    archive(&files(revision)).sign(&pair.signer, NOW, None).unwrap()
}

fn check(archive: &Archive, keys: &BundleKeys, last: Option<&Accepted>) -> Result<Bundle, DecideError> {
    Bundle::verified(&archive.pack().unwrap(), &Verification { trust: Trust::Keys(keys), now: NOW, last })
}

/// The claims of a signature.
fn claims(archive: &Archive) -> Value {
    let file: Value = serde_json::from_slice(archive.file(SIGNATURES).unwrap()).unwrap();
    jsonwebtoken::dangerous::insecure_decode_claims(file["signatures"][0].as_str().unwrap()).unwrap()
}

/// The archive with other tokens in its signature file.
fn with_tokens(archive: &Archive, tokens: &[String]) -> Archive {
    let mut other = archive.clone();
    other.insert(SIGNATURES, json!({ "signatures": tokens }).to_string().into_bytes()).unwrap();
    other
}

/// The archive without one file.
fn without(archive: &Archive, path: &str) -> Archive {
    let mut rest = Archive::default();
    for (other, content) in archive.files().filter(|(other, _)| *other != path) {
        rest.insert(other, content.to_vec()).unwrap();
    }
    rest
}

fn header(algorithm: Algorithm, kid: Option<&str>) -> Header {
    Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) }
}

#[test]
fn a_bundle_signed_by_a_trusted_key_is_taken() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let regulator = pair(algorithm, "regulator");
        let archive = signed(&regulator, "2026-11-21.1");
        let bundle = check(&archive, &regulator.keys(), None).unwrap();
        assert_eq!(bundle.identity().revision, "2026-11-21.1");
        let signature = archive.verify(&regulator.keys(), NOW).unwrap();
        assert_eq!(signature.key_id.as_deref(), Some("regulator"));
        assert_eq!(signature.algorithm, regulator.signer.algorithm());
        // To sign again replaces the signature.
        let again = archive.sign(&ed25519("other").signer, NOW, None).unwrap();
        assert_eq!(code(check(&again, &regulator.keys(), None)), "bundle_key_unknown");
    }
}

#[test]
fn an_unsigned_bundle_is_for_development_only() {
    let regulator = ed25519("regulator");
    let unsigned = archive(&files("1"));
    assert_eq!(code(check(&unsigned, &regulator.keys(), None)), "bundle_unsigned");
    let development = Verification { trust: Trust::Unsigned, now: NOW, last: None };
    assert!(Bundle::verified(&unsigned.pack().unwrap(), &development).is_ok());
    assert!(Bundle::verified(&signed(&regulator, "1").pack().unwrap(), &development).is_ok());
    // A revision has to have an order there too.
    assert_eq!(
        code(Bundle::verified(&archive(&files("abc")).pack().unwrap(), &development)),
        "bundle_revision_unordered"
    );
}

#[test]
fn another_key_is_not_the_one_that_is_trusted() {
    let (regulator, other) = (ed25519("regulator"), ed25519("regulator"));
    assert_eq!(code(check(&signed(&other, "1"), &regulator.keys(), None)), "bundle_signature_invalid");
    assert_eq!(code(check(&signed(&ed25519("else"), "1"), &regulator.keys(), None)), "bundle_key_unknown");
    // A key without an id is asked whatever the signature names; one with an id comes first.
    let any = BundleKeys::new(vec![regulator.key(None)]).unwrap();
    assert!(check(&signed(&regulator, "1"), &any, None).is_ok());
    let both = BundleKeys::new(vec![regulator.key(None), other.key(Some("regulator"))]).unwrap();
    assert!(check(&signed(&other, "1"), &both, None).is_ok());
    assert_eq!(code(check(&signed(&regulator, "1"), &both, None)), "bundle_signature_invalid");
}

#[test]
fn the_key_id_stands_in_the_header_or_the_payload_or_is_not_needed() {
    let regulator = ed25519("regulator");
    let archive = signed(&regulator, "1");
    let mut claims = claims(&archive);
    let named_by_payload = with_tokens(&archive, &[regulator.token(&header(Algorithm::EdDSA, None), &claims)]);
    assert!(check(&named_by_payload, &regulator.keys(), None).is_ok());
    claims.as_object_mut().unwrap().remove("keyid");
    let unnamed = with_tokens(&archive, &[regulator.token(&header(Algorithm::EdDSA, None), &claims)]);
    assert!(check(&unnamed, &regulator.keys(), None).is_ok());
    let several = BundleKeys::new(vec![regulator.key(Some("a")), ed25519("b").key(Some("b"))]).unwrap();
    assert_eq!(code(check(&unnamed, &several, None)), "bundle_key_unknown");
}

#[test]
fn the_algorithm_is_the_keys_and_never_the_tokens() {
    let regulator = ed25519("regulator");
    let archive = signed(&regulator, "1");
    let claims = claims(&archive);
    let refused = |token: String| code(check(&with_tokens(&archive, &[token]), &regulator.keys(), None));
    // The public key as the secret of an HMAC.
    let secret = EncodingKey::from_secret(regulator.public.as_bytes());
    let hmac = jsonwebtoken::encode(&header(Algorithm::HS256, Some("regulator")), &claims, &secret).unwrap();
    assert_eq!(refused(hmac), "bundle_signature_invalid");
    // No algorithm at all.
    use base64::Engine as _;
    let part = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let payload = part(claims.clone());
    for algorithm in ["none", "None", "", "EdDSA"] {
        let head = part(json!({ "alg": algorithm, "kid": "regulator" }));
        assert_eq!(refused(format!("{head}.{payload}.")), "bundle_signature_invalid", "{algorithm}");
    }
    // The algorithm of another key.
    let other = pair(&rcgen::PKCS_ECDSA_P256_SHA256, "regulator");
    let ecdsa = other.token(&header(Algorithm::ES256, Some("regulator")), &claims);
    assert_eq!(refused(ecdsa), "bundle_signature_invalid");
    // A key, or where to find one, in the header.
    let mut carries = header(Algorithm::EdDSA, Some("regulator"));
    carries.jku = Some("https://elsewhere.example/keys".to_owned());
    assert_eq!(refused(regulator.token(&carries, &claims)), "bundle_signature_invalid");
    let mut critical = header(Algorithm::EdDSA, Some("regulator"));
    critical.crit = Some(vec!["b64".to_owned()]);
    assert_eq!(refused(regulator.token(&critical, &claims)), "bundle_signature_invalid");
}

#[test]
fn a_signature_holds_for_its_time_and_scope() {
    let regulator = ed25519("regulator");
    let unsigned = archive(&files("1"));
    let for_a_day = unsigned.sign(&regulator.signer, NOW, Some(Duration::from_secs(86_400))).unwrap();
    let at = |seconds: u64| for_a_day.verify(&regulator.keys(), Timestamp::from_seconds(NOW.seconds() + seconds));
    let last = at(86_399).unwrap();
    assert_eq!(last.expires.map(Timestamp::seconds), Some(NOW.seconds() + 86_400));
    assert_eq!(code(at(86_400)), "bundle_signature_expired");
    let claiming = |name: &str, value: Value| {
        let mut claims = claims(&for_a_day);
        claims[name] = value;
        with_tokens(&for_a_day, &[regulator.token(&header(Algorithm::EdDSA, Some("regulator")), &claims)])
    };
    let refused = |name: &str, value: Value| code(claiming(name, value).verify(&regulator.keys(), NOW));
    assert_eq!(refused("exp", json!(-1)), "bundle_signature_expired");
    assert_eq!(refused("exp", json!(NOW.seconds())), "bundle_signature_expired");
    assert_eq!(refused("exp", json!("tomorrow")), "bundle_signature_invalid");
    assert_eq!(refused("nbf", json!(NOW.seconds() + 1)), "bundle_signature_invalid");
    assert_eq!(refused("scope", json!("read")), "bundle_signature_invalid");
    assert!(claiming("nbf", json!(NOW.seconds())).verify(&regulator.keys(), NOW).is_ok());
    assert!(claiming("exp", json!(NOW.seconds() as f64 + 0.5)).verify(&regulator.keys(), NOW).is_ok());
    let scoped = BundleKeys::new(vec![regulator.key(Some("regulator")).with_scope("read".to_owned())]).unwrap();
    assert!(claiming("scope", json!("read")).verify(&scoped, NOW).is_ok());
    assert_eq!(code(for_a_day.verify(&scoped, NOW)), "bundle_signature_invalid");
}

#[test]
fn every_file_is_what_was_signed() {
    let regulator = ed25519("regulator");
    let archive = signed(&regulator, "1");
    let refused = |change: &dyn Fn(&mut Archive)| {
        let mut changed = archive.clone();
        change(&mut changed);
        let error = check(&changed, &regulator.keys(), None).unwrap_err();
        (error.code(), error.to_string())
    };
    for (path, content) in files("1") {
        let (code, why) =
            refused(&|archive| archive.insert(&path, [&content[..content.len() - 1], b"?"].concat()).unwrap());
        // Data and manifest are no JSON any more, so that their hash has no form.
        let expected =
            if path.ends_with(".manifest") || path == "data.json" { "bundle_unreadable" } else { "bundle_hash_wrong" };
        assert_eq!(code, expected, "{path}: {why}");
        assert!(why.contains(&path), "{why}");
        let (code, why) = refused(&|archive| *archive = without(archive, &path));
        assert_eq!(code, "bundle_file_missing", "{path}");
        assert!(why.contains(&path), "{why}");
    }
    let data = DATA.replace("1.50", "1.5");
    assert_eq!(
        refused(&|archive| archive.insert("data.json", data.clone().into_bytes()).unwrap()).0,
        "bundle_hash_wrong"
    );
    for path in ["more.rego", "README.md", "t/data.json"] {
        assert_eq!(
            refused(&|archive| archive.insert(path, b"{}".to_vec()).unwrap()).0,
            "bundle_file_unlisted",
            "{path}"
        );
    }
    // Spacing of structured files is not signed, as in OPA, and changes no digest.
    let mut spaced = archive.clone();
    spaced.insert("data.json", DATA.replace(": ", " :\n").into_bytes()).unwrap();
    let (one, other) = (check(&archive, &regulator.keys(), None), check(&spaced, &regulator.keys(), None));
    assert_eq!(one.unwrap().identity(), other.unwrap().identity());
}

#[test]
fn signature_files_of_another_shape_are_refused() {
    let regulator = ed25519("regulator");
    let archive = signed(&regulator, "1");
    let file: Value = serde_json::from_slice(archive.file(SIGNATURES).unwrap()).unwrap();
    let token = file["signatures"][0].as_str().unwrap().to_owned();
    let refused = |text: String| {
        let mut other = archive.clone();
        other.insert(SIGNATURES, text.into_bytes()).unwrap();
        code(check(&other, &regulator.keys(), None))
    };
    for text in ["", "{}", "[]", r#"{"signatures": []}"#, r#"{"signatures": ["a.b.c"]}"#, r#"{"signatures": ["", ""]}"#]
    {
        assert_eq!(refused(text.to_owned()), "bundle_signature_invalid", "{text}");
    }
    assert_eq!(refused(json!({ "signatures": [token, token] }).to_string()), "bundle_signature_invalid");
    assert_eq!(refused(json!({ "signatures": [token], "plugin": "custom" }).to_string()), "bundle_signature_invalid");
    let signing = |files: Value| {
        let token = regulator.token(&header(Algorithm::EdDSA, Some("regulator")), &json!({ "files": files }));
        code(check(&with_tokens(&archive, &[token]), &regulator.keys(), None))
    };
    assert_eq!(signing(json!("all")), "bundle_signature_invalid");
    assert_eq!(signing(json!([])), "bundle_file_unlisted");
    let mut files = claims(&archive)["files"].clone();
    let more = files[0].clone();
    files.as_array_mut().unwrap().push(more);
    assert_eq!(signing(files.clone()), "bundle_signature_invalid");
    files.as_array_mut().unwrap().pop();
    files[0]["algorithm"] = json!("MD5");
    assert_eq!(signing(files), "bundle_hash_wrong");
}

#[test]
fn an_older_signed_bundle_is_not_played_back() {
    let regulator = ed25519("regulator");
    let keys = regulator.keys();
    let bundle = check(&signed(&regulator, "2026-11-21.2"), &keys, None).unwrap();
    let last = Accepted::of(&bundle);
    assert!(check(&signed(&regulator, "2026-11-21.2"), &keys, Some(&last)).is_ok());
    assert!(check(&signed(&regulator, "2026-11-22.1"), &keys, Some(&last)).is_ok());
    assert_eq!(code(check(&signed(&regulator, "2026-11-21.1"), &keys, Some(&last))), "bundle_older");
    let mut changed = files("2026-11-21.2");
    changed[4].1.extend_from_slice(b"# changed\n");
    let changed = archive(&changed).sign(&regulator.signer, NOW, None).unwrap();
    assert_eq!(code(check(&changed, &keys, Some(&last))), "bundle_revision_reused");
    let hash = signed(&regulator, "9fceb02d0ae598e95dc970b74767f19372d61af8");
    assert_eq!(code(check(&hash, &keys, Some(&last))), "bundle_revision_unordered");
}

#[test]
fn keys_that_cannot_be_used_are_refused() {
    let key = |pem: &str, algorithm: Option<&str>| BundleKey::new(None, pem, algorithm).map(drop);
    let (edwards, curve) = (ed25519("a"), pair(&rcgen::PKCS_ECDSA_P256_SHA256, "a"));
    assert_eq!(key(&edwards.public, Some("EdDSA")), Ok(()));
    for (pem, algorithm) in [
        (edwards.public.as_str(), Some("ES256")),
        (edwards.public.as_str(), Some("HS256")),
        (curve.public.as_str(), Some("EdDSA")),
        (curve.public.as_str(), Some("none")),
        ("", None),
        ("a secret", None),
    ] {
        assert_eq!(code(key(pem, algorithm)), "bundle_key_unusable", "{algorithm:?}");
    }
    let private = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    assert_eq!(code(key(&private, None)), "bundle_key_unusable");
    let signer = |pem: &str| BundleSigner::new("a".to_owned(), pem).map(drop);
    assert_eq!(code(signer(&edwards.public)), "bundle_key_unusable");
    assert_eq!(code(signer("")), "bundle_key_unusable");
    assert_eq!(code(BundleKeys::new(Vec::new())), "bundle_key_unusable");
    assert_eq!(code(BundleKeys::new(vec![edwards.key(None), curve.key(None)])), "bundle_key_unusable");
    assert_eq!(code(BundleKeys::new(vec![edwards.key(Some("a")), curve.key(Some("a"))])), "bundle_key_unusable");
}
