//! Regular expressions that the schemas share. RE2 syntax, as the apiserver reads them.

/// https, http, ssh, file, or git's scp form `user@host:path`. No white space or control characters.
pub(super) const REPO_URL: &str =
    r"^((https?|ssh)://[^\s/]+/[^\s]+|file:///[^\s]+|[A-Za-z0-9._-]+@[A-Za-z0-9.\[\]:-]+:[^\s]+)$";

/// What `git check-ref-format --branch` accepts, as far as RE2 can say it; CEL refuses the rest.
pub(super) const BRANCH: &str = r"^[^\x00-\x20\x7f~^:?*\[\\]+$";

/// The rest of git's rules for a branch name (git-check-ref-format(1)).
pub(super) const BRANCH_RULE: &str = "!self.startsWith('-') && !self.startsWith('/') && !self.endsWith('/') \
    && !self.endsWith('.') && !self.contains('..') && !self.contains('//') && !self.contains('@{') \
    && self != '@' && self != 'HEAD' \
    && self.split('/').all(s, !s.startsWith('.') && !s.endsWith('.lock'))";

/// [`BRANCH_RULE`] for every item of a list.
pub(super) const BRANCHES_RULE: &str = "self.all(b, !b.startsWith('-') && !b.startsWith('/') && !b.endsWith('/') \
    && !b.endsWith('.') && !b.contains('..') && !b.contains('//') && !b.contains('@{') \
    && b != '@' && b != 'HEAD' \
    && b.split('/').all(s, !s.startsWith('.') && !s.endsWith('.lock')))";

/// A relative POSIX path: no leading, trailing or double slash, and no control characters or
/// backslashes, which checkouts on Windows would read as separators.
pub(super) const BASE_FOLDER: &str =
    r#"^[^/\x00-\x1f\x7f\\:*?"<>|]+(/[^/\x00-\x1f\x7f\\:*?"<>|]+)*$"#;

/// No segment walks up, stays in place, or reaches into Git's own folder.
pub(super) const BASE_FOLDER_RULE: &str =
    "self.split('/').all(s, s != '.' && s != '..' && s.lowerAscii() != '.git')";

/// A plural resource, optionally with a subresource star; or everything.
pub(super) const RESOURCE: &str = r"^(\*|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?)$";

/// The name of a namespaced or cluster-scoped object.
pub(super) const NAME: &str = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";
