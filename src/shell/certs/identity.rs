//! Everything that one party needs to run in development, and its way onto disk.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::authority::{Authority, Leaf};
use super::key::{ed25519_key_pem, ed25519_public_key, jwks, pseudonym_key_hex};
use crate::authenticate::Role;
use crate::types::{PartyId, Timestamp};

/// How long a development authority is good, in days.
const AUTHORITY_DAYS: u32 = 365;
/// The offices that the development officer holds: those that the reference policy names.
const OFFICES: [&str; 3] = ["export_control", "intellectual_property", "policy"];
/// What a secret file is created with: its owner alone.
const SECRET: u32 = 0o600;
/// What a file for partners is created with.
const PUBLIC: u32 = 0o644;

/// A party's authority, its certificates and its keys. Holds secrets, and therefore has no `Debug`.
pub struct Identity {
    /// Vouches for the certificates below.
    pub authority: Authority,
    /// For both ends of mutual TLS between partners.
    pub gateway: Leaf,
    /// `spiffe://<party>/operator/operator`.
    pub operator: Leaf,
    /// `spiffe://<party>/officer/officer`, with the offices that the reference policy names.
    pub officer: Leaf,
    /// Signs passes: Ed25519 PKCS#8 PEM. Secret.
    pub pass_key_pem: String,
    /// The public half of `pass_key_pem` as a key set, for partners.
    pub jwks: Value,
    /// Signs records: Ed25519 PKCS#8 PEM. Secret.
    pub log_key_pem: String,
    /// Cosigns checkpoints of partners' logs: Ed25519 PKCS#8 PEM. Secret.
    pub witness_key_pem: String,
    /// The master key behind pseudonyms: 64 hexadecimal digits and a line break. Secret.
    pub pseudonym_key_hex: String,
}

impl Identity {
    /// Makes everything anew, in memory. `dns` and `addresses` are further names of the gateway, beside `localhost` and
    /// 127.0.0.1.
    ///
    /// # Errors
    /// As [`Authority::new`] and [`Authority::gateway`].
    pub fn mint(party: &PartyId, valid_from: Timestamp, dns: &[String], addresses: &[IpAddr]) -> anyhow::Result<Self> {
        let authority = Authority::new(party, valid_from, AUTHORITY_DAYS)?;
        let pass_key_pem = ed25519_key_pem()?;
        Ok(Self {
            gateway: authority.gateway(party, dns, addresses)?,
            operator: authority.operator("operator", Role::Operator)?,
            officer: authority.officer("officer", &OFFICES)?,
            jwks: jwks(&ed25519_public_key(&pass_key_pem)?),
            pass_key_pem,
            log_key_pem: ed25519_key_pem()?,
            witness_key_pem: ed25519_key_pem()?,
            pseudonym_key_hex: pseudonym_key_hex()?,
            authority,
        })
    }

    /// Every file with its mode, in the order in which they are written.
    fn files(&self) -> [(&'static str, u32, String); 13] {
        [
            ("ca.pem", PUBLIC, self.authority.certificate_pem()),
            ("ca.key", SECRET, self.authority.key_pem()),
            ("gateway.pem", PUBLIC, self.gateway.certificate_pem.clone()),
            ("gateway.key", SECRET, self.gateway.key_pem.clone()),
            ("operator.pem", PUBLIC, self.operator.certificate_pem.clone()),
            ("operator.key", SECRET, self.operator.key_pem.clone()),
            ("officer.pem", PUBLIC, self.officer.certificate_pem.clone()),
            ("officer.key", SECRET, self.officer.key_pem.clone()),
            ("pass.key", SECRET, self.pass_key_pem.clone()),
            ("jwks.json", PUBLIC, format!("{:#}\n", self.jwks)),
            ("log.key", SECRET, self.log_key_pem.clone()),
            ("witness.key", SECRET, self.witness_key_pem.clone()),
            ("pseudonym.key", SECRET, self.pseudonym_key_hex.clone()),
        ]
    }
}

/// What `certs dev` is asked for.
#[derive(Debug, Clone)]
pub struct DevOptions {
    /// Where the files go; made with mode 0700 when absent.
    pub directory: PathBuf,
    /// Whose identity it is.
    pub party: PartyId,
    /// From when the certificates are good; the authority for 365 days, leaves for 90.
    pub valid_from: Timestamp,
    /// Further DNS names of the gateway.
    pub dns: Vec<String>,
    /// Further addresses of the gateway.
    pub addresses: Vec<IpAddr>,
    /// Whether to replace what is there.
    pub force: bool,
}

/// Makes a party's identity and writes it; gives the paths written.
///
/// # Errors
/// When something is there already and `force` is not set, or cannot be made or written.
pub fn dev(options: &DevOptions) -> anyhow::Result<Vec<PathBuf>> {
    let identity = Identity::mint(&options.party, options.valid_from, &options.dns, &options.addresses)?;
    write_party(&options.directory, &identity, options.force)
}

/// Writes `ca.pem ca.key gateway.pem gateway.key operator.pem operator.key officer.pem officer.key pass.key jwks.json
/// log.key witness.key pseudonym.key`, and gives their paths. Secrets are created with mode 0600, never opened wider and narrowed
/// later.
///
/// # Errors
/// When one of them is there already and `force` is not set (then none is written), or when writing fails.
pub fn write_party(directory: &Path, identity: &Identity, force: bool) -> anyhow::Result<Vec<PathBuf>> {
    let files = identity.files();
    let taken: Vec<&str> = files
        .iter()
        .filter(|(name, ..)| directory.join(name).symlink_metadata().is_ok())
        .map(|(name, ..)| *name)
        .collect();
    if !force && !taken.is_empty() {
        bail!(
            "{} already holds {}; choose another directory, or overwrite with --force",
            directory.display(),
            taken.join(", ")
        );
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let mut paths = Vec::with_capacity(files.len());
    for (name, mode, text) in files {
        let path = directory.join(name);
        write(&path, mode, &text, force).with_context(|| format!("cannot write {}", path.display()))?;
        paths.push(path);
    }
    Ok(paths)
}

/// Creates a file with its mode. A replacement is written beside the old one and renamed over it: it neither inherits
/// the old one's mode nor writes through a link.
fn write(path: &Path, mode: u32, text: &str, force: bool) -> std::io::Result<()> {
    let target = if force { path.with_added_extension("new") } else { path.to_owned() };
    if force {
        match std::fs::remove_file(&target) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&target)?;
    file.write_all(text.as_bytes())?;
    if force {
        std::fs::rename(&target, path)?;
    }
    Ok(())
}
