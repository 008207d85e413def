//! The directories of clones below `--work-dir`: who has which, and which can go.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use manifest::SpecHash;
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::rules::BranchKey;

/// All of them. A directory has one holder at a time, so that no two write to one clone.
pub(super) struct Clones {
    work_dir: PathBuf,
    /// Names.
    held: Mutex<HashSet<String>>,
}

/// A directory that is held until this is dropped: by a worker and by the thread that works for it, which may outlast it.
pub(super) struct HeldClone {
    clones: Arc<Clones>,
    name: String,
    /// Nobody will want it again.
    discarded: AtomicBool,
}

impl Clones {
    pub(super) fn new(work_dir: PathBuf) -> Self {
        Self {
            work_dir,
            held: Mutex::default(),
        }
    }

    /// The directory of this branch; another one while somebody still holds that: a thread that was given up.
    pub(super) fn hold(self: &Arc<Self>, branch: &BranchKey) -> Arc<HeldClone> {
        let first = name(branch);
        let mut held = self.held.lock();
        let mut name = first.clone();
        let mut next = 1_u32;
        while !held.insert(name.clone()) {
            name = format!("{first}-{next}");
            next += 1;
        }
        Arc::new(HeldClone {
            clones: self.clone(),
            name,
            discarded: AtomicBool::new(false),
        })
    }

    /// Removes the clones of an earlier process that no worker has and none of these branches will want. Whatever is not named as
    /// a clone of ours is left alone.
    pub(super) fn remove_unused(&self, branches: impl Iterator<Item = BranchKey>) {
        let wanted: BTreeSet<String> = branches.map(|branch| name(&branch)).collect();
        let entries = match std::fs::read_dir(&self.work_dir) {
            Ok(entries) => entries,
            Err(error) => {
                warn!(%error, "cannot look for clones that are not used any more");
                return;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // Of the entry itself: a link leads elsewhere.
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_directory || !is_name(&name) || wanted.contains(&name) {
                continue;
            }
            // Nobody gets it while it is being removed.
            if self.held.lock().insert(name.clone()) {
                self.remove(&name);
                self.held.lock().remove(&name);
            }
        }
    }

    fn remove(&self, name: &str) {
        match std::fs::remove_dir_all(self.work_dir.join(name)) {
            Ok(()) => info!(clone = name, "removed a clone that is not used any more"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // It is tried again at the next start.
            Err(error) => warn!(clone = name, %error, "cannot remove a clone that is not used"),
        }
    }
}

impl HeldClone {
    pub(super) fn path(&self) -> PathBuf {
        Path::new(&self.clones.work_dir).join(&self.name)
    }

    /// Has it removed once nobody holds it any more.
    pub(super) fn discard(&self) {
        self.discarded.store(true, Ordering::SeqCst);
    }
}

impl Drop for HeldClone {
    /// May take its time: not for an async thread where it is to be removed.
    fn drop(&mut self) {
        if self.discarded.load(Ordering::SeqCst) {
            self.clones.remove(&self.name);
        }
        self.clones.held.lock().remove(&self.name);
    }
}

fn name(branch: &BranchKey) -> String {
    let BranchKey {
        repository,
        branch,
        secret,
        signing,
    } = branch;
    let mut text = format!("{repository}\n{branch}\n{secret}");
    if !signing.is_empty() {
        // Without one, as it was before there were any.
        text = format!("{text}\n{signing}");
    }
    SpecHash::of(text.as_bytes()).to_string()
}

/// 16 hex digits, or those and a number.
fn is_name(name: &str) -> bool {
    let (hash, number) = match name.split_once('-') {
        Some((hash, number)) => (hash, Some(number)),
        None => (name, None),
    };
    let is_number = |text: &str| {
        !text.is_empty() && text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    hash.len() == 16
        && hash
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && number.is_none_or(is_number)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn branch(branch: &str) -> BranchKey {
        BranchKey {
            repository: "https://git.example.com/a/b".to_owned(),
            branch: branch.to_owned(),
            secret: String::new(),
            signing: String::new(),
        }
    }

    fn made(work_dir: &TempDir) -> Arc<Clones> {
        Arc::new(Clones::new(work_dir.path().to_owned()))
    }

    fn fill(directory: &Path) {
        std::fs::create_dir_all(directory.join("objects")).unwrap();
        std::fs::write(directory.join("objects/one"), "x").unwrap();
    }

    #[test]
    fn only_what_is_named_as_a_clone_and_used_by_none_goes() {
        let work_dir = TempDir::new().unwrap();
        let clones = made(&work_dir);
        let at = |name: &str| work_dir.path().join(name);
        let used = name(&branch("used"));
        let held = clones.hold(&branch("held"));
        let gone = [
            name(&branch("gone")),
            format!("{used}-1"),
            format!("{used}-23"),
        ];
        let kept = [
            used.clone(),
            "home".to_owned(),
            "probe".to_owned(),
            "lost+found".to_owned(),
            "0123456789ABCDEF".to_owned(),
            "0123456789abcde".to_owned(),
            "0123456789abcdef0".to_owned(),
            "0123456789abcdef-".to_owned(),
            "0123456789abcdef-x".to_owned(),
            "0123456789abcdef.bak".to_owned(),
        ];
        for name in gone.iter().chain(&kept) {
            fill(&at(name));
        }
        fill(&held.path());
        let file = at("0123456789abcdef");
        std::fs::write(&file, "a file").unwrap();
        let link = at("fedcba9876543210");
        std::os::unix::fs::symlink(at("home"), &link).unwrap();

        clones.remove_unused([branch("used")].into_iter());
        for name in &gone {
            assert!(!at(name).exists(), "{name}");
        }
        for name in &kept {
            assert!(at(name).join("objects/one").exists(), "{name}");
        }
        assert!(held.path().join("objects/one").exists());
        assert!(file.exists() && link.is_symlink());
        assert_eq!(clones.held.lock().len(), 1);
    }

    #[test]
    fn a_clone_that_a_given_up_thread_holds_is_nobody_elses_and_goes_with_it() {
        let work_dir = TempDir::new().unwrap();
        let clones = made(&work_dir);
        let workers = clones.hold(&branch("main"));
        let first = workers.path();
        fill(&first);
        let threads = workers.clone();
        workers.discard();
        drop(workers);

        let next = clones.hold(&branch("main"));
        assert_ne!(next.path(), first);
        clones.remove_unused(std::iter::empty());
        assert!(first.exists());
        drop(threads);
        assert!(!first.exists());
        assert_eq!(clones.hold(&branch("main")).path(), first);
    }

    #[test]
    fn a_clone_that_was_not_discarded_stays_for_the_next_process() {
        let work_dir = TempDir::new().unwrap();
        let clones = made(&work_dir);
        let held = clones.hold(&branch("main"));
        let path = held.path();
        fill(&path);
        drop(held);
        assert!(path.exists());
        assert_eq!(clones.hold(&branch("main")).path(), path);
    }
}
