//! A client to one destination, with its connections kept warm.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{BodyError, ForwardError, Payload, Timeouts};
use crate::enforce::Cleared;

/// Idle connections kept for one destination; further ones are closed after their answer.
const IDLE_CONNECTIONS: usize = 256;
/// Bytes of an answer's head, and of our read buffer.
const BUFFER_BYTES: usize = 64 * 1024;

/// Where a client connects to.
#[derive(Clone)]
pub struct Destination {
    authority: String,
    base: String,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
}

impl Destination {
    /// A data service of ours, `http://host:port/base`.
    ///
    /// # Errors
    /// [`ForwardError::Destination`] when the address is not of that form.
    pub fn upstream(url: &str) -> Result<Self, ForwardError> {
        let bad = || ForwardError::Destination(format!("{url} is not of the form http://host:port/path"));
        let uri: http::Uri = url.parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("http") || uri.query().is_some() {
            return Err(bad());
        }
        let authority = uri.authority().ok_or_else(bad)?;
        let authority = match authority.port_u16() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:80"),
        };
        Ok(Self { authority, base: uri.path().trim_end_matches('/').to_owned(), tls: None })
    }

    /// A partner's gateway at `host:port`, under a TLS configuration that accepts this partner only.
    ///
    /// # Errors
    /// [`ForwardError::Destination`] when the address is not of that form.
    pub fn partner(authority: &str, tls: Arc<rustls::ClientConfig>) -> Result<Self, ForwardError> {
        let bad = || ForwardError::Destination(format!("{authority} is not of the form host:port"));
        let (host, port) = authority.rsplit_once(':').ok_or_else(bad)?;
        port.parse::<u16>().map_err(|_| bad())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| bad())?;
        Ok(Self { authority: authority.to_owned(), base: String::new(), tls: Some((tls, name)) })
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

type Sender = SendRequest<Payload>;

/// Sends cleared requests to one destination over HTTP/1.1.
pub struct Client {
    destination: Destination,
    host: http::HeaderValue,
    timeouts: Timeouts,
    idle: Mutex<Vec<Sender>>,
}

impl Client {
    /// A client that connects when it first has to.
    ///
    /// # Errors
    /// [`ForwardError::Destination`] when the authority cannot stand in a `Host` header.
    pub fn new(destination: Destination, timeouts: Timeouts) -> Result<Self, ForwardError> {
        let host = http::HeaderValue::from_str(&destination.authority)
            .map_err(|_| ForwardError::Destination(format!("{} cannot be a Host", destination.authority)))?;
        Ok(Self { destination, host, timeouts, idle: Mutex::default() })
    }

    /// Sends a request on: `path` (with query) is appended to the destination's base. `payload` is `None` for a
    /// request without one. The clearance is what entitles to send at all.
    ///
    /// # Errors
    /// [`ForwardError`] when no answer began.
    pub async fn send(
        &self,
        _cleared: &Cleared,
        method: http::Method,
        path: &str,
        mut headers: http::HeaderMap,
        payload: Option<Payload>,
    ) -> Result<http::Response<Incoming>, ForwardError> {
        headers.insert(http::header::HOST, self.host.clone());
        let uri = format!("{}{path}", self.destination.base);
        let uri = http::Uri::try_from(uri).map_err(|_| {
            ForwardError::Destination(format!("{} has a base path that cannot be used", self.destination.authority))
        })?;
        let repeatable = payload.is_none();
        let taken = Arc::new(AtomicU64::new(0));
        let payload = payload.map_or_else(nothing, |payload| {
            let taken = Arc::clone(&taken);
            payload
                .map_frame(move |frame| {
                    taken.fetch_add(1, Ordering::Relaxed);
                    frame
                })
                .boxed_unsync()
        });
        let mut request = http::Request::new(payload);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let mut exchange = pin!(self.exchange(request, repeatable));
        loop {
            let before = taken.load(Ordering::Relaxed);
            if let Ok(answer) = tokio::time::timeout(self.timeouts.response, exchange.as_mut()).await {
                return answer;
            }
            // A long upload is no silence: only a side that takes nothing more and says nothing is given up.
            if taken.load(Ordering::Relaxed) == before {
                return Err(ForwardError::ResponseTimeout(self.destination.authority.clone()));
            }
        }
    }

    async fn exchange(
        &self,
        mut request: http::Request<Payload>,
        repeatable: bool,
    ) -> Result<http::Response<Incoming>, ForwardError> {
        // A kept connection may have been closed by the other side a moment ago: what was provably not sent, or asks
        // for nothing but an answer, is sent once more over a new one.
        while let Some(mut sender) = self.kept() {
            let again = repeatable.then(|| copy(&request));
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    self.keep(sender);
                    return Ok(answer);
                }
                Err(mut failure) => match failure.take_message().or(again) {
                    Some(unsent) => request = unsent,
                    None => return Err(self.broken(failure.into_error())),
                },
            }
        }
        // Boxed: the room for a TLS handshake would otherwise be part of every exchange.
        let mut sender = Box::pin(self.connect()).await?;
        let answer = sender.send_request(request).await.map_err(|cause| self.broken(cause))?;
        self.keep(sender);
        Ok(answer)
    }

    fn broken(&self, cause: hyper::Error) -> ForwardError {
        ForwardError::Broken { authority: self.destination.authority.clone(), cause }
    }

    /// A kept connection that is ready for a request.
    fn kept(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(place) = idle.iter().rposition(|sender| sender.is_ready() || sender.is_closed()) {
            let sender = idle.swap_remove(place);
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection; it is ready again once its answer's payload has been read.
    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= IDLE_CONNECTIONS {
            idle.retain(|sender| !sender.is_closed());
        }
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(sender);
        }
    }

    async fn connect(&self) -> Result<Sender, ForwardError> {
        match tokio::time::timeout(self.timeouts.connect, self.handshake()).await {
            Ok(connected) => connected,
            Err(_elapsed) => Err(ForwardError::ConnectTimeout(self.destination.authority.clone())),
        }
    }

    async fn handshake(&self) -> Result<Sender, ForwardError> {
        let failed = |cause: BodyError| ForwardError::Connect { authority: self.destination.authority.clone(), cause };
        let stream = TcpStream::connect(&self.destination.authority).await.map_err(|error| failed(error.into()))?;
        stream.set_nodelay(true).map_err(|error| failed(error.into()))?;
        match &self.destination.tls {
            None => http1(stream).await.map_err(|error| failed(error.into())),
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), stream).await.map_err(|error| failed(error.into()))?;
                http1(stream).await.map_err(|error| failed(error.into()))
            }
        }
    }
}

async fn http1<S>(stream: S) -> Result<Sender, hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        hyper::client::conn::http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an upstream or partner ended");
        }
    });
    Ok(sender)
}

/// The payload of a request that has none.
fn nothing() -> Payload {
    Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync()
}

/// The same request once more; only for requests without a payload.
fn copy(request: &http::Request<Payload>) -> http::Request<Payload> {
    let mut copy = http::Request::new(nothing());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
