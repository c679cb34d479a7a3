//! From bytes that somebody sent to a bundle that may be tried: signature, then revision, then content.

use std::path::Path;

use super::archive::{ARCHIVE_BYTES, Archive};
use super::keys::BundleKeys;
use super::{Accepted, Bundle, BundleFile, MANIFEST, MODULE, Revision, is_part};
use crate::decide::DecideError;
use crate::types::Timestamp;

/// Whose word is taken for an archive.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// That of whoever holds one of these keys.
    Keys(&'a BundleKeys),
    /// Anybody's: for development only, whether the archive is signed or not.
    Unsigned,
}

/// What an archive has to pass.
#[derive(Debug, Clone, Copy)]
pub struct Verification<'a> {
    /// Whose word is taken.
    pub trust: Trust<'a>,
    /// The present, for signatures that expire.
    pub now: Timestamp,
    /// What was accepted last from the same source; nothing older is accepted again.
    pub last: Option<&'a Accepted>,
}

impl Bundle {
    /// The bundle in an archive (`.tar.gz`) that was fetched: signed by a trusted key, no older than the last, whole.
    ///
    /// It is still a stranger's policy: what it decides has to be tried before it is put in force.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] with the code of the first thing that does not hold.
    pub fn verified(bytes: &[u8], verification: &Verification<'_>) -> Result<Self, DecideError> {
        let archive = Archive::unpack(bytes)?;
        if let Trust::Keys(keys) = verification.trust {
            archive.verify(keys, verification.now)?;
        }
        let bundle = Self::from_archive(&archive)?;
        match verification.last {
            Some(last) => last.followed_by(&Accepted::of(&bundle))?,
            // A first revision without a place among others would make every later one unordered too.
            None => drop(Revision::parse(&bundle.identity().revision)?),
        }
        Ok(bundle)
    }

    /// The bundle at a path, to be looked at: a directory is read as [`Bundle::read`] does, and a file as an archive whose
    /// signature is not asked for. Reading is not activating.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] naming what is missing, too large or not what it should be.
    pub fn open(path: &Path) -> Result<Self, DecideError> {
        if path.is_dir() {
            return Self::read(path);
        }
        Self::from_archive(&Archive::open(path)?)
    }

    /// The bundle that an archive holds. Nothing is believed of a signature here.
    ///
    /// # Errors
    /// [`DecideError::Bundle`]: `bundle_sourceless`, `bundle_uncompiled`, `bundle_outside_roots` or `policy_unusable`.
    pub fn from_archive(archive: &Archive) -> Result<Self, DecideError> {
        let refused = |code, why: String| DecideError::Bundle { code, why };
        let mut files = Vec::new();
        for (path, content) in archive.files().filter(|(path, _)| is_part(path)) {
            let text = std::str::from_utf8(content);
            let text =
                text.map_err(|_| refused("bundle_unreadable", format!("{path}: not UTF-8: save it as UTF-8")))?;
            files.push(BundleFile { path: path.to_owned(), text: text.to_owned() });
        }
        if archive.file(MANIFEST).is_some() && !files.iter().any(|file| file.path.ends_with(".rego")) {
            let why =
                "the archive has no .rego file: a policy that nobody can read is not taken, so pack its source with it";
            return Err(refused("bundle_sourceless", why.to_owned()));
        }
        let module = archive.file(MODULE);
        let bundle = Self::new(files, module.map(<[u8]>::to_vec))?;
        // Without a module, the interpreter would run a stranger's source in this process, and it is no sandbox.
        let manifest = bundle.manifest();
        let listed = manifest.entrypoint_module().filter(|listed| listed.module.trim_start_matches('/') == MODULE);
        let entrypoint = bundle.entrypoint();
        let why = match (module, listed) {
            (Some(_), Some(_)) => return Ok(bundle),
            (None, _) => format!("{MODULE}: the archive holds no compiled policy"),
            (Some(_), None) => format!(".manifest: wasm does not list /{MODULE} for the entrypoint {entrypoint}"),
        };
        Err(refused("bundle_uncompiled", format!("{why}: build it with `sekisho policy build DIR --out FILE`")))
    }
}

impl Archive {
    /// Unpacks the archive in a file, of which no more is read than an archive may have.
    ///
    /// # Errors
    /// As [`Archive::unpack`], and `policy_unusable` when the file cannot be read.
    pub fn open(path: &Path) -> Result<Self, DecideError> {
        let bytes = super::read_up_to(path, ARCHIVE_BYTES as u64 + 1)?;
        Self::unpack(&bytes)
    }
}
