//! `.signatures.json` as OPA defines it: one JWT over the names and hashes of all other files of an archive.
//!
//! OPA's documentation calls it "Signature Format". Here a signature also expires, every file has to be listed and every
//! listed file be there, and key and algorithm belong together: a token names a key and chooses nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use jsonwebtoken::{Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::archive::Archive;
use super::keys::{BundleKeys, BundleSigner};
use super::{MANIFEST, SIGNATURES, canonical};
use crate::decide::DecideError;
use crate::types::{Digest, Timestamp};

/// The one hash that OPA's own commands write, and that is taken here.
const HASH: &str = "SHA-256";
/// The name by which OPA calls its own format.
const PLUGIN: &str = "_default";

/// The content of `.signatures.json`.
#[derive(Deserialize)]
struct SignaturesFile {
    signatures: Vec<String>,
    #[serde(default)]
    plugin: String,
}

/// The payload of the JWT. Other claims are ignored; nothing is believed of them.
#[derive(Deserialize)]
struct Claims {
    files: Vec<SignedFile>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
}

/// One file as the payload lists it.
#[derive(Debug, Serialize, Deserialize)]
struct SignedFile {
    name: String,
    hash: String,
    algorithm: String,
}

/// The key id alone, which older signatures have in the payload.
#[derive(Deserialize)]
struct NamedKey {
    #[serde(default)]
    keyid: Option<String>,
}

/// A signature that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleSignature {
    /// The key id that it names.
    pub key_id: Option<String>,
    /// Its algorithm, such as `EdDSA`.
    pub algorithm: String,
    /// Who says to have signed (`iss`).
    pub issuer: Option<String>,
    /// When it expires.
    pub expires: Option<Timestamp>,
}

fn refused(code: &'static str, why: impl std::fmt::Display) -> DecideError {
    DecideError::Bundle { code, why: format!("{SIGNATURES}: {why}") }
}

fn invalid(why: impl std::fmt::Display) -> DecideError {
    refused("bundle_signature_invalid", why)
}

/// A `NumericDate` (RFC 7519, section 2).
fn time_of(seconds: f64) -> Timestamp {
    // Saturates: what lies before 1970 is long past, and the far future stays far.
    Timestamp::from_millis((seconds * 1000.0) as u64)
}

impl Archive {
    /// Checks the signature with the key that it names, and every file against it.
    ///
    /// # Errors
    /// [`DecideError::Bundle`]: `bundle_unsigned`, `bundle_key_unknown`, `bundle_signature_invalid`,
    /// `bundle_signature_expired`, `bundle_file_unlisted`, `bundle_file_missing`, `bundle_hash_wrong` or
    /// `bundle_unreadable`.
    pub fn verify(&self, keys: &BundleKeys, now: Timestamp) -> Result<BundleSignature, DecideError> {
        let token = self.token()?;
        let header = jsonwebtoken::decode_header(&token)
            .map_err(|_| invalid("holds no JWT signed with an algorithm that is taken: sign it anew"))?;
        let carries_key = header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some();
        if carries_key || header.crit.is_some() {
            return Err(invalid("the JWT carries a key, a key's address or critical extensions: sign it without"));
        }
        // Read before the signature is checked, but it only chooses among trusted keys.
        let claimed = || jsonwebtoken::dangerous::insecure_decode_claims::<NamedKey>(&token).ok()?.keyid;
        let key_id = header.kid.clone().or_else(claimed).filter(|id| !id.is_empty());
        let key = keys.find(key_id.as_deref()).ok_or_else(|| match &key_id {
            Some(id) => refused(
                "bundle_key_unknown",
                format!(
                    "signed with the key {id:?}, which is none of this source's: add its public key if you trust it"
                ),
            ),
            None => refused(
                "bundle_key_unknown",
                "the signature names no key (kid), and the source has several: sign it with a key id",
            ),
        })?;
        if header.alg != key.algorithm {
            return Err(invalid(format!(
                "signed with {:?}, and its key is for {:?}: sign it with that",
                header.alg, key.algorithm
            )));
        }
        let mut validation = Validation::new(key.algorithm);
        // Times are checked here, against the clock that was handed in.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims =
            jsonwebtoken::decode::<Claims>(&token, &key.key, &validation).map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => invalid("the signature is not by this key"),
                _ => invalid(format!("the payload is not as OPA defines it: {error}")),
            })?;
        let claims = claims.claims;
        if claims.scope != key.scope {
            return Err(invalid(format!(
                "signed for the scope {:?}, and the key is for {:?}",
                claims.scope, key.scope
            )));
        }
        let expires = claims.exp.map(time_of);
        if let Some(expires) = expires.filter(|expires| *expires <= now) {
            return Err(refused(
                "bundle_signature_expired",
                format!("the signature expired at {expires}: sign it anew"),
            ));
        }
        if let Some(from) = claims.nbf.map(time_of).filter(|from| *from > now) {
            return Err(invalid(format!("the signature is not valid before {from}")));
        }
        self.compare(claims.files)?;
        Ok(BundleSignature { key_id, algorithm: format!("{:?}", key.algorithm), issuer: claims.iss, expires })
    }

    /// Signs all files, in the place of a signature that is there. It holds for `lifetime`; without one, for ever.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] when the key fails, or a file that is hashed as JSON is none.
    pub fn sign(&self, signer: &BundleSigner, now: Timestamp, lifetime: Option<Duration>) -> Result<Self, DecideError> {
        let mut header = Header::new(signer.algorithm);
        header.kid = Some(signer.id.clone());
        // The id stands in the payload too, for versions of OPA that look only there.
        let mut claims = json!({ "files": self.hashes()?, "iat": now.seconds(), "keyid": signer.id });
        if let Some(lifetime) = lifetime {
            claims["exp"] = now.plus(lifetime).seconds().into();
        }
        let token = jsonwebtoken::encode(&header, &claims, &signer.key)
            .map_err(|error| invalid(format!("signing: {error}")))?;
        let mut signed = self.clone();
        signed.insert(SIGNATURES, json!({ "signatures": [token] }).to_string().into_bytes())?;
        Ok(signed)
    }

    /// The one JWT of the archive.
    fn token(&self) -> Result<String, DecideError> {
        let file = self.file(SIGNATURES).ok_or_else(|| {
            refused(
                "bundle_unsigned",
                "the archive is not signed: sign it with `sekisho policy sign FILE --key KEY.pem`, or with opa",
            )
        })?;
        let file: SignaturesFile =
            serde_json::from_slice(file).map_err(|error| invalid(format!("line {}: {error}", error.line())))?;
        if !matches!(file.plugin.as_str(), "" | PLUGIN) {
            return Err(invalid(format!("signed by the plug-in {:?}: only OPA's own format is read", file.plugin)));
        }
        match <[String; 1]>::try_from(file.signatures) {
            Ok([token]) => Ok(token),
            Err(tokens) => {
                Err(invalid(format!("holds {} signatures, and exactly one is read, as in OPA", tokens.len())))
            }
        }
    }

    /// Compares the files with those that a signature lists.
    fn compare(&self, listed: Vec<SignedFile>) -> Result<(), DecideError> {
        let mut left = BTreeMap::new();
        for file in listed {
            if let Some(twice) = left.insert(file.name.clone(), file) {
                return Err(invalid(format!("lists {} twice: sign it anew", twice.name)));
            }
        }
        for found in self.hashes()? {
            let name = &found.name;
            let Some(signed) = left.remove(name) else {
                return Err(refused(
                    "bundle_file_unlisted",
                    format!(
                        "{name} is in the archive and the signature does not list it: sign it anew, or take it out"
                    ),
                ));
            };
            if signed.algorithm != HASH {
                return Err(refused(
                    "bundle_hash_wrong",
                    format!("{name} is hashed with {:?}, and only {HASH} is taken: sign it anew", signed.algorithm),
                ));
            }
            if !signed.hash.eq_ignore_ascii_case(&found.hash) {
                return Err(refused(
                    "bundle_hash_wrong",
                    format!(
                        "{name} is not what was signed: its hash is {}, and {} was signed",
                        found.hash,
                        signed.hash.chars().take(64).collect::<String>()
                    ),
                ));
            }
        }
        match left.first_key_value() {
            None => Ok(()),
            Some((name, _)) => Err(refused(
                "bundle_file_missing",
                format!("{name:?} was signed and is not in the archive: fetch or pack it whole"),
            )),
        }
    }

    /// Every file but the signature with its hash: of data and manifest over their canonical form, as OPA has it.
    fn hashes(&self) -> Result<Vec<SignedFile>, DecideError> {
        let mut values = canonical::VALUES;
        let mut hashes = Vec::new();
        for (path, content) in self.files().filter(|(path, _)| *path != SIGNATURES) {
            let structured = path == MANIFEST || path == "data.json" || path.ends_with("/data.json");
            let digest = if structured {
                let unreadable = |line: usize, why: &str| DecideError::Bundle {
                    code: "bundle_unreadable",
                    why: format!("{path}:{line}: {why}"),
                };
                let text = std::str::from_utf8(content).map_err(|_| unreadable(1, "not UTF-8: save it as UTF-8"))?;
                let form =
                    canonical::canonical(text, &mut values).map_err(|wrong| unreadable(wrong.line, &wrong.why))?;
                Digest::of(&form)
            } else {
                Digest::of(content)
            };
            hashes.push(SignedFile { name: path.to_owned(), hash: digest.hex(), algorithm: HASH.to_owned() });
        }
        Ok(hashes)
    }
}
