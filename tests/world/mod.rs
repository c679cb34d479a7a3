//! A world for tests: organisations with gateways, upstreams and clients in one process, on ports that the system
//! chose, with certificates made in memory and a clock that moves only when it is told to.
#![allow(dead_code, unused_imports, reason = "two test binaries share this module, and each uses a part of it")]

pub mod authority;
mod books;
mod bundles;
mod client;
mod impostor;
mod organisation;
mod pair;
mod pass;
mod registry;
mod signing;
mod today;
mod upstream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sekisho::accept::Limits;
use sekisho::authenticate::PartnerEntry;
use sekisho::forward::Timeouts;
use sekisho::shell::certs::{Authority, Identity, Leaf};
use sekisho::shell::policies::{Policies, PolicySetup};
use sekisho::types::{ManualClock, PartyId, Timestamp};

pub use books::{Book, Books, Told};
pub use bundles::{BundleServer, Conduct, Ministry, SmallPolicy};
pub use client::{ClientBody, Connection, Failure, Feeder, Peer, Provider, Reply, fed, get, whole};
pub use impostor::{Asked, Impostor};
pub use organisation::{Organisation, Reserved};
pub use pair::{Demands, Pair, Side, copy};
pub use pass::Pass;
pub use signing::{Fields, Hand, content_digest};
pub use today::Today;
pub use upstream::{Seen, Upstream};

/// 2026-11-21T09:00:00Z: after the facts of the reference policy were reviewed, before they go stale.
pub const START: Timestamp = Timestamp::from_seconds(1_795_251_600);
/// How long anything may take before a test gives up. Nothing waits for this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Limits of time of both gateways. The defaults are those of a configuration that says nothing.
#[derive(Clone)]
pub struct Tuning {
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub drain: Duration,
    /// What each side vetted of its partners beside the registry.
    pub vet: fn(&mut PartnerEntry),
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            limits: Limits { head_bytes: 32 * 1024, headers: 100, ..Limits::default() },
            timeouts: Timeouts::default(),
            drain: Duration::from_secs(30),
            vet: |_| (),
        }
    }
}

/// Kansai (Japan, which holds most of the data), Wessex (United Kingdom), and Kansai's partners without a gateway.
pub struct World {
    pub clock: Arc<ManualClock>,
    pub kansai: Organisation,
    pub wessex: Organisation,
    partners: HashMap<&'static str, Identity>,
    _directory: tempfile::TempDir,
    vet: fn(&mut PartnerEntry),
}

impl World {
    /// Starts both organisations with the registry of `registry.rs`.
    pub async fn open() -> Self {
        Self::tuned(Tuning::default()).await
    }

    /// The same with other limits of time.
    pub async fn tuned(tuning: Tuning) -> Self {
        Self::governed(tuning, |_| None).await
    }

    /// The same where Kansai's policies come from sources; `policies` is told where it may keep what it remembers.
    pub async fn governed(tuning: Tuning, policies: impl FnOnce(&Path) -> Option<PolicySetup>) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let directory = tempfile::tempdir().unwrap();
        let partners: HashMap<_, _> =
            registry::PARTNERS.iter().map(|partner| (partner.id, identity(partner.id))).collect();
        let (kansai, wessex) = (identity(registry::KANSAI), identity(registry::WESSEX));
        let (kansai_port, wessex_port) = (Reserved::port(), Reserved::port());

        let mut known = vec![registry::entry(&registry::WESSEX_AS_PARTNER, &wessex, Some(wessex_port.address()))];
        known.extend(registry::PARTNERS.iter().map(|partner| registry::entry(partner, &partners[partner.id], None)));
        known.iter_mut().for_each(tuning.vet);
        let upstream = Upstream::start().await;
        let mut setup = registry::kansai(&kansai, known, &upstream, &directory.path().join("kansai"), clock.clone());
        setup.timeouts = tuning.timeouts.clone();
        let policies = match policies(&directory.path().join("kansai/state/policies")) {
            Some(sources) => {
                let (policies, set) = Policies::open(sources, clock.clone()).await.unwrap();
                setup.policies = set;
                Some(policies)
            }
            None => None,
        };
        let place = directory.path().join("kansai");
        let kansai = Organisation::start(setup, &tuning, kansai, upstream, place, kansai_port, policies);
        let mut known =
            vec![registry::entry(&registry::KANSAI_AS_PARTNER, &kansai.identity, Some(kansai.partner_address()))];
        known.iter_mut().for_each(tuning.vet);
        let upstream = Upstream::start().await;
        let mut setup = registry::wessex(&wessex, known, &upstream, &directory.path().join("wessex"), clock.clone());
        setup.timeouts = tuning.timeouts.clone();
        let wessex =
            Organisation::start(setup, &tuning, wessex, upstream, directory.path().join("wessex"), wessex_port, None);
        Self { clock, kansai, wessex, partners, _directory: directory, vet: tuning.vet }
    }

    /// Stops both gateways, Wessex first, and starts them again with what they kept, at the same addresses.
    pub async fn restart(self) -> Self {
        let Self { clock, kansai, wessex, partners, _directory: directory, vet } = self;
        let (addresses, tuning) =
            ((kansai.partner_address(), wessex.partner_address()), Tuning { vet, ..Tuning::default() });
        let (wessex, wessex_upstream) = wessex.down().await;
        let (kansai, kansai_upstream) = kansai.down().await;
        let mut known = vec![registry::entry(&registry::WESSEX_AS_PARTNER, &wessex, Some(addresses.1))];
        known.extend(registry::PARTNERS.iter().map(|partner| registry::entry(partner, &partners[partner.id], None)));
        known.iter_mut().for_each(vet);
        let place = directory.path().join("kansai");
        let setup = registry::kansai(&kansai, known, &kansai_upstream, &place, clock.clone());
        let port = Reserved::again(addresses.0);
        let kansai = Organisation::start(setup, &tuning, kansai, kansai_upstream, place, port, None);
        let mut known = vec![registry::entry(&registry::KANSAI_AS_PARTNER, &kansai.identity, Some(addresses.0))];
        known.iter_mut().for_each(vet);
        let place = directory.path().join("wessex");
        let setup = registry::wessex(&wessex, known, &wessex_upstream, &place, clock.clone());
        let port = Reserved::again(addresses.1);
        let wessex = Organisation::start(setup, &tuning, wessex, wessex_upstream, place, port, None);
        Self { clock, kansai, wessex, partners, _directory: directory, vet }
    }

    /// An organisation of its own, Wessex, whose partner Kansai listens at `endpoint` and has `kansai` in its hands.
    pub async fn alone(
        kansai: &Identity,
        endpoint: SocketAddr,
        vet: fn(&mut PartnerEntry),
    ) -> (Organisation, tempfile::TempDir) {
        let (clock, directory) = (Arc::new(ManualClock::new(START)), tempfile::tempdir().unwrap());
        let wessex = identity(registry::WESSEX);
        let mut known = vec![registry::entry(&registry::KANSAI_AS_PARTNER, kansai, Some(endpoint))];
        known.iter_mut().for_each(vet);
        let upstream = Upstream::start().await;
        let setup = registry::wessex(&wessex, known, &upstream, directory.path(), clock);
        let place = directory.path().to_owned();
        let wessex = Organisation::start(setup, &Tuning::default(), wessex, upstream, place, Reserved::port(), None);
        (wessex, directory)
    }

    /// What a party has in its hands.
    pub fn identity(&self, party: &str) -> &Identity {
        match party {
            registry::KANSAI => &self.kansai.identity,
            registry::WESSEX => &self.wessex.identity,
            _ => &self.partners[party],
        }
    }

    /// A party's client towards Kansai's partner listener, with the party's own certificate.
    pub fn peer(&self, party: &str) -> Peer {
        let identity = self.identity(party);
        Peer::new(party, identity.gateway.clone(), &identity.pass_key_pem, &self.kansai.provider(), self.clock.clone())
    }

    /// The same with another certificate than the party's own.
    pub fn peer_with(&self, party: &str, leaf: Leaf) -> Peer {
        Peer::new(party, leaf, &self.identity(party).pass_key_pem, &self.kansai.provider(), self.clock.clone())
    }

    /// A person's client towards Kansai's admin listener.
    pub fn admin(&self, leaf: &Leaf) -> Peer {
        let pass_key = &self.kansai.identity.pass_key_pem;
        let mut peer = Peer::new(registry::KANSAI, leaf.clone(), pass_key, &self.kansai.provider(), self.clock.clone());
        peer.address = self.kansai.addresses().admin.unwrap();
        peer
    }

    /// Stops both gateways, verifies both logs as an outsider would, and gives what they say.
    ///
    /// # Panics
    /// When a log does not verify, or an exchange is not one decision followed by one outcome.
    pub async fn close(self) -> Books {
        let Self { kansai, wessex, .. } = self;
        Books { kansai: kansai.close().await, wessex: wessex.close().await }
    }
}

/// A party id.
pub fn party(id: &str) -> PartyId {
    id.parse().unwrap()
}

/// A new identity of a party, good around the world's start.
pub fn identity(id: &str) -> Identity {
    Identity::mint(&party(id), valid_from(), &[], &[]).unwrap()
}

/// An authority that nobody has heard of, which claims to be `id`'s.
pub fn stranger(id: &str) -> Authority {
    Authority::new(&party(id), valid_from(), 30).unwrap()
}

fn valid_from() -> Timestamp {
    Timestamp::from_seconds(START.seconds() - 3600)
}

/// Waits for `future`, and fails the test when it takes longer than anything should.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Waits until `condition` holds, giving way to everything else in between.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    soon(what, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// SHA-256 as the record writes it, computed without the gateway's code.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
