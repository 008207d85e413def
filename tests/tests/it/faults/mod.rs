//! What goes wrong in months of watching, on a real control plane. After each fault Git equals the cluster, nothing that lives
//! was ever deleted, and no commit names the wrong person.

mod aggregated;
mod clocks;
mod compaction;
mod pages;
mod rights;
mod rivals;
mod soak;
mod versions;
