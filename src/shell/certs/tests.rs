//! What is minted is what TLS, partners and the file system demand.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::*;
use crate::authenticate::Role;
use crate::types::{PartyId, Timestamp};

/// 2026-11-21T00:00:00Z
const START: Timestamp = Timestamp::from_seconds(1_795_219_200);
const DAY: u64 = 24 * 60 * 60;

fn party(id: &str) -> PartyId {
    id.parse().expect("a party id")
}

fn authority(id: &str) -> Authority {
    Authority::new(&party(id), START, 365).expect("an authority")
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

fn with<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    let der = der(pem);
    look(&x509_parser::parse_x509_certificate(&der).expect("X.509").1)
}

fn names(pem: &str) -> Vec<String> {
    with(pem, |certificate| {
        let names = certificate.subject_alternative_name().expect("one extension").expect("names");
        let shown = |name: &GeneralName<'_>| match name {
            GeneralName::URI(uri) => (*uri).to_owned(),
            GeneralName::DNSName(name) => format!("dns:{name}"),
            GeneralName::IPAddress(bytes) => format!("ip:{bytes:?}"),
            other => panic!("{other:?} was not promised"),
        };
        names.value.general_names.iter().map(shown).collect()
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(der(&authority.certificate_pem())).expect("an anchor");
    Arc::new(roots)
}

fn at(days: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(START.seconds() + days * DAY))
}

fn is_client(leaf: &Leaf, authority: &Authority, when: UnixTime) -> bool {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(authority), provider()).build().expect("a verifier");
    verifier.verify_client_cert(&der(&leaf.certificate_pem), &[], when).is_ok()
}

fn is_server(leaf: &Leaf, authority: &Authority, name: &str, when: UnixTime) -> bool {
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots(authority), provider()).build().expect("a verifier");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    verifier.verify_server_cert(&der(&leaf.certificate_pem), &[], &name, &[], when).is_ok()
}

#[test]
fn a_gateway_is_server_and_client_under_its_own_authority_only() {
    let (ours, other) = (authority("kansai.example"), authority("wessex.example"));
    let address = "192.0.2.7".parse().expect("an address");
    let leaf = ours.gateway(&party("kansai.example"), &["gw.kansai.example".to_owned()], &[address]).expect("a leaf");
    assert!(is_client(&leaf, &ours, at(1)));
    for name in ["localhost", "127.0.0.1", "gw.kansai.example", "192.0.2.7"] {
        assert!(is_server(&leaf, &ours, name, at(1)), "{name}");
        assert!(!is_server(&leaf, &other, name, at(1)), "{name} under another's authority");
    }
    assert!(!is_client(&leaf, &other, at(1)));
    assert!(!is_server(&leaf, &ours, "wessex.example", at(1)));
    // Ninety days, and not a day before or after.
    assert!(is_client(&leaf, &ours, at(90)) && !is_client(&leaf, &ours, at(91)));
    let before = UnixTime::since_unix_epoch(Duration::from_secs(START.seconds() - 1));
    assert!(!is_client(&leaf, &ours, before));
    assert_eq!(
        names(&leaf.certificate_pem),
        [
            "spiffe://kansai.example/gateway",
            "dns:localhost",
            "ip:[127, 0, 0, 1]",
            "dns:gw.kansai.example",
            "ip:[192, 0, 2, 7]"
        ]
    );
    assert_eq!(PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).map(|_| ()).ok(), Some(()));
    assert!(!format!("{leaf:?}").contains("PRIVATE"));
    for name in ["", "a b", "*.kansai.example", "関所.example"] {
        assert!(ours.gateway(&party("kansai.example"), &[name.to_owned()], &[]).is_err(), "{name:?} is taken");
    }
}

#[test]
fn an_operator_is_a_client_and_no_server() {
    let ours = authority("kansai.example");
    for (role, uri) in [
        (Role::Operator, "spiffe://kansai.example/operator/aiko"),
        (Role::Officer, "spiffe://kansai.example/officer/aiko"),
        (Role::Regulator, "spiffe://kansai.example/regulator/aiko"),
    ] {
        let leaf = ours.operator("aiko", role).expect("a leaf");
        assert_eq!(names(&leaf.certificate_pem), [uri]);
        assert!(is_client(&leaf, &ours, at(1)) && !is_server(&leaf, &ours, "localhost", at(1)));
    }
    for name in ["", "Aiko", "a/b", "a b", &"a".repeat(65)] {
        assert!(ours.operator(name, Role::Operator).is_err(), "{name:?} is taken");
    }
}

#[test]
fn an_authority_may_sign_leaves_and_revocations_and_nothing_else() {
    let long = format!("{}.example", "a".repeat(63));
    for id in ["kansai.example", &long] {
        let ours = authority(id);
        with(&ours.certificate_pem(), |certificate| {
            let constraints = certificate.basic_constraints().expect("one extension").expect("constraints");
            assert!(constraints.critical && constraints.value.ca);
            assert_eq!(constraints.value.path_len_constraint, Some(0));
            let usage = certificate.key_usage().expect("one extension").expect("usage");
            assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
            assert!(!usage.value.digital_signature());
        });
        let leaf = ours.gateway(ours.party(), &[], &[]).expect("a leaf");
        with(&leaf.certificate_pem, |certificate| {
            assert!(!certificate.is_ca() && certificate.subject() != certificate.issuer());
            let usage = certificate.key_usage().expect("one extension").expect("usage");
            assert!(usage.value.digital_signature() && !usage.value.key_cert_sign());
        });
    }
    // A leaf never outlives its authority.
    let brief = Authority::new(&party("kansai.example"), START, 1).expect("an authority");
    let leaf = brief.gateway(brief.party(), &[], &[]).expect("a leaf");
    let end = with(&leaf.certificate_pem, |certificate| certificate.validity().not_after.timestamp());
    assert_eq!(end, i64::try_from(START.seconds() + DAY).expect("a date"));
}

#[test]
fn key_sets_name_the_key_by_its_thumbprint() {
    // RFC 8037, appendices A.2 and A.3.
    let published = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let set = serde_json::json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": published,
        "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "alg": "EdDSA", "use": "sig"}]});
    let mut key = [0; 32];
    let decoded = base64::Engine::decode_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD, published, &mut key);
    assert_eq!(decoded.ok(), Some(32));
    assert_eq!(jwks(&key), set);
}

#[test]
fn a_pass_key_signs_what_its_key_set_verifies() {
    let pem = ed25519_key_pem().expect("a key");
    assert_ne!(pem, ed25519_key_pem().expect("another key"));
    let set: jsonwebtoken::jwk::JwkSet =
        serde_json::from_value(jwks(&ed25519_public_key(&pem).expect("its public key"))).expect("a key set");
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    let claims = serde_json::json!({"sub": "service:local", "exp": u32::MAX});
    let key = jsonwebtoken::EncodingKey::from_ed_pem(pem.as_bytes()).expect("a PEM key");
    let token = jsonwebtoken::encode(&header, &claims, &key).expect("a token");
    let key = jsonwebtoken::DecodingKey::from_jwk(&set.keys[0]).expect("a usable key");
    let validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    let read = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation).expect("a verified token");
    assert_eq!(read.claims, claims);
    assert!(ed25519_public_key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").is_err());
}

const SECRETS: [&str; 8] =
    ["ca.key", "gateway.key", "log.key", "officer.key", "operator.key", "pass.key", "pseudonym.key", "witness.key"];
const SHARED: [&str; 5] = ["ca.pem", "gateway.pem", "jwks.json", "officer.pem", "operator.pem"];

fn mode(path: &Path) -> u32 {
    path.metadata().expect("a file").permissions().mode() & 0o7777
}

#[test]
fn secrets_are_written_for_their_owner_alone_and_nothing_is_overwritten_unasked() {
    let place = tempfile::tempdir().expect("a directory");
    let directory = place.path().join("kansai");
    let mut options = DevOptions {
        directory: directory.clone(),
        party: party("kansai.example"),
        valid_from: START,
        dns: Vec::new(),
        addresses: Vec::new(),
        force: false,
    };
    let mut written: Vec<String> = dev(&options)
        .expect("files")
        .iter()
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    written.sort();
    let mut promised = [SECRETS.as_slice(), SHARED.as_slice()].concat();
    promised.sort_unstable();
    assert_eq!(written, promised);
    assert_eq!(mode(&directory), 0o700);
    for name in SECRETS {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }

    let read = |name: &str| std::fs::read_to_string(directory.join(name)).expect("a file");
    let before = read("pass.key");
    let refusal = dev(&options).expect_err("it is there already").to_string();
    assert!(refusal.contains("--force") && refusal.contains("pass.key"), "{refusal}");
    assert_eq!(read("pass.key"), before);

    // A replacement does not keep a mode that was too wide.
    let wide = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(directory.join("pass.key"), wide).expect("a mode");
    options.force = true;
    dev(&options).expect("files");
    assert_ne!(read("pass.key"), before);
    assert_eq!(mode(&directory.join("pass.key")), 0o600);
    assert_eq!(std::fs::read_dir(&directory).expect("a directory").count(), promised.len(), "nothing is left over");
}
