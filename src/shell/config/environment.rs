//! The few keys that the environment may override: where we listen and where the log lives.

use std::ffi::OsString;
use std::net::SocketAddr;

use super::file::{Content, FileRef};
use super::nearest::nearest;
use super::problem::{Complaint, Problem};
use super::{reader, value};

/// `listen.partner`.
pub const LISTEN_PARTNER: &str = "SEKISHO_LISTEN_PARTNER";
/// `listen.local`.
pub const LISTEN_LOCAL: &str = "SEKISHO_LISTEN_LOCAL";
/// `listen.admin`.
pub const LISTEN_ADMIN: &str = "SEKISHO_LISTEN_ADMIN";
/// `record.directory`; like every path relative to the configuration file's directory.
pub const RECORD_DIRECTORY: &str = "SEKISHO_RECORD_DIRECTORY";

const KNOWN: [&str; 4] = [LISTEN_PARTNER, LISTEN_LOCAL, LISTEN_ADMIN, RECORD_DIRECTORY];
/// What a misspelt override starts with. Other variables named `SEKISHO_` are somebody else's to judge.
const OURS: [&str; 2] = ["SEKISHO_LISTEN_", "SEKISHO_RECORD_"];
/// What messages call the environment in place of a file.
const ENVIRONMENT: &str = "environment";

/// The overrides that were set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    pub(super) partner: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
    pub(super) admin: Option<SocketAddr>,
    pub(super) record_directory: Option<FileRef>,
}

impl Overrides {
    /// Reads and checks the overrides among the variables.
    pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> (Self, Vec<Problem>) {
        let (mut overrides, mut problems) = (Self::default(), Vec::new());
        for (name, text) in variables {
            let Some(name) = name.to_str().filter(|name| OURS.iter().any(|prefix| name.starts_with(prefix))) else {
                continue;
            };
            if let Err(complaint) = overrides.set(name, &text) {
                let what = format!("{name}: {}", complaint.what);
                problems.push(Problem { file: ENVIRONMENT.into(), line: 0, what, fix: complaint.fix });
            }
        }
        problems.sort_by(|a, b| a.what.cmp(&b.what));
        (overrides, problems)
    }

    fn set(&mut self, name: &str, text: &OsString) -> Result<(), Complaint> {
        if !KNOWN.contains(&name) {
            let fix = match nearest(name, &KNOWN) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("unset it; the environment overrides only {}", KNOWN.join(", ")),
            };
            return Err(Complaint::new("is not a known override", fix));
        }
        let text = text.to_str().ok_or_else(|| Complaint::new("is not UTF-8", "set it to plain text"))?;
        if text.is_empty() {
            return Err(Complaint::new("is empty", "unset it to use the file's value"));
        }
        match name {
            LISTEN_PARTNER => self.partner = Some(value::listen_address(text)?),
            LISTEN_LOCAL => self.local = Some(value::loopback_address(text)?),
            LISTEN_ADMIN => self.admin = Some(value::listen_address(text)?),
            _ => {
                self.record_directory = Some(FileRef {
                    path: reader::path_text(text)?,
                    source: ENVIRONMENT.into(),
                    line: 0,
                    name: RECORD_DIRECTORY.to_owned(),
                    content: Content::NewDirectory,
                });
            }
        }
        Ok(())
    }
}
