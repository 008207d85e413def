//! Objects as Git stores them: their ids, and commits as text (gitformat-commit in git's documentation of `commit-tree`).

use git2::{ObjectType, Oid, Signature};
use sha1::{Digest as _, Sha1};

/// What ids are made of, as far as we make objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Commit,
    Tree,
    Blob,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
        }
    }

    /// `None` for tags, which we don't make.
    pub(super) fn of(kind: ObjectType) -> Option<Self> {
        let all = [Self::Commit, Self::Tree, Self::Blob];
        all.into_iter().find(|ours| ours.git() == kind)
    }

    pub(super) fn git(self) -> ObjectType {
        match self {
            Self::Commit => ObjectType::Commit,
            Self::Tree => ObjectType::Tree,
            Self::Blob => ObjectType::Blob,
        }
    }
}

/// The id of an object. Three times as fast as libgit2's own, which looks for attempts at collisions; a server looks for
/// them in whatever it is sent.
pub(super) fn hash(kind: Kind, data: &[u8]) -> Oid {
    let mut sha1 = Sha1::new();
    sha1.update(format!("{} {}\0", kind.name(), data.len()));
    sha1.update(data);
    oid(&sha1.finalize())
}

/// The id of a file's content.
#[must_use]
pub fn blob_id(content: &[u8]) -> Oid {
    hash(Kind::Blob, content)
}

pub(super) fn oid(sha1: &[u8]) -> Oid {
    // Never another length than that of SHA-1.
    Oid::from_bytes(sha1).unwrap_or(Oid::ZERO_SHA1)
}

/// A commit, as far as it is made and made again here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommitText {
    pub(super) tree: Oid,
    /// The first; we make none with more.
    pub(super) parent: Option<Oid>,
    /// The further ones, of somebody's merge.
    pub(super) merged: Vec<Oid>,
    /// `name <address> seconds zone`
    pub(super) author: Vec<u8>,
    pub(super) message: Vec<u8>,
}

impl CommitText {
    /// `None` for bytes that are no commit.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
        let (mut tree, mut parent, mut merged, mut author) = (None, None, Vec::new(), None);
        for line in bytes[..end].split(|byte| *byte == b'\n') {
            let id = |hex: &[u8]| Oid::from_str(std::str::from_utf8(hex).ok()?).ok();
            if let Some(hex) = line.strip_prefix(b"tree ") {
                tree = tree.or(id(hex));
            } else if let Some(hex) = line.strip_prefix(b"parent ") {
                match parent {
                    None => parent = id(hex),
                    Some(_) => merged.extend(id(hex)),
                }
            } else if let Some(who) = line.strip_prefix(b"author ") {
                author = author.or(Some(who));
            }
        }
        Some(Self {
            tree: tree?,
            parent,
            merged,
            author: author?.to_vec(),
            message: bytes[end + 2..].to_vec(),
        })
    }

    pub(super) fn into_bytes(self, committer: &[u8]) -> Vec<u8> {
        let mut text = format!("tree {}\n", self.tree).into_bytes();
        for parent in self.parent.iter().chain(&self.merged) {
            text.extend_from_slice(format!("parent {parent}\n").as_bytes());
        }
        for (role, who) in [("author", self.author.as_slice()), ("committer", committer)] {
            text.extend_from_slice(role.as_bytes());
            text.push(b' ');
            text.extend_from_slice(who);
            text.push(b'\n');
        }
        text.push(b'\n');
        text.extend_from_slice(&self.message);
        text
    }
}

/// A commit and the signature of its bytes, which goes behind the other headers, its further lines indented
/// (gitformat-signature(5)).
pub(super) fn with_signature(commit: &[u8], armour: &str) -> Vec<u8> {
    let headers = commit.windows(2).position(|pair| pair == b"\n\n");
    let (headers, rest) = commit.split_at(headers.map_or(commit.len(), |end| end + 1));
    let header = format!("gpgsig {}\n", armour.trim_end().replace('\n', "\n "));
    [headers, header.as_bytes(), rest].concat()
}

/// As it stands in a commit, in UTC.
pub(super) fn signed(who: &Signature<'_>) -> Vec<u8> {
    let mut text = who.name_bytes().to_vec();
    text.extend_from_slice(b" <");
    text.extend_from_slice(who.email_bytes());
    text.extend_from_slice(format!("> {} +0000", who.when().seconds()).as_bytes());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_libgit2() {
        for (kind, data) in [
            (Kind::Blob, &b""[..]),
            (Kind::Blob, b"hello\n"),
            (Kind::Tree, b""),
        ] {
            assert_eq!(
                hash(kind, data),
                Oid::hash_object(kind.git(), data).unwrap()
            );
        }
    }

    #[test]
    fn commits_read_back_as_they_were_written() {
        let who = Signature::new("alice b", "a@example.com", &git2::Time::new(7, 0)).unwrap();
        let (first, second) = (blob_id(b"parent"), blob_id(b"merged"));
        for (parent, merged) in [
            (None, vec![]),
            (Some(first), vec![]),
            (Some(first), vec![second]),
        ] {
            let commit = CommitText {
                tree: blob_id(b"tree"),
                parent,
                merged,
                author: signed(&who),
                message: b"subject\n\nbody\n\ntree of lies\n".to_vec(),
            };
            let bytes = commit.clone().into_bytes(b"bot <b@example.com> 9 +0000");
            assert_eq!(CommitText::parse(&bytes).unwrap(), commit);
        }
        assert_eq!(CommitText::parse(b"tree x\n\n"), None);
    }
}
