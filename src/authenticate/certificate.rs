//! What a certificate says: its digest and the names that it vouches for (RFC 5280).

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::AuthenticateError;
use crate::types::{Digest, Timestamp};

/// The facts of one end-entity certificate that the gateway uses.
#[derive(Debug, Clone)]
pub struct Certificate {
    digest: Digest,
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
    client: bool,
    server: bool,
}

impl Certificate {
    /// Reads the certificate's DER. Its signature is not checked here: TLS has done so.
    ///
    /// # Errors
    /// [`AuthenticateError::Certificate`] when it is not an X.509 certificate or names no subject alternative.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, AuthenticateError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| AuthenticateError::Certificate("is not readable as X.509"))?;
        if !rest.is_empty() {
            return Err(AuthenticateError::Certificate("has bytes after its end"));
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| AuthenticateError::Certificate("has an unreadable or repeated subject alternative name"))?
            .map(|extension| {
                let names = extension.value.general_names.iter();
                names
                    .filter_map(|name| match name {
                        GeneralName::URI(uri) => Some((*uri).to_owned()),
                        GeneralName::DNSName(dns) => Some(format!("dns:{}", dns.to_ascii_lowercase())),
                        _ => None,
                    })
                    .collect()
            })
            .unwrap_or_default();
        let usage = certificate
            .extended_key_usage()
            .map_err(|_| AuthenticateError::Certificate("has an unreadable or repeated extended key usage"))?;
        let seconds = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_seconds(u64::try_from(time.timestamp()).unwrap_or_default())
        };
        Ok(Self {
            digest: Digest::of(der),
            names,
            not_before: seconds(certificate.validity().not_before),
            not_after: seconds(certificate.validity().not_after),
            client: usage.as_ref().is_some_and(|usage| usage.value.client_auth),
            server: usage.as_ref().is_some_and(|usage| usage.value.server_auth),
        })
    }

    /// SHA-256 of the DER: what a pass is bound to (RFC 8705, section 3.1).
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Subject alternative names: URIs as they are, DNS names as `dns:<lower case>`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// First and last instant of validity.
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        (self.not_before, self.not_after)
    }

    /// Whether the extended key usage names client authentication. A certificate without the extension, which webpki
    /// lets through, counts as one that does not.
    pub fn for_client(&self) -> bool {
        self.client
    }

    /// Whether the extended key usage names server authentication.
    pub fn for_server(&self) -> bool {
        self.server
    }
}
