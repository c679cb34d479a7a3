//! The request target, taken apart once: what the policy sees is what the upstream gets.

use http::Uri;

/// A path whose every segment is plain: not empty, not `.` or `..`, with no encoded separator or control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    path: String,
    query: Option<String>,
}

/// The longest path, in bytes: it stands in the record whole, and a record's entries have a limit.
pub const PATH_BYTES: usize = 4096;

/// Why a request target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path or query {0}")]
pub struct BadTarget(&'static str);

impl Target {
    /// Takes the path and query of `uri`, unchanged or not at all.
    ///
    /// # Errors
    /// [`BadTarget`] for anything that two programs might read differently: dot segments, empty segments, path
    /// parameters, encoded slashes, dots, backslashes and control characters, and characters outside RFC 3986.
    pub fn parse(uri: &Uri) -> Result<Self, BadTarget> {
        let path = uri.path();
        let Some(segments) = path.strip_prefix('/') else { return Err(BadTarget("does not begin with a slash")) };
        if path.len() > PATH_BYTES {
            return Err(BadTarget("is longer than 4 KiB"));
        }
        let last = segments.split('/').count();
        for (place, segment) in segments.split('/').enumerate() {
            // One empty segment at the very end is a trailing slash.
            if segment.is_empty() && place + 1 != last {
                return Err(BadTarget("has an empty segment"));
            }
            if matches!(segment, "." | "..") {
                return Err(BadTarget("has a dot segment"));
            }
            check(segment, false)?;
        }
        let query = uri.query().map(str::to_owned);
        if let Some(query) = &query {
            check(query, true)?;
        }
        Ok(Self { path: path.to_owned(), query })
    }

    /// The whole path, beginning with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The segments of the path.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path.trim_start_matches('/').split('/')
    }

    /// What follows the first `count` segments, beginning with a slash, with the query.
    pub fn below(&self, count: usize) -> String {
        let mut rest = String::from("/");
        for (place, segment) in self.segments().skip(count).enumerate() {
            if place > 0 {
                rest.push('/');
            }
            rest.push_str(segment);
        }
        if let Some(query) = &self.query {
            rest.push('?');
            rest.push_str(query);
        }
        rest
    }
}

fn check(text: &str, query: bool) -> Result<(), BadTarget> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let hex = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
                let byte = hex
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                    .filter(|_| bytes[at + 1..at + 3].iter().all(u8::is_ascii_hexdigit));
                match byte {
                    None => return Err(BadTarget("has a broken percent-encoding")),
                    Some(0..=0x1f | 0x7f) => return Err(BadTarget("has an encoded control character")),
                    Some(b'/' | b'\\' | b'.' | b'%' | b';') if !query => {
                        return Err(BadTarget("has an encoded slash, backslash, dot, semicolon or percent sign"));
                    }
                    Some(_) => at += 3,
                }
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => at += 1,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':'
            | b'@' => at += 1,
            b'/' | b'?' | b';' if query => at += 1,
            // Some servers cut a segment at a semicolon and then find dots in what is left.
            b';' => return Err(BadTarget("has a path parameter")),
            _ => return Err(BadTarget("has a character that must be percent-encoded")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_pass() {
        let parse = |text: &str| text.parse::<Uri>().map(|uri| Target::parse(&uri));
        for good in ["/data/x", "/data/x/", "/data/x/a%20b?c=d/e%2F;f", "https://host/data/x"] {
            assert!(matches!(parse(good), Ok(Ok(_))), "{good} is refused");
        }
        for bad in [
            "/data/../x",
            "/data//x",
            "/data/%2e%2e/x",
            "/data/a%2fb",
            "/data/a%00",
            "/a%",
            "/a%g0",
            "/a%+1",
            "/data/%5c",
            "*",
            "/data/x?%0d%0a",
            "/a|b",
            "/a/..;/b",
            "/a/..%3b/b",
            "/a;b=c",
            "/a%252e",
        ] {
            assert!(!matches!(parse(bad), Ok(Ok(_))), "{bad} is taken");
        }
    }

    #[test]
    fn what_is_below_keeps_path_and_query() {
        let target = Target::parse(&"/data/set/a/b%20c/?q=1".parse().unwrap()).unwrap();
        assert_eq!(target.below(2), "/a/b%20c/?q=1");
        assert_eq!(Target::parse(&"/data/set".parse().unwrap()).unwrap().below(2), "/");
    }
}
