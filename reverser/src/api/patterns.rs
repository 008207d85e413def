//! Regular expressions and CEL rules that the schemas share.
//!
//! Expressions are RE2, as the apiserver reads them: `\s` is ASCII white space, `\p{C}` control characters and
//! those that can't be seen (zero-width, direction marks), which HFS+ ignores in file names.

/// https, http, ssh, file, or git's scp form `user@host:path`, each with a path. No query or fragment, which may hold
/// a token.
pub(super) const REPO_URL: &str = r"^((https?|ssh)://[^\s\p{C}/?#]+/+[^\s\p{C}/?#][^\s\p{C}?#]*|file:///+[^\s\p{C}/][^\s\p{C}]*|[A-Za-z0-9._][-A-Za-z0-9._]*@[-A-Za-z0-9.\[\]:]+:/*[^-/\s\p{C}][^\s\p{C}]*)$";

/// No credentials in front of the host. SSH may name a user there; http and https have no use for one.
pub(super) const REPO_URL_RULE: &str =
    "!self.matches('^https?://[^/]*@') && !self.matches('^ssh://[^/]*:[^/]*@')";

/// What `git check-ref-format --branch` accepts, as far as RE2 can say it; CEL refuses the rest.
pub(super) const BRANCH: &str = r"^[^\x00-\x20\x7f~^:?*\[\\]+$";

/// The rest of git's rules for a branch name (git-check-ref-format(1)), and `@`, which its manual refuses.
pub(super) const BRANCH_RULE: &str = "!self.startsWith('-') && !self.startsWith('/') && !self.endsWith('/') \
    && !self.endsWith('.') && !self.contains('..') && !self.contains('//') && !self.contains('@{') \
    && self != '@' && self != 'HEAD' \
    && self.split('/').all(s, !s.startsWith('.') && !s.endsWith('.lock'))";

/// [`BRANCH_RULE`] for every item of a list.
pub(super) const BRANCHES_RULE: &str = "self.all(b, !b.startsWith('-') && !b.startsWith('/') && !b.endsWith('/') \
    && !b.endsWith('.') && !b.contains('..') && !b.contains('//') && !b.contains('@{') \
    && b != '@' && b != 'HEAD' \
    && b.split('/').all(s, !s.startsWith('.') && !s.endsWith('.lock')))";

/// A relative POSIX path: no leading, trailing or double slash, and none of the characters that checkouts on Windows
/// can't hold or would read as separators.
pub(super) const BASE_FOLDER: &str = r#"^[^/\p{C}\\:*?"<>|]+(/[^/\p{C}\\:*?"<>|]+)*$"#;

/// No segment walks up, stays in place, reaches into Git's own folder (`git~1` is its short name on Windows), or ends
/// in what Windows drops. Segments stay below the 255 bytes of a file name: 63 characters of any kind are 252 at most.
pub(super) const BASE_FOLDER_RULE: &str = "self.split('/').all(s, !s.endsWith('.') && !s.startsWith(' ') && !s.endsWith(' ') \
    && s.lowerAscii() != '.git' && s.lowerAscii() != 'git~1' \
    && (s.size() <= 63 || s.matches('^[ -~]{1,250}$')))";

/// A plural resource, or `*` for what the preset holds. Kinds (`Deployment`) pass: the status says what is meant.
pub(super) const RESOURCE: &str = r"^(\*|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?)$";

/// An API group; empty for core, `*` for all.
pub(super) const API_GROUP: &str = r"^(\*|[a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$";

/// An API version; `*` for all.
pub(super) const API_VERSION: &str = r"^(\*|[a-z]([-a-z0-9]*[a-z0-9])?)$";

/// The name of a namespaced or cluster-scoped object.
pub(super) const NAME: &str = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";

/// Text of which something is left once Git has taken `<`, `>`, and white space and punctuation at its ends away.
pub(super) const COMMITTER: &str = r#"^[^<>\p{C}]*[^<>\p{C}\s.,:;"'\\][^<>\p{C}]*$"#;

/// The same for an address, which has no white space.
pub(super) const COMMITTER_EMAIL: &str = r#"^[^<>\s\p{C}]*[^<>\p{C}\s.,:;"'\\][^<>\s\p{C}]*$"#;

/// An age X25519 recipient: `age`, and 58 digits of bech32. The checksum is left to us.
pub(super) const AGE_RECIPIENT: &str = "^age1[02-9ac-hj-np-z]{58}$";

/// A key of a Secret's data.
pub(super) const DATA_KEY: &str = "^[-._a-zA-Z0-9]+$";

/// There is somebody to encrypt for.
pub(super) const ENCRYPTION_RULE: &str = "!has(self.secretPolicy) || self.secretPolicy != 'Encrypt' \
    || (has(self.encryption) && (has(self.encryption.recipientsFrom) \
    || (has(self.encryption.ageRecipients) && self.encryption.ageRecipients.size() > 0)))";
