//! Policies that come from sources: fetched, judged, put in force together, kept up to date.
//!
//! [`Policies::open`] looks at every source once, before there is a gateway, and falls back on the last good copy.
//! [`Policies::keep`] then looks again and again. What a source brings is judged off the request path (`activate.rs`) and
//! takes effect all or nothing: on any failure the policies in force stay, the status says why, and a log line warns.

mod activate;
mod board;
mod fetch;
mod keeper;
mod source;
mod store;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

pub use super::config::SourceTrust;
pub use activate::Rules;
pub use source::{Owner, Place, SourceSetup};

use super::config;
use crate::decide::{Accepted, DecideError, PolicySet};
use crate::gateway::Gateway;
use crate::types::Clock;
use board::Board;
use keeper::Keeper;
use source::Source;
use store::Store;

/// How long an operator waits who asks for a look now: longer than a fetch and a trial take.
const LOOK: Duration = Duration::from_secs(180);

/// Everything that is needed to get policies from sources.
pub struct PolicySetup {
    /// The sources, in the order in which their policies stand in the set.
    pub sources: Vec<SourceSetup>,
    /// What a policy must meet.
    pub rules: Rules,
    /// The private directory for what must outlive a restart, made when it is not there.
    pub state: PathBuf,
    /// How long a source may fail before it is called stale; `None` for ever.
    pub stale_after: Option<Duration>,
}

/// Why a source brings no policy: what an operator is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// A stable code.
    pub code: &'static str,
    /// What is wrong and what to do, one finding a line.
    pub why: String,
}

impl Trouble {
    fn new(code: &'static str, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

impl From<DecideError> for Trouble {
    fn from(error: DecideError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Policies in force that come from sources, before somebody keeps them.
pub struct Policies(Arc<Keeper>);

/// Policies that are being kept up to date; that ends with it.
pub struct Kept {
    keeper: Option<Arc<Keeper>>,
    askers: Vec<mpsc::Sender<oneshot::Sender<()>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Policies {
    /// Looks at every source once and gives the policies that are in force together. Where a source fails, its last good
    /// copy stands in.
    ///
    /// # Errors
    /// When a source brings nothing and never did, in words that say which and why: a gateway that lacks one of its
    /// policies would permit what that one denies, so it does not start.
    pub async fn open(setup: PolicySetup, clock: Arc<dyn Clock>) -> Result<(Self, PolicySet)> {
        let PolicySetup { sources, mut rules, state, stale_after } = setup;
        let sources: Vec<Source> =
            sources.into_iter().map(|source| Source::new(source, &clock)).collect::<Result<_>>()?;
        // Without an archive there is nothing to remember, and nobody's directory has to be made.
        let store = match sources.iter().any(Source::is_archive) {
            true => Some(Store::open(&state).context("the state of policies")?),
            false => None,
        };
        if let Some(store) = &store {
            rules.caches(store.place("code")?, store.place("trials")?);
        }
        let board = Board::new(&sources, stale_after);
        let keeper = Arc::new(Keeper::new(sources, store, rules, board, clock));
        let set = keeper.begin().await?;
        Ok((Self(keeper), set))
    }

    /// Keeps the policies of `gateway` up to date from now on, on the current runtime.
    pub fn keep(self, gateway: &Arc<Gateway>) -> Kept {
        let Self(keeper) = self;
        keeper.serve(Arc::clone(gateway));
        let (mut askers, mut tasks) = (Vec::new(), JoinSet::new());
        for index in keeper.polled() {
            let (asker, asked) = mpsc::channel(1);
            askers.push(asker);
            tasks.spawn(Arc::clone(&keeper).tend(index, asked));
        }
        Kept { keeper: Some(keeper), askers, tasks: Mutex::new(tasks) }
    }
}

impl Kept {
    /// For a gateway whose policies were given to it and come from no source.
    pub fn fixed() -> Self {
        Self { keeper: None, askers: Vec::new(), tasks: Mutex::default() }
    }

    /// What is known of each policy of `gateway` and its source, as the admin listener shows it.
    pub fn shown(&self, gateway: &Gateway) -> Value {
        let set = gateway.policies().current();
        let policies = match &self.keeper {
            Some(keeper) => keeper.shown(),
            None => set.policies().iter().map(|policy| json!({ "policy": policy.identity().as_ref() })).collect(),
        };
        json!({ "in_force": set.identity().as_ref(), "policies": policies })
    }

    /// The ids of sources that have failed for longer than they may, each with its code and since when.
    pub fn stale(&self) -> Vec<Value> {
        self.keeper.as_ref().map(|keeper| keeper.stale()).unwrap_or_default()
    }

    /// Looks at every source now, at what was refused too, and returns once each was looked at. `false` when that takes
    /// too long; the looks go on.
    pub async fn poll(&self) -> bool {
        let mut looks = JoinSet::new();
        for asker in &self.askers {
            let asker = asker.clone();
            looks.spawn(async move {
                let (told, looked) = oneshot::channel();
                asker.send(told).await.is_ok() && looked.await.is_ok()
            });
        }
        tokio::time::timeout(LOOK, looks.join_all()).await.is_ok_and(|looked| looked.into_iter().all(|looked| looked))
    }

    /// Looks no more. What is being fetched is given up; a bundle that is being judged is judged to its end.
    pub fn stop(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// Forgets what was accepted from a source, and its last good copy, so that an older revision may be taken. Gives what it
/// was, if anything was.
///
/// # Errors
/// When a gateway runs on this state, or it cannot be made durable.
pub fn forget(state: &Path, source: &str) -> Result<Option<Accepted>> {
    if !state.exists() || !config::is_source_id(source) {
        return Ok(None);
    }
    Store::open(state)?.forget(source)
}

/// What is wrong with the policies that can be judged without asking a server, writing anything or trying them: those of
/// directories, and archives on this machine. Each problem names its source.
pub fn problems(setup: PolicySetup, clock: &Arc<dyn Clock>) -> Vec<String> {
    let PolicySetup { sources, rules, .. } = setup;
    let mut problems = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for setup in sources {
        let id = setup.id.clone();
        let examined =
            Source::new(setup, clock).map_err(|error| Trouble::new("source_unusable", format!("{error:#}"))).and_then(
                |source| source.at_hand()?.map(|found| rules.examine(&source, &found, None, clock.now())).transpose(),
            );
        match examined {
            Err(trouble) => problems.push(format!("policy source {id}: {}: {}", trouble.code, trouble.why)),
            Ok(None) => {}
            Ok(Some(examined)) => {
                let policy = examined.policy().identity().id.clone();
                if ids.contains(&policy) {
                    let fix = "two policies go by this id: give each its own";
                    problems.push(format!("policy source {id}: policy_id_taken: {policy}: {fix}"));
                }
                ids.push(policy);
            }
        }
    }
    problems
}
