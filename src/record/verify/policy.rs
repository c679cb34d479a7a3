//! Whom to believe: the logs, the witnesses and the quorum of a policy file in C2SP's tlog-policy format.

use std::collections::HashMap;

use super::notes::{NoteKey, Role, Signed, signed_by};
use crate::record::note::Note;

/// The largest policy file.
pub const MOST_POLICY: u64 = 256 * 1024;
/// Most logs, witnesses and groups together: far above the 32 of each that the format asks for.
const MOST_NAMES: usize = 1024;
/// The quorum that asks for nobody.
const NONE: &[u8] = b"none";

/// A trust policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<NoteKey>,
    members: Vec<Member>,
    /// Which member has to have witnessed a checkpoint; nobody when the policy says `none`.
    quorum: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Witness(NoteKey),
    /// So many of these have to.
    Group(usize, Vec<usize>),
}

/// What is wrong with a policy file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the policy: {what}")]
pub struct PolicyError {
    /// The line, from one.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// What a policy's witnesses say of one checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Witnessed {
    /// Whether the quorum is met.
    pub(super) quorum: bool,
    /// Who cosigned, by the policy's name, and when.
    pub(super) by: Vec<(String, u64)>,
    /// Whose name stands under it without being theirs.
    pub(super) forged: Vec<String>,
    /// Signatures of nobody that the policy knows, the log's own left out.
    pub(super) unknown: usize,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`] at the first line that the format does not allow.
    pub fn parse(file: &[u8]) -> Result<Self, PolicyError> {
        let mut reader = Reader::default();
        let mut line = 0;
        for text in file.split(|byte| *byte == b'\n') {
            line += 1;
            reader.line(text).map_err(|what| PolicyError { line, what })?;
        }
        let Reader { logs, members, quorum, .. } = reader;
        let quorum = quorum.ok_or(PolicyError { line, what: "there is no quorum line" })?;
        Ok(Self { logs, members, quorum })
    }

    /// The logs that it lists, of which any may have signed.
    pub(super) fn logs(&self) -> &[NoteKey] {
        &self.logs
    }

    /// How many witnesses it lists.
    pub(super) fn witnesses(&self) -> usize {
        self.members.iter().filter(|member| matches!(member.kind, Kind::Witness(_))).count()
    }

    /// What its witnesses say of a checkpoint.
    pub(super) fn judge(&self, note: &Note<'_>, log: &NoteKey) -> Witnessed {
        let mut witnessed = Witnessed::default();
        let mut holds = vec![false; self.members.len()];
        let mut known = 0;
        // A group names only what stands before it.
        for (place, member) in self.members.iter().enumerate() {
            holds[place] = match &member.kind {
                Kind::Group(least, of) => of.iter().filter(|place| holds[**place]).count() >= *least,
                Kind::Witness(key) => {
                    known += claims(note, key);
                    match signed_by(note, key) {
                        Signed::Yes(time) => {
                            witnessed.by.push((member.name.clone(), time.unwrap_or_default()));
                            true
                        }
                        Signed::No => false,
                        Signed::Forged => {
                            witnessed.forged.push(member.name.clone());
                            false
                        }
                    }
                }
            };
        }
        witnessed.quorum = self.quorum.is_none_or(|place| holds[place]);
        witnessed.unknown = note.signatures.len().saturating_sub(known + claims(note, log));
        witnessed
    }
}

/// Signatures under a note that claim to be of this key.
pub(super) fn claims(note: &Note<'_>, key: &NoteKey) -> usize {
    note.signatures.iter().filter(|signature| signature.name == key.name && signature.key_id == key.id).count()
}

#[derive(Default)]
struct Reader {
    logs: Vec<NoteKey>,
    members: Vec<Member>,
    names: HashMap<Vec<u8>, usize>,
    quorum: Option<Option<usize>>,
}

impl Reader {
    fn line(&mut self, text: &[u8]) -> Result<(), &'static str> {
        if text.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7F) {
            return Err("it holds a control character");
        }
        let words: Vec<&[u8]> =
            text.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
        if self.logs.len() + self.members.len() >= MOST_NAMES {
            return Err("there are too many logs, witnesses and groups");
        }
        match *words {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", vkey] | [b"log", vkey, _] => {
                let key = read_key(vkey, Role::Log).ok_or("it holds no Ed25519 key of a log")?;
                if self.logs.iter().any(|log| log.public == key.public) {
                    return Err("this log's key is listed already");
                }
                self.logs.push(key);
                Ok(())
            }
            [b"witness", name, vkey] | [b"witness", name, vkey, _] => {
                let key = read_key(vkey, Role::Witness).ok_or("it holds no Ed25519 key of a witness")?;
                let same = |member: &Member| matches!(&member.kind, Kind::Witness(other) if other.public == key.public);
                if self.members.iter().any(same) {
                    return Err("this witness's key is listed already");
                }
                self.define(name, Kind::Witness(key))
            }
            [b"group", name, threshold, ref members @ ..] => {
                let mut places = Vec::new();
                for member in members {
                    let place = *self.names.get(*member).ok_or("it names a member that no line before defines")?;
                    if places.contains(&place) {
                        return Err("it names a member twice");
                    }
                    places.push(place);
                }
                let least = match threshold {
                    b"all" => places.len(),
                    b"any" => 1,
                    number => decimal(number).ok_or("its threshold is not all, any or a number")?,
                };
                if least == 0 || least > places.len() {
                    return Err("its threshold is not between 1 and the number of its members");
                }
                self.define(name, Kind::Group(least, places))
            }
            [b"quorum", name] => {
                if self.quorum.is_some() {
                    return Err("there is a quorum line already");
                }
                self.quorum = Some(match name {
                    NONE => None,
                    name => Some(*self.names.get(name).ok_or("it names what no line before defines")?),
                });
                Ok(())
            }
            _ => Err("it is not a log, witness, group or quorum line"),
        }
    }

    fn define(&mut self, name: &[u8], kind: Kind) -> Result<(), &'static str> {
        if name == NONE {
            return Err("none is no name for a witness or a group");
        }
        if self.names.insert(name.to_owned(), self.members.len()).is_some() {
            return Err("this name is taken already");
        }
        self.members.push(Member { name: String::from_utf8_lossy(name).into_owned(), kind });
        Ok(())
    }
}

fn read_key(vkey: &[u8], role: Role) -> Option<NoteKey> {
    NoteKey::parse(std::str::from_utf8(vkey).ok()?).filter(|key| key.role == role)
}

fn decimal(text: &[u8]) -> Option<usize> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}
