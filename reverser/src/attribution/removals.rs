//! Deletes that no webhook hears of, and who may have caused them.
//!
//! The apiserver deletes some objects by itself, past admission (`rest.ValidateAllObjectFunc`): a Pod that is evicted, the
//! Endpoints of a Service that goes, the custom resources of a CRD that goes. Their events look like those of any delete. So whoever
//! asked to delete such an object, and may have been refused, is credited only where nobody else is known to have asked for one of
//! these.

use std::collections::HashMap;
use std::sync::Arc;

use manifest::{Identity, SpecHash};
use tokio::time::{Duration, Instant};

use super::observation::{Observation, Write};
use super::store::object;

/// Objects that are remembered one by one. Of more, their type is.
const MOST: usize = 1000;

/// Of whom more would have to be kept, nothing is: then it was anybody.
const LONGEST_NAME: usize = 256;

/// How much later than the call that caused it an object may go: until then a delete of it can still be asked for, and be refused.
const SLACK: Duration = Duration::from_secs(10);

/// What may go without a call: an object, or all of a type. A hash is enough, as two that are equal by chance cost a name at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Removed {
    what: SpecHash,
    of_type: SpecHash,
}

// === impl Removed ===

impl Removed {
    /// What goes past admission if this succeeds.
    pub(super) fn by(observation: &Observation) -> Option<Self> {
        let identity = &observation.identity;
        match (observation.write, &*identity.group, &*identity.resource) {
            (Write::Eviction, _, _) => Some(Self::object(identity)),
            (Write::Delete(_), "", "services") => Some(Self::object(&Identity {
                resource: "endpoints".to_owned(),
                ..identity.clone()
            })),
            (Write::Delete(_), "apiextensions.k8s.io", "customresourcedefinitions") => {
                Self::custom_resources(&identity.name)
            }
            _ => None,
        }
    }

    /// All of the type that a CRD of this name defines; it has to be called `{resource}.{group}`.
    pub(super) fn custom_resources(definition: &str) -> Option<Self> {
        let (resource, group) = definition.split_once('.')?;
        let what = of_type(group, resource);
        Some(Self {
            what,
            of_type: what,
        })
    }

    /// One object, in all its versions.
    pub(super) fn object(identity: &Identity) -> Self {
        Self {
            what: SpecHash::of(object(identity).as_bytes()),
            of_type: of_type(&identity.group, &identity.resource),
        }
    }

    /// Whether `other` goes with this.
    pub(super) fn takes(self, other: Self) -> bool {
        self.what == other.what || self.what == other.of_type
    }
}

fn of_type(group: &str, resource: &str) -> SpecHash {
    SpecHash::of(format!("{group}/{resource}").as_bytes())
}

/// Who asked for it; `None` where that is not known, or it was several.
type Asker = Option<Arc<str>>;

#[derive(Debug)]
struct Mark {
    by: Asker,
    until: Instant,
}

/// What may have gone lately without a call.
#[derive(Debug)]
pub(super) struct Removals {
    marks: HashMap<SpecHash, Mark>,
    keep: Duration,
}

// === impl Removals ===

impl Removals {
    /// Remembers each for as long as an observation waits, and a little longer.
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            marks: HashMap::new(),
            keep: ttl + SLACK,
        }
    }

    /// Somebody asked for this. Returns what is doubtful now.
    pub(super) fn asked(&mut self, removed: Removed, by: &Arc<str>, now: Instant) -> Removed {
        let by = (by.len() <= LONGEST_NAME).then(|| Arc::clone(by));
        self.marks.retain(|_, mark| now < mark.until);
        let of_object = removed.what != removed.of_type;
        let full = self.marks.len() >= MOST && !self.marks.contains_key(&removed.what);
        // Types are few: those two, and definitions that are there and go.
        let (removed, by) = if full && of_object {
            let what = removed.of_type;
            (Removed { what, ..removed }, None)
        } else {
            (removed, by)
        };
        let until = now + self.keep;
        let mark = self.marks.entry(removed.what).or_insert_with(|| Mark {
            by: by.clone(),
            until,
        });
        if mark.by != by {
            mark.by = None;
        }
        mark.until = until;
        removed
    }

    /// This goes: whoever is known to have asked for it did it, or nobody knows who.
    pub(super) fn goes(&mut self, removed: Removed, now: Instant) {
        self.marks.retain(|_, mark| now < mark.until);
        let until = now + self.keep;
        let mark = self.marks.entry(removed.what);
        mark.or_insert(Mark { by: None, until }).until = until;
    }

    /// Whether an object that is gone may have gone without a call, and not because of this user.
    pub(super) fn refute(&self, object: Removed, username: &str, now: Instant) -> bool {
        let marks = [object.what, object.of_type].map(|what| self.marks.get(&what));
        marks
            .into_iter()
            .flatten()
            .any(|mark| now < mark.until && mark.by.as_deref() != Some(username))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::identity;
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn pod(name: &str) -> Removed {
        Removed::object(&Identity {
            group: String::new(),
            resource: "pods".to_owned(),
            name: name.to_owned(),
            ..identity()
        })
    }

    #[test]
    fn who_asked_for_both_did_it_either_way() {
        let now = Instant::now();
        let mut removals = Removals::new(TTL);
        removals.asked(pod("a"), &"carol".into(), now);
        assert!(removals.refute(pod("a"), "alice", now));
        assert!(!removals.refute(pod("a"), "carol", now));
        assert!(!removals.refute(pod("b"), "alice", now));
        removals.asked(pod("a"), &"dave".into(), now);
        assert!(removals.refute(pod("a"), "carol", now));
        let later = now + TTL + SLACK;
        assert!(!removals.refute(pod("a"), "alice", later));
    }

    #[test]
    fn with_its_definition_each_object_of_a_type_goes() {
        let now = Instant::now();
        let mut removals = Removals::new(TTL);
        let widgets = Removed::custom_resources("widgets.example.com").unwrap();
        let object = |group: &str| {
            Removed::object(&Identity {
                group: group.to_owned(),
                resource: "widgets".to_owned(),
                ..identity()
            })
        };
        removals.goes(widgets, now);
        assert!(removals.refute(object("example.com"), "alice", now));
        assert!(!removals.refute(object("example.org"), "alice", now));
        // Still going.
        removals.goes(widgets, now + TTL);
        assert!(removals.refute(object("example.com"), "alice", now + TTL + TTL));
    }

    #[test]
    fn memory_is_bounded_and_in_doubt_it_may_have_been_any_of_the_type() {
        let now = Instant::now();
        let mut removals = Removals::new(TTL);
        for n in 0..2 * MOST {
            removals.asked(pod(&n.to_string()), &"drain".into(), now);
        }
        removals.asked(pod("long"), &"x".repeat(LONGEST_NAME + 1).into(), now);
        assert_eq!(removals.marks.len(), MOST + 1);
        assert!(removals.refute(pod("another"), "alice", now));
        assert!(!removals.refute(Removed::object(&identity()), "alice", now));
        removals.asked(pod("a"), &"drain".into(), now + TTL + SLACK);
        assert_eq!(removals.marks.len(), 1);
    }
}
