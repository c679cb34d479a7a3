//! The headers that cross. What is not named here stays behind: hop-by-hop fields, cookies, banners, forwarding hints.

use http::header::{self, HeaderMap, HeaderName};

/// Request headers that may go on with any request.
const REQUEST: [HeaderName; 3] = [header::ACCEPT, header::CONTENT_TYPE, header::CONTENT_ENCODING];
/// Request headers that may go on only where the payload is untouched: they ask for a part or an encoding of it.
const REQUEST_UNTOUCHED: [HeaderName; 5] =
    [header::ACCEPT_ENCODING, header::IF_MODIFIED_SINCE, header::IF_NONE_MATCH, header::IF_RANGE, header::RANGE];
/// Answer headers that may come back with any answer.
const REPLY: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::CONTENT_LANGUAGE, header::CONTENT_DISPOSITION, header::LAST_MODIFIED];
/// Answer headers that describe the very bytes, and so hold only where these are untouched.
const REPLY_UNTOUCHED: [HeaderName; 5] =
    [header::ACCEPT_RANGES, header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::CONTENT_RANGE, header::ETAG];

/// The headers of a request that go on; `untouched` says that no obligation changes the payload that comes back.
pub fn request_headers(from: &HeaderMap, untouched: bool) -> HeaderMap {
    select(from, &REQUEST, &REQUEST_UNTOUCHED, untouched)
}

/// The headers of an answer that come back; `untouched` says that no obligation changed its payload.
pub fn reply_headers(from: &HeaderMap, untouched: bool) -> HeaderMap {
    select(from, &REPLY, &REPLY_UNTOUCHED, untouched)
}

fn select(from: &HeaderMap, always: &[HeaderName], when_untouched: &[HeaderName], untouched: bool) -> HeaderMap {
    let mut to = HeaderMap::with_capacity(8);
    for name in always.iter().chain(when_untouched.iter().filter(|_| untouched)) {
        for value in from.get_all(name) {
            to.append(name.clone(), value.clone());
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_crosses() {
        let mut headers = HeaderMap::new();
        for name in ["content-type", "content-length", "etag", "set-cookie", "server", "connection", "x-forwarded-for"]
        {
            headers.insert(HeaderName::from_static(name), "1".parse().unwrap());
        }
        let names = |headers: HeaderMap| {
            let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(names(reply_headers(&headers, true)), ["content-length", "content-type", "etag"]);
        assert_eq!(names(reply_headers(&headers, false)), ["content-type"]);
        assert_eq!(names(request_headers(&headers, true)), ["content-type"]);
    }
}
