//! Logs made byte by byte, as someone who has the keys and knows the formats would, for the checks to be tried on.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};

use super::super::crypto::{leaf_hash, node_hash, sha256};
use super::super::judge::kid;
use super::super::notes::{NoteKey, Role};
use super::{cosign, key, sign};
use crate::types::{ExchangeId, Timestamp};

pub(super) const ORIGIN: &str = "kansai.example/log";
/// When the first entry is made, in seconds since 1970; one entry follows the other by a second.
pub(super) const START: u64 = 1_795_219_200;

/// A log that is being made.
pub(super) struct Forge {
    pub(super) home: tempfile::TempDir,
    pub(super) pair: Ed25519KeyPair,
    pub(super) vkey: String,
    pub(super) entries: Vec<Vec<u8>>,
}

pub(super) fn id(number: u64) -> ExchangeId {
    // The same in every log of a test, so that two organisations can tell of one exchange.
    format!("01KB{number:022}").parse().unwrap()
}

impl Forge {
    pub(super) fn new() -> Self {
        let (pair, vkey) = key(0, ORIGIN, Role::Log);
        Self { home: tempfile::tempdir().unwrap(), pair, vkey, entries: Vec::new() }
    }

    /// A log of so many exchanges, each permitted and complete.
    pub(super) fn with(exchanges: u64) -> Self {
        let mut forge = Self::new();
        for number in 0..exchanges {
            forge.exchange(number);
        }
        forge
    }

    pub(super) fn path(&self) -> PathBuf {
        self.home.path().join("log")
    }

    pub(super) fn time(&self) -> Timestamp {
        Timestamp::from_seconds(START + self.entries.len() as u64)
    }

    /// Signs and adds an entry.
    pub(super) fn entry(&mut self, payload: &Value) {
        let public = NoteKey::parse(&self.vkey).unwrap().public;
        let header = json!({ "alg": "EdDSA", "kid": kid(&public), "typ": "sekisho-record+jws" });
        let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let text = format!("{}.{}", encode(&header), encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(text.as_bytes()));
        self.entries.push(format!("{text}.{signature}").into_bytes());
    }

    pub(super) fn exchange(&mut self, number: u64) {
        let digest = format!("sha256:{}", "ab".repeat(32));
        self.entry(&json!({
            "kind": "decision", "exchange": id(number), "at": self.time(), "provider": "kansai.example",
            "consumer": "wessex.example", "direction": "export", "dataset": "yield", "decision": "permit"
        }));
        self.entry(&json!({
            "kind": "outcome", "exchange": id(number), "at": self.time(), "status": 200, "ended": "complete",
            "bytes_in": 9, "bytes_out": 9, "digest_before": digest, "digest_after": digest
        }));
    }

    pub(super) fn leaves(&self) -> Vec<[u8; 32]> {
        self.entries.iter().map(|entry| leaf_hash(entry)).collect()
    }

    /// The text of the checkpoint over the first `size` entries.
    pub(super) fn text(&self, size: usize) -> String {
        let origin = NoteKey::parse(&self.vkey).unwrap().name;
        format!("{origin}\n{size}\n{}\n", STANDARD.encode(root(&self.leaves()[..size])))
    }

    /// That checkpoint, signed, and cosigned by these witnesses at these times.
    pub(super) fn note(&self, size: usize, witnesses: &[(u8, u64)]) -> String {
        let text = self.text(size);
        let mut note = format!("{text}\n{}", sign(&self.pair, &self.vkey, &text));
        for (seed, time) in witnesses {
            let (pair, vkey) = witness(*seed);
            note += &cosign(&pair, &vkey, &text, *time);
        }
        note
    }

    /// Writes bundles, tiles, checkpoint and an empty write-ahead log.
    pub(super) fn write(&self) {
        let _ = fs::remove_dir_all(self.path());
        let home = self.path();
        put(&home.join("log.pub"), (self.vkey.clone() + "\n").as_bytes());
        put(&home.join("checkpoint"), self.note(self.entries.len(), &[]).as_bytes());
        put(&home.join("wal"), &empty_wal(self.entries.len() as u64));
        for (index, bundle) in self.entries.chunks(256).enumerate() {
            let bytes: Vec<u8> = bundle
                .iter()
                .flat_map(|entry| [&u16::try_from(entry.len()).unwrap().to_be_bytes()[..], entry].concat())
                .collect();
            put(&home.join("tile/entries").join(place(index, bundle.len())), &bytes);
        }
        let (mut level, mut row) = (0, self.leaves());
        while !row.is_empty() {
            for (index, tile) in row.chunks(256).enumerate() {
                put(&home.join(format!("tile/{level}")).join(place(index, tile.len())), &tile.concat());
            }
            row = row.chunks_exact(256).map(root).collect();
            level += 1;
        }
    }

    /// Adds a day's file of cosigned checkpoints.
    pub(super) fn cosigned(&self, notes: &[String]) {
        let line = |note: &String| json!({ "at": Timestamp::from_seconds(START), "note": note }).to_string() + "\n";
        let lines: String = notes.iter().map(line).collect();
        put(&self.path().join("cosigned/2026-11-21.jsonl"), lines.as_bytes());
    }
}

/// A witness by number.
pub(super) fn witness(seed: u8) -> (Ed25519KeyPair, String) {
    key(seed, &format!("w{seed}.example/witness"), Role::Witness)
}

/// A policy that wants `least` of these witnesses.
pub(super) fn policy(least: usize, seeds: &[u8]) -> String {
    let lines: String = seeds.iter().map(|seed| format!("witness w{seed} {}\n", witness(*seed).1)).collect();
    let names: Vec<_> = seeds.iter().map(|seed| format!("w{seed}")).collect();
    format!("{lines}group all-of-them {least} {}\nquorum all-of-them\n", names.join(" "))
}

pub(super) fn empty_wal(base: u64) -> Vec<u8> {
    crate::record::head::Head { base, upto: base, open: Vec::new() }.bytes()
}

/// RFC 6962, section 2.1, word for word.
pub(super) fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => sha256(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

fn place(index: usize, width: usize) -> String {
    let full = if index < 1000 { format!("{index:03}") } else { format!("x{:03}/{:03}", index / 1000, index % 1000) };
    if width < 256 { format!("{full}.p/{width}") } else { full }
}

pub(super) fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
