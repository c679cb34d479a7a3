//! From what a source brought to a policy that may be put in force, in five steps. Each refuses with a code.
//!
//! 1. **Verify**: signature, revision, archive, and that it is the policy that was expected.
//! 2. **Check**: the language that both engines read alike, builtins, inputs, tags and obligations.
//! 3. **Compile**: into the sandbox what others wrote; the entrypoint exists.
//! 4. **Cases**: its own worked cases come out as it says.
//! 5. **Trial**: both engines decide alike on cases, examples and made-up inputs.
//!
//! All of it takes seconds, and may be hostile: it runs where blocking is allowed, and one at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Trouble;
use super::source::{Found, Source};
use crate::decide::{
    Accepted, Archive, Bundle, BundleSignature, CASES_PATIENCE, EngineOptions, Policy, ShadowMode, Trust, Verification,
    check, run_cases,
};
use crate::shell::config::SourceTrust;
use crate::shell::confined::{ConfinedLimits, ConfinedShadow};
use crate::shell::trial::{TrialOptions, try_bundle};
use crate::types::Timestamp;

/// Cases that fail and are told one by one; the others are counted.
const TOLD_CASES: usize = 5;

/// What a policy must meet.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Time for one evaluation.
    pub budget: Duration,
    /// Made-up inputs on which both engines must agree.
    pub trial_inputs: usize,
    /// How many fresh decisions a second engine is asked for as well.
    pub shadow: ShadowMode,
    /// The file of this program that interprets in a process of its own; `None` for the running one.
    pub program: Option<PathBuf>,
    code_cache: Option<PathBuf>,
    trials: Option<PathBuf>,
}

/// A policy that passed.
pub(super) struct Judged {
    pub(super) policy: Arc<Policy>,
    /// What is remembered of it.
    pub(super) accepted: Accepted,
    /// What the policy runs on: its module, or its source.
    pub(super) engine: &'static str,
    /// The signature that it came with.
    pub(super) signature: Option<BundleSignature>,
    /// What the trial found, as the admin listener shows it.
    pub(super) trial: Option<Value>,
}

/// A policy that passed all but the trial.
pub(super) struct Examined {
    bundle: Bundle,
    policy: Policy,
    signature: Option<BundleSignature>,
}

impl Examined {
    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl Rules {
    /// Rules without a place to remember anything.
    pub fn new(budget: Duration, trial_inputs: usize, shadow: ShadowMode) -> Self {
        Self { budget, trial_inputs, shadow, program: None, code_cache: None, trials: None }
    }

    /// Remembers machine code and trials in these private directories.
    pub(super) fn caches(&mut self, code: PathBuf, trials: PathBuf) {
        (self.code_cache, self.trials) = (Some(code), Some(trials));
    }

    /// Judges what a source brought, from the signature to the trial. `last` is what was accepted from it before.
    pub(super) fn judge(
        &self,
        source: &Source,
        found: &Found,
        last: Option<&Accepted>,
        now: Timestamp,
    ) -> Result<Judged, Trouble> {
        let Examined { bundle, policy, signature } = self.examine(source, found, last, now)?;
        let trial = self.trial(&bundle)?;
        let (engine, policy) = match bundle.module() {
            Some(_) => ("webassembly", self.shadowed(policy, &bundle)?),
            None => ("interpreter", policy),
        };
        Ok(Judged { policy: Arc::new(policy), accepted: Accepted::of(&bundle), engine, signature, trial })
    }

    /// The steps before the trial.
    pub(super) fn examine(
        &self,
        source: &Source,
        found: &Found,
        last: Option<&Accepted>,
        now: Timestamp,
    ) -> Result<Examined, Trouble> {
        let (bundle, signature) = match found {
            Found::Archive { bytes, .. } => verify(bytes, &source.trust, last, now)?,
            Found::Own(bundle) => (bundle.as_ref().clone(), None),
            Found::Unchanged => return Err(Trouble::new("source_unreadable", "the source sent nothing")),
        };
        expected(&bundle, source.expect.as_deref())?;
        Self::check(&bundle, now)?;
        let policy = self.compile(&bundle, source.is_archive())?;
        cases(&bundle, &policy)?;
        Ok(Examined { bundle, policy, signature })
    }

    /// Step 2.
    fn check(bundle: &Bundle, now: Timestamp) -> Result<(), Trouble> {
        let report = check(bundle, Some(&now.date()));
        report.verdict()?;
        let warnings: Vec<String> = report.warnings().map(ToString::to_string).collect();
        if !warnings.is_empty() {
            // Its author's to mend, and no reason to refuse it.
            tracing::debug!(policy = bundle.identity().id, warnings = warnings.join("\n"), "the policy has warnings");
        }
        Ok(())
    }

    /// Step 3. What others wrote is not interpreted in this process, whatever the archive says of itself.
    fn compile(&self, bundle: &Bundle, is_archive: bool) -> Result<Policy, Trouble> {
        if is_archive && bundle.module().is_none() {
            let why = "the archive holds no compiled policy: build it with `sekisho policy build DIR --out FILE`";
            return Err(Trouble::new("bundle_uncompiled", why));
        }
        let options = EngineOptions { budget: self.budget, code_cache: self.code_cache.clone() };
        Ok(Policy::compile_with(bundle, &options)?)
    }

    /// Step 5. Without a module there is one engine only, and nothing to compare.
    fn trial(&self, bundle: &Bundle) -> Result<Option<Value>, Trouble> {
        if bundle.module().is_none() {
            return Ok(None);
        }
        let options = TrialOptions {
            program: self.program.as_deref(),
            inputs: self.trial_inputs,
            verdicts: self.trials.as_deref(),
            ..TrialOptions::default()
        };
        let report = try_bundle(bundle, &options)?;
        Ok(Some(json!({
            "engines": report.engines,
            "inputs": report.inputs,
            "agreed": report.agreed,
            "permitted": report.permitted,
            "reviewed": report.reviewed,
            "denied": report.denied,
            "undecided": report.undecided,
            "took_ms": report.took_ms,
        })))
    }

    /// The policy with a second engine beside it, in a process of its own that ends with the policy.
    fn shadowed(&self, policy: Policy, bundle: &Bundle) -> Result<Policy, Trouble> {
        if self.shadow == ShadowMode::Off {
            return Ok(policy);
        }
        let shadow = ConfinedShadow::start(bundle, self.program.clone(), ConfinedLimits::SHADOW)?;
        Ok(policy.shadowed(Arc::new(shadow), self.shadow))
    }
}

/// Step 1.
fn verify(
    bytes: &[u8],
    trust: &SourceTrust,
    last: Option<&Accepted>,
    now: Timestamp,
) -> Result<(Bundle, Option<BundleSignature>), Trouble> {
    let taken = match trust {
        SourceTrust::Keys(keys) => Trust::Keys(keys),
        SourceTrust::Unsigned => Trust::Unsigned,
        SourceTrust::Own => {
            let why = "the source has no keys, and takes no archive without: name the public key of whoever signs it";
            return Err(Trouble::new("bundle_unsigned", why));
        }
    };
    let bundle = Bundle::verified(bytes, &Verification { trust: taken, now, last })?;
    let signature = match taken {
        // Once more for what it says of itself; the bundle is known to be signed.
        Trust::Keys(keys) => Some(Archive::unpack(bytes)?.verify(keys, now)?),
        Trust::Unsigned => None,
    };
    Ok((bundle, signature))
}

/// Still step 1: a source must not turn into another policy.
fn expected(bundle: &Bundle, expected: Option<&str>) -> Result<(), Trouble> {
    let id = &bundle.identity().id;
    match expected {
        Some(expected) if expected != id => {
            let why =
                format!(".manifest: the policy is {id}, and the configuration expects {expected}: correct one of them");
            Err(Trouble::new("policy_unexpected", why))
        }
        _ => Ok(()),
    }
}

/// Step 4.
fn cases(bundle: &Bundle, policy: &Policy) -> Result<(), Trouble> {
    let outcomes = run_cases(bundle, policy, CASES_PATIENCE)?;
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.differences.is_empty()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let told = failed.iter().take(TOLD_CASES);
    let mut lines: Vec<String> = told.map(|case| format!("{}: {}", case.id, case.differences.join("; "))).collect();
    lines.push(format!(
        "{} of {} of its own cases do not hold: mend the rule or the case",
        failed.len(),
        outcomes.len()
    ));
    Err(Trouble::new("bundle_cases_fail", lines.join("\n")))
}
