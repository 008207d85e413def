//! Packs and their indexes as files (gitformat-pack(5), version 2 of both).

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Crc;
use git2::Oid;
use sha1::{Digest as _, Sha1};

use super::stream::{Piece, Pieces};
use crate::git::object::oid;

/// `PACK`, the version, the number of objects.
pub(super) const HEADER: usize = 12;
const TRAILER: u64 = 20;
const INDEX_MAGIC: [u8; 8] = [0xff, b't', b'O', b'c', 0, 0, 0, 2];

/// Where an object is in a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::git) struct Indexed {
    pub(in crate::git) oid: Oid,
    pub(super) crc: u32,
    pub(in crate::git) offset: u64,
    pub(in crate::git) length: u64,
    /// What it is the difference from: in the same pack.
    pub(in crate::git) base: Option<Oid>,
}

impl Indexed {
    /// Its bytes in the pack.
    pub(in crate::git) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.length
    }
}

/// A pack that is on disk now.
#[derive(Debug)]
pub(in crate::git) struct Written {
    /// The pack itself; its index stands beside it.
    pub(in crate::git) pack: PathBuf,
    pub(in crate::git) entries: Vec<Indexed>,
}

pub(super) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

pub(super) fn header(objects: usize) -> io::Result<[u8; HEADER]> {
    let mut header = *b"PACK\0\0\0\x02\0\0\0\0";
    let objects = u32::try_from(objects).map_err(io::Error::other)?;
    header[8..].copy_from_slice(&objects.to_be_bytes());
    Ok(header)
}

/// Writes a pack of these entries, whose bytes `body` holds in the order of their offsets, and its index.
///
/// The index comes last, and each file at once: a reader finds both or none. Not synced: the remote is the truth.
pub(super) fn write(
    directory: &Path,
    mut entries: Vec<Indexed>,
    body: &mut dyn Read,
) -> io::Result<Written> {
    let draft = Temporary::create(directory.join("tmp_pack"))?;
    let mut file = Hashing::new(BufWriter::new(&draft.file));
    file.write_all(&header(entries.len())?)?;
    io::copy(body, &mut file)?;
    let pack_sha = file.finish()?;
    let pack = directory.join(format!("pack-{}.pack", oid(&pack_sha)));

    entries.sort_unstable_by_key(|entry| entry.oid);
    let draft_index = Temporary::create(directory.join("tmp_idx"))?;
    write_index(&draft_index.file, &entries, &pack_sha)?;
    draft.rename(&pack)?;
    if let Err(error) = draft_index.rename(&pack.with_extension("idx")) {
        let _ = std::fs::remove_file(&pack);
        return Err(error);
    }
    Ok(Written { pack, entries })
}

fn write_index(file: &File, entries: &[Indexed], pack_sha: &[u8; 20]) -> io::Result<()> {
    let mut index = Hashing::new(BufWriter::new(file));
    index.write_all(&INDEX_MAGIC)?;
    let first = |entry: &Indexed| entry.oid.as_bytes().first().copied().unwrap_or_default();
    for byte in 0..=u8::MAX {
        let below = entries.partition_point(|entry| first(entry) <= byte);
        index.write_all(
            &u32::try_from(below)
                .map_err(io::Error::other)?
                .to_be_bytes(),
        )?;
    }
    for entry in entries {
        index.write_all(entry.oid.as_bytes())?;
    }
    for entry in entries {
        index.write_all(&entry.crc.to_be_bytes())?;
    }
    for entry in entries {
        // Beyond 2 GiB offsets would go into a table of their own. No pack of ours gets that far.
        let offset = i32::try_from(entry.offset).map_err(io::Error::other)?;
        index.write_all(&offset.to_be_bytes())?;
    }
    index.write_all(pack_sha)?;
    index.finish()?;
    Ok(())
}

/// The entries of a pack that [`write`] wrote.
///
/// # Errors
/// Those of the disk, and `InvalidData` for what is no such pack.
pub(in crate::git) fn read_index(pack: &Path) -> io::Result<Vec<Indexed>> {
    let index = std::fs::read(pack.with_extension("idx"))?;
    let end = std::fs::metadata(pack)?.len().saturating_sub(TRAILER);
    let mut entries = parse_index(&index, end).ok_or(io::ErrorKind::InvalidData)?;
    let mut file = BufReader::new(File::open(pack)?);
    for entry in &mut entries {
        entry.base = base(&mut file, entry.offset)?;
    }
    Ok(entries)
}

fn parse_index(index: &[u8], end: u64) -> Option<Vec<Indexed>> {
    let word = |at: usize| Some(u32::from_be_bytes(index.get(at..at + 4)?.try_into().ok()?));
    let count = word(8 + 255 * 4)? as usize;
    let oids = 8 + 256 * 4;
    let (crcs, offsets) = (oids + count * 20, oids + count * 24);
    if !index.starts_with(&INDEX_MAGIC) || index.len() != offsets + count * 4 + 40 {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    for n in 0..count {
        entries.push(Indexed {
            oid: oid(&index[oids + n * 20..oids + (n + 1) * 20]),
            crc: word(crcs + n * 4)?,
            offset: word(offsets + n * 4)?.into(),
            length: 0,
            base: None,
        });
    }
    entries.sort_unstable_by_key(|entry| entry.offset);
    let mut next = end;
    for entry in entries.iter_mut().rev() {
        entry.length = next.checked_sub(entry.offset)?;
        next = entry.offset;
    }
    Some(entries)
}

/// What an entry is the difference from.
fn base(file: &mut BufReader<File>, offset: u64) -> io::Result<Option<Oid>> {
    // Offsets ascend, mostly within what is buffered.
    let now = file.stream_position()?;
    file.seek_relative(
        i64::try_from(offset).map_err(io::Error::other)?
            - i64::try_from(now).map_err(io::Error::other)?,
    )?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    if byte[0] >> 4 & 7 != super::entry::REF_DELTA {
        return Ok(None);
    }
    while byte[0] & 0x80 != 0 {
        file.read_exact(&mut byte)?;
    }
    let mut id = [0; 20];
    file.read_exact(&mut id)?;
    Ok(Some(oid(&id)))
}

/// Compares entries with the checksums that were made when they were written.
///
/// # Errors
/// `InvalidData` where one is not as it was; else those of the disk.
pub(in crate::git) fn check(file: &File, mut entries: Vec<&Indexed>) -> io::Result<()> {
    entries.sort_unstable_by_key(|entry| entry.offset);
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut at = file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    for entry in entries {
        file.seek_relative(i64::try_from(entry.offset - at).map_err(io::Error::other)?)?;
        bytes.clear();
        let read = file.by_ref().take(entry.length).read_to_end(&mut bytes)?;
        at = entry.offset + entry.length;
        if read as u64 != entry.length || crc(&bytes) != entry.crc {
            let message = format!("{} is not as it was saved", entry.oid);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
    Ok(())
}

/// Makes one pack of several that [`write`] wrote, at the cost of copying them. The old ones stay.
///
/// An object that is in more than one is taken from the first: what an entry is the difference from then always is the same
/// object from the same or an earlier one, never in a circle.
///
/// # Errors
/// Those of the disk.
pub(in crate::git) fn concatenate(directory: &Path, packs: &[PathBuf]) -> io::Result<PathBuf> {
    let mut known = HashSet::new();
    let mut all = Vec::new();
    let mut body = Pieces::default();
    let mut at = HEADER as u64;
    for pack in packs {
        let file = Arc::new(File::open(pack)?);
        for mut entry in read_index(pack)? {
            if !known.insert(entry.oid) {
                continue;
            }
            body.push(Piece::File(file.clone(), entry.range()));
            entry.offset = at;
            at += entry.length;
            all.push(entry);
        }
    }
    Ok(write(directory, all, &mut body)?.pack)
}

/// A file under way, removed unless it gets its name.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn create(path: PathBuf) -> io::Result<Self> {
        let file = File::create(&path)?;
        Ok(Self { path, file })
    }

    fn rename(&self, to: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, to)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Not there any more where it was renamed.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Ends with the SHA-1 of all that was written.
struct Hashing<W> {
    to: W,
    sha1: Sha1,
}

impl<W: Write> Hashing<W> {
    fn new(to: W) -> Self {
        Self {
            to,
            sha1: Sha1::new(),
        }
    }

    fn finish(mut self) -> io::Result<[u8; 20]> {
        let sha: [u8; 20] = self.sha1.finalize().into();
        self.to.write_all(&sha)?;
        self.to.flush()?;
        Ok(sha)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.sha1.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
