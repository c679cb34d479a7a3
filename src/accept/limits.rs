//! Every limit on what may come in, with its reason.

use std::time::Duration;

/// Limits of one listener. [`Limits::default`] is meant for the Internet.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once; one more is closed before its handshake, so that a flood costs no cryptography.
    pub connections: usize,
    /// From the TCP accept to the end of the TLS handshake: ten seconds serve a phone on a bad line.
    pub handshake: Duration,
    /// From the first byte of a request's head to its last (HTTP/1.1), and between requests.
    pub head: Duration,
    /// Bytes of a request's head: a pass, a path and a few headers fit several times over.
    pub head_bytes: usize,
    /// Headers in one request.
    pub headers: usize,
    /// HTTP/2 streams open at once on one connection.
    pub streams: u32,
    /// HTTP/2 flow-control window of one stream, in bytes: what a slow reader can make us hold.
    pub stream_window: u32,
    /// HTTP/2 flow-control window of one connection, in bytes.
    pub connection_window: u32,
    /// A connection without a request in progress is closed after this, or after up to twice as long; and a connection
    /// is cut whose peer took nothing of an answer for that long. What an answer's own source keeps waiting is not the
    /// peer's.
    pub idle: Duration,
}

/// Connections of one listener; at about 40 KiB each, 1,024 cost some 40 MiB at the very worst.
pub const CONNECTIONS: usize = 1024;
/// Seconds for a handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// Seconds for a head: long enough for a slow line, short enough that 1,024 slow heads are gone in half a minute.
pub const HEAD: Duration = Duration::from_secs(30);
/// 16 KiB of head: hyper's smallest buffer is 8 KiB, a pass with much `person` data takes 4.
pub const HEAD_BYTES: usize = 16 * 1024;
/// Headers: what browsers, curl and proxies send stays under 40.
pub const HEADERS: usize = 64;
/// Streams per HTTP/2 connection: the least that RFC 9113, section 6.5.2 recommends.
pub const STREAMS: u32 = 100;
/// 64 KiB for a stream: HTTP/2's own default.
pub const STREAM_WINDOW: u32 = 64 * 1024;
/// 1 MiB for a connection: sixteen full streams.
pub const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Two minutes of silence between requests: partners keep connections warm without holding them for ever.
pub const IDLE: Duration = Duration::from_secs(120);

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            handshake: HANDSHAKE,
            head: HEAD,
            head_bytes: HEAD_BYTES,
            headers: HEADERS,
            streams: STREAMS,
            stream_window: STREAM_WINDOW,
            connection_window: CONNECTION_WINDOW,
            idle: IDLE,
        }
    }
}
