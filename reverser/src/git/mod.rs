//! One bare clone for each (repository, branch): trees built on the tip, commits, pushes.
