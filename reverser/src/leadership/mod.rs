//! Which of several replicas works: a Lease, the role that follows from it, and who asks before pushing.
//!
//! ```text
//! Lease ⇄ Elector ─→ Role ─→ conductor, status, prober, sidecar, role label
//!            ⇅
//!          Fence ←── asked by Git threads before every push
//! ```
//!
//! A follower lists and watches like a leader, but has no Git workers, and so no queues that could fill. Once it leads, the
//! workers are made and everything is compared with Git, as at a start.

mod clock;
mod elector;
mod fence;
mod label;
mod lease;
mod metrics;
mod observed;
mod role;

pub use elector::{Elector, ElectorError};
pub use fence::Fence;
pub use label::RoleLabel;
pub use lease::Candidate;
pub use metrics::LeadershipMetrics;
pub(crate) use role::leads;
pub use role::{Role, Roles, Term};
