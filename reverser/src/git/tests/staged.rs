//! Files that are written to the clone before there is a commit.

use rand::RngCore;

use crate::git::testing::{Bed, person};
use crate::git::{CommitOutcome, PushOutcome, RefreshOutcome};

/// Not to be compressed.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    rand::rng().fill_bytes(&mut noise);
    noise
}

#[test]
fn staged_files_wait_on_disk_and_are_one_commit_on_whatever_others_push() {
    let bed = Bed::with_readme();
    bed.somebody_pushes("main", &[("x/old.yaml", Some("old\n"))]);
    let mut engine = bed.open("main");
    let files: Vec<(String, Vec<u8>)> = (0..20)
        .map(|n| (format!("x/{n:02}.yaml"), noise(1 << 20)))
        .collect();
    let mut changes = Vec::new();
    for (path, content) in &files {
        changes.push((path.as_str(), Some(engine.stage(content).unwrap())));
        // In memory is what fits below the bound of 8 MiB, and one file.
        assert!(engine.store.draft.bytes() < 10 << 20);
    }
    assert!(engine.unpushed_bytes() > 19 << 20);
    assert!(!engine.has_unpushed());
    changes.push(("x/old.yaml", None));
    let outcome = engine
        .commit_staged(
            &person("Snapshot"),
            "all of it\n".to_owned(),
            changes.clone(),
        )
        .unwrap();
    assert!(
        matches!(
            outcome,
            CommitOutcome::Committed {
                written: 20,
                deleted: 1,
                ..
            }
        ),
        "{outcome:?}"
    );
    bed.somebody_pushes("main", &[("README", Some("others\n"))]);
    let before = engine.remote_folder_id("x");
    let moved = engine.refresh().unwrap();
    assert!(
        matches!(moved, RefreshOutcome::Moved { replayed: 1, .. }),
        "{moved:?}"
    );
    // Whatever we commit there is not the remote's.
    assert_eq!(engine.remote_folder_id("x"), before);
    assert_ne!(engine.folder_id("x"), before);
    let pushed = PushOutcome::Pushed {
        commits: 1,
        replays: 0,
    };
    assert_eq!(engine.push().unwrap(), pushed);
    assert_eq!(bed.files("main").len(), 21);
    assert_eq!(bed.content("main", "README"), "others");
    for (path, content) in &files {
        assert_eq!(&engine.read(path).unwrap().unwrap(), content, "{path}");
    }
    bed.assert_sound();
    // Once more there is nothing to do.
    let again = engine
        .commit_staged(&person("Snapshot"), "again\n".to_owned(), changes)
        .unwrap();
    assert_eq!(again, CommitOutcome::Unchanged);
}
