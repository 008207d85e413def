//! Small plays, each of one special kind of write. Every one is on objects of its own, and by several people.

mod custom;
mod deletes;
mod refusals;
mod workloads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::contention::Load;
use crate::crowd::{Actor, Crowd};
use crate::kinds::{ACCOUNTS, CLASSES, Kind, MAPS, NAMESPACES, SERVICES};
use crate::people;
use crate::place::Place;

/// Plays that go on at a time.
const STAGES: u64 = 14;

/// What a play has to work with.
pub(crate) struct Stage {
    crowd: Arc<Crowd>,
    /// Where it takes place.
    namespace: String,
    /// A name that no other play has.
    name: String,
    rng: StdRng,
}

// === impl Stage ===

impl Stage {
    /// Somebody else each time, mostly.
    fn actor(&mut self, act: &'static str) -> Actor {
        self.crowd.actor(act, &people::anybody(&mut self.rng))
    }

    fn other(&mut self, act: &'static str, one: &Actor) -> Actor {
        loop {
            let other = self.actor(act);
            if other.name() != one.name() {
                return other;
            }
        }
    }

    fn path(&self, kind: Kind) -> String {
        kind.path(&self.namespace, &self.name)
    }

    fn collection(&self, kind: Kind) -> String {
        kind.collection(&self.namespace)
    }

    /// Makes an object of the play's name.
    async fn create(&mut self, act: &'static str, kind: Kind, rest: Value) -> Value {
        let object = kind.object(&self.name, rest);
        let reply = self
            .actor(act)
            .create(&self.collection(kind), &object)
            .await;
        reply.body
    }

    /// A moment in which others do something.
    async fn pause(&mut self) {
        let moment = self.rng.random_range(0..60);
        tokio::time::sleep(Duration::from_millis(moment)).await;
    }
}

/// Starts the plays; they go on until the load is done.
pub(crate) async fn begin(place: &Place, load: Load, workers: &mut JoinSet<()>) {
    let next = Arc::new(AtomicU64::new(0));
    let plain = place.namespace("acts").await;
    let mutated = place.namespace("mutated").await;
    place
        .label(&NAMESPACES.path("", &mutated), json!({"mutate": "yes"}))
        .await;
    let full = place.namespace("full").await;
    refusals::fill(place, &full).await;
    for number in 0..STAGES {
        let (crowd, next) = (Arc::clone(&place.crowd), Arc::clone(&next));
        let places = [plain.clone(), mutated.clone(), full.clone()];
        workers.spawn(async move {
            let mut rng = load.rng(1000 + number);
            while !load.is_done(&crowd) {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let mut stage = Stage {
                    crowd: Arc::clone(&crowd),
                    namespace: places[0].clone(),
                    name: format!("play-{turn}"),
                    rng: StdRng::clone(&rng),
                };
                play(turn, &mut stage, &places).await;
                rng = stage.rng;
            }
        });
    }
}

async fn play(turn: u64, stage: &mut Stage, places: &[String; 3]) {
    match turn % 22 {
        0 => workloads::scaled(stage).await,
        1 => workloads::restarted(stage).await,
        2 => custom::two_versions(stage).await,
        3 => custom::scaled(stage).await,
        4 => custom::autoscaler(stage).await,
        5 => deletes::collection(stage).await,
        6 => deletes::with_finalizer(stage).await,
        7 => deletes::owner(stage, "Foreground").await,
        8 => deletes::owner(stage, "Orphan").await,
        9 => deletes::owner(stage, "Background").await,
        10 => deletes::again_and_again(stage).await,
        11 => deletes::eviction(stage).await,
        12 if turn.is_multiple_of(3) => deletes::namespace(stage).await,
        13 => refusals::update(stage).await,
        14 => refusals::delete(stage).await,
        15 => {
            stage.namespace.clone_from(&places[2]);
            refusals::quota(stage).await;
        }
        16 => refusals::preconditions(stage).await,
        17 => {
            stage.namespace.clone_from(&places[1]);
            mutated(stage).await;
        }
        18 => cluster_scoped(stage).await,
        19 => account(stage).await,
        20 => service(stage).await,
        _ => custom::status(stage).await,
    }
}

/// What is done once, at the end.
pub(crate) async fn last(place: &Place) {
    certified(place).await;
    custom::type_goes(place).await;
}

/// A mutating webhook adds another value to each call, retries included.
async fn mutated(stage: &mut Stage) {
    let act = "mutating webhook";
    stage
        .create(act, MAPS, json!({"metadata": {}, "data": {"k": "0"}}))
        .await;
    for n in 0..3 {
        let patch = json!({"data": {"k": n.to_string()}});
        let path = stage.path(MAPS);
        let (one, two) = (stage.actor(act), stage.actor(act));
        tokio::join!(one.merge(&path, &patch), two.merge(&path, &patch));
    }
    let path = stage.path(MAPS);
    stage.actor(act).delete(&path, &json!({})).await;
}

async fn cluster_scoped(stage: &mut Stage) {
    let act = "cluster-scoped";
    let class = json!({"metadata": {}, "value": 7, "description": "first"});
    stage.create(act, CLASSES, class).await;
    let path = stage.path(CLASSES);
    for n in 0..2 {
        let patch = json!({"description": n.to_string()});
        stage.actor(act).merge(&path, &patch).await;
    }
    stage.actor(act).delete(&path, &json!({})).await;
}

async fn account(stage: &mut Stage) {
    let act = "service account";
    stage.create(act, ACCOUNTS, json!({"metadata": {}})).await;
    let path = stage.path(ACCOUNTS);
    let patch = json!({"imagePullSecrets": [{"name": "registry"}]});
    stage.actor(act).strategic(&path, &patch).await;
    let patch = json!({"metadata": {"annotations": {"n": "1"}}});
    stage.actor(act).merge(&path, &patch).await;
    stage.actor(act).delete(&path, &json!({})).await;
}

async fn service(stage: &mut Stage) {
    let act = "service";
    let port = |port: u32| json!([{"name": "http", "port": port}]);
    let spec = json!({"metadata": {}, "spec": {"ports": port(80), "selector": {"app": "web"}}});
    stage.create(act, SERVICES, spec).await;
    let path = stage.path(SERVICES);
    stage
        .actor(act)
        .merge(&path, &json!({"spec": {"ports": port(81)}}))
        .await;
    stage
        .actor(act)
        .merge(&path, &json!({"spec": {"type": "NodePort"}}))
        .await;
    let external = json!({"spec": {"type": "ExternalName", "externalName": "example.com", "clusterIP": null,
                                   "clusterIPs": null, "ports": null}});
    stage.actor(act).merge(&path, &external).await;
    stage
        .actor(act)
        .merge(&path, &json!({"spec": {"externalName": "example.org"}}))
        .await;
    stage.actor(act).delete(&path, &json!({})).await;
}

/// Names that no header can carry come by certificate; and a real token of a real account.
async fn certified(place: &Place) {
    let namespace = place.namespace("certified").await;
    let account = ACCOUNTS.object("robot", json!({"metadata": {}}));
    let admin = place
        .crowd
        .actor("certificate or token", "kubernetes-admin");
    admin
        .create(&ACCOUNTS.collection(&namespace), &account)
        .await;
    let token = place
        .plane
        .service_account_token(&namespace, "robot")
        .await
        .unwrap();
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "robot"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": namespace}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    admin.create(bindings, &binding).await;
    let mut clients = vec![place.plane.client_with_token(&token)];
    for name in [
        "new\nline",
        "eve\nKubernetes-User: root",
        " spaces ",
        "trailing\n",
    ] {
        clients.push(
            place
                .plane
                .client_certified(name, &["system:masters"])
                .unwrap(),
        );
    }
    for (n, client) in clients.into_iter().enumerate() {
        // Without a number, so nothing else may happen to these objects.
        let object = MAPS.object(
            &format!("by-{n}"),
            json!({"metadata": {}, "data": {"k": "0"}}),
        );
        let request = http::Request::post(MAPS.collection(&namespace))
            .header("Content-Type", "application/json");
        let request = request.body(object.to_string().into_bytes()).unwrap();
        client.request::<Value>(request).await.unwrap();
        let patch = json!({"data": {"k": "1"}}).to_string().into_bytes();
        let request = http::Request::patch(MAPS.path(&namespace, &format!("by-{n}")));
        let request = request
            .header("Content-Type", "application/merge-patch+json")
            .body(patch);
        client.request::<Value>(request.unwrap()).await.unwrap();
    }
}
