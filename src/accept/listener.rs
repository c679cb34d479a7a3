//! A listening socket and the connections it has open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::{AcceptError, Connection, Handler, Limits, connection};

/// Connections the kernel may hold for us between two turns of the accept loop.
const BACKLOG: i32 = 1024;
/// After `accept` fails for want of descriptors or memory: time for some connection to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The order to drain: stop taking connections, finish the exchanges in flight, close.
#[derive(Debug, Clone)]
pub struct Drain(Arc<watch::Sender<bool>>);

impl Drain {
    /// An order not yet given.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Gives the order. It cannot be taken back.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether the order was given.
    pub fn begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the order is given.
    pub async fn wait(&self) {
        // The sender lives in `self`, so waiting can only end with the order.
        let _ = self.0.subscribe().wait_for(|begun| *begun).await;
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

/// A bound socket that is ready to serve.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    limits: Arc<Limits>,
}

impl Listener {
    /// Binds `address` (port 0 takes a free one). With `tls`, peers must complete a handshake under that configuration.
    ///
    /// # Errors
    /// [`AcceptError::Listen`] when the operating system refuses the address.
    pub fn bind(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        limits: Limits,
    ) -> Result<Self, AcceptError> {
        let listen = |source| AcceptError::Listen { address, source };
        let socket = bind(address).map_err(listen)?;
        let bound = socket.local_addr().map_err(listen)?;
        Ok(Self { socket, address: bound, tls: tls.map(TlsAcceptor::from), limits: Arc::new(limits) })
    }

    /// The address that was bound, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `drain` is ordered and every connection has ended, or `deadline` after the order has passed; what is
    /// then still open is cut.
    pub async fn serve<H: Handler>(self, handler: Arc<H>, drain: Drain, deadline: Duration) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.wait() => break,
                accepted = self.socket.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, address)) => {
                    // No place: close at once. The peer sees a reset before any cryptography was spent on it.
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    connections.spawn(self.connection(stream, address, place, Arc::clone(&handler), drain.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "cannot take a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.socket);
        let finished = tokio::time::timeout(deadline, async { while connections.join_next().await.is_some() {} }).await;
        if finished.is_err() {
            tracing::warn!(address = %self.address, cut = connections.len(), "the drain deadline passed with exchanges in flight");
            connections.shutdown().await;
        }
    }

    /// The life of one connection: handshake, then requests until either side has enough.
    fn connection<H: Handler>(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
        handler: Arc<H>,
        drain: Drain,
    ) -> impl Future<Output = ()> + Send + use<H> {
        let (tls, limits) = (self.tls.clone(), Arc::clone(&self.limits));
        async move {
            let _place = place;
            // Small answers must not wait for more to send; an error here costs latency only.
            let _ = stream.set_nodelay(true);
            let Some(tls) = tls else {
                let known = Connection { address, certificates: Vec::new(), key_exchange: None };
                let session = Arc::new(handler.open(known));
                connection::http1(stream, &limits, handler, session, drain).await;
                return;
            };
            match handshake(&tls, stream, limits.handshake).await {
                Ok(stream) => {
                    let (_, state) = stream.get_ref();
                    let known = Connection {
                        address,
                        certificates: state
                            .peer_certificates()
                            .map(|chain| chain.iter().map(|der| der.clone().into_owned()).collect())
                            .unwrap_or_default(),
                        key_exchange: state.negotiated_key_exchange_group().map(|group| group.name()),
                    };
                    let http2 = state.alpn_protocol() == Some(b"h2");
                    let session = Arc::new(handler.open(known));
                    if http2 {
                        connection::http2(stream, &limits, handler, session, drain).await;
                    } else {
                        connection::http1(stream, &limits, handler, session, drain).await;
                    }
                }
                Err(why) => handler.refused(address, &why),
            }
        }
    }
}

async fn handshake(
    tls: &TlsAcceptor,
    stream: TcpStream,
    limit: Duration,
) -> Result<tokio_rustls::server::TlsStream<TcpStream>, AcceptError> {
    match tokio::time::timeout(limit, tls.accept(stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => AcceptError::Handshake(tls.clone()),
            None => AcceptError::Broken(error),
        }),
        Err(_elapsed) => Err(AcceptError::HandshakeTimeout),
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM.nonblocking(),
        Some(socket2::Protocol::TCP),
    )?;
    // A restarted gateway takes its port back although old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
