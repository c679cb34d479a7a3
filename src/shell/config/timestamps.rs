//! `[timestamps]`: an outside authority that states when it saw our log.

use std::fmt;
use std::time::Duration;

use super::file::{Content, FileRef};
use super::name::Endpoint;
use super::problem::{Complaint, quote};
use super::reader::Section;
use super::value::{duration, text};

/// `[timestamps]`: checkpoints are stamped by a time-stamping authority (RFC 3161).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamps {
    /// `url`: where the authority takes requests, `http://HOST[:PORT][/PATH]`. Required.
    pub url: AuthorityUrl,
    /// `interval`: between two timestamps, 1s to 24h. Default: [`Timestamps::INTERVAL`].
    pub interval: Duration,
    /// `anchors`: PEM certificates of the authorities that may vouch for it. Required.
    pub anchors: FileRef,
}

impl Timestamps {
    /// Often enough to bound a working day, and seldom enough for a public authority.
    pub const INTERVAL: Duration = Duration::from_secs(60 * 60);
    const LEAST_INTERVAL: Duration = Duration::from_secs(1);
    const MOST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
}

/// A time-stamping authority's address, taken apart. Without TLS: what it answers is signed, and what it is asked is a
/// digest of what every partner may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityUrl {
    endpoint: Endpoint,
    target: String,
}

/// The longest path and query, in bytes: what common servers take.
const TARGET_BYTES: usize = 2048;

impl AuthorityUrl {
    pub(super) fn read(text: &str) -> Result<Self, Complaint> {
        let wrong = |what: &str| {
            let fix = "give http://HOST[:PORT][/PATH]; there is no need of TLS, since timestamps are signed";
            Complaint::new(format!("{} {what}", quote(text)), fix)
        };
        let rest = text.strip_prefix("http://").ok_or_else(|| wrong("is no http:// address"))?;
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            // Not quoted: what stands before the sign is a secret.
            let what = "carries a user or a password, which would travel in the clear";
            return Err(Complaint::new(what, "remove it, or name an authority that asks for none"));
        }
        let target = if target.is_empty() { "/" } else { target };
        let in_target = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%?".contains(&b);
        if !target.starts_with('/') || target.len() > TARGET_BYTES || !target.bytes().all(in_target) {
            return Err(wrong("has a path with characters that stand in none, or a fragment"));
        }
        let bare = !authority.contains(':') || authority.ends_with(']');
        let with_port = if bare { format!("{authority}:80") } else { authority.to_owned() };
        let endpoint = Endpoint::read(&with_port).map_err(|_| wrong("names no host"))?;
        Ok(Self { endpoint, target: target.to_owned() })
    }

    /// The server.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Path and query, as a request names them.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl std::str::FromStr for AuthorityUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text).map_err(|complaint| format!("{}; {}", complaint.what, complaint.fix))
    }
}

impl fmt::Display for AuthorityUrl {
    /// Without the query, which may hold what only the authority should know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.endpoint, self.target.split('?').next().unwrap_or_default())
    }
}

/// Reads the table; `None` when it is there and wrong.
pub(super) fn timestamps(root: &mut Section<'_>) -> Option<Option<Timestamps>> {
    let is_given = root.has("timestamps");
    let mut table = root.section("timestamps", "[timestamps]");
    if !is_given {
        return Some(None);
    }
    let url = table.required("url", "\"http://tsa.example/tsr\"", |value| AuthorityUrl::read(text(value)?));
    let bounds = Timestamps::LEAST_INTERVAL..=Timestamps::MOST_INTERVAL;
    let interval = table.optional("interval", |value| duration(value, bounds.clone()));
    let anchors = table.required_file("anchors", "\"tsa-ca.pem\"", Content::Anchors);
    table.finish();
    Some(Some(Timestamps { url: url?, interval: interval.unwrap_or(Timestamps::INTERVAL), anchors: anchors? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_asked_over_plain_http() {
        let url: AuthorityUrl = "http://tsa.example/tsr?key=secret".parse().expect("a URL");
        assert_eq!((url.endpoint().to_string().as_str(), url.target()), ("tsa.example:80", "/tsr?key=secret"));
        assert_eq!(url.to_string(), "http://tsa.example:80/tsr", "the query is not shown");
        assert_eq!("http://127.0.0.1:3161".parse::<AuthorityUrl>().expect("a URL").target(), "/");
        let bad = ["https://tsa.example/", "tsa.example", "http:///tsr", "http://a.example/ b", "http://a.example/#b"];
        for bad in bad.into_iter().chain(["http://a.example:0/", "http://user:secret@a.example/"]) {
            let told = bad.parse::<AuthorityUrl>().expect_err(bad);
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
