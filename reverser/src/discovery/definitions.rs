//! Which CRDs go, and their objects with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;
use tracing::debug;

use crate::attribution::Store;

type Definition = PartialObjectMeta<CustomResourceDefinition>;

/// How often it is said of a CRD that it still goes, which may take long (its conversion webhook may be away). Less than what the
/// store keeps in mind.
const AGAIN: Duration = Duration::from_secs(30);

/// The CRDs that are there, and those of them that go.
#[derive(Default)]
struct Definitions {
    /// By name; a new one of an old name has another uid.
    known: BTreeMap<String, String>,
    /// Known before the list that is being read.
    unlisted: BTreeSet<String>,
    going: BTreeSet<String>,
}

/// Pokes whenever a CRD changes, and tells the store of those that go; never ends.
///
/// The apiserver deletes the objects of a CRD without calling a webhook for them. The sidecar has mostly told of that already, but
/// it may have been away, or not been answered in time.
pub(super) async fn watch(client: Client, poked: mpsc::Sender<()>, store: Arc<Store>) {
    let api = Api::<Definition>::all(client);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut definitions = Definitions::default();
    let mut again = tokio::time::interval(AGAIN);
    loop {
        let going = tokio::select! {
            event = events.next() => match event {
                None => return,
                Some(Ok(event)) => {
                    let _ = poked.try_send(());
                    definitions.told(&event)
                }
                Some(Err(error)) => {
                    debug!(%error, "the watch for discovery was interrupted");
                    continue;
                }
            },
            _ = again.tick() => definitions.going.iter().cloned().collect(),
        };
        for name in going {
            store.definition_goes(&name);
        }
    }
}

// === impl Definitions ===

impl Definitions {
    /// The names of those that go, or have gone.
    fn told(&mut self, event: &watcher::Event<Definition>) -> Vec<String> {
        match event {
            watcher::Event::Init => {
                self.unlisted = self.known.keys().cloned().collect();
                Vec::new()
            }
            watcher::Event::InitApply(definition) | watcher::Event::Apply(definition) => {
                self.unlisted.remove(&definition.name_any());
                self.is(definition).into_iter().collect()
            }
            watcher::Event::InitDone => {
                let gone = std::mem::take(&mut self.unlisted);
                gone.iter().for_each(|name| self.forget(name));
                gone.into_iter().collect()
            }
            watcher::Event::Delete(definition) => {
                self.forget(&definition.name_any());
                vec![definition.name_any()]
            }
        }
    }

    fn is(&mut self, definition: &Definition) -> Option<String> {
        let name = definition.name_any();
        let uid = definition.uid().unwrap_or_default();
        let before = self.known.insert(name.clone(), uid.clone());
        let another = before.is_some_and(|before| before != uid);
        if definition.metadata.deletion_timestamp.is_some() {
            self.going.insert(name.clone());
            return Some(name);
        }
        self.going.remove(&name);
        another.then_some(name)
    }

    fn forget(&mut self, name: &str) {
        self.known.remove(name);
        self.going.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    fn definition(name: &str, uid: &str, deleted: Option<&str>) -> Definition {
        serde_json::from_value(json!({"metadata": {
            "name": name, "uid": uid, "deletionTimestamp": deleted}}))
        .unwrap()
    }

    const NOW: Option<&str> = Some("2026-01-01T00:00:00Z");

    #[test]
    fn one_that_is_told_to_go_goes_until_it_is_gone() {
        let mut definitions = Definitions::default();
        let told = definitions.told(&Event::Apply(definition("a", "1", None)));
        assert!(told.is_empty());
        let told = definitions.told(&Event::Apply(definition("a", "1", NOW)));
        assert_eq!(told, ["a"]);
        assert!(definitions.going.contains("a"));
        let told = definitions.told(&Event::Delete(definition("a", "1", NOW)));
        assert_eq!(told, ["a"]);
        assert!(definitions.going.is_empty() && definitions.known.is_empty());
    }

    #[test]
    fn one_that_went_while_nobody_watched_is_missing_in_the_list_or_another() {
        let mut definitions = Definitions::default();
        for name in ["stays", "gone", "made-again"] {
            definitions.told(&Event::Apply(definition(name, "1", None)));
        }
        assert!(definitions.told(&Event::Init).is_empty());
        let told = definitions.told(&Event::InitApply(definition("stays", "1", None)));
        assert!(told.is_empty());
        let told = definitions.told(&Event::InitApply(definition("made-again", "2", None)));
        assert_eq!(told, ["made-again"]);
        assert_eq!(definitions.told(&Event::InitDone), ["gone"]);
        assert_eq!(definitions.known.len(), 2);
    }
}
