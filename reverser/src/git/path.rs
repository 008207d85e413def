//! Which paths may be written.

/// Why a path is not written: a mistake of the caller, nothing that trying again would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing there.
    #[error("the path is empty")]
    Empty,
    /// A leading `/`, or a backslash, which is a separator on Windows.
    #[error("the path {0:?} is not relative with / between its segments")]
    NotRelative(String),
    /// `.`, `..` or nothing between two slashes.
    #[error("the path {0:?} has a segment that is empty, . or ..")]
    Dots(String),
    /// `.git` in any spelling that some file system takes for it.
    #[error("the path {0:?} has a segment that Git keeps for itself")]
    DotGit(String),
    /// Control characters, or longer than 4,096 bytes, or a segment longer than 255.
    #[error("the path {0:?} has control characters or is too long")]
    Unfit(String),
    /// Two changes of one plan can't both be: one file twice, or a file where another needs a directory.
    #[error("the path {0:?} is changed twice, or is needed as a directory")]
    Conflict(String),
}

/// Whether a path, which need not be UTF-8, is below a folder; the empty folder is the root.
pub(crate) fn is_within(path: impl AsRef<[u8]>, folder: &str) -> bool {
    let rest = path.as_ref().strip_prefix(folder.as_bytes());
    folder.is_empty() || rest.is_some_and(|rest| rest.starts_with(b"/"))
}

/// The path of what has this name in a folder; the empty folder is the root.
pub(super) fn inside(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

const MAX_PATH_BYTES: usize = 4096;
const MAX_SEGMENT_BYTES: usize = 255;

/// The same rules that Git itself has for paths in an index (`verify_path`, fsck), and somewhat stricter.
pub(crate) fn check(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.starts_with('/') || path.contains('\\') {
        return Err(PathError::NotRelative(path.to_owned()));
    }
    if path.len() > MAX_PATH_BYTES || path.chars().any(char::is_control) {
        return Err(PathError::Unfit(path.to_owned()));
    }
    for segment in path.split('/') {
        if matches!(segment, "" | "." | "..") {
            return Err(PathError::Dots(path.to_owned()));
        }
        if segment.len() > MAX_SEGMENT_BYTES {
            return Err(PathError::Unfit(path.to_owned()));
        }
        if is_dot_git(segment) {
            return Err(PathError::DotGit(path.to_owned()));
        }
    }
    Ok(())
}

/// HFS+ ignores some code points; NTFS ignores trailing dots and spaces, what follows a colon, and has short names.
fn is_dot_git(segment: &str) -> bool {
    let ignored_by_hfs = |c: &char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let plain: String = segment.chars().filter(|c| !ignored_by_hfs(c)).collect();
    let plain = plain.split(':').next().unwrap_or_default();
    let plain = plain.trim_end_matches(['.', ' ']).to_ascii_lowercase();
    plain == ".git" || plain == "git~1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_manifests_are_accepted() {
        for path in [
            "a.yaml",
            "clusters/prod/v1/configmaps/lab/app-config.yaml",
            "rbac.authorization.k8s.io/v1/clusterroles/system%3Anode.yaml",
            ".gitops-reverser",
            "x/.github/y",
            "x/..y",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_that_leave_the_tree_or_reach_git_are_refused() {
        for path in [
            "",
            "/a",
            "a//b",
            "a/",
            "./a",
            "a/../b",
            "..",
            "a\\b",
            ".git/config",
            "a/.GIT/hooks",
            "a/.git",
            ".git./x",
            ".git /x",
            "git~1/x",
            ".git::$INDEX_ALLOCATION/x",
            ".g\u{200c}it/x",
            "a\nb",
            "a\0b",
        ] {
            assert!(check(path).is_err(), "{path:?}");
        }
        assert!(check(&"a".repeat(256)).is_err());
    }
}
