//! Clients: partners over mutual TLS, and applications over plain HTTP, each knowing only what its side may know.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use sekisho::shell::certs::Leaf;
use sekisho::types::Clock;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Pass, soon};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// The body of a request of a client, and of an answer of an upstream.
pub type ClientBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Failure>;

/// A body that is there at once.
pub fn whole(bytes: impl Into<Bytes>) -> ClientBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Feeds a body piece by piece. Dropping it ends the body; an error breaks it off.
pub type Feeder = mpsc::Sender<Result<Bytes, Failure>>;

/// A body and its feeder; one piece waits at most.
pub fn fed() -> (Feeder, ClientBody) {
    let (feeder, pieces) = mpsc::channel(1);
    (feeder, Fed(pieces).boxed_unsync())
}

struct Fed(mpsc::Receiver<Result<Bytes, Failure>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    async fn read(response: Response<Incoming>) -> Result<Self, Failure> {
        let (head, body) = response.into_parts();
        Ok(Self { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    }

    /// One header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The exchange's id.
    pub fn exchange(&self) -> &str {
        self.header("sekisho-exchange").expect("every answer names its exchange")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The code of a refusal, after checking that it is a problem document that says the same as the head.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{:?}", self.body);
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        if let Some(exchange) = self.header("sekisho-exchange") {
            assert_eq!(problem["exchange"], exchange);
        }
        problem["code"].as_str().unwrap().to_owned()
    }

    /// The rules that a refusal names, in order; each with a reason and a remedy.
    pub fn rules(&self) -> Vec<String> {
        let problem = self.json();
        let reasons = problem["reasons"].as_array().cloned().unwrap_or_default();
        for reason in &reasons {
            for part in ["why", "remedy"] {
                assert!(reason[part].as_str().is_some_and(|text| text.len() > 10), "{reason} lacks {part}");
            }
        }
        reasons.iter().map(|reason| reason["rule"].as_str().unwrap().to_owned()).collect()
    }
}

/// Which HTTP a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// What a client knows of the gateway that it asks.
#[derive(Clone)]
pub struct Provider {
    pub party: String,
    pub address: SocketAddr,
    pub authority_pem: String,
}

/// A client with a certificate and a key for passes.
#[derive(Clone)]
pub struct Peer {
    pub party: String,
    pub leaf: Leaf,
    pub address: SocketAddr,
    pub pass_key_pem: String,
    pub clock: Arc<dyn Clock>,
    pub protocol: Protocol,
    provider: Provider,
    receive_buffer: Option<u32>,
    window: Option<u32>,
}

impl Peer {
    pub fn new(party: &str, leaf: Leaf, pass_key_pem: &str, provider: &Provider, clock: Arc<dyn Clock>) -> Self {
        Self {
            party: party.to_owned(),
            leaf,
            address: provider.address,
            pass_key_pem: pass_key_pem.to_owned(),
            clock,
            protocol: Protocol::Http1,
            provider: provider.clone(),
            receive_buffer: None,
            window: None,
        }
    }

    /// Speaks HTTP/2 from now on.
    pub fn http2(mut self) -> Self {
        self.protocol = Protocol::Http2;
        self
    }

    /// Lets the system hold only so much for this client.
    pub fn with_receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Over HTTP/2, lets each answer begin with only so many bytes until it is read.
    pub fn with_window(mut self, bytes: u32) -> Self {
        self.window = Some(bytes);
        self
    }

    /// A pass as it should be, to be changed and signed.
    pub fn pass(&self, purpose: &str) -> Pass {
        Pass::new(&self.party, &self.provider.party, &self.leaf, &self.pass_key_pem, &*self.clock).purpose(purpose)
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        let stream = self.handshake().await?;
        match self.protocol {
            Protocol::Http1 => Connection::http1(stream).await,
            Protocol::Http2 => {
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(self.window)
                    .handshake(TokioIo::new(stream))
                    .await?;
                tokio::spawn(connection);
                Ok(Connection { sender: Sender::Http2(sender), host: "localhost".to_owned() })
            }
        }
    }

    /// The key exchange that a handshake settles on.
    pub async fn key_exchange(&self) -> Option<rustls::NamedGroup> {
        let stream = self.handshake().await.unwrap();
        stream.get_ref().1.negotiated_key_exchange_group().map(|group| group.name())
    }

    /// Shakes hands, says nothing and listens: what the other side says of our certificate.
    pub async fn listen(&self) -> Result<Vec<u8>, std::io::Error> {
        let mut heard = Vec::new();
        let mut stream = match self.handshake().await {
            Ok(stream) => stream,
            Err(error) => return Err(std::io::Error::other(error)),
        };
        soon("a word", stream.read_to_end(&mut heard)).await?;
        Ok(heard)
    }

    async fn handshake(&self) -> Result<TlsStream<TcpStream>, Failure> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(self.tls()));
        Ok(connector.connect(ServerName::try_from("localhost")?, stream).await?)
    }

    fn tls(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.provider.authority_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = vec![CertificateDer::from_pem_slice(self.leaf.certificate_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.leaf.key_pem.as_bytes()).unwrap();
        let mut config = ClientConfig::builder_with_details(provider, Arc::new(Time(Arc::clone(&self.clock))))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        config.alpn_protocols = match self.protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        config
    }

    /// One request over a connection of its own.
    pub async fn send(&self, request: Request<ClientBody>) -> Result<Reply, Failure> {
        self.connect().await?.send(request).await
    }

    /// A GET with a signed pass.
    pub async fn get(&self, path: &str, pass: &str) -> Reply {
        self.send(get(path, pass)).await.unwrap()
    }

    /// A request without a pass, as people send them to the admin listener.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Reply {
        let request = Request::builder().method(method).uri(path).body(whole(body.to_string())).unwrap();
        self.send(request).await.unwrap()
    }

    /// Posts text as it is.
    pub async fn post(&self, path: &str, text: &str) -> Reply {
        let request = Request::post(path).body(whole(text.to_owned())).unwrap();
        self.send(request).await.unwrap()
    }
}

/// A GET with a signed pass.
pub fn get(path: &str, pass: &str) -> Request<ClientBody> {
    let request = Request::builder().uri(path).header("authorization", format!("Bearer {pass}"));
    request.body(whole("")).unwrap()
}

struct Time(Arc<dyn Clock>);

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0.now().seconds())))
    }
}

enum Sender {
    Http1(http1::SendRequest<ClientBody>),
    Http2(http2::SendRequest<ClientBody>),
}

/// One connection, kept alive between requests.
pub struct Connection {
    sender: Sender,
    host: String,
}

impl Connection {
    /// Plain HTTP, as our own applications speak it.
    pub async fn plain(address: SocketAddr) -> Result<Self, Failure> {
        Self::http1(TcpStream::connect(address).await?).await
    }

    async fn http1<S>(stream: S) -> Result<Self, Failure>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender: Sender::Http1(sender), host: "localhost".to_owned() })
    }

    /// Sends a request; gives the answer once its head is there.
    pub async fn open(&mut self, mut request: Request<ClientBody>) -> Result<Response<Incoming>, Failure> {
        let answer = match &mut self.sender {
            Sender::Http1(sender) => {
                let host = self.host.parse().unwrap();
                request.headers_mut().entry("host").or_insert(host);
                soon("readiness", sender.ready()).await?;
                soon("an answer", sender.send_request(request)).await
            }
            Sender::Http2(sender) => {
                let uri = format!("https://{}{}", self.host, request.uri());
                *request.uri_mut() = uri.parse().unwrap();
                soon("readiness", sender.ready()).await?;
                soon("an answer", sender.send_request(request)).await
            }
        };
        Ok(answer?)
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, request: Request<ClientBody>) -> Result<Reply, Failure> {
        let response = self.open(request).await?;
        soon("a whole answer", Reply::read(response)).await
    }
}
