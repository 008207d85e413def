//! How to log in to Git: the keys of a Secret, from files and from the environment.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::error::SnapshotError;
use crate::git::{Credentials, RepoUrl, Scheme};

/// Variables, and the keys that they stand for. They win over files.
const VARIABLES: [(&str, &str); 3] = [
    ("GITOPS_REVERSER_GIT_USERNAME", "username"),
    ("GITOPS_REVERSER_GIT_PASSWORD", "password"),
    ("GITOPS_REVERSER_GIT_BEARER_TOKEN", "bearerToken"),
];

/// As much as a Secret can hold.
const MAX_BYTES: u64 = 1 << 20;

/// What there is for this URL; none where nothing was given for a URL that may do without.
pub(super) fn read(
    directory: Option<&Path>,
    variable: impl Fn(&str) -> Option<String>,
    url: &RepoUrl,
) -> Result<Credentials, SnapshotError> {
    let mut data = match directory {
        Some(path) => read_directory(path).map_err(|source| {
            let path = path.to_owned();
            SnapshotError::CredentialsDirectory { path, source }
        })?,
        None => BTreeMap::new(),
    };
    for (name, key) in VARIABLES {
        if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
            data.insert(key.to_owned(), value.into_bytes());
        }
    }
    if data.is_empty() && url.scheme() != Scheme::Ssh {
        return Ok(Credentials::none());
    }
    Ok(Credentials::from_secret(url, &data)?)
}

/// A file for each key, as a mounted Secret looks: there a key is a link into a hidden folder.
fn read_directory(directory: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut data = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(key) = entry.file_name().into_string() else {
            continue;
        };
        let path = entry.path();
        let metadata = std::fs::metadata(&path)?;
        if key.starts_with("..") || !metadata.is_file() || metadata.len() > MAX_BYTES {
            continue;
        }
        data.insert(key, std::fs::read(&path)?);
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn a_mounted_secret_is_read_through_its_links() {
        let directory = tempfile::tempdir().unwrap();
        let hidden = directory.path().join("..2026");
        std::fs::create_dir(&hidden).unwrap();
        for (key, value) in [("username", "bot"), ("password", "pw\n")] {
            std::fs::write(hidden.join(key), value).unwrap();
            std::os::unix::fs::symlink(hidden.join(key), directory.path().join(key)).unwrap();
        }
        std::os::unix::fs::symlink(&hidden, directory.path().join("..data")).unwrap();
        let data = read_directory(directory.path()).unwrap();
        let keys: Vec<&str> = data.keys().map(String::as_str).collect();
        assert_eq!(keys, ["password", "username"]);
        let url = RepoUrl::parse("https://h/a").unwrap();
        assert!(read(Some(directory.path()), none, &url).is_ok());
    }

    #[test]
    fn what_is_missing_is_named() {
        let https = RepoUrl::parse("https://h/a").unwrap();
        let ssh = RepoUrl::parse("git@h:a").unwrap();
        assert!(read(None, none, &https).is_ok());
        let error = read(None, none, &ssh).unwrap_err().to_string();
        assert!(error.contains("known_hosts"), "{error}");
        let half = |name: &str| (name == "GITOPS_REVERSER_GIT_PASSWORD").then(|| "pw".to_owned());
        let error = read(None, half, &https).unwrap_err().to_string();
        assert!(
            error.contains("username") && !error.contains("pw"),
            "{error}"
        );
        let missing = read(Some(Path::new("/nonexistent")), none, &https);
        assert!(matches!(
            missing,
            Err(SnapshotError::CredentialsDirectory { .. })
        ));
    }
}
