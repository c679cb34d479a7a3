//! Where tiles come from: a log's directory, or anything else that has them by path.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{BundleId, FULL, HASH, MAX_BUNDLE, TileId, bundle_bytes};

/// The most bytes that one of the other files may have to be read as a whole.
const MAX_OTHER: u64 = 16 * 1024 * 1024;

/// Gives files of a log by their path below its prefix.
pub trait TileSource {
    /// The bytes of a tile, a bundle, or one of the log's other files, such as `checkpoint`.
    ///
    /// # Errors
    /// `NotFound` when there is none, `InvalidData` when it is not what its name says, and whatever reading gives.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
}

/// A log's directory, read without its lock: a writer may be at work in it.
///
/// The log keeps only the widest of each partial tile and bundle. An older checkpoint needs a narrower one: it is cut
/// from a wider one here. Nothing outside the directory can be named, and of what is in it only what the log shows.
#[derive(Debug, Clone)]
pub struct LogDirectory(PathBuf);

impl LogDirectory {
    /// The log in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file that is as wide as it is wanted or wider: the wanted one, the full one, or the widest partial one.
    fn widest(&self, wanted: &str, full: &str, width: u16, limit: usize) -> io::Result<Vec<u8>> {
        // The writer puts a wider one in place before it removes a narrower one, so who looks again finds it.
        for _ in 0..3 {
            for path in [wanted, full] {
                match read(&self.0.join(path), limit as u64) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    other => return other,
                }
            }
            let partials = self.0.join(format!("{full}.p"));
            let Some(wider) = widest_in(&partials)?.filter(|wider| *wider >= width) else { continue };
            match read(&partials.join(wider.to_string()), limit as u64) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, format!("{wanted} is not in the log")))
    }
}

impl TileSource for LogDirectory {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        if let Some(tile) = TileId::parse(path) {
            let full = TileId { width: FULL, ..tile }.path();
            let mut bytes = self.widest(path, &full, tile.width, usize::from(FULL) * HASH)?;
            let length = usize::from(tile.width) * HASH;
            if bytes.len() < length || bytes.len() % HASH != 0 {
                return Err(not_what_it_says(path));
            }
            bytes.truncate(length);
            Ok(bytes)
        } else if let Some(bundle) = BundleId::parse(path) {
            let full = BundleId { width: FULL, ..bundle }.path();
            let mut bytes = self.widest(path, &full, bundle.width, MAX_BUNDLE)?;
            let length = bundle_bytes(&bytes, bundle.width).ok_or_else(|| not_what_it_says(path))?;
            bytes.truncate(length);
            Ok(bytes)
        } else if is_shown(path) {
            read(&self.0.join(path), MAX_OTHER)
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, format!("{path:?} is no path of a log")))
        }
    }
}

/// Whether a path names a file of the log, other than tiles, that it shows to others.
fn is_shown(path: &str) -> bool {
    let plain = |name: &str| {
        !name.starts_with('.')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    match path.split_once('/') {
        None => matches!(path, "checkpoint" | "keys" | "log.pub"),
        Some(("cosigned" | "timestamps", name)) => !name.is_empty() && plain(name),
        Some(_) => false,
    }
}

/// The largest width that a directory of partial ones holds.
fn widest_in(directory: &Path) -> io::Result<Option<u16>> {
    let names = match std::fs::read_dir(directory) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut widest = None;
    for name in names {
        let width = name?.file_name().to_str().and_then(|name| name.parse::<u16>().ok());
        widest = widest.max(width.filter(|width| (1..FULL).contains(width)));
    }
    Ok(widest)
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is too long", path.display())));
    }
    Ok(bytes)
}

fn not_what_it_says(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not what its name says"))
}
