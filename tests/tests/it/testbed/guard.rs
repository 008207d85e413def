//! Nothing is left running, however the test process ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tests::control_plane::Options;
use tests::git::{HttpOptions, SshOptions};
use tests::process::{Process, Spec, directory, mark, temp_dir};
use tests::{ControlPlane, GitServer};

/// Set for the child: where to tell what it started, and how much to start.
const REPORT: &str = "GITOPS_REVERSER_TEST_REPORT";
const WHOLE_BED: &str = "GITOPS_REVERSER_TEST_WHOLE_BED";

/// What the child that is to die says of itself.
struct Report {
    mark: String,
    directory: PathBuf,
    pids: Vec<Pid>,
}

fn pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

fn sleeper(name: &str, logs: &Path) -> Process {
    Spec::new(name, "sleep", logs).arg("1000").spawn().unwrap()
}

/// Processes that carry a mark, where the system tells (Linux).
fn marked(mark: &str) -> Vec<PathBuf> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|process| Some(process.ok()?.path().join("environ")))
        .filter(|environ| {
            std::fs::read(environ).is_ok_and(|bytes| {
                bytes
                    .split(|byte| *byte == 0)
                    .any(|entry| entry == mark.as_bytes())
            })
        })
        .collect()
}

/// A zombie, which waits for init to take note of its end, does not run.
fn runs(pid: Pid) -> bool {
    let zombie =
        std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).is_ok_and(|stat| {
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('Z'))
        });
    test_kill_process(pid).is_ok() && !zombie
}

/// Runs this test binary once more, with nothing but [`the_child_that_is_to_die`].
fn start_child(report: &Path, whole_bed: bool) -> std::process::Child {
    // A shell without job control starts its background jobs with SIGINT ignored, and whatever they start.
    let mut command = Command::new("env");
    command
        .arg("--default-signal=INT")
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "testbed::guard::the_child_that_is_to_die",
            "--ignored",
            "--nocapture",
        ])
        .env(REPORT, report)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if whole_bed {
        command.env(WHOLE_BED, "1");
    }
    command.spawn().unwrap()
}

fn read_report(path: &Path, child: &mut std::process::Child) -> Report {
    let start = Instant::now();
    let text = loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with("end\n") => break text,
            _ => assert!(
                child.try_wait().unwrap().is_none(),
                "the child ended before it was to"
            ),
        }
        assert!(
            start.elapsed() < Duration::from_secs(240),
            "the child did not start its bed"
        );
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut lines = text.lines();
    Report {
        mark: lines.next().unwrap().to_owned(),
        directory: lines.next().unwrap().into(),
        pids: lines
            .filter_map(|line| line.parse().ok())
            .map(pid)
            .collect(),
    }
}

fn wait(child: &mut std::process::Child) -> std::process::ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the child goes on after the signal"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn assert_nothing_is_left(report: &Report) {
    let start = Instant::now();
    loop {
        let running = report.pids.iter().filter(|pid| runs(**pid)).count();
        let marked = marked(&report.mark);
        if running == 0 && marked.is_empty() && !report.directory.exists() {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "left behind: {running} processes, {marked:?}, directory {}",
            report.directory.exists()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn end_child_and_look(signal: Signal, whole_bed: bool) {
    let directory = temp_dir("guard").unwrap();
    let path = directory.path().join("report");
    let mut child = start_child(&path, whole_bed);
    let report = read_report(&path, &mut child);
    assert!(!report.pids.is_empty() && report.pids.iter().all(|pid| runs(*pid)));
    assert!(report.directory.is_dir());
    kill_process(pid(child.id()), signal).unwrap();
    assert!(!wait(&mut child).success());
    assert_nothing_is_left(&report);
}

/// Not a test: what [`end_child_and_look`] runs in a process of its own.
#[tokio::test]
#[ignore = "started by the tests of the guard"]
async fn the_child_that_is_to_die() {
    let Some(path) = std::env::var_os(REPORT) else {
        return;
    };
    let plain = sleeper("plain", directory());
    // Leaves its process group, as sshd's sessions do.
    let escaped = Spec::new("escaped", "sh", directory())
        .args(["-c", "setsid sleep 1000 & wait"])
        .spawn()
        .unwrap();
    let mut pids = vec![plain.pid(), escaped.pid()];
    let mut bed = None;
    if std::env::var_os(WHOLE_BED).is_some() {
        let plane = ControlPlane::start(Options::default()).await.unwrap();
        let https = GitServer::https(HttpOptions::default()).unwrap();
        let ssh = GitServer::ssh(SshOptions::default()).unwrap();
        pids.extend(plane.pids());
        pids.push(ssh.pid());
        bed = Some((plane, https, ssh));
    }
    let pids: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
    std::fs::write(
        path,
        format!("{}\n{}\n{pids}end\n", mark(), directory().display()),
    )
    .unwrap();
    std::future::pending::<()>().await;
    drop(bed);
}

#[test]
fn sigkill_leaves_no_process_and_no_file_of_the_whole_bed() {
    end_child_and_look(Signal::KILL, true);
}

#[test]
fn ctrl_c_leaves_no_process_and_no_file() {
    end_child_and_look(Signal::INT, false);
}

#[test]
fn a_panic_ends_what_its_test_started() {
    let started = std::thread::spawn(|| {
        let directory = temp_dir("panic").unwrap();
        let process = sleeper("sleeper", directory.path());
        let pid = process.pid();
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _process = process;
            panic!("on purpose");
        }));
        assert!(unwound.is_err());
        pid
    });
    assert!(!runs(pid(started.join().unwrap())));
}

#[test]
fn a_process_outlives_the_thread_that_started_it() {
    let directory = temp_dir("thread").unwrap();
    let path = directory.path().to_owned();
    let mut process = std::thread::spawn(move || sleeper("sleeper", &path))
        .join()
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(process.is_running());
}

#[tokio::test]
async fn a_process_that_fails_is_told_with_its_log() {
    let directory = temp_dir("fails").unwrap();
    let mut process = Spec::new("fails", "sh", directory.path())
        .args(["-c", "echo because; exit 3"])
        .spawn()
        .unwrap();
    let status = process.wait(Duration::from_secs(60)).await.unwrap();
    assert_eq!(status.code(), Some(3));
    let error = process.must_run().unwrap_err().to_string();
    assert!(error.contains("because"), "{error}");
}

#[test]
fn a_missing_program_is_named() {
    let directory = temp_dir("missing").unwrap();
    let error = Spec::new("absent", "no-such-program", directory.path())
        .spawn()
        .unwrap_err()
        .to_string();
    assert!(error.contains("no-such-program"), "{error}");
}
