//! One object of a pack: a header with kind and size, then the object or its difference from another, compressed.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use git2::Oid;

use super::quick;
use crate::git::object::Kind;

/// Manifests of 1 KB come out 4 % larger than at zlib's default, in little more than half the time.
const LEVEL: Compression = Compression::fast();

/// A difference of so many bytes is stored as it is: most of it are ids, and to begin anew takes zlib longer than to compress it.
const SMALL: usize = 128;

pub(super) const REF_DELTA: u8 = 7;

/// Compresses one object after the other.
pub(in crate::git) struct Encoder {
    zlib: Compress,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            zlib: Compress::new(LEVEL, true),
        }
    }
}

impl Encoder {
    /// Appends an object.
    pub(in crate::git) fn whole(&mut self, kind: Kind, data: &[u8], into: &mut Vec<u8>) {
        header(number(kind), data.len(), into);
        match kind {
            Kind::Tree => quick::tree(data, into),
            Kind::Commit | Kind::Blob => self.compress(data, into),
        }
    }

    /// Appends an object as its difference from `base`, which must be in the same pack.
    pub(super) fn difference(&mut self, base: Oid, delta: &[u8], into: &mut Vec<u8>) {
        header(REF_DELTA, delta.len(), into);
        into.extend_from_slice(base.as_bytes());
        if delta.len() > SMALL {
            self.compress(delta, into);
        } else {
            quick::stored(delta, into);
        }
    }

    fn compress(&mut self, mut data: &[u8], into: &mut Vec<u8>) {
        self.zlib.reset();
        loop {
            // Compressing never needs much more than it is given (zlib.h, compressBound).
            into.reserve(data.len() / 2 + 64);
            let before = self.zlib.total_in();
            let status = self.zlib.compress_vec(data, into, FlushCompress::Finish);
            let taken = usize::try_from(self.zlib.total_in() - before).unwrap_or(data.len());
            data = &data[taken..];
            // The only error is a stream that is misused.
            if matches!(status, Ok(Status::StreamEnd) | Err(_)) {
                return;
            }
        }
    }
}

fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
    }
}

/// Four bits of the size, then seven each, lowest first.
fn header(number: u8, size: usize, into: &mut Vec<u8>) {
    let low = |bits: usize| u8::try_from(bits).unwrap_or_default();
    let mut byte = number << 4 | low(size & 0x0f);
    let mut rest = size >> 4;
    while rest > 0 {
        into.push(byte | 0x80);
        byte = low(rest & 0x7f);
        rest >>= 7;
    }
    into.push(byte);
}

/// Reads an entry that holds a whole object of this kind. `None` for a difference, another kind, and what is no entry.
pub(super) fn read_whole(entry: &[u8], kind: Kind) -> Option<Vec<u8>> {
    let (first, mut rest) = entry.split_first()?;
    if first >> 4 & 7 != number(kind) {
        return None;
    }
    let mut size = usize::from(first & 0x0f);
    let mut shift = 4;
    let mut more = first & 0x80 != 0;
    while more {
        let (byte, after) = rest.split_first()?;
        size |= usize::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        more = byte & 0x80 != 0;
        rest = after;
    }
    // One byte more, so that what is too long shows.
    let mut data = Vec::with_capacity(size + 1);
    let status = Decompress::new(true)
        .decompress_vec(rest, &mut data, FlushDecompress::Finish)
        .ok()?;
    (status == Status::StreamEnd && data.len() == size).then_some(data)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn objects_read_back(pieces in prop::collection::vec("[a-z]{0,40}", 0..200)) {
            let data = pieces.concat().into_bytes();
            let (mut encoder, mut entry) = (Encoder::default(), Vec::new());
            for kind in [Kind::Blob, Kind::Tree, Kind::Commit] {
                entry.clear();
                encoder.whole(kind, &data, &mut entry);
                prop_assert_eq!(read_whole(&entry, kind), Some(data.clone()));
            }
            prop_assert_eq!(read_whole(&entry, Kind::Blob), None);
            entry.truncate(entry.len() - 1);
            prop_assert_eq!(read_whole(&entry, Kind::Commit), None);
        }
    }

    #[test]
    fn what_does_not_compress_is_no_matter() {
        let mut state = 1_u64;
        let data: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .take(300_000)
        .collect();
        let mut entry = Vec::new();
        Encoder::default().whole(Kind::Blob, &data, &mut entry);
        assert_eq!(read_whole(&entry, Kind::Blob), Some(data));
    }
}
