//! What users read back: conditions, counts and Events on the custom resources.

mod board;
mod derive;
mod events;
mod view;
mod writer;

pub use board::{
    BranchReport, CommitNote, GitFailure, Snapshot, StatusBoard, WatchPhase, WatchReport,
    WorkerPhase,
};
pub use writer::StatusWriter;
