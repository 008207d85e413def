//! Discovers again at an interval, and at once when a CRD or an APIService changes.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{ListParams, Request};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use manifest::ReplicasPath;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::{Catalog, ServedType, definitions};
use crate::attribution::Store;

/// A CRD is served a moment after it changes: the apiserver rebuilds its handlers and the
/// aggregated document afterwards, on a busy machine many seconds later. Discovering after each of
/// these delays finds it without waiting for the interval. The next change begins anew.
const SETTLE: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// Keeps a [`Catalog`] up to date.
pub struct Refresher {
    client: Client,
    interval: Duration,
    catalog: watch::Sender<Arc<Catalog>>,
    store: Arc<Store>,
}

impl Refresher {
    /// `catalog` gets every new snapshot; `interval` is `--discovery-refresh`. `store` is told which types go.
    #[must_use]
    pub fn new(
        client: Client,
        interval: Duration,
        catalog: watch::Sender<Arc<Catalog>>,
        store: Arc<Store>,
    ) -> Self {
        Self {
            client,
            interval,
            catalog,
            store,
        }
    }

    /// Runs until dropped. `poke` is both ends of a channel of one place: a change that finds it
    /// full is already going to be looked at.
    pub async fn run(self, poke: (mpsc::Sender<()>, mpsc::Receiver<()>)) {
        let (poked, mut pokes) = poke;
        let crds = definitions::watch(self.client.clone(), poked.clone(), Arc::clone(&self.store));
        let services = watch_changes(
            Api::<PartialObjectMeta<APIService>>::all(self.client.clone()),
            poked,
        );
        tokio::select! {
            () = crds => {}
            () = services => {}
            () = async {
                let mut delays = [].iter();
                loop {
                    self.refresh().await;
                    let delay = delays.next().copied().unwrap_or(self.interval);
                    tokio::select! {
                        () = tokio::time::sleep(delay.min(self.interval)) => {}
                        _ = pokes.recv() => {
                            // One change seldom comes alone.
                            tokio::time::sleep(SETTLE[0]).await;
                            delays = SETTLE[1..].iter();
                        }
                    }
                }
            } => {}
        }
    }

    async fn refresh(&self) {
        match discover(&self.client).await {
            Ok(mut found) => {
                let known = self.catalog.borrow().clone();
                // An aggregated API that is down may be missing in discovery. What went with it
                // would look as if no rule selected it, and be swept.
                for served in known.missing_in(&found) {
                    if !is_gone(&self.client, &served).await {
                        debug!(%served, "not discovered, and not known to be gone");
                        found.keep(&known, &served);
                    }
                }
                for served in found.scaled_by_definition() {
                    self.read_replicas(&mut found, &known, &served).await;
                }
                self.catalog.send_if_modified(|known| {
                    if **known == found {
                        return false;
                    }
                    info!(
                        types = found.types().count(),
                        "discovered the types that the cluster serves"
                    );
                    *known = Arc::new(found);
                    true
                });
            }
            // What was known stays known: an apiserver that is away serves no fewer types.
            Err(error) => warn!(%error, "discovery failed"),
        }
    }
}

impl Refresher {
    /// Notes what a custom resource's scale subresource writes to. Where its definition can't be
    /// read now, what was known stays known: a watch would begin anew for each change of mind.
    async fn read_replicas(&self, found: &mut Catalog, known: &Catalog, served: &ServedType) {
        let definition = self.definition(served).await;
        if let Ok(Some(definition)) = definition {
            found.set_replicas(served, |version| replicas_path(&definition, version));
            return;
        }
        // An aggregated API has none, and one that is being deleted is gone before its type is.
        if let Err(error) = definition {
            debug!(%served, %error, "its definition can't be read");
        }
        let versions = known.versions(&served.group, &served.resource);
        found.set_replicas(served, |version| {
            let before = versions.iter().find(|served| served.version == version)?;
            before.replicas.clone()
        });
    }

    /// By a list of one name, as there may be no right to get.
    async fn definition(
        &self,
        served: &ServedType,
    ) -> kube::Result<Option<CustomResourceDefinition>> {
        let name = format!("metadata.name={}.{}", served.resource, served.group);
        let api = Api::<CustomResourceDefinition>::all(self.client.clone());
        let list = api.list(&ListParams::default().fields(&name)).await?;
        Ok(list.items.into_iter().next())
    }
}

/// What the cluster serves now.
///
/// # Errors
/// When the apiserver does not tell.
pub async fn discover(client: &Client) -> kube::Result<Catalog> {
    let (core, groups) = tokio::join!(
        client.list_core_api_versions_aggregated(),
        client.list_api_groups_aggregated()
    );
    Ok(Catalog::new(&core?, &groups?))
}

/// Whether a type that is not discovered is known not to be served. Only 404 says so; an apiserver that starts, or whose
/// backend is away, answers 503.
pub async fn is_gone(client: &Client, served: &ServedType) -> bool {
    let request = Request::new(served.url_path(None)).list(&ListParams::default().limit(1));
    let Ok(request) = request else { return false };
    let answer = client.request_text(request).await;
    matches!(answer, Err(kube::Error::Api(status)) if status.code == 404)
}

/// What the scale subresource of this version writes to, by the definition.
fn replicas_path(definition: &CustomResourceDefinition, version: &str) -> Option<ReplicasPath> {
    let mut versions = definition.spec.versions.iter();
    let version = versions.find(|v| v.name == version)?;
    let scale = version.subresources.as_ref()?.scale.as_ref()?;
    ReplicasPath::parse(&scale.spec_replicas_path)
}

/// Pokes whenever an object of this type changes; never ends.
async fn watch_changes<K>(api: Api<K>, poked: mpsc::Sender<()>)
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Send
        + serde::de::DeserializeOwned
        + 'static,
{
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(_) => drop(poked.try_send(())),
            Err(error) => debug!(%error, "the watch for discovery was interrupted"),
        }
    }
}
