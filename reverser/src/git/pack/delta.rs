//! A tree as its difference from the one that it was made of (gitformat-pack(5), "Deltified representation").

use std::ops::Range;

/// The longest copy that every reader takes.
const MAX_COPY: usize = 0x10000;
/// The longest insertion that there is a code for.
const MAX_INSERT: usize = 0x7f;

/// A part of a new object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::git) enum Segment {
    /// These bytes of the base.
    Kept(Range<usize>),
    /// Others.
    New(Vec<u8>),
}

/// Instructions that make an object of its base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::git) struct Delta(Vec<u8>);

impl Delta {
    /// An object of so many bytes that consists of these segments, and its base's size.
    pub(in crate::git) fn new(base: usize, size: usize, segments: &[Segment]) -> Self {
        let mut text = Vec::new();
        for mut size in [base, size] {
            while size > 0x7f {
                text.push(low(size) | 0x80);
                size >>= 7;
            }
            text.push(low(size));
        }
        for segment in segments {
            match segment {
                Segment::Kept(range) => copy(range.clone(), &mut text),
                Segment::New(bytes) => {
                    for piece in bytes.chunks(MAX_INSERT) {
                        text.push(low(piece.len()));
                        text.extend_from_slice(piece);
                    }
                }
            }
        }
        Self(text)
    }

    pub(in crate::git) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn copy(range: Range<usize>, text: &mut Vec<u8>) {
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(MAX_COPY);
        let code = text.len();
        text.push(0x80);
        // Bytes that are zero are left out; a length of none is the longest one.
        let size = length % MAX_COPY;
        let bytes = [at, at >> 8, at >> 16, at >> 24, size, size >> 8];
        for (bit, byte) in bytes.map(low).into_iter().enumerate() {
            if byte != 0 {
                text.push(byte);
                text[code] |= 1 << bit;
            }
        }
        at += length;
    }
}

/// The lowest byte: callers mean no more.
fn low(number: usize) -> u8 {
    number.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_as_git_writes_them() {
        let segments = [
            Segment::Kept(0..3),
            Segment::New(b"xy".to_vec()),
            Segment::Kept(0x100..0x10101),
        ];
        let delta = Delta::new(0x12345, 0x10006, &segments);
        let expected = [
            &[0xc5, 0xc6, 0x04][..],
            &[0x86, 0x80, 0x04],
            &[0x90, 3],
            &[2, b'x', b'y'],
            // 64 KiB, for which no length is written, and one byte more.
            &[0x82, 1],
            &[0x96, 1, 1, 1],
        ];
        assert_eq!(delta.as_bytes(), expected.concat());
    }
}
