//! The three parts of a compact JWS (RFC 7515, section 3.1), taken apart without judging them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The `typ` of an entry's protected header.
pub(super) const TYPE: &str = "sekisho-record+jws";

/// A compact JWS in its parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compact<'a> {
    /// What the signature covers: header, dot, payload, as they are encoded.
    pub(super) signed: &'a [u8],
    /// The encoded protected header.
    pub(super) header: &'a [u8],
    /// The encoded payload.
    pub(super) payload: &'a [u8],
    /// The encoded signature.
    pub(super) signature: &'a [u8],
}

impl<'a> Compact<'a> {
    /// Takes a JWS apart; `None` when it has not exactly three parts.
    pub(super) fn split(jws: &'a [u8]) -> Option<Self> {
        let first = memchr::memchr(b'.', jws)?;
        let second = first + 1 + memchr::memchr(b'.', &jws[first + 1..])?;
        let signature = &jws[second + 1..];
        if memchr::memchr(b'.', signature).is_some() {
            return None;
        }
        Some(Self { signed: &jws[..second], header: &jws[..first], payload: &jws[first + 1..second], signature })
    }
}

/// Decodes base64url without padding into `out`, which is emptied first; `None` when it is not exactly that.
pub(super) fn decode_into(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    URL_SAFE_NO_PAD.decode_vec(text, out).ok()
}

/// Decodes base64url without padding; `None` when it is not exactly that.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The canonical JWK of an Ed25519 public key, whose SHA-256 in base64url is the `kid` (RFC 7638; RFC 8037, A.3).
pub(super) fn canonical_jwk(public: &[u8; 32]) -> String {
    format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(public))
}
