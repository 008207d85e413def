//! The label by which the webhook's Service finds the leader's pod.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::fence::Fence;
use super::lease::{Candidate, RETRY_PERIOD};
use super::role::{Roles, leads};
use crate::attribution::{Routed, Store};
use crate::git::Denied;

/// The label, and its value on the pod that leads.
const KEY: &str = "configbutler.ai/role";
const LEADER: &str = "leader";

/// What tells the pods of one release from those of another in the same namespace.
const RELEASE: [&str; 2] = ["app.kubernetes.io/name", "app.kubernetes.io/instance"];

/// How often it is looked whether the label still is where it belongs.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// How long after the label was moved an apiserver may still call another pod's sidecar. The Service's endpoints follow within a
/// second or two; an apiserver keeps the connections that it has, until the sidecar closes them: at once where its reverser tells it
/// to, and after 2 s where that is away.
const REROUTED: Duration = Duration::from_secs(5);

/// Why the label could not be moved.
#[derive(Debug, thiserror::Error)]
enum LabelError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Denied(#[from] Denied),
}

/// Keeps the label on this pod, and off the others, for as long as this process leads.
pub struct RoleLabel {
    pods: Api<Pod>,
    pod: String,
    fence: Arc<Fence>,
    roles: Roles,
    store: Arc<Store>,
    /// The store knows from when on admissions come here.
    routed: bool,
}

impl RoleLabel {
    /// `store` is told from when on all admissions come here.
    #[must_use]
    pub fn new(
        client: Client,
        candidate: &Candidate,
        fence: Arc<Fence>,
        roles: Roles,
        store: Arc<Store>,
    ) -> Self {
        Self {
            pods: Api::namespaced(client, &candidate.namespace),
            pod: candidate.pod.clone(),
            fence,
            roles,
            store,
            routed: false,
        }
    }

    /// Runs until dropped.
    pub async fn run(mut self) {
        leads(&mut self.roles).await;
        let mut told = false;
        loop {
            let pause = match self.keep().await {
                Ok(()) => {
                    told = false;
                    LOOK_AGAIN
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        warn!(%error, "cannot move the role label; trying again");
                    }
                    RETRY_PERIOD
                }
            };
            sleep(pause).await;
        }
    }

    /// Others first: two that have it would share the admissions.
    async fn keep(&mut self) -> Result<(), LabelError> {
        let Some(me) = self.pods.get_opt(&self.pod).await? else {
            // Outside a cluster there is no Service either.
            self.admissions_go(Routed::Here);
            return Ok(());
        };
        let selector = ListParams::default().labels(&selector(&me));
        let labelled = self.pods.list(&selector).await?.items;
        let mine = me.labels().get(KEY).is_some_and(|role| role == LEADER);
        let others = labelled.iter().map(ResourceExt::name_any);
        let others: Vec<String> = others.filter(|name| *name != self.pod).collect();
        if mine && others.is_empty() {
            // An earlier process of this pod led: whatever was admitted since came to its sidecar.
            self.admissions_go(Routed::Here);
            return Ok(());
        }
        self.routed = false;
        self.store.admissions_go(Routed::Elsewhere);
        for other in others {
            // A process that was paused must not take the label from its successor.
            self.fence.check_async().await?;
            match self.set(&other, Value::Null).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                taken => taken?,
            }
            info!(pod = other, "took the role label");
        }
        if !mine {
            self.fence.check_async().await?;
            self.set(&self.pod, LEADER.into()).await?;
            info!(pod = self.pod, "set the role label");
        }
        self.admissions_go(Routed::HereSince(Instant::now() + REROUTED));
        Ok(())
    }

    /// Once, until the label has to be moved again.
    fn admissions_go(&mut self, routed: Routed) {
        if !std::mem::replace(&mut self.routed, true) {
            self.store.admissions_go(routed);
        }
    }

    async fn set(&self, pod: &str, role: Value) -> kube::Result<()> {
        let patch = json!({"metadata": {"labels": {KEY: role}}});
        self.pods
            .patch_metadata(pod, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }
}

/// The pods of this one's release that have the label.
fn selector(me: &Pod) -> String {
    let labels = me.labels();
    let own = RELEASE
        .into_iter()
        .filter_map(|key| labels.get(key).map(|value| format!("{key}={value}")));
    own.chain([format!("{KEY}={LEADER}")])
        .collect::<Vec<_>>()
        .join(",")
}
