//! The process that outlives the test process by a moment to clear up after it.
//!
//! `Drop` does not run after SIGKILL, Ctrl-C or an abort, nor for statics, and `PR_SET_PDEATHSIG` fires when the *thread* that
//! spawned a child ends, which under the test harness is the end of each test. So one small shell per test process reads a
//! pipe whose write end nobody else holds; the kernel closes it whenever the test process ends, for whatever reason.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use parking_lot::Mutex;

use super::find_program;

/// The environment variable by which every process of the test bed can be known. Its value differs per test process.
pub const MARK_VARIABLE: &str = "GITOPS_REVERSER_TEST_BED";

const SCRIPT: &str = include_str!("guard.sh");

/// What this test process started and must not leave behind.
pub(crate) struct Guard {
    orders: Mutex<ChildStdin>,
    mark: String,
    directory: PathBuf,
}

// === impl Guard ===

impl Guard {
    /// The guard of this process, started on first use.
    ///
    /// # Panics
    /// If no shell or no temporary directory can be had: nothing may start without a guard.
    pub(crate) fn get() -> &'static Self {
        static GUARD: OnceLock<Guard> = OnceLock::new();
        GUARD.get_or_init(|| match Self::start() {
            Ok(guard) => guard,
            Err(error) => panic!("the test bed's guard can't be started: {error:#}"),
        })
    }

    fn start() -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("gitops-reverser-test-")
            .tempdir()
            .context("make the test bed's directory")?
            .keep();
        let keep =
            std::env::var_os("GITOPS_REVERSER_TEST_KEEP").is_some_and(|value| !value.is_empty());
        if keep {
            // Past the test harness's capture: it is for the person at the terminal.
            let _ = writeln!(
                std::io::stderr(),
                "test bed: {} is kept",
                directory.display()
            );
        }
        let mark = format!("{MARK_VARIABLE}={}", directory.display());
        // A session of its own: Ctrl-C goes to the terminal's foreground group, and who ends a job at its deadline may end
        // the job's whole session. Without setsid(1) (macOS) a group of its own is half of that.
        let mut guard = if find_program("setsid".as_ref()).is_some() {
            let mut command = Command::new("setsid");
            command.arg("sh");
            command
        } else {
            let mut command = Command::new("sh");
            command.process_group(0);
            command
        };
        let mut guard = guard
            .arg("-c")
            .arg(SCRIPT)
            .arg("gitops-reverser-test-guard")
            .arg(&mark)
            .arg(if keep { Path::new("") } else { &directory })
            .env_remove(MARK_VARIABLE)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start sh")?;
        let orders = guard.stdin.take().context("sh has no standard input")?;
        Ok(Self {
            orders: Mutex::new(orders),
            mark,
            directory,
        })
    }

    /// Where everything of this process's test bed is written.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// `VARIABLE=value`, found in the environment of all that this process started.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// Hands a process group over. It must still be alive or unreaped, so that the number is ours.
    pub(crate) fn add(&self, group: u32) {
        self.order("add", group);
    }

    /// Takes a process group back. Call it before the number can be given to another process.
    pub(crate) fn remove(&self, group: u32) {
        self.order("del", group);
    }

    fn order(&self, order: &str, group: u32) {
        let mut orders = self.orders.lock();
        if let Err(error) = orders.write_all(format!("{order} {group}\n").as_bytes()) {
            panic!("the test bed's guard is gone: {error}");
        }
    }
}

/// The directory that holds all that this process's test bed writes; removed when the process ends.
///
/// # Panics
/// If the guard can't be started.
#[must_use]
pub fn directory() -> &'static Path {
    Guard::get().directory()
}

/// A directory of its own below [`directory`], removed when dropped (kept with `GITOPS_REVERSER_TEST_KEEP=1`).
///
/// # Errors
/// If it can't be made.
pub fn temp_dir(name: &str) -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    let prefix = format!("{name}-");
    let builder = builder.prefix(&prefix).disable_cleanup(
        std::env::var_os("GITOPS_REVERSER_TEST_KEEP").is_some_and(|value| !value.is_empty()),
    );
    builder
        .tempdir_in(directory())
        .with_context(|| format!("make a directory for {name}"))
}

/// `VARIABLE=value`, found in the environment of everything that this process's test bed started.
///
/// # Panics
/// If the guard can't be started.
#[must_use]
pub fn mark() -> &'static str {
    Guard::get().mark()
}
