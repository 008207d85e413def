//! A branch with all that was ever in it, in one reading: `git fast-export`.

use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use tests::git::Repo;

/// A commit of a branch without merges.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) id: String,
    pub(crate) author: String,
    /// Paths with their new contents; `None` for those deleted.
    pub(crate) files: Vec<(String, Option<Rc<[u8]>>)>,
}

/// A branch, oldest commit first.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) commits: Vec<Commit>,
}

// === impl History ===

impl History {
    pub(crate) fn read(repo: &Repo) -> Result<Self> {
        if repo.head().is_none() {
            return Ok(Self::default());
        }
        let stream = repo.git(&["fast-export", "--show-original-ids", "refs/heads/main"])?;
        parse(stream.as_bytes()).context("read git fast-export")
    }

    /// The files after the first so many commits.
    pub(crate) fn files_after(&self, commits: usize) -> BTreeMap<&str, &[u8]> {
        let mut files = BTreeMap::new();
        for (path, content) in self.commits.iter().take(commits).flat_map(|c| &c.files) {
            match content {
                Some(content) => files.insert(path.as_str(), content.as_ref()),
                None => files.remove(path.as_str()),
            };
        }
        files
    }

    /// The files at the tip.
    pub(crate) fn files(&self) -> BTreeMap<&str, &[u8]> {
        self.files_after(self.commits.len())
    }

    /// How many commits there are up to this one and with it.
    pub(crate) fn position(&self, id: &str) -> Option<usize> {
        self.commits
            .iter()
            .position(|c| c.id == id)
            .map(|at| at + 1)
    }
}

/// git-fast-import(1), "INPUT FORMAT", as far as fast-export makes use of it.
fn parse(mut stream: &[u8]) -> Result<History> {
    let mut blobs: BTreeMap<String, Rc<[u8]>> = BTreeMap::new();
    let mut commits: Vec<Commit> = Vec::new();
    let mut mark = String::new();
    let mut in_commit = false;
    while let Some(line) = next_line(&mut stream) {
        let line = std::str::from_utf8(line).context("a line that is not UTF-8")?;
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "blob" => in_commit = false,
            "commit" => {
                in_commit = true;
                commits.push(Commit {
                    id: String::new(),
                    author: String::new(),
                    files: Vec::new(),
                });
            }
            "mark" => rest.clone_into(&mut mark),
            "data" => {
                let length: usize = rest.parse().context("the length of data")?;
                // What reads git's output for us trims it; that can only be the end of the very last piece.
                let (data, after) = stream.split_at(length.min(stream.len()));
                stream = after;
                if !in_commit {
                    blobs.insert(std::mem::take(&mut mark), data.into());
                }
            }
            "original-oid" if in_commit => rest.clone_into(&mut last(&mut commits)?.id),
            "author" => {
                let name = rest.split(" <").next().unwrap_or_default();
                name.clone_into(&mut last(&mut commits)?.author);
            }
            "M" => {
                let mut fields = rest.splitn(3, ' ').skip(1);
                let (blob, path) = (fields.next(), fields.next());
                let content = blob.and_then(|mark| blobs.get(mark)).cloned();
                let path = path.context("a file without a path")?.to_owned();
                let content = content.with_context(|| format!("{path} has no blob"))?;
                last(&mut commits)?.files.push((path, Some(content)));
            }
            "D" => last(&mut commits)?.files.push((rest.to_owned(), None)),
            "" | "committer" | "from" | "reset" | "original-oid" | "encoding" => {}
            other => bail!("unexpected {other}"),
        }
    }
    Ok(History { commits })
}

fn next_line<'a>(stream: &mut &'a [u8]) -> Option<&'a [u8]> {
    if stream.is_empty() {
        return None;
    }
    let end = stream.iter().position(|byte| *byte == b'\n');
    let (line, rest) = stream.split_at(end.unwrap_or(stream.len()));
    *stream = rest.get(1..).unwrap_or_default();
    Some(line)
}

fn last(commits: &mut [Commit]) -> Result<&mut Commit> {
    commits.last_mut().context("a change of no commit")
}
