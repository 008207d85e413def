//! Repositories that somebody else has filled.

use std::fmt::Write as _;

use reverser::api::GitDestination;
use tests::git::Repo;

use crate::lab::{FOLDER, Lab, create, map, set};

/// Many references, of the oddest names that Git takes.
fn plant_odd_references(repo: &Repo) {
    let tip = repo.head().unwrap();
    let mut commands = String::new();
    for name in [
        "refs/heads/--upload-pack=touch",
        "refs/heads/$(touch);`id`",
        "refs/heads/MAIN",
        "refs/heads/ma\u{202e}in",
        "refs/heads/'main'",
        "refs/remotes/origin/main",
        "refs/tags/main",
    ] {
        writeln!(commands, "create {name} {tip}").unwrap();
    }
    for n in 0..5_000 {
        writeln!(commands, "create refs/pull/{n:05}/head {tip}").unwrap();
    }
    repo.git_fed(&["update-ref", "--stdin"], commands.as_bytes())
        .unwrap();
    repo.git(&["pack-refs", "--all"]).unwrap();
}

#[tokio::test]
async fn what_others_planted_stays_and_harms_nothing() {
    let lab = Lab::shared("planted").await;
    lab.repo.commit_as_outsider("README.md", "theirs\n");
    // Where the file of `one` and the folders above it are to be, in letters that some file systems take for the same.
    let file = lab.path("one");
    let (folder, _) = file.rsplit_once('/').unwrap();
    let twins = [
        format!("{folder}/ONE.yaml"),
        format!("{folder}/One.YAML"),
        format!("{}/x.yaml", folder.replace("configmaps", "ConfigMaps")),
        format!("{}/x.yaml", FOLDER.to_uppercase()),
    ];
    for (n, twin) in twins.iter().enumerate() {
        lab.repo.commit_as_outsider(twin, format!("twin {n}\n"));
    }
    lab.repo.plant_symlink(&lab.path("two"), "/etc/passwd");
    lab.repo
        .plant_symlink(&format!("{FOLDER}/v1/secrets"), "../../../../../../tmp");
    let deep = vec!["d"; 1_000].join("/");
    lab.repo
        .commit_as_outsider(&format!("{folder}/{deep}/x.yaml"), "deep\n");
    // Git's own index refuses this one, so it comes last.
    let blob = lab
        .repo
        .git_fed(&["hash-object", "-w", "--stdin"], b"[core]\n");
    let entry = format!("100644 blob {}\tconfig\n", blob.unwrap());
    let tree = lab.repo.git_fed(&["mktree"], entry.as_bytes()).unwrap();
    lab.repo
        .graft_as_outsider(&format!("{FOLDER}/v1/.GIT"), &tree);
    plant_odd_references(&lab.repo);

    let lab = lab.watching(&["configmaps", "secrets"]).await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    create(&lab.maps("bob"), &map("two", "k", "2")).await;
    lab.holds("one", "k", "1").await;
    lab.holds("two", "k", "2").await;
    lab.secret("hidden", &[("password", "hunter2")]).await;
    set(&lab.maps("carol"), "one", "k", "3").await;
    lab.holds("one", "k", "3").await;
    lab.settle().await;
    for (n, twin) in twins.iter().enumerate() {
        let text = lab.repo.file(twin).expect(twin);
        assert_eq!(text, format!("twin {n}\n").into_bytes(), "{twin}");
    }
    assert_eq!(lab.repo.file("README.md").unwrap(), b"theirs\n");
    let branches = lab.repo.git(&["ls-remote", "--heads", "."]).unwrap();
    assert!(
        branches
            .lines()
            .any(|line| line.ends_with("refs/heads/main"))
    );
    let authors: Vec<_> = lab.versions(&lab.path("one"));
    assert!(authors.iter().any(|commit| commit.author_name == "carol"));
}

/// Four objects that stand for a hundred million files.
fn bomb(repo: &Repo) -> String {
    let blob = repo
        .git_fed(&["hash-object", "-w", "--stdin"], b"kind: Bomb\n")
        .unwrap();
    let mut entry = format!("100644 blob {blob}\t");
    let mut tree = String::new();
    for level in 0..4 {
        let suffix = if level == 0 { ".yaml" } else { "" };
        let entries: String = (0..100)
            .map(|n| format!("{entry}n{n:02}{suffix}\n"))
            .collect();
        tree = repo.git_fed(&["mktree"], entries.as_bytes()).unwrap();
        entry = format!("040000 tree {tree}\t");
    }
    tree
}

#[tokio::test]
async fn a_repository_that_is_too_large_is_left_alone_and_others_go_on() {
    let lab = Lab::shared("bomb").await.watching(&["configmaps"]).await;
    let other = Lab::shared("neighbour")
        .await
        .watching(&["configmaps"])
        .await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    lab.settle().await;

    // A file of ours, gigantic: put right. What is no manifest is not unpacked for that.
    let gigantic = vec![0; 200 << 20];
    lab.repo
        .commit_as_outsider(&lab.path("gigantic"), &gigantic);
    lab.repo.commit_as_outsider(&lab.path("one"), &gigantic);
    set(&lab.maps("alice"), "one", "k", "2").await;
    lab.holds("one", "k", "2").await;
    lab.lacks("gigantic").await;

    let sound = lab.repo.head().unwrap();
    let tree = bomb(&lab.repo);
    lab.repo
        .graft_as_outsider(&format!("{FOLDER}/v1/configmaps/bomb"), &tree);
    set(&lab.maps("alice"), "one", "k", "3").await;
    let message = lab
        .not_ready::<GitDestination>("all", "RepositoryTooLarge")
        .await;
    assert!(message.contains("files"), "{message}");
    for n in 0..5 {
        let name = format!("while-{n}");
        create(&other.maps("bob"), &map(&name, "k", "v")).await;
        other.holds(&name, "k", "v").await;
    }

    // Once it is gone, what waited comes by itself.
    lab.repo
        .git(&["update-ref", "refs/heads/main", &sound])
        .unwrap();
    lab.holds("one", "k", "3").await;
    lab.ready::<GitDestination>("all").await;
}
