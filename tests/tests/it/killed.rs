//! The whole reverser killed again and again, while people write to the cluster and somebody else to the branch.
//!
//! `KILLED_SEED` replays a run as far as chance is ours: it is printed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::reverser::{Options, Reverser};

use crate::crowd::{Crowd, maps};
use crate::lab::{FOLDER, Lab};
use crate::truth::{git_equals_the_cluster, no_live_object_was_deleted, nobody_is_wronged};

const KILLS: u32 = 50;

fn clone(reverser: &Reverser) -> PathBuf {
    let entries = std::fs::read_dir(reverser.work_dir()).unwrap();
    let mut clones = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("objects").is_dir());
    clones.next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reverser_killed_fifty_times_under_load_ends_with_git_equal_to_the_cluster_and_nobody_wrong()
 {
    let seed = std::env::var("KILLED_SEED").map_or_else(|_| rand::random(), |s| s.parse().unwrap());
    println!("KILLED_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "killed").await;
    lab.repo.commit_as_outsider("README.md", "theirs\n");
    let lab = lab.watching(&["configmaps"]).await;
    let crowd = Crowd::start(&lab, &[maps()], seed);

    let mut foreign = BTreeMap::from([("README.md".to_owned(), b"theirs\n".to_vec())]);
    for kill in 0..KILLS {
        let alive = Duration::from_millis(random.random_range(50..2500));
        let before = alive.mul_f64(random.random());
        tokio::time::sleep(before).await;
        // Outside the folder, and within it what is no manifest of ours.
        let paths = ["docs/theirs.md".to_owned(), format!("{FOLDER}/notes.txt")];
        for path in paths {
            let content = format!("{kill}\n");
            lab.repo.commit_as_outsider(&path, &content);
            foreign.insert(path, content.into_bytes());
        }
        tokio::time::sleep(alive - before).await;
        reverser.must_run().unwrap();
        reverser.kill9_reverser();
        lab.repo.remove_stale_locks();
        reverser.respawn_reverser().unwrap();
    }
    let acts = crowd.stop().await;
    assert_eq!(acts.failures, 0);
    git_equals_the_cluster(&lab, &[maps()]).await;
    reverser.must_run().unwrap();
    let named = nobody_is_wronged(&lab);
    no_live_object_was_deleted(&lab, &acts);
    let resumed = reverser.logs()[0]
        .matches("found commits that were not pushed")
        .count();
    println!(
        "{} commits, {named} of them with an author; {resumed} times there was something to resume",
        lab.commits().len()
    );
    // How many depends on how far a process gets in its second or two.
    assert!(named > 0, "nobody was named");
    for (path, content) in &foreign {
        assert_eq!(lab.repo.file(path).as_ref(), Some(content), "{path}");
    }
    let theirs = lab
        .commits()
        .into_iter()
        .filter(|c| c.author_name == "Outsider");
    let theirs: Vec<_> = theirs.map(|commit| commit.subject).collect();
    assert_eq!(theirs.len(), 1 + 2 * KILLS as usize, "a commit is lost");
    lab.repo.fsck().unwrap();
    // Its own clone is looked at while nobody writes to it.
    reverser.kill9_reverser();
    let fsck = Command::new("git")
        .arg("-C")
        .arg(clone(&reverser))
        .args(["fsck", "--full", "--no-dangling"])
        .stderr(Stdio::null())
        .status();
    assert!(fsck.unwrap().success());
    reverser.stop().await.unwrap();
}
