//! Packs as we write them: each object is compressed once, for the disk and for the push alike (gitformat-pack(5)).
//!
//! libgit2's own pack builder compresses again for each pack, searches the whole tree of what the remote has, and knows of no
//! deltas but those it searches for, at a cost that grows with the repository. We know what is new and what it came from.

mod delta;
mod draft;
mod entry;
mod file;
mod quick;
mod stream;

pub(super) use delta::{Delta, Segment};
pub(super) use draft::Draft;
pub(super) use entry::Encoder;
pub(super) use file::{Indexed, Written, check, concatenate, read_index};
pub(super) use stream::{Piece, Stream};
