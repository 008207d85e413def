//! The packs of a clone that we wrote.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::Oid;

use super::error::EngineError;
use super::pack::{self, Indexed, Piece, Stream, Written};

/// So many packs of one generation are made one of the next: looking for an object in hundreds of packs takes its time.
const PER_GENERATION: usize = 16;

/// Packs of more bytes than that together are left as they are.
const MAX_CONCATENATED: u64 = 512 << 20;

/// Which of our packs hold what is not at the remote yet, and which can be made one.
pub(super) struct Packs {
    directory: PathBuf,
    unpushed: Vec<PathBuf>,
    /// What is in `unpushed`, and in which of them.
    objects: HashMap<Oid, (usize, Indexed)>,
    /// Of `unpushed`.
    unpushed_bytes: u64,
    /// Of this process, at the remote.
    generations: Vec<Vec<PathBuf>>,
}

impl Packs {
    /// `unpushed` are names of packs of an earlier process. What can't be read is left out.
    pub(super) fn new(clone: &Path, unpushed: &[String]) -> Self {
        let mut packs = Self {
            directory: clone.join("objects/pack"),
            unpushed: Vec::new(),
            objects: HashMap::new(),
            unpushed_bytes: 0,
            generations: Vec::new(),
        };
        for name in unpushed {
            let pack = packs.directory.join(name);
            if let Ok(entries) = pack::read_index(&pack) {
                packs.add(Written { pack, entries });
            }
        }
        packs
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A pack that was just written.
    pub(super) fn add(&mut self, written: Written) {
        let number = self.unpushed.len();
        self.unpushed.push(written.pack);
        self.unpushed_bytes += bytes(&written.entries);
        for entry in written.entries {
            self.objects.insert(entry.oid, (number, entry));
        }
    }

    /// Makes one of the packs with what is to be pushed where there are many: a remote that takes nothing gets one more with each
    /// round. Whether packs were removed that an open handle knows of.
    pub(super) fn merge_unpushed(&mut self) -> bool {
        if self.unpushed.len() < PER_GENERATION || self.unpushed_bytes > MAX_CONCATENATED {
            return false;
        }
        let read = |pack: PathBuf| {
            let entries = pack::read_index(&pack)?;
            Ok::<_, io::Error>(Written { pack, entries })
        };
        let whole = match pack::concatenate(&self.directory, &self.unpushed).and_then(read) {
            Ok(whole) => whole,
            Err(error) => {
                tracing::debug!(%error, "cannot make one pack of those that wait");
                return false;
            }
        };
        self.objects.clear();
        self.unpushed_bytes = 0;
        for pack in std::mem::take(&mut self.unpushed) {
            if pack != whole.pack {
                remove(&pack);
            }
        }
        self.add(whole);
        true
    }

    /// Whether it is on disk, and not at the remote.
    pub(super) fn contains(&self, oid: Oid) -> bool {
        self.objects.contains_key(&oid)
    }

    /// File names of the packs with what is not at the remote.
    pub(super) fn unpushed(&self) -> Vec<String> {
        let names = self.unpushed.iter().filter_map(|pack| pack.file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    /// Of the objects in those packs.
    pub(super) fn unpushed_bytes(&self) -> u64 {
        self.unpushed_bytes
    }

    /// Removes the packs that hold nothing of what is `needed` still to be pushed: each time our commits are made again, the last
    /// ones are of no use any more. Whether there were any.
    pub(super) fn prune(&mut self, needed: &HashSet<Oid>) -> bool {
        let mut objects: Vec<HashMap<Oid, Indexed>> = Vec::new();
        objects.resize_with(self.unpushed.len(), HashMap::new);
        for (oid, (number, entry)) in self.objects.drain() {
            objects[number].insert(oid, entry);
        }
        let packs = std::mem::take(&mut self.unpushed);
        let before = packs.len();
        self.unpushed_bytes = 0;
        for (pack, objects) in packs.into_iter().zip(objects) {
            if objects.keys().any(|oid| needed.contains(oid)) {
                let entries = objects.into_values().collect();
                self.add(Written { pack, entries });
            } else {
                remove(&pack);
            }
        }
        self.unpushed.len() < before
    }

    /// How many packs there are besides those with what is to be pushed, and their bytes.
    pub(super) fn size_of_others(&self) -> (usize, u64) {
        size(&self.others())
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, u64) {
        size(&[self.others(), self.unpushed.clone()].concat())
    }

    fn others(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(&self.directory);
        let files = files.into_iter().flatten().filter_map(Result::ok);
        files
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|e| e == "pack"))
            .filter(|path| !self.unpushed.contains(path))
            .collect()
    }

    /// Moves the packs of `directory` here, and removes all others but those with what is to be pushed.
    ///
    /// # Errors
    /// Those of the disk. No object is missing then that was there.
    pub(super) fn take_in_place_of_others(&mut self, directory: &Path) -> io::Result<()> {
        let mut taken = HashSet::new();
        for file in std::fs::read_dir(directory)? {
            let pack = file?.path();
            if pack.extension().is_none_or(|e| e != "pack") {
                continue;
            }
            let here = self.directory.join(pack.file_name().unwrap_or_default());
            std::fs::rename(&pack, &here)?;
            // Last: a pack without it is not there.
            std::fs::rename(pack.with_extension("idx"), here.with_extension("idx"))?;
            taken.insert(here);
        }
        self.generations.clear();
        for pack in self.others() {
            if !taken.contains(&pack) {
                remove(&pack);
            }
        }
        Ok(())
    }

    /// A pack of these objects. Those that are not in `unpushed` are asked for: compressed, with their header.
    ///
    /// # Errors
    /// Where a pack is not as it was written, or can't be read; and those of `encode`.
    pub(super) fn stream(
        &self,
        objects: impl Iterator<Item = Oid>,
        mut encode: impl FnMut(Oid) -> Result<Vec<u8>, EngineError>,
    ) -> Result<Stream, EngineError> {
        let unreadable =
            |error: io::Error| EngineError::reading("cannot read what was saved", &error);
        let mut wanted = HashSet::new();
        let objects: Vec<Oid> = objects.filter(|oid| wanted.insert(*oid)).collect();
        let mut files: HashMap<usize, (Arc<File>, Vec<&Indexed>)> = HashMap::new();
        let mut stream = Stream::default();
        for oid in objects {
            let saved = self.objects.get(&oid);
            let is_complete =
                |entry: &Indexed| entry.base.is_none_or(|base| wanted.contains(&base));
            let Some((number, entry)) = saved.filter(|(_, entry)| is_complete(entry)) else {
                stream.push(Piece::Bytes(encode(oid)?));
                continue;
            };
            let (file, entries) = match files.entry(*number) {
                std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    let file = File::open(&self.unpushed[*number]).map_err(unreadable)?;
                    new.insert((Arc::new(file), Vec::new()))
                }
            };
            entries.push(entry);
            stream.push(Piece::File(file.clone(), entry.range()));
        }
        // What a disk has spoilt, a server would refuse again and again, for a reason that nobody would think of.
        for (file, entries) in files.into_values() {
            pack::check(&file, entries).map_err(unreadable)?;
        }
        Ok(stream)
    }

    /// The remote has everything in `unpushed`. Whether packs were removed that an open handle knows of.
    pub(super) fn pushed(&mut self) -> bool {
        self.objects.clear();
        self.unpushed_bytes = 0;
        if self.generations.is_empty() {
            self.generations.push(Vec::new());
        }
        self.generations[0].append(&mut self.unpushed);
        let mut removed = false;
        let mut generation = 0;
        while generation < self.generations.len() {
            if self.generations[generation].len() >= PER_GENERATION {
                removed |= self.concatenate(generation);
            }
            generation += 1;
        }
        removed
    }

    fn concatenate(&mut self, generation: usize) -> bool {
        let packs = &self.generations[generation];
        let sizes = packs.iter().filter_map(|pack| std::fs::metadata(pack).ok());
        if sizes.map(|file| file.len()).sum::<u64>() > MAX_CONCATENATED {
            return false;
        }
        let whole = match pack::concatenate(&self.directory, packs) {
            Ok(whole) => whole,
            Err(error) => {
                // It is only slower: a clone of too many packs is replaced.
                tracing::debug!(%error, "cannot make one pack of several");
                return false;
            }
        };
        for pack in self.generations[generation].drain(..) {
            remove(&pack);
        }
        if self.generations.len() == generation + 1 {
            self.generations.push(Vec::new());
        }
        self.generations[generation + 1].push(whole);
        true
    }
}

fn size(packs: &[PathBuf]) -> (usize, u64) {
    let files = packs.iter().filter_map(|pack| std::fs::metadata(pack).ok());
    files.fold((0, 0), |(packs, bytes), file| {
        (packs + 1, bytes + file.len())
    })
}

fn bytes(entries: &[Indexed]) -> u64 {
    entries.iter().map(|entry| entry.length).sum()
}

/// The index first: a pack without one is not there. Best effort: it only takes room.
fn remove(pack: &Path) {
    let _ = std::fs::remove_file(pack.with_extension("idx"));
    let _ = std::fs::remove_file(pack);
}
