//! A bundle from a bundle server: one GET, as OPA's bundle service defines it, with the server trusted for nothing.
//!
//! `forward` carries data and sends nothing without a clearance; what comes here is a policy, asked for by ourselves. One
//! connection a look: a source is looked at once a minute, and a kept connection would have to be watched.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Trouble;
use crate::authenticate::anonymous_client;
use crate::decide::ARCHIVE_BYTES;
use crate::shell::config::BundleUrl;
use crate::types::Clock;

/// Until there is a connection, TLS included: as long as a partner's gateway may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Until the whole archive is there: the largest one over a line of 2 Mbit/s.
const WHOLE: Duration = Duration::from_secs(60);
/// The longest entity tag that is kept, in bytes.
const ETAG_BYTES: usize = 512;
/// The largest head of an answer, in bytes.
const HEAD_BYTES: usize = 32 * 1024;

/// A bundle server and the bundle on it.
pub(super) struct Server {
    url: BundleUrl,
    host: HeaderValue,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
}

/// What the server answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// It has nothing else than what the entity tag names.
    Unchanged,
    /// An archive.
    Archive {
        /// Its bytes, not judged yet.
        bytes: Bytes,
        /// Its entity tag, if the server gave one.
        etag: Option<String>,
    },
}

impl Server {
    /// A server that is known by its name under `anchors`, or, with none and plain http, not at all.
    ///
    /// # Errors
    /// When the anchors cannot be used or the name is none that a certificate could have.
    pub(super) fn new(
        url: BundleUrl,
        anchors: &[CertificateDer<'static>],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, anyhow::Error> {
        let host = HeaderValue::try_from(url.endpoint().to_string())?;
        let tls = match url.is_https() {
            true => Some((anonymous_client(anchors, clock)?, ServerName::try_from(url.endpoint().host.clone())?)),
            false => None,
        };
        Ok(Self { url, host, tls })
    }

    /// Asks once. `etag` is that of what we have.
    pub(super) async fn ask(&self, etag: Option<&str>) -> Result<Answer, Trouble> {
        let late = |_| Trouble::new("source_timeout", format!("{} was too slow: try it with curl", self.url));
        tokio::time::timeout(WHOLE, self.exchange(etag)).await.map_err(late)?
    }

    async fn exchange(&self, etag: Option<&str>) -> Result<Answer, Trouble> {
        let mut request = Request::builder()
            .uri(self.url.target())
            .header(header::HOST, self.host.clone())
            .header(header::ACCEPT_ENCODING, "identity")
            // Whole bundles: a delta is a change that nobody signed as a whole.
            .header("prefer", "modes=snapshot")
            .header(header::USER_AGENT, concat!("sekisho/", env!("CARGO_PKG_VERSION")));
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| Trouble::new("source_unreachable", format!("{} cannot be asked: {error}", self.url)))?;
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK => self.archive(response).await,
            // A server that says so without having been asked whether it changed tells nothing.
            StatusCode::NOT_MODIFIED if etag.is_some() => Ok(Answer::Unchanged),
            status if status.is_redirection() => {
                let what =
                    format!("{} answered {status}: redirects are not followed, name the final address", self.url);
                Err(Trouble::new("source_refused", what))
            }
            status => {
                let what = format!("{} answered {status}: look at the bundle server and at the path", self.url);
                Err(Trouble::new("source_refused", what))
            }
        }
    }

    async fn send(&self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Trouble> {
        let unreachable = |error: &dyn std::fmt::Display| {
            let what = format!("{} cannot be reached: {error}", self.url);
            Trouble::new("source_unreachable", what)
        };
        let authority = self.url.endpoint().to_string();
        let connect = async {
            let stream = TcpStream::connect(&authority).await.map_err(|error| unreachable(&error))?;
            match &self.tls {
                None => hello(TokioIo::new(stream)).await.map_err(|error| unreachable(&error)),
                Some((config, name)) => {
                    let connector = TlsConnector::from(Arc::clone(config));
                    let stream = connector.connect(name.clone(), stream).await.map_err(|error| unreachable(&error))?;
                    hello(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))
                }
            }
        };
        let mut sender = tokio::time::timeout(CONNECT, connect).await.map_err(|_| {
            Trouble::new("source_timeout", format!("{} does not accept a connection in time", self.url))
        })??;
        sender.send_request(request).await.map_err(|error| unreachable(&error))
    }

    async fn archive(&self, response: Response<Incoming>) -> Result<Answer, Trouble> {
        let (head, mut body) = response.into_parts();
        if head.headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            let what = format!("{} packed the archive once more: serve it without Content-Encoding", self.url);
            return Err(Trouble::new("source_unreadable", what));
        }
        let too_large = || {
            let what = format!("{} sends more than the {ARCHIVE_BYTES} bytes of a bundle", self.url);
            Trouble::new("source_too_large", what)
        };
        if body.size_hint().lower() > ARCHIVE_BYTES as u64 {
            return Err(too_large());
        }
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Trouble::new("source_unreachable", format!("the answer of {} broke off: {error}", self.url))
            })?;
            if let Some(piece) = frame.data_ref() {
                if bytes.len() + piece.len() > ARCHIVE_BYTES {
                    return Err(too_large());
                }
                bytes.extend_from_slice(piece);
            }
        }
        let etag = head.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok());
        let etag = etag.filter(|etag| etag.len() <= ETAG_BYTES).map(str::to_owned);
        Ok(Answer::Archive { bytes: bytes.freeze(), etag })
    }
}

type Sender = hyper::client::conn::http1::SendRequest<Empty<Bytes>>;

async fn hello<S>(stream: S) -> Result<Sender, hyper::Error>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) =
        hyper::client::conn::http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(stream).await?;
    // It ends with the sender, or with the answer that is still being read.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a bundle server ended");
        }
    });
    Ok(sender)
}
