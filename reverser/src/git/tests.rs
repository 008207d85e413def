//! The engine on real repositories.

mod bounds;
mod clone;
mod growth;
mod laws;
mod moved;
mod permit;
mod signed;
mod staged;
mod trees;
