//! Bundles as OPA ships them: a gzip-compressed tarball, unpacked in memory within limits and taken apart by nobody else.
//!
//! An archive is a stranger's. Its files never touch the disk, nothing in it is followed or run here, and what takes no
//! part in a policy is refused instead of skipped, so that what a regulator reads is all there is.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _, Write as _};
use std::path::Path;

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};

use super::{MANIFEST, MODULE, SIGNATURES, is_part};
use crate::decide::DecideError;

/// The largest archive, in bytes as it is fetched: some hundred times the reference policy.
pub const ARCHIVE_BYTES: usize = 16 * 1024 * 1024;
/// The most that an archive may unpack to, in bytes, paddings included.
pub const UNPACKED_BYTES: usize = 32 * 1024 * 1024;
/// How many bytes may come out of one that goes in. JSON and Rego reach 20; gzip can do 1,032.
pub const RATIO: usize = 100;
/// What may come out whatever went in, in bytes: padding alone, which compresses to nothing, is 10 KiB in many tools.
const RATIO_FREE_BYTES: usize = 1024 * 1024;
/// The largest file, in bytes, as in a directory.
const FILE_BYTES: usize = super::FILE_BYTES as usize;
/// The largest compiled module, in bytes: ten times the reference policy. What a core may be kept busy with while it is
/// compiled follows from it: some seconds.
pub const MODULE_BYTES: usize = 4 * 1024 * 1024;
/// The most entries, directories included.
pub const ENTRIES: usize = 2048;
/// The longest path, in bytes: what a tar header holds without extensions.
pub const PATH_BYTES: usize = 255;

/// The files of a bundle by their paths, without OPA's leading `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archive {
    files: BTreeMap<String, Vec<u8>>,
}

impl Archive {
    /// Unpacks a tarball.
    ///
    /// # Errors
    /// [`DecideError::Bundle`]: `bundle_too_large`, `bundle_unreadable`, `bundle_path_refused`, `bundle_duplicate`,
    /// `bundle_delta` or `bundle_file_refused`, naming the entry.
    pub fn unpack(bytes: &[u8]) -> Result<Self, DecideError> {
        let tarball = decompress(bytes)?;
        let mut archive = tar::Archive::new(Cursor::new(tarball.as_slice()));
        let mut files = BTreeMap::new();
        let unreadable = |error: std::io::Error| refused("bundle_unreadable", format!("the archive: {error}"));
        for (place, entry) in archive.entries().map_err(unreadable)?.enumerate() {
            let mut entry = entry.map_err(unreadable)?;
            if place >= ENTRIES {
                return Err(too_large(format!("the archive has more than {ENTRIES} entries: ship fewer files")));
            }
            let path = path_of(&entry.path_bytes(), entry.header().entry_type().is_dir())?;
            check_extensions(&mut entry, &path)?;
            match entry.header().entry_type() {
                kind if kind.is_dir() => continue,
                kind if kind.is_file() => {}
                kind => {
                    let why = format!(
                        "{path}: an entry of tar's type {:?}, neither file nor directory: links and devices have no place in a bundle",
                        char::from(kind.as_byte())
                    );
                    return Err(refused("bundle_path_refused", why));
                }
            }
            admit(&path, entry.size())?;
            // The size is bounded by now, and what is not there cannot be read.
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(unreadable)?;
            if content.len() as u64 != entry.size() {
                return Err(refused(
                    "bundle_unreadable",
                    format!("{path}: the archive ends in the middle of this file"),
                ));
            }
            if files.insert(path.clone(), content).is_some() {
                return Err(refused("bundle_duplicate", format!("{path}: stands twice in the archive: pack it once")));
            }
        }
        // The reader has taken the first of the two blocks of zeros that end a tarball.
        let read = usize::try_from(archive.into_inner().position()).unwrap_or(usize::MAX);
        let rest = tarball.get(read..).unwrap_or_default();
        if rest.len() < 512 || rest.iter().any(|byte| *byte != 0) {
            let why = "the archive has no proper end: it was cut off, or something was written behind it";
            return Err(refused("bundle_unreadable", why.to_owned()));
        }
        Ok(Self { files })
    }

    /// The files of a directory that belong into an archive: those of the policy, and texts for people.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] naming the file that cannot be read or is too large.
    pub fn of_directory(directory: &Path) -> Result<Self, DecideError> {
        let mut archive = Self::default();
        for (path, place) in super::files_of(directory)? {
            if is_part(&path) || path == MODULE || is_document(&path) {
                archive.insert(&path, super::read_file(&place, &path)?)?;
            }
        }
        Ok(archive)
    }

    /// Puts a file in, in the place of one with the same path.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] when the path or the size would be refused on unpacking.
    pub fn insert(&mut self, path: &str, content: Vec<u8>) -> Result<(), DecideError> {
        let path = path_of(path.as_bytes(), false)?;
        admit(&path, content.len() as u64)?;
        self.files.insert(path, content);
        Ok(())
    }

    /// The files, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(path, content)| (path.as_str(), content.as_slice()))
    }

    /// One file.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// Packs the files, signed or not: the same files give the same bytes, on any day and machine.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] `bundle_too_large` when nobody could unpack it.
    pub fn pack(&self) -> Result<Vec<u8>, DecideError> {
        let unwritten = |error: std::io::Error| refused("bundle_unreadable", format!("packing the archive: {error}"));
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in &self.files {
            // With a slash before it, as OPA writes it: OPA finds a module by the very name that its manifest has.
            let name = format!("/{path}");
            let mut header = tar::Header::new_ustar();
            let field = &mut header.as_old_mut().name;
            match field.get_mut(..name.len()) {
                Some(field) => field.copy_from_slice(name.as_bytes()),
                None => {
                    builder.append_pax_extensions([("path", name.as_bytes())]).map_err(unwritten)?;
                    let length = field.len();
                    field.copy_from_slice(&name.as_bytes()[..length]);
                }
            }
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            // No time, owner or name of whoever packed it.
            header.set_mtime(0);
            header.set_cksum();
            builder.append(&header, content.as_slice()).map_err(unwritten)?;
        }
        let tarball = builder.into_inner().map_err(unwritten)?;
        let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
        encoder.write_all(&tarball).map_err(unwritten)?;
        let packed = encoder.finish().map_err(unwritten)?;
        // Whoever packs it learns of the limits, not whoever fetches it.
        Self::unpack(&packed)?;
        Ok(packed)
    }
}

fn refused(code: &'static str, why: String) -> DecideError {
    DecideError::Bundle { code, why }
}

fn too_large(why: String) -> DecideError {
    refused("bundle_too_large", why)
}

/// The tarball inside one gzip member that is all there is.
fn decompress(bytes: &[u8]) -> Result<Vec<u8>, DecideError> {
    if bytes.len() > ARCHIVE_BYTES {
        return Err(too_large(format!(
            "the archive has {} bytes, and {ARCHIVE_BYTES} are the most: ship less data",
            bytes.len()
        )));
    }
    let most = UNPACKED_BYTES.min(RATIO_FREE_BYTES.max(bytes.len().saturating_mul(RATIO)));
    let mut decoder = GzDecoder::new(bytes);
    let mut tarball = Vec::new();
    let read = decoder.by_ref().take(most as u64 + 1).read_to_end(&mut tarball);
    read.map_err(|error| refused("bundle_unreadable", format!("the archive is no whole gzip file: {error}")))?;
    if tarball.len() > most {
        return Err(too_large(format!(
            "the archive unpacks to more than {most} bytes, which is too much for its {}: ship less data",
            bytes.len()
        )));
    }
    let behind = decoder.into_inner().len();
    if behind > 0 {
        // Other programs would read a second gzip member as more of the tarball.
        let why = format!("{behind} bytes stand behind the end of the archive: pack it anew");
        return Err(refused("bundle_unreadable", why));
    }
    Ok(tarball)
}

/// A path as it is listed: relative, with `/`, and the same for every program that reads it.
fn path_of(raw: &[u8], directory: bool) -> Result<String, DecideError> {
    let shown: String = String::from_utf8_lossy(raw).chars().take(PATH_BYTES).collect();
    let wrong = |why: &str| refused("bundle_path_refused", format!("{shown:?}: {why}"));
    let path = std::str::from_utf8(raw).map_err(|_| wrong("the path is no UTF-8: rename the file"))?;
    // OPA writes `/a`, and tar of a directory `./a`.
    let inside = path.strip_prefix("./").or_else(|| path.strip_prefix('/')).unwrap_or(path);
    if inside.len() > PATH_BYTES {
        return Err(wrong("the path is longer than 255 bytes: shorten it"));
    }
    if directory && matches!(inside.trim_end_matches('/'), "" | ".") {
        return Ok(".".to_owned());
    }
    let inside = if directory { inside.strip_suffix('/').unwrap_or(inside) } else { inside };
    if inside.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(wrong("a part of the path is empty, . or ..: write it plainly, below the bundle's root"));
    }
    if inside.contains(|c: char| c == '\\' || c.is_control()) {
        return Err(wrong("the path has a backslash or a control character: rename the file"));
    }
    Ok(inside.to_owned())
}

/// Refuses extended headers that change how much or which content an entry has: programs differ in heeding them.
fn check_extensions(entry: &mut tar::Entry<'_, impl std::io::Read>, path: &str) -> Result<(), DecideError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        refused("bundle_unreadable", format!("{path}: its extended header (pax) cannot be read: {error}"))
    };
    let Some(extensions) = entry.pax_extensions().map_err(|error| unreadable(&error))? else { return Ok(()) };
    for extension in extensions {
        let extension = extension.map_err(|error| unreadable(&error))?;
        let key = extension.key().map_err(|error| unreadable(&error))?;
        if matches!(key, "size" | "linkpath" | "hdrcharset") || key.starts_with("GNU.sparse") {
            let why = format!(
                "{path}: its extended header (pax) sets {key}: pack it with plain headers (tar --format=ustar)"
            );
            return Err(refused("bundle_unreadable", why));
        }
    }
    Ok(())
}

/// Whether a file may be in an archive at all, and be this large.
fn admit(path: &str, size: u64) -> Result<(), DecideError> {
    let most = if path == MODULE { MODULE_BYTES } else { FILE_BYTES };
    if size > most as u64 {
        return Err(too_large(format!("{path}: {size} bytes, and {most} are the most: ship less data")));
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    if path == "patch.json" {
        let why = format!("{path}: a delta bundle changes a policy without showing it: ship the whole policy");
        return Err(refused("bundle_delta", why));
    }
    if matches!(name, "data.yaml" | "data.yml") {
        return Err(refused(
            "bundle_file_refused",
            format!("{path}: data is read as JSON only: write it as data.json"),
        ));
    }
    // OPA would load these as Rego and as data, and here all below cases/ is examples.
    let disguised = path.starts_with("cases/") && (name == "data.json" || !name.ends_with(".json"));
    let known = path == MODULE || path == SIGNATURES || path == MANIFEST || is_part(path) || is_document(path);
    if disguised || !known {
        let why = format!(
            "{path}: no part of a policy: leave it out (a bundle has .manifest, *.rego, data.json, cases/*.json, {MODULE}, {SIGNATURES}, and may have *_test.rego, *.md, README, LICENSE and NOTICE)"
        );
        return Err(refused("bundle_file_refused", why));
    }
    Ok(())
}

/// Files for people, and tests for OPA: they may be there, and take no part.
fn is_document(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.strip_suffix(".txt").unwrap_or(name);
    matches!(stem, "README" | "LICENSE" | "LICENCE" | "NOTICE") || name.ends_with(".md") || name.ends_with("_test.rego")
}
