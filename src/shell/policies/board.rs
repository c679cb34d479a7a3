//! What is known of every source, for people: what it brought, who signed that, and what went wrong since.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::Trouble;
use super::activate::Judged;
use super::source::{Owner, Source};
use crate::decide::Policy;
use crate::types::Timestamp;

/// The longest account of a failure that is kept, in bytes: a hostile bundle must not fill logs and answers.
const WHY_BYTES: usize = 4096;
/// The code of a policy whose signature expired while it was in force.
const EXPIRED: &str = "bundle_signature_expired";

/// The status of every source, in their order.
pub(super) struct Board {
    lines: Mutex<Vec<Line>>,
    stale_after: Option<Duration>,
}

struct Line {
    source: String,
    kind: &'static str,
    place: Option<String>,
    owner: Option<Owner>,
    in_force: Option<InForce>,
    last_attempt: Option<Timestamp>,
    failure: Option<Failure>,
}

/// The policy of a source that is in force.
struct InForce {
    policy: Arc<Policy>,
    engine: &'static str,
    signed_by: Option<String>,
    signature_expires: Option<Timestamp>,
    activated: Timestamp,
    trial: Option<Value>,
}

/// Why the last look brought nothing, or why what is in force may no longer be started with.
#[derive(Serialize)]
struct Failure {
    code: &'static str,
    why: String,
    /// Since when no look succeeded, or when the signature expired.
    since: Timestamp,
    /// Looks that failed in a row.
    looks: u32,
}

impl Board {
    pub(super) fn new(sources: &[Source], stale_after: Option<Duration>) -> Self {
        let line = |source: &Source| {
            let (kind, place) = source.shown();
            let (source, owner) = (source.id.clone(), source.owner.clone());
            Line { source, kind, place, owner, in_force: None, last_attempt: None, failure: None }
        };
        Self { lines: Mutex::new(sources.iter().map(line).collect()), stale_after }
    }

    /// A look found what is in force already.
    pub(super) fn unchanged(&self, index: usize, now: Timestamp) {
        let mut lines = self.lines();
        let line = &mut lines[index];
        line.last_attempt = Some(now);
        // An expired signature is no better for being found again, and is told once.
        if line.expired(now).is_none() || line.failure.as_ref().is_some_and(|failure| failure.code != EXPIRED) {
            line.failure = None;
        }
        line.expire(now);
    }

    /// What a look brought is in force.
    pub(super) fn activated(&self, index: usize, judged: &Judged, now: Timestamp) {
        let mut lines = self.lines();
        let line = &mut lines[index];
        let same = |before: &&InForce| before.policy.identity() == judged.policy.identity();
        // The same policy in another archive has been in force since the first.
        let before = line.in_force.as_ref().filter(same).map(|before| before.activated);
        line.in_force = Some(InForce {
            policy: Arc::clone(&judged.policy),
            engine: judged.engine,
            signed_by: judged.signature.as_ref().and_then(|signature| signature.key_id.clone()),
            signature_expires: judged.signature.as_ref().and_then(|signature| signature.expires),
            activated: before.unwrap_or(now),
            trial: judged.trial.clone(),
        });
        (line.last_attempt, line.failure) = (Some(now), None);
    }

    /// A look failed; the first of a row is told to the log, and each that fails otherwise than the one before.
    pub(super) fn failed(&self, index: usize, trouble: &Trouble, now: Timestamp) {
        let mut lines = self.lines();
        let line = &mut lines[index];
        let (since, looks) = line.failure.as_ref().map_or((now, 0), |failure| (failure.since, failure.looks));
        let end = trouble.why.floor_char_boundary(WHY_BYTES);
        let failure = Failure { code: trouble.code, why: trouble.why[..end].to_owned(), since, looks: looks + 1 };
        let news = line.failure.as_ref().is_none_or(|before| before.code != failure.code || before.why != failure.why);
        if news {
            let kept =
                if line.in_force.is_some() { "the policy before stays in force" } else { "it has no policy in force" };
            let (source, code, why) = (&line.source, failure.code, &failure.why);
            tracing::warn!(source, code, why, "a policy source brought nothing that can be used; {kept}");
        }
        (line.last_attempt, line.failure) = (Some(now), Some(failure));
    }

    /// Every source, for the admin listener.
    pub(super) fn shown(&self, now: Timestamp) -> Vec<Value> {
        self.lines_at(now).iter().map(|line| self.line(line, now)).collect()
    }

    /// What is not known is left out.
    fn line(&self, line: &Line, now: Timestamp) -> Value {
        let mut shown = json!({
            "source": line.source,
            "kind": line.kind,
            "place": line.place,
            "owner": line.owner,
            "last_attempt": line.last_attempt,
            "failure": line.failure,
            "stale": self.is_stale(line, now),
        });
        if let Some(in_force) = &line.in_force {
            shown["policy"] = json!(in_force.policy.identity().as_ref());
            shown["engine"] = in_force.engine.into();
            shown["signed_by"] = json!(in_force.signed_by);
            shown["signature_expires"] = json!(in_force.signature_expires);
            shown["activated"] = json!(in_force.activated);
            shown["trial"] = json!(in_force.trial);
            shown["shadow"] = json!(in_force.policy.shadow_figures());
        }
        if let Some(members) = shown.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        shown
    }

    /// Sources that have failed for longer than they may.
    pub(super) fn stale(&self, now: Timestamp) -> Vec<Value> {
        let lines = self.lines_at(now);
        let stale = lines.iter().filter(|line| self.is_stale(line, now));
        stale
            .filter_map(|line| {
                let failure = line.failure.as_ref()?;
                Some(json!({ "source": line.source, "code": failure.code, "since": failure.since }))
            })
            .collect()
    }

    fn is_stale(&self, line: &Line, now: Timestamp) -> bool {
        let failing = line.failure.as_ref().map(|failure| now.since(failure.since));
        failing.zip(self.stale_after).is_some_and(|(failing, may)| failing > may)
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines with the signatures that have expired since they were looked at: a day may lie between two looks.
    fn lines_at(&self, now: Timestamp) -> MutexGuard<'_, Vec<Line>> {
        let mut lines = self.lines();
        lines.iter_mut().for_each(|line| line.expire(now));
        lines
    }
}

impl Line {
    /// When the signature of what is in force expired, if it did.
    fn expired(&self, now: Timestamp) -> Option<Timestamp> {
        self.in_force.as_ref()?.signature_expires.filter(|expires| *expires <= now)
    }

    /// Reports a source as failing whose policy stays in force beyond its signature. Other failures are told first.
    fn expire(&mut self, now: Timestamp) {
        let Some(since) = self.expired(now).filter(|_| self.failure.is_none()) else { return };
        let why =
            format!("the signature expired at {since}, and the next start refuses the bundle: have it signed anew");
        tracing::warn!(source = self.source, code = EXPIRED, why, "a policy is in force beyond its signature");
        self.failure = Some(Failure { code: EXPIRED, why, since, looks: 0 });
    }
}
