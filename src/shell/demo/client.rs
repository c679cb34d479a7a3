//! The demo's people: applications behind a gateway, partners without one, operators.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use crate::shell::certs::{Identity, ed25519_public_key, thumbprint};
pub(super) use crate::shell::client::Reply;
use crate::shell::client::{self, Credentials};
use crate::types::{Digest, ExchangeId, Timestamp};

/// What a pass says; the story bends it.
#[derive(Clone)]
pub(super) struct Pass<'a> {
    pub(super) audience: &'a str,
    pub(super) purpose: &'a str,
    pub(super) agreement: Option<&'a str>,
    pub(super) issued: Timestamp,
    pub(super) certificate: Digest,
}

/// Sends a request over plain HTTP, as an application does to its own gateway.
pub(super) async fn local(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<Reply> {
    client::plain(&address.to_string(), request).await
}

/// Sends a request over mutual TLS with a certificate of `who`, trusting the authority of `provider`.
pub(super) async fn mutual_tls(
    address: SocketAddr,
    (certificate, key): (&str, &str),
    provider: &Identity,
    request: Request<Full<Bytes>>,
) -> Result<Reply> {
    let credentials =
        Credentials::read(certificate.as_bytes(), key.as_bytes(), provider.authority.certificate_pem().as_bytes())?;
    client::mutual_tls(&address.to_string(), "localhost", &credentials, request).await
}

/// A request of an application, with the three headers.
pub(super) fn ask(method: Method, uri: &str, purpose: &str, agreement: Option<&str>) -> http::request::Builder {
    let mut request = Request::builder().method(method).uri(uri).header(header::HOST, "localhost");
    request = request.header("sekisho-purpose", purpose).header("sekisho-action", "transfer");
    if let Some(agreement) = agreement {
        request = request.header("sekisho-agreement", agreement);
    }
    request
}

/// The digest of a certificate, as a pass is bound to it.
pub(super) fn certificate_digest(pem: &str) -> Result<Digest> {
    Ok(Digest::of(&CertificateDer::from_pem_slice(pem.as_bytes())?))
}

/// Signs a pass in the name of `issuer`, as a partner without a gateway does.
pub(super) fn sign(issuer: &str, identity: &Identity, pass: &Pass<'_>) -> Result<String> {
    let mut claims = json!({
        "iss": issuer,
        "aud": pass.audience,
        "sub": "service:demo",
        "iat": pass.issued.seconds(),
        "nbf": pass.issued.seconds(),
        "exp": pass.issued.plus(Duration::from_secs(300)).seconds(),
        "jti": ExchangeId::new(pass.issued),
        "cnf": { "x5t#S256": URL_SAFE_NO_PAD.encode(pass.certificate.as_bytes()) },
        "purpose": pass.purpose,
        "action": "transfer",
    });
    if let Some(agreement) = pass.agreement {
        claims["agreement"] = agreement.into();
    }
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some("sekisho-pass+jwt".to_owned());
    header.kid = Some(thumbprint(&ed25519_public_key(&identity.pass_key_pem)?));
    Ok(jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_pem(identity.pass_key_pem.as_bytes())?)?)
}
