//! What a process has taken so far, where the system tells (Linux).

use std::path::Path;
use std::time::Duration;

/// In the kernel's interface a second has this many ticks, whatever its own timer does (proc(5), `USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// Memory, processor time and handles of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in KiB now.
    pub rss_kib: u64,
    /// The most that it has been, in KiB, since the process began or since [`Process::reset_peak`](super::Process::reset_peak).
    pub peak_kib: u64,
    /// What of the resident memory is no page of a file, in KiB: nobody else can use it, and the kernel can't drop it.
    pub anonymous_kib: u64,
    /// Threads now.
    pub threads: u64,
    /// Open descriptors now.
    pub descriptors: u64,
    /// Processor time of all of its threads, exact to 10 ms.
    pub cpu: Duration,
    /// The same of the processes that it started, of theirs, and so on, as far as they have ended and been waited for.
    pub ended_children_cpu: Duration,
}

// === impl Usage ===

impl Usage {
    /// `None` where there is no such process, or no `/proc`.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let directory = Path::new("/proc").join(pid.to_string());
        let status = std::fs::read_to_string(directory.join("status")).ok()?;
        let stat = std::fs::read_to_string(directory.join("stat")).ok()?;
        Some(Self {
            rss_kib: kib(&status, "VmRSS:")?,
            peak_kib: kib(&status, "VmHWM:")?,
            anonymous_kib: kib(&status, "RssAnon:")?,
            threads: number(&status, "Threads:")?,
            descriptors: std::fs::read_dir(directory.join("fd")).ok()?.count() as u64,
            cpu: cpu(&stat, 0)?,
            ended_children_cpu: cpu(&stat, 2)?,
        })
    }
}

/// What this process itself has taken so far, all of its threads; `None` where there is no `/proc`.
#[must_use]
pub fn own_usage() -> Option<Usage> {
    Usage::of(std::process::id())
}

/// Lets the peak begin anew at what is resident now (proc(5), `clear_refs`).
pub(super) fn reset_peak(pid: u32) -> bool {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

fn kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn number(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().parse().ok()
}

fn cpu(stat: &str, skip: usize) -> Option<Duration> {
    // The second field is the name, in brackets, and may hold anything; utime and stime are the 14th and the 15th, those of
    // children follow.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11 + skip);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let sum = ticks()? + ticks()?;
    Some(Duration::from_millis(sum * 1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 25 30 4 20 0 1 0 1 1 1";
        assert_eq!(cpu(stat, 0), Some(Duration::from_millis(1750)));
        assert_eq!(cpu(stat, 2), Some(Duration::from_millis(340)));
        assert_eq!(cpu("7 (a", 0), None);
    }

    #[test]
    fn memory_is_read_in_kib() {
        let status = "Name:\ta\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(kib(status, "VmRSS:"), Some(1024));
        assert_eq!(kib(status, "VmSwap:"), None);
    }
}
