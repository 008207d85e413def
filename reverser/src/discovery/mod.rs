//! Which types the cluster serves, kept up to date.

mod catalog;
mod definitions;
mod refresh;

pub use catalog::{Catalog, ServedType};
pub use refresh::{Refresher, discover, is_gone};
