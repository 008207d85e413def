use std::time::Duration;

use manifest::SpecHash;

use super::super::claim::tests::destination;
use super::super::fixtures::{self, config_map};
use super::*;
use crate::api::RuleOperation;
use crate::change::{Attribution, Miss, Operation, Who};

fn queue() -> Arc<Queue> {
    Arc::new(Queue::new(IntCounter::new("dropped", "dropped").unwrap()))
}

fn write(name: &str, cause: Cause, unseen: bool) -> Item {
    let sighting = Sighting {
        identity: config_map(name),
        uid: format!("uid of {name}"),
        operation: Operation::Update,
        base: Some("5".to_owned()),
        version: "6".to_owned(),
        spec_hash: SpecHash::of(b"x"),
        managed_fields_hash: None,
        scaled_to: None,
    };
    let mut write = fixtures::write(&destination(None).into(), name, "x", "");
    write.change.attribution = Attribution::None(Miss::Unseen);
    write.change.cause = cause;
    write.unsettled = unseen.then(|| match cause {
        Cause::Live => Unsettled::Unseen(Box::new(sighting)),
        _ => Unsettled::Found(Box::new(sighting)),
    });
    Item::Write(Box::new(write))
}

fn names(items: &[Item]) -> Vec<&str> {
    let writes = items.iter().filter_map(|item| match item {
        Item::Write(write) => Some(write),
        Item::Sweep(_) | Item::Listed(..) => None,
    });
    writes
        .map(|write| write.change.identity.name.as_str())
        .collect()
}

fn by(covered: Instant) -> Portion {
    Portion {
        limits: BatchLimits::default(),
        coverage: Coverage::Until(covered),
    }
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn who_waits_for_room_goes_on_when_the_worker_goes() {
    let queue = queue();
    queue.state.lock().bytes = LIVE.bytes;
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.room().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    queue.close();
    waiting.await.unwrap();
    queue.push(Item::Listed(destination(None).into(), Instant::now()));
    assert!(queue.is_empty());
}

#[test]
fn lists_are_held_back_long_before_a_version_is_dropped() {
    let queue = queue();
    queue.state.lock().bytes = LISTED.bytes;
    assert!(queue.is_full());
    queue.push(version("a", "alice", Cause::Live));
    queue.push(version("b", "bob", Cause::Live));
    assert_eq!(queue.len(), 2);
    assert_eq!(queue.dropped.get(), 0);
}

fn version(content: &str, username: &str, cause: Cause) -> Item {
    let Item::Write(mut write) = write("one", cause, false) else {
        panic!("a write is a write");
    };
    write.change.content = Some(Bytes::copy_from_slice(content.as_bytes()));
    write.change.attribution = Attribution::Exact(Who {
        username: username.to_owned(),
        field_manager: String::new(),
    });
    Item::Write(write)
}

#[tokio::test]
async fn at_the_bound_the_newest_version_stays_and_keeps_the_author_it_came_with() {
    let queue = queue();
    queue.push(version("a", "alice", Cause::Live));
    queue.state.lock().bytes = LIVE.bytes;
    queue.push(version("b", "bob", Cause::Live));
    // What a list says of the same version.
    queue.push(version("b", "nobody", Cause::Resync));
    let taken = queue.take(&by(Instant::now()));
    let [Item::Write(write)] = &taken[..] else {
        panic!("{taken:?}");
    };
    assert_eq!(write.change.content.as_deref(), Some(&b"b"[..]));
    let Attribution::Exact(who) = &write.change.attribution else {
        panic!("{write:?}");
    };
    assert_eq!(who.username, "bob");
}

#[tokio::test(start_paused = true)]
async fn a_change_without_author_is_not_taken_before_its_observation_must_be_there() {
    let queue = queue();
    queue.push(write("a", Cause::Live, true));
    a_moment().await;
    let covered = Instant::now();
    a_moment().await;
    // Neither of these waits for an observation of its own.
    queue.push(write("b", Cause::Live, false));
    queue.push(write("c", Cause::Resync, true));
    queue.push(write("late", Cause::Live, true));
    queue.push(write("behind", Cause::Live, false));
    assert_eq!(names(&queue.take(&by(covered))), ["a", "b", "c"]);
    assert!(queue.take(&by(covered)).is_empty());
    assert_eq!(names(&queue.take(&by(Instant::now()))), ["late", "behind"]);

    queue.push(write("late", Cause::Live, true));
    let any = Portion {
        limits: BatchLimits::default(),
        coverage: Coverage::LostSince(covered),
    };
    assert_eq!(names(&queue.take(&any)), ["late"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_knows_when_its_newest_change_without_author_came() {
    let queue = queue();
    queue.push(write("a", Cause::Live, false));
    queue.push(write("b", Cause::Seed, true));
    assert_eq!(queue.unsettled(), None);
    queue.push(write("c", Cause::Live, true));
    a_moment().await;
    queue.push(write("d", Cause::Live, true));
    let newest = Instant::now();
    a_moment().await;
    queue.push(write("e", Cause::Live, false));
    assert_eq!(queue.unsettled(), Some(newest));
    queue.retain(|item| !names(std::slice::from_ref(item)).contains(&"c"));
    assert_eq!(queue.unsettled(), Some(newest));

    // Past the bound a newer version of a file takes the older one's place.
    queue.state.lock().bytes += LIVE.bytes;
    queue.push(write("d", Cause::Live, false));
    assert_eq!(queue.len(), 4);
    assert_eq!(queue.unsettled(), None);
    queue.push(write("a", Cause::Live, true));
    assert_eq!(queue.unsettled(), Some(Instant::now()));
    queue.state.lock().bytes -= LIVE.bytes;
    assert_eq!(queue.take(&by(Instant::now())).len(), 4);
    assert_eq!(queue.unsettled(), None);
}

/// What happened to a file, seen live.
fn live(
    name: &str,
    operation: Operation,
    content: Option<&str>,
    of: &Arc<DestinationPlan>,
) -> Item {
    let mut write = fixtures::write(of, name, "", "alice");
    write.change.operation = operation;
    write.change.content = content.map(|content| Bytes::copy_from_slice(content.as_bytes()));
    Item::Write(Box::new(write))
}

fn sweep(of: &Arc<DestinationPlan>, allowed: Operations, live: &[String]) -> Item {
    let path = |name: &String| manifest::file_path("live", &config_map(name));
    let live = live.iter().map(|it| Fingerprint::of(path(it).as_bytes()));
    let mut selected = fixtures::everywhere(&["configmaps"], "v1").into_values();
    let selection = TypeSelection {
        everywhere: Some(allowed),
        ..(*selected.next().unwrap()).clone()
    };
    Item::Sweep(Sweep {
        destination: of.clone(),
        unit: Unit::Listed {
            selection: selection.into(),
            namespace: None,
            version: "".into(),
            live: Arc::new(live.collect()),
        },
        cause: Cause::Resync,
    })
}

#[test]
fn days_of_what_comes_and_goes_while_the_remote_is_away_take_no_room() {
    let queue = queue();
    let plan: Arc<DestinationPlan> = destination(None).into();
    queue.push(live("old", Operation::Delete, None, &plan));
    for n in 0..300_000 {
        let name = format!("job-{n}");
        queue.push(live(&name, Operation::Create, Some("x"), &plan));
        queue.push(live("hot", Operation::Update, Some(&n.to_string()), &plan));
        queue.push(live(&name, Operation::Delete, None, &plan));
        if n % 10 == 0 {
            queue.push(sweep(&plan, Operations::ALL, &["hot".to_owned()]));
        }
        assert!(queue.len() <= 2 * LIVE.items, "{}", queue.len());
    }
    queue.state.lock().compact();
    let left = queue.take(&Portion {
        limits: BatchLimits::default(),
        coverage: Coverage::LostSince(Instant::now()),
    });
    assert_eq!(names(&left), ["old", "hot", "hot"]);
    let Some(Item::Write(hot)) = left.last() else {
        panic!("{left:?}");
    };
    assert_eq!(hot.change.content.as_deref(), Some(&b"299999"[..]));
    assert!(queue.is_empty());
    assert_eq!(queue.pending(&plan.key), 0);
    assert!(queue.dropped.get() > 500_000);
}

#[test]
fn what_a_rule_does_not_allow_replaces_nothing() {
    let only = |operation| Operations::from_rule(Some(&[operation]));
    let versions = |allowed: Operations, contents: &[Option<&str>]| {
        let queue = queue();
        let plan: Arc<DestinationPlan> = destination(None).into();
        for content in contents {
            let Item::Write(mut write) = live("one", Operation::Update, *content, &plan) else {
                panic!("a write is a write");
            };
            write.allowed = allowed;
            queue.push(Item::Write(write));
        }
        queue.state.lock().compact();
        let state = queue.state.lock();
        let left = state.items.iter().map(|waiting| match &waiting.item {
            Item::Write(write) => write.change.content.clone(),
            other => panic!("{other:?}"),
        });
        left.map(|content| content.map(|it| String::from_utf8_lossy(&it).into_owned()))
            .collect::<Vec<_>>()
    };
    let text = |text: &str| Some(text.to_owned());
    let (create, delete) = (only(RuleOperation::Create), only(RuleOperation::Delete));
    let either = create.union(delete);
    let all = [Some("a"), Some("b"), None, Some("c")];
    assert_eq!(versions(Operations::ALL, &all), [text("c")]);
    assert_eq!(versions(create, &all), [text("a")]);
    // Made, deleted, made anew: the last one is no update.
    assert_eq!(versions(either, &all), [None, text("c")]);
}

mod laws {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Set(usize, u8),
        Delete(usize),
        Sweep,
        Compact,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..3usize, 0..3u8).prop_map(|(at, content)| Step::Set(at, content)),
            4 => (0..3usize).prop_map(Step::Delete),
            1 => Just(Step::Sweep),
            1 => Just(Step::Compact),
        ]
    }

    type Files = BTreeMap<String, Bytes>;

    /// As a worker does.
    fn apply(files: &mut Files, items: impl Iterator<Item = Item>) {
        for item in items {
            match item {
                Item::Write(write) => {
                    let Change { path, content, .. } = write.change;
                    let effect = match (files.contains_key(&path), &content) {
                        (false, None) => continue,
                        (false, Some(_)) => Operation::Create,
                        (true, Some(_)) => Operation::Update,
                        (true, None) => Operation::Delete,
                    };
                    match content {
                        _ if !write.allowed.allows(effect) => {}
                        Some(content) => drop(files.insert(path, content)),
                        None => drop(files.remove(&path)),
                    }
                }
                Item::Sweep(sweep) => {
                    let Unit::Listed {
                        live, selection, ..
                    } = sweep.unit
                    else {
                        continue;
                    };
                    if !selection
                        .everywhere
                        .is_some_and(|it| it.allows(Operation::Delete))
                    {
                        continue;
                    }
                    files.retain(|path, _| live.contains(&Fingerprint::of(path.as_bytes())));
                }
                Item::Listed(..) => {}
            }
        }
    }

    fn allowed() -> impl Strategy<Value = Operations> {
        let some = prop::collection::vec(0..3usize, 0..3).prop_map(|listed| {
            let all = [
                RuleOperation::Create,
                RuleOperation::Update,
                RuleOperation::Delete,
            ];
            let listed: Vec<RuleOperation> = listed.into_iter().map(|at| all[at]).collect();
            Operations::from_rule(Some(&listed))
        });
        prop_oneof![Just(Operations::ALL), some]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_dropped_changes_nothing_of_what_comes_out(
            there in prop::collection::vec(any::<bool>(), 3),
            allowed in allowed(),
            steps in prop::collection::vec(step(), 1..60),
        ) {
            let queue = queue();
            let plan: Arc<DestinationPlan> = destination(None).into();
            let mut objects: BTreeMap<String, u8> = BTreeMap::new();
            for (at, _) in there.iter().enumerate().filter(|(_, there)| **there) {
                objects.insert(at.to_string(), 9);
            }
            let path = |name: &str| manifest::file_path("live", &config_map(name));
            let mut without: Files =
                objects.keys().map(|name| (path(name), Bytes::from_static(b"9"))).collect();
            let mut with = without.clone();
            let mut raw = Vec::new();
            for step in steps {
                let item = match step {
                    Step::Set(at, content) => {
                        let name = at.to_string();
                        let before = objects.insert(name.clone(), content);
                        let operation = if before.is_some() { Operation::Update } else { Operation::Create };
                        live(&name, operation, Some(&content.to_string()), &plan)
                    }
                    Step::Delete(at) => {
                        if objects.remove(&at.to_string()).is_none() {
                            continue;
                        }
                        live(&at.to_string(), Operation::Delete, None, &plan)
                    }
                    Step::Sweep => sweep(&plan, allowed, &objects.keys().cloned().collect::<Vec<_>>()),
                    Step::Compact => {
                        queue.state.lock().compact();
                        continue;
                    }
                };
                let item = match item {
                    Item::Write(mut write) => {
                        write.allowed = allowed;
                        Item::Write(write)
                    }
                    other => other,
                };
                raw.push(item.clone());
                queue.push(item);
            }
            queue.state.lock().compact();
            apply(&mut without, raw.into_iter());
            let items = std::mem::take(&mut queue.state.lock().items);
            apply(&mut with, items.into_iter().map(|waiting| waiting.item));
            prop_assert_eq!(with, without);
        }
    }
}
