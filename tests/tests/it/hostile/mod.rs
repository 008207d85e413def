//! What somebody may try who means harm. Each is refused or without effect, and costs nobody else anything.

mod callers;
mod hashes;
mod names;
mod port;
mod repository;
