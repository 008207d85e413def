//! Lists and watches what the plan selects, and turns what it sees into changes.

mod emit;
mod index;
mod object;
mod source;
mod task;

pub use emit::Subscriber;
pub use task::{Shared, Synced, Task};
