//! A pack in memory, to which objects are added.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::Path;

use git2::Oid;

use super::delta::Delta;
use super::entry::{Encoder, read_whole};
use super::file::{self, Indexed, Written};
use crate::git::object::Kind;

/// How long a chain of differences may get: the same as git's own `pack.depth`.
const MAX_DEPTH: u8 = 50;

/// New objects, compressed, in the order in which they were made.
#[derive(Default)]
pub(in crate::git) struct Draft {
    encoder: Encoder,
    body: Vec<u8>,
    entries: Vec<Entry>,
    numbers: HashMap<Oid, usize>,
}

struct Entry {
    oid: Oid,
    /// In `body`.
    at: Range<usize>,
    base: Option<Oid>,
    depth: u8,
}

impl Draft {
    /// Adds an object, unless it is there. Where it was made of another one that is in this pack too, only the difference.
    pub(in crate::git) fn add(
        &mut self,
        oid: Oid,
        kind: Kind,
        data: &[u8],
        from: Option<(Oid, Delta)>,
    ) {
        if self.contains(oid) {
            return;
        }
        let start = self.body.len();
        let base = from.and_then(|(base, delta)| {
            let depth = self.entries[*self.numbers.get(&base)?].depth + 1;
            let pays = delta.as_bytes().len() < data.len() / 2;
            (pays && depth <= MAX_DEPTH).then_some((base, delta, depth))
        });
        match &base {
            Some((base, delta, _)) => {
                self.encoder
                    .difference(*base, delta.as_bytes(), &mut self.body);
            }
            None => self.encoder.whole(kind, data, &mut self.body),
        }
        self.numbers.insert(oid, self.entries.len());
        self.entries.push(Entry {
            oid,
            at: start..self.body.len(),
            depth: base.as_ref().map_or(0, |(_, _, depth)| *depth),
            base: base.map(|(base, _, _)| base),
        });
    }

    pub(in crate::git) fn contains(&self, oid: Oid) -> bool {
        self.numbers.contains_key(&oid)
    }

    /// The content of a file that was added; `None` for everything else.
    pub(in crate::git) fn blob(&self, oid: Oid) -> Option<Vec<u8>> {
        let entry = &self.entries[*self.numbers.get(&oid)?];
        read_whole(&self.body[entry.at.clone()], Kind::Blob)
    }

    pub(in crate::git) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Of what was added, compressed.
    pub(in crate::git) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Writes it to this directory as a pack with its index.
    ///
    /// # Errors
    /// Those of the disk; nothing is then left behind that a reader would take for a pack.
    pub(in crate::git) fn write(&self, directory: &Path) -> io::Result<Written> {
        let entries = self.entries.iter().map(|entry| {
            let bytes = &self.body[entry.at.clone()];
            Indexed {
                oid: entry.oid,
                crc: file::crc(bytes),
                offset: (file::HEADER + entry.at.start) as u64,
                length: bytes.len() as u64,
                base: entry.base,
            }
        });
        file::write(directory, entries.collect(), &mut self.body.as_slice())
    }
}
