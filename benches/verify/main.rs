//! How many entries a second `log verify` checks, on a log of a million that is made for it.
//!
//! `cargo bench --bench verify -- [ENTRIES]` writes bundles, tiles, a checkpoint and cosigned checkpoints of that many
//! entries under a temporary directory, each entry signed, and verifies them: on one thread without signatures, which is
//! the rate of one core, and on all cores with them. It also says how much memory the process took at most.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sekisho::record::tiles::{BundleId, FULL, LogDirectory, TileId, TileReader, append_entry};
use sekisho::record::verify::{Directory, Options, verify_log};
use sekisho::record::{
    DecisionEntry, Direction, Ended, Log, LogConfig, OutcomeEntry, PolicyRef, Signer, Verdict, proof,
};
use sekisho::shell::certs::Identity;
use sekisho::types::{Clock as _, Digest, ExchangeId, SystemClock};

/// What the project asks for, of one core, without signatures.
const A_SECOND: f64 = 100_000.0;
/// The log's name.
const ORIGIN: &str = "kansai.example/log";
/// Entries between two checkpoints on file.
const CHECKPOINT_EVERY: u64 = 1000;

fn main() -> Result<()> {
    let entries = std::env::args().skip(1).find_map(|argument| argument.parse::<u64>().ok()).unwrap_or(1_000_000);
    let home = tempfile::tempdir().context("a directory")?;
    let directory = home.path().join("log");
    let started = Instant::now();
    let vkey = make(&directory, entries)?;
    println!("{entries} entries made in {:.1} s", started.elapsed().as_secs_f64());

    let alone = Options { key: Some(&vkey), signatures: false, threads: 1, ..Options::default() };
    let rate = measure("without signatures, one core", &directory, &alone, entries)?;
    let all = Options { key: Some(&vkey), ..Options::default() };
    let cores = all.threads;
    measure(&format!("with signatures, {cores} threads"), &directory, &all, entries)?;
    if let Some(peak) = peak() {
        println!("memory at most: {peak}");
    }
    if rate < A_SECOND {
        println!("below the {A_SECOND:.0} a second that are asked for");
    }
    Ok(())
}

fn measure(what: &str, directory: &Path, options: &Options<'_>, entries: u64) -> Result<f64> {
    let started = Instant::now();
    let report = verify_log(&Directory::new(directory), options, |_, _| {})?;
    let took = started.elapsed().as_secs_f64();
    if !report.verified || report.entries != entries {
        bail!("the log does not verify:\n{}", report.render());
    }
    let rate = entries as f64 / took;
    println!("{what}: {took:.1} s, {rate:.0} entries a second");
    Ok(rate)
}

/// Makes a log as a gateway would leave it; gives its key.
fn make(directory: &Path, count: u64) -> Result<String> {
    let clock = SystemClock;
    let identity = Identity::mint(&"kansai.example".parse()?, clock.now(), &[], &[])?;
    let signer = Signer::from_pkcs8(identity.log_key_pem.as_bytes())?;
    // An empty log makes everything but the entries: key, lock, write-ahead log.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let log = Log::open(LogConfig::new(directory, ORIGIN), signer.clone(), std::sync::Arc::new(clock))?;
        log.close().await
    })?;
    let vkey = signer.verifier_key(ORIGIN);

    let mut rows: BTreeMap<u8, (u64, Vec<u8>)> = BTreeMap::new();
    let mut bundle = Vec::new();
    let (provider, consumer) = ("kansai.example".parse()?, "wessex.example".parse()?);
    let (dataset, purpose) = ("yield".parse()?, "dpv:ResearchAndDevelopment".parse()?);
    let payload = Digest::of(b"payload");
    let mut exchange = ExchangeId::new(clock.now());
    for index in 0..count {
        let sealed = if index % 2 == 0 {
            exchange = ExchangeId::new(clock.now());
            signer.seal(&DecisionEntry {
                exchange,
                at: clock.now(),
                provider: Some(&provider),
                consumer: Some(&consumer),
                direction: Direction::Export,
                dataset: Some(&dataset),
                tags: &[],
                purpose: Some(&purpose),
                action: Some("transfer"),
                agreement: None,
                pass: None,
                certificate: Some(payload),
                input: Some(payload),
                policy: Some(PolicyRef { id: "dfft", revision: "2026-10-01", digest: payload }),
                decision: if index + 1 < count { Verdict::Permit } else { Verdict::Deny },
                code: None,
                reasons: Vec::new(),
                obligations: &[],
                approvals: Vec::new(),
                request: None,
                signatures: &[],
            })?
        } else {
            let mut outcome = OutcomeEntry::new(exchange, clock.now(), Ended::Complete);
            outcome.status = Some(200);
            outcome.bytes_in = Some(7);
            outcome.bytes_out = Some(7);
            outcome.digest_before = Some(payload);
            outcome.digest_after = Some(payload);
            signer.seal(&outcome)?
        };
        append_entry(&mut bundle, sealed.as_bytes());
        let mut leaf = vec![0];
        leaf.extend_from_slice(sealed.as_bytes());
        let width = u16::try_from(index % u64::from(FULL) + 1)?;
        if width == FULL || index + 1 == count {
            let id = BundleId { index: index / u64::from(FULL), width };
            put(&directory.join(id.path()), &std::mem::take(&mut bundle))?;
        }
        push(directory, &mut rows, 0, sha256(&leaf))?;
    }
    for (level, (index, hashes)) in &rows {
        if !hashes.is_empty() {
            let id = TileId { level: *level, index: *index, width: u16::try_from(hashes.len() / 32)? };
            put(&directory.join(id.path()), hashes)?;
        }
    }
    checkpoints(directory, count, identity.log_key_pem.as_bytes(), &vkey)?;
    Ok(vkey)
}

/// Adds a hash to a level's tile; a full one is written, and its root goes a level up.
fn push(directory: &Path, rows: &mut BTreeMap<u8, (u64, Vec<u8>)>, level: u8, hash: [u8; 32]) -> Result<()> {
    let (index, hashes) = rows.entry(level).or_default();
    hashes.extend_from_slice(&hash);
    if hashes.len() < usize::from(FULL) * 32 {
        return Ok(());
    }
    let id = TileId { level, index: *index, width: FULL };
    let full = std::mem::take(hashes);
    *index += 1;
    put(&directory.join(id.path()), &full)?;
    let mut row: Vec<[u8; 32]> = full.as_chunks::<32>().0.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| sha256(&[&[1], &pair[0][..], &pair[1]].concat())).collect();
    }
    push(directory, rows, level + 1, row[0])
}

/// The checkpoint, and a day's file of those before it.
fn checkpoints(directory: &Path, count: u64, key: &[u8], vkey: &str) -> Result<()> {
    let pair = {
        use rustls::pki_types::PrivatePkcs8KeyDer;
        use rustls::pki_types::pem::PemObject as _;
        let der = PrivatePkcs8KeyDer::from_pem_slice(key).ok().context("the log's key")?;
        Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der()).ok().context("the log's key")?
    };
    let id = sha256(&[ORIGIN.as_bytes(), b"\n\x01", pair.public_key().as_ref()].concat());
    let reader = TileReader::new(LogDirectory::new(directory));
    let note = |size: u64| -> Result<String> {
        let root = proof::root(size, |level, index| reader.node(level, index, count))?;
        let text = format!("{ORIGIN}\n{size}\n{}\n", STANDARD.encode(root));
        let signature = STANDARD.encode([&id[..4], pair.sign(text.as_bytes()).as_ref()].concat());
        Ok(format!("{text}\n\u{2014} {ORIGIN} {signature}\n"))
    };
    let mut lines = String::new();
    for size in (CHECKPOINT_EVERY..count).step_by(usize::try_from(CHECKPOINT_EVERY)?) {
        let line = serde_json::json!({ "at": SystemClock.now(), "size": size, "note": note(size)? });
        lines.push_str(&format!("{line}\n"));
    }
    put(&directory.join("cosigned").join(format!("{}.jsonl", SystemClock.now().date())), lines.as_bytes())?;
    put(&directory.join("checkpoint"), note(count)?.as_bytes())?;
    if fs::read_to_string(directory.join("log.pub"))?.trim_end() != vkey {
        bail!("the log has another key");
    }
    Ok(())
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().context("a path")?;
    fs::create_dir_all(parent)?;
    Ok(fs::write(path, bytes)?)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// The most memory that the process has taken, as the kernel says it.
fn peak() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(|peak| peak.trim().to_owned())
}
