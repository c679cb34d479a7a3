//! Signatures of messages as a partner without Sekisho makes and checks them: written from the RFCs, with ring.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use sekisho::shell::certs::{Identity, ed25519_public_key, thumbprint};
use serde_json::Value;

/// `Content-Digest` of these bytes.
pub fn content_digest(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, bytes)))
}

/// The key of a party that signs its messages.
pub struct Hand {
    pair: Ed25519KeyPair,
    public: Vec<u8>,
    pub kid: String,
}

/// What a signature is written with: `Signature-Input` and `Signature`.
#[derive(Debug, Clone)]
pub struct Fields {
    pub input: String,
    pub signature: String,
}

impl Hand {
    pub fn of(identity: &Identity) -> Self {
        Self::with(&identity.pass_key_pem)
    }

    /// That of a private key.
    pub fn with(pem: &str) -> Self {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der()).unwrap();
        let public = ed25519_public_key(pem).unwrap();
        Self { pair, kid: thumbprint(&public), public: public.to_vec() }
    }

    /// Signs these components, in this order.
    pub fn sign(&self, components: &[(&str, &str)], tag: &str, created: u64) -> Fields {
        let parameters = self.parameters(components, tag, created);
        let signature = self.pair.sign(base(components, &parameters).as_bytes());
        let signature = format!("sekisho=:{}:", STANDARD.encode(signature));
        Fields { input: format!("sekisho={parameters}"), signature }
    }

    fn parameters(&self, components: &[(&str, &str)], tag: &str, created: u64) -> String {
        let list: Vec<&str> = components.iter().map(|(identifier, _)| *identifier).collect();
        format!("({});created={created};keyid=\"{}\";tag=\"{tag}\"", list.join(" "), self.kid)
    }

    /// Whether headers or trailers carry a signature of this key over these components.
    pub fn signed(&self, fields: &HeaderMap, components: &[(&str, &str)], tag: &str) -> bool {
        let text = |name: &str| fields.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let (input, signature) = (text("signature-input"), text("signature"));
        let Some(parameters) = input.strip_prefix("sekisho=") else { return false };
        let list: Vec<&str> = components.iter().map(|(identifier, _)| *identifier).collect();
        assert!(parameters.starts_with(&format!("({});", list.join(" "))), "{parameters}");
        assert!(parameters.ends_with(&format!(";tag=\"{tag}\"")), "{parameters}");
        let signature = signature.strip_prefix("sekisho=:").unwrap().strip_suffix(':').unwrap();
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        key.verify(base(components, parameters).as_bytes(), &STANDARD.decode(signature).unwrap()).is_ok()
    }

    /// Checks a signature as a log keeps it: one Ed25519 verification, under this party's key.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn check_recorded(&self, signature: &Value, of: &str) {
        let text = |name: &str| signature[name].as_str().unwrap();
        assert_eq!((text("of"), text("key")), (of, self.kid.as_str()));
        assert_eq!(URL_SAFE_NO_PAD.decode(text("public")).unwrap(), self.public);
        let bytes = URL_SAFE_NO_PAD.decode(text("signature")).unwrap();
        UnparsedPublicKey::new(&ED25519, &self.public).verify(text("base").as_bytes(), &bytes).unwrap();
    }
}

fn base(components: &[(&str, &str)], parameters: &str) -> String {
    let lines: String = components.iter().map(|(identifier, value)| format!("{identifier}: {value}\n")).collect();
    format!("{lines}\"@signature-params\": {parameters}")
}
