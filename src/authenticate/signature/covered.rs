//! What a signature is put under: the component identifiers of the profile in their order, each with its value.

use http::{Method, StatusCode};

use super::BASE_BYTES;

/// A digest of the content, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digested {
    /// The value of `Content-Digest`.
    pub field: String,
    /// Whether it is a trailer.
    pub trailer: bool,
}

/// What binds an answer to the signed request that it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The request's signature, as the member of its field.
    pub member: String,
    /// Whether it is a trailer.
    pub trailer: bool,
    /// The digest of the request's payload, of one that has a payload.
    pub digest: Option<Digested>,
}

/// The components that one signature covers. Nothing but the functions of this module makes one, so nothing but the
/// profile is ever signed or verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered(Vec<(&'static str, String)>);

impl Covered {
    /// Component identifiers, as `Signature-Input` lists them.
    pub(super) fn identifiers(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(identifier, _)| *identifier)
    }

    /// Whether these identifiers are the ones that are covered, in this order.
    pub(super) fn is_listed_by(&self, identifiers: &[String]) -> bool {
        self.identifiers().eq(identifiers.iter().map(String::as_str))
    }

    /// The signature base (RFC 9421, section 2.5); `None` when it is longer than goes on record.
    pub(super) fn base(&self, parameters: &str) -> Option<String> {
        let lines = self.0.iter().map(|(identifier, value)| identifier.len() + value.len() + 3);
        let length = lines.sum::<usize>() + PARAMETERS.len() + parameters.len();
        if length > BASE_BYTES {
            return None;
        }
        let mut base = String::with_capacity(length);
        for (identifier, value) in &self.0 {
            base.push_str(identifier);
            base.push_str(": ");
            // Whatever a field's value holds, it cannot begin another line.
            base.extend(value.trim_matches([' ', '\t']).chars().filter(|c| !matches!(c, '\r' | '\n')));
            base.push('\n');
        }
        base.push_str(PARAMETERS);
        base.push_str(parameters);
        Some(base)
    }

    /// Lines of a test's own making.
    #[cfg(test)]
    pub(super) const fn lines(lines: Vec<(&'static str, String)>) -> Self {
        Self(lines)
    }

    /// What is covered, for a test that changes it.
    #[cfg(test)]
    pub(super) const fn values(&mut self) -> &mut Vec<(&'static str, String)> {
        &mut self.0
    }
}

/// The beginning of the last line of a base.
const PARAMETERS: &str = "\"@signature-params\": ";

/// What a request's signature covers. `query` is the value of `Sekisho-Query`, `pass` that of `Sekisho-Pass`.
pub fn request(
    method: &Method,
    path: &str,
    query: Option<&str>,
    exchange: &str,
    pass: &str,
    digest: Option<&Digested>,
) -> Covered {
    let mut covered = vec![(r#""@method""#, method.as_str().to_owned()), (r#""@path""#, path.to_owned())];
    covered.extend(query.map(|query| (r#""sekisho-query""#, query.to_owned())));
    covered.push((r#""sekisho-exchange""#, exchange.to_owned()));
    covered.push((r#""sekisho-pass""#, pass.to_owned()));
    covered.extend(digest.map(content));
    Covered(covered)
}

/// What an answer's signature covers. `bound` is there when the request was signed.
pub fn answer(
    status: StatusCode,
    exchange: &str,
    content_type: Option<&str>,
    obligations: Option<&str>,
    digest: &Digested,
    bound: Option<&Bound>,
) -> Covered {
    let mut covered =
        vec![(r#""@status""#, status.as_str().to_owned()), (r#""sekisho-exchange""#, exchange.to_owned())];
    covered.extend(content_type.map(|value| (r#""content-type""#, value.to_owned())));
    covered.extend(obligations.map(|value| (r#""sekisho-obligations""#, value.to_owned())));
    covered.push(content(digest));
    if let Some(bound) = bound {
        let signature = match bound.trailer {
            false => r#""signature";req;key="sekisho""#,
            true => r#""signature";req;tr;key="sekisho""#,
        };
        covered.push((signature, bound.member.clone()));
        covered.extend(bound.digest.as_ref().map(|digest| {
            let identifier = if digest.trailer { r#""content-digest";req;tr"# } else { r#""content-digest";req"# };
            (identifier, digest.field.clone())
        }));
    }
    Covered(covered)
}

/// What the receipt for an answer covers: `member` is the answer's signature, a trailer where its digest is one.
pub fn receipt(status: StatusCode, exchange: &str, digest: &Digested, member: &str) -> Covered {
    let signature = match digest.trailer {
        false => r#""signature";key="sekisho""#,
        true => r#""signature";tr;key="sekisho""#,
    };
    Covered(vec![
        (r#""@status""#, status.as_str().to_owned()),
        (r#""sekisho-exchange""#, exchange.to_owned()),
        content(digest),
        (signature, member.to_owned()),
    ])
}

fn content(digest: &Digested) -> (&'static str, String) {
    let identifier = if digest.trailer { r#""content-digest";tr"# } else { r#""content-digest""# };
    (identifier, digest.field.clone())
}
