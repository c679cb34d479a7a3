//! Where a peer arrives: listening sockets, the TLS handshake, the limits on what may come in, and the way out.
//!
//! A [`Listener`] takes connections until it is told to drain, finishes TLS within [`Limits::handshake`], and hands every
//! request to its [`Handler`] as an [`Accepted`]. Nothing here knows what a partner or a policy is.

mod connection;
mod limits;
mod listener;
mod target;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use rustls::pki_types::CertificateDer;

pub use limits::Limits;
pub use listener::{Drain, Listener};
pub use target::{BadTarget, PATH_BYTES, Target};

use crate::types::Blame;

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Connection {
    /// Where it comes from.
    pub address: SocketAddr,
    /// The certificates that the peer proved it holds the key of, leaf first; empty on a listener without TLS.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The key exchange that was agreed on, such as `X25519MLKEM768`; absent without TLS.
    pub key_exchange: Option<rustls::NamedGroup>,
}

/// One request that came in within the limits.
#[derive(Debug)]
pub struct Accepted {
    request: hyper::Request<Incoming>,
}

impl Accepted {
    /// The request's head.
    pub fn head(&self) -> &hyper::Request<Incoming> {
        &self.request
    }

    /// Gives up the request for its parts.
    pub fn into_parts(self) -> (http::request::Parts, Incoming) {
        self.request.into_parts()
    }
}

/// What a listener does with connections and requests.
pub trait Handler: Send + Sync + 'static {
    /// What is known of a connection, worked out once and shown with each of its requests.
    type Session: Send + Sync + 'static;
    /// The payload of an answer.
    type Body: http_body::Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// A connection's handshake is done.
    fn open(&self, connection: Connection) -> Self::Session;

    /// A connection ended before its handshake was done.
    fn refused(&self, address: SocketAddr, why: &AcceptError);

    /// A request came in; the answer leaves as it is.
    fn handle(
        self: Arc<Self>,
        session: Arc<Self::Session>,
        accepted: Accepted,
    ) -> impl Future<Output = hyper::Response<Self::Body>> + Send;
}

/// Why a connection did not get as far as a request, or a listener could not start.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The peer did not finish the TLS handshake in time.
    #[error("the TLS handshake was not finished in time")]
    HandshakeTimeout,
    /// The TLS handshake failed; `rustls` says on what.
    #[error("the TLS handshake failed: {0}")]
    Handshake(rustls::Error),
    /// The connection broke during the handshake.
    #[error("the connection broke during the TLS handshake: {0}")]
    Broken(std::io::Error),
}

impl AcceptError {
    /// A stable code, also a metric label.
    pub fn code(&self) -> &'static str {
        use rustls::CertificateError as Certificate;
        use rustls::Error as Tls;
        match self {
            Self::Listen { .. } => "listen_failed",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Broken(_) => "handshake_broken",
            Self::Handshake(Tls::NoCertificatesPresented) => "certificate_required",
            Self::Handshake(Tls::InvalidCertificate(certificate)) => match certificate {
                // An issuer by the name of a partner's authority but with another key is as unknown as any.
                Certificate::UnknownIssuer | Certificate::BadSignature => "certificate_unknown_issuer",
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                    "certificate_unknown_party"
                }
                Certificate::Expired | Certificate::ExpiredContext { .. } => "certificate_expired",
                Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => "certificate_not_yet_valid",
                Certificate::Revoked => "certificate_revoked",
                Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => "certificate_wrong_purpose",
                _ => "certificate_invalid",
            },
            Self::Handshake(_) => "handshake_failed",
        }
    }

    /// Who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Listen { .. } => Blame::Operator,
            _ => Blame::Peer,
        }
    }
}
