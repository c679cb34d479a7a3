//! What a log published last, read without opening it.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use super::error::RecordError;
use super::log::Published;
use super::merkle::no_leaves;
use super::note::{Checkpoint, Note};
use super::signer::Signer;
use super::store::CHECKPOINT;

/// The largest checkpoint that a log writes.
const MOST_BYTES: u64 = 64 * 1024;

/// The last checkpoint of the log in `directory`, as it lies there. Of a log that is not there yet the empty one, signed
/// here: who has seen entries of it can say so. Nothing is written, and nothing is verified: opening the log does.
///
/// # Errors
/// [`RecordError::Io`]; [`RecordError::Corrupt`] when it is no checkpoint; [`RecordError::Foreign`] when it is another
/// log's; as [`Signer::seal`] for an empty one.
pub fn published_on_disk(directory: &Path, origin: &str, signer: &Signer) -> Result<Published, RecordError> {
    let path = directory.join(CHECKPOINT);
    let mut note = String::new();
    match File::open(&path).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut note)) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let empty = Checkpoint { origin: origin.to_owned(), size: 0, root: no_leaves() };
            return Ok(Published { size: 0, root: empty.root, note: signer.note(&empty)? });
        }
        Err(error) => return Err(RecordError::io(&path)(error)),
    }
    let checkpoint = Note::parse(&note).and_then(|note| Checkpoint::parse(note.text));
    let Checkpoint { origin: found, size, root } =
        checkpoint.ok_or_else(|| RecordError::Corrupt(format!("{CHECKPOINT} is not a checkpoint")))?;
    if found != origin {
        return Err(RecordError::Foreign(format!("{CHECKPOINT} is of {found}")));
    }
    Ok(Published { size, root, note })
}
