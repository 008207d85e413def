//! Who joins a watch, or has to be listed for again, costs nobody an author.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use reverser::api::{GitDestination, GitRepoConfig, WatchRule};
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::git::{Commit, Fault, GitServer, HttpOptions, Repo};
use tests::reverser::{Options, Reverser};
use tokio::sync::OnceCell;

use crate::lab::{FOLDER, Lab, PASSWORD, PATIENCE, USER, create, map};

/// Objects that are written to, each by both users.
const OBJECTS: usize = 5;

/// Between two writes of one user: two of them make some 100 writes a second, so that a gap of
/// the length of one request would cost some of them.
const PAUSE: Duration = Duration::from_millis(10);

/// One version of one object, as the apiserver took it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    value: String,
    user: String,
}

/// The versions of every object by resourceVersion, which grows.
type Truth = BTreeMap<String, BTreeMap<u64, Version>>;

/// Objects that nobody writes to, so that a list takes longer than it is between many writes.
const BALLAST: usize = 400;

/// A control plane for these tests: what they put there would keep those of others busy.
async fn lab(prefix: &str) -> Lab<'static> {
    static OWN: OnceCell<(ControlPlane, Reverser)> = OnceCell::const_new();
    let (plane, _) = OWN
        .get_or_init(|| async {
            let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
            let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
            (plane, reverser)
        })
        .await;
    Lab::on(plane, prefix).await
}

/// A lab that is watched, with ballast in it.
async fn heavy_lab(prefix: &str) -> Lab<'static> {
    let lab = lab(prefix).await;
    let maps = lab.maps("founder");
    let text = "ballast ".repeat(2500);
    let creates = (0..BALLAST).map(|n| {
        let (maps, map) = (&maps, map(&format!("ballast-{n}"), "k", &text));
        async move { create(maps, &map).await }
    });
    futures::stream::iter(creates)
        .buffer_unordered(8)
        .collect::<()>()
        .await;
    lab.watching(&["configmaps"]).await
}

fn name(n: usize) -> String {
    format!("busy-{}", n % OBJECTS)
}

/// Two users who write to the same objects until they are stopped.
struct Crowd {
    stop: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<Truth>>,
}

impl Crowd {
    async fn start(lab: &Lab<'_>) -> Self {
        for n in 0..OBJECTS {
            create(&lab.maps("founder"), &map(&name(n), "k", "founder")).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let write = |user: &'static str| {
            let (maps, stop) = (lab.maps(user), stop.clone());
            async move {
                let mut truth = Truth::new();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let value = format!("{user}-{n}");
                    let patch = Patch::Merge(json!({"data": {"k": value}}));
                    let written = maps.patch(&name(n), &PatchParams::default(), &patch).await;
                    let version = written.unwrap().resource_version().unwrap();
                    let user = user.to_owned();
                    truth
                        .entry(name(n))
                        .or_default()
                        .insert(version.parse().unwrap(), Version { value, user });
                    tokio::time::sleep(PAUSE).await;
                }
                truth
            }
        };
        Self {
            writers: ["ann", "ben"].map(|user| tokio::spawn(write(user))).into(),
            stop,
        }
    }

    async fn stop(self) -> Truth {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Truth::new();
        for writer in self.writers {
            for (name, versions) in writer.await.unwrap() {
                all.entry(name).or_default().extend(versions);
            }
        }
        all
    }
}

/// Waits until every file holds the last version.
async fn ends_with(lab: &Lab<'_>, repo: &Repo, folder: &str, truth: &Truth) {
    eventually(PATIENCE, || async {
        for (name, versions) in truth {
            let last = versions.values().next_back().unwrap();
            let path = path(lab, folder, name);
            let held = repo.file(&path).map(|text| value(&text));
            if held.as_ref() != Some(&last.value) {
                return Err(format!("{path} holds {held:?}, not {last:?}"));
            }
        }
        Ok(())
    })
    .await;
}

fn path(lab: &Lab<'_>, folder: &str, name: &str) -> String {
    format!("{folder}/v1/configmaps/{}/{name}.yaml", lab.namespace)
}

fn value(text: &[u8]) -> String {
    let object: Value = serde_yaml::from_slice(text).unwrap();
    object["data"]["k"].as_str().unwrap_or_default().to_owned()
}

/// The commits of a file with what they made it hold, oldest first.
fn history(repo: &Repo, path: &str) -> Vec<(Commit, String)> {
    let of = |commit: Commit| {
        let text = repo.git(&["show", &format!("{}:{path}", commit.hash)]);
        let value = value(text.unwrap().as_bytes());
        (commit, value)
    };
    let mut commits = repo.log();
    commits.retain(|commit| commit.paths().contains(&path));
    commits.into_iter().map(of).collect()
}

/// Every version is in the history in its order, by its own user and exactly so; only of one
/// user's versions in a row the earlier ones may be missing. What else is in the history is
/// returned.
fn judge(
    path: &str,
    history: Vec<(Commit, String)>,
    truth: &BTreeMap<u64, Version>,
) -> Vec<Commit> {
    let (ours, others): (Vec<_>, Vec<_>) = history
        .into_iter()
        .partition(|(commit, _)| commit.trailer("Attribution") == Some("exact"));
    let mut truth = truth.values().peekable();
    for (commit, value) in ours
        .iter()
        .filter(|(commit, _)| commit.author_name != "founder")
    {
        loop {
            let version = truth
                .next()
                .unwrap_or_else(|| panic!("{path}: {value} comes too late: {commit:#?}"));
            if version.value == *value {
                assert_eq!(commit.author_name, version.user, "{path}: {commit:#?}");
                break;
            }
            let same_user = truth.peek().is_some_and(|next| next.user == version.user);
            assert!(
                same_user,
                "{path}: {version:?} is missing before {commit:#?}"
            );
        }
    }
    assert_eq!(truth.next(), None, "{path}: the end is missing");
    others.into_iter().map(|(commit, _)| commit).collect()
}

/// Another destination for the ConfigMaps of the lab, with a repository of its own.
async fn another(lab: &Lab<'_>, name: &str, server: &GitServer) -> Repo {
    let repo = server.create_repo(name);
    let secret = format!("git-{name}");
    let credentials = [
        ("username", USER),
        ("password", PASSWORD),
        ("ca.crt", server.ca_pem()),
    ];
    lab.secret(&secret, &credentials).await;
    let spec = json!({"repoUrl": repo.url(), "allowedBranches": ["main"],
                      "secretRef": {"name": secret}, "push": {"lingerMs": 200}});
    lab.apply::<GitRepoConfig>(name, spec).await.unwrap();
    lab.destination(name, json!({"repoRef": {"name": name}, "baseFolder": name}))
        .await;
    let rule = json!({"destinationRef": {"name": name}, "rules": [{"resources": ["configmaps"]}]});
    lab.apply::<WatchRule>(name, rule).await.unwrap();
    repo
}

/// Both users have written so much more.
async fn writes_go_on(lab: &Lab<'_>) {
    let maps = lab.maps("reader");
    let version = || async { maps.get(&name(0)).await.unwrap().data.unwrap()["k"].clone() };
    for _ in 0..20 {
        let before = version().await;
        eventually(PATIENCE, || async {
            if version().await == before {
                Err("nobody writes")
            } else {
                Ok(())
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn destinations_that_join_cost_the_first_one_no_author() {
    let lab = heavy_lab("join").await;
    let crowd = Crowd::start(&lab).await;
    writes_go_on(&lab).await;
    let mut joined = Vec::new();
    for name in ["second", "third"] {
        let repo = another(&lab, name, &lab.server).await;
        lab.ready::<WatchRule>(name).await;
        lab.ready::<GitDestination>(name).await;
        writes_go_on(&lab).await;
        joined.push((name, repo));
    }
    let truth = crowd.stop().await;
    println!(
        "{} writes",
        truth.values().map(BTreeMap::len).sum::<usize>()
    );

    ends_with(&lab, &lab.repo, FOLDER, &truth).await;
    for (name, versions) in &truth {
        let path = path(&lab, FOLDER, name);
        let others = judge(&path, history(&lab.repo, &path), versions);
        assert_eq!(others, [], "{path}");
    }
    for (folder, repo) in &joined {
        ends_with(&lab, repo, folder, &truth).await;
        for (name, versions) in &truth {
            let path = path(&lab, folder, name);
            let mut history = history(repo, &path);
            // From when it joined on.
            let first = versions.values().position(|v| v.value == history[0].1);
            let mut versions = versions.clone();
            for _ in 0..first.unwrap() {
                versions.pop_first();
            }
            if history[0].0.trailer("Reason") == Some("seed") {
                history.remove(0);
                versions.pop_first();
            }
            let others = judge(&path, history, &versions);
            assert_eq!(others, [], "{path}");
        }
        repo.fsck().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_put_right_and_costs_no_author() {
    let lab = heavy_lab("driftly").await;
    create(&lab.maps("founder"), &map("still", "k", "1")).await;
    let crowd = Crowd::start(&lab).await;
    writes_go_on(&lab).await;
    for n in 0..3 {
        lab.repo
            .commit_as_outsider(&lab.path("still"), "edited: by hand\n");
        lab.repo
            .commit_as_outsider(&lab.path(&name(n)), "data: {k: by-hand}\n");
        lab.repo
            .commit_as_outsider(&lab.path("ghost"), "kind: Ghost\n");
        lab.holds("still", "k", "1").await;
        lab.lacks("ghost").await;
        writes_go_on(&lab).await;
    }
    let truth = crowd.stop().await;
    ends_with(&lab, &lab.repo, FOLDER, &truth).await;
    for (name, versions) in &truth {
        let path = lab.path(name);
        for commit in judge(&path, history(&lab.repo, &path), versions) {
            let outsider = commit.trailer("Destination").is_none();
            let repair = commit.trailer("Reason") == Some("drift");
            assert!(outsider || repair, "{path}: {commit:#?}");
        }
    }
    let repairs = lab.versions(&lab.path("still"));
    let repairs = repairs
        .iter()
        .filter(|commit| commit.trailer("Reason") == Some("drift"));
    for repair in repairs.clone() {
        assert_eq!(repair.trailer("Attribution"), Some("none"), "{repair:#?}");
    }
    assert_eq!(repairs.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_seed_that_git_does_not_take_costs_the_others_no_author() {
    let lab = lab("stuck").await.watching(&["configmaps"]).await;
    // More than may wait in front of one worker.
    let large = "large ".repeat(150_000);
    for n in 0..45 {
        create(
            &lab.maps("founder"),
            &map(&format!("large-{n}"), "k", &large),
        )
        .await;
    }
    lab.holds("large-44", "k", &large).await;
    let crowd = Crowd::start(&lab).await;
    let server = GitServer::https(HttpOptions::basic(USER, PASSWORD)).unwrap();
    server.set_fault(Fault::Hang);
    let repo = another(&lab, "stuck", &server).await;
    let pending =
        || async { lab.status::<GitDestination>("stuck").await["pendingChanges"].clone() };
    eventually(PATIENCE, || async {
        match pending().await.as_u64() {
            Some(30..) => Ok(()),
            other => Err(format!("{other:?} wait")),
        }
    })
    .await;
    // Longer than a list has patience with one destination.
    for _ in 0..5 {
        writes_go_on(&lab).await;
    }
    let healthy = another(&lab, "healthy", &lab.server).await;
    lab.ready::<WatchRule>("healthy").await;
    lab.ready::<GitDestination>("healthy").await;
    writes_go_on(&lab).await;
    server.set_fault(Fault::None);
    lab.ready::<GitDestination>("stuck").await;
    let truth = crowd.stop().await;

    ends_with(&lab, &lab.repo, FOLDER, &truth).await;
    for (name, versions) in &truth {
        let path = lab.path(name);
        let others = judge(&path, history(&lab.repo, &path), versions);
        assert_eq!(others, [], "{path}");
    }
    for (folder, repo) in [("stuck", &repo), ("healthy", &healthy)] {
        ends_with(&lab, repo, folder, &truth).await;
        for n in 0..45 {
            let path = path(&lab, folder, &format!("large-{n}"));
            assert_eq!(value(&repo.file(&path).unwrap()), large, "{path}");
        }
        repo.fsck().unwrap();
    }
}
