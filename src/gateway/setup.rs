//! What a gateway is made of, before it runs.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lru::LruCache;
use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value};
use tokio::sync::{Notify, Semaphore};

use super::logs::{LOG_READS, Witnessing};
use super::places::Places;
use super::receipts::Receipts;
use super::{Gateway, Route};
use crate::authenticate::{
    AuthenticateError, Credentials, PartnerEntry, Partners, PassMinter, PassVerifier, Statements, Tls,
};
use crate::decide::{Agreement, Approvals, Dataset, InForce, PolicySet};
use crate::enforce::PseudonymKeys;
use crate::forward::{Client, Destination, ForwardError, Timeouts};
use crate::record::{InputStore, Log, RecordError, SubjectStore, listed_keys};
use crate::types::{Clock, ExchangeId, Facts, PartyId, Timestamp};

/// A dataset and how to reach it.
pub struct DatasetSetup {
    /// As policies see it.
    pub dataset: Dataset,
    /// Its data service, `http://host:port/path`.
    pub upstream: String,
    /// Whether partners may fetch it.
    pub pull: bool,
    /// Whether partners may send it.
    pub push: bool,
    /// Whether a pass may be shown for it only once.
    pub single_use: bool,
}

/// Payloads that may be held whole at once, for obligations that must see all of them first: at 16 MiB each, 128 MiB.
const WHOLE_PAYLOADS: usize = 8;

/// Everything a gateway needs to know, read and checked by the shell.
pub struct Setup {
    /// Who we are.
    pub us: PartyId,
    /// What is known of us, as policies see it.
    pub our_facts: Map<String, Value>,
    /// Our certificate chain and key.
    pub credentials: Credentials,
    /// Authorities for operators' certificates.
    pub admin_anchors: Vec<CertificateDer<'static>>,
    /// Ed25519 private key (PKCS#8 PEM) that signs passes for our applications.
    pub pass_key: Vec<u8>,
    /// Keys that signed them before, as the key set lists them: published, and believed by nobody here.
    pub retired_keys: Vec<Value>,
    /// Life of those passes.
    pub pass_lifetime: Duration,
    /// Their `sub`.
    pub subject: String,
    /// Partners.
    pub partners: Vec<PartnerEntry>,
    /// Datasets.
    pub datasets: Vec<DatasetSetup>,
    /// Agreements.
    pub agreements: Vec<Agreement>,
    /// The policies.
    pub policies: PolicySet,
    /// The log.
    pub log: Log,
    /// Where inputs are kept that were decided on; nowhere when absent.
    pub inputs: Option<InputStore>,
    /// Where it is kept whom the record's commitments name; nowhere when absent.
    pub subjects: Option<SubjectStore>,
    /// Keys for pseudonyms.
    pub pseudonyms: Option<PseudonymKeys>,
    /// Exchanges in progress at once; with one partner, half of them.
    pub exchanges: usize,
    /// Time limits towards upstreams and partners.
    pub timeouts: Timeouts,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Who witnesses whom.
    pub witnessing: Witnessing,
}

/// Why a gateway cannot be assembled.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Certificates, keys or partners.
    #[error(transparent)]
    Authenticate(#[from] AuthenticateError),
    /// An address.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The keys of the log.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Gateway {
    /// Puts a gateway together. Nothing listens yet.
    ///
    /// # Errors
    /// [`SetupError`] when a part does not work.
    pub fn assemble(setup: Setup) -> Result<Arc<Self>, SetupError> {
        let tls = Tls::new(setup.credentials, Arc::clone(&setup.clock))?;
        let partners = Arc::new(Partners::new(setup.partners)?);
        let certificate = tls.certificate().digest();
        let minter = Arc::new(PassMinter::new(
            setup.us.clone(),
            &setup.pass_key,
            certificate,
            setup.pass_lifetime,
            Arc::clone(&setup.clock),
        )?);
        let places = Places::new(setup.exchanges, partners.iter().map(|partner| partner.id()));
        let receipts = Arc::new(Receipts::new(partners.iter().map(|partner| partner.id())));
        let mut gateways = HashMap::new();
        for partner in partners.iter() {
            if let Some(endpoint) = partner.endpoint() {
                let destination = Destination::partner(endpoint, tls.client(partner)?)?;
                gateways.insert(partner.id().clone(), Client::new(destination, setup.timeouts.clone())?);
            }
        }
        let mut routes = HashMap::new();
        for entry in setup.datasets {
            let client = Client::new(Destination::upstream(&entry.upstream)?, setup.timeouts.clone())?;
            let DatasetSetup { dataset, pull, push, single_use, .. } = entry;
            let id = dataset.id().clone();
            routes.insert(id, Arc::new(Route { dataset, client, pull, push, single_use }));
        }
        let jwks = minter.jwks(&setup.retired_keys)?;
        let log_keys = listed_keys(setup.log.directory())?;
        Ok(Arc::new(Self {
            passes: PassVerifier::new(setup.us.clone(), Arc::clone(&setup.clock)),
            our_facts: Facts::about(&setup.us, setup.our_facts),
            tls,
            statements: Statements::new(setup.us.clone(), &setup.admin_anchors)?,
            admin_anchors: setup.admin_anchors,
            us: setup.us,
            partners,
            minter,
            subject: setup.subject,
            policies: InForce::new(setup.policies),
            approvals: Approvals::default(),
            agreements: setup.agreements.into_iter().collect(),
            routes,
            gateways,
            log: setup.log,
            receipts,
            inputs: setup.inputs,
            subjects: setup.subjects,
            pseudonyms: setup.pseudonyms.map(Arc::new),
            places,
            whole_payloads: Arc::new(Semaphore::new(WHOLE_PAYLOADS)),
            evaluations: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get))),
            exchange_ids: ExchangeIds::new(),
            handshakes: HandshakeRecords::new(),
            idle: setup.timeouts.idle,
            clock: setup.clock,
            jwks: Bytes::from(jwks.to_string()),
            log_keys,
            witnessing: setup.witnessing,
            log_reads: Arc::new(Semaphore::new(LOG_READS)),
        }))
    }
}

/// Ids of exchanges, given out so that no two in progress share one: an entry could not be told whose it is.
pub(super) struct ExchangeIds(Arc<Mutex<Ids>>);

struct Ids {
    /// Exchanges in progress.
    open: HashSet<ExchangeId>,
    /// Ids given out lately.
    recent: LruCache<ExchangeId, ()>,
    /// Told when the last open exchange ends; there only once somebody waits for that.
    settled: Option<Arc<Notify>>,
}

/// Ids remembered after their exchange; a partner that waits until one is evicted could take it again, which only makes
/// records of its own exchanges ambiguous.
const RECENT: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// How far the time in a proposed id may be from ours.
const PROPOSED_AGE: Duration = Duration::from_secs(120);

/// The id of an exchange in progress. It is free again once this is dropped.
pub(super) struct OpenId {
    id: ExchangeId,
    ids: Arc<Mutex<Ids>>,
}

impl OpenId {
    pub(super) fn id(&self) -> ExchangeId {
        self.id
    }
}

impl Drop for OpenId {
    fn drop(&mut self) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.open.remove(&self.id);
        if ids.open.is_empty()
            && let Some(settled) = &ids.settled
        {
            settled.notify_waiters();
        }
    }
}

impl ExchangeIds {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Ids { open: HashSet::new(), recent: LruCache::new(RECENT), settled: None })))
    }

    /// Returns once no exchange is open.
    pub(super) async fn settled(&self) {
        let settled = {
            let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if ids.open.is_empty() {
                return;
            }
            // Made under the lock, so that the end of the last exchange cannot slip by.
            Arc::clone(ids.settled.get_or_insert_default()).notified_owned()
        };
        settled.await;
    }

    /// The id that the other side proposes if it is new and recent, so that both logs name the exchange alike; else a
    /// fresh one, which the answer tells.
    pub(super) fn take(&self, proposed: Option<&http::HeaderValue>, now: Timestamp) -> OpenId {
        let id = proposed.and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<ExchangeId>().ok());
        let id = id.filter(|id| id.at().since(now) < PROPOSED_AGE && now.since(id.at()) < PROPOSED_AGE);
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |id: &ExchangeId| ids.open.contains(id) || ids.recent.contains(id);
        let mut id = id.filter(|id| !known(id)).unwrap_or_else(|| ExchangeId::new(now));
        // Eighty random bits do not come twice; should the random source be broken, the time still moves on.
        let mut at = now;
        while !ids.open.insert(id) {
            at = at.plus(Duration::from_millis(1));
            id = ExchangeId::new(at);
        }
        ids.recent.put(id, ());
        OpenId { id, ids: Arc::clone(&self.0) }
    }
}

/// Refused handshakes that are recorded: a few a second, so that strangers cannot fill the disk.
pub(super) struct HandshakeRecords(Mutex<(u64, u32)>);

/// Refused handshakes recorded in one second; those beyond are logged only.
const HANDSHAKES_A_SECOND: u32 = 10;

impl HandshakeRecords {
    fn new() -> Self {
        Self(Mutex::new((0, 0)))
    }

    /// Whether one more may be recorded now.
    pub(super) fn allow(&self, now: Timestamp) -> bool {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if second.0 != now.seconds() {
            *second = (now.seconds(), 0);
        }
        second.1 += 1;
        second.1 <= HANDSHAKES_A_SECOND
    }
}
