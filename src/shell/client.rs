//! A small HTTP client for commands: one request over a connection of its own, plain or mutual TLS.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Answers are kept up to here; of larger ones only the length.
const KEPT_BYTES: usize = 64 * 1024 * 1024;
/// Answers that go into a file are taken up to here: some weeks of a log's checkpoints.
const FILED_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Who asks, and whom it believes.
pub(super) struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: rustls::RootCertStore,
}

impl Credentials {
    /// A certificate chain, its private key, and the anchors of the other side, all PEM.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(super) fn read(certificate: &[u8], key: &[u8], anchors: &[u8]) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for anchor in super::assemble::certificates(anchors)? {
            roots.add(anchor).context("an anchor cannot be used")?;
        }
        Ok(Self {
            chain: super::assemble::certificates(certificate)?,
            key: PrivateKeyDer::from_pem_slice(key).context("reading the private key")?,
            roots,
        })
    }
}

/// What came back.
pub(in crate::shell) struct Reply {
    pub(in crate::shell) status: StatusCode,
    pub(in crate::shell) headers: HeaderMap,
    pub(in crate::shell) body: Vec<u8>,
    pub(in crate::shell) bytes: u64,
}

impl Reply {
    /// The exchange's id.
    pub(in crate::shell) fn exchange(&self) -> Option<&str> {
        self.headers.get("sekisho-exchange").and_then(|value| value.to_str().ok())
    }

    /// The code of a refusal.
    pub(in crate::shell) fn code(&self) -> Option<String> {
        let problem: Value = serde_json::from_slice(&self.body).ok()?;
        problem.get("code").and_then(Value::as_str).map(str::to_owned)
    }
}

/// Sends a request over plain HTTP to `host:port`.
pub(super) async fn plain(address: &str, request: Request<Full<Bytes>>) -> Result<Reply> {
    send(TokioIo::new(connect(address).await?), request, None).await
}

/// As [`plain`], or, with credentials for a name, as [`mutual_tls`]; the body of a good answer goes into a file.
pub(super) async fn into_file(
    address: &str,
    tls: Option<(&str, &Credentials)>,
    request: Request<Full<Bytes>>,
    file: &mut File,
) -> Result<Reply> {
    match tls {
        None => send(TokioIo::new(connect(address).await?), request, Some(file)).await,
        Some((name, credentials)) => {
            send(TokioIo::new(secured(address, name, credentials).await?), request, Some(file)).await
        }
    }
}

/// Sends a request over mutual TLS to `host:port`, where a certificate for `name` is expected.
pub(super) async fn mutual_tls(
    address: &str,
    name: &str,
    credentials: &Credentials,
    request: Request<Full<Bytes>>,
) -> Result<Reply> {
    send(TokioIo::new(secured(address, name, credentials).await?), request, None).await
}

async fn secured(address: &str, name: &str, credentials: &Credentials) -> Result<TlsStream<TcpStream>> {
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(credentials.roots.clone())
        .with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    let stream = connect(address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    Ok(connector.connect(ServerName::try_from(name.to_owned())?, stream).await?)
}

async fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn send<I>(io: I, request: Request<Full<Bytes>>, file: Option<&mut File>) -> Result<Reply>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    tokio::time::timeout(PATIENCE, exchange(io, request, file)).await.context("no answer in five minutes")?
}

async fn exchange<I>(io: I, request: Request<Full<Bytes>>, file: Option<&mut File>) -> Result<Reply>
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
    let mut file = file.filter(|_| head.status == StatusCode::OK);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes += data.len() as u64;
            if let Some(file) = &mut file {
                if bytes > FILED_BYTES {
                    bail!("the answer has more than {FILED_BYTES} bytes");
                }
                file.write_all(&data)?;
            } else if kept.len() + data.len() <= KEPT_BYTES {
                kept.extend_from_slice(&data);
            }
        }
    }
    Ok(Reply { status: head.status, headers: head.headers, body: kept, bytes })
}
