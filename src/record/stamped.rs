//! Checkpoints that an outside authority stamped with its time (RFC 3161): `timestamps/<size>.note` is the note as it was
//! stamped, `timestamps/<size>.tst` the token, in DER, so that other programs can check them, too. A size has 20 digits.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The directory within the log's.
pub(super) const TIMESTAMPS: &str = "timestamps";
/// What the file of a note ends with.
pub(super) const NOTE: &str = "note";
/// What the file of a token ends with.
pub(super) const TOKEN: &str = "tst";
/// What is written before it gets its name.
const ASIDE: &str = ".new";
/// Digits of a size: as many as the largest has, so that names sort as sizes do.
const DIGITS: usize = 20;

/// Keeps a timestamp of the checkpoint over `size` entries: the note first, so that whoever finds the token finds both.
///
/// # Errors
/// When the disk fails; what is there then is a note without its token, and counts for nothing.
pub fn keep_timestamp(log: &Path, size: u64, note: &str, token: &[u8]) -> io::Result<()> {
    let directory = log.join(TIMESTAMPS);
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    File::open(log)?.sync_all()?;
    for (kind, bytes) in [(NOTE, note.as_bytes()), (TOKEN, token)] {
        let aside = directory.join(ASIDE);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, directory.join(format!("{}.{kind}", stem(size))))?;
        File::open(&directory)?.sync_all()?;
    }
    Ok(())
}

/// The largest size of a log that has a timestamp, and how many have one.
///
/// # Errors
/// When the directory cannot be read.
pub fn kept_timestamps(log: &Path) -> io::Result<(Option<u64>, u64)> {
    let names = match std::fs::read_dir(log.join(TIMESTAMPS)) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, 0)),
        Err(error) => return Err(error),
    };
    let (mut largest, mut count) = (None, 0);
    for name in names {
        if let Some((size, TOKEN)) = name?.file_name().to_str().and_then(size_of_name) {
            (largest, count) = (largest.max(Some(size)), count + 1);
        }
    }
    Ok((largest, count))
}

/// What the files of a timestamp are called, without their ending.
pub(super) fn stem(size: u64) -> String {
    format!("{size:020}")
}

/// The size and the ending of a timestamp's file.
pub(super) fn size_of_name(name: &str) -> Option<(u64, &'static str)> {
    let (size, kind) = name.split_once('.')?;
    let kind = [NOTE, TOKEN].into_iter().find(|known| *known == kind)?;
    let digits = size.len() == DIGITS && size.bytes().all(|byte| byte.is_ascii_digit());
    Some((size.parse().ok().filter(|_| digits)?, kind))
}

/// Whether a file is one that was being written when the power went.
pub(super) fn is_aside(name: &str) -> bool {
    name == ASIDE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_size_and_no_other_name_is_taken() {
        for size in [0, 7, u64::MAX] {
            assert_eq!(size_of_name(&format!("{}.tst", stem(size))), Some((size, TOKEN)));
        }
        for bad in ["7.tst", "00000000000000000007.tsr", "+0000000000000000007.tst", "99999999999999999999.tst", "tst"]
        {
            assert_eq!(size_of_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_kept_is_found_and_a_note_alone_is_no_timestamp() {
        let log = tempfile::tempdir().unwrap();
        assert_eq!(kept_timestamps(log.path()).unwrap(), (None, 0));
        keep_timestamp(log.path(), 12, "note", b"token").unwrap();
        keep_timestamp(log.path(), 3, "note", b"token").unwrap();
        std::fs::write(log.path().join("timestamps").join(stem(20) + ".note"), "note").unwrap();
        assert_eq!(kept_timestamps(log.path()).unwrap(), (Some(12), 2));
        assert_eq!(std::fs::read(log.path().join("timestamps/00000000000000000012.tst")).unwrap(), b"token");
        assert!(!log.path().join("timestamps").join(ASIDE).exists());
    }
}
