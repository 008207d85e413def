//! People who write over each other's objects at random. Each object says in an annotation who wrote it last, so that a commit
//! that names somebody else is found out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tests::git::Repo;
use tokio::task::JoinSet;

use crate::lab::{FOLDER, Lab};

/// Each value names its writer.
pub(crate) const WRITERS: [&str; 3] = ["alice", "bob", "carol"];
/// Deletes, and nobody else does.
pub(crate) const DELETER: &str = "eve";
/// Few, so that people write over each other's.
const OBJECTS: usize = 12;
/// Between two requests of one person.
const PAUSE: Duration = Duration::from_millis(80);

/// A type that the crowd writes.
#[derive(Clone, Debug)]
pub(crate) struct Sort {
    pub(crate) resource: ApiResource,
    /// What an object has beside its metadata.
    pub(crate) body: Value,
}

/// ConfigMaps.
pub(crate) fn maps() -> Sort {
    Sort {
        resource: ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&()),
        body: json!({"data": {"k": "v"}}),
    }
}

/// ResourceQuotas, to which nobody else writes as long as nothing uses up what they bound.
pub(crate) fn quotas() -> Sort {
    Sort {
        resource: ApiResource::erase::<k8s_openapi::api::core::v1::ResourceQuota>(&()),
        body: json!({"spec": {"hard": {"pods": "7"}}}),
    }
}

/// A custom resource.
pub(crate) fn custom(group: &str, version: &str, plural: &str, kind: &str) -> Sort {
    Sort {
        resource: ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: format!("{group}/{version}"),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        },
        body: json!({"spec": {"size": 1}}),
    }
}

impl Sort {
    pub(crate) fn api(&self, lab: &Lab<'_>, user: &str) -> Api<DynamicObject> {
        Api::namespaced_with(lab.user(user), &lab.namespace, &self.resource)
    }

    /// An object signed by somebody.
    pub(crate) fn object(&self, name: &str, by: &str) -> DynamicObject {
        let mut object = self.body.clone();
        object["apiVersion"] = self.resource.api_version.clone().into();
        object["kind"] = self.resource.kind.clone().into();
        object["metadata"] = json!({"name": name, "annotations": {"by": by}});
        serde_json::from_value(object).unwrap()
    }

    /// Where the file of an object stands.
    pub(crate) fn path(&self, lab: &Lab<'_>, name: &str) -> String {
        let identity = manifest::Identity {
            group: self.resource.group.clone(),
            version: self.resource.version.clone(),
            resource: self.resource.plural.clone(),
            namespace: lab.namespace.clone(),
            name: name.to_owned(),
        };
        manifest::file_path(FOLDER, &identity)
    }
}

/// Signs an object anew.
pub(crate) async fn sign(api: &Api<DynamicObject>, name: &str, by: &str) -> kube::Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"by": by}}}));
    api.patch(name, &PatchParams::default(), &patch)
        .await
        .map(drop)
}

/// What the crowd did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acts {
    /// Requests that were accepted.
    pub(crate) writes: usize,
    /// Requests that came to nothing but for a rival: nobody knows of them whether they were stored.
    pub(crate) failures: usize,
    /// By file: how often its object was deleted, at most.
    pub(crate) deletes: BTreeMap<String, usize>,
}

impl Acts {
    /// Something beside the crowd's was deleted.
    pub(crate) fn deleted(&mut self, path: String) {
        *self.deletes.entry(path).or_default() += 1;
    }
}

/// Writes and deletes until it is told to stop.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    people: JoinSet<Acts>,
}

impl Crowd {
    /// Some forty requests a second.
    pub(crate) fn start(lab: &Lab<'_>, sorts: &[Sort], seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut people = JoinSet::new();
        for (number, user) in (1..).zip(WRITERS.into_iter().chain([DELETER])) {
            let places = sorts.iter().map(|sort| {
                let paths = (0..OBJECTS).map(|n| sort.path(lab, &name(n)));
                (sort.clone(), sort.api(lab, user), paths.collect())
            });
            let person = Person {
                user,
                places: places.collect(),
                random: StdRng::seed_from_u64(seed.wrapping_add(number)),
                stop: stop.clone(),
            };
            people.spawn(person.live());
        }
        Self { stop, people }
    }

    /// What they all did.
    pub(crate) async fn stop(mut self) -> Acts {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Acts::default();
        while let Some(acts) = self.people.join_next().await {
            let acts = acts.unwrap();
            all.writes += acts.writes;
            all.failures += acts.failures;
            for (path, count) in acts.deletes {
                *all.deletes.entry(path).or_default() += count;
            }
        }
        all
    }
}

fn name(number: usize) -> String {
    format!("crowd-{number}")
}

struct Person {
    user: &'static str,
    places: Vec<(Sort, Api<DynamicObject>, Vec<String>)>,
    random: StdRng,
    stop: Arc<AtomicBool>,
}

impl Person {
    async fn live(mut self) -> Acts {
        let mut acts = Acts::default();
        let mut count = 0_u32;
        while !self.stop.load(Ordering::Relaxed) {
            let (sort, api, paths) = &self.places[self.random.random_range(0..self.places.len())];
            let number = self.random.random_range(0..OBJECTS);
            let name = name(number);
            count += 1;
            let outcome = if self.user == DELETER {
                api.delete(&name, &DeleteParams::default()).await.map(drop)
            } else {
                write(sort, api, &name, &format!("{}-{count}", self.user)).await
            };
            let may_be_stored = match outcome {
                Ok(()) => {
                    acts.writes += 1;
                    true
                }
                // Somebody else was faster.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => false,
                Err(_) => {
                    acts.failures += 1;
                    true
                }
            };
            if self.user == DELETER && may_be_stored {
                *acts.deletes.entry(paths[number].clone()).or_default() += 1;
            }
            let slower = if self.user == DELETER { 10 } else { 1 };
            let pause = PAUSE.mul_f64(self.random.random_range(0.5..1.5)) * slower;
            tokio::time::sleep(pause).await;
        }
        acts
    }
}

async fn write(sort: &Sort, api: &Api<DynamicObject>, name: &str, by: &str) -> kube::Result<()> {
    match sign(api, name, by).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let object = sort.object(name, by);
            api.create(&PostParams::default(), &object).await.map(drop)
        }
        outcome => outcome,
    }
}

/// How many commits bear the name of one of the crowd, and which of them wrongly: who did not write what is in it, or
/// did not delete what is gone by it.
pub(crate) fn wrong_authors(repo: &Repo) -> (usize, Vec<String>) {
    let log = repo
        .git(&[
            "log",
            "--reverse",
            "--no-renames",
            "--unified=0",
            "-p",
            "--format=commit %an",
            "main",
            "--",
            FOLDER,
        ])
        .unwrap();
    let (mut named, mut wrong, mut author) = (0, Vec::new(), "");
    for line in log.lines() {
        if let Some(name) = line.strip_prefix("commit ") {
            author = name;
            named += usize::from(WRITERS.contains(&name) || name == DELETER);
        } else if let Some(value) = line.strip_prefix("+    by: ") {
            let writer = value.split('-').next().unwrap();
            if author == DELETER || (WRITERS.contains(&author) && author != writer) {
                wrong.push(format!("{author}: {line}"));
            }
        } else if line == "+++ /dev/null" && WRITERS.contains(&author) {
            wrong.push(format!("{author} deleted a file"));
        }
    }
    (named, wrong)
}
