//! One object under many writers, a reverser that follows it, and a judge who knows who did what.
//!
//! The apiserver modelled here: admission within compare-and-swap, a uid for every attempt to
//! create, managedFields of whole seconds, conversion between served versions. Admissions may be
//! refused afterwards, reach the store late, or never; events lag, and get lost in gaps. The sidecar
//! dies with what is late, and is away for a while; attempts on a version that was replaced meanwhile
//! come within the second. The reverser dies with its store and what it had not committed, and
//! compares a list with Git.
//!
//! A name counts when its batch closes. By then what is late has come, or the sidecar is known to be
//! away (the barrier), so only a call that was dropped while the sidecar lived excuses a wrong one.

use std::collections::{BTreeMap, VecDeque};
use std::time::SystemTime;

use manifest::SpecHash;
use proptest::prelude::*;
use proptest::strategy::Union;

use crate::change::{Attribution, Miss, Operation, Sighting};

use super::claim::Joined;
use super::credit::Credit;
use super::fixtures::{hash, identity, metrics};
use super::join::older;
use super::observation::{Observation, Write};
use super::store::{Limits, Store};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    OnTime,
    Late,
    Dropped,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Update { body: u8, replicas: i64, v2: bool },
    Scale(i64),
    Delete,
    Status,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// An absent object is created by what would update it.
    Attempt {
        user: u8,
        manager: u8,
        what: What,
        refused: bool,
        /// On the version before the current one, as from a stale cache: bound to lose.
        stale: bool,
        sight: Sight,
    },
    NextSecond,
    Deliver(u8),
    LateOnesArrive,
    BatchCloses,
    /// The sidecar confirms what was joined, unless it is dead.
    Mark,
    Gap,
    /// The stream is cut, and the same sidecar comes back with what it saw.
    Cut,
    /// The sidecar dies. Until another comes, nothing is seen.
    Dies,
    Comes,
    /// Another reverser takes over.
    Restart,
}

type Fields = BTreeMap<(u8, &'static str), u32>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    body: u8,
    replicas: i64,
}

impl Content {
    fn hash(&self, version: &str) -> SpecHash {
        hash(&format!("{version} {} {}", self.body, self.replicas))
    }
}

#[derive(Clone, Debug)]
struct Object {
    uid: String,
    version: u64,
    content: Content,
    fields: Fields,
    /// The attempt that made this content.
    author: usize,
}

#[derive(Debug)]
struct Attempt {
    user: u8,
    uid: String,
    base: String,
    delete: bool,
    scale: bool,
    /// Asked for at the version that is not watched.
    v2: bool,
    content: Content,
    fields: Fields,
    stored: bool,
    /// In the store, or was.
    recorded: bool,
    /// The apiserver had just begun to reach the sidecar.
    early: bool,
    /// Of the sidecar that saw it.
    deaths: u32,
    /// Never to be in the store, by a fault that the store can't know of.
    dropped: bool,
}

/// What the watch will show.
#[derive(Debug)]
enum Event {
    Present(Object),
    Gone { uid: String, author: usize },
}

struct World {
    store: Store,
    attempts: Vec<Attempt>,
    object: Option<Object>,
    previous: Option<Object>,
    deleted_by: BTreeMap<String, usize>,
    version: u64,
    second: u32,
    late: Vec<(usize, Observation)>,
    /// By the sidecar, late or not.
    seen: Vec<(usize, Observation)>,
    /// The last write was seen by nobody who lives.
    unseen: bool,
    /// In which second the sidecar came, if it is not the first.
    came: Option<u32>,
    /// The file, and whose content it holds.
    file: Option<Content>,
    events: VecDeque<Event>,
    known: Option<Object>,
    batch: Vec<Waiting>,
    judged: u32,
    /// The sidecar is dead.
    away: bool,
    /// How many have died.
    deaths: u32,
    marks: u64,
}

/// A change that was joined, until its batch closes.
struct Waiting {
    sighting: Sighting,
    truth: usize,
    /// Nothing where a list is compared with Git when the batch closes.
    found: Option<Joined>,
    after: Option<Content>,
}

impl World {
    fn new() -> Self {
        Self {
            store: store(),
            attempts: Vec::new(),
            object: None,
            previous: None,
            deleted_by: BTreeMap::new(),
            version: 8,
            second: 0,
            late: Vec::new(),
            seen: Vec::new(),
            unseen: false,
            came: None,
            file: None,
            events: VecDeque::new(),
            known: None,
            batch: Vec::new(),
            away: false,
            deaths: 0,
            marks: 0,
            judged: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Attempt {
                user,
                manager,
                what,
                refused,
                stale,
                sight,
            } => {
                self.attempt(user, manager, what, refused, stale, sight);
            }
            Step::NextSecond => {
                self.second += 1;
                if self.unseen {
                    self.previous = None;
                }
            }
            Step::Deliver(count) => {
                for _ in 0..count {
                    if let Some(event) = self.events.pop_front() {
                        self.deliver(event);
                    }
                }
            }
            Step::LateOnesArrive => self.late_ones_arrive(),
            Step::Mark => self.mark(),
            Step::BatchCloses => {
                self.mark();
                for waiting in std::mem::take(&mut self.batch) {
                    self.closes(&waiting);
                }
            }
            Step::Gap => self.gap(),
            Step::Cut if !self.away => {
                self.store.sidecar_left();
                self.store.sidecar_returned(true);
                self.late_ones_arrive();
                self.store.sidecar_replayed();
            }
            Step::Dies if !self.away => {
                self.away = true;
                self.deaths += 1;
                let last = self.attempts.iter().rposition(|x| x.stored);
                self.unseen |= self.late.iter().any(|(id, _)| Some(*id) == last);
                self.late.clear();
                self.seen.clear();
                self.store.sidecar_left();
            }
            Step::Comes if self.away => {
                self.away = false;
                self.came = Some(self.second);
                self.store.sidecar_returned(false);
                self.store.sidecar_replayed();
            }
            Step::Restart => self.restart(),
            Step::Cut | Step::Dies | Step::Comes => {}
        }
    }

    fn attempt(
        &mut self,
        user: u8,
        manager: u8,
        what: What,
        refused: bool,
        stale: bool,
        sight: Sight,
    ) {
        let current = if stale {
            self.previous.clone()
        } else {
            self.object.clone()
        };
        let refused = refused || stale;
        let v2 = matches!(what, What::Update { v2: true, .. });
        let served = if v2 { "v2" } else { "v1" };
        let before = current.as_ref().map(|object| object.content.clone());
        let content = match (what, &before) {
            (What::Update { body, replicas, .. }, _) => Content { body, replicas },
            (What::Scale(replicas), Some(before)) => Content {
                replicas,
                ..before.clone()
            },
            (What::Delete | What::Status, Some(before)) => before.clone(),
            (_, None) => return,
        };
        if matches!(what, What::Status) {
            if !stale && let Some(object) = &mut self.object {
                self.version += 1;
                self.previous = Some(object.clone());
                object.version = self.version;
                self.events.push_back(Event::Present(object.clone()));
            }
            return;
        }
        let delete = matches!(what, What::Delete);
        if !delete && before.as_ref() == Some(&content) {
            return;
        }
        let id = self.attempts.len();
        let (uid, base, mut fields) = match &current {
            Some(object) => (
                object.uid.clone(),
                object.version.to_string(),
                object.fields.clone(),
            ),
            None => (format!("uid-{id}"), String::new(), Fields::new()),
        };
        let scale = matches!(what, What::Scale(_));
        if !delete {
            let entry = if scale { "scale" } else { served };
            fields.insert((manager, entry), self.second);
        }
        let mut observation = Observation {
            identity: identity(),
            uid: uid.clone(),
            write: match (what, &current) {
                (What::Scale(replicas), _) => Write::Scale(replicas),
                (What::Delete, _) => Write::Delete(content.hash(served)),
                (_, None) => Write::Create(content.hash(served)),
                (_, Some(_)) => Write::Update(content.hash(served)),
            },
            base: base.clone(),
            managed_fields_hash: (!scale && !delete).then(|| hash(&format!("{fields:?}"))),
            username: user.to_string().into(),
            field_manager: manager.to_string(),
            time: SystemTime::UNIX_EPOCH,
            early: self.came == Some(self.second),
        };
        observation.identity.version = served.into();
        self.attempts.push(Attempt {
            user,
            uid: uid.clone(),
            base,
            delete,
            scale,
            v2,
            content: content.clone(),
            fields: fields.clone(),
            stored: !refused,
            recorded: sight == Sight::OnTime && !self.away,
            early: observation.early,
            deaths: self.deaths,
            dropped: sight == Sight::Dropped && !self.away,
        });
        if !self.away && sight != Sight::Dropped {
            self.seen.push((id, observation.clone()));
        }
        match sight {
            _ if self.away => {}
            Sight::OnTime => drop(self.store.record(observation)),
            Sight::Late => self.late.push((id, observation)),
            Sight::Dropped => {}
        }
        if refused {
            return;
        }
        self.unseen = self.away;
        self.version += 1;
        self.previous = self.object.take().filter(|_| !delete);
        if delete {
            self.deleted_by.insert(uid.clone(), id);
            self.events.push_back(Event::Gone { uid, author: id });
        } else {
            let object = Object {
                uid,
                version: self.version,
                content,
                fields,
                author: id,
            };
            self.events.push_back(Event::Present(object.clone()));
            self.object = Some(object);
        }
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Gone { uid, author } => {
                let Some(known) = self.known.take() else {
                    panic!("{uid} went without having been seen");
                };
                let base = Some(known.version.to_string());
                let sighting = sighting(Operation::Delete, base, &known, None);
                self.join(sighting, author);
            }
            Event::Present(object) => {
                let author = object.author;
                match self.known.replace(object.clone()) {
                    Some(known) if known.content == object.content => {
                        let base = known.version.to_string();
                        self.store.base_passed(&object.uid, &base);
                    }
                    Some(known) => {
                        let base = Some(known.version.to_string());
                        let sighting = sighting(Operation::Update, base, &object, Some(&known));
                        self.join(sighting, author);
                    }
                    None => {
                        let base = Some(String::new());
                        self.join(sighting(Operation::Create, base, &object, None), author);
                    }
                }
            }
        }
    }

    /// The events are lost; a list shows what is there.
    fn gap(&mut self) {
        self.events.clear();
        let known = std::mem::replace(&mut self.known, self.object.clone());
        match (known, self.object.clone()) {
            (None, None) => {}
            (None, Some(object)) => {
                let author = object.author;
                self.join(sighting(Operation::Create, None, &object, None), author);
            }
            (Some(known), None) => {
                let author = self.deleted_by[&known.uid];
                let sighting = Sighting {
                    version: self.version.to_string(),
                    ..sighting(Operation::Delete, None, &known, None)
                };
                self.join(sighting, author);
            }
            (Some(known), Some(object)) if known.content == object.content => {}
            (Some(known), Some(object)) => {
                let author = object.author;
                let known = Some(&known).filter(|known| known.uid == object.uid);
                self.join(sighting(Operation::Update, None, &object, known), author);
            }
        }
    }

    fn join(&mut self, sighting: Sighting, truth: usize) {
        let found = Some(self.store.join(&sighting));
        self.batch.push(Waiting {
            sighting,
            truth,
            found,
            after: self.known.as_ref().map(|known| known.content.clone()),
        });
    }

    /// The batch is lost, and the store. The sidecar tells the next one what it remembers.
    fn restart(&mut self) {
        self.store = store();
        self.batch.clear();
        self.events.clear();
        for attempt in &mut self.attempts {
            attempt.recorded = false;
        }
        if !self.away {
            self.store.sidecar_returned(false);
            self.late.clear();
            for (id, observation) in &self.seen {
                self.store.record(observation.clone());
                self.attempts[*id].recorded = true;
            }
            self.store.sidecar_replayed();
        }
        let before = self.known.take();
        self.known = self.object.clone();
        let object = self.object.as_ref().or(before.as_ref());
        let after = self.object.as_ref().map(|object| object.content.clone());
        if let Some(object) = object
            && self.file != after
        {
            let operation = match (&self.file, &after) {
                (None, _) => Operation::Create,
                (_, Some(_)) => Operation::Update,
                (_, None) => Operation::Delete,
            };
            let mut sighting = sighting(operation, None, object, None);
            let truth = if operation == Operation::Delete {
                // Only the file tells of it.
                let Some(deleted) = self.deleted_by.get(&object.uid) else {
                    return;
                };
                sighting.uid = String::new();
                sighting.version = self.version.to_string();
                sighting.managed_fields_hash = None;
                let file = self.file.as_ref().expect("deletes what is there");
                sighting.spec_hash = file.hash("v1");
                *deleted
            } else {
                object.author
            };
            self.batch.push(Waiting {
                sighting,
                truth,
                found: None,
                after,
            });
        }
    }

    fn mark(&mut self) {
        if !self.away {
            self.marks += 1;
            self.store.mark_sent(self.marks);
            self.late_ones_arrive();
            self.store.mark_reached(self.marks);
        }
    }

    fn late_ones_arrive(&mut self) {
        for (id, observation) in std::mem::take(&mut self.late) {
            self.store.record(observation);
            self.attempts[id].recorded = true;
        }
    }

    fn closes(&mut self, waiting: &Waiting) {
        let sighting = &waiting.sighting;
        self.file.clone_from(&waiting.after);
        let Some(found) = &waiting.found else {
            let found = self.store.recall(sighting);
            // What was received since has dropped what was asked for before.
            let t = &self.attempts[waiting.truth];
            let later = &self.attempts[waiting.truth + 1..];
            let is_last = later.iter().all(|x| x.uid != t.uid);
            if is_last || !matches!(found, Attribution::None(_)) {
                self.judge(sighting, waiting.truth, &found);
            }
            return;
        };
        let objection = found.credit.as_ref().and_then(Credit::objection);
        let found = match (&found.attribution, objection) {
            (Attribution::None(Miss::Unseen), _) => {
                let found = self.store.rejoin(sighting);
                let create = sighting.base.as_deref() == Some("");
                let doubted = self.away && !create && !matches!(found, Attribution::None(_));
                if doubted {
                    Attribution::None(Miss::Unconfirmed)
                } else {
                    found
                }
            }
            (_, Some(objection)) => Attribution::None(objection),
            (found, None) => found.clone(),
        };
        self.judge(sighting, waiting.truth, &found);
    }

    fn judge(&mut self, sighting: &Sighting, truth: usize, found: &Attribution) {
        self.judged += 1;
        let t = &self.attempts[truth];
        // What may have led to the same, as far as anyone can see it.
        let alike = |x: &Attempt| {
            let same_version = sighting.base.is_none() || x.base == t.base;
            x.uid == t.uid
                && same_version
                && x.delete == t.delete
                && (x.delete
                    || x.content == t.content
                    // Contents of another version can't be compared.
                    || (x.v2 || sighting.base.is_none()) && x.fields == t.fields
                    || sighting.base.is_none()
                        && x.scale
                        && x.content.replicas == t.content.replicas)
        };
        match found {
            Attribution::Exact(who) | Attribution::Content(who) => {
                // Where only the file tells that something was there, another may have come and gone since.
                let filed = |x: &Attempt| x.stored && x.content.hash("v1") == sighting.spec_hash;
                let deleted_filed = |x: &Attempt| {
                    x.stored
                        && x.delete
                        && who.username == x.user.to_string()
                        && self.attempts.iter().any(|y| y.uid == x.uid && filed(y))
                };
                let right = who.username == t.user.to_string()
                    || (sighting.uid.is_empty() && self.attempts.iter().any(deleted_filed));
                // A file has no uid.
                let of_that_file = |x: &Attempt| {
                    sighting.uid.is_empty()
                        && x.delete
                        && x.content.hash("v1") == sighting.spec_hash
                        && older(&x.base, &sighting.version)
                };
                let excused = t.dropped
                    && self.attempts.iter().any(|x| {
                        x.user.to_string() == who.username
                            && (alike(x) || of_that_file(x))
                            && (sighting.base.is_none() || !x.stored)
                    });
                assert!(
                    right || excused,
                    "{found:?} for {sighting:?}: it was {t:?}\nof {:#?}",
                    self.attempts
                );
            }
            Attribution::None(miss) if t.recorded => {
                let rivals = self
                    .attempts
                    .iter()
                    .any(|x| x.user != t.user && x.uid == t.uid && x.recorded && alike(x));
                let live = sighting.base.is_some();
                // After a gap the content has to have been admitted as a whole, and whoever
                // else wrote this object counts.
                let alone = self
                    .attempts
                    .iter()
                    .all(|x| x.uid != t.uid || x.user == t.user);
                let excused = rivals || (!live && (t.scale || !alone || sighting.uid.is_empty()));
                let died = (t.early || t.deaths < self.deaths) && *miss == Miss::Unconfirmed;
                assert!(
                    died || (excused && (!live || *miss == Miss::Ambiguous)),
                    "{found:?} for {sighting:?}: {t:?} was seen\nof {:#?}",
                    self.attempts
                );
            }
            Attribution::None(_) => {}
        }
    }
}

fn store() -> Store {
    let limits = Limits {
        per_base: 1000,
        ..Limits::default()
    };
    Store::new(limits, metrics())
}

fn sighting(
    operation: Operation,
    base: Option<String>,
    object: &Object,
    before: Option<&Object>,
) -> Sighting {
    let scaled = before.is_some_and(|before| before.content.body == object.content.body);
    Sighting {
        identity: identity(),
        uid: object.uid.clone(),
        operation,
        base,
        version: object.version.to_string(),
        spec_hash: object.content.hash("v1"),
        managed_fields_hash: Some(hash(&format!("{:?}", object.fields))),
        scaled_to: scaled.then_some(object.content.replicas),
    }
}

fn step(
    sight: impl Strategy<Value = Sight> + 'static,
    gaps: bool,
    deaths: Deaths,
) -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        6 => (0..2u8, 0..2i64, prop::bool::weighted(0.2)).prop_map(|(body, replicas, v2)| {
            What::Update { body, replicas, v2 }
        }),
        3 => (0..3i64).prop_map(What::Scale),
        2 => Just(What::Delete),
        1 => Just(What::Status),
    ];
    let attempt = (
        0..3u8,
        0..2u8,
        what,
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.15),
        sight,
    )
        .prop_map(
            |(user, manager, what, refused, stale, sight)| Step::Attempt {
                user,
                manager,
                what,
                refused,
                stale,
                sight,
            },
        );
    let dies = u32::from(deaths.sidecar);
    let steps = [
        (24, attempt.boxed()),
        (3, Just(Step::NextSecond).boxed()),
        (8, (1..6u8).prop_map(Step::Deliver).boxed()),
        (2, Just(Step::LateOnesArrive).boxed()),
        (2, Just(Step::BatchCloses).boxed()),
        (u32::from(gaps) * 3, Just(Step::Gap).boxed()),
        (2, Just(Step::Mark).boxed()),
        (1, Just(Step::Cut).boxed()),
        (dies, Just(Step::Dies).boxed()),
        (dies * 2, Just(Step::Comes).boxed()),
        (u32::from(deaths.reverser), Just(Step::Restart).boxed()),
    ];
    Union::new_weighted(
        steps
            .into_iter()
            .filter(|(weight, _)| *weight > 0)
            .collect(),
    )
}

#[derive(Clone, Copy)]
struct Deaths {
    sidecar: bool,
    reverser: bool,
}

const NO_DEATHS: Deaths = Deaths {
    sidecar: false,
    reverser: false,
};

fn steps(
    sight: impl Strategy<Value = Sight> + 'static,
    gaps: bool,
    deaths: Deaths,
) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(sight, gaps, deaths), 1..60)
}

fn any_sight() -> impl Strategy<Value = Sight> {
    prop_oneof![
        6 => Just(Sight::OnTime),
        1 => Just(Sight::Late),
        1 => Just(Sight::Dropped),
    ]
}

fn run(steps: Vec<Step>) {
    let mut world = World::new();
    for step in steps {
        world.step(step);
    }
    world.step(Step::Deliver(u8::MAX));
    world.step(Step::Comes);
    world.step(Step::BatchCloses);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_write_that_was_seen_has_its_author(steps in steps(Just(Sight::OnTime), false, NO_DEATHS)) {
        run(steps);
    }

    #[test]
    fn no_author_is_wrong_where_admissions_are_late_or_dropped(steps in steps(any_sight(), false, NO_DEATHS)) {
        run(steps);
    }

    #[test]
    fn no_author_is_wrong_after_gaps(steps in steps(Just(Sight::OnTime), true, NO_DEATHS)) {
        run(steps);
    }

    #[test]
    fn no_author_is_wrong_where_the_sidecar_dies(
        steps in steps(Just(Sight::OnTime), false, Deaths { sidecar: true, ..NO_DEATHS })
    ) {
        run(steps);
    }

    #[test]
    fn no_author_is_wrong_where_the_reverser_dies(
        steps in steps(any_sight(), false, Deaths { reverser: true, ..NO_DEATHS })
    ) {
        run(steps);
    }

    #[test]
    fn no_author_is_wrong_under_everything_at_once(
        steps in steps(any_sight(), true, Deaths { sidecar: true, reverser: true })
    ) {
        run(steps);
    }
}
