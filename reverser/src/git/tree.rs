//! Trees as Git stores them: looked up, changed and compared without parsing more than the folders on the way.
//!
//! A tree object is a sequence of `mode SP name NUL id`, sorted by name as if the names of directories ended in `/`
//! (gitformat-pack(5), `base_name_compare` in git's tree.c).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use bytes::Bytes;
use git2::Oid;

use super::error::EngineError;
use super::object::{self, Kind};
use super::objects::Objects;
use super::pack::Segment;
use super::path::PathError;
use super::store::Store;

/// The mode of files that we write.
const FILE_MODE: &[u8] = b"100644";
const TREE_MODE: &[u8] = b"40000";

/// One entry of a tree, within its bytes.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    mode: &'a [u8],
    pub(super) name: &'a [u8],
    id: &'a [u8],
    /// Where it begins.
    at: usize,
}

impl Entry<'_> {
    pub(super) fn oid(&self) -> Oid {
        object::oid(self.id)
    }

    fn range(&self) -> Range<usize> {
        let length = self.mode.len() + 1 + self.name.len() + 1 + self.id.len();
        self.at..self.at + length
    }

    pub(super) fn is_tree(&self) -> bool {
        matches!(self.mode, b"40000" | b"040000")
    }

    /// Neither symlink nor submodule.
    pub(super) fn is_file(&self) -> bool {
        self.mode.starts_with(b"100")
    }
}

/// Ends early at bytes that are no entry.
pub(super) fn entries(bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &bytes[at..];
        let zero = memchr::memchr(0, rest)?;
        // Behind a mode, which is short.
        let space = rest[..zero].iter().position(|byte| *byte == b' ')?;
        let entry = Entry {
            mode: &rest[..space],
            name: &rest[space + 1..zero],
            id: rest.get(zero + 1..zero + 21)?,
            at,
        };
        at += zero + 21;
        Some(entry)
    })
}

/// What is to become of one file.
#[derive(Clone, Copy)]
pub(super) enum Edit<'a> {
    /// A new blob, not yet written.
    Write {
        oid: Oid,
        content: &'a [u8],
    },
    /// A blob that is there already.
    Put(Oid),
    Remove,
}

impl Edit<'_> {
    fn oid(&self) -> Option<Oid> {
        match self {
            Self::Write { oid, .. } | Self::Put(oid) => Some(*oid),
            Self::Remove => None,
        }
    }
}

/// Edits by folder.
#[derive(Default)]
pub(super) struct Edits<'a> {
    by_name: BTreeMap<&'a [u8], Node<'a>>,
}

/// Edits of one name, as a file and as a folder. At most one of them writes.
#[derive(Default)]
struct Node<'a> {
    file: Option<Edit<'a>>,
    folder: Edits<'a>,
}

impl Node<'_> {
    fn writes_file(&self) -> bool {
        self.file.is_some_and(|edit| edit.oid().is_some())
    }

    fn writes_below(&self) -> bool {
        let mut nodes = self.folder.by_name.values();
        nodes.any(|node| node.writes_file() || node.writes_below())
    }
}

/// What edits came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) written: usize,
    pub(super) deleted: usize,
    pub(super) bytes: usize,
}

impl<'a> Edits<'a> {
    /// # Errors
    /// Where a file is written that another write needs as a folder, or a file is changed twice. A removal yields to a write.
    pub(super) fn add(&mut self, path: &'a [u8], edit: Edit<'a>) -> Result<(), PathError> {
        let conflict = || PathError::Conflict(String::from_utf8_lossy(path).into_owned());
        let writes = edit.oid().is_some();
        let mut folder = self;
        let mut rest = path;
        while let Some(slash) = rest.iter().position(|byte| *byte == b'/') {
            let node = folder.by_name.entry(&rest[..slash]).or_default();
            if writes && node.writes_file() {
                return Err(conflict());
            }
            folder = &mut node.folder;
            rest = &rest[slash + 1..];
        }
        let node = folder.by_name.entry(rest).or_default();
        if node.file.is_some() || (writes && node.writes_below()) {
            return Err(conflict());
        }
        node.file = Some(edit);
        Ok(())
    }

    /// The tree that `base` becomes: `base` itself where nothing changes, `None` where nothing is left.
    ///
    /// What is not named stays byte for byte. A symlink, submodule or file where a folder is needed, and anything where our
    /// file goes, is replaced; nothing is ever followed. Removing takes away what is not a folder at that very path, and leaves no empty folder.
    pub(super) fn apply(
        &self,
        objects: &mut Objects<'_>,
        base: Option<Oid>,
        applied: &mut Applied,
    ) -> Result<Option<Oid>, EngineError> {
        let bytes = match base {
            Some(oid) => objects.read_tree(oid)?,
            None => Bytes::new(),
        };
        let mut splice = Splice::default();
        let mut met = HashSet::with_capacity(self.by_name.len());
        for entry in entries(&bytes) {
            splice.end = entry.range().end;
            match self.by_name.get(entry.name) {
                None => {}
                // Twice in a tree: somebody's mistake, which ends here.
                Some(_) if !met.insert(entry.name) => splice.remove(&entry),
                Some(node) => node.apply(objects, &entry, &mut splice, applied)?,
            }
        }
        for (name, node) in &self.by_name {
            if !met.contains(name) {
                node.create(objects, name, None, &mut splice, applied)?;
            }
        }
        if splice.is_empty() {
            return Ok(base);
        }
        let segments = splice.into_segments(&bytes);
        if segments.is_empty() {
            return Ok(None);
        }
        Ok(Some(objects.write_tree(base, &bytes, &segments)))
    }
}

impl Node<'_> {
    /// On what stands there.
    fn apply(
        &self,
        objects: &mut Objects<'_>,
        entry: &Entry<'_>,
        splice: &mut Splice,
        applied: &mut Applied,
    ) -> Result<(), EngineError> {
        let removes = matches!(self.file, Some(Edit::Remove));
        if self.writes_file() {
            if entry.is_file() && self.file.and_then(|edit| edit.oid()) == Some(entry.oid()) {
                return Ok(());
            }
            return self.create(objects, entry.name, Some(entry), splice, applied);
        }
        if entry.is_tree() {
            let before = entry.oid();
            match self.folder.apply(objects, Some(before), applied)? {
                Some(oid) if oid == before => {}
                Some(oid) => splice.put(entry.name, TREE_MODE, oid, Some(entry)),
                None => splice.remove(entry),
            }
            return Ok(());
        }
        if removes {
            applied.deleted += 1;
        }
        if self.writes_below() {
            return self.create(objects, entry.name, Some(entry), splice, applied);
        }
        if removes {
            splice.remove(entry);
        }
        Ok(())
    }

    /// On nothing, or in place of whatever is there.
    fn create(
        &self,
        objects: &mut Objects<'_>,
        name: &[u8],
        instead_of: Option<&Entry<'_>>,
        splice: &mut Splice,
        applied: &mut Applied,
    ) -> Result<(), EngineError> {
        let put = match self.file {
            Some(Edit::Write { oid, content }) => {
                applied.bytes += content.len();
                objects.write(oid, Kind::Blob, content);
                Some(oid)
            }
            Some(Edit::Put(oid)) => {
                objects.put(oid);
                Some(oid)
            }
            Some(Edit::Remove) | None => None,
        };
        if let Some(oid) = put {
            applied.written += 1;
            splice.put(name, FILE_MODE, oid, instead_of);
        } else if let Some(oid) = self.folder.apply(objects, None, applied)? {
            splice.put(name, TREE_MODE, oid, instead_of);
        }
        Ok(())
    }
}

/// What becomes of the bytes of a tree.
#[derive(Default)]
struct Splice {
    /// Where each entry that goes was, and what comes there instead, by its sort key.
    replaced: Vec<(Range<usize>, Vec<u8>, Vec<u8>)>,
    /// By sort key: where they go is looked for at the end.
    added: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of the last entry.
    end: usize,
}

impl Splice {
    fn remove(&mut self, entry: &Entry<'_>) {
        self.replaced.push((entry.range(), Vec::new(), Vec::new()));
    }

    fn put(&mut self, name: &[u8], mode: &[u8], oid: Oid, instead_of: Option<&Entry<'_>>) {
        let raw = [mode, b" ", name, b"\0", oid.as_bytes()].concat();
        let key = sort_key(name, mode == TREE_MODE);
        match instead_of {
            // Sorted as that one was.
            Some(entry) if entry.is_tree() == (mode == TREE_MODE) => {
                self.replaced.push((entry.range(), key, raw));
            }
            Some(entry) => {
                self.remove(entry);
                self.added.insert(key, raw);
            }
            None => drop(self.added.insert(key, raw)),
        }
    }

    fn is_empty(&self) -> bool {
        self.replaced.is_empty() && self.added.is_empty()
    }

    /// What is kept of `bytes` and what is new, in the order of the new tree.
    fn into_segments(mut self, bytes: &[u8]) -> Vec<Segment> {
        let mut added = self.added.into_iter().peekable();
        if added.peek().is_some() {
            for entry in entries(bytes) {
                while let Some((key, raw)) = added.next_if(|(key, _)| goes_before(key, &entry)) {
                    self.replaced.push((entry.at..entry.at, key, raw));
                }
            }
        }
        self.replaced
            .extend(added.map(|(key, raw)| (self.end..self.end, key, raw)));
        self.replaced
            .sort_unstable_by(|(one, key, _), (other, others, _)| {
                (one.start, key).cmp(&(other.start, others))
            });
        let mut segments = Vec::with_capacity(2 * self.replaced.len() + 1);
        let mut kept = 0;
        for (range, _, raw) in self.replaced {
            if kept < range.start {
                segments.push(Segment::Kept(kept..range.start));
            }
            if !raw.is_empty() {
                segments.push(Segment::New(raw));
            }
            kept = kept.max(range.end);
        }
        if kept < self.end {
            segments.push(Segment::Kept(kept..self.end));
        }
        segments
    }
}

fn sort_key(name: &[u8], is_tree: bool) -> Vec<u8> {
    let mut key = name.to_vec();
    if is_tree {
        key.push(b'/');
    }
    key
}

fn goes_before(key: &[u8], entry: &Entry<'_>) -> bool {
    let (common, rest) = key.split_at(key.len().min(entry.name.len()));
    let slash: &[u8] = if entry.is_tree() { b"/" } else { b"" };
    match common.cmp(&entry.name[..common.len()]) {
        Ordering::Equal => {
            let of_entry = entry.name[common.len()..].iter().chain(slash);
            rest.iter().lt(of_entry)
        }
        unequal => unequal.is_lt(),
    }
}

/// A file's path and its new blob, `None` where it was removed.
pub(super) type FileChange = (Vec<u8>, Option<Oid>);

/// How one tree differs from another.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Whatever is not a folder counts as a file.
    pub(super) files: Vec<FileChange>,
    /// Folders of the new tree, itself among them.
    pub(super) trees: Vec<Oid>,
}

/// How `new` differs from `old`: visits only folders that do.
pub(super) fn compare(
    store: &Store,
    old: Option<Oid>,
    new: Option<Oid>,
) -> Result<Difference, EngineError> {
    let mut difference = Difference::default();
    let mut pending = vec![(old, new, Vec::new())];
    while let Some((old, new, prefix)) = pending.pop() {
        if old == new {
            continue;
        }
        difference.trees.extend(new);
        let read = |oid: Option<Oid>| oid.map_or(Ok(Bytes::new()), |oid| store.read_tree(oid));
        let (old, new) = (read(old)?, read(new)?);
        let olds: BTreeMap<&[u8], Entry<'_>> = entries(&old).map(|e| (e.name, e)).collect();
        let news: BTreeMap<&[u8], Entry<'_>> = entries(&new).map(|e| (e.name, e)).collect();
        let names: BTreeSet<&[u8]> = olds.keys().chain(news.keys()).copied().collect();
        for name in names {
            let path = [&prefix, name].concat();
            let tree = |entry: &Entry<'_>| entry.is_tree().then(|| entry.oid());
            match (olds.get(name), news.get(name)) {
                (Some(was), Some(is)) if was.id == is.id && was.mode == is.mode => {}
                (Some(was), None) if !was.is_tree() => difference.files.push((path, None)),
                (_, Some(is)) if !is.is_tree() => difference.files.push((path, Some(is.oid()))),
                (was, is) => {
                    let below = [&path[..], b"/"].concat();
                    pending.push((was.and_then(tree), is.and_then(tree), below));
                }
            }
        }
    }
    Ok(difference)
}
