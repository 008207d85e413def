//! Lists and watches the cluster, joins every change to its author, and commits it to Git.
//!
//! The modules stand in the order in which data passes through them.

pub mod api;
pub mod attribution;
pub mod change;
pub mod commit;
pub mod git;
