//! The whole reverser killed again and again, while people write to the cluster and somebody else to the branch.
//!
//! `KILLED_SEED` replays a run as far as chance is ours: it is printed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::git::Repo;
use tests::reverser::{Options, Reverser};

use crate::lab::{FOLDER, Lab, PATIENCE, map};

const KILLS: u32 = 50;
/// Few, so that people write over each other's.
const MAPS: usize = 12;
/// Each value names its writer.
const WRITERS: [&str; 3] = ["alice", "bob", "carol"];
/// Deletes, and nobody else does.
const DELETER: &str = "eve";
/// Between two requests of one person.
const PAUSE: Duration = Duration::from_millis(80);

fn name(number: usize) -> String {
    format!("map-{number}")
}

/// Writes or deletes at random until it is told to stop.
async fn person(maps: Api<ConfigMap>, user: &'static str, seed: u64, stop: Arc<AtomicBool>) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut count = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let name = name(random.random_range(0..MAPS));
        let outcome = if user == DELETER {
            maps.delete(&name, &DeleteParams::default()).await.map(drop)
        } else {
            count += 1;
            let value = format!("{user}-{count}");
            let patch = Patch::Merge(json!({"data": {"k": value}}));
            match maps.patch(&name, &PatchParams::default(), &patch).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    let map = map(&name, "k", &value);
                    maps.create(&PostParams::default(), &map).await.map(drop)
                }
                outcome => outcome.map(drop),
            }
        };
        match outcome {
            Ok(()) => {}
            // Somebody else was faster.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => panic!("{user}: {error}"),
        }
        let slower = if user == DELETER { 10 } else { 1 };
        let pause = PAUSE.mul_f64(random.random_range(0.5..1.5)) * slower;
        tokio::time::sleep(pause).await;
    }
}

/// What is live, by file.
async fn live(lab: &Lab<'_>) -> BTreeMap<String, String> {
    let maps: Api<ConfigMap> = Api::namespaced(lab.client.clone(), &lab.namespace);
    let list = maps.list(&ListParams::default()).await.unwrap();
    let ours = list.items.into_iter().filter_map(|map| {
        let value = map.data?.get("k")?.clone();
        Some((lab.path(&map.metadata.name?), value))
    });
    ours.collect()
}

/// What is in Git, all that is not somebody else's.
fn kept(lab: &Lab<'_>) -> BTreeMap<String, String> {
    let files = lab.repo.contents().into_iter();
    let manifests = files.filter(|(path, _)| path.ends_with(".yaml"));
    manifests
        .map(|(path, text)| {
            let object: Value = serde_yaml::from_slice(&text).unwrap();
            (path, object["data"]["k"].as_str().unwrap().to_owned())
        })
        .collect()
}

/// Whose name a commit bears that did not write what is in it, or did not delete what is gone by it. How many bear one.
fn wrong_authors(repo: &Repo) -> (usize, Vec<String>) {
    let log = repo
        .git(&[
            "log",
            "--reverse",
            "--no-renames",
            "--unified=0",
            "-p",
            "--format=commit %an",
            "main",
            "--",
            &format!("{FOLDER}/v1"),
        ])
        .unwrap();
    let (mut named, mut wrong, mut author) = (0, Vec::new(), "");
    for line in log.lines() {
        if let Some(name) = line.strip_prefix("commit ") {
            author = name;
            named += usize::from(WRITERS.contains(&name) || name == DELETER);
        } else if let Some(value) = line.strip_prefix("+  k: ") {
            let writer = value.split('-').next().unwrap();
            if author == DELETER || (WRITERS.contains(&author) && author != writer) {
                wrong.push(format!("{author}: {line}"));
            }
        } else if line == "+++ /dev/null" && WRITERS.contains(&author) {
            wrong.push(format!("{author} deleted a file"));
        }
    }
    (named, wrong)
}

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
    let stop = Arc::new(AtomicBool::new(false));
    let mut people = tokio::task::JoinSet::new();
    for (number, user) in (1..).zip(WRITERS.into_iter().chain([DELETER])) {
        let maps = lab.maps(user);
        people.spawn(person(
            maps,
            user,
            seed.wrapping_add(number),
            Arc::clone(&stop),
        ));
    }

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
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = people.join_next().await {
        done.unwrap();
    }

    eventually(PATIENCE, || async {
        let (live, kept) = (live(&lab).await, kept(&lab));
        if live == kept {
            Ok(())
        } else {
            Err(format!("live: {live:#?}\nin Git: {kept:#?}"))
        }
    })
    .await;
    reverser.must_run().unwrap();
    let (named, wrong) = wrong_authors(&lab.repo);
    let resumed = reverser.logs()[0]
        .matches("found commits that were not pushed")
        .count();
    println!(
        "{} commits, {named} of them with an author; {resumed} times there was something to resume",
        lab.commits().len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
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
