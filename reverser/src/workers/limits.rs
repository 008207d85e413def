//! When a batch closes.

use std::time::Duration;

use tokio::time::Instant;

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
    /// A live change whose author is not known yet only if it was received by then: its
    /// observation is in the store by now, if the sidecar saw the write. `None`: any change.
    pub(crate) covered: Option<Instant>,
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
