//! TLS 1.3 on both sides of the border: who may connect to us, and whom we connect to.
//!
//! Sessions are never resumed: a resumed handshake shows no certificate, so it would outlive expiry, revocation and
//! suspension. Hybrid X25519MLKEM768 is offered first (the `prefer-post-quantum` order of the provider).

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};

use super::{AuthenticateError, Certificate, Partner, Partners};
use crate::types::Clock;

/// Our own certificate chain, leaf first, and its private key.
pub struct Credentials {
    /// The chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Makes TLS configurations that share one provider, one clock and our own credentials.
#[derive(Clone)]
pub struct Tls {
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn Clock>,
    credentials: Credentials,
    certificate: Arc<Certificate>,
}

impl Tls {
    /// Takes our credentials; `clock` decides what is expired.
    ///
    /// # Errors
    /// [`AuthenticateError`] when the leaf is unreadable or not meant for both ends of a connection.
    pub fn new(credentials: Credentials, clock: Arc<dyn Clock>) -> Result<Self, AuthenticateError> {
        let leaf = credentials.chain.first();
        let leaf = leaf.ok_or_else(|| AuthenticateError::Configuration("our certificate chain is empty".to_owned()))?;
        let certificate = Arc::new(Certificate::read(leaf)?);
        if !certificate.for_client() || !certificate.for_server() {
            return Err(AuthenticateError::Configuration(
                "our certificate must name both serverAuth and clientAuth as extended key usage".to_owned(),
            ));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Ok(Self { provider, clock, credentials, certificate })
    }

    /// Our own certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// For the partner listener: only certificates of `partners`, each under its own anchors.
    ///
    /// # Errors
    /// [`AuthenticateError::Configuration`] when our key does not belong to our certificate.
    pub fn partner_server(&self, partners: Arc<Partners>) -> Result<Arc<ServerConfig>, AuthenticateError> {
        let verifier = PartnerVerifier::new(partners, Arc::clone(&self.provider))?;
        self.server(Arc::new(verifier))
    }

    /// For the admin listener: certificates under `anchors`, whatever their name; roles are read from it afterwards.
    ///
    /// # Errors
    /// [`AuthenticateError::Configuration`] when an anchor is unusable.
    pub fn admin_server(&self, anchors: &[CertificateDer<'static>]) -> Result<Arc<ServerConfig>, AuthenticateError> {
        let mut roots = RootCertStore::empty();
        for anchor in anchors {
            roots.add(anchor.clone()).map_err(|error| unusable("an admin trust anchor", &error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| AuthenticateError::Configuration(format!("admin trust anchors: {error}")))?;
        self.server(verifier)
    }

    fn server(&self, verifier: Arc<dyn ClientCertVerifier>) -> Result<Arc<ServerConfig>, AuthenticateError> {
        let time = Arc::new(ClockTime(Arc::clone(&self.clock)));
        let mut config = ServerConfig::builder_with_details(Arc::clone(&self.provider), time)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable("TLS 1.3", &error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.credentials.chain.clone(), self.credentials.key.clone_key())
            .map_err(|error| unusable("our certificate or its key", &error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }

    /// For a connection to `partner`: its names under its anchors, and nothing else.
    ///
    /// # Errors
    /// [`AuthenticateError::Configuration`] when our key does not belong to our certificate.
    pub fn client(&self, partner: &Arc<Partner>) -> Result<Arc<ClientConfig>, AuthenticateError> {
        let time = Arc::new(ClockTime(Arc::clone(&self.clock)));
        let verifier = PartnerServerVerifier { partner: Arc::clone(partner), provider: Arc::clone(&self.provider) };
        let mut config = ClientConfig::builder_with_details(Arc::clone(&self.provider), time)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable("TLS 1.3", &error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.credentials.chain.clone(), self.credentials.key.clone_key())
            .map_err(|error| unusable("our certificate or its key", &error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_early_data = false;
        Ok(Arc::new(config))
    }
}

/// For a connection to a server that is nobody's gateway: known by its name under `anchors`, and shown no certificate.
///
/// # Errors
/// [`AuthenticateError::Configuration`] when there is no anchor, or one that is unusable.
pub fn anonymous_client(
    anchors: &[CertificateDer<'static>],
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, AuthenticateError> {
    if anchors.is_empty() {
        return Err(AuthenticateError::Configuration("a server cannot be known without a trust anchor".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.clone()).map_err(|error| unusable("a trust anchor", &error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable("TLS 1.3", &error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

fn unusable(what: &str, error: &Error) -> AuthenticateError {
    AuthenticateError::Configuration(format!("{what} cannot be used: {error}"))
}

/// An authority that merely bears an anchor's name is as unknown as any other: a signature in the chain that no anchor
/// made is told as that.
fn unvouched(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => CertificateError::UnknownIssuer.into(),
        error => error,
    }
}

/// Our clock as TLS asks for it.
struct ClockTime(Arc<dyn Clock>);

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockTime")
    }
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0.now().seconds())))
    }
}

/// Verifies a client's certificate under the anchors of the one partner that it names.
#[derive(Debug)]
struct PartnerVerifier {
    partners: Arc<Partners>,
    provider: Arc<CryptoProvider>,
    by_partner: std::collections::HashMap<crate::types::PartyId, Arc<dyn ClientCertVerifier>>,
}

impl PartnerVerifier {
    fn new(partners: Arc<Partners>, provider: Arc<CryptoProvider>) -> Result<Self, AuthenticateError> {
        let mut by_partner = std::collections::HashMap::new();
        for partner in partners.iter() {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::clone(partner.roots()), Arc::clone(&provider))
                    .build()
                    .map_err(|error| AuthenticateError::Configuration(format!("partner {}: {error}", partner.id())))?;
            by_partner.insert(partner.id().clone(), verifier);
        }
        Ok(Self { partners, provider, by_partner })
    }
}

impl ClientCertVerifier for PartnerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: the list of our partners is nobody's business but ours.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let certificate = Certificate::read(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let partner = self.partners.named(&certificate).map_err(|error| match error {
            AuthenticateError::UnknownParty => CertificateError::NotValidForName,
            _ => CertificateError::ApplicationVerificationFailure,
        })?;
        if !certificate.for_client() {
            return Err(CertificateError::InvalidPurpose.into());
        }
        let verifier = self.by_partner.get(partner.id()).ok_or(CertificateError::UnknownIssuer)?;
        verifier.verify_client_cert(end_entity, intermediates, now).map_err(unvouched)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies that the gateway at the other end is the partner we mean, by the partner's names and anchors.
#[derive(Debug)]
struct PartnerServerVerifier {
    partner: Arc<Partner>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PartnerServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The address we dialled proves nothing: a partner is known by the names we vetted, not by where it listens.
        let certificate = Certificate::read(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if !certificate.names().iter().any(|name| self.partner.names().contains(name)) {
            return Err(CertificateError::NotValidForName.into());
        }
        if !certificate.for_server() {
            return Err(CertificateError::InvalidPurpose.into());
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, self.partner.roots(), intermediates, now, algorithms)
            .map_err(unvouched)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
