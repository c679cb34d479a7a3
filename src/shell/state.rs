//! What operators and officers decided at run time, kept across restarts: suspensions and approvals.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::decide::{Approval, DecideError};
use crate::gateway::Gateway;
use crate::types::PartyId;

/// The version of the file's format.
const VERSION: u32 = 2;

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    /// Partners that were suspended at run time. A suspension in the configuration stands beside it: to resume such a
    /// partner for good, both have to go.
    suspended: BTreeSet<String>,
    /// Signed approvals, each as its officer signed it: who can write this file can forget one, but not make one.
    approvals: Vec<String>,
}

/// Why an approval is not on file.
#[derive(Debug)]
pub enum NotApproved {
    /// It does not hold.
    Invalid(DecideError),
    /// It could not be made durable.
    Unkept(anyhow::Error),
}

/// The state file of one gateway. A change takes effect only after it is durable.
pub struct State {
    path: PathBuf,
    content: Mutex<Content>,
    gateway: Arc<Gateway>,
}

impl State {
    /// Reads `state.json` in `directory`, if there is one, and applies it to the gateway.
    ///
    /// # Errors
    /// When the file cannot be read or is not a state file of this version: a gateway that cannot tell whom it
    /// suspended does not start.
    pub fn open(directory: &Path, gateway: &Arc<Gateway>) -> Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("making the state directory {}", directory.display()))?;
        let path = directory.join("state.json");
        let content = match std::fs::read(&path) {
            Ok(bytes) => {
                let content: Content = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is not a state file", path.display()))?;
                if content.version != VERSION {
                    bail!("{} has version {}, this program reads {VERSION}", path.display(), content.version);
                }
                content
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Content { version: VERSION, suspended: BTreeSet::new(), approvals: Vec::new() }
            }
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        for id in &content.suspended {
            if let Some(partner) = id.parse().ok().and_then(|id: PartyId| gateway.partners().get(&id).cloned()) {
                partner.set_suspended(true);
            }
        }
        let now = gateway.clock().now();
        for text in &content.approvals {
            let taken = Approval::verify(text, gateway.statements(), now).and_then(|approval| {
                if approval.is_expired(now) { Ok(()) } else { gateway.approvals().add(approval, now) }
            });
            // Its review holds again, which is the safe side; the gateway need not stand still for it.
            if let Err(error) = taken {
                tracing::warn!(%error, file = %path.display(), "an approval on file does not hold and is left aside");
            }
        }
        Ok(Self { path, content: Mutex::new(content), gateway: Arc::clone(gateway) })
    }

    /// Suspends or resumes a partner. A suspension takes effect even when it cannot be made durable.
    ///
    /// # Errors
    /// When the state cannot be made durable.
    pub fn set_suspended(&self, partner: &PartyId, suspended: bool) -> Result<()> {
        let Some(partner) = self.gateway.partners().get(partner) else { bail!("there is no partner {partner}") };
        if suspended {
            partner.set_suspended(true);
        }
        let id = partner.id().to_string();
        self.change(
            |content| {
                if suspended {
                    content.suspended.insert(id)
                } else {
                    content.suspended.remove(&id)
                };
            },
            // Under the same lock as the file, so that of two people who disagree the file's last word is the gateway's.
            || partner.set_suspended(suspended),
        )
    }

    /// Puts a signed approval on file, once. Those that are over leave the file.
    ///
    /// # Errors
    /// `NotApproved::Invalid` when it does not hold; `NotApproved::Unkept` when it cannot be made durable, and then
    /// it does not count.
    pub fn approve(&self, text: &str) -> Result<Arc<Approval>, NotApproved> {
        let now = self.gateway.clock().now();
        let statements = self.gateway.statements();
        let approval = Approval::verify(text, statements, now).map_err(NotApproved::Invalid)?;
        if approval.is_expired(now) {
            return Err(NotApproved::Invalid(DecideError::Approval("the approval has expired".to_owned())));
        }
        self.gateway.approvals().admit(&approval, now).map_err(NotApproved::Invalid)?;
        let lasts =
            |text: &String| Approval::verify(text, statements, now).is_ok_and(|approval| !approval.is_expired(now));
        self.change(
            |content| {
                content.approvals.retain(|other| lasts(other) && other != text);
                content.approvals.push(text.to_owned());
            },
            || self.gateway.approvals().add(approval.clone(), now),
        )
        .map_err(NotApproved::Unkept)?
        .map_err(NotApproved::Invalid)?;
        Ok(Arc::new(approval))
    }

    /// Writes the changed content (temporary file, fsync, rename, fsync of the directory) and then lets it take effect.
    fn change<T>(&self, change: impl FnOnce(&mut Content), effect: impl FnOnce() -> T) -> Result<T> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Content {
            version: content.version,
            suspended: content.suspended.clone(),
            approvals: content.approvals.clone(),
        };
        change(&mut changed);
        write(&self.path, &serde_json::to_vec_pretty(&changed)?)
            .with_context(|| format!("writing {}", self.path.display()))?;
        *content = changed;
        Ok(effect())
    }
}

/// Writes a private file so that after a crash it is either what it was or what it is to be.
pub(super) fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
