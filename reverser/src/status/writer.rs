//! Writes statuses and Events, when they changed and not too often.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{StreamExt, stream};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::debug;

use super::board::StatusBoard;
use super::derive::{Counts, Verdict, derive, rfc3339};
use super::events::Events;
use super::view::View;
use crate::api::Condition;
use crate::leadership::{Fence, Roles, leads};
use crate::rules::{Configuration, ObjectKey};
use crate::workers::Workers;

/// At most one write to an object in this time; counts change all the time.
const INTERVAL: Duration = Duration::from_secs(2);

/// Statuses written at once: a thousand rules become Ready within seconds, and the apiserver gives
/// one client no more than a share of its seats.
const AT_ONCE: usize = 8;

/// How soon a first change is written.
const SETTLE: Duration = Duration::from_millis(100);

/// The field manager of status writes, and the reporter of Events.
pub(super) const NAME: &str = "gitops-reverser";

/// Keeps the statuses of all custom resources up to date.
pub struct StatusWriter {
    client: Client,
    board: Arc<StatusBoard>,
    workers: Arc<Workers>,
    configuration: watch::Receiver<Option<Arc<Configuration>>>,
    roles: Roles,
    fence: Arc<Fence>,
}

/// What was last written to an object.
#[derive(Debug)]
struct Written {
    uid: Option<String>,
    generation: Option<i64>,
    verdict: Verdict,
    at: tokio::time::Instant,
}

impl StatusWriter {
    /// Reads the board and what the apiserver holds.
    #[must_use]
    pub fn new(
        client: Client,
        board: Arc<StatusBoard>,
        workers: Arc<Workers>,
        configuration: watch::Receiver<Option<Arc<Configuration>>>,
        roles: Roles,
        fence: Arc<Fence>,
    ) -> Self {
        Self {
            client,
            board,
            workers,
            configuration,
            roles,
            fence,
        }
    }

    /// Runs until dropped. A follower says nothing.
    pub async fn run(mut self) {
        leads(&mut self.roles).await;
        let mut events = Events::new(self.client.clone());
        let mut written: HashMap<ObjectKey, Written> = HashMap::new();
        loop {
            tokio::select! {
                () = self.board.changed() => {}
                changed = self.configuration.changed() => if changed.is_err() { return },
                // Pending counts live in the queues, which don't tell the board.
                () = tokio::time::sleep(INTERVAL) => {}
            }
            tokio::time::sleep(SETTLE).await;
            // What a process knows that was paused is another one's to say by now.
            if self.fence.check_async().await.is_err() {
                continue;
            }
            let Some(configuration) = self.configuration.borrow_and_update().clone() else {
                continue;
            };
            self.write_all(&configuration, &mut events, &mut written)
                .await;
        }
    }

    async fn write_all(
        &self,
        configuration: &Configuration,
        events: &mut Events,
        written: &mut HashMap<ObjectKey, Written>,
    ) {
        let facts = self.board.snapshot();
        written.retain(|key, _| facts.plan.findings.contains_key(key));
        events.retain(|key| facts.plan.findings.contains_key(key));
        let view = View::new(&facts);
        let mut due = Vec::new();
        for (key, finding) in &facts.plan.findings {
            let Some(object) = configuration.object(key) else {
                continue;
            };
            let (uid, generation) = (object.metadata.uid.clone(), object.metadata.generation);
            // Changed since: the plan that judges it as it is now is on its way.
            if finding.judged != (uid.clone(), generation) {
                continue;
            }
            let verdict = derive(key, finding, &view, |name| self.workers.pending(name));
            if let Some(last) = written.get(key) {
                let same_object = last.uid == uid && last.generation == generation;
                let told = same_object && last.verdict == verdict;
                // A new verdict is told at once; counts alone wait for their turn.
                let only_counts =
                    same_object && last.verdict.conditions.reason() == verdict.conditions.reason();
                if told || (only_counts && last.at.elapsed() < INTERVAL) {
                    continue;
                }
            }
            // What is read here may be older than what was written last.
            let is_read_back = written
                .get(key)
                .is_none_or(|last| last.uid != uid || last.verdict == verdict);
            due.push((key.clone(), Arc::clone(object), verdict, is_read_back));
        }
        let events = Mutex::new(events);
        let writes = stream::iter(due).map(|(key, object, verdict, is_read_back)| {
            let events = &events;
            async move {
                let outcome = self
                    .write(&key, &object, &verdict, is_read_back, events)
                    .await;
                (key, object, verdict, outcome)
            }
        });
        let mut writes = pin!(writes.buffer_unordered(AT_ONCE));
        while let Some((key, object, verdict, outcome)) = writes.next().await {
            match outcome {
                Ok(()) => {
                    let new = Written {
                        uid: object.metadata.uid.clone(),
                        generation: object.metadata.generation,
                        verdict,
                        at: tokio::time::Instant::now(),
                    };
                    written.insert(key, new);
                }
                // Deleted in the meantime, or a conflict: the next round sees what is there then.
                Err(error) => debug!(%key, %error, "a status was not written"),
            }
        }
    }

    async fn write(
        &self,
        key: &ObjectKey,
        object: &DynamicObject,
        verdict: &Verdict,
        is_read_back: bool,
        events: &Mutex<&mut Events>,
    ) -> kube::Result<()> {
        let before: Vec<Condition> =
            serde_json::from_value(object.data["status"]["conditions"].clone()).unwrap_or_default();
        let status = status(object, verdict, &before);
        if is_read_back && object.data["status"] == status {
            return Ok(());
        }
        let resource = key.kind.api_resource();
        let api: Api<DynamicObject> = if key.namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &key.namespace, &resource)
        };
        let patch = json!({"metadata": {"uid": object.metadata.uid}, "status": status});
        api.patch_status(
            &key.name,
            &PatchParams {
                field_manager: Some(NAME.to_owned()),
                ..PatchParams::default()
            },
            &Patch::Merge(patch),
        )
        .await?;
        let generation = object.metadata.generation;
        let news = events
            .lock()
            .news(key, &verdict.conditions, &before, generation);
        if let Some(news) = news {
            news.publish(key, &object.object_ref(&resource)).await;
        }
        Ok(())
    }
}

fn status(object: &DynamicObject, verdict: &Verdict, before: &[Condition]) -> Value {
    let generation = object.metadata.generation;
    let now = rfc3339(SystemTime::now());
    let mut status = json!({
        "conditions": verdict.conditions.to_list(generation, before, &now),
        "observedGeneration": generation,
    });
    match &verdict.counts {
        Counts::Repo => {}
        Counts::Destination {
            objects,
            pending,
            last_commit,
            last_push,
        } => {
            status["objects"] = json!(objects);
            status["pendingChanges"] = json!(pending);
            // A process that has not pushed yet leaves what the one before it said.
            let keep = |field: &str, new: &Option<String>| match new {
                Some(new) => Value::from(new.as_str()),
                None => object.data["status"][field].clone(),
            };
            for (field, new) in [("lastCommit", last_commit), ("lastPushTime", last_push)] {
                let value = keep(field, new);
                if !value.is_null() {
                    status[field] = value;
                }
            }
        }
        Counts::Rule { types, unresolved } => {
            status["watchedTypes"] = json!(types);
            // A merge patch keeps what it does not name.
            status["unresolved"] = json!(unresolved);
        }
    }
    status
}
