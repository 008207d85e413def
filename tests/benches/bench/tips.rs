//! When the branch at the remote moved.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tests::git::Repo;

/// How often the reference is looked at: the error of every time measured here.
const EVERY: Duration = Duration::from_millis(2);

/// The branch has come to this commit.
#[derive(Clone, Debug)]
pub(crate) struct Tip {
    pub(crate) commit: String,
    pub(crate) at: Instant,
    /// The same moment, to compare with the logs of others.
    pub(crate) wall: SystemTime,
}

/// Looks at a repository's branch until dropped. Reads one small file, past the server: whoever pushes does not notice.
pub(crate) struct Tips {
    seen: Arc<Mutex<Vec<Tip>>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

// === impl Tips ===

impl Tips {
    pub(crate) fn of(repo: &Repo) -> Self {
        let seen = Arc::<Mutex<Vec<Tip>>>::default();
        let done = Arc::<AtomicBool>::default();
        // The test bed's repositories never pack their references.
        let reference = repo.path().join("refs/heads/main");
        let thread = {
            let (seen, done) = (seen.clone(), done.clone());
            std::thread::spawn(move || follow(&reference, &seen, &done))
        };
        Self {
            seen,
            done,
            thread: Some(thread),
        }
    }

    /// All so far, oldest first.
    pub(crate) fn seen(&self) -> Vec<Tip> {
        self.seen.lock().clone()
    }

    /// Waits until the branch has not moved for `quiet`, and says when it last did. `None` if it never has.
    pub(crate) async fn settled(&self, quiet: Duration) -> Option<Tip> {
        loop {
            let last = self.seen.lock().last().cloned();
            let rest = match &last {
                Some(tip) => quiet.saturating_sub(tip.at.elapsed()),
                None => return None,
            };
            if rest.is_zero() {
                return last;
            }
            tokio::time::sleep(rest).await;
        }
    }
}

impl Drop for Tips {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn follow(reference: &PathBuf, seen: &Mutex<Vec<Tip>>, done: &AtomicBool) {
    let mut last = String::new();
    while !done.load(Ordering::Relaxed) {
        // Git replaces the file in one step.
        if let Ok(text) = std::fs::read_to_string(reference)
            && text != last
        {
            seen.lock().push(Tip {
                commit: text.trim().to_owned(),
                at: Instant::now(),
                wall: SystemTime::now(),
            });
            last = text;
        }
        std::thread::sleep(EVERY);
    }
}
