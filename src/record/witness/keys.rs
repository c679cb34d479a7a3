//! Keys of logs and of witnesses, and the key that makes us a witness.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use super::WitnessError;
use crate::record::RecordError;
use crate::record::key::{FileKey, SigningKey};
use crate::record::note::{
    Checkpoint, Cosignature, Note, NoteSignature, VerifierKey, cosignature_message, is_key_name, read_lines,
};
use crate::types::{Digest, Timestamp};

/// A key that a log signs its checkpoints with: `origin+hexkeyid+base64(0x01 || public key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey(VerifierKey);

impl LogKey {
    /// Reads it; `None` when it is no such key.
    pub fn parse(vkey: &str) -> Option<Self> {
        VerifierKey::parse(vkey, sha256).map(Self)
    }

    /// The origin of the log.
    pub fn origin(&self) -> &str {
        &self.0.name
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key that a witness cosigns with: `name+hexkeyid+base64(0x04 || public key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignerKey(VerifierKey);

impl CosignerKey {
    /// Reads it; `None` when it is no such key.
    pub fn parse(vkey: &str) -> Option<Self> {
        VerifierKey::parse_witness(vkey, sha256).map(Self)
    }

    /// The name of the witness.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the signature is this witness's over the text.
    fn signed(&self, text: &str, signature: &NoteSignature) -> bool {
        Cosignature::parse(&signature.signature).is_some_and(|cosignature| {
            let message = cosignature_message(cosignature.time, text);
            verifies(&self.0.public, message.as_bytes(), &cosignature.signature)
        })
    }
}

impl fmt::Display for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a signed checkpoint says, once its signature was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// The log's name.
    pub origin: String,
    /// Entries in the tree.
    pub size: u64,
    /// The tree's root.
    pub root: [u8; 32],
}

/// Reads a checkpoint that one of these keys signed; `None` when none did, or when a signature in the name of one of them
/// is not good.
pub fn read_signed(note: &str, keys: &[LogKey]) -> Option<SignedCheckpoint> {
    let note = Note::parse(note)?;
    let Checkpoint { origin, size, root } = Checkpoint::parse(note.text)?;
    signatures(&note, keys.iter().filter(|key| key.origin() == origin))?;
    Some(SignedCheckpoint { origin, size, root })
}

/// The signatures of the keys, all of them good and at least one.
pub(super) fn signatures<'k>(note: &Note<'_>, keys: impl Iterator<Item = &'k LogKey>) -> Option<Vec<NoteSignature>> {
    let mut found = Vec::new();
    for key in keys {
        for signature in note.signatures_by(&key.0) {
            if !verifies(&key.0.public, note.text.as_bytes(), &signature.signature) {
                return None;
            }
            found.push(signature.clone());
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Cosignatures of one witness over one checkpoint, found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignatures(Vec<NoteSignature>);

impl Cosignatures {
    /// Takes what a witness answered for the checkpoint in `note`. Lines of keys that are not its own say nothing.
    ///
    /// # Errors
    /// [`WitnessError::Unsigned`] when no line is good, or one in its name is not.
    pub fn read(note: &str, lines: &str, keys: &[CosignerKey]) -> Result<Self, WitnessError> {
        let note = Note::parse(note).ok_or(WitnessError::Malformed("the checkpoint is no signed note"))?;
        let lines = read_lines(lines).ok_or(WitnessError::Malformed("the answer is not signature lines"))?;
        let mut good = Vec::new();
        for line in lines {
            let of = keys.iter().find(|key| key.0.name == line.name && key.0.key_id == line.key_id);
            match of.map(|key| key.signed(note.text, &line)) {
                Some(true) => good.push(line),
                Some(false) => return Err(WitnessError::Unsigned),
                None => {}
            }
        }
        if good.is_empty() { Err(WitnessError::Unsigned) } else { Ok(Self(good)) }
    }

    /// The note with these cosignatures under it.
    pub fn under(&self, note: &str) -> String {
        Note::parse(note).map_or_else(|| note.to_owned(), |note| note.with(&self.0))
    }
}

/// What makes us a witness: a key of its own, under a name.
pub struct Cosigner {
    key: Arc<dyn SigningKey>,
    named: VerifierKey,
}

impl Cosigner {
    /// Cosigns with a key, wherever it lies.
    ///
    /// # Errors
    /// [`RecordError::Origin`] when the name is no key name of C2SP signed-note.
    pub fn new(name: &str, key: Arc<dyn SigningKey>) -> Result<Self, RecordError> {
        if !is_key_name(name) {
            return Err(RecordError::Origin(name.to_owned()));
        }
        Ok(Self { named: VerifierKey::of_witness(name, *key.public_key(), sha256), key })
    }

    /// Cosigns with an Ed25519 private key in PKCS#8, as DER or as PEM.
    ///
    /// # Errors
    /// As [`Cosigner::new`]; [`RecordError::Key`] when it is another key.
    pub fn from_pkcs8(name: &str, key: &[u8]) -> Result<Self, RecordError> {
        Self::new(name, Arc::new(FileKey::from_pkcs8(key)?))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.named.name
    }

    /// The key as others verify with it.
    pub fn verifier_key(&self) -> String {
        self.named.to_string()
    }

    /// Says that this is the largest consistent tree that we have seen of its log.
    pub(super) fn cosign(&self, text: &str, at: Timestamp) -> Result<NoteSignature, RecordError> {
        // A time of zero would say nothing of when; no clock that is set says it.
        let time = at.seconds().max(1);
        let signature = self.key.sign(cosignature_message(time, text).as_bytes())?;
        let signature = Cosignature { time, signature }.bytes();
        Ok(NoteSignature { name: self.named.name.clone(), key_id: self.named.key_id, signature })
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cosigner").field("key", &self.verifier_key()).finish_non_exhaustive()
    }
}

fn verifies(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    *Digest::of(bytes).as_bytes()
}
