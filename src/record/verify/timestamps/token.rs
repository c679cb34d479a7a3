//! One timestamp token (RFC 3161): signed data in CMS (RFC 5652), whose every part is held against what was stamped and
//! against the authorities that are believed. DER only: what is written another way is refused.

use std::time::Duration;

use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedAttributes, SignedData, SignerIdentifier, SignerInfo};
use der::asn1::{AnyRef, ContextSpecific, ObjectIdentifier, OctetString, OctetStringRef};
use der::oid::AssociatedOid as _;
use der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};
use time::{Date, Month, Time};
use webpki::ring as algorithms;
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectKeyIdentifier};

use super::super::crypto::sha256;

/// The largest token: one with a few certificates of 2 KiB each is a quarter of it.
pub const MOST_TOKEN: u64 = 32 * 1024;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
/// The same as the bytes that webpki compares.
const TIME_STAMPING_BYTES: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

/// What may sign a certificate on the way to an anchor.
static ISSUERS: [&dyn SignatureVerificationAlgorithm; 8] = [
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
];

/// The authorities whose word on the time is taken.
#[derive(Debug, Clone)]
pub struct TimestampAnchors(Vec<TrustAnchor<'static>>);

impl TimestampAnchors {
    /// Reads the PEM certificates of authorities.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(pem: &[u8]) -> Result<Self, &'static str> {
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| "is not valid PEM")?;
            let anchor = webpki::anchor_from_trusted_cert(&certificate).map_err(|_| "holds what is no authority")?;
            anchors.push(anchor.to_owned());
        }
        if anchors.is_empty() { Err("holds no certificate") } else { Ok(Self(anchors)) }
    }

    /// The time to which a token under one of these authorities bears witness, in seconds since 1970: at that time the
    /// authority saw `stamped`. With a `nonce` the token must answer the request that had it.
    ///
    /// # Errors
    /// Why the token proves nothing.
    pub fn check(&self, token: &[u8], stamped: &[u8], nonce: Option<u64>) -> Result<u64, &'static str> {
        if token.len() as u64 > MOST_TOKEN {
            return Err("is larger than a timestamp is");
        }
        let signed = ContentInfo::from_der(token).ok().filter(|content| content.content_type == SIGNED_DATA);
        let signed = signed.and_then(|content| content.content.decode_as::<SignedData>().ok());
        let signed = signed.ok_or("is no signed data in DER")?;
        let content = signed.encap_content_info;
        let info = content.econtent.filter(|_| content.econtent_type == TST_INFO);
        let info = info.and_then(|info| info.decode_as::<OctetString>().ok()).ok_or("holds no timestamp")?;
        let said = Said::read(info.as_bytes()).map_err(|_| "holds a timestamp that cannot be read")?;
        if said.imprint != sha256(stamped) {
            return Err("is of something else: its imprint is not the SHA-256 of the checkpoint");
        }
        if nonce.is_some_and(|nonce| said.nonce != Some(nonce)) {
            return Err("answers another request: its nonce is not ours");
        }
        let [by] = signed.signer_infos.0.as_slice() else { return Err("has not exactly one signer") };
        let mut certificates = Vec::new();
        for choice in signed.certificates.iter().flat_map(|set| set.0.iter()) {
            let CertificateChoices::Certificate(certificate) = choice else { continue };
            let der = certificate.to_der().map_err(|_| "holds a certificate that cannot be read")?;
            certificates.push((certificate, CertificateDer::from(der)));
        }
        let found = certificates.iter().find(|(certificate, _)| names(&by.sid, certificate));
        let (certificate, der) = found.ok_or("does not hold its signer's certificate")?;
        judge_signature(by, info.as_bytes(), der)?;
        judge_usage(certificate)?;
        let others: Vec<_> = certificates.iter().map(|(_, der)| der.clone()).filter(|other| other != der).collect();
        self.judge_path(der, &others, said.at)?;
        Ok(said.at)
    }

    /// The signer's certificate was good at the time that it states, for this use, under an authority that is believed.
    fn judge_path(&self, der: &CertificateDer<'_>, others: &[CertificateDer<'_>], at: u64) -> Result<(), &'static str> {
        let end = EndEntityCert::try_from(der).map_err(|_| "is signed under a certificate that cannot be used")?;
        let usage = KeyUsage::required(TIME_STAMPING_BYTES);
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        let path = end.verify_for_usage(&ISSUERS, &self.0, others, at, usage, None, None);
        path.map(|_| ()).map_err(|error| match error {
            webpki::Error::CertExpired { .. } => {
                "is signed under a certificate that had expired at the time that it states"
            }
            webpki::Error::CertNotValidYet { .. } => {
                "is signed under a certificate that was not valid yet at the time that it states"
            }
            webpki::Error::UnknownIssuer => "is signed under a certificate of no authority that is believed",
            _ => "is signed under a certificate that may not be used for this, or whose issuer may not",
        })
    }
}

/// What an authority says (TSTInfo).
struct Said {
    imprint: [u8; 32],
    /// In seconds since 1970.
    at: u64,
    nonce: Option<u64>,
}

impl Said {
    fn read(bytes: &[u8]) -> der::Result<Self> {
        let wrong = || der::Error::from(der::ErrorKind::Failed);
        let mut outer = SliceReader::new(bytes)?;
        let said = outer.sequence(|info| {
            let (version, _policy) = (u8::decode(info)?, ObjectIdentifier::decode(info)?);
            let imprint = info.sequence(|imprint| {
                let algorithm = imprint.sequence(|algorithm| {
                    let oid = ObjectIdentifier::decode(algorithm)?;
                    let parameters = Option::<AnyRef<'_>>::decode(algorithm)?;
                    Ok((oid, parameters.is_none_or(AnyRef::is_null)))
                })?;
                let hash = OctetStringRef::decode(imprint)?;
                <[u8; 32]>::try_from(hash.as_bytes()).ok().filter(|_| algorithm == (SHA_256, true)).ok_or_else(wrong)
            })?;
            let (serial, at) = (AnyRef::decode(info)?, AnyRef::decode(info)?);
            if version != 1 || serial.tag() != Tag::Integer || at.tag() != Tag::GeneralizedTime {
                return Err(wrong());
            }
            let at = std::str::from_utf8(at.value()).ok().and_then(seconds).ok_or_else(wrong)?;
            let mut nonce = None;
            while !info.is_finished() {
                match info.peek_tag()? {
                    // How exact the time is, whether times order tokens, and who says so: nothing here depends on it.
                    Tag::Sequence | Tag::Boolean => drop(AnyRef::decode(info)?),
                    Tag::ContextSpecific { number: TagNumber::N0, .. } => drop(AnyRef::decode(info)?),
                    // Longer than ours it is not ours.
                    Tag::Integer if nonce.is_none() => nonce = Some(AnyRef::decode(info)?.decode_as::<u64>().ok()),
                    Tag::ContextSpecific { number: TagNumber::N1, .. } => {
                        let more = ContextSpecific::<x509_cert::ext::Extensions>::decode_implicit(info, TagNumber::N1)?;
                        // What is critical must be understood, and none of it is.
                        if more.is_none_or(|more| more.value.iter().any(|extension| extension.critical)) {
                            return Err(wrong());
                        }
                    }
                    _ => return Err(wrong()),
                }
            }
            Ok(Self { imprint, at, nonce: nonce.flatten() })
        })?;
        outer.finish(said)
    }
}

/// `YYYYMMDDHHMMSS[.fraction]Z` as seconds since 1970. der's own type takes no fraction, and authorities write one.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.strip_suffix('Z')?.split_at_checked(14)?;
    let fraction = fraction.is_empty()
        || fraction.strip_prefix('.').is_some_and(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()));
    if !fraction || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| whole.get(from..to)?.parse::<u16>().ok();
    let part = |from: usize| u8::try_from(number(from, from + 2)?).ok();
    let month = Month::try_from(part(4)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(0, 4)?), month, part(6)?).ok()?;
    let time = Time::from_hms(part(8)?, part(10)?, part(12)?).ok()?;
    u64::try_from(date.with_time(time).assume_utc().unix_timestamp()).ok()
}

/// Whether a signer's identifier names this certificate.
fn names(by: &SignerIdentifier, certificate: &Certificate) -> bool {
    let certificate = &certificate.tbs_certificate;
    match by {
        SignerIdentifier::IssuerAndSerialNumber(id) => {
            id.issuer == certificate.issuer && id.serial_number == certificate.serial_number
        }
        SignerIdentifier::SubjectKeyIdentifier(id) => {
            matches!(certificate.get::<SubjectKeyIdentifier>(), Ok(Some((_, own))) if own == *id)
        }
    }
}

/// The signature is the certificate's over the signed attributes, and these are of this content and this certificate.
fn judge_signature(by: &SignerInfo, content: &[u8], der: &CertificateDer<'_>) -> Result<(), &'static str> {
    let hash = hash_of(&by.digest_alg.oid).ok_or("is digested in a way that is not taken")?;
    let attributes = by.signed_attrs.as_ref().ok_or("has no signed attributes")?;
    if one::<ObjectIdentifier>(attributes, CONTENT_TYPE) != Some(TST_INFO) {
        return Err("was signed as something other than a timestamp");
    }
    let digested = one::<OctetString>(attributes, MESSAGE_DIGEST);
    if digested.is_none_or(|digested| digested.as_bytes() != digest(hash, content).as_ref()) {
        return Err("was changed: what was signed is not the digest of what it says");
    }
    if !names_certificate(attributes, der) {
        return Err("was signed for another certificate than the one it holds");
    }
    let signed = attributes.to_der().map_err(|_| "has signed attributes that cannot be read")?;
    let end = EndEntityCert::try_from(der).map_err(|_| "is signed under a certificate that cannot be used")?;
    let algorithms = candidates(&by.signature_algorithm.oid, &by.digest_alg.oid);
    if algorithms.is_empty() {
        return Err("is signed in a way that is not taken");
    }
    let signature = by.signature.as_bytes();
    match algorithms.iter().any(|algorithm| end.verify_signature(*algorithm, &signed, signature).is_ok()) {
        true => Ok(()),
        false => Err("has a signature that is not its signer's"),
    }
}

/// The only value of the only attribute of a type.
fn one<T: for<'a> der::Decode<'a> + der::Tagged>(attributes: &SignedAttributes, oid: ObjectIdentifier) -> Option<T> {
    let mut found = attributes.iter().filter(|attribute| attribute.oid == oid);
    let (Some(attribute), None) = (found.next(), found.next()) else { return None };
    let [value] = attribute.values.as_slice() else { return None };
    T::from_der(&value.to_der().ok()?).ok()
}

/// Whether the signed attributes name this certificate as the signer's (RFC 5035, RFC 2634), as they have to: otherwise
/// another certificate of the same key could take its place.
fn names_certificate(attributes: &SignedAttributes, der: &CertificateDer<'_>) -> bool {
    let first = |oid, version_2: bool| {
        let value = one::<der::Any>(attributes, oid)?.to_der().ok()?;
        first_certificate(&value, version_2).ok()
    };
    // Both may be there; then both have to.
    let ids = [
        (SIGNING_CERTIFICATE, first(SIGNING_CERTIFICATE, false)),
        (SIGNING_CERTIFICATE_V2, first(SIGNING_CERTIFICATE_V2, true)),
    ];
    let present = |oid: ObjectIdentifier| attributes.iter().any(|attribute| attribute.oid == oid);
    let fits = |id: &Option<(&'static Algorithm, Vec<u8>)>| {
        id.as_ref().is_some_and(|(hash, named)| digest(hash, der).as_ref() == named.as_slice())
    };
    ids.iter().any(|(oid, _)| present(*oid)) && ids.iter().all(|(oid, id)| !present(*oid) || fits(id))
}

/// The first certificate of a signing-certificate attribute: how it was hashed, and the hash.
fn first_certificate(value: &[u8], version_2: bool) -> der::Result<(&'static Algorithm, Vec<u8>)> {
    let mut outer = SliceReader::new(value)?;
    let list = outer.sequence(|attribute| {
        let list = AnyRef::decode(attribute)?;
        rest_of(attribute)?;
        Ok(list)
    })?;
    let mut ids = SliceReader::new(list.value())?;
    ids.sequence(|id| {
        let hash = match id.peek_tag()? {
            Tag::Sequence if version_2 => {
                let oid = id.sequence(|algorithm| {
                    let oid = ObjectIdentifier::decode(algorithm)?;
                    rest_of(algorithm)?;
                    Ok(oid)
                })?;
                hash_of(&oid).ok_or(der::ErrorKind::OidUnknown { oid })?
            }
            _ if version_2 => &SHA256,
            _ => &SHA1_FOR_LEGACY_USE_ONLY,
        };
        let named = OctetStringRef::decode(id)?.as_bytes().to_vec();
        rest_of(id)?;
        Ok((hash, named))
    })
}

/// Reads over what is left.
fn rest_of<'r>(reader: &mut impl der::Reader<'r>) -> der::Result<()> {
    while !reader.is_finished() {
        AnyRef::decode(reader)?;
    }
    Ok(())
}

fn hash_of(oid: &ObjectIdentifier) -> Option<&'static Algorithm> {
    match *oid {
        SHA_256 => Some(&SHA256),
        SHA_384 => Some(&SHA384),
        SHA_512 => Some(&SHA512),
        _ => None,
    }
}

/// The ways in which a token of this signature algorithm and digest can be signed; the certificate's key tells which.
fn candidates(
    signature: &ObjectIdentifier,
    digest: &ObjectIdentifier,
) -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    static ECDSA_256: [&dyn SignatureVerificationAlgorithm; 2] =
        [algorithms::ECDSA_P256_SHA256, algorithms::ECDSA_P384_SHA256];
    static ECDSA_384: [&dyn SignatureVerificationAlgorithm; 2] =
        [algorithms::ECDSA_P256_SHA384, algorithms::ECDSA_P384_SHA384];
    static RSA_256: [&dyn SignatureVerificationAlgorithm; 1] = [algorithms::RSA_PKCS1_2048_8192_SHA256];
    static RSA_384: [&dyn SignatureVerificationAlgorithm; 1] = [algorithms::RSA_PKCS1_2048_8192_SHA384];
    static RSA_512: [&dyn SignatureVerificationAlgorithm; 1] = [algorithms::RSA_PKCS1_2048_8192_SHA512];
    let rsa = |with_hash: &str| *signature == RSA || *signature == ObjectIdentifier::new_unwrap(with_hash);
    let ecdsa = |with_hash: &str| *signature == ObjectIdentifier::new_unwrap(with_hash);
    match *digest {
        SHA_256 if rsa("1.2.840.113549.1.1.11") => &RSA_256,
        SHA_384 if rsa("1.2.840.113549.1.1.12") => &RSA_384,
        SHA_512 if rsa("1.2.840.113549.1.1.13") => &RSA_512,
        SHA_256 if ecdsa("1.2.840.10045.4.3.2") => &ECDSA_256,
        SHA_384 if ecdsa("1.2.840.10045.4.3.3") => &ECDSA_384,
        _ => &[],
    }
}

/// An authority's certificate is for timestamps, for nothing else, and says so critically (RFC 3161, section 2.3).
fn judge_usage(certificate: &Certificate) -> Result<(), &'static str> {
    let wrong = "is signed under a certificate that is not for timestamps alone";
    let extensions = certificate.tbs_certificate.extensions.as_deref().unwrap_or_default();
    let mut usages = extensions.iter().filter(|extension| extension.extn_id == ExtendedKeyUsage::OID);
    let (Some(usage), None) = (usages.next(), usages.next()) else { return Err(wrong) };
    let purposes = ExtendedKeyUsage::from_der(usage.extn_value.as_bytes()).map_err(|_| wrong)?;
    if usage.critical && purposes.0 == [TIME_STAMPING] { Ok(()) } else { Err(wrong) }
}
