//! The address of a bundle on a bundle server.

use std::fmt;

use super::name::{Endpoint, is_private};
use super::problem::{Complaint, quote};

/// A bundle's URL, taken apart: `https://HOST[:PORT]/PATH[?QUERY]`, or `http://` to a host of our own network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleUrl {
    is_https: bool,
    endpoint: Endpoint,
    target: String,
}

/// The longest path and query, in bytes: what common servers take.
const TARGET_BYTES: usize = 2048;

impl BundleUrl {
    pub(super) fn read(text: &str) -> Result<Self, Complaint> {
        let shape = "give https://HOST[:PORT]/PATH, or http:// to a host on this machine or a private network";
        let wrong = |what: &str, fix: &str| Complaint::new(format!("{} {what}", quote(text)), fix);
        let (is_https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(wrong("is no https:// address", shape)),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            // Not quoted: what stands before the sign is a secret.
            let what = "carries a user or a password, which would stand in logs";
            return Err(Complaint::new(what, "remove it; a bundle is known by its signature, not by who may fetch it"));
        }
        let in_target = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%?".contains(&b);
        if !target.starts_with('/') || target.len() > TARGET_BYTES || !target.bytes().all(in_target) {
            return Err(wrong("has no path, or one with a fragment or characters that stand in none", shape));
        }
        let bare = !authority.contains(':') || authority.ends_with(']');
        let port = if is_https { 443 } else { 80 };
        let with_port = if bare { format!("{authority}:{port}") } else { authority.to_owned() };
        let endpoint = Endpoint::read(&with_port).map_err(|_| wrong("names no host", shape))?;
        if !is_https && !is_private(&endpoint.host) {
            return Err(wrong(
                "would fetch what decides in the clear from a host that is not private",
                "use https; plain http is for this machine and private networks",
            ));
        }
        Ok(Self { is_https, endpoint, target: target.to_owned() })
    }

    /// Whether the server is known by a certificate.
    pub fn is_https(&self) -> bool {
        self.is_https
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

impl std::str::FromStr for BundleUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text).map_err(|complaint| format!("{}; {}", complaint.what, complaint.fix))
    }
}

impl fmt::Display for BundleUrl {
    /// Without the query, which may hold what only the server should know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_comes_over_https_or_from_near_by() {
        for good in [
            "https://bundles.example/dfft.tar.gz",
            "https://bundles.example:8443/a/b?channel=stable",
            "http://127.0.0.1:9000/a",
            "http://bundles.internal/a",
            "https://[2001:db8::1]/a",
        ] {
            assert!(BundleUrl::read(good).is_ok(), "{good} is refused");
        }
        for bad in [
            "http://bundles.example/a",
            "ftp://bundles.example/a",
            "https://bundles.example",
            "https://bundles.example?x=1",
            "https://bundles.example/a#b",
            "https://bundles.example/a b",
            "https://user:secret@bundles.example/a",
            "https:///a",
            "https://bundles.example:0/a",
        ] {
            let complaint = BundleUrl::read(bad).expect_err(bad);
            assert!(!complaint.what.contains("secret"), "{}", complaint.what);
        }
        let url = BundleUrl::read("https://bundles.example/a?token=secret").expect("a URL");
        assert_eq!(url.to_string(), "https://bundles.example:443/a", "the query is not shown");
        assert_eq!(url.target(), "/a?token=secret");
    }
}
