//! People who write all the time, each to ConfigMaps of everybody, and sign what they write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tests::eventually::eventually;
use tokio::task::JoinHandle;

use crate::lab::{Lab, PATIENCE, create, map};

const PEOPLE: [&str; 3] = ["ann", "ben", "cleo"];
const MAPS: usize = 5;

/// Writes until told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<usize>>,
}

impl Load {
    /// Some thirty writes a second.
    pub(crate) async fn start(lab: &Lab<'_>) -> Self {
        for number in 0..MAPS {
            create(&lab.maps("ann"), &map(&name(number), "by", "ann-start")).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = PEOPLE.into_iter().enumerate().map(|(seed, person)| {
            let (maps, stop) = (lab.maps(person), stop.clone());
            tokio::spawn(async move {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let name = name((seed + count) % MAPS);
                    let patch = Patch::Merge(json!({"data": {"by": format!("{person}-{count}")}}));
                    maps.patch(&name, &PatchParams::default(), &patch)
                        .await
                        .unwrap_or_else(|error| panic!("patch {name}: {error}"));
                    count += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                count
            })
        });
        let tasks = tasks.collect();
        Self { stop, tasks }
    }

    /// How many writes there were.
    pub(crate) async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut count = 0;
        for task in self.tasks {
            count += task.await.unwrap();
        }
        count
    }
}

fn name(number: usize) -> String {
    format!("load-{number}")
}

/// Waits until Git has every ConfigMap as it is live, and nothing else.
pub(crate) async fn converges(lab: &Lab<'_>) {
    let maps: Api<ConfigMap> = Api::namespaced(lab.client.clone(), &lab.namespace);
    let folder = lab.path("");
    let folder = folder.trim_end_matches(".yaml");
    eventually(PATIENCE, || async {
        let list = maps.list(&ListParams::default()).await;
        let live: BTreeMap<String, Value> = list
            .map_err(|error| error.to_string())?
            .items
            .into_iter()
            .filter_map(|map| Some((map.metadata.name?, json!(map.data.unwrap_or_default()))))
            // Of the cluster's making.
            .filter(|(name, _)| name != "kube-root-ca.crt")
            .collect();
        let files = lab.repo.files();
        let names = files.iter().filter_map(|file| {
            let name = file.strip_prefix(folder)?.strip_suffix(".yaml")?;
            Some((name.to_owned(), file))
        });
        let written: BTreeMap<String, Value> = names
            .filter_map(|(name, file)| {
                let text = lab.repo.file(file)?;
                let object: Value = serde_yaml::from_slice(&text).ok()?;
                Some((name, object["data"].clone()))
            })
            .collect();
        if written == live {
            Ok(())
        } else {
            Err(format!("live: {live:?}, written: {written:?}"))
        }
    })
    .await;
}

/// How often each tier is in the history; panics where a commit names anybody but the one who signed what it brings.
pub(crate) fn nobody_is_wronged(lab: &Lab<'_>) -> BTreeMap<String, usize> {
    let mut tiers: BTreeMap<String, usize> = BTreeMap::new();
    for commit in lab.commits() {
        let tier = commit.trailer("Attribution").unwrap_or("none").to_owned();
        if tier != "none" {
            for path in commit.paths() {
                let spec = format!("{}:{path}", commit.hash);
                let Ok(text) = lab.repo.git(&["show", &spec]) else {
                    continue;
                };
                let object: Value = serde_yaml::from_str(&text).unwrap();
                let Some(by) = object["data"]["by"].as_str() else {
                    continue;
                };
                let signed = by.split('-').next();
                assert_eq!(Some(commit.author_name.as_str()), signed, "{commit:#?}");
            }
        }
        *tiers.entry(tier).or_default() += 1;
    }
    tiers
}
