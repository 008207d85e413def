//! The engine on real repositories.

mod clone;
mod laws;
mod moved;
mod permit;
mod trees;
