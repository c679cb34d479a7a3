//! Directories of this user alone: what is found in them is run, or decides what may be played back.

use std::io;
use std::path::Path;

/// Makes the directory, and those above it, if it is not there. In any case it is this user's alone.
///
/// # Errors
/// When it cannot be made, is no directory, belongs to somebody else, or others may read it or write to it.
#[cfg(unix)]
pub fn private_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};

    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let found = std::fs::metadata(directory)?;
    let owner = rustix::process::geteuid().as_raw();
    if found.uid() != owner || found.mode() & 0o077 != 0 {
        let why = "what is in it is trusted, so it must be this user's alone: chown it and chmod 700 it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

/// Makes the directory, and those above it, if it is not there.
///
/// # Errors
/// When it cannot be made.
#[cfg(not(unix))]
pub fn private_directory(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_that_others_reach_is_none_of_ours() {
        let above = tempfile::tempdir().unwrap();
        let place = above.path().join("a/b");
        private_directory(&place).unwrap();
        private_directory(&place).unwrap();
        for mode in [0o710, 0o701, 0o720, 0o777] {
            std::fs::set_permissions(&place, Permissions::from_mode(mode)).unwrap();
            let refused = private_directory(&place).unwrap_err();
            assert!(refused.to_string().contains("chmod 700"), "{mode:o}: {refused}");
        }
        std::fs::set_permissions(&place, Permissions::from_mode(0o700)).unwrap();
        private_directory(&place).unwrap();
        std::fs::write(above.path().join("file"), "").unwrap();
        assert!(private_directory(&above.path().join("file")).is_err());
    }
}
