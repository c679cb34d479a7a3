//! What may be done with data: ODRL's actions in the gateway's six.
//!
//! A permission is read narrowly and a prohibition widely, since a word of ODRL seldom means just one of ours.

/// The actions that a pass can name.
pub(super) const ACTIONS: [&str; 6] = ["read", "transfer", "train", "derive", "publish", "file_abroad"];

/// Actions of ours, as bits in the order of [`ACTIONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Actions(u8);

const READ: u8 = 1;
const TRANSFER: u8 = 1 << 1;
const TRAIN: u8 = 1 << 2;
const DERIVE: u8 = 1 << 3;
const PUBLISH: u8 = 1 << 4;
const FILE_ABROAD: u8 = 1 << 5;
const ALL: u8 = READ | TRANSFER | TRAIN | DERIVE | PUBLISH | FILE_ABROAD;

/// An action, what it permits, what it forbids. `odrl:transfer` is not here: it gives ownership away.
///
/// `use` permits no publication: ODRL files handing on under it, and nobody who writes `use` expects that.
const TABLE: [(&str, u8, u8); 16] = [
    ("odrl:use", READ | TRANSFER | TRAIN | DERIVE, ALL),
    ("idsc:USE", READ | TRANSFER | TRAIN | DERIVE, ALL),
    ("odrl:read", READ, ALL),
    ("idsc:READ", READ, ALL),
    ("odrl:reproduce", READ | TRANSFER, ALL & !READ),
    ("odrl:distribute", READ | TRANSFER, PUBLISH),
    ("odrl:derive", DERIVE, DERIVE | TRAIN),
    ("odrl:modify", DERIVE, DERIVE | TRAIN),
    ("odrl:aggregate", DERIVE, DERIVE),
    ("odrl:extract", DERIVE, DERIVE),
    ("tdm:mine", TRAIN, TRAIN),
    ("sekisho:read", READ, READ),
    ("sekisho:transfer", TRANSFER, TRANSFER),
    ("sekisho:train", TRAIN, TRAIN),
    ("sekisho:publish", PUBLISH, PUBLISH),
    ("sekisho:file_abroad", FILE_ABROAD, FILE_ABROAD),
];

impl Actions {
    /// What a permission of this action lets the recipient do.
    pub(super) fn permitted(name: &str) -> Option<Self> {
        TABLE.iter().find(|(known, ..)| *known == name).map(|(_, permitted, _)| Self(*permitted))
    }

    /// What a prohibition of this action takes away.
    pub(super) fn forbidden(name: &str) -> Option<Self> {
        TABLE.iter().find(|(known, ..)| *known == name).map(|(.., forbidden)| Self(*forbidden))
    }

    /// The actions that can be written, for findings.
    pub(super) fn known() -> String {
        TABLE.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn include(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether each of these is among the others.
    pub(super) fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether an action that a pass names is among them. An action that nobody knows is in none.
    pub(super) fn contain(self, action: &str) -> bool {
        ACTIONS.iter().position(|known| *known == action).is_some_and(|place| self.0 & (1 << place) != 0)
    }

    /// Their words.
    pub(super) fn words(self) -> Vec<&'static str> {
        ACTIONS.iter().copied().filter(|action| self.contain(action)).collect()
    }
}
