//! Where the clone is.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::SnapshotError;
use crate::git::make_private_directory;

/// A directory that nobody else reads.
pub(super) enum WorkDir {
    /// Removed when this is dropped.
    Temporary(tempfile::TempDir),
    /// Kept, and this process's alone as long as the file is open.
    Kept { path: PathBuf, _lock: File },
}

impl WorkDir {
    pub(super) fn make(kept: Option<&Path>) -> Result<Self, SnapshotError> {
        let unusable = |path: &Path, why: String| SnapshotError::WorkDirectory {
            path: path.to_owned(),
            why,
        };
        let Some(path) = kept else {
            return tempfile::Builder::new()
                .prefix("gitops-reverser-")
                .permissions(Permissions::from_mode(0o700))
                .tempdir()
                .map(Self::Temporary)
                .map_err(|error| unusable(&std::env::temp_dir(), error.to_string()));
        };
        make_private_directory(path).map_err(|error| unusable(path, error.to_string()))?;
        let lock =
            File::create(path.join("lock")).map_err(|error| unusable(path, error.to_string()))?;
        if lock.try_lock().is_err() {
            return Err(unusable(path, "another snapshot is using it".to_owned()));
        }
        Ok(Self::Kept {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept { path, .. } => path,
        }
    }

    /// What has to go where the process ends without dropping this.
    pub(super) fn leftover(&self) -> Option<PathBuf> {
        match self {
            Self::Temporary(directory) => Some(directory.path().to_owned()),
            Self::Kept { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_snapshot_at_a_time_and_no_other_readers() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("work");
        let first = WorkDir::make(Some(&path)).unwrap();
        let second = WorkDir::make(Some(&path));
        assert!(matches!(second, Err(SnapshotError::WorkDirectory { .. })));
        drop(first);
        for directory in [
            WorkDir::make(Some(&path)).unwrap(),
            WorkDir::make(None).unwrap(),
        ] {
            let mode = std::fs::metadata(directory.path()).unwrap().permissions();
            assert_eq!(mode.mode() & 0o077, 0);
        }
        assert!(path.exists());
    }
}
