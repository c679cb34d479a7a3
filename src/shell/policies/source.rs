//! One source: where its policy comes from, and how to look.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use serde::Serialize;

use super::Trouble;
use super::fetch::{Answer, Server};
use crate::decide::{ARCHIVE_BYTES, Bundle};
use crate::shell::config::{BundleUrl, SourceTrust};
use crate::types::Clock;

/// A source as it is configured.
pub struct SourceSetup {
    /// Its name, which can name a directory.
    pub id: String,
    /// Where the policy comes from.
    pub place: Place,
    /// Whose word is taken for its archive.
    pub trust: SourceTrust,
    /// Between two looks; `None` for one look, at start.
    pub poll: Option<Duration>,
    /// The id that its policy must have.
    pub expect: Option<String>,
    /// Whose policy it is.
    pub owner: Option<Owner>,
}

/// Where a policy comes from.
pub enum Place {
    /// The policy that is part of this binary.
    BuiltIn,
    /// A directory of the operator's own.
    Directory(PathBuf),
    /// An archive on this machine.
    File(PathBuf),
    /// An archive on a bundle server.
    Url {
        /// Where.
        url: BundleUrl,
        /// The authorities of the server, for https.
        anchors: Vec<CertificateDer<'static>>,
    },
}

/// Whose policy it is, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// `exporter`, `importer` or `regulator`.
    pub role: String,
    /// Who it is.
    pub name: String,
}

/// A source that can be looked at.
pub(super) struct Source {
    pub(super) id: String,
    pub(super) trust: SourceTrust,
    pub(super) poll: Option<Duration>,
    pub(super) expect: Option<String>,
    pub(super) owner: Option<Owner>,
    reach: Reach,
}

enum Reach {
    BuiltIn,
    Directory(PathBuf),
    File(PathBuf),
    Server(Box<Server>, BundleUrl),
}

/// What a look found.
pub(super) enum Found {
    /// The same as the entity tag names.
    Unchanged,
    /// Files of our own.
    Own(Box<Bundle>),
    /// An archive, to be judged.
    Archive { bytes: Bytes, etag: Option<String> },
}

impl Source {
    /// # Errors
    /// When the authorities of its server cannot be used.
    pub(super) fn new(setup: SourceSetup, clock: &Arc<dyn Clock>) -> Result<Self> {
        let SourceSetup { id, place, trust, poll, expect, owner } = setup;
        let reach = match place {
            Place::BuiltIn => Reach::BuiltIn,
            Place::Directory(path) => Reach::Directory(path),
            Place::File(path) => Reach::File(path),
            Place::Url { url, anchors } => {
                let server = Server::new(url.clone(), &anchors, Arc::clone(clock));
                Reach::Server(Box::new(server.with_context(|| format!("policy source {id}"))?), url)
            }
        };
        Ok(Self { id, trust, poll, expect, owner, reach })
    }

    /// Whether it brings archives: what others wrote.
    pub(super) fn is_archive(&self) -> bool {
        matches!(self.reach, Reach::File(_) | Reach::Server(..))
    }

    /// Its kind, and its place for people.
    pub(super) fn shown(&self) -> (&'static str, Option<String>) {
        match &self.reach {
            Reach::BuiltIn => ("built-in", None),
            Reach::Directory(path) => ("directory", Some(path.display().to_string())),
            Reach::File(path) => ("file", Some(path.display().to_string())),
            Reach::Server(_, url) => ("url", Some(url.to_string())),
        }
    }

    /// What is on this machine; `None` for what a server has.
    pub(super) fn at_hand(&self) -> Result<Option<Found>, Trouble> {
        Ok(Some(match &self.reach {
            Reach::BuiltIn => Found::Own(Box::new(Bundle::built_in()?)),
            Reach::Directory(path) => Found::Own(Box::new(Bundle::read(path)?)),
            Reach::File(path) => archive(path)?,
            Reach::Server(..) => return Ok(None),
        }))
    }

    /// Looks once; `etag` is that of what we have.
    pub(super) async fn look(self: &Arc<Self>, etag: Option<&str>) -> Result<Found, Trouble> {
        if let Reach::Server(server, _) = &self.reach {
            return match server.ask(etag).await? {
                Answer::Unchanged => Ok(Found::Unchanged),
                Answer::Archive { bytes, etag } => Ok(Found::Archive { bytes, etag }),
            };
        }
        let source = Arc::clone(self);
        match tokio::task::spawn_blocking(move || source.at_hand()).await {
            Ok(found) => found.map(|found| found.unwrap_or(Found::Unchanged)),
            Err(error) => Err(Trouble::new("source_unreadable", error.to_string())),
        }
    }
}

/// Reads an archive of bounded size.
fn archive(path: &std::path::Path) -> Result<Found, Trouble> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| {
        let what = format!("{}: {error}: put the bundle there, readable for the gateway's user", path.display());
        Trouble::new("source_unreadable", what)
    };
    // Asked before it is opened: opening a pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Trouble::new("source_unreadable", format!("{} is not a regular file: name one", path.display())));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(ARCHIVE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > ARCHIVE_BYTES {
        let what = format!("{} is larger than the {ARCHIVE_BYTES} bytes of a bundle", path.display());
        return Err(Trouble::new("source_too_large", what));
    }
    Ok(Found::Archive { bytes: bytes.into(), etag: None })
}
