//! History as the real git tells it.

use std::path::Path;

use anyhow::{Context, Result};

use super::cli::{git, output, output_of};
use super::repo::fields;

/// NUL ends each field: nothing else is kept out of names and messages by Git itself.
const FORMAT: &str = "--format=%H%x00%P%x00%T%x00%an%x00%ae%x00%cn%x00%ce%x00%at%x00%ct%x00%s%x00%b%x00%(trailers:only=true,unfold=true)";

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its object id in hex.
    pub hash: String,
    /// Its parents' ids.
    pub parents: Vec<String>,
    /// Its tree's id.
    pub tree: String,
    /// The author's name.
    pub author_name: String,
    /// The author's e-mail address.
    pub author_email: String,
    /// The committer's name.
    pub committer_name: String,
    /// The committer's e-mail address.
    pub committer_email: String,
    /// When it was written, in seconds since 1970.
    pub author_time: i64,
    /// When it was committed, in seconds since 1970.
    pub commit_time: i64,
    /// The first paragraph on one line.
    pub subject: String,
    /// All after the subject, trailers included.
    pub body: String,
    /// The trailers as git parses them, in their order. A key may come more than once.
    pub trailers: Vec<(String, String)>,
    /// What differs from the first parent, or from nothing for a root commit.
    pub files: Vec<FileChange>,
}

/// One path that a commit touched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileChange {
    /// The path from the root of the repository.
    pub path: String,
    /// `A`dded, `M`odified, `D`eleted, or `T`ype changed, as `git diff-tree` says. Renames are a `D` and an `A`.
    pub status: char,
}

// === impl Commit ===

impl Commit {
    /// The first trailer of this key.
    #[must_use]
    pub fn trailer(&self, key: &str) -> Option<&str> {
        self.trailers
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// The paths that it touched.
    #[must_use]
    pub fn paths(&self) -> Vec<&str> {
        self.files.iter().map(|file| file.path.as_str()).collect()
    }

    /// `Name <e-mail>`.
    #[must_use]
    pub fn author(&self) -> String {
        format!("{} <{}>", self.author_name, self.author_email)
    }
}

/// All commits that a tip reaches, oldest first.
pub(super) fn read(repository: &Path, tip: &str) -> Result<Vec<Commit>> {
    let metadata = output(
        git(repository)
            .args(["-c", "i18n.logOutputEncoding=UTF-8"])
            .args(["log", "-z", "--reverse", "--topo-order", FORMAT, tip]),
    )?;
    let mut commits = parse(&fields(&metadata))?;
    let hashes: String = commits
        .iter()
        .map(|commit| format!("{}\n", commit.hash))
        .collect();
    let changes = output_of(
        git(repository).args([
            "diff-tree",
            "--stdin",
            "-z",
            "-r",
            "--root",
            "-m",
            "--first-parent",
            "--no-renames",
            "--name-status",
        ]),
        hashes.as_bytes(),
    )?;
    add_files(&mut commits, &fields(&changes))?;
    Ok(commits)
}

fn parse(fields: &[String]) -> Result<Vec<Commit>> {
    fields
        .chunks(12)
        .map(|fields| {
            let [
                hash,
                parents,
                tree,
                author_name,
                author_email,
                committer_name,
                committer_email,
                author,
                commit,
                rest @ ..,
            ] = fields
            else {
                anyhow::bail!("git log gave {} fields: {fields:?}", fields.len());
            };
            let [subject, body, trailers] = rest else {
                anyhow::bail!("git log gave {} fields: {fields:?}", fields.len());
            };
            Ok(Commit {
                hash: hash.clone(),
                parents: parents.split_whitespace().map(str::to_owned).collect(),
                tree: tree.clone(),
                author_name: author_name.clone(),
                author_email: author_email.clone(),
                committer_name: committer_name.clone(),
                committer_email: committer_email.clone(),
                author_time: author.parse().context("the author's time")?,
                commit_time: commit.parse().context("the committer's time")?,
                subject: subject.clone(),
                body: body.clone(),
                trailers: trailers
                    .lines()
                    .filter_map(|line| line.split_once(": "))
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect(),
                files: Vec::new(),
            })
        })
        .collect()
}

/// `diff-tree --stdin` names each commit that changed something, then status and path of each change.
fn add_files(commits: &mut [Commit], fields: &[String]) -> Result<()> {
    let mut commits = commits.iter_mut();
    let mut current: Option<&mut Commit> = None;
    let mut fields = fields.iter();
    while let Some(field) = fields.next() {
        if field.len() == 1 {
            let path = fields.next().context("a status without a path")?.clone();
            let status = field.chars().next().context("an empty status")?;
            current
                .as_mut()
                .context("a change of no commit")?
                .files
                .push(FileChange { path, status });
        } else {
            let hash = field.split_whitespace().next().unwrap_or_default();
            current = Some(
                commits
                    .find(|commit| commit.hash == hash)
                    .with_context(|| format!("an unknown commit {field}"))?,
            );
        }
    }
    Ok(())
}
