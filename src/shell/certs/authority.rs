//! A certificate authority for one party, and the leaves that its gateway and operators need.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::DnsName;
use time::OffsetDateTime;

use crate::authenticate::Role;
use crate::types::{PartyId, Timestamp};

/// How long a leaf is good, in days: long enough for a development machine, short enough that rotation is practised.
const LEAF_DAYS: u32 = 90;
/// The longest common name, in characters (RFC 5280, appendix A.1: ub-common-name).
const MOST_COMMON_NAME: usize = 64;

/// An authority (ECDSA P-256) that may sign leaves and revocation lists, and no further authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    party: PartyId,
    from: Timestamp,
    until: Timestamp,
}

/// An end entity's certificate and its private key, both PEM. The key is secret and is not shown by `Debug`.
#[derive(Clone)]
pub struct Leaf {
    /// The certificate, without its authority's.
    pub certificate_pem: String,
    /// The private key as PKCS#8.
    pub key_pem: String,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority of this party, good for `valid_days` from `valid_from`.
    ///
    /// # Errors
    /// When the dates are outside of what a certificate can say, or the random source fails.
    pub fn new(party: &PartyId, valid_from: Timestamp, valid_days: u32) -> anyhow::Result<Self> {
        let until = valid_from.plus(days(valid_days));
        let mut params = params(&format!("development CA of {party}"), valid_from, until)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?).context("cannot sign the authority")?;
        Ok(Self { issuer, party: party.clone(), from: valid_from, until })
    }

    /// The party whose authority it is.
    pub fn party(&self) -> &PartyId {
        &self.party
    }

    /// The authority's certificate, PEM: what partners hold as an anchor.
    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// The authority's private key, PKCS#8 PEM. Secret.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A gateway's certificate for both ends of TLS: `spiffe://<party>/gateway`, `localhost` and 127.0.0.1, and the
    /// names and addresses given. The party is the authority's own unless a test wants an impostor.
    ///
    /// # Errors
    /// When a DNS name is none, or the random source fails.
    pub fn gateway(&self, party: &PartyId, dns: &[String], addresses: &[IpAddr]) -> anyhow::Result<Leaf> {
        let mut names = vec![
            SanType::URI(format!("spiffe://{party}/gateway").try_into()?),
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        ];
        for name in dns {
            let wrong = || format!("{name:?} is not a DNS name");
            DnsName::try_from(name.as_str()).with_context(wrong)?;
            names.push(SanType::DnsName(name.as_str().try_into().with_context(wrong)?));
        }
        names.extend(addresses.iter().copied().map(SanType::IpAddress));
        self.leaf(
            &format!("gateway of {party}"),
            names,
            &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        )
    }

    /// A person's certificate for the admin listener: `spiffe://<party>/<role>/<name>`, for clients only.
    ///
    /// # Errors
    /// When the name is not 1 to 64 lower-case letters, digits and hyphens, or the random source fails.
    pub fn operator(&self, name: &str, role: Role) -> anyhow::Result<Leaf> {
        check_name(name)?;
        let uri = format!("spiffe://{}/{}/{name}", self.party, role.as_str());
        self.person(name, role, &[uri])
    }

    /// The certificate of an officer who holds `offices`: `spiffe://<party>/officer/<office>/<name>` for each, and
    /// `spiffe://<party>/officer/<name>`.
    ///
    /// # Errors
    /// When the name or an office is not 1 to 64 lower-case letters, digits, hyphens and (in an office) underscores, or
    /// the random source fails.
    pub fn officer(&self, name: &str, offices: &[&str]) -> anyhow::Result<Leaf> {
        let mut names = Vec::new();
        for office in offices {
            ensure!(
                (1..=64).contains(&office.len()) && office.bytes().all(|b| in_name(b) || b == b'_'),
                "{office:?} is not an office: give 1 to 64 lower-case letters, digits, hyphens and underscores"
            );
            names.push(format!("spiffe://{}/officer/{office}/{name}", self.party));
        }
        names.push(format!("spiffe://{}/officer/{name}", self.party));
        check_name(name)?;
        self.person(name, Role::Officer, &names)
    }

    fn person(&self, name: &str, role: Role, names: &[String]) -> anyhow::Result<Leaf> {
        let uris = names.iter().map(|uri| Ok(SanType::URI(uri.as_str().try_into()?)));
        self.leaf(
            &format!("{} {name} of {}", role.as_str(), self.party),
            uris.collect::<anyhow::Result<_>>()?,
            &[ExtendedKeyUsagePurpose::ClientAuth],
        )
    }

    fn leaf(&self, name: &str, names: Vec<SanType>, usages: &[ExtendedKeyUsagePurpose]) -> anyhow::Result<Leaf> {
        // No leaf outlives the authority that answers for it.
        let until = self.from.plus(days(LEAF_DAYS)).min(self.until);
        let mut params = params(name, self.from, until)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer).with_context(|| format!("cannot sign {name}"))?;
        Ok(Leaf { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

fn in_name(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'
}

fn check_name(name: &str) -> anyhow::Result<()> {
    ensure!(
        (1..=64).contains(&name.len()) && name.bytes().all(in_name),
        "{name:?} is not a person's name: give 1 to 64 lower-case letters, digits and hyphens"
    );
    Ok(())
}

fn days(number: u32) -> Duration {
    Duration::from_secs(u64::from(number) * 24 * 60 * 60)
}

fn params(name: &str, from: Timestamp, until: Timestamp) -> anyhow::Result<CertificateParams> {
    // Each kind of name starts differently, so that a long one, cut, is still another than its issuer's.
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name.chars().take(MOST_COMMON_NAME).collect::<String>());
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.not_before = instant(from)?;
    params.not_after = instant(until)?;
    Ok(params)
}

fn instant(at: Timestamp) -> anyhow::Result<OffsetDateTime> {
    let seconds = i64::try_from(at.seconds()).context("the date is too far away for a certificate")?;
    OffsetDateTime::from_unix_timestamp(seconds).context("the date is too far away for a certificate")
}
