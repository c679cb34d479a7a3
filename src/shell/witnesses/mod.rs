//! Our own log among its witnesses: asked at the start whether they saw anything newer, and for each checkpoint since.

mod asker;
mod rounds;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::peer::{PATIENCE, PeerClient};
use crate::authenticate::{Partners, Tls};
use crate::gateway::Gateway;
use crate::record::tiles::{LogDirectory, TileReader};
use crate::record::witness::{CosignerKey, LogKey, read_signed};
use crate::record::{CosignedFiles, Published, RecordError, Signer, Standing, listed_keys, published_on_disk};
use crate::types::{Digest, PartyId};
use asker::{Asker, Failed, Said};

/// Who cosigns our log.
pub struct WitnessesSetup {
    /// Each witness with the keys that it may cosign with.
    pub witnesses: Vec<(PartyId, Vec<CosignerKey>)>,
    /// How many have to.
    pub quorum: usize,
    /// Between two checkpoints.
    pub interval: Duration,
    /// How long the quorum may be missing; zero: for ever.
    pub overdue: Duration,
    /// Our log's name.
    pub origin: String,
    /// The keys that may have signed it.
    pub keys: Vec<LogKey>,
}

/// The witnesses of our log, before it is opened.
pub struct Witnesses {
    askers: Vec<Arc<Asker>>,
    standing: Standing,
    interval: Duration,
    own: Own,
}

/// What tells our log.
struct Own {
    origin: String,
    /// SHA-256 of the origin, in hexadecimal.
    hash: String,
    keys: Vec<LogKey>,
}

impl Own {
    /// The same with every key that the log in `directory` had before: a witness may hold what an earlier one signed.
    fn with_earlier_keys(&self, directory: &Path) -> Result<Self> {
        let listed = listed_keys(directory).context("reading the log's keys")?;
        let listed = listed.as_array().into_iter().flatten().filter_map(|span| span.get("key").and_then(Value::as_str));
        let mut keys = self.keys.clone();
        keys.extend(listed.filter_map(LogKey::parse));
        keys.dedup();
        Ok(Self { origin: self.origin.clone(), hash: self.hash.clone(), keys })
    }
}

/// What a witness said at the start.
enum Answer {
    NothingNewer,
    Contradicted(String),
}

impl Witnesses {
    /// Makes ready to ask; nothing is sent yet.
    ///
    /// # Errors
    /// When a witness is no partner, or one that cannot be reached with our certificate.
    pub fn new(setup: WitnessesSetup, tls: &Tls, partners: &Partners) -> Result<Self> {
        let mut askers = Vec::new();
        for (party, keys) in setup.witnesses {
            let partner = partners.get(&party).with_context(|| format!("the witness {party} is no partner"))?;
            let endpoint = partner.endpoint().with_context(|| format!("the witness {party} has no endpoint"))?;
            let client = PeerClient::new(endpoint, tls.client(partner)?);
            let client = client.with_context(|| format!("{endpoint} of the witness {party} is not host:port"))?;
            askers.push(Arc::new(Asker { party, keys, client }));
        }
        let overdue = Some(setup.overdue).filter(|overdue| !overdue.is_zero());
        let standing = Standing::new(askers.iter().map(|asker| asker.party.clone()), setup.quorum, overdue);
        let hash = Digest::of(setup.origin.as_bytes()).hex();
        let own = Own { origin: setup.origin, hash, keys: setup.keys };
        Ok(Self { askers, standing, interval: setup.interval, own })
    }

    /// How our log stands with them.
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Asks all of them at once whether they have seen anything newer than what lies in `directory`. Who does not answer
    /// is asked again later. To be called before the log is opened for writing: that alone writes entries.
    ///
    /// # Errors
    /// `log_rolled_back` when one of them shows a checkpoint that our key signed and that is not in this log.
    pub async fn ask_at_start(&self, directory: &Path, signer: &Signer) -> Result<()> {
        if self.askers.is_empty() {
            return Ok(());
        }
        let found = published_on_disk(directory, &self.own.origin, signer).context("reading the log's checkpoint")?;
        let found = Arc::new(found);
        let own = Arc::new(self.own.with_earlier_keys(directory)?);
        let mut asked = JoinSet::new();
        for asker in &self.askers {
            let (asker, found, own) = (Arc::clone(asker), Arc::clone(&found), Arc::clone(&own));
            asked.spawn(async move {
                let said = tokio::time::timeout(PATIENCE, newer(&asker, &found, &own)).await;
                (asker.party.clone(), said.unwrap_or_else(|_elapsed| Err("witness_timeout".into())))
            });
        }
        let mut against = Vec::new();
        while let Some(asked) = asked.join_next().await {
            match asked? {
                (party, Ok(Answer::NothingNewer)) => self.standing.answered(&party),
                (_, Ok(Answer::Contradicted(what))) => against.push(what),
                (party, Err(Failed(code))) => {
                    tracing::warn!(witness = %party, code, "a witness could not be asked at the start");
                    self.standing.failed(&party, &code);
                }
            }
        }
        if against.is_empty() {
            return Ok(());
        }
        let error = RecordError::Contradicted(against.join("; "));
        bail!(
            "{}: {error}. {} holds an older copy of this log, or another log under its name. Put back the newest copy; if \
             it is lost, keep this one aside, found a new log with another record.origin and record.key, and tell your partners",
            error.code(),
            directory.display()
        )
    }

    /// Takes the checkpoints of the gateway's log to them from now on.
    ///
    /// # Errors
    /// When the files of cosigned checkpoints cannot be opened.
    pub fn keep(self, gateway: &Arc<Gateway>) -> Result<KeptWitnesses> {
        let (stop, stopped) = watch::channel(false);
        if self.askers.is_empty() {
            return Ok(KeptWitnesses { stop, task: None });
        }
        let directory = gateway.log().directory();
        let (files, last) = CosignedFiles::open(directory).context("opening the files of cosigned checkpoints")?;
        if let Some(last) = last {
            self.standing.kept(last);
        }
        let shared = Arc::new(rounds::Shared {
            gateway: Arc::clone(gateway),
            standing: self.standing,
            own: self.own.with_earlier_keys(directory)?,
            tiles: Arc::new(TileReader::new(LogDirectory::new(directory))),
        });
        let task = tokio::spawn(rounds::run(shared, self.askers, files, self.interval, stopped));
        Ok(KeptWitnesses { stop, task: Some(task) })
    }
}

/// Witnesses that are being asked.
pub struct KeptWitnesses {
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl KeptWitnesses {
    /// Of a log that nobody witnesses.
    pub fn none() -> Self {
        Self { stop: watch::channel(false).0, task: None }
    }

    /// Asks no more, and returns once nothing is being written any more.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        if let Some(task) = self.task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the asking of witnesses ended badly");
        }
    }
}

/// Whether a witness has seen anything that is not in the log as it was found.
async fn newer(asker: &Asker, found: &Published, own: &Own) -> Result<Answer, Failed> {
    match asker.submit(found.size, &[], &found.note).await? {
        Said::Cosigned(_) => return Ok(Answer::NothingNewer),
        Said::Has(size) if size < found.size => return Ok(Answer::NothingNewer),
        Said::Has(_) | Said::Contradicts => {}
    }
    // What it merely claims would let each partner keep us from starting: it has to show what our own key signed.
    let shown = asker.held(&own.hash).await?;
    let shown = read_signed(&shown, &own.keys).filter(|shown| shown.origin == own.origin);
    let shown = shown.ok_or("witness_unproven")?;
    let party = &asker.party;
    if shown.size > found.size {
        let what = format!("{party} has seen {} entries of it, and here are {}", shown.size, found.size);
        return Ok(Answer::Contradicted(what));
    }
    if shown.size == found.size && shown.root != found.root {
        let what = format!("its {} entries are not those that {party} has seen", found.size);
        return Ok(Answer::Contradicted(what));
    }
    Ok(Answer::NothingNewer)
}
