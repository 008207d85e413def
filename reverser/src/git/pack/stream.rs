//! A pack on its way to a server, put together from others.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use sha1::{Digest as _, Sha1};

use super::file;

/// Entries that follow each other.
#[derive(Debug)]
pub(in crate::git) enum Piece {
    /// Of a pack on disk.
    File(Arc<File>, Range<u64>),
    /// In memory.
    Bytes(Vec<u8>),
}

/// Reads one piece after the other, and holds none of those on disk in memory.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: VecDeque<Piece>,
}

impl Pieces {
    /// Adds a piece, or lengthens the last one.
    pub(super) fn push(&mut self, piece: Piece) {
        if let (Some(Piece::File(before, last)), Piece::File(file, range)) =
            (self.pieces.back_mut(), &piece)
            && Arc::ptr_eq(before, file)
            && last.end == range.start
        {
            last.end = range.end;
            return;
        }
        self.pieces.push_back(piece);
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(piece) = self.pieces.front_mut() {
            let read = match piece {
                Piece::File(file, range) => {
                    let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                    let length = buffer.len().min(left);
                    let read = file.read_at(&mut buffer[..length], range.start)?;
                    if read == 0 && length > 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    range.start += read as u64;
                    read
                }
                Piece::Bytes(bytes) => {
                    let length = buffer.len().min(bytes.len());
                    buffer[..length].copy_from_slice(&bytes[..length]);
                    bytes.drain(..length);
                    length
                }
            };
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.pieces.pop_front();
        }
        Ok(0)
    }
}

/// A whole pack: header, entries, and the SHA-1 of both.
#[derive(Debug)]
pub(in crate::git) struct Stream {
    objects: usize,
    body: Pieces,
    sha1: Sha1,
    state: State,
}

#[derive(Debug)]
enum State {
    Before,
    Body,
    After,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            objects: 0,
            body: Pieces::default(),
            sha1: Sha1::new(),
            state: State::Before,
        }
    }
}

impl Stream {
    /// Adds an entry.
    pub(in crate::git) fn push(&mut self, entry: Piece) {
        self.objects += 1;
        self.body.push(entry);
    }

    /// The next bytes; none at the end. `buffer` holds at least a header.
    ///
    /// # Errors
    /// Those of the disk.
    pub(in crate::git) fn next(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.state {
            State::Before => {
                self.state = State::Body;
                let header = file::header(self.objects)?;
                buffer[..header.len()].copy_from_slice(&header);
                header.len()
            }
            State::Body => self.body.read(buffer)?,
            State::After => return Ok(0),
        };
        if read > 0 {
            self.sha1.update(&buffer[..read]);
            return Ok(read);
        }
        self.state = State::After;
        let sha = self.sha1.finalize_reset();
        buffer[..sha.len()].copy_from_slice(&sha);
        Ok(sha.len())
    }
}
