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
