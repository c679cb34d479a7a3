//! No durable record, no data: signed entries in a log that no one can quietly rewrite.
//!
//! An exchange leaves two entries: a [`DecisionEntry`] that is durable before the first byte leaves, and an
//! [`OutcomeEntry`] after the last. [`Signer::seal`] turns each into a compact JWS, [`Log`] makes it durable, and
//! [`verify`] checks a log's directory afterwards for someone who trusts nobody.
//!
//! # What lies in the directory
//!
//! | file | what |
//! |---|---|
//! | `wal` | the newest entries, in order; see below |
//! | `tile/entries/...` | the entries that the checkpoint covers, 256 a file (C2SP tlog-tiles) |
//! | `tile/0/...` and up | the hashes of the Merkle tree over them, 256 a file; of a partial file only the widest stays |
//! | `checkpoint` | size and root of that tree, as a signed note (C2SP tlog-checkpoint) |
//! | `log.pub` | the key that signs it, as a C2SP vkey: `origin+hexkeyid+base64(0x01 \|\| public key)` |
//! | `keys` | every key that signed it, each with the entries that it signed; see `keys.rs` |
//! | `timestamps/...` | checkpoints that an outside authority stamped, each with its token; see `stamped.rs` |
//! | `lock` | empty; whoever writes holds an exclusive lock on it |
//!
//! # The bytes of `wal`
//!
//! Integers are big-endian. The file starts with a head:
//!
//! | bytes | what |
//! |---|---|
//! | 16 | the text `sekisho-wal`, a line feed, and the format's version as a u32 (2) |
//! | 8 | `base`: the index of its first entry |
//! | 8 | `upto`: the size of the log when the file was made, with the entries from `base` to here in it |
//! | 4 | how many permitted exchanges had no outcome then |
//! | 26 each | their ids, oldest first |
//! | 4 | `crc32c` of all before it |
//!
//! Frames follow without a gap, and after the last one zeros to the end of the file, or nothing:
//!
//! | bytes | what |
//! |---|---|
//! | 2 | `place` of the entry in its batch, 0 to 1,023 |
//! | 2 | `length` of the data, 1 to 65,535 |
//! | 8 | `index` of the entry: `base` and up |
//! | 4 | `crc32c` (Castagnoli) of the 12 bytes before it and of the data |
//! | `length` | `data`: the entry, a compact JWS |
//!
//! No frame ends with a zero byte, since an entry is text: what is written ends with the last byte that is not zero.
//! The zeros are space that the writer keeps ready, since overwriting is made durable at a fraction of what growing
//! costs. A log that was closed has none. A batch was written after everything before it was durable: the places tell
//! where it starts, and so tell damage from a batch that a crash tore.
//!
//! Once tiles under a durable checkpoint hold so many of its bytes, the file is replaced by a new one that starts with
//! the first entry that they do not hold. So opening a log costs this file and the right edge of the tree, and not all
//! of history.
//!
//! The checksum finds accidents; the signatures and the tree find intent. The tree is that of RFC 6962, section 2.1,
//! with the data of each frame as a leaf.
//!
//! # What holds
//!
//! - An index is given out only after the entry, and every entry before it, was written and synced.
//! - At most one batch is ever unsynced, so a crash harms only the last one, of which nobody was told that it stands.
//!   It may harm that one anywhere, since a disk takes sectors in any order: whole frames may follow a torn one. From
//!   the torn one on the batch is cut off. Anything that no crash explains is damage, and the log refuses to open: a
//!   torn frame that the checkpoint covers, or before a later batch, or before whole frames without a sector missing
//!   in between, or something further away than a batch reaches.
//! - What destroys the last batch as a crash would, after it was acknowledged and before a checkpoint covered it, is
//!   cut off like a crash's harm: no log can tell the two apart by itself. The checkpoint is at most a second behind.
//! - Durable entries become bundles, then tiles, then part of a checkpoint, then public, each step durable before the
//!   next. A checkpoint takes the place of the one that this writer put there last, and of no other.
//! - Without room on the disk no exchange begins, and those under way end on record: every batch goes into space that
//!   was zeroed before, and that is renewed before it is needed. With room again the log goes on by itself.
//! - Any other write that fails, and any sync, ends the log. Nothing is tried again: after a failed sync the kernel may have
//!   dropped the pages and would report success for bytes that are nowhere.
//! - A checkpoint is signed only over entries that are durable.
//!
//! Beside the log, [`InputStore`] keeps what the digests of inputs stand for, so that decisions can be made again,
//! and [`SubjectStore`] whom its commitments name, until they are forgotten.

mod ahead;
mod cosigned;
mod day;
mod edge;
mod entry;
mod error;
pub mod extract;
mod frame;
mod handover;
mod head;
mod inputs;
mod jws;
mod key;
mod key_file;
mod keys;
mod ledger;
mod log;
mod merkle;
mod note;
mod on_disk;
pub mod proof;
mod publisher;
mod queue;
mod read;
mod recover;
mod rotate;
mod shelf;
mod show;
mod signer;
mod stamped;
mod standing;
mod store;
mod subjects;
mod tail;
pub mod tiles;
pub mod verify;
pub mod witness;
mod writer;

#[cfg(test)]
mod tests;

pub use cosigned::{COSIGNED, Cosigned, CosignedFiles, end_of_lines, is_day};
pub use entry::{
    ApprovalRef, Carried, DecisionEntry, Direction, Ended, Entry, MAX_ENTRY, Means, OutcomeEntry, PassRef, PolicyRef,
    Reason, ReceiptEntry, RequestLine, SignatureRef, Signed, Verdict,
};
pub use error::RecordError;
pub use inputs::{Declaration, InputConfig, InputHealth, InputStore, Lookup, StoredInputs};
pub use key::{FileKey, SigningKey};
pub use key_file::listed_keys;
pub use log::{EntryIndex, Health, Log, LogConfig, Pending, Published};
pub use on_disk::published_on_disk;
pub use read::{Entries, ReadEntry};
pub use rotate::{Rotated, rotate_key};
pub use show::{escape_controls, show_line};
pub use signer::{Sealed, Signer};
pub use stamped::{keep_timestamp, kept_timestamps};
pub use standing::{Standing, WitnessStanding};
pub use subjects::{Forgotten, SubjectConfig, SubjectHealth, SubjectStore, Subjects};
pub use witness::WitnessError;
