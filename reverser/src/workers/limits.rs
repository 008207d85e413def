//! When a batch closes.

use std::time::Duration;

use crate::attribution::Coverage;

/// The ceilings of one batch; whichever is reached first closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Changes of files.
    pub max_files: usize,
    /// Bytes of manifests.
    pub max_bytes: usize,
    /// How long the oldest change may wait while others keep coming.
    pub max_wait: Duration,
    /// How long an idle worker waits for more after the first change.
    pub linger: Duration,
}

/// How much may be committed that the remote does not take. Past it nothing more is taken from the queue, which at its own
/// bound keeps the newest version of each file only: a remote that is away costs versions in between, never a final state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnpushedLimits {
    /// Commits. Each costs about 1 KB of memory (ids of its objects and where they are on disk) and about 1 ms to be made again when
    /// the branch has moved: 10 MB and 10 s. Not below what one push may carry, 50 batches of 200 files by as many authors.
    pub(super) commits: usize,
    /// Compressed objects, on disk. More than the 50 batches of 1 MiB that one push may carry; less than what servers
    /// refuse (GitHub takes 2 GiB, GitLab.com 5 GiB, nginx in front of a small one often less than either).
    pub(super) bytes: u64,
}

impl Default for UnpushedLimits {
    fn default() -> Self {
        Self {
            commits: 10_000,
            bytes: 64 << 20,
        }
    }
}

/// What a round may take from the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portion {
    /// Of each batch.
    pub(crate) limits: BatchLimits,
    /// A live change whose author is not final yet only if it was received while this covers it: all
    /// that the sidecar saw of it is in the store by now. Where that can't be known, any change.
    pub(crate) coverage: Coverage,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            max_files: 200,
            max_bytes: 1 << 20,
            max_wait: Duration::from_secs(20),
            linger: Duration::from_millis(1000),
        }
    }
}
