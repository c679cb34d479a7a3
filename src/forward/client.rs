//! A client to one destination, with its connections kept warm.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::{BodyError, ForwardError, Payload, Timeouts, Upload};
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

/// A connection that takes requests.
struct Sender {
    requests: SendRequest<Payload>,
    /// Ends the connection at once, whatever it waits for.
    abort: AbortHandle,
}

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

    /// Sends a request without a payload on: `path` (with query) is appended to the destination's base. The clearance is
    /// what entitles to send at all.
    ///
    /// # Errors
    /// [`ForwardError`] when no answer began.
    pub async fn send(
        &self,
        _cleared: &Cleared,
        method: http::Method,
        path: &str,
        headers: http::HeaderMap,
    ) -> Result<http::Response<Incoming>, ForwardError> {
        let request = self.request(method, path, headers, nothing())?;
        match tokio::time::timeout(self.timeouts.response, self.exchange(request, None)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(ForwardError::ResponseTimeout(self.destination.authority.clone())),
        }
    }

    /// Sends a request with a payload on. The answer may begin before the payload has ended: [`Client::stalled`] says
    /// how long to wait for the rest. Where this fails, the payload is given up.
    ///
    /// # Errors
    /// [`ForwardError`] when no answer began.
    pub async fn upload(
        &self,
        _cleared: &Cleared,
        method: http::Method,
        path: &str,
        headers: http::HeaderMap,
        upload: &Upload,
    ) -> Result<http::Response<Incoming>, ForwardError> {
        let payload = upload.take().unwrap_or_else(nothing);
        let request = self.request(method, path, headers, payload)?;
        let answer = tokio::select! {
            biased;
            answer = self.exchange(request, Some(upload)) => answer,
            () = self.stalled(upload) => Err(ForwardError::ResponseTimeout(self.destination.authority.clone())),
        };
        if answer.is_err() {
            upload.abort();
        }
        answer
    }

    /// Says something to a partner's gateway that is no exchange and carries nobody's data, such as a receipt.
    ///
    /// # Errors
    /// [`ForwardError`] when no answer began.
    pub async fn word(
        &self,
        method: http::Method,
        path: &str,
        headers: http::HeaderMap,
        body: Bytes,
    ) -> Result<http::Response<Incoming>, ForwardError> {
        let upload = Upload::new(Full::new(body).map_err(|never| match never {}));
        let request = self.request(method, path, headers, upload.take().unwrap_or_else(nothing))?;
        match tokio::time::timeout(self.timeouts.response, self.exchange(request, Some(&upload))).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(ForwardError::ResponseTimeout(self.destination.authority.clone())),
        }
    }

    /// Returns once the destination has taken nothing of an upload for as long as it may. A long upload is no silence:
    /// only a side that takes nothing more and says nothing is given up.
    pub async fn stalled(&self, upload: &Upload) {
        upload.stalled(self.timeouts.response).await;
    }

    fn request(
        &self,
        method: http::Method,
        path: &str,
        mut headers: http::HeaderMap,
        payload: Payload,
    ) -> Result<http::Request<Payload>, ForwardError> {
        headers.insert(http::header::HOST, self.host.clone());
        let uri = format!("{}{path}", self.destination.base);
        let uri = http::Uri::try_from(uri).map_err(|_| {
            ForwardError::Destination(format!("{} has a base path that cannot be used", self.destination.authority))
        })?;
        let mut request = http::Request::new(payload);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn exchange(
        &self,
        mut request: http::Request<Payload>,
        upload: Option<&Upload>,
    ) -> Result<http::Response<Incoming>, ForwardError> {
        // A kept connection may have been closed by the other side a moment ago: what was provably not sent, or asks
        // for nothing but an answer, is sent once more over a new one. Not over another kept one: a request that is
        // itself what makes the other side close would end them all.
        if let Some(mut sender) = self.kept() {
            let again = upload.is_none().then(|| copy(&request));
            if let Some(upload) = upload {
                upload.goes_over(sender.abort.clone());
            }
            match sender.requests.try_send_request(request).await {
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
        if let Some(upload) = upload {
            upload.goes_over(sender.abort.clone());
        }
        let answer = sender.requests.send_request(request).await.map_err(|cause| self.broken(cause))?;
        self.keep(sender);
        Ok(answer)
    }

    fn broken(&self, cause: hyper::Error) -> ForwardError {
        ForwardError::Broken { authority: self.destination.authority.clone(), cause }
    }

    /// A kept connection that is ready for a request.
    fn kept(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(place) =
            idle.iter().rposition(|sender| sender.requests.is_ready() || sender.requests.is_closed())
        {
            let sender = idle.swap_remove(place);
            if sender.requests.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection; it is ready again once its answer's payload has been read.
    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= IDLE_CONNECTIONS {
            idle.retain(|sender| !sender.requests.is_closed());
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
    let (requests, connection) =
        hyper::client::conn::http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an upstream or partner ended");
        }
    });
    Ok(Sender { requests, abort: connection.abort_handle() })
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::Barrier;

    use super::*;

    const KEPT: usize = 3;

    /// Answers the first request of each connection, the first few together, and closes it at the second.
    async fn serve_one_each(socket: TcpListener, second: Arc<AtomicUsize>) {
        let together = Arc::new(Barrier::new(KEPT));
        for number in 0.. {
            let (mut stream, _) = socket.accept().await.unwrap();
            let (together, second) = (Arc::clone(&together), Arc::clone(&second));
            tokio::spawn(async move {
                let mut head = [0; 4096];
                assert_ne!(stream.read(&mut head).await.unwrap(), 0);
                if number < KEPT {
                    together.wait().await;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                if stream.read(&mut head).await.is_ok_and(|bytes| bytes > 0) {
                    second.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    }

    #[tokio::test]
    async fn a_request_is_sent_once_more_and_no_oftener() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let destination = Destination::upstream(&format!("http://{}", socket.local_addr().unwrap())).unwrap();
        let second = Arc::new(AtomicUsize::new(0));
        let server = tokio::spawn(serve_one_each(socket, Arc::clone(&second)));
        let client = Client::new(destination, Timeouts::default()).unwrap();
        let exchange = async || {
            let request = client.request(http::Method::GET, "/", http::HeaderMap::new(), nothing()).unwrap();
            client.exchange(request, None).await.unwrap().into_body().collect().await.unwrap();
        };
        tokio::join!(exchange(), exchange(), exchange());
        assert_eq!(client.idle.lock().unwrap().len(), KEPT);
        exchange().await;
        assert_eq!(second.load(Ordering::SeqCst), 1, "kept connections were used up for one request");
        server.abort();
    }
}
