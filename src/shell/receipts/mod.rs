//! Receipts in the background: read back from the log at start, and posted to partners in batches.
//!
//! A receipt is on record before it is posted, and a partner takes one it has a second time, so nothing else has to be
//! kept: after a restart the recent ones are posted once more.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use crate::gateway::{Gateway, Recall};
use crate::record::Entries;
use crate::types::PartyId;

/// Entries at the end of the log that accounts are read back from: more than they can hold of one busy partner.
const RECENT: u64 = 50_000;
/// How long a receipt waits for company.
const GATHER: Duration = Duration::from_millis(200);
/// The wait after a first failure; each further one doubles it.
const FIRST: Duration = Duration::from_secs(1);
/// The longest such wait.
const LONGEST: Duration = Duration::from_secs(300);

/// What posts receipts. Ends when it is dropped.
pub struct Postman(JoinSet<()>);

impl Postman {
    /// Reads back which receipts are owed and which are yet to be posted.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn recall(gateway: &Gateway) -> Result<()> {
        let mut recall = Recall::default();
        let first = gateway.log().size().saturating_sub(RECENT);
        let entries = Entries::from(gateway.log().directory(), first).context("reading receipts back from the log")?;
        for entry in entries {
            recall.take(gateway.us(), gateway.receipts(), &entry?.payload);
        }
        Ok(())
    }

    /// Begins to post, on the current runtime.
    pub fn start(gateway: &Arc<Gateway>) -> Self {
        let mut rounds = JoinSet::new();
        // One partner that cannot be reached keeps no other waiting.
        for partner in gateway.partners().iter().filter(|partner| partner.endpoint().is_some()) {
            rounds.spawn(round(Arc::clone(gateway), partner.id().clone()));
        }
        Self(rounds)
    }

    /// Posts no more. What is not acknowledged is posted after the next start.
    pub fn stop(&mut self) {
        self.0.abort_all();
    }
}

async fn round(gateway: Arc<Gateway>, partner: PartyId) {
    let mut wait = FIRST;
    loop {
        gateway.receipts().fresh(&partner).await;
        tokio::time::sleep(GATHER).await;
        loop {
            match gateway.post_receipts(&partner).await {
                Ok(more) => {
                    wait = FIRST;
                    if !more {
                        break;
                    }
                }
                Err(refusal) => {
                    tracing::info!(%partner, code = refusal.code(), ?wait, "receipts are yet to be posted");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST);
                }
            }
        }
    }
}
