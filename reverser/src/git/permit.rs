//! Whether the remote may be changed, asked anew for each attempt.

use std::fmt::Debug;

/// Says so. Asked from blocking threads, right before something is sent that changes the remote, and before our commits are put
/// onto what another process may have pushed.
pub trait Permit: Debug + Send + Sync {
    /// May block for some seconds.
    ///
    /// # Errors
    /// Where nothing may be pushed now.
    fn check(&self) -> Result<(), Denied>;
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Another process does it from now on: what this one has committed must never get there.
    #[error("another replica leads")]
    Lost,
    /// It may be that another process does it.
    #[error(
        "the Lease could not be renewed, so another replica may lead by now; nothing is pushed before that is known"
    )]
    Unconfirmed,
}
