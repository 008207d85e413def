//! The test bed's own tests: a bed that lies makes every other test worthless.

mod control_plane;
mod git;
mod guard;
mod reverser;
