//! Kansai and Wessex as each other's witnesses, each of which can be stopped and started again where it was.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sekisho::authenticate::{Credentials, PartnerEntry, Partners, Tls};
use sekisho::gateway::Witnessing;
use sekisho::record::witness::{Cosigner, CosignerKey, LogKey, Witness};
use sekisho::record::{FileKey, Signer};
use sekisho::shell::certs::Identity;
use sekisho::shell::witnesses::{Witnesses, WitnessesSetup};
use sekisho::types::ManualClock;

use super::{Organisation, Peer, Reserved, START, Tuning, Upstream, identity, party, registry};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Kansai,
    Wessex,
}

impl Side {
    pub fn id(self) -> &'static str {
        match self {
            Self::Kansai => registry::KANSAI,
            Self::Wessex => registry::WESSEX,
        }
    }

    pub fn other(self) -> Self {
        match self {
            Self::Kansai => Self::Wessex,
            Self::Wessex => Self::Kansai,
        }
    }
}

/// What is demanded of the witness, and what it may read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demands {
    pub quorum: usize,
    pub overdue: Duration,
    /// Whether the partner may read entries.
    pub log_entries: bool,
}

/// Both, as they lie on disk.
pub struct Pair {
    pub clock: Arc<ManualClock>,
    directory: tempfile::TempDir,
    kansai: (Arc<Identity>, Reserved),
    wessex: (Arc<Identity>, Reserved),
}

impl Pair {
    pub fn new() -> Self {
        Self {
            clock: Arc::new(ManualClock::new(START)),
            directory: tempfile::tempdir().unwrap(),
            kansai: (identity(registry::KANSAI).into(), Reserved::port()),
            wessex: (identity(registry::WESSEX).into(), Reserved::port()),
        }
    }

    fn of(&self, side: Side) -> &(Arc<Identity>, Reserved) {
        match side {
            Side::Kansai => &self.kansai,
            Side::Wessex => &self.wessex,
        }
    }

    pub fn identity(&self, side: Side) -> &Identity {
        &self.of(side).0
    }

    pub fn place(&self, side: Side) -> PathBuf {
        self.directory.path().join(side.id())
    }

    pub fn log(&self, side: Side) -> PathBuf {
        self.place(side).join("log")
    }

    pub fn origin(side: Side) -> String {
        format!("{}/log", side.id())
    }

    pub fn signer(&self, side: Side) -> Signer {
        Signer::from_pkcs8(self.identity(side).log_key_pem.as_bytes()).unwrap()
    }

    pub fn file_key(&self, side: Side) -> FileKey {
        FileKey::from_pkcs8(self.identity(side).log_key_pem.as_bytes()).unwrap()
    }

    pub fn log_key(&self, side: Side) -> LogKey {
        LogKey::parse(&self.signer(side).verifier_key(&Self::origin(side))).unwrap()
    }

    fn cosigner(&self, side: Side) -> Cosigner {
        let name = format!("{}/witness", side.id());
        Cosigner::from_pkcs8(&name, self.identity(side).witness_key_pem.as_bytes()).unwrap()
    }

    pub fn witness_key(&self, side: Side) -> CosignerKey {
        CosignerKey::parse(&self.cosigner(side).verifier_key()).unwrap()
    }

    fn address(&self, side: Side) -> SocketAddr {
        self.of(side).1.address()
    }

    fn known(&self, side: Side) -> PartnerEntry {
        let other = side.other();
        let vetted = match other {
            Side::Kansai => &registry::KANSAI_AS_PARTNER,
            Side::Wessex => &registry::WESSEX_AS_PARTNER,
        };
        registry::entry(vetted, self.identity(other), Some(self.address(other)))
    }

    fn witnesses(&self, side: Side, demands: Demands) -> Witnesses {
        let identity = self.identity(side);
        let credentials = Credentials {
            chain: vec![CertificateDer::from_pem_slice(identity.gateway.certificate_pem.as_bytes()).unwrap()],
            key: PrivateKeyDer::from_pem_slice(identity.gateway.key_pem.as_bytes()).unwrap(),
        };
        let setup = WitnessesSetup {
            witnesses: vec![(party(side.other().id()), vec![self.witness_key(side.other())])],
            quorum: demands.quorum,
            interval: Duration::from_millis(100),
            overdue: demands.overdue,
            origin: Self::origin(side),
            keys: vec![self.log_key(side)],
        };
        let tls = Tls::new(credentials, self.clock.clone()).unwrap();
        Witnesses::new(setup, &tls, &Partners::new(vec![self.known(side)]).unwrap()).unwrap()
    }

    /// Starts one of them, as `serve` does: its witnesses are asked before its log is opened.
    pub async fn start(&self, side: Side, demands: Demands) -> anyhow::Result<Organisation> {
        let witnesses = self.witnesses(side, demands);
        let place = self.place(side);
        witnesses.ask_at_start(&self.log(side), &self.signer(side)).await?;
        let upstream = Upstream::start().await;
        let make = match side {
            Side::Kansai => registry::kansai,
            Side::Wessex => registry::wessex,
        };
        let mut setup = make(self.identity(side), vec![self.known(side)], &upstream, &place, self.clock.clone());
        let keys = [self.log_key(side.other())];
        let witness = Witness::open(&place.join("state/witness"), self.cosigner(side), keys, self.clock.clone())?;
        let readers = if demands.log_entries { HashSet::from([party(side.other().id())]) } else { HashSet::new() };
        setup.witnessing = Witnessing { witness: Some(Arc::new(witness)), standing: witnesses.standing(), readers };
        let identity = Arc::clone(&self.of(side).0);
        // Bound beside the one that is kept here, so that the port stays ours between two starts.
        let port = Reserved::again(self.address(side));
        let organisation = Organisation::start(setup, &Tuning::default(), identity, upstream, place, port, None);
        Ok(organisation.witnessed(witnesses))
    }

    /// A client of the other side's towards a running organisation's partner listener.
    pub fn peer(&self, towards: &Organisation) -> Peer {
        let side = if towards.id().as_str() == registry::KANSAI { Side::Wessex } else { Side::Kansai };
        let identity = self.identity(side);
        Peer::new(side.id(), identity.gateway.clone(), &identity.pass_key_pem, &towards.provider(), self.clock.clone())
    }

    /// An operator's client towards its own organisation's admin listener.
    pub fn operator(&self, of: &Organisation) -> Peer {
        let side = if of.id().as_str() == registry::KANSAI { Side::Kansai } else { Side::Wessex };
        let identity = self.identity(side);
        let operator = identity.operator.clone();
        let mut peer = Peer::new(side.id(), operator, &identity.pass_key_pem, &of.provider(), self.clock.clone());
        peer.address = of.addresses().admin.unwrap();
        peer
    }
}

/// Copies a directory, as somebody does who makes a backup.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
