//! `gitops-reverser snapshot`: the cluster in Git once, or how the two differ. No custom resources are needed, and nothing runs on.
//!
//! The same types, manifests, paths and sweeps as the operator's, so that `--diff` finds nothing in a folder that the operator keeps.
//! Everything is one commit. In memory are one object of a list at a time, 8 bytes for each object of that list, and about 1 KB
//! for each file that differs; what is to be written goes to the clone on disk.

mod args;
mod claim;
mod cluster;
mod compare;
mod credentials;
mod error;
mod export;
mod progress;
mod select;
mod work_dir;
mod written;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

pub use args::{AFTER_HELP, ResourceName, SnapshotArgs};
use error::SnapshotError;
use export::Outcome;
use progress::{Progress, printable};
use work_dir::WorkDir;

use crate::change::Operation;
use crate::git::limits::{Limits, init_process};
use crate::observe::{LogFormat, init_logging};

/// With --diff: they differ.
const DIFFERENT: u8 = 1;

/// Nothing was done, or not all of it.
const FAILED: u8 = 2;

/// What a shell calls a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Takes a snapshot. To be called first in `main`, before there is a second thread.
#[must_use]
pub fn run(args: &SnapshotArgs) -> ExitCode {
    let mut progress = Progress::new();
    let outcome = start(args, &mut progress);
    progress.clear();
    match outcome {
        Ok(outcome) => ExitCode::from(report(args, &outcome, &mut progress)),
        Err(error) => {
            progress.say(&format!("error: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

fn start(args: &SnapshotArgs, progress: &mut Progress) -> Result<Outcome, SnapshotError> {
    init_logging(LogFormat::Text, &args.log_level)?;
    let work_dir = WorkDir::make(args.work_dir.as_deref())?;
    let process = |error: &dyn std::error::Error| SnapshotError::Process(error.to_string());
    // Process-wide and not thread-safe: before there is a second thread.
    init_process(&work_dir.path().join("home"), Limits::default())
        .map_err(|error| process(&error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| process(&error))?;
    runtime.spawn(end_on_signal(work_dir.leftover()));
    let outcome = runtime.block_on(export::export(
        args,
        &work_dir.path().join("clone"),
        progress,
    ));
    runtime.shutdown_background();
    outcome
}

/// Takes the temporary directory along. Nothing else is left half done: a commit is at the remote or it is not.
async fn end_on_signal(leftover: Option<PathBuf>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
    if let Some(directory) = leftover {
        let _ = std::fs::remove_dir_all(directory);
    }
    end_now();
}

#[allow(unsafe_code)]
fn end_now() -> ! {
    // SAFETY: takes a number. Unlike `exit` it runs no C destructors, which would pull the ground from under a thread that is
    // within libgit2 or OpenSSL.
    unsafe { libc::_exit(INTERRUPTED) }
}

/// What it came to, for people and for scripts.
fn report(args: &SnapshotArgs, outcome: &Outcome, progress: &mut Progress) -> u8 {
    let Outcome {
        objects,
        differences,
        incomplete,
        commit,
    } = outcome;
    let count = |operation: Operation| {
        let all = differences.values();
        all.filter(|it| it.operation == operation).count()
    };
    let [added, modified, deleted] =
        [Operation::Create, Operation::Update, Operation::Delete].map(count);
    let counts = format!("{added} added, {modified} modified, {deleted} deleted");
    let mut stdout = std::io::stdout().lock();
    if args.diff {
        for (path, difference) in differences {
            let letter = match difference.operation {
                Operation::Create => 'A',
                Operation::Update => 'M',
                Operation::Delete => 'D',
            };
            // Who closed it has seen enough.
            let _ = writeln!(stdout, "{letter} {}", printable(path));
        }
        progress.say(&format!("{objects} objects; to be {counts}"));
    } else if let Some(commit) = commit {
        let _ = writeln!(stdout, "{objects} objects, {counts}; pushed {commit}");
    } else {
        let _ = writeln!(stdout, "{objects} objects, as they are in Git already");
    }
    if *incomplete {
        progress.say("error: not everything could be read; see above");
        FAILED
    } else if args.diff && !differences.is_empty() {
        DIFFERENT
    } else {
        0
    }
}
