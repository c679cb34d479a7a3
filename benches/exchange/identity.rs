//! Who the bench is: two parties' certificates and the pass, all made for one run and gone with it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use sekisho::types::{Clock, Digest, ExchangeId, SystemClock};
use serde_json::json;
use time::{Duration, OffsetDateTime};

/// The party whose gateway is measured.
pub const PROVIDER: &str = "bench.example";
/// The party that asks.
pub const CONSUMER: &str = "bench-client.example";

/// The longest life that a pass may have, in seconds.
pub const PASS_LIFE: u64 = 600;

/// One party's authority and what it vouches for.
struct Party {
    authority_pem: String,
    leaf: CertificateDer<'static>,
    leaf_pem: String,
    key: KeyPair,
}

/// Everything that one run needs to know itself.
pub struct Identity {
    provider: Party,
    consumer: Party,
    pass_key: KeyPair,
    provider_root: CertificateDer<'static>,
}

impl Identity {
    /// New keys and certificates, valid for a day.
    pub fn new() -> anyhow::Result<Self> {
        let local = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let (provider, provider_root) = party(PROVIDER, &local)?;
        let (consumer, _) = party(CONSUMER, &[])?;
        Ok(Self { provider, consumer, pass_key: KeyPair::generate_for(&PKCS_ED25519)?, provider_root })
    }

    /// Writes what a peer reads: `server.pem server.key client-ca.pem client-jwks.json`, and `pass.key log.key` for the
    /// gateway's own signatures. Keys are readable by their owner only.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        fs::write(directory.join("server.pem"), &self.provider.leaf_pem)?;
        fs::write(directory.join("client-ca.pem"), &self.consumer.authority_pem)?;
        fs::write(directory.join("client-jwks.json"), json!({ "keys": [self.jwk()] }).to_string())?;
        secret(&directory.join("server.key"), &self.provider.key.serialize_pem())?;
        for name in ["pass.key", "log.key"] {
            secret(&directory.join(name), &KeyPair::generate_for(&PKCS_ED25519)?.serialize_pem())?;
        }
        Ok(())
    }

    /// A pass for `PROVIDER`, issued now and valid for [`PASS_LIFE`].
    pub fn pass(&self) -> anyhow::Result<String> {
        let now = SystemClock.now();
        let claims = json!({
            "iss": CONSUMER,
            "aud": PROVIDER,
            "sub": "service:bench",
            "iat": now.seconds(),
            "nbf": now.seconds(),
            "exp": now.seconds() + PASS_LIFE,
            "jti": ExchangeId::new(now),
            "cnf": { "x5t#S256": URL_SAFE_NO_PAD.encode(Digest::of(&self.consumer.leaf).as_bytes()) },
            "purpose": "dpv:ScientificResearch",
            "action": "transfer",
        });
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("sekisho-pass+jwt".to_owned());
        header.kid = Some(self.key_id());
        let key = EncodingKey::from_ed_der(&self.pass_key.serialize_der());
        jsonwebtoken::encode(&header, &claims, &key).context("the pass cannot be signed")
    }

    /// TLS 1.3 with the consumer's certificate, or without any when `certified` is false. One cipher suite only, so that
    /// every peer does the same work for a byte.
    pub fn client(&self, certified: bool) -> anyhow::Result<Arc<ClientConfig>> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
        let mut roots = RootCertStore::empty();
        roots.add(self.provider_root.clone())?;
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
        let mut config = if certified {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.consumer.key.serialize_der()));
            builder.with_client_auth_cert(vec![self.consumer.leaf.clone()], key)?
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// The public half of the pass key (RFC 8037, section 2).
    fn jwk(&self) -> serde_json::Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": self.x(), "kid": self.key_id(), "alg": "EdDSA", "use": "sig" })
    }

    /// The thumbprint of the pass key (RFC 7638, section 3).
    fn key_id(&self) -> String {
        let required = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.x());
        URL_SAFE_NO_PAD.encode(Digest::of(required.as_bytes()).as_bytes())
    }

    fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pass_key.public_key_raw())
    }
}

/// An authority of `name` and a leaf for its gateway, and the authority's certificate.
fn party(name: &str, hosts: &[String]) -> anyhow::Result<(Party, CertificateDer<'static>)> {
    let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = dated(&[], &format!("{name} authority"))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = params.self_signed(&authority_key)?;
    let issuer = Issuer::new(params, authority_key);

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = dated(hosts, name)?;
    params.subject_alt_names.push(SanType::URI(format!("spiffe://{name}/gateway").try_into()?));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A gateway is at both ends of connections.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let leaf = params.signed_by(&key, &issuer)?;

    let root = authority.der().clone();
    Ok((Party { authority_pem: authority.pem(), leaf_pem: leaf.pem(), leaf: leaf.der().clone(), key }, root))
}

/// Parameters of a certificate that is valid from an hour ago, for clocks that differ, until tomorrow.
fn dated(hosts: &[String], name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(1);
    Ok(params)
}

/// Writes a file that nobody else may read, created so from the first instant.
fn secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
