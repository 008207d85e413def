//! Child processes that log to files and that never outlive the test process.

mod guard;
mod usage;

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
pub use rustix::process::Signal;

pub(crate) use guard::Guard;
pub use guard::{MARK_VARIABLE, directory, mark, temp_dir};
pub use usage::{Usage, own_usage};

/// How much of a log goes into an error.
const TAIL_BYTES: u64 = 4096;

/// A program that a test needs is not on this machine.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{tool}` is not installed: install {package}")]
pub struct MissingTool {
    /// The program, as one would type it.
    pub tool: &'static str,
    /// The package or product that brings it.
    pub package: &'static str,
}

/// What to run. Finished by [`Spec::spawn`].
#[derive(Debug)]
pub struct Spec {
    name: String,
    command: Command,
    log: PathBuf,
}

/// A running child in a process group of its own, ended when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// Set once the child has been waited for; its process id may be somebody else's from then on.
    ended: Option<ExitStatus>,
    log: PathBuf,
}

// === impl Spec ===

impl Spec {
    /// `name` is for people and for the log's file name; `program` is looked up in PATH unless it is a path. Standard output and
    /// error go to `{logs}/{name}.log`, which is appended to.
    #[must_use]
    pub fn new(name: &str, program: impl AsRef<OsStr>, logs: &Path) -> Self {
        let mut command = Command::new("sh");
        // The child becomes the program only when told to, after the guard knows of it. Killed in between, the test process
        // closes the pipe and the child ends.
        command
            .args(["-c", "read -r _ && exec \"$@\" </dev/null", "sh"])
            .arg(program.as_ref());
        Self {
            name: name.to_owned(),
            command,
            log: logs.join(format!("{name}.log")),
        }
    }

    /// Appends one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Appends arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Removes an inherited environment variable.
    #[must_use]
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(key);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// If there is no such program, or the log can't be written.
    pub fn spawn(mut self) -> Result<Process> {
        let guard = Guard::get();
        let program = self
            .command
            .get_args()
            .nth(3)
            .map(OsString::from)
            .unwrap_or_default();
        if find_program(&program).is_none() {
            bail!("{}: there is no program {}", self.name, program.display());
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("open {}", self.log.display()))?;
        let (key, value) = guard
            .mark()
            .split_once('=')
            .context("the mark is no assignment")?;
        let mut child = self
            .command
            .env(key, value)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().context("share the log")?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", self.name))?;
        guard.add(child.id());
        let go = child.stdin.take().map(|mut gate| gate.write_all(b"go\n"));
        let process = Process {
            name: self.name,
            child,
            ended: None,
            log: self.log,
        };
        match go {
            Some(Ok(())) => Ok(process),
            _ => bail!("{} ended before it began", process.name),
        }
    }
}

// === impl Process ===

impl Process {
    /// As given to [`Spec::new`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id, which is also its process group's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its standard output and error go.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All that it has written so far, over all of its restarts.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map_or_else(
            |_| String::new(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// The last few kilobytes of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log)
            .unwrap_or_else(|error| format!("({} can't be read: {error})", self.log.display()))
    }

    /// How it ended, or `None` while it runs.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.ended = Some(status);
            // Those whom it left behind.
            signal_group(self.child.id(), Signal::KILL);
            Guard::get().remove(self.child.id());
        }
        self.ended
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.try_wait().is_none()
    }

    /// An error with the end of the log, if it no longer runs.
    ///
    /// # Errors
    /// If it has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.try_wait() {
            None => Ok(()),
            Some(status) => bail!(
                "{} ended early ({status}); its log ends with:\n{}",
                self.name,
                self.log_tail()
            ),
        }
    }

    /// Sends a signal to the process and its group. Nothing happens if it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.try_wait().is_none() {
            signal_group(self.child.id(), signal);
        }
    }

    /// Ends it at once, with its group (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        if self.try_wait().is_some() {
            return;
        }
        signal_group(self.child.id(), Signal::KILL);
        Guard::get().remove(self.child.id());
        match self.child.wait() {
            Ok(status) => self.ended = Some(status),
            Err(error) => panic!("{} can't be waited for: {error}", self.name),
        }
    }

    /// Asks it to end (SIGTERM) and waits for at most `grace`, then kills it. Returns how it ended, `None` if it had to be killed.
    pub async fn terminate(&mut self, grace: Duration) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        let ended = self.wait(grace).await;
        self.kill();
        ended
    }

    /// Waits until it ends by itself, for at most `deadline`.
    pub async fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            let ended = self.try_wait();
            if ended.is_some() || start.elapsed() >= deadline {
                return ended;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it has taken so far, where the system tells (Linux), while it runs.
    pub fn usage(&mut self) -> Option<Usage> {
        if !self.is_running() {
            return None;
        }
        Usage::of(self.child.id())
    }

    /// Lets the peak of its memory begin anew. False where it has ended, or the system does not do that.
    pub fn reset_peak(&mut self) -> bool {
        self.is_running() && usage::reset_peak(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a program is, looked up as a shell would.
#[must_use]
pub fn find_program(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return path.is_file().then(|| path.to_owned());
    }
    let directories = std::env::var_os("PATH")?;
    std::env::split_paths(&directories)
        .map(|directory| directory.join(path))
        .find(|file| file.is_file())
}

/// Signals a process group. One that is gone already is no error.
pub(crate) fn signal_group(group: u32, signal: Signal) {
    if let Some(group) = i32::try_from(group)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
