//! The files that a configuration names: read once, and checked to be what they should be.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde_json::Value;
use x509_parser::prelude::FromDer as _;

use super::problem::{Complaint, Problem};

/// A file or directory that the configuration names, and where it does so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// The path as written; relative to the configuration file's directory.
    pub path: PathBuf,
    pub(super) source: Arc<str>,
    pub(super) line: usize,
    /// As messages call it: `[tls] key`.
    pub(super) name: String,
    pub(super) content: Content,
}

/// What a file must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// A PEM chain that starts with an end entity's certificate.
    Chain,
    /// PEM certificates of authorities.
    Anchors,
    /// A PEM private key that TLS can use.
    TlsKey,
    /// An Ed25519 private key as PKCS#8 PEM.
    Ed25519,
    /// A JSON Web Key Set (RFC 7517).
    Jwks,
    /// The same of our own keys that sign no more.
    RetiredJwks,
    /// 32 bytes as 64 hexadecimal digits.
    Hex,
    /// A public key as PEM (SubjectPublicKeyInfo).
    PublicKey,
    /// A file that is read later, again and again, and that may not be there yet.
    Archive,
    /// An agreement in ODRL: JSON-LD, judged where its terms are read.
    Odrl,
    /// A directory that exists.
    Directory,
    /// A directory, or nothing yet.
    NewDirectory,
}

impl Content {
    pub(super) const fn is_directory(self) -> bool {
        matches!(self, Self::Directory | Self::NewDirectory)
    }

    /// Whether it is only looked for, and not read with the configuration.
    pub(super) const fn is_located(self) -> bool {
        self.is_directory() || matches!(self, Self::Archive)
    }

    pub(super) const fn is_secret(self) -> bool {
        matches!(self, Self::TlsKey | Self::Ed25519 | Self::Hex)
    }
}

/// The largest file that a configuration may name: key sets and chains are a thousand times smaller.
const MOST_BYTES: u64 = 1024 * 1024;

impl FileRef {
    /// Where the configuration names it, as `file:line`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.source, self.line)
    }

    /// Notes a problem of this file on the line that names it.
    pub(super) fn problem(&self, complaint: Complaint) -> Problem {
        let what = format!("{}: {} {}", self.name, self.path.display(), complaint.what);
        Problem { file: Arc::clone(&self.source), line: self.line, what, fix: complaint.fix }
    }

    /// Where it is; a directory is looked at, a file is not.
    pub(super) fn locate(&self, directory: &Path) -> Result<PathBuf, Problem> {
        let path = directory.join(&self.path);
        if self.content == Content::Archive && path.is_dir() {
            let fix = "name a file, or write directory instead of file if the policy is your own";
            return Err(self.problem(Complaint::new("is a directory", fix)));
        }
        let is_wrong = match std::fs::metadata(&path) {
            Ok(metadata) => (!metadata.is_dir()).then(|| "is not a directory".to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                (self.content == Content::Directory).then(|| "does not exist".to_owned())
            }
            Err(error) => Some(format!("cannot be read: {error}")),
        };
        match is_wrong {
            Some(what) if self.content.is_directory() => {
                let fix = format!("name a directory that the gateway's user may use (looked for {})", path.display());
                Err(self.problem(Complaint::new(what, fix)))
            }
            _ => Ok(path),
        }
    }

    /// Reads the file and checks that it is what it should be.
    pub(super) fn read(&self, directory: &Path) -> Result<Vec<u8>, Problem> {
        let path = directory.join(&self.path);
        let bytes = bytes(&path, self.content.is_secret()).map_err(|complaint| self.problem(complaint))?;
        check(&bytes, self.content).map_err(|complaint| self.problem(complaint))?;
        Ok(bytes)
    }
}

/// Reads a private key that a command was given, as it would be read if the configuration named it: nobody but its owner
/// may open it.
///
/// # Errors
/// What is wrong with it and what to do, to follow its name. Never holds what was read.
pub fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    bytes(path, true).map_err(|complaint| format!("{}; {}", complaint.what, complaint.fix))
}

fn bytes(path: &Path, secret: bool) -> Result<Vec<u8>, Complaint> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Complaint::new("does not exist", format!("create it, or name another file (looked for {})", path.display()))
        }
        _ => Complaint::new(format!("cannot be read: {error}"), "let the gateway's user read it"),
    };
    // Asked before it is opened: opening a pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Complaint::new("is not a regular file", "name a file"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if secret && metadata.mode() & 0o077 != 0 {
        return Err(Complaint::new(
            format!("is secret, and its mode {:04o} opens it to group or others", metadata.mode() & 0o7777),
            format!("run chmod 600 {}", path.display()),
        ));
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Complaint::new("is larger than 1 MiB", "name a file of the expected kind"));
    }
    Ok(bytes)
}

fn check(bytes: &[u8], content: Content) -> Result<(), Complaint> {
    match content {
        Content::Chain => certificates(bytes, false),
        Content::Anchors => certificates(bytes, true),
        Content::TlsKey => tls_key(bytes),
        Content::Ed25519 => ed25519(bytes),
        Content::Jwks => jwks(bytes, "ask the partner for its /.well-known/jwks.json (RFC 7517)", false),
        Content::RetiredJwks => jwks(bytes, "keep our own key set as it was, with \"exp\" in each key", true),
        Content::Hex => hex_key(bytes).map(|_| ()),
        Content::PublicKey => public_key(bytes),
        // What is not even text has no lines to tell.
        Content::Odrl => {
            std::str::from_utf8(bytes).map(|_| ()).map_err(|_| Complaint::new("is not UTF-8", "save it as UTF-8"))
        }
        Content::Archive | Content::Directory | Content::NewDirectory => Ok(()),
    }
}

/// PEM certificates that can be parsed: all of them authorities, or the first of them not.
fn certificates(bytes: &[u8], authorities: bool) -> Result<(), Complaint> {
    let fix = if authorities {
        "give the PEM certificates of the authorities, without keys"
    } else {
        "give the PEM certificates of the chain, leaf first"
    };
    if contains_private_key(bytes) {
        return Err(Complaint::new(
            "holds a private key beside certificates",
            "keep the key in a file of its own, mode 0600",
        ));
    }
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| Complaint::new("is not valid PEM", fix))?;
    if chain.is_empty() {
        return Err(Complaint::new("holds no certificate", fix));
    }
    for (index, der) in chain.iter().enumerate() {
        let place = format!("certificate {} of {}", index + 1, chain.len());
        let (_, certificate) = x509_parser::parse_x509_certificate(der)
            .map_err(|_| Complaint::new(format!("cannot be parsed as X.509 ({place})"), fix))?;
        if authorities && !certificate.is_ca() {
            return Err(Complaint::new(
                format!("is not an authority's: basicConstraints has no CA:TRUE ({place})"),
                fix,
            ));
        }
        if !authorities && index == 0 && certificate.is_ca() {
            return Err(Complaint::new("starts with an authority's certificate", fix));
        }
    }
    Ok(())
}

/// One PEM public key, and no private one beside it.
fn public_key(bytes: &[u8]) -> Result<(), Complaint> {
    let fix = "give the public key alone, as `openssl pkey -in KEY -pubout` writes it";
    if contains_private_key(bytes) {
        return Err(Complaint::new(
            "holds a private key",
            "treat it as disclosed: make another, and name its public half",
        ));
    }
    let key = SubjectPublicKeyInfoDer::from_pem_slice(bytes)
        .map_err(|_| Complaint::new("holds no PEM public key (BEGIN PUBLIC KEY)", fix))?;
    match x509_parser::x509::SubjectPublicKeyInfo::from_der(&key) {
        Ok(([], _)) => Ok(()),
        _ => Err(Complaint::new("holds a public key that cannot be parsed", fix)),
    }
}

fn contains_private_key(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, b"PRIVATE KEY-----").is_some()
}

fn tls_key(bytes: &[u8]) -> Result<(), Complaint> {
    let fix = "give one PEM private key: ECDSA P-256 or P-384, Ed25519 or RSA, not encrypted";
    let key = PrivateKeyDer::from_pem_slice(bytes).map_err(|_| Complaint::new("holds no PEM private key", fix))?;
    rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
        .map(|_| ())
        .map_err(|_| Complaint::new("holds a private key that TLS cannot use", fix))
}

/// The key pair of an Ed25519 PKCS#8 PEM file.
pub(super) fn ed25519_pair(bytes: &[u8]) -> Option<Ed25519KeyPair> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(bytes).ok()?;
    Ed25519KeyPair::from_pkcs8(key.secret_pkcs8_der()).ok()
}

fn ed25519(bytes: &[u8]) -> Result<(), Complaint> {
    let fix = "make one with `sekisho certs dev` or `openssl genpkey -algorithm ed25519`";
    match ed25519_pair(bytes) {
        Some(_) => Ok(()),
        None => Err(Complaint::new("is not an Ed25519 private key as PKCS#8 PEM", fix)),
    }
}

/// The 32 bytes behind 64 hexadecimal digits and at most one line break.
pub(super) fn hex_key(bytes: &[u8]) -> Result<[u8; 32], Complaint> {
    let wrong = || {
        Complaint::new(
            "is not 64 hexadecimal digits",
            "write 32 random bytes in hexadecimal, as `openssl rand -hex 32` does",
        )
    };
    let digits = bytes.trim_ascii_end();
    if digits.len() != 64 {
        return Err(wrong());
    }
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0]).zip(digit(pair[1])).map(|(high, low)| high << 4 | low).ok_or_else(wrong)?;
    }
    if key.iter().all(|byte| *byte == key[0]) {
        return Err(Complaint::new("holds one byte thirty-two times, which is no secret", "write 32 random bytes"));
    }
    Ok(key)
}

/// Members that only a private or symmetric key has (RFC 7518, section 6).
const SECRET_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

/// A key set with at least one key that can verify passes, every key named, and nothing secret in it; `retired` ones say
/// until when they signed.
fn jwks(bytes: &[u8], fix: &'static str, retired: bool) -> Result<(), Complaint> {
    let wrong = |what: &str| Complaint::new(what, fix);
    let set: Value = serde_json::from_slice(bytes).map_err(|_| wrong("is not JSON"))?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or_else(|| wrong("is not a key set: no array \"keys\""))?;
    let mut names = Vec::with_capacity(keys.len());
    let mut usable = false;
    for key in keys {
        if SECRET_MEMBERS.iter().any(|member| key.get(member).is_some()) {
            let fix = "remove the private members, and tell whose key it is that it is disclosed";
            return Err(Complaint::new("holds a private or symmetric key", fix));
        }
        let kid = key.get("kid").and_then(Value::as_str).ok_or_else(|| wrong("holds a key without \"kid\""))?;
        if names.contains(&kid) {
            return Err(wrong("holds two keys with one \"kid\""));
        }
        names.push(kid);
        match key.get("exp") {
            None if retired => {
                return Err(wrong("holds a key without \"exp\", the second from which it signs no more"));
            }
            Some(exp) if exp.as_u64().is_none() => {
                return Err(wrong("holds a key whose \"exp\" is not seconds since 1970"));
            }
            _ => usable |= is_usable(key),
        }
    }
    if usable { Ok(()) } else { Err(wrong("holds no Ed25519 or P-256 key")) }
}

/// Whether the key can verify `EdDSA` or `ES256`, the algorithms of a pass.
fn is_usable(key: &Value) -> bool {
    let text = |member: &str| key.get(member).and_then(Value::as_str);
    let coordinate = |member: &str| {
        text(member).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).is_some_and(|bytes| bytes.len() == 32)
    };
    match (text("kty"), text("crv")) {
        (Some("OKP"), Some("Ed25519")) => coordinate("x"),
        (Some("EC"), Some("P-256")) => coordinate("x") && coordinate("y"),
        _ => false,
    }
}
