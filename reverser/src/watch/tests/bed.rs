//! What the tests of this module are made of: a watch without its apiserver.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kube::Client;
use kube::client::Body;
use manifest::{ClusterMade, Identity, SpecHash};
use prometheus::{IntCounter, Registry};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::SecretPolicy;
use crate::attribution::{
    AttributionMetrics, Coverage, Limits, Observation, Store, Write as Admitted,
};
use crate::change::{Attribution, Cause, DestinationKey};
use crate::commit::{CommitOptions, Signature};
use crate::discovery::Catalog;
use crate::fingerprint::Fingerprint;
use crate::git::RepoUrl;
use crate::observe::Metrics;
use crate::rules::{BranchKey, DestinationPlan, Operations, Subscription, TypeSelection, WatchKey};
use crate::status::StatusBoard;
use crate::watch::emit::{Emitter, Told};
use crate::watch::full_list::FullList;
use crate::watch::given::Given;
use crate::watch::index::Index;
use crate::watch::object::{Meta, Seen};
use crate::watch::side_list::{Served, SideList, Standing};
use crate::watch::source::{Object, Source};
use crate::watch::subscriber::identity;
use crate::watch::{Shared, Subscriber};
use crate::workers::{BatchLimits, Item, Portion, Queue, Unit, Unsettled, Write};

pub(super) struct Bed {
    pub(super) key: WatchKey,
    pub(super) shared: Shared,
    pub(super) index: Index,
    pub(super) given: Given,
}

impl Bed {
    /// A watch of all ConfigMaps. Within a runtime.
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let catalog = Catalog::of(&[("", "v1", "configmaps", "ConfigMap", true)]);
        let nobody = tower::service_fn(|_: http::Request<Body>| async {
            Err::<http::Response<Body>, _>(std::io::Error::other("no apiserver"))
        });
        Self {
            key: WatchKey {
                served: catalog.versions("", "configmaps")[0].clone(),
                namespace: None,
            },
            shared: Shared {
                client: Client::new(nobody, "default"),
                store: Arc::new(Store::new(
                    Limits::default(),
                    AttributionMetrics::register(&registry).unwrap(),
                )),
                board: Arc::new(StatusBoard::default()),
                metrics: Arc::new(Metrics::register(&registry).unwrap()),
                cluster_made: ClusterMade::LeftOut,
            },
            index: Index::default(),
            given: Given::default(),
        }
    }

    /// Somebody asked to write `content` over the version `base`, empty for a create.
    pub(super) fn admitted(&self, username: &str, object: &Value, base: &str) {
        let seen = seen(&self.key, object);
        let write = if base.is_empty() {
            Admitted::Create(seen.spec_hash)
        } else {
            Admitted::Update(seen.spec_hash)
        };
        self.observed(username, seen.identity, &seen.meta.uid, write, base);
    }

    /// Somebody asked to delete the object as it is here.
    pub(super) fn delete_admitted(&self, username: &str, object: &Value) {
        let meta = Meta::read(&raw(object)).unwrap();
        // What was there can't always be read.
        let write = Admitted::Delete(SpecHash::of(b"anything"));
        let identity = identity(&self.key.served, &meta.name.0, &meta.name.1);
        self.observed(username, identity, &meta.uid, write, &meta.resource_version);
    }

    fn observed(&self, username: &str, identity: Identity, uid: &str, write: Admitted, base: &str) {
        self.shared.store.record(Observation {
            identity,
            uid: uid.to_owned(),
            write,
            base: base.to_owned(),
            managed_fields_hash: None,
            username: username.into(),
            field_manager: String::new(),
            time: SystemTime::UNIX_EPOCH,
            early: false,
        });
    }

    pub(super) fn event(&mut self, told: Told, object: &Value, subscribers: &[Subscriber]) {
        let emitter = Emitter {
            key: &self.key,
            shared: &self.shared,
            subscribers,
        };
        match Seen::new(&raw(object), &self.key.served, ClusterMade::LeftOut) {
            Ok(seen) => drop(emitter.written(&seen, told, &mut self.index)),
            Err(unreadable) => emitter.unreadable(&unreadable, told, &mut self.index),
        }
    }

    pub(super) fn modified(&mut self, object: &Value, subscribers: &[Subscriber]) {
        self.event(Told::Event { created: false }, object, subscribers);
    }

    pub(super) fn deleted(&mut self, object: &Value, subscribers: &[Subscriber]) {
        let meta = Meta::read(&raw(object)).unwrap();
        let emitter = Emitter {
            key: &self.key,
            shared: &self.shared,
            subscribers,
        };
        emitter.deleted(&meta, &mut self.index);
    }

    /// A complete list at `version`.
    pub(super) fn full_list(
        &mut self,
        first: bool,
        objects: &[&Value],
        version: &str,
        subscribers: &[Subscriber],
    ) {
        self.full_list_left(first, objects, version, (subscribers, subscribers));
    }

    /// The same, at the begin and at the end of which there were these subscribers.
    pub(super) fn full_list_left(
        &mut self,
        first: bool,
        objects: &[&Value],
        version: &str,
        (subscribers, present): (&[Subscriber], &[Subscriber]),
    ) {
        let emitter = Emitter {
            key: &self.key,
            shared: &self.shared,
            subscribers,
        };
        let mut list = FullList::new(emitter, &mut self.index, &mut self.given, first);
        for object in objects {
            list.listed(&raw(object), &mut self.index);
        }
        list.finish(version, present, &mut self.index, &mut self.given);
    }

    /// A list beside the watch, of which this is the last page.
    pub(super) fn side_list(&mut self, objects: &[&Value], takers: &[Subscriber]) -> SideList {
        let source = Source::new(self.shared.client.clone(), &self.key);
        let objects = objects.iter().map(|object| raw(object)).collect();
        let takers = takers.iter().map(|t| (t.clone(), self.given.take_part(t)));
        SideList::of_one_page(&source, takers.collect(), objects)
    }

    /// The watch has told everything up to `version`.
    pub(super) fn standing<'a>(&'a self, version: &'a str) -> Standing<'a> {
        Standing {
            key: &self.key,
            shared: &self.shared,
            index: &self.index,
            version,
        }
    }
}

/// Whom a list served, briefly.
pub(super) fn told(served: &[Served]) -> Vec<String> {
    let told = |served: &Served| match served {
        Served::Everything(taker) => format!("{} everything", taker.key().name),
        Served::Later((taker, _)) => format!("{} later", taker.key().name),
    };
    served.iter().map(told).collect()
}

fn seen(key: &WatchKey, object: &Value) -> Seen {
    Seen::new(&raw(object), &key.served, ClusterMade::LeftOut).unwrap()
}

/// As it comes from the apiserver.
pub(super) fn raw(object: &Value) -> Object {
    RawValue::from_string(object.to_string()).unwrap()
}

/// A ConfigMap of namespace `lab`.
pub(super) fn map(name: &str, uid: &str, version: u32, value: &str) -> Value {
    json!({
        "metadata": {"namespace": "lab", "name": name, "uid": uid, "resourceVersion": version.to_string()},
        "data": {"k": value},
    })
}

/// The same, nested deeper than can be read.
pub(super) fn deep(mut object: Value) -> Value {
    let mut value = json!("bottom");
    for _ in 0..200 {
        value = json!([value]);
    }
    object["data"] = json!({ "k": value });
    object
}

/// The same, told to go.
pub(super) fn terminating(mut object: Value) -> Value {
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    object
}

/// A destination that takes everything of namespace `lab`.
pub(super) fn subscriber(key: &WatchKey, name: &str, cause: Cause) -> Subscriber {
    let url = RepoUrl::parse("https://git.example.com/a/b.git").unwrap();
    let selection = Arc::new(TypeSelection {
        served: key.served.clone(),
        everywhere: None,
        namespaces: BTreeMap::from([("lab".to_owned(), Operations::ALL)]),
        rules: Vec::new(),
    });
    let destination = DestinationPlan {
        key: DestinationKey {
            namespace: "lab".to_owned(),
            name: name.to_owned(),
        },
        uid: String::new(),
        branch: BranchKey {
            repository: url.normalised(),
            branch: name.to_owned(),
            secret: String::new(),
            signing: String::new(),
        },
        url,
        repo_name: "repo".to_owned(),
        secret_name: None,
        signing_secret: None,
        base_folder: name.to_owned(),
        secret_policy: SecretPolicy::Omit,
        recipients: Default::default(),
        secrets: Arc::default(),
        take_over: None,
        limits: BatchLimits::default(),
        commit: CommitOptions {
            bot: Signature {
                name: "bot".to_owned(),
                email: "bot@example.com".to_owned(),
            },
            email_domain: "example.com".to_owned(),
        },
        selections: BTreeMap::new(),
        resolved: true,
        unseen: BTreeSet::new(),
    };
    Subscriber {
        subscription: Subscription {
            destination: Arc::new(destination),
            selection,
        },
        queue: Arc::new(Queue::new(IntCounter::new("dropped", "dropped").unwrap())),
        epoch: 1,
        cause,
    }
}

/// Fills a queue to its bound with another object, over and over.
pub(super) fn fill(key: &WatchKey, full: &Subscriber) {
    let mut bed = Bed::new();
    let scratch = subscriber(key, "scratch", Cause::Seed);
    let large = map("filler", "f", 1, &"x".repeat(1 << 20));
    bed.modified(&large, std::slice::from_ref(&scratch));
    let items = scratch.queue.take(&portion(BatchLimits::default()));
    while !full.queue.is_full() {
        items.iter().for_each(|item| full.queue.push(item.clone()));
    }
}

/// What waits in a queue, briefly.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// Name, value (`None`: gone), who.
    Write(String, Option<String>, String),
    /// The paths among `names` that stay.
    Sweep(Vec<String>),
}

pub(super) fn write(name: &str, value: &str, who: &str) -> Waits {
    Waits::Write(name.to_owned(), Some(value.to_owned()), who.to_owned())
}

pub(super) fn gone(name: &str, who: &str) -> Waits {
    Waits::Write(name.to_owned(), None, who.to_owned())
}

pub(super) fn sweep(stay: &[&str]) -> Waits {
    Waits::Sweep(stay.iter().map(|name| (*name).to_owned()).collect())
}

fn portion(limits: BatchLimits) -> Portion {
    Portion {
        limits,
        coverage: Coverage::LostSince(tokio::time::Instant::now()),
    }
}

/// Takes what waits. Sweeps are told by the names `a` to `f`.
pub(super) fn take(subscriber: &Subscriber) -> Vec<Waits> {
    let limits = BatchLimits {
        max_files: usize::MAX,
        max_bytes: usize::MAX,
        linger: Duration::ZERO,
        ..BatchLimits::default()
    };
    let items = subscriber.queue.take(&portion(limits));
    items.into_iter().map(waits).collect()
}

fn waits(item: Item) -> Waits {
    match item {
        Item::Write(write) => {
            let who = who(&write);
            let Write { change, .. } = *write;
            let value = change.content.map(|text| {
                let text = std::str::from_utf8(&text).unwrap();
                let (_, value) = text.split_once("\n  k: ").unwrap();
                let (value, _) = value.split_once('\n').unwrap();
                value.trim_matches(['"', '\'']).to_owned()
            });
            Waits::Write(change.identity.name, value, who)
        }
        Item::Sweep(sweep) => {
            let Unit::Listed { live, .. } = &sweep.unit else {
                panic!("{sweep:?}");
            };
            Waits::Sweep(stay(&sweep.destination.base_folder, live))
        }
        Item::Listed(..) => panic!("{item:?}"),
    }
}

fn stay(folder: &str, live: &HashSet<Fingerprint>) -> Vec<String> {
    let path = |name: &str| format!("{folder}/v1/configmaps/lab/{name}.yaml");
    ["a", "b", "c", "d", "e", "f"]
        .into_iter()
        .filter(|name| live.contains(&Fingerprint::of(path(name).as_bytes())))
        .map(ToOwned::to_owned)
        .collect()
}

/// The author with the tier, or what is still to be asked.
fn who(write: &Write) -> String {
    match (&write.change.attribution, &write.unsettled) {
        (Attribution::Exact(who), None | Some(Unsettled::Credited(_))) => {
            format!("exact {}", who.username)
        }
        (Attribution::Content(who), None | Some(Unsettled::Credited(_))) => {
            format!("content {}", who.username)
        }
        (Attribution::None(miss), None) => format!("{miss:?}"),
        (Attribution::None(miss), Some(Unsettled::Unseen(_))) => format!("{miss:?}, so far"),
        (Attribution::None(miss), Some(Unsettled::Found(_))) => format!("{miss:?}, if a change"),
        (some, Some(_)) => panic!("{some:?} is asked for again"),
    }
}
