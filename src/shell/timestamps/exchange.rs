//! One request to a time-stamping authority and its answer (RFC 3161, sections 2.4 and 3.4).

use std::time::Duration;

use bytes::Bytes;
use der::asn1::{AnyRef, Null, ObjectIdentifier, OctetStringRef};
use der::{Decode as _, Encode as _, Reader as _, Sequence, SliceReader};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Failed;
use crate::record::verify::MOST_TOKEN;
use crate::shell::config::AuthorityUrl;

/// Until there is an answer: an authority that signs in hardware takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer, in bytes: a token, and a status before it with some text.
const ANSWER_BYTES: usize = MOST_TOKEN as usize + 4096;
/// The largest head of an answer, in bytes.
const HEAD_BYTES: usize = 16 * 1024;

const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// Statuses with which a token comes: granted, and granted with changes, which the check of the token then judges.
const GRANTED: [u8; 2] = [0, 1];

#[derive(Sequence)]
struct Query<'a> {
    version: u8,
    imprint: Imprint<'a>,
    nonce: u64,
    with_certificate: bool,
}

#[derive(Sequence)]
struct Imprint<'a> {
    algorithm: Algorithm,
    hash: OctetStringRef<'a>,
}

#[derive(Sequence)]
struct Algorithm {
    oid: ObjectIdentifier,
    parameters: Null,
}

/// Asks for a timestamp of what has this SHA-256. The token that comes is not judged here.
pub(super) async fn ask(url: &AuthorityUrl, digest: &[u8; 32], nonce: u64) -> Result<Vec<u8>, Failed> {
    let query = query(digest, nonce).map_err(|error| Failed::new("timestamp_unmade", error.to_string()))?;
    let late = |_| Failed::new("timestamp_timeout", format!("{url} was too slow"));
    let answer = tokio::time::timeout(PATIENCE, exchange(url, query)).await.map_err(late)??;
    token(&answer).map_err(|what| Failed::new("timestamp_refused", format!("{url} {what}")))
}

fn query(digest: &[u8; 32], nonce: u64) -> der::Result<Vec<u8>> {
    let algorithm = Algorithm { oid: SHA_256, parameters: Null };
    let imprint = Imprint { algorithm, hash: OctetStringRef::new(digest)? };
    Query { version: 1, imprint, nonce, with_certificate: true }.to_der()
}

async fn exchange(url: &AuthorityUrl, query: Vec<u8>) -> Result<Bytes, Failed> {
    let unreachable = |error: &dyn std::fmt::Display| {
        let what = format!("{url} cannot be reached: {error}");
        Failed::new("timestamp_unreachable", what)
    };
    let host = url.endpoint().to_string();
    let request = Request::post(url.target())
        .header(header::HOST, &host)
        .header(header::CONTENT_TYPE, "application/timestamp-query")
        .header(header::ACCEPT, "application/timestamp-reply")
        .header(header::USER_AGENT, concat!("sekisho/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(query)))
        .map_err(|error| unreachable(&error))?;
    let stream = TcpStream::connect(&host).await.map_err(|error| unreachable(&error))?;
    let client = hyper::client::conn::http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(TokioIo::new(stream));
    let (mut sender, connection) = client.await.map_err(|error| unreachable(&error))?;
    // It ends with the sender, or with the answer that is still being read.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a time-stamping authority ended");
        }
    });
    let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
    if response.status() != StatusCode::OK {
        let what = format!("{url} answered {}", response.status());
        return Err(Failed::new("timestamp_refused", what));
    }
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| {
        let what = format!("the answer of {url} broke off, or is larger than {ANSWER_BYTES} bytes: {error}");
        Failed::new("timestamp_refused", what)
    })
}

/// The token in an answer (TimeStampResp).
fn token(answer: &[u8]) -> Result<Vec<u8>, String> {
    let (status, token) = read(answer).map_err(|_| "answers with something else than a timestamp".to_owned())?;
    match token {
        Some(token) if GRANTED.contains(&status) => Ok(token),
        _ => Err(format!("gives no timestamp: its status is {status}")),
    }
}

fn read(answer: &[u8]) -> der::Result<(u8, Option<Vec<u8>>)> {
    let mut outer = SliceReader::new(answer)?;
    let read = outer.sequence(|answer| {
        let status = answer.sequence(|info| {
            let status = u8::decode(info)?;
            // Why, in words and in bits: for people, who ask the authority itself.
            while !info.is_finished() {
                AnyRef::decode(info)?;
            }
            Ok(status)
        })?;
        let token = Option::<AnyRef<'_>>::decode(answer)?;
        Ok((status, token.map(|token| token.to_der()).transpose()?))
    })?;
    outer.finish(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_what_others_write() {
        // As `openssl ts -query -sha256 -cert` writes it, with this nonce.
        let head = "30430201013031300d060960864801650304020105000420";
        let tail = "020800ffffffffffffff0101ff";
        let hex: String = query(&[7; 32], 0x00ff_ffff_ffff_ffff).unwrap().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, format!("{head}{}{tail}", "07".repeat(32)));
    }

    #[test]
    fn an_answer_without_a_token_is_a_refusal() {
        assert_eq!(token(&[0x30, 5, 0x30, 3, 2, 1, 2]), Err("gives no timestamp: its status is 2".to_owned()));
        assert_eq!(token(&[0x30, 5, 0x30, 3, 2, 1, 0]), Err("gives no timestamp: its status is 0".to_owned()));
        assert_eq!(token(&[0x30, 7, 0x30, 3, 2, 1, 1, 0x30, 0]), Ok(vec![0x30, 0]));
        for bad in [&b"<html>"[..], &[], &[0x30, 5, 0x30, 3, 2, 1, 2, 0]] {
            assert_eq!(token(bad), Err("answers with something else than a timestamp".to_owned()));
        }
    }
}
