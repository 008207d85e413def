//! Who pushes asks first.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::git::testing::{Bed, plan, write};
use crate::git::{Denied, Engine, Permit, PushError, PushOutcome};

/// Allows so many times. What happens at each of them is up to the test.
struct Times {
    left: Mutex<u32>,
    denied: Denied,
    meanwhile: Box<dyn Fn(u32) + Send + Sync>,
}

impl std::fmt::Debug for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Times")
    }
}

impl Permit for Times {
    fn check(&self) -> Result<(), Denied> {
        let mut left = self.left.lock();
        (self.meanwhile)(*left);
        *left = left.checked_sub(1).ok_or(self.denied)?;
        Ok(())
    }
}

fn committed(bed: &Bed, permit: Times) -> Engine {
    let mut engine = bed.open("main");
    engine.set_permit(Arc::new(permit));
    let commit = plan("alice", "Create a\n", &[write("x/a.yaml", "a\n")]);
    engine.commit(commit).unwrap();
    engine
}

#[test]
fn a_push_that_is_not_allowed_sends_nothing_and_keeps_its_commits() {
    // Asked before connecting, and again once the server has said what it has.
    for (times, denied) in [(0, Denied::Lost), (1, Denied::Unconfirmed)] {
        let bed = Bed::with_readme();
        let tip = bed.tip("main");
        let permit = Times {
            left: Mutex::new(times),
            denied,
            meanwhile: Box::new(|_| {}),
        };
        let mut engine = committed(&bed, permit);
        let error = engine.push().unwrap_err();
        assert!(
            matches!(error, PushError::Denied(why) if why == denied),
            "{times}: {error}"
        );
        assert_eq!(bed.tip("main"), tip);
        assert_eq!(engine.unpushed(), 1);
    }
}

#[test]
fn a_branch_that_has_moved_is_not_replayed_on_without_asking() {
    let bed = Arc::new(Bed::with_readme());
    let pushing = bed.clone();
    // Somebody pushes once the first attempt is allowed: the next leader, which then has the Lease.
    let permit = Times {
        left: Mutex::new(1),
        denied: Denied::Lost,
        meanwhile: Box::new(move |left| {
            if left == 1 {
                pushing.somebody_pushes("main", &[("x/a.yaml", Some("theirs\n"))]);
            }
        }),
    };
    let mut engine = committed(&bed, permit);
    let before = engine.tip();
    let error = engine.push().unwrap_err();
    assert!(matches!(error, PushError::Denied(Denied::Lost)), "{error}");
    assert_eq!(bed.content("main", "x/a.yaml"), "theirs");
    assert_eq!(engine.tip(), before);
    engine.drop_unpushed().unwrap();
    assert!(!engine.has_unpushed());
}

#[test]
fn a_push_that_is_allowed_throughout_gets_through() {
    let bed = Bed::with_readme();
    let permit = Times {
        left: Mutex::new(2),
        denied: Denied::Lost,
        meanwhile: Box::new(|_| {}),
    };
    let mut engine = committed(&bed, permit);
    let pushed = PushOutcome::Pushed {
        commits: 1,
        replays: 0,
    };
    assert_eq!(engine.push().unwrap(), pushed);
    assert_eq!(bed.content("main", "x/a.yaml"), "a");
}
