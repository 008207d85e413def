//! Who may run on which processors (Linux, with util-linux's `taskset`).

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The processors that this process had when it asked.
pub(super) struct Cores {
    list: Vec<usize>,
}

// === impl Cores ===

impl Cores {
    pub(super) fn allowed() -> Result<Self> {
        let status =
            std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .and_then(parse)
            .context("the system does not tell the processors")?;
        if list.len() < 2 {
            bail!("it takes two processors");
        }
        Ok(Self { list })
    }

    /// One process has the first processor, all else that is named here and this process share the others.
    pub(super) fn reserve_first(&self, process: u32, rest: &[u32]) -> Result<()> {
        for pid in rest.iter().copied().chain([std::process::id()]) {
            keep_to(pid, &self.list[1..])?;
        }
        keep_to(process, &self.list[..1])
    }

    /// All of these and this process may run anywhere again.
    pub(super) fn release(&self, processes: &[u32]) -> Result<()> {
        for pid in processes.iter().copied().chain([std::process::id()]) {
            keep_to(pid, &self.list)?;
        }
        Ok(())
    }
}

/// Such as `0-1,4`.
fn parse(list: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cores.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(cores)
}

/// All threads of a process; those that they start later follow.
fn keep_to(pid: u32, cores: &[usize]) -> Result<()> {
    let list: Vec<String> = cores.iter().map(ToString::to_string).collect();
    let status = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", &list.join(",")])
        .arg(pid.to_string())
        .stdout(Stdio::null())
        .status()
        .context("start taskset")?;
    if !status.success() {
        bail!("taskset of process {pid}: {status}");
    }
    Ok(())
}
