//! One organisation: its gateway with all listeners, its upstream, and its keys.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::{Method, Request};
use sekisho::gateway::{Gateway, Setup};
use sekisho::shell::certs::Identity;
use sekisho::shell::policies::Policies;
use sekisho::shell::timestamps::TimestampsSetup;
use sekisho::shell::witnesses::Witnesses;
use sekisho::shell::{Addresses, Listening, Running, State};
use sekisho::types::PartyId;

use super::client::{ClientBody, Connection, Failure, Provider, Reply, whole};
use super::{Book, Tuning, Upstream, until};

/// A port that nobody else gets until the gateway listens on it: bound, and bound again by the gateway.
pub struct Reserved {
    socket: socket2::Socket,
}

impl Reserved {
    pub fn port() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        // Both this socket and the gateway's allow reuse, and this one never listens, so the second bind succeeds.
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self { socket }
    }

    /// The same once more, of a gateway that is down.
    pub fn again(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        Self { socket }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap().as_socket().unwrap()
    }
}

/// A running organisation.
pub struct Organisation {
    pub identity: Arc<Identity>,
    pub upstream: Upstream,
    gateway: Arc<Gateway>,
    addresses: Addresses,
    running: Option<Running>,
    log_directory: PathBuf,
}

impl Organisation {
    pub fn start(
        setup: Setup,
        tuning: &Tuning,
        identity: impl Into<Arc<Identity>>,
        upstream: Upstream,
        directory: PathBuf,
        port: Reserved,
        policies: Option<Policies>,
    ) -> Self {
        let log_directory = setup.log.directory().to_owned();
        let gateway = Gateway::assemble(setup).unwrap();
        let state = Arc::new(State::open(&directory.join("state"), &gateway).unwrap());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listening = Listening {
            partner: port.address(),
            local: Some(any),
            admin: Some(any),
            limits: tuning.limits.clone(),
            drain: tuning.drain,
        };
        let running = match policies {
            Some(policies) => {
                Running::start_with(Arc::clone(&gateway), state, policies.keep(&gateway), &listening).unwrap()
            }
            None => Running::start(Arc::clone(&gateway), state, &listening).unwrap(),
        };
        let addresses = running.addresses();
        let identity = identity.into();
        Self { identity, upstream, gateway, addresses, running: Some(running), log_directory }
    }

    /// The same with witnesses that are asked from now on.
    pub fn witnessed(mut self, witnesses: Witnesses) -> Self {
        self.running = self.running.take().map(|running| running.witnessed(witnesses).unwrap());
        self
    }

    /// The same with an authority that stamps its log from now on.
    pub fn stamped(mut self, setup: TimestampsSetup) -> Self {
        self.running = self.running.take().map(|running| running.stamped(setup).unwrap());
        self
    }

    pub fn id(&self) -> &PartyId {
        self.gateway.us()
    }

    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    pub fn partner_address(&self) -> SocketAddr {
        self.addresses.partner
    }

    /// What partners know of it.
    pub fn provider(&self) -> Provider {
        Provider {
            party: self.id().to_string(),
            address: self.addresses.partner,
            authority_pem: self.identity.authority.certificate_pem(),
        }
    }

    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// A request of one of our own applications, on a connection of its own.
    pub async fn application(&self, request: Request<ClientBody>) -> Reply {
        let mut connection = Connection::plain(self.addresses.local.unwrap()).await.unwrap();
        connection.send(request).await.unwrap()
    }

    /// An application asks for a partner's data.
    pub async fn fetch(&self, path: &str, purpose: &str) -> Reply {
        let request = Request::builder().uri(path).header("sekisho-purpose", purpose);
        self.application(request.body(whole("")).unwrap()).await
    }

    /// An application sends data to a partner.
    pub async fn send(&self, path: &str, purpose: &str, content_type: &str, body: ClientBody) -> Reply {
        self.try_send(path, purpose, content_type, body).await.unwrap()
    }

    /// The same for an application that may not get to the end of it.
    pub async fn try_send(
        &self,
        path: &str,
        purpose: &str,
        content_type: &str,
        body: ClientBody,
    ) -> Result<Reply, Failure> {
        let request = Request::builder().method(Method::PUT).uri(path);
        let request = request.header("sekisho-purpose", purpose).header("content-type", content_type);
        Connection::plain(self.addresses.local.unwrap()).await?.send(request.body(body).unwrap()).await
    }

    /// Waits until so many entries are durable.
    pub async fn recorded(&self, entries: u64) {
        until("a record", || self.gateway.log().size() >= entries).await;
    }

    /// Drains and stops in the background, as SIGTERM does.
    pub fn stop(&mut self) -> tokio::task::JoinHandle<anyhow::Result<()>> {
        tokio::spawn(self.running.take().expect("a running gateway").stop())
    }

    /// Stops, and gives what another start needs.
    pub async fn down(mut self) -> (Arc<Identity>, Upstream) {
        super::soon("the end", self.running.take().unwrap().stop()).await.unwrap();
        let Self { identity, upstream, .. } = self;
        (identity, upstream)
    }

    /// Stops, if it still runs, and reads the log.
    pub async fn close(mut self) -> Book {
        if let Some(running) = self.running.take() {
            super::soon("the end", running.stop()).await.unwrap();
        }
        let log = self.gateway.log();
        Book::read(&self.log_directory, &log.signer().verifier_key(log.origin()))
    }
}
