//! Many who write to few objects, in every way that there is.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::crowd::{Actor, Crowd};
use crate::kinds::MAPS;
use crate::people;

/// Objects of a namespace that everybody writes to.
const OBJECTS: u32 = 12;

/// How much there is to do.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) seed: u64,
    /// Requests, over the whole crowd, after which nobody begins another round.
    pub(crate) requests: usize,
}

impl Load {
    pub(crate) fn is_done(self, crowd: &Crowd) -> bool {
        crowd.is_over() || crowd.journal_len() >= self.requests
    }

    /// The same for each worker of each run.
    pub(crate) fn rng(self, worker: u64) -> StdRng {
        StdRng::seed_from_u64(
            self.seed
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(worker),
        )
    }
}

/// One who does one random thing after the other.
pub(crate) async fn worker(crowd: Arc<Crowd>, namespace: String, load: Load, number: u64) {
    let mut rng = load.rng(number);
    while !load.is_done(&crowd) {
        let name = format!("shared-{}", rng.random_range(0..OBJECTS));
        let path = MAPS.path(&namespace, &name);
        one(&crowd, &namespace, &name, &path, &mut rng).await;
    }
}

async fn one(crowd: &Arc<Crowd>, namespace: &str, name: &str, path: &str, rng: &mut StdRng) {
    let user = people::anybody(rng);
    let actor = |act| crowd.actor(act, &user);
    // Few values, so that different people ask for the same; and now and then one that is like no other.
    let value = if rng.random_bool(0.7) {
        rng.random_range(0..4_u32).to_string()
    } else {
        rng.random::<u64>().to_string()
    };
    let patch = json!({"data": {"k": value}});
    match rng.random_range(0..100) {
        0..18 => {
            let actor = actor("merge patch");
            if actor.merge(path, &patch).await.status == 404 {
                create(&crowd.actor("create", &user), namespace, name, &value).await;
            }
        }
        18..30 => read_modify_write(&actor("update, retried"), path, &value).await,
        30..36 => {
            let object = MAPS.object(
                name,
                json!({"metadata": {"labels": {"by": "put"}}, "data": {"k": value}}),
            );
            actor("update, unconditional").put(path, &object).await;
        }
        36..44 => {
            let patch = json!({"metadata": {"labels": {"strategic": value}}});
            actor("strategic patch").strategic(path, &patch).await;
        }
        44..52 => {
            let patch = json!([{"op": "replace", "path": "/data/k", "value": value}]);
            actor("JSON patch").json_patch(path, &patch).await;
        }
        52..64 => {
            let manager = ["argo", "flux"][rng.random_range(0..2)];
            let force = rng.random_bool(0.5);
            let data = if rng.random_bool(0.5) {
                json!({"k": value})
            } else {
                json!({manager: value})
            };
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
            actor(if force { "apply, forced" } else { "apply" })
                .apply(path, manager, force, &object)
                .await;
        }
        64..68 => {
            let now = actor("no-op").get(path).await.body["data"].clone();
            actor("no-op").merge(path, &json!({"data": now})).await;
        }
        68..72 => {
            actor("dry run")
                .merge(&format!("{path}?dryRun=All"), &patch)
                .await;
        }
        72..78 => same_at_once(crowd, path, &patch, rng).await,
        78..84 => {
            for value in ["a", "b", "a"] {
                actor("swing")
                    .merge(path, &json!({"data": {"swing": value}}))
                    .await;
            }
        }
        84..89 => {
            // Refused behind us; then somebody does the same, or something else.
            actor("refused").refused().merge(path, &patch).await;
            let other = people::anybody(rng);
            let then = if rng.random_bool(0.5) {
                patch
            } else {
                json!({"data": {"k": "else"}})
            };
            crowd
                .actor("after a refusal", &other)
                .merge(path, &then)
                .await;
        }
        89..93 => {
            actor("delete").delete(path, &json!({})).await;
            if rng.random_bool(0.5) {
                let other = people::anybody(rng);
                create(&crowd.actor("recreate", &other), namespace, name, &value).await;
            }
        }
        93..96 => {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"generateName": "generated-"}, "data": {"k": value}});
            let made = actor("generateName")
                .create(&MAPS.collection(namespace), &object)
                .await;
            let name = made.body["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if !name.is_empty() {
                actor("generateName")
                    .delete(&MAPS.path(namespace, &name), &json!({}))
                    .await;
            }
        }
        _ => {
            create(&actor("create"), namespace, name, &value).await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..20))).await;
        }
    }
}

async fn create(actor: &Actor, namespace: &str, name: &str, value: &str) {
    let object = MAPS.object(name, json!({"metadata": {}, "data": {"k": value}}));
    actor.create(&MAPS.collection(namespace), &object).await;
}

async fn read_modify_write(actor: &Actor, path: &str, value: &str) {
    for _ in 0..4 {
        let mut object = actor.get(path).await.body;
        if object["kind"] != "ConfigMap" {
            return;
        }
        object["data"]["k"] = value.into();
        if actor.put(path, &object).await.status != 409 {
            return;
        }
    }
}

/// Several ask for the very same at the same time: one of them writes it, for the others nothing is left to do.
async fn same_at_once(crowd: &Arc<Crowd>, path: &str, patch: &Value, rng: &mut StdRng) {
    let actors: Vec<Actor> = (0..3)
        .map(|_| crowd.actor("the same at once", &people::anybody(rng)))
        .collect();
    join_all(actors.iter().map(|actor| actor.merge(path, patch))).await;
}
