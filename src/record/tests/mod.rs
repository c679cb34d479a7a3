//! The record room from outside: logs are written, broken in every way, opened again and verified.

mod disk;
mod faults;
mod frame;
mod full;
mod log;
mod merkle;
mod power;
mod queue;
mod recovery;
mod rotate;
mod rotation;
mod tamper;
mod tree;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::ahead::written;
use super::frame::{Frames, encode};
use super::head::Head;
use super::store::{CHECKPOINT, KEY, WAL};
use super::verify::{Report, verify_directory};
use super::*;
use crate::types::{ExchangeId, ManualClock, Timestamp};

const ORIGIN: &str = "kansai.example/log";
const NOW: Timestamp = Timestamp::from_seconds(1_795_219_200);

fn signer() -> Signer {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    Signer::from_pkcs8(&key.serialize_der()).unwrap()
}

/// A log in a directory that vanishes with it, whose checkpoints come only with opening and closing.
struct World {
    home: tempfile::TempDir,
    signer: Signer,
}

impl World {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), signer: signer() }
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("log")
    }

    fn config(&self) -> LogConfig {
        LogConfig {
            checkpoint_every: Duration::from_secs(3600),
            reserve: 0,
            ..LogConfig::new(self.directory(), ORIGIN)
        }
    }

    /// Entries that nobody waits for wait for one that somebody does, so that a test makes the batches.
    fn never_alone(&self) -> LogConfig {
        LogConfig { linger: Duration::from_secs(3600), ..self.config() }
    }

    fn open(&self) -> Result<Log, RecordError> {
        open(self.config(), &self.signer)
    }

    /// Opens a copy of the log as a crash at this moment would leave it, with other bytes in `wal`.
    fn crashed(&self, wal: &[u8]) -> Self {
        let copy = Self { home: tempfile::tempdir().unwrap(), signer: self.signer.clone() };
        copy_log(&self.directory(), &copy.directory());
        std::fs::write(copy.directory().join(WAL), wal).unwrap();
        copy
    }

    fn wal(&self) -> Vec<u8> {
        std::fs::read(self.directory().join(WAL)).unwrap()
    }

    /// The log file without the zeros at its end.
    fn written(&self) -> Vec<u8> {
        let mut wal = self.wal();
        wal.truncate(written(&wal));
        wal
    }

    fn vkey(&self) -> String {
        self.signer.verifier_key(ORIGIN)
    }

    fn verify(&self) -> Report {
        verify_directory(&self.directory(), Some(&self.vkey()), |_, _| {}).unwrap()
    }
}

fn open(config: LogConfig, signer: &Signer) -> Result<Log, RecordError> {
    Log::open(config, signer.clone(), Arc::new(ManualClock::new(NOW)))
}

/// Copies a log's directory but for its lock.
fn copy_log(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_log(&entry.path(), &target);
        } else if entry.file_name() != "lock" {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn decision(exchange: ExchangeId, decision: Verdict) -> DecisionEntry<'static> {
    DecisionEntry {
        exchange,
        at: NOW,
        provider: None,
        consumer: None,
        direction: Direction::Export,
        dataset: None,
        tags: &[],
        purpose: None,
        action: Some("transfer"),
        agreement: None,
        pass: None,
        certificate: None,
        input: None,
        policy: None,
        decision,
        code: None,
        reasons: Vec::new(),
        obligations: &[],
        approvals: Vec::new(),
        request: None,
        signatures: &[],
    }
}

fn outcome(exchange: ExchangeId) -> OutcomeEntry<'static> {
    OutcomeEntry { status: Some(200), ..OutcomeEntry::new(exchange, NOW, Ended::Complete) }
}

/// Appends `pairs` permitted exchanges with their outcomes.
async fn fill(log: &Log, pairs: usize) {
    for _ in 0..pairs {
        let exchange = ExchangeId::new(NOW);
        log.append(log.seal(&decision(exchange, Verdict::Permit)).unwrap()).await.unwrap();
        log.append(log.seal(&outcome(exchange)).unwrap()).await.unwrap();
    }
}

/// A closed log of `pairs` exchanges.
async fn closed(pairs: usize) -> World {
    let world = World::new();
    let log = world.open().unwrap();
    fill(&log, pairs).await;
    log.close().await.unwrap();
    world
}

fn entries(wal: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Frames::open(Cursor::new(wal)).unwrap();
    let mut entries = Vec::new();
    while let Some(frame) = frames.next().unwrap() {
        entries.push(frame.data.to_vec());
    }
    entries
}

/// A log file with these entries, as someone who knows the format would forge it.
fn forge<'a>(entries: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
    let mut wal = Head::default().bytes();
    for (index, entry) in (0..).zip(entries) {
        encode(&mut wal, 0, index, entry);
    }
    wal
}

/// `bytes` with so many zeros behind them.
fn with_zeros(bytes: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len() + count, 0);
    bytes
}

/// Appends entries as one batch: each is refused, and as large as is asked for or a little larger. Takes a log with a
/// linger that does not end. Returns the entries, and what became of the batch.
async fn batch(log: &Log, padding: &[usize]) -> (Vec<Sealed>, Result<(), RecordError>) {
    let seal = |padding: &usize| {
        let path = "p".repeat(*padding);
        let request = Some(RequestLine { method: "GET", path: &path });
        log.seal(&DecisionEntry { request, ..decision(ExchangeId::new(NOW), Verdict::Deny) }).unwrap()
    };
    let entries: Vec<_> = padding.iter().map(seal).collect();
    let (last, others) = entries.split_last().unwrap();
    for entry in others {
        log.append_soon(entry.clone()).unwrap();
    }
    let fate = log.append(last.clone()).await.map(drop);
    (entries, fate)
}

fn found(report: &Report) -> Vec<&'static str> {
    report.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect()
}
