//! From custom resources to a plan: what to watch, where to write it, and what is wrong with the rest.

mod compile;
mod configuration;
mod destinations;
mod operations;
mod plan;
mod preset;
mod recipients;
mod resolve;
mod selections;
mod verdict;

pub(crate) use compile::open_watches;
pub use compile::{CompileOptions, compile};
pub use configuration::{ConfigObject, Configuration, ConfigurationWatcher, Kind, ObjectKey};
pub use operations::Operations;
pub use plan::{BranchKey, DestinationPlan, Finding, Plan, Subscription, TypeSelection, WatchKey};
pub use recipients::{FoundRecipients, RecipientsReader, RecipientsSource};
pub use resolve::TypeFilter;
pub(crate) use selections::select_unruled;
