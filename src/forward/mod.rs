//! The way on: pooled connections to upstreams and to partners' gateways, and the headers that may cross.
//!
//! [`Client::send`] takes nothing but what `enforce` cleared. Payloads stream both ways with back-pressure; a side that
//! falls silent is cut after a while.

mod client;
mod headers;
mod patient;
mod upload;

use std::time::Duration;

pub use client::{Client, Destination};
pub use headers::{reply_headers, request_headers};
pub use patient::{Pace, Patient, Stalled, TooSlow};
pub use upload::Upload;

use crate::types::Blame;

/// Any error of a payload stream.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// A request's payload on its way on.
pub type Payload = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BodyError>;

/// Time limits of a client.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the request's last byte of head to the answer's. With a payload under way, the longest that the other side
    /// may take nothing of it; the time in which there is nothing to take does not count.
    pub response: Duration,
    /// The longest silence inside a payload.
    pub idle: Duration,
}

/// Five seconds to connect: three TCP retransmissions.
pub const CONNECT: Duration = Duration::from_secs(5);
/// Half a minute for an upstream to begin its answer.
pub const RESPONSE: Duration = Duration::from_secs(30);
/// A minute of silence inside a payload.
pub const SILENCE: Duration = Duration::from_secs(60);

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: CONNECT, response: RESPONSE, idle: SILENCE }
    }
}

/// Why nothing came back. The texts are for our own log: a peer sees the code.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The configured address cannot be used.
    #[error("{0}")]
    Destination(String),
    /// No connection.
    #[error("cannot connect to {authority}: {cause}")]
    Connect {
        /// `host:port`.
        authority: String,
        /// What the operating system or TLS said.
        cause: BodyError,
    },
    /// No connection in time.
    #[error("cannot connect to {0} in time")]
    ConnectTimeout(String),
    /// The other side ended the connection or broke the protocol before its answer began.
    #[error("{authority} gave no answer: {cause}")]
    Broken {
        /// `host:port`.
        authority: String,
        /// What HTTP said.
        cause: hyper::Error,
    },
    /// The answer did not begin in time.
    #[error("{0} did not begin to answer in time")]
    ResponseTimeout(String),
}

impl ForwardError {
    /// A stable code, also a metric label.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Destination(_) => "destination_unusable",
            Self::Connect { .. } => "upstream_unreachable",
            Self::ConnectTimeout(_) => "upstream_connect_timeout",
            Self::Broken { .. } => "upstream_broken",
            Self::ResponseTimeout(_) => "upstream_timeout",
        }
    }

    /// Who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Destination(_) => Blame::Operator,
            _ => Blame::Upstream,
        }
    }
}
