//! The bytes of an entry bundle: each entry behind its length as a big-endian u16.

use super::FULL;

/// Appends one entry. The entry must have at most 65,535 bytes, as every sealed entry has.
pub fn append_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// The entries of a bundle that must have `width` of them; `None` when it has not exactly those.
pub fn split_bundle(bundle: &[u8], width: u16) -> Option<Vec<&[u8]>> {
    let mut rest = bundle;
    let mut entries = Vec::with_capacity(usize::from(width.min(FULL)));
    for _ in 0..width {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let (entry, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        rest = behind;
    }
    rest.is_empty().then_some(entries)
}

/// How many bytes the first `width` entries of a bundle take; `None` when it has fewer.
pub fn bundle_bytes(bundle: &[u8], width: u16) -> Option<usize> {
    let mut at = 0_usize;
    for _ in 0..width {
        let length = bundle.get(at..)?.first_chunk::<2>()?;
        at += 2 + usize::from(u16::from_be_bytes(*length));
    }
    (at <= bundle.len()).then_some(at)
}
