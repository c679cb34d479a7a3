//! One exchange as the record tells it: a decision entry, and an outcome entry however it ends.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::{HeaderMap, StatusCode};

use super::Gateway;
use super::places::Place;
use super::receipts::{Receipts, Then};
use super::setup::OpenId;
use super::signed::{Proof, Seal, Sealed, Sealer};
use crate::authenticate::signature::Bound;
use crate::authenticate::{AuthenticateError, Requester};
use crate::decide::{Direction, Permit, Verdict};
use crate::enforce::{CarriedOut, Ended as StreamEnded, Summary};
use crate::record::{
    ApprovalRef, Carried, DecisionEntry, Direction as RecordDirection, Ended, Log, OutcomeEntry, PassRef, PolicyRef,
    Reason, RecordError, RequestLine, SignatureRef, Verdict as RecordVerdict,
};
use crate::refusal::Refusal;
use crate::types::{Clock, DatasetId, Digest, ExchangeId, PartyId, Purpose, Tag, Timestamp};

/// What is known of an exchange so far. Filled in on the way through the rooms.
pub(super) struct Story {
    pub(super) exchange: ExchangeId,
    /// Keeps the id from being taken by another exchange.
    pub(super) open: Arc<OpenId>,
    pub(super) at: Timestamp,
    pub(super) direction: Direction,
    pub(super) counterparty: Option<PartyId>,
    pub(super) certificate: Option<Digest>,
    pub(super) requester: Option<Arc<Requester>>,
    pub(super) dataset: Option<DatasetId>,
    pub(super) tags: Arc<[Tag]>,
    pub(super) purpose: Option<Purpose>,
    pub(super) action: Option<String>,
    pub(super) agreement: Option<String>,
    pub(super) method: http::Method,
    pub(super) version: http::Version,
    /// Absent when the connection ended before a request came.
    pub(super) path: Option<String>,
    /// What the request says of signatures, if it does.
    pub(super) seal: Option<Box<Seal>>,
}

/// How a decision was reached, for its entry.
enum Reached<'a> {
    Permitted(&'a Permit),
    Refused(&'a Refusal),
}

impl Story {
    /// Makes the permission durable. Nothing leaves before this returns.
    pub(super) async fn permitted(
        &self,
        gateway: &Gateway,
        permit: &Permit,
        closing: &Closing,
    ) -> Result<(), RecordError> {
        self.decide(gateway, &Reached::Permitted(permit), closing).await
    }

    /// Makes the refusal durable.
    pub(super) async fn refused(
        &self,
        gateway: &Gateway,
        refusal: &Refusal,
        closing: &Closing,
    ) -> Result<(), RecordError> {
        self.decide(gateway, &Reached::Refused(refusal), closing).await
    }

    async fn decide(&self, gateway: &Gateway, reached: &Reached<'_>, closing: &Closing) -> Result<(), RecordError> {
        // The proof of a push stands in its outcome, beside what became of the payload that it covers.
        let proof = self.seal.as_ref().filter(|_| self.direction == Direction::Export);
        let proofs: Vec<_> = proof.and_then(|seal| seal.proof.as_ref()).map(Proof::entry).into_iter().collect();
        let sealed = gateway.log.seal(&self.entry(&gateway.us, reached, &proofs))?;
        let pending = gateway.log.queue(sealed).await?;
        // From here on the exchange has to be closed, even if it is dropped before the entry is durable.
        closing.decided.store(true, Ordering::Release);
        if let Reached::Permitted(permit) = reached {
            permit.recorded();
        }
        pending.durable().await.map(|_| ())
    }

    fn entry<'a>(
        &'a self,
        us: &'a PartyId,
        reached: &Reached<'a>,
        signatures: &'a [SignatureRef<'a>],
    ) -> DecisionEntry<'a> {
        let counterparty = self.counterparty.as_ref();
        let (provider, consumer) = match self.direction {
            Direction::Request | Direction::Import => (counterparty, Some(us)),
            Direction::Export => (Some(us), counterparty),
        };
        let (decision, input, approvals) = match reached {
            Reached::Permitted(permit) => (Some(permit.decision()), Some(permit.input()), permit.approvals()),
            Reached::Refused(refusal) => {
                let denial = refusal.denial();
                (denial.and_then(|denial| denial.decision.as_ref()), denial.map(|denial| denial.input), &[][..])
            }
        };
        DecisionEntry {
            exchange: self.exchange,
            at: self.at,
            provider,
            consumer,
            direction: match self.direction {
                Direction::Export => RecordDirection::Export,
                Direction::Import => RecordDirection::Import,
                Direction::Request => RecordDirection::Request,
            },
            dataset: self.dataset.as_ref(),
            tags: &self.tags,
            purpose: self.purpose.as_ref(),
            action: self.action.as_deref(),
            agreement: self.agreement.as_deref(),
            pass: self.requester.as_ref().map(|requester| PassRef {
                digest: requester.pass(),
                jti: Some(requester.jti()),
                subject: Some(requester.commitment()),
            }),
            certificate: self.certificate,
            input,
            policy: decision.map(|decision| {
                let policy = decision.policy();
                PolicyRef { id: &policy.id, revision: &policy.revision, digest: policy.digest }
            }),
            decision: match reached {
                Reached::Permitted(_) => RecordVerdict::Permit,
                Reached::Refused(refusal) => match refusal.verdict() {
                    Some(Verdict::Deny | Verdict::Permit) => RecordVerdict::Deny,
                    Some(Verdict::Review) => RecordVerdict::Review,
                    None => RecordVerdict::Refused,
                },
            },
            code: match reached {
                Reached::Permitted(_) => None,
                Reached::Refused(refusal) => Some(refusal.code()),
            },
            reasons: decision.map_or_else(Vec::new, |decision| {
                let reasons = decision.reasons().iter();
                reasons
                    .map(|reason| Reason {
                        rule: &reason.rule,
                        why: &reason.why,
                        remedy: Some(&reason.remedy),
                        approvers: &reason.approvers,
                        policy: reason.policy.as_deref(),
                    })
                    .collect()
            }),
            obligations: decision.map(|decision| decision.obligations()).unwrap_or_default(),
            approvals: approvals
                .iter()
                .map(|approval| ApprovalRef { id: &approval.id, digest: approval.digest, offices: &approval.offices })
                .collect(),
            request: self.path.as_deref().map(|path| RequestLine { method: self.method.as_str(), path }),
            signatures,
        }
    }
}

/// What an exchange has of signatures.
#[derive(Default)]
struct Signing {
    /// Those that go on record with the outcome.
    proofs: Vec<Proof>,
    /// The request's, which the answer's covers.
    bound: Option<Bound>,
    /// Signs what leaves once its digest is known.
    sealer: Option<Sealer>,
    /// What it made of it.
    trailers: Option<HeaderMap>,
    then: Option<Then>,
}

/// The duty to write one exchange's outcome entry, exactly once, whatever happens: also when the exchange is dropped.
/// The duty begins when the decision entry is in the log's queue: what was never decided on record has no outcome.
pub(super) struct Closing {
    log: Log,
    clock: Arc<dyn Clock>,
    exchange: ExchangeId,
    began: Timestamp,
    accompanying: Vec<CarriedOut>,
    decided: AtomicBool,
    done: AtomicBool,
    /// Set once an answer is on its way: from then on the end of its payload is the end of the exchange.
    answered: AtomicU16,
    upstream_status: AtomicU16,
    /// What became of the payload of a push, told when it ended or was let go of.
    sent: OnceLock<Box<Summary>>,
    signing: Mutex<Signing>,
    receipts: Arc<Receipts>,
    /// Why a signature or digest was not taken.
    blame: OnceLock<&'static str>,
    /// The exchange's place among those in progress, given back when it is over.
    place: Mutex<Option<Place>>,
    /// Given back only after the outcome is queued.
    _open: Arc<OpenId>,
}

impl Closing {
    pub(super) fn new(
        gateway: &Gateway,
        story: &Story,
        accompanying: Vec<CarriedOut>,
        place: Option<Place>,
    ) -> Arc<Self> {
        let seal = story.seal.as_deref();
        let proofs = seal.filter(|_| story.direction == Direction::Import).and_then(|seal| seal.proof.clone());
        let signing = Signing {
            proofs: proofs.into_iter().collect(),
            bound: seal.and_then(|seal| seal.bound.clone()),
            ..Signing::default()
        };
        Arc::new(Self {
            signing: Mutex::new(signing),
            receipts: Arc::clone(&gateway.receipts),
            blame: OnceLock::new(),
            log: gateway.log.clone(),
            clock: Arc::clone(&gateway.clock),
            exchange: story.exchange,
            began: story.at,
            accompanying,
            decided: AtomicBool::new(false),
            done: AtomicBool::new(false),
            answered: AtomicU16::new(0),
            upstream_status: AtomicU16::new(0),
            sent: OnceLock::new(),
            place: Mutex::new(place),
            _open: Arc::clone(&story.open),
        })
    }

    /// Whether the decision entry is in the log's queue.
    pub(super) fn is_decided(&self) -> bool {
        self.decided.load(Ordering::Acquire)
    }

    /// Notes what the other side answered.
    pub(super) fn upstream(&self, status: StatusCode) {
        self.upstream_status.store(status.as_u16(), Ordering::Relaxed);
    }

    /// From now on the end of the answer's payload closes the exchange.
    pub(super) fn answering(&self, status: StatusCode) {
        self.answered.store(status.as_u16(), Ordering::Release);
    }

    fn signing(&self) -> MutexGuard<'_, Signing> {
        self.signing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a signature for the outcome.
    pub(super) fn prove(&self, proof: Proof) {
        self.signing().proofs.push(proof);
    }

    /// Notes the request's signature.
    pub(super) fn bind(&self, bound: Bound) {
        self.signing().bound = Some(bound);
    }

    /// The request's signature, once it is known.
    pub(super) fn bound(&self) -> Option<Bound> {
        self.signing().bound.clone()
    }

    /// Notes what follows once the exchange is closed.
    pub(super) fn then(&self, then: Then) {
        self.signing().then = Some(then);
    }

    /// Keeps what belongs to a message that was signed, and gives its fields.
    pub(super) fn sealed(&self, sealed: Sealed) -> HeaderMap {
        let mut signing = self.signing();
        signing.proofs.extend(sealed.proof);
        if sealed.bound.is_some() {
            signing.bound = sealed.bound;
        }
        if sealed.then.is_some() {
            signing.then = sealed.then;
        }
        sealed.fields
    }

    /// Signs what leaves when all of it has left.
    pub(super) fn seal_at_end(&self, sealer: Sealer) {
        self.signing().sealer = Some(sealer);
    }

    /// The trailers of what left, once.
    pub(super) fn trailers(&self) -> Option<HeaderMap> {
        self.signing().trailers.take()
    }

    /// Notes why a signature or digest is not taken.
    pub(super) fn blamed<T>(&self, judged: Result<T, AuthenticateError>) -> Result<T, AuthenticateError> {
        if let Err(error) = &judged {
            tracing::warn!(%error, exchange = %self.exchange, "a message is not what it should be");
            let _ = self.blame.set(error.code());
        }
        judged
    }

    /// Why a signature or digest was not taken.
    pub(super) fn blame(&self) -> Option<&'static str> {
        self.blame.get().copied()
    }

    /// What leaves has ended: its digest is known, and it is signed if it is to be.
    fn seal_now(&self, summary: &Summary) {
        let sealer = self.signing().sealer.take().filter(|_| summary.ended == StreamEnded::Complete);
        let Some(sealer) = sealer else { return };
        match sealer(summary.digest_after) {
            Ok(sealed) => {
                let fields = self.sealed(sealed);
                self.signing().trailers = Some(fields);
            }
            Err(error) => tracing::error!(%error, exchange = %self.exchange, "a payload could not be signed"),
        }
    }

    /// The answer's payload ended. Without an answer on its way this says nothing: whoever refuses will say more.
    pub(super) fn streamed(&self, summary: &Summary) {
        if let Some(status) = number(&self.answered) {
            self.seal_now(summary);
            let (ended, code) = match &summary.ended {
                StreamEnded::Complete => (Ended::Complete, None),
                StreamEnded::Broken => (Ended::Broken, self.blame()),
                StreamEnded::Failed(error) => (Ended::Broken, Some(error.code())),
            };
            self.close(ended, Some(status), code, Some(summary));
        }
    }

    /// The payload of a push ended: what left is part of the outcome, however the exchange ends.
    pub(super) fn pushed(&self, summary: Summary) {
        self.seal_now(&summary);
        // Told once, as a body reports once.
        let _ = self.sent.set(Box::new(summary));
    }

    /// What became of the payload of a push, once that is known.
    pub(super) fn sent(&self) -> Option<&Summary> {
        self.sent.get().map(Box::as_ref)
    }

    /// The exchange is over. A push that ends as refused after some of its payload left is broken: a refusal says that
    /// nothing did.
    pub(super) fn close(&self, ended: Ended, status: Option<u16>, code: Option<&str>, summary: Option<&Summary>) {
        if self.done.swap(true, Ordering::AcqRel) {
            return;
        }
        let sent = self.sent().filter(|sent| sent.bytes_out > 0);
        let ended = if ended == Ended::Refused && sent.is_some() { Ended::Broken } else { ended };
        let summary = summary.or(sent);
        let now = self.clock.now();
        let mut entry = OutcomeEntry::new(self.exchange, now, ended);
        entry.status = status;
        entry.code = code;
        entry.upstream_status = number(&self.upstream_status);
        entry.milliseconds = u64::try_from(now.since(self.began).as_millis()).ok();
        if let Some(summary) = summary {
            entry.bytes_in = Some(summary.bytes_in);
            entry.bytes_out = Some(summary.bytes_out);
            entry.digest_before = Some(summary.digest_before);
            entry.digest_after = Some(summary.digest_after);
            let carried = summary.carried.iter().chain(&self.accompanying);
            entry.obligations_carried = carried
                .map(|carried| Carried {
                    action: &carried.action,
                    rule: &carried.rule,
                    how: Some(&carried.how),
                    fields: carried.fields.iter().map(String::as_str).collect(),
                    count: carried.count,
                })
                .collect();
        }
        let (proofs, then) = {
            let mut signing = self.signing();
            (std::mem::take(&mut signing.proofs), signing.then.take())
        };
        entry.signatures = proofs.iter().map(Proof::entry).collect();
        let seal = || match self.log.seal(&entry) {
            // What becomes of an exchange is on record, even where the proofs of it are too much for an entry.
            Err(RecordError::EntryTooLarge { .. }) if !entry.signatures.is_empty() => {
                tracing::error!(exchange = %self.exchange, "an outcome is recorded without its signatures");
                self.log.seal(&OutcomeEntry { signatures: Vec::new(), ..entry.clone() })
            }
            sealed => sealed,
        };
        let append = || self.log.append_soon(seal()?).map(drop);
        if self.is_decided()
            && let Err(error) = append()
        {
            // The log refuses from here on, so no further exchange begins; the next opening closes this one as unknown.
            tracing::error!(%error, exchange = %self.exchange, "an outcome could not be recorded");
        }
        if let Some(then) = then.filter(|then| ended == Ended::Complete || matches!(then, Then::Post(..))) {
            self.receipts.follow(then);
        }
        drop(self.place.lock().unwrap_or_else(PoisonError::into_inner).take());
        tracing::info!(exchange = %self.exchange, ?ended, status, code, milliseconds = entry.milliseconds, "exchange");
    }
}

fn number(status: &AtomicU16) -> Option<u16> {
    Some(status.load(Ordering::Acquire)).filter(|status| *status != 0)
}

impl Drop for Closing {
    fn drop(&mut self) {
        // The peer went away before there was an answer, or the exchange was cut: that too is an outcome.
        self.close(Ended::Broken, number(&self.answered), None, None);
    }
}
