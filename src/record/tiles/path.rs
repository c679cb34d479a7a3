//! Where a tile or a bundle lies: `tile/0/x001/067.p/5`, `tile/entries/x001/067`.

use super::FULL;

/// The path element of bundles, where tiles have their level.
const ENTRIES: &str = "entries";
/// The highest level that the format knows.
const MAX_LEVEL: u8 = 63;

/// One tile of hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// Its level, 0 to 63: at 0 there are leaves.
    pub level: u8,
    /// Its place in the level.
    pub index: u64,
    /// Its hashes, 1 to 256: fewer than 256 in a partial tile.
    pub width: u16,
}

/// One bundle of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleId {
    /// Its place: its first entry has 256 times this index.
    pub index: u64,
    /// Its entries, 1 to 256: fewer than 256 in a partial bundle.
    pub width: u16,
}

impl TileId {
    /// Its path below the log's prefix or directory.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, place(self.index, self.width))
    }

    /// Reads a path; `None` when it is not the one spelling of a tile's.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = number(level).and_then(|level| u8::try_from(level).ok()).filter(|level| *level <= MAX_LEVEL)?;
        let (index, width) = parse_place(rest)?;
        Some(Self { level, index, width })
    }
}

impl BundleId {
    /// Its path below the log's prefix or directory.
    pub fn path(&self) -> String {
        format!("tile/{ENTRIES}/{}", place(self.index, self.width))
    }

    /// Reads a path; `None` when it is not the one spelling of a bundle's.
    pub fn parse(path: &str) -> Option<Self> {
        let (index, width) = parse_place(path.strip_prefix("tile/")?.strip_prefix(ENTRIES)?.strip_prefix('/')?)?;
        Some(Self { index, width })
    }
}

/// `x001/x234/067` or `x001/x234/067.p/8`.
fn place(index: u64, width: u16) -> String {
    let mut text = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    if width < FULL { format!("{text}.p/{width}") } else { text }
}

fn parse_place(text: &str) -> Option<(u64, u16)> {
    let (indices, width) = match text.split_once(".p/") {
        Some((indices, width)) => {
            (indices, u16::try_from(number(width)?).ok().filter(|width| (1..FULL).contains(width))?)
        }
        None => (text, FULL),
    };
    let mut index = 0_u64;
    let mut elements = indices.split('/').peekable();
    while let Some(element) = elements.next() {
        let digits = if elements.peek().is_some() { element.strip_prefix('x')? } else { element };
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    // Leading `x000` elements would be a second spelling.
    (place(index, width) == text).then_some((index, width))
}

/// A decimal number without leading zeros or a sign.
fn number(text: &str) -> Option<u64> {
    let plain =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}
