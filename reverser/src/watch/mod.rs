//! Lists and watches what the plan selects, and turns what it sees into changes.
//!
//! The index of a watch holds each object as the chain of its versions stands: a [full
//! list](full_list) begins the chain, and begins it anew where it broke; events carry it on. Who
//! wants everything while it is whole gets it from a [side list](side_list), which leaves the index and
//! the other destinations alone.

mod emit;
mod full_list;
mod given;
mod index;
mod listing;
mod object;
mod once;
mod side_list;
mod source;
mod subscriber;
mod task;

pub(crate) use once::{ListError, Listed, list_once};
pub use subscriber::Subscriber;
pub use task::{Shared, Synced, Task};

#[cfg(test)]
mod tests;
