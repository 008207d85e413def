//! The real Git command line, shielded from the user's and the system's configuration.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// `git` with nothing of this machine's configuration or of the caller's repository in it.
pub(super) fn git(directory: &Path) -> Command {
    let mut git = Command::new("git");
    for (name, _) in std::env::vars_os() {
        // A hook's or a rebase's environment names the repository it runs in.
        if name.to_string_lossy().starts_with("GIT_") {
            git.env_remove(name);
        }
    }
    git.current_dir(directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    git
}

/// What a command writes to standard output.
pub(super) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().context("start git")?;
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        bail!(
            "git {}: {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

/// The same, given something to read. What git reads must fit what it writes meanwhile: it is written before it is read.
pub(super) fn output_of(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let mut file = tempfile::tempfile().context("make a file for git to read")?;
    file.write_all(input).context("write what git is to read")?;
    std::io::Seek::rewind(&mut file).context("rewind what git is to read")?;
    output(command.stdin(file))
}
