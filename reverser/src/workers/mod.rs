//! One Git worker for each (repository, branch): a queue in front, batches, commits, pushes.

mod batch;
mod claim;
mod clones;
mod credentials;
mod failure;
#[cfg(test)]
mod fixtures;
mod limits;
mod prober;
mod queue;
mod registry;
mod sops_config;
mod step;
mod sweep;
mod worker;

pub(crate) use claim::{Owner, marker, marker_path};
pub(crate) use failure::REASONS as FAILURES;
pub use limits::BatchLimits;
pub(crate) use limits::Portion;
use limits::UnpushedLimits;
pub use prober::Prober;
pub use queue::{Item, Queue, Sweep, Unit, Unsettled, Write};
pub use registry::{WorkerSettings, Workers};
pub(crate) use sweep::{Orphan, orphans};
