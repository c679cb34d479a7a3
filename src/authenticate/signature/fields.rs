//! The structured fields (RFC 9651) of signatures and digests, read strictly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sfv::{BareItem, Dictionary, InnerList, Item, ListEntry, Parser};

use super::{ACCEPT_SIGNATURE, CONTENT_DIGEST, Covered, FIELD_BYTES, LABEL, Purpose, SIGNATURE, SIGNATURE_INPUT};
use crate::authenticate::AuthenticateError;
use crate::types::{Digest, Timestamp};

/// `Signature-Input` and `Signature` of one message, as they came: from its head or from its trailers.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    input: &'a str,
    signature: &'a str,
}

/// A signature as its fields tell it. Nothing of it is believed yet.
pub(super) struct Given {
    pub(super) components: Vec<String>,
    pub(super) created: u64,
    pub(super) key: String,
    pub(super) tag: String,
    /// The list of components with its parameters, as the signature's base ends with it.
    pub(super) parameters: String,
    pub(super) signature: [u8; 64],
}

impl<'a> Fields<'a> {
    /// From text that came some other way than in a head.
    pub fn new(input: &'a str, signature: &'a str) -> Self {
        Self { input, signature }
    }

    /// The fields of a head or of trailers; `None` when there is neither of the two.
    ///
    /// # Errors
    /// [`AuthenticateError`] when one of the two is missing, stands twice or is no plain text.
    pub fn of(headers: &'a HeaderMap, purpose: Purpose) -> Result<Option<Self>, AuthenticateError> {
        let broken = || purpose.invalid("has fields that are missing, stand twice or are no plain text");
        let (input, signature) = (single(headers, &SIGNATURE_INPUT), single(headers, &SIGNATURE));
        match (input, signature) {
            (Ok(None), Ok(None)) => Ok(None),
            (Ok(Some(input)), Ok(Some(signature))) => Ok(Some(Self { input, signature })),
            _ => Err(broken()),
        }
    }

    pub(super) fn read(&self, purpose: Purpose) -> Result<Given, AuthenticateError> {
        if self.input.len().max(self.signature.len()) > FIELD_BYTES {
            return Err(purpose.invalid("has fields that are longer than 4 KiB"));
        }
        let malformed = || purpose.invalid("has fields that are not of the profile's shape");
        let input: Dictionary = Parser::new(self.input).parse().map_err(|_| malformed())?;
        let Some(ListEntry::InnerList(list)) = input.get(LABEL) else { return Err(malformed()) };
        let signature: Dictionary = Parser::new(self.signature).parse().map_err(|_| malformed())?;
        let Some(ListEntry::Item(Item { bare_item: BareItem::ByteSequence(bytes), params })) = signature.get(LABEL)
        else {
            return Err(malformed());
        };
        let signature =
            <[u8; 64]>::try_from(bytes.as_slice()).ok().filter(|_| params.is_empty()).ok_or_else(malformed)?;
        let components = list.items.iter().map(identifier).collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
        let (mut created, mut key, mut tag) = (None, None, None);
        for (name, value) in &list.params {
            match (name.as_str(), value) {
                ("created", BareItem::Integer(_)) => {
                    created = value.as_integer().and_then(|at| u64::try_from(i64::from(at)).ok());
                }
                ("keyid", BareItem::String(id)) => key = Some(id.as_str().to_owned()),
                ("tag", BareItem::String(name)) => tag = Some(name.as_str().to_owned()),
                ("alg", BareItem::String(name)) if name.as_str() == "ed25519" => {}
                _ => return Err(purpose.invalid("has a parameter that the profile does not know")),
            }
        }
        let (Some(created), Some(key), Some(tag)) = (created, key, tag) else {
            return Err(purpose.invalid("lacks created, keyid or tag"));
        };
        let parameters = serialised(list, &components).ok_or_else(malformed)?;
        Ok(Given { components, created, key, tag, parameters, signature })
    }
}

/// A component identifier as RFC 9421 writes it; `None` for what cannot be one of the profile.
fn identifier(item: &Item) -> Option<String> {
    let BareItem::String(name) = &item.bare_item else { return None };
    Some(quoted(name.as_str()) + &parameters_text(&item.params)?)
}

fn serialised(list: &InnerList, components: &[String]) -> Option<String> {
    Some(format!("({}){}", components.join(" "), parameters_text(&list.params)?))
}

/// Parameters in their order (RFC 9651, section 4.1.1.2), of the types that the profile has.
fn parameters_text(parameters: &sfv::Parameters) -> Option<String> {
    let mut text = String::new();
    for (name, value) in parameters {
        text.push(';');
        text.push_str(name.as_str());
        match value {
            BareItem::Boolean(true) => {}
            BareItem::Integer(number) => text.push_str(&format!("={}", i64::from(*number))),
            BareItem::String(value) => {
                text.push('=');
                text.push_str(&quoted(value.as_str()));
            }
            _ => return None,
        }
    }
    Some(text)
}

/// A string (RFC 9651, section 4.1.6).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What a signature of ours says of itself.
pub(super) fn parameters(covered: &Covered, created: Timestamp, key: &str, tag: &str) -> String {
    let mut text = String::from("(");
    for (place, identifier) in covered.identifiers().enumerate() {
        if place > 0 {
            text.push(' ');
        }
        text.push_str(identifier);
    }
    text.push_str(&format!(");created={};keyid={};alg=\"ed25519\";tag=\"{tag}\"", created.seconds(), quoted(key)));
    text
}

/// The value of `Content-Digest` for content with this digest.
pub fn content_digest(digest: &Digest) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest.as_bytes()))
}

/// The SHA-256 that a `Content-Digest`, `Sekisho-Pass` or `Sekisho-Query` field tells; other algorithms beside it are passed
/// over.
pub fn read_content_digest(field: &str) -> Option<Digest> {
    if field.len() > FIELD_BYTES {
        return None;
    }
    let digests: Dictionary = Parser::new(field).parse().ok()?;
    match digests.get("sha-256")? {
        ListEntry::Item(Item { bare_item: BareItem::ByteSequence(bytes), .. }) => {
            bytes.as_slice().try_into().ok().map(Digest::from_bytes)
        }
        _ => None,
    }
}

/// Whether the head of a message says that signature or digest come as trailers.
pub fn announces(headers: &HeaderMap) -> bool {
    let names = headers.get_all(header::TRAILER).iter().filter_map(|value| value.to_str().ok());
    names.flat_map(|names| names.split(',')).any(|name| {
        let name = name.trim();
        [&SIGNATURE, &SIGNATURE_INPUT, &CONTENT_DIGEST].iter().any(|ours| name.eq_ignore_ascii_case(ours.as_str()))
    })
}

/// Whether a request asks for a signed answer. What it wants covered is the profile's business, so all that counts is
/// that it names our label (RFC 9421, section 5.1, lets a signer choose).
pub fn asks_for_answer(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(&ACCEPT_SIGNATURE).and_then(|value| value.to_str().ok()) else { return false };
    let wanted: Option<Dictionary> = Some(value).filter(|value| value.len() <= FIELD_BYTES).and_then(|value| {
        let parsed: Result<Dictionary, _> = Parser::new(value).parse();
        parsed.ok()
    });
    wanted.is_some_and(|wanted| matches!(wanted.get(LABEL), Some(ListEntry::InnerList(_))))
}

/// A field that stands once and is plain text, or does not stand at all.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text)),
        _ => Err(()),
    }
}
