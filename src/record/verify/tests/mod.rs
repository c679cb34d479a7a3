//! The verifier from inside: proofs, policies and notes, and whole logs that are made here, byte by byte, to be spoilt.

mod forge;
mod handed;
mod keys;
mod log;
mod notes;
mod policy;
mod proof;
mod receipts;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::crypto::sha256;
use super::notes::{COSIGNER, LOG, NoteKey, Role};
use crate::record::note::Note;

/// A key pair that is the same in every run, and its vkey.
pub(super) fn key(seed: u8, name: &str, role: Role) -> (Ed25519KeyPair, String) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let vkey = vkey_of(&pair, name, role);
    (pair, vkey)
}

/// The vkey of a key pair.
pub(super) fn vkey_of(pair: &Ed25519KeyPair, name: &str, role: Role) -> String {
    let kind = if role == Role::Log { LOG } else { COSIGNER };
    let bytes = [&[kind], pair.public_key().as_ref()].concat();
    let [a, b, c, d, ..] = sha256(&[name.as_bytes(), b"\n", &bytes].concat());
    format!("{name}+{a:02x}{b:02x}{c:02x}{d:02x}+{}", STANDARD.encode(bytes))
}

/// A witness's signature line under this text.
pub(super) fn cosign(pair: &Ed25519KeyPair, vkey: &str, text: &str, time: u64) -> String {
    let key = NoteKey::parse(vkey).unwrap();
    let signature = pair.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
    let bytes = [&key.id[..], &time.to_be_bytes(), signature.as_ref()].concat();
    format!("\u{2014} {} {}\n", key.name, STANDARD.encode(bytes))
}

/// A log's signature line under this text.
pub(super) fn sign(pair: &Ed25519KeyPair, vkey: &str, text: &str) -> String {
    let key = NoteKey::parse(vkey).unwrap();
    let bytes = [&key.id[..], pair.sign(text.as_bytes()).as_ref()].concat();
    format!("\u{2014} {} {}\n", key.name, STANDARD.encode(bytes))
}
