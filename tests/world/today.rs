//! One organisation on today's date, for what depends on clocks that no test can set.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use sekisho::record::Published;
use sekisho::shell::certs::Identity;
use sekisho::shell::timestamps::TimestampsSetup;
use sekisho::types::{Clock as _, ManualClock, SystemClock, Timestamp};
use serde_json::json;

use super::{Organisation, Peer, Reply, Reserved, Tuning, Upstream, party, registry, soon, until};

/// Wessex, whose clock stands where it was when it was opened.
pub struct Today {
    pub organisation: Organisation,
    clock: Arc<ManualClock>,
    directory: tempfile::TempDir,
}

impl Today {
    /// Opens it with a clock that is so much behind.
    pub async fn open(behind: Duration) -> Self {
        let now = Timestamp::from_seconds(SystemClock.now().seconds() - behind.as_secs());
        let (clock, directory) = (Arc::new(ManualClock::new(now)), tempfile::tempdir().unwrap());
        let mint = |id| Identity::mint(&party(id), Timestamp::from_seconds(now.seconds() - 3600), &[], &[]).unwrap();
        let (wessex, kansai) = (mint(registry::WESSEX), mint(registry::KANSAI));
        let known = vec![registry::entry(&registry::KANSAI_AS_PARTNER, &kansai, None)];
        let upstream = Upstream::start().await;
        let setup = registry::wessex(&wessex, known, &upstream, directory.path(), clock.clone());
        let place = directory.path().to_owned();
        let organisation =
            Organisation::start(setup, &Tuning::default(), wessex, upstream, place, Reserved::port(), None);
        Self { organisation, clock, directory }
    }

    /// The same with an authority that stamps its log.
    pub fn stamped(mut self, setup: TimestampsSetup) -> Self {
        self.organisation = self.organisation.stamped(setup);
        self
    }

    /// Something happens that is recorded; that it is refused makes no difference here.
    pub async fn exchange(&self) {
        let size = self.organisation.gateway().log().size();
        self.organisation
            .fetch("/partners/kansai.example/data/usgs-earthquakes/week.json", "dfft:DisasterResponse")
            .await;
        self.organisation.recorded(size + 2).await;
    }

    /// The checkpoint over everything so far.
    pub async fn published(&self) -> Arc<Published> {
        let log = self.organisation.gateway().log();
        let published = log.published();
        until("a checkpoint over everything", || published.borrow().size == log.size()).await;
        published.borrow().clone()
    }

    /// The sizes that have timestamps.
    pub fn kept_sizes(&self) -> Vec<u64> {
        let directory = self.organisation.gateway().log().directory().join("timestamps");
        let names = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let names = names.map(|name| name.file_name().into_string().unwrap());
        let mut sizes: Vec<u64> = names.filter_map(|name| name.strip_suffix(".tst")?.parse().ok()).collect();
        sizes.sort_unstable();
        sizes
    }

    /// An operator's request.
    pub async fn admin(&self, method: Method, path: &str) -> Reply {
        let (identity, provider) = (&self.organisation.identity, self.organisation.provider());
        let operator = identity.operator.clone();
        let mut peer = Peer::new(registry::WESSEX, operator, &identity.pass_key_pem, &provider, self.clock.clone());
        peer.address = self.organisation.addresses().admin.unwrap();
        peer.call(method, path, &json!({})).await
    }

    /// Waits until the admin listener tells that the last request for a timestamp failed for this reason.
    pub async fn told(&self, why: &str) {
        soon(why, async {
            loop {
                let standing = self.admin(Method::GET, "/api/timestamps").await.json();
                if standing["timestamps"]["error"].as_str().is_some_and(|error| error.contains(why)) {
                    assert!(standing["timestamps"]["failures"].as_u64().unwrap() > 0);
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Stops it; gives its log, which is verified already without an authority's word, and what keeps it there.
    pub async fn close(self) -> (tempfile::TempDir, PathBuf) {
        let Self { organisation, directory, .. } = self;
        let log = organisation.gateway().log().directory().to_owned();
        organisation.close().await;
        (directory, log)
    }
}
