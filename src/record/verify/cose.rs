//! A COSE receipt of inclusion (RFC 9942): the log's signature over the root that the entry and its path lead to.

use coset::cbor::value::Value;
use coset::{CoseSign1, Label, RegisteredLabelWithPrivate, TaggedCborSerializable as _, iana};

use super::crypto::{leaf_hash, verifies};
use super::judge::{Judge, kid};
use super::proof::{MOST_HASHES, root_by};
use super::proof_file::judge_entry;
use super::receipts::Parties;
use super::signing::Signing;
use super::{Options, Report, VerifyError, trusted_key_of};

/// The header parameter that names the verifiable data structure.
const STRUCTURE: i64 = 395;
/// The tree of RFC 9162 over SHA-256.
const RFC9162_SHA256: i64 = 1;
/// The header parameter that holds its proofs.
const PROOFS: i64 = 396;
/// Proofs of inclusion among them.
const INCLUSION: i64 = -1;

/// Whether bytes begin as a tagged COSE_Sign1 does.
pub fn is_cose(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0xD2)
}

/// What a receipt says.
struct Receipt {
    size: u64,
    index: u64,
    path: Vec<[u8; 32]>,
}

/// Verifies a receipt for an entry. The log's key comes from `options.key`.
///
/// # Errors
/// [`VerifyError`] when it is no such receipt, or no key was given.
pub fn verify_cose(name: &str, file: &[u8], entry: &[u8], options: &Options<'_>) -> Result<Report, VerifyError> {
    let form = |what| VerifyError::Form { name: name.to_owned(), what };
    let signed = CoseSign1::from_tagged_slice(file).map_err(|_| form("it is not a COSE_Sign1"))?;
    // One receipt has one spelling: bytes that say the same in another way were touched by somebody.
    if signed.clone().to_tagged_vec().ok().as_deref() != Some(file) {
        return Err(form("it is not spelt as a receipt is"));
    }
    let receipt = read(&signed).ok_or_else(|| form("it is not a receipt of inclusion in a tree of RFC 9162"))?;
    let (key, vkey) = trusted_key_of(options.key.ok_or_else(|| VerifyError::NoKey(name.to_owned()))?)?;
    let keys = Signing::one(key.clone());
    let mut report = Report::new(&key.name, &vkey);
    (report.entries, report.checkpointed) = (1, receipt.size);
    report.check("inclusion", 1, "the entry and its path lead to the root that the log's key signed", |findings| {
        let root = root_by(receipt.index, &leaf_hash(entry), receipt.size, &receipt.path);
        let holds =
            root.is_some_and(|root| verifies(&key.public, &signed.tbs_detached_data(&root, b""), &signed.signature));
        if !holds {
            let what = format!("this entry does not stand at {} of what the key signed", receipt.index);
            findings.add(Some(receipt.index), what);
        }
        if signed.protected.header.key_id != kid(&key.public).as_bytes() {
            findings.add(None, "the receipt names another key".into());
        }
    });
    let nobody = Parties::default();
    let parties = options.parties.unwrap_or(&nobody);
    let judge = Judge { keys: &keys, parties, signatures: options.signatures, stories: false };
    judge_entry(&judge, receipt.index, entry, &mut report);
    report.not_checked.push("that the log shows everybody this tree: a receipt has no witnesses".into());
    report.not_checked.push("the size of the tree: what is signed is its root".into());
    report.not_checked.push("the rest of the log: this is about one entry".into());
    Ok(report)
}

/// Reads the headers; `None` when they are not those of a receipt with one proof of inclusion.
fn read(signed: &CoseSign1) -> Option<Receipt> {
    let protected = &signed.protected.header;
    let eddsa = RegisteredLabelWithPrivate::Assigned(iana::Algorithm::EdDSA);
    let structure = find(&protected.rest, STRUCTURE)?.as_integer()?;
    if protected.alg.as_ref() != Some(&eddsa) || i128::from(structure) != i128::from(RFC9162_SHA256) {
        return None;
    }
    // A parameter that must be understood and is not one of these makes it something else.
    if !protected.crit.is_empty() || signed.payload.is_some() {
        return None;
    }
    let proofs = find(&signed.unprotected.rest, PROOFS)?.as_map()?;
    let is_inclusion = |label: &Value| label.as_integer().map(i128::from) == Some(i128::from(INCLUSION));
    let (_, proofs) = proofs.iter().find(|(label, _)| is_inclusion(label))?;
    let [proof] = proofs.as_array()?.as_slice() else { return None };
    let proof: Value = coset::cbor::de::from_reader(proof.as_bytes()?.as_slice()).ok()?;
    let [size, index, path] = proof.as_array()?.as_slice() else { return None };
    let number = |value: &Value| u64::try_from(value.as_integer()?).ok();
    let hash = |value: &Value| value.as_bytes()?.as_slice().try_into().ok();
    let path = path.as_array()?.iter().take(MOST_HASHES + 1).map(hash).collect::<Option<_>>()?;
    Some(Receipt { size: number(size)?, index: number(index)?, path })
}

fn find(rest: &[(Label, Value)], label: i64) -> Option<&Value> {
    rest.iter().find(|(name, _)| *name == Label::Int(label)).map(|(_, value)| value)
}
