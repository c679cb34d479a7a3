//! What operators and officers decided at run time, kept across restarts: suspensions and approvals.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::decide::Approval;
use crate::gateway::Gateway;
use crate::types::PartyId;

/// The version of the file's format.
const VERSION: u32 = 1;

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    /// Partners that were suspended at run time. A suspension in the configuration stands beside it: to resume such a
    /// partner for good, both have to go.
    suspended: BTreeSet<String>,
    approvals: Vec<Approval>,
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
        for approval in &content.approvals {
            gateway.approvals().add(approval.clone());
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

    /// Puts an approval on file.
    ///
    /// # Errors
    /// When the state cannot be made durable; the approval then does not count.
    pub fn approve(&self, approval: Approval) -> Result<()> {
        self.change(
            |content| content.approvals.push(approval.clone()),
            || self.gateway.approvals().add(approval.clone()),
        )
    }

    /// Writes the changed content (temporary file, fsync, rename, fsync of the directory) and then lets it take effect.
    fn change(&self, change: impl FnOnce(&mut Content), effect: impl FnOnce()) -> Result<()> {
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
        effect();
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
