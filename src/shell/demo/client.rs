//! The demo's people: applications behind a gateway, partners without one, operators.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::shell::certs::{Identity, ed25519_public_key, thumbprint};
use crate::types::{Digest, ExchangeId, Timestamp};

/// Payloads are kept up to here; of larger ones only length and digest.
const KEPT_BYTES: usize = 8 * 1024 * 1024;
/// No exchange of the story takes longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// What came back.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) bytes: u64,
}

impl Reply {
    /// The exchange's id.
    pub(super) fn exchange(&self) -> Option<&str> {
        self.headers.get("sekisho-exchange").and_then(|value| value.to_str().ok())
    }

    /// The code of a refusal.
    pub(super) fn code(&self) -> Option<String> {
        let problem: Value = serde_json::from_slice(&self.body).ok()?;
        problem.get("code").and_then(Value::as_str).map(str::to_owned)
    }
}

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
    send(TokioIo::new(connect(address).await?), request).await
}

/// Sends a request over mutual TLS with a certificate of `who`, trusting the authority of `provider`.
pub(super) async fn mutual_tls(
    address: SocketAddr,
    (certificate, key): (&str, &str),
    provider: &Identity,
    request: Request<Full<Bytes>>,
) -> Result<Reply> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(provider.authority.certificate_pem().as_bytes())?)?;
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let config = rustls::ClientConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
    let stream = connect(address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
    send(TokioIo::new(stream), request).await
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn send<I>(io: I, request: Request<Full<Bytes>>) -> Result<Reply>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    tokio::time::timeout(PATIENCE, exchange(io, request)).await.context("no answer in five minutes")?
}

async fn exchange<I>(io: I, request: Request<Full<Bytes>>) -> Result<Reply>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let connection = tokio::spawn(connection);
    let answer = match sender.send_request(request).await {
        Ok(answer) => answer,
        // The connection knows better why nothing came back, such as a TLS alert.
        Err(error) => {
            return Err(match connection.await {
                Ok(Err(cause)) => anyhow!(cause),
                _ => anyhow!(error),
            });
        }
    };
    let (head, mut body) = answer.into_parts();
    let (mut kept, mut bytes) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes += data.len() as u64;
            if kept.len() + data.len() <= KEPT_BYTES {
                kept.extend_from_slice(&data);
            }
        }
    }
    Ok(Reply { status: head.status, headers: head.headers, body: kept, bytes })
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
