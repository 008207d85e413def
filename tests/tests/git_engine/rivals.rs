//! A second writer, who races every push, rewrites the branch or takes it away.

use super::faults::authors;
use super::remotes::{Remote, on_each};
use super::*;

on_each!(
    second_writer_racing_every_push_loses_nothing_and_nobody,
    a_branch_reset_replaced_and_deleted_is_pushed_to_all_the_same,
);

fn second_writer_racing_every_push_loses_nothing_and_nobody(remote: &Remote) {
    const COMMITS: usize = 12;
    let repo = &remote.repo;
    let directory = temp_dir("engine").unwrap();
    let mut engine = remote.open(directory.path());
    let replayed = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..COMMITS * 2 {
                repo.commit_as_outsider(&format!("theirs/{n}"), format!("{n}\n"));
            }
        });
        let mut replayed = 0;
        for n in 0..COMMITS {
            let author = if n % 2 == 0 { "alice" } else { "bob" };
            engine
                .commit(plan(author, &format!("x/{n}.yaml"), "x\n"))
                .unwrap();
            loop {
                match engine.push() {
                    Ok(PushOutcome::Pushed { replays, .. } | PushOutcome::UpToDate { replays }) => {
                        replayed += replays;
                        break;
                    }
                    Err(PushError::Moved { attempts }) => replayed += attempts,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        writer.join().unwrap();
        replayed
    });
    println!("{replayed} replays");
    let log = repo.log();
    assert_eq!(log.len(), 1 + COMMITS + COMMITS * 2);
    assert_eq!(repo.files().len(), 1 + COMMITS + COMMITS * 2);
    let by = |name: &str| {
        log.iter()
            .filter(|commit| commit.author().starts_with(name))
            .count()
    };
    assert_eq!(
        (by("alice"), by("bob"), by("Outsider")),
        (COMMITS / 2, COMMITS / 2, 2 * COMMITS + 1)
    );
    assert_eq!(repo.reflog().len(), log.len());
    repo.fsck().unwrap();
}

fn a_branch_reset_replaced_and_deleted_is_pushed_to_all_the_same(remote: &Remote) {
    let repo = &remote.repo;
    let seed = repo.head().unwrap();
    let directory = temp_dir("faults").unwrap();
    let mut engine = remote.open(directory.path());
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    engine.push().unwrap();

    let again = PushOutcome::Pushed {
        commits: 1,
        replays: 1,
    };
    repo.git(&["update-ref", "refs/heads/main", &seed]).unwrap();
    engine.commit(plan("bob", "x/b.yaml", "b\n")).unwrap();
    assert_eq!(engine.push().unwrap(), again);
    assert_eq!(authors(repo), ["Outsider", "bob"]);
    repo.fsck().unwrap();

    let identity = ["-c", "user.name=New", "-c", "user.email=new@example.com"];
    let tree = repo
        .git(&["rev-parse", &format!("{seed}^{{tree}}")])
        .unwrap();
    let orphan = [&identity[..], &["commit-tree", &tree, "-m", "afresh"]].concat();
    let orphan = repo.git(&orphan).unwrap();
    repo.git(&["update-ref", "refs/heads/main", &orphan])
        .unwrap();
    engine.commit(plan("carol", "x/c.yaml", "c\n")).unwrap();
    assert_eq!(engine.push().unwrap(), again);
    assert_eq!(authors(repo), ["New", "carol"]);
    assert_eq!(repo.files(), ["README.md", "x/c.yaml"]);
    repo.fsck().unwrap();

    repo.git(&["update-ref", "-d", "refs/heads/main"]).unwrap();
    engine.commit(plan("dave", "x/d.yaml", "d\n")).unwrap();
    assert_eq!(engine.push().unwrap(), again);
    assert_eq!(authors(repo), ["dave"]);
    assert_eq!(repo.files(), ["x/d.yaml"]);
    repo.fsck().unwrap();
}
