//! Servers that die, branches that are rewritten, disks that are full. After each: nothing lost, nothing twice, no author changed.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::remotes::{Remote, on_each};
use super::*;

on_each!(
    a_server_killed_before_it_took_the_push_takes_it_later,
    a_server_killed_after_it_took_the_push_does_not_get_it_twice,
    a_push_whose_answer_was_lost_is_not_made_again_over_what_others_pushed_on_top,
    a_push_right_before_the_kill_is_not_made_again_over_what_others_pushed_on_top,
    a_server_that_hangs_in_a_push_gets_it_later,
    credentials_that_are_refused_cost_nothing_and_new_ones_are_taken_up,
);

pub(crate) fn authors(repo: &Repo) -> Vec<String> {
    let log = repo.log();
    log.into_iter().map(|commit| commit.author_name).collect()
}

/// Text that does not compress well.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed | 1;
    let noise: Vec<u8> = (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect();
    STANDARD.encode(noise)
}

fn pushed(commits: usize) -> PushOutcome {
    PushOutcome::Pushed {
        commits,
        replays: 0,
    }
}

fn a_server_killed_before_it_took_the_push_takes_it_later(remote: &Remote) {
    let repo = &remote.repo;
    let directory = temp_dir("faults").unwrap();
    let mut engine = remote.open(directory.path());
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    engine.commit(plan("bob", "x/b.yaml", "b\n")).unwrap();
    // Everything has been received by then, and nothing taken.
    repo.install_hook("pre-receive", "#!/bin/sh\nkill -9 $PPID\n");
    let error = engine.push().unwrap_err();
    assert!(!error.is_corrupt_clone(), "{error}");
    assert_eq!(engine.unpushed(), 2);
    repo.remove_hook("pre-receive");
    assert_eq!(engine.push().unwrap(), pushed(2));
    assert_eq!(authors(repo), ["Outsider", "alice", "bob"]);
    repo.fsck().unwrap();
}

fn a_server_killed_after_it_took_the_push_does_not_get_it_twice(remote: &Remote) {
    let repo = &remote.repo;
    let directory = temp_dir("faults").unwrap();
    let mut engine = remote.open(directory.path());
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    repo.install_hook("post-receive", "#!/bin/sh\nkill -9 $PPID\n");
    assert_eq!(engine.push().unwrap(), pushed(1));
    repo.remove_hook("post-receive");
    engine.commit(plan("bob", "x/b.yaml", "b\n")).unwrap();
    assert_eq!(engine.push().unwrap(), pushed(1));
    assert_eq!(authors(repo), ["Outsider", "alice", "bob"]);
    repo.fsck().unwrap();
}

/// Takes back what was pushed, and goes on from there.
const REVERT: &str = r#"#!/bin/sh
export GIT_AUTHOR_NAME=Outsider GIT_COMMITTER_NAME=Outsider EMAIL=outsider@example.com
tree=$(git rev-parse "main~1^{tree}")
for message in revert on on; do
  git update-ref refs/heads/main $(git commit-tree -p main -m $message $tree)
done
"#;

fn a_push_whose_answer_was_lost_is_not_made_again_over_what_others_pushed_on_top(remote: &Remote) {
    let repo = &remote.repo;
    let directory = temp_dir("faults").unwrap();
    let mut engine = remote.open(directory.path());
    engine.commit(plan("alice", "x/a.yaml", "1\n")).unwrap();
    assert_eq!(engine.push().unwrap(), pushed(1));
    engine.commit(plan("alice", "x/a.yaml", "2\n")).unwrap();
    repo.install_hook("post-receive", &format!("{REVERT}kill -9 $PPID\n"));
    let outcome = engine.push().unwrap();
    assert_eq!(outcome, PushOutcome::UpToDate { replays: 1 });
    repo.remove_hook("post-receive");
    reverted(repo, &engine);
}

fn a_push_right_before_the_kill_is_not_made_again_over_what_others_pushed_on_top(remote: &Remote) {
    let repo = &remote.repo;
    let room = temp_dir("faults").unwrap();
    let (clone, killed) = (room.path().join("clone"), room.path().join("killed"));
    let mut engine = remote.open(&clone);
    engine.commit(plan("alice", "x/a.yaml", "1\n")).unwrap();
    assert_eq!(engine.push().unwrap(), pushed(1));
    engine.commit(plan("alice", "x/a.yaml", "2\n")).unwrap();
    engine.persist().unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([&clone, &killed])
        .status();
    assert!(copied.unwrap().success());
    repo.install_hook("post-receive", REVERT);
    engine.push().unwrap();
    repo.remove_hook("post-receive");
    drop(engine);
    let mut engine = remote.open(&killed);
    assert_eq!(engine.unpushed(), 0);
    assert_eq!(engine.push().unwrap(), PushOutcome::UpToDate { replays: 0 });
    reverted(repo, &engine);
}

fn reverted(repo: &Repo, engine: &Engine) {
    let ours_once = [
        "Outsider", "alice", "alice", "Outsider", "Outsider", "Outsider",
    ];
    assert_eq!(authors(repo), ours_once);
    assert_eq!(engine.read("x/a.yaml").unwrap().unwrap(), b"1\n"[..]);
    repo.fsck().unwrap();
}

fn a_server_that_hangs_in_a_push_gets_it_later(remote: &Remote) {
    let directory = temp_dir("faults").unwrap();
    let mut engine = remote.open(directory.path());
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    remote.pause();
    let error = engine.push().unwrap_err();
    remote.resume();
    assert!(
        matches!(
            error,
            PushError::Remote(RemoteError::Timeout { .. } | RemoteError::Unreachable { .. })
        ),
        "{error}"
    );
    remote.repo.commit_as_outsider("theirs", "theirs\n");
    let outcome = engine.push().unwrap();
    assert!(
        matches!(outcome, PushOutcome::Pushed { commits: 1, .. }),
        "{outcome:?}"
    );
    assert_eq!(authors(&remote.repo), ["Outsider", "Outsider", "alice"]);
    remote.repo.fsck().unwrap();
}

fn credentials_that_are_refused_cost_nothing_and_new_ones_are_taken_up(remote: &Remote) {
    let directory = temp_dir("faults").unwrap();
    let mut engine = remote.open(directory.path());
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    engine.set_credentials(remote.wrong.clone());
    let error = engine.push().unwrap_err();
    assert!(error.is_auth(), "{error}");
    engine.commit(plan("bob", "x/b.yaml", "b\n")).unwrap();
    engine.set_credentials(remote.credentials.clone());
    assert_eq!(engine.push().unwrap(), pushed(2));
    assert_eq!(authors(&remote.repo), ["Outsider", "alice", "bob"]);
    remote.repo.fsck().unwrap();
}

/// Between a client and `server`; cuts each connection once so many bytes were sent. Lives as long as the tests.
fn cutting_proxy(server: String, limit: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().map(Result::unwrap) {
            let server = TcpStream::connect(&server).unwrap();
            let limit = limit.load(Ordering::SeqCst);
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || pass_on(from, to, limit));
            std::thread::spawn(move || pass_on(server, client, usize::MAX));
        }
    });
    address
}

/// In small pieces, so that it is cut within a request and not only between them.
fn pass_on(mut from: TcpStream, mut to: TcpStream, limit: usize) {
    let mut buffer = [0; 256];
    let mut passed = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        passed += read;
        if passed > limit || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_connection_cut_anywhere_in_a_push_costs_nothing_but_time() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let limit = Arc::new(AtomicUsize::new(usize::MAX));
    let behind = server.base_url().strip_prefix("http://").unwrap();
    let address = cutting_proxy(behind.to_owned(), limit.clone());
    let directory = temp_dir("faults").unwrap();
    let url = format!("http://{address}/shop.git");
    let mut engine = open(directory.path(), &url, Credentials::none()).unwrap();
    let mut failed = 0;
    let cuts = [0, 100, 400, 700, 1000, 2000, 4000, 8000, usize::MAX];
    for (n, cut) in cuts.into_iter().enumerate() {
        let author = if n % 2 == 0 { "alice" } else { "bob" };
        let content = noise(n as u64, 1500);
        engine
            .commit(plan(author, &format!("x/{n}.yaml"), &content))
            .unwrap();
        limit.store(cut, Ordering::SeqCst);
        if let Err(error) = engine.push() {
            assert!(!error.is_corrupt_clone(), "{error}");
            failed += 1;
        }
    }
    assert!(failed >= 3, "{failed}");
    let expected = ["alice", "bob"].into_iter().cycle().take(cuts.len());
    let expected: Vec<&str> = std::iter::once("Outsider").chain(expected).collect();
    assert_eq!(authors(&repo), expected);
    for n in 0..cuts.len() {
        let content = repo.file(&format!("x/{n}.yaml")).unwrap();
        assert_eq!(content, noise(n as u64, 1500).into_bytes());
    }
    repo.fsck().unwrap();
}

/// A small file system, where one may be mounted.
struct SmallDisk {
    at: PathBuf,
    _directory: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = temp_dir("disk").unwrap();
        let at = directory.path().join("small");
        std::fs::create_dir(&at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(&at)
            .stderr(Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then_some(Self {
            at,
            _directory: directory,
        })
    }

    /// Leaves no block free.
    fn fill(&self) -> PathBuf {
        let path = self.at.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

pub(crate) fn is_sound(clone: &Path) {
    let output = Command::new("git")
        .arg("-C")
        .arg(clone)
        .args(["fsck", "--full", "--no-dangling"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_full_disk_is_called_by_its_name_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: mounting a tmpfs is not permitted here");
        return;
    };
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let mut engine = open(&disk.at, repo.url(), Credentials::none()).unwrap();
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    engine.push().unwrap();
    let filler = disk.fill();
    for (n, author) in ["alice", "bob"].into_iter().enumerate() {
        let content = noise(n as u64 + 1, 30_000);
        engine
            .commit(plan(author, &format!("x/{n}.yaml"), &content))
            .unwrap();
        let error = engine.push().unwrap_err();
        assert!(
            matches!(error, PushError::Local(EngineError::Disk { .. })),
            "{error}"
        );
    }
    repo.commit_as_outsider("theirs", noise(7, 100_000));
    let error = engine.refresh().unwrap_err();
    assert!(matches!(error, EngineError::Disk { .. }), "{error}");
    assert_eq!(engine.unpushed(), 2);

    std::fs::remove_file(filler).unwrap();
    let outcome = engine.push().unwrap();
    assert!(
        matches!(outcome, PushOutcome::Pushed { commits: 2, .. }),
        "{outcome:?}"
    );
    assert_eq!(
        authors(&repo),
        ["Outsider", "alice", "Outsider", "alice", "bob"]
    );
    assert_eq!(
        repo.file("x/1.yaml").unwrap(),
        noise(2, 30_000).into_bytes()
    );
    repo.fsck().unwrap();
    is_sound(&disk.at.join("clone"));
}
