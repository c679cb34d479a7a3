//! Small requests to a partner's gateway that are no exchange: over mutual TLS, on a connection that is kept, with bounded
//! answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

/// The largest answer: a checkpoint with sixteen post-quantum signatures.
const ANSWER_BYTES: usize = 128 * 1024;
/// The longest time from a request to its whole answer, with a handshake if there has to be one.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The longest code of a refusal that is believed to be one.
const MOST_CODE: usize = 64;

/// A client to one partner's gateway.
pub(super) struct PeerClient {
    authority: String,
    host: HeaderValue,
    name: ServerName<'static>,
    tls: Arc<rustls::ClientConfig>,
    kept: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

/// A whole answer.
pub(super) struct PeerReply {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its `Content-Type`, empty when it has none.
    pub(super) kind: String,
    /// Its payload as text.
    pub(super) text: String,
}

/// Why there is no answer, as a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoAnswer(pub(super) &'static str);

impl PeerClient {
    /// A client that connects when it first has to; `None` when the address is not `host:port`. The TLS configuration has
    /// to accept this partner and nobody else.
    pub(super) fn new(authority: &str, tls: Arc<rustls::ClientConfig>) -> Option<Self> {
        let (host, _) = authority.rsplit_once(':')?;
        let name = ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned()).ok()?;
        let host = HeaderValue::from_str(authority).ok()?;
        Some(Self { authority: authority.to_owned(), host, name, tls, kept: Mutex::new(None) })
    }

    /// Sends a request that may as well arrive twice, and reads the whole answer.
    ///
    /// # Errors
    /// [`NoAnswer`] when none came whole and in time.
    pub(super) async fn send(&self, method: Method, path: &str, body: &Bytes) -> Result<PeerReply, NoAnswer> {
        match tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(NoAnswer("witness_timeout")),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: &Bytes) -> Result<PeerReply, NoAnswer> {
        // Held over the whole exchange, so that there is one connection; what breaks it off lets it go.
        let mut place = self.kept.lock().await;
        if let Some(mut kept) = place.take().filter(|kept| !kept.is_closed()) {
            // The other side may have closed it a moment ago: then once more over a new one.
            if kept.ready().await.is_ok()
                && let Ok(reply) = self.request(&mut kept, &method, path, body).await
            {
                *place = Some(kept);
                return Ok(reply);
            }
        }
        let mut fresh = self.connect().await?;
        let reply = self.request(&mut fresh, &method, path, body).await?;
        *place = Some(fresh);
        Ok(reply)
    }

    async fn request(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        method: &Method,
        path: &str,
        body: &Bytes,
    ) -> Result<PeerReply, NoAnswer> {
        let broken = |what: &dyn std::fmt::Display| {
            tracing::debug!(authority = self.authority, error = %what, "a partner did not answer");
            NoAnswer("witness_broken")
        };
        let request = Request::builder().method(method.clone()).uri(path).header(header::HOST, self.host.clone());
        let request = request.body(Full::new(body.clone())).map_err(|error| broken(&error))?;
        let (head, body) = sender.send_request(request).await.map_err(|error| broken(&error))?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|error| broken(&error))?.to_bytes();
        let text = String::from_utf8(body.to_vec()).map_err(|error| broken(&error))?;
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        Ok(PeerReply { status: head.status, kind: kind.to_owned(), text })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, NoAnswer> {
        let unreachable = |what: &dyn std::fmt::Display| {
            tracing::debug!(authority = self.authority, error = %what, "a partner cannot be reached");
            NoAnswer("witness_unreachable")
        };
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| unreachable(&error))?;
        stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(self.name.clone(), stream).await.map_err(|error| unreachable(&error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a partner ended");
            }
        });
        Ok(sender)
    }
}

impl PeerReply {
    /// The code of a refusal, or its status.
    pub(super) fn code(&self) -> String {
        let problem: Option<Value> = serde_json::from_str(&self.text).ok();
        let code = problem.as_ref().and_then(|problem| problem.get("code")).and_then(Value::as_str);
        let is_code = |code: &&str| {
            code.len() <= MOST_CODE && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        code.filter(is_code).map_or_else(|| format!("status_{}", self.status.as_u16()), str::to_owned)
    }
}
