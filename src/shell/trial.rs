//! A bundle of others on trial: the engine that would decide here, the interpreter confined, the verdict remembered.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::confined::{Confined, ConfinedLimits};
use crate::decide::{Bundle, DecideError, EngineOptions, FEWEST_INPUTS, OBLIGATIONS, Policy, Trial, TrialReport};
use crate::types::{Digest, Hasher};

/// The longest that a trial may take: the reference policy takes seconds, on a slow and busy machine a minute.
const PATIENCE: Duration = Duration::from_secs(900);
/// The largest remembered verdict that is read, in bytes.
const VERDICT_BYTES: u64 = 1024 * 1024;
/// Verdicts that are kept: one for each revision of each policy in force, and room to look back.
const KEPT: usize = 64;
/// What this program was built from, of which the versions of both engines are a part.
const PACKAGES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));
/// The packages that evaluate policies.
const ENGINES: [&str; 3] = ["opa-wasm", "wasmtime", "regorus"];

/// How a bundle is tried.
pub struct TrialOptions<'a> {
    /// The file of this program that interprets in a process of its own; `None` for the running one.
    pub program: Option<&'a Path>,
    /// The longest that one evaluation of the deciding engine may take. Generous, since nobody's exchange waits, and how
    /// busy the machine is must not change the verdict.
    pub budget: Duration,
    /// Limits of the confined interpreter.
    pub limits: ConfinedLimits,
    /// Where machine code made of compiled modules is kept, as in [`EngineOptions`].
    pub code_cache: Option<PathBuf>,
    /// Generated inputs.
    pub inputs: usize,
    /// A private directory in which verdicts are remembered, so that a restart does not try again.
    pub verdicts: Option<&'a Path>,
    /// Told how many inputs of how many are done.
    pub progress: Option<&'a dyn Fn(usize, usize)>,
}

impl Default for TrialOptions<'_> {
    fn default() -> Self {
        Self {
            program: None,
            budget: ConfinedLimits::TRIAL.budget,
            limits: ConfinedLimits::TRIAL,
            code_cache: None,
            inputs: FEWEST_INPUTS,
            verdicts: None,
            progress: None,
        }
    }
}

/// Tries a bundle; blocks for as long as that takes, which is seconds.
///
/// # Errors
/// [`DecideError::Bundle`] when the bundle may not decide (see [`TrialReport::verdict`]) or cannot be tried.
pub fn try_bundle(bundle: &Bundle, options: &TrialOptions<'_>) -> Result<TrialReport, DecideError> {
    let report = hold_trial(bundle, options)?;
    report.verdict()?;
    Ok(report)
}

/// Tries a bundle and tells what was found, good or bad.
///
/// # Errors
/// [`DecideError::Bundle`] when it cannot be tried to the end.
pub fn hold_trial(bundle: &Bundle, options: &TrialOptions<'_>) -> Result<TrialReport, DecideError> {
    if bundle.module().is_none() {
        return Err(untried(
            "it holds no compiled module, so there is nothing to compare its source with: run `sekisho policy build`",
        ));
    }
    let remembered = match options.verdicts {
        Some(directory) => {
            let key = Key::of(bundle, options)?;
            let path = directory.join(format!("{}.json", key.digest().hex()));
            if let Some(report) = recall(&path, &key) {
                return Ok(report);
            }
            Some((path, key))
        }
        None => None,
    };
    let engine = EngineOptions { budget: options.budget, code_cache: options.code_cache.clone() };
    let decides = Policy::compile_with(bundle, &engine)?;
    let mut second = Confined::start(options.program, bundle, options.limits)?;
    let trial = Trial {
        bundle,
        inputs: options.inputs,
        obligations: &OBLIGATIONS,
        progress: options.progress,
        patience: PATIENCE,
    };
    let mut report = trial.run(&decides, &mut second)?;
    report.engines = engines();
    if let Some((path, key)) = remembered {
        remember(&path, key, &report);
    }
    Ok(report)
}

fn untried(why: &str) -> DecideError {
    DecideError::Bundle { code: "bundle_untried", why: format!("the bundle cannot be tried: {why}") }
}

/// Everything that a verdict depends on. A bundle's digest is that of its source, so module and cases stand beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    bundle: Digest,
    module: Digest,
    cases: Digest,
    program: Digest,
    engines: String,
    inputs: usize,
}

/// A verdict as it is kept.
#[derive(Serialize, Deserialize)]
struct Verdict {
    key: Key,
    report: TrialReport,
}

impl Key {
    fn of(bundle: &Bundle, options: &TrialOptions<'_>) -> Result<Self, DecideError> {
        let mut cases = Hasher::new();
        for part in bundle.cases().iter().flat_map(|file| [&file.path, &file.text]) {
            cases.update(&(part.len() as u64).to_be_bytes());
            cases.update(part.as_bytes());
        }
        Ok(Self {
            bundle: bundle.identity().digest,
            module: Digest::of(bundle.module().map(|module| &module[..]).unwrap_or_default()),
            cases: cases.finish(),
            program: program_digest()
                .map_err(|error| untried(&format!("this program cannot read its own file: {error}")))?,
            engines: engines(),
            inputs: options.inputs,
        })
    }

    /// The name of its file.
    fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        for part in [&self.bundle, &self.module, &self.cases, &self.program] {
            hasher.update(part.as_bytes());
        }
        hasher.update(&(self.inputs as u64).to_be_bytes());
        hasher.finish()
    }
}

/// The digest of the running program: another build may hold other engines, other inputs or another comparison.
fn program_digest() -> std::io::Result<Digest> {
    let mut file = fs::File::open(std::env::current_exe()?)?;
    let mut hasher = Hasher::new();
    let mut chunk = vec![0; 256 * 1024];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&chunk[..count]),
        }
    }
}

/// The engines with their versions, as this program was built with them.
fn engines() -> String {
    let version = |name: &str| {
        let entry = PACKAGES.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{name}\"\n")))?;
        let version = entry.lines().find_map(|line| line.strip_prefix("version = "))?;
        Some(format!("{name} {}", version.trim_matches('"')))
    };
    ENGINES.iter().filter_map(|name| version(name)).collect::<Vec<_>>().join(", ")
}

/// A verdict that was reached before. One that cannot be read or is of something else is none, and the trial is held.
fn recall(path: &Path, key: &Key) -> Option<TrialReport> {
    let mut text = Vec::new();
    fs::File::open(path).ok()?.take(VERDICT_BYTES).read_to_end(&mut text).ok()?;
    let verdict: Verdict = serde_json::from_slice(&text).ok()?;
    (verdict.key == *key).then_some(verdict.report)
}

/// Keeps a verdict. One that cannot be kept costs a trial at the next start, and nothing else.
fn remember(path: &Path, key: Key, report: &TrialReport) {
    let write = || -> std::io::Result<()> {
        let text = serde_json::to_vec(&Verdict { key, report: report.clone() })?;
        let aside = PathBuf::from(format!("{}.new", path.display()));
        let mut file = fs::File::create(&aside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        prune(path.parent().unwrap_or(Path::new(".")))
    };
    if let Err(error) = write() {
        tracing::warn!(path = %path.display(), %error, "the verdict of a trial could not be kept");
    }
}

/// Removes the oldest verdicts beyond those that are kept.
fn prune(directory: &Path) -> std::io::Result<()> {
    let mut verdicts = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            verdicts.push((fs::metadata(&path)?.modified()?, path));
        }
    }
    verdicts.sort();
    let surplus = verdicts.len().saturating_sub(KEPT);
    verdicts[..surplus].iter().try_for_each(|(_, path)| fs::remove_file(path))
}
