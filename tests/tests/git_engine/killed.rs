//! A process that is killed again and again, while others push elsewhere.

use super::*;

const URL: &str = "GIT_ENGINE_TEST_URL";
const WORK_DIR: &str = "GIT_ENGINE_TEST_WORK_DIR";
/// Pushes what there is, and ends.
const LAST: &str = "GIT_ENGINE_TEST_LAST";

const FILES: usize = 7;
const KILLS: u64 = 50;

/// The change that comes after what the tip has: each is the number of its predecessor and one.
fn next(engine: &Engine) -> usize {
    let content = |n| engine.read(&format!("x/{n}.yaml")).unwrap();
    let numbers = (0..FILES).filter_map(content).map(|bytes| {
        let text = String::from_utf8(bytes).unwrap();
        text.trim().parse::<usize>().unwrap()
    });
    numbers.max().map_or(0, |last| last + 1)
}

fn author(number: usize) -> &'static str {
    ["alice", "bob", "carol"][number % 3]
}

#[test]
#[ignore = "the process that the other test kills"]
fn writes_until_it_is_killed() {
    let (Ok(url), Ok(work_dir)) = (std::env::var(URL), std::env::var(WORK_DIR)) else {
        return;
    };
    let mut engine = open(Path::new(&work_dir), &url, Credentials::none()).unwrap();
    if std::env::var(LAST).is_ok() {
        engine.push().unwrap();
        return;
    }
    for number in next(&engine).. {
        let path = format!("x/{}.yaml", number % FILES);
        let mut change = plan(author(number), &path, &format!("{number}\n"));
        change.message = number.to_string();
        engine.commit(change).unwrap();
        if number % 3 == 0 {
            engine.persist().unwrap();
        }
        if number % 5 == 0 {
            // Whatever comes of it.
            let _ = engine.push();
        }
    }
}

#[test]
fn a_process_killed_fifty_times_loses_no_commit_and_makes_none_twice() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("killed").unwrap();
    let writer = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "killed::writes_until_it_is_killed", "--ignored"])
            .env(URL, repo.url())
            .env(WORK_DIR, directory.path())
            .stdout(Stdio::null());
        command
    };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for kill in 0..KILLS {
        let mut child = writer().spawn().unwrap();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_millis(50 + random % 250));
        child.kill().unwrap();
        assert!(
            child.wait().unwrap().code().is_none(),
            "it failed by itself"
        );
        repo.remove_stale_locks();
        if kill % 4 == 0 {
            repo.commit_as_outsider("theirs", format!("{kill}\n"));
        }
    }
    assert!(writer().env(LAST, "").status().unwrap().success());

    let log = repo.log();
    let ours = log.iter().filter(|c| c.author_name != "Outsider");
    let ours: Vec<(String, String)> = ours
        .map(|commit| (commit.subject.clone(), commit.author_name.clone()))
        .collect();
    let expected: Vec<(String, String)> = (0..ours.len())
        .map(|number| (number.to_string(), author(number).to_owned()))
        .collect();
    assert_eq!(ours, expected);
    assert!(ours.len() > 20, "only {} commits", ours.len());
    println!("{} commits", ours.len());
    repo.fsck().unwrap();
    let clone = directory.path().join("clone");
    let fsck = Command::new("git")
        .arg("-C")
        .arg(&clone)
        .args(["fsck", "--full", "--no-dangling"])
        .stderr(Stdio::null())
        .status();
    assert!(fsck.unwrap().success());
    // A lock or a pack half written is cleared away by the next process.
    let leftovers = std::fs::read_dir(clone.join("objects/pack")).unwrap();
    let leftovers = leftovers.map(|file| file.unwrap().file_name().into_string().unwrap());
    let leftovers: Vec<String> = leftovers
        .filter(|name| !name.starts_with("pack-"))
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}
