//! The engine on real repositories.

mod clone;
mod moved;
mod trees;
