//! What the sidecar hashes at admission against what is read back, for every type that is served.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use manifest::SpecHash;
use proto::v1::{Observation, Operation};
use serde_json::{Value, json};
use tests::control_plane;
use tests::eventually::eventually;
use tests::reverser::{self, Reverser};

use crate::PATIENCE;
use crate::corpus;
use crate::export::{Cluster, HOME, established, server};
use crate::served::{self, Served, text, type_of};

/// Types whose writes reach no webhook, and why.
const NEVER_ADMITTED: &[(&str, &str)] = &[
    (
        "mutatingadmissionpolicies.admissionregistration.k8s.io",
        OWN_KIND,
    ),
    (
        "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
        OWN_KIND,
    ),
    (
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        OWN_KIND,
    ),
    (
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        OWN_KIND,
    ),
    (
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        OWN_KIND,
    ),
    (
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        OWN_KIND,
    ),
];
const OWN_KIND: &str =
    "the apiserver lets no webhook rule on webhooks (kubernetes.io, Dynamic Admission Control)";

/// Writes whose two hashes differ, and why. Each must differ: who is equal by now leaves the table.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "horizontalpodautoscalers.autoscaling/in-another-version",
        "written as autoscaling/v1, watched as v2",
    ),
    (
        "aged.round.test/in-another-version",
        "written as v1beta1, watched as v1",
    ),
];

/// One write, and what was read right after it.
struct Write {
    what: String,
    type_name: String,
    operation: Operation,
    uid: String,
    hash: SpecHash,
    fields: Option<SpecHash>,
    /// The last call before it was stored; `None` of types that are never admitted.
    observed: Option<Observation>,
}

struct Writer<'a> {
    reverser: &'a Reverser,
    alice: Client,
    types: Vec<Served>,
    writes: Vec<Write>,
}

// === impl Writer ===

impl Writer<'_> {
    /// Creates it, and then labels it, which everything can be.
    async fn create_and_label(&mut self, object: &Value) {
        let served = type_of(&self.types, object).clone();
        let before = self.reverser.observations().len();
        let created = served::create(&self.alice, &served, object).await;
        self.note(&served, Operation::Create, &created, before)
            .await;
        let label = json!({"metadata": {"labels": {"touched": "yes"}}});
        self.update(&served, object, &label).await;
    }

    async fn update(&mut self, served: &Served, object: &Value, patch: &Value) {
        let before = self.reverser.observations().len();
        let changed = served::merge(&self.alice, served, object, "", "kubectl-edit", patch).await;
        self.note(served, Operation::Update, &changed, before).await;
    }

    /// Reads it back at the version that is watched, and hashes it as the reverser does. `before` it there were so many
    /// observations.
    async fn note(&mut self, served: &Served, operation: Operation, answer: &Value, before: usize) {
        let mut watched = answer.clone();
        watched["apiVersion"] = served.api_version().into();
        let read = served::read(&self.alice, served, &watched).await;
        let metadata = &answer["metadata"];
        assert_eq!(read["metadata"]["uid"], metadata["uid"]);
        let name = served.name();
        let what = format!("{name}/{}", text(&metadata["name"]));
        let uid = text(&metadata["uid"]).to_owned();
        let observed = if is_never_admitted(&name) {
            None
        } else {
            let found = eventually(PATIENCE, || async {
                let mut observed = self.reverser.observations().split_off(before);
                observed.retain(|it| {
                    it.uid == uid && it.operation() == operation && it.username == "alice"
                });
                observed
                    .pop()
                    .ok_or_else(|| format!("{what}: {operation:?} is not observed"))
            });
            Some(found.await)
        };
        self.writes.push(Write {
            what,
            type_name: name,
            operation,
            uid,
            hash: manifest::canonicalize(&read).unwrap().hash,
            fields: manifest::managed_fields_hash(&read),
            observed,
        });
    }
}

/// Changes of the kind that a real life brings, where admission and storage see different objects.
async fn changes(writer: &mut Writer<'_>) {
    let object = |api_version: &str, kind: &str, name: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}});
    for (object, patch) in [
        // Drops what only other types have.
        (
            object("v1", "Service", "node-port"),
            json!({"spec": {"type": "ExternalName", "externalName": "a.example.com", "clusterIP": null, "clusterIPs": null}}),
        ),
        (
            object("v1", "Service", "elsewhere"),
            json!({"spec": {"type": "ClusterIP", "externalName": null, "ports": [{"port": 80}]}}),
        ),
        (
            object("v1", "Service", "chosen"),
            json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80}], "sessionAffinity": "None", "sessionAffinityConfig": null}}),
        ),
        (
            object("apps/v1", "Deployment", "web"),
            json!({"spec": {"replicas": 5, "strategy": {"type": "Recreate", "rollingUpdate": null}}}),
        ),
        (
            object("batch/v1", "Job", "migrate"),
            json!({"spec": {"parallelism": 0}}),
        ),
        (
            object("v1", "ConfigMap", "settings"),
            json!({"data": null, "metadata": {"finalizers": null}}),
        ),
        (
            object("v1", "Secret", "opaque"),
            json!({"stringData": {"a": "changed"}, "data": {"empty": null}}),
        ),
        (
            object("rbac.authorization.k8s.io/v1", "Role", "shop:keeper"),
            json!({"rules": []}),
        ),
        (
            object("discovery.k8s.io/v1", "EndpointSlice", "by-hand-2"),
            json!({"endpoints": [], "ports": []}),
        ),
        (
            object("networking.k8s.io/v1", "NetworkPolicy", "allow"),
            json!({"spec": {"ingress": [], "egress": null}}),
        ),
        (
            object("v1", "ServiceAccount", "worker"),
            json!({"imagePullSecrets": []}),
        ),
        (
            object("autoscaling/v2", "HorizontalPodAutoscaler", "web"),
            json!({"spec": {"metrics": null, "behavior": null}}),
        ),
        (
            object("v1", "Pod", "bare"),
            json!({"spec": {"activeDeadlineSeconds": 10}}),
        ),
        (
            object("round.test/v1", "Gadget", "full"),
            json!({"spec": {"size": null, "items": [{"name": "b"}], "unknown": "pruned"}}),
        ),
    ] {
        let served = type_of(&writer.types, &object).clone();
        writer.update(&served, &object, &patch).await;
    }
}

/// Our own kinds, and Events: not what a cluster is restored from, but served.
fn further() -> Vec<Value> {
    let ours = |kind: &str, spec: Value| json!({"apiVersion": "configbutler.ai/v1alpha1", "kind": kind, "metadata": {"name": "other", "namespace": HOME}, "spec": spec});
    let rule = json!([{"resources": ["configmaps"]}]);
    let mut cluster_rule = ours(
        "ClusterWatchRule",
        json!({"destinationRef": {"name": "none", "namespace": HOME}, "rules": [{"resources": ["nodes"], "scope": "Cluster"}]}),
    );
    cluster_rule["metadata"] = json!({"name": "other"});
    let event =
        json!({"namespace": "shop", "name": "web", "kind": "Deployment", "apiVersion": "apps/v1"});
    vec![
        ours(
            "GitRepoConfig",
            json!({"repoUrl": "https://127.0.0.1:1/other.git", "allowedBranches": ["main"]}),
        ),
        ours(
            "GitDestination",
            json!({"repoRef": {"name": "none"}, "branch": "main", "baseFolder": "other"}),
        ),
        ours(
            "WatchRule",
            json!({"destinationRef": {"name": "none"}, "rules": rule}),
        ),
        cluster_rule,
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "old", "namespace": "shop"},
               "involvedObject": event, "reason": "Test", "message": "yes", "type": "Normal"}),
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "new", "namespace": "shop"},
               "regarding": event, "reason": "Test", "action": "Test", "note": "no", "type": "Normal",
               "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/test", "reportingInstance": "a"}),
    ]
}

/// The same types in a version that is not the watched one.
fn in_another_version() -> Vec<Value> {
    vec![
        json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
               "metadata": {"name": "in-another-version", "namespace": "shop"},
               "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70,
                        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "idle"}}}),
        json!({"apiVersion": "round.test/v1beta1", "kind": "Age",
               "metadata": {"name": "in-another-version", "namespace": "shop"}, "spec": {"a": "1", "n": 1}}),
    ]
}

/// The chart keeps Events, Leases and the like from the webhook, to spare it their number. Here they are to come.
async fn send_everything(reverser: &Reverser, client: &Client) {
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let all = served::get(client, path).await.unwrap();
    let ours = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["webhooks"][0]["clientConfig"]["url"] == reverser.webhook_url());
    let mut ours = ours.unwrap().clone();
    ours["webhooks"][0]
        .as_object_mut()
        .unwrap()
        .remove("matchConditions");
    let path = format!("{path}/{}", text(&ours["metadata"]["name"]));
    served::send(client, "PUT", &path, "application/json", &ours)
        .await
        .unwrap();
    // In force once an excluded type is observed.
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"generateName": "probe-"}});
    eventually(PATIENCE, || async {
        let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
        served::send(client, "POST", path, "application/json", &lease)
            .await
            .map_err(|error| error.to_string())?;
        let observed = reverser.observations();
        if observed.iter().any(|it| it.resource == "leases") {
            Ok(())
        } else {
            Err(format!("no Lease among {} observations", observed.len()))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_served_type_has_the_same_hash_at_admission_and_when_read_back() {
    let server = server();
    let options = reverser::Options {
        recorded: true,
        ..reverser::Options::default()
    };
    let cluster = Cluster::start(
        &server,
        "admission",
        control_plane::Options::default(),
        options,
    )
    .await;
    let alice = cluster.user("alice");
    let mut writer = Writer {
        reverser: &cluster.reverser,
        types: served::all(&alice).await,
        alice: alice.clone(),
        writes: Vec::new(),
    };
    // Nothing is selected yet: the sidecar is told so, and would say nothing of the types that all others need.
    cluster.select("all", &writer.types).await;
    send_everything(&cluster.reverser, &cluster.client()).await;
    for object in corpus::types() {
        writer.create_and_label(&object).await;
        if object["kind"] == "CustomResourceDefinition" {
            established(&alice, &object).await;
        }
    }
    writer.types = served::all(&alice).await;
    cluster.select("all", &writer.types).await;
    let objects = corpus::objects();
    for object in objects
        .iter()
        .chain(&further())
        .chain(&in_another_version())
    {
        writer.create_and_label(object).await;
    }
    changes(&mut writer).await;

    let observations = cluster.reverser.observations();
    let admitted: BTreeSet<String> = observations
        .iter()
        .map(|it| name_of(&it.group, &it.resource))
        .collect();
    let known: BTreeMap<&str, &str> = DIFFERENT.iter().copied().collect();
    let (mut equal, mut differed, mut findings) = (Vec::new(), BTreeSet::new(), Vec::new());
    for write in &writer.writes {
        let Some(observed) = &write.observed else {
            continue;
        };
        let is_equal = observed.spec_hash == write.hash.to_string();
        match (is_equal, known.contains_key(write.what.as_str())) {
            (true, false) => equal.push(write),
            (true, true) => {
                findings.push(format!("{} is equal, and listed as different", write.what));
            }
            (false, true) => {
                let fields = write.fields.map(|it| it.to_string()).unwrap_or_default();
                assert_eq!(observed.managed_fields_hash, fields, "{}", write.what);
                differed.insert(write.what.as_str());
            }
            (false, false) => findings.push(format!(
                "{} {:?}: read back {}, at admission {}",
                write.what, write.operation, write.hash, observed.spec_hash
            )),
        }
    }
    let covered: BTreeSet<&str> = equal.iter().map(|it| it.type_name.as_str()).collect();
    for served in &writer.types {
        let name = served.name();
        match (is_never_admitted(&name), admitted.contains(&name)) {
            (true, true) => {
                findings.push(format!("{name} is admitted, and listed as never admitted"));
            }
            (false, _) if !covered.contains(name.as_str()) => {
                findings.push(format!("{name} is served, and neither compared nor listed"));
            }
            _ => {}
        }
    }
    let tried: BTreeSet<&str> = writer
        .writes
        .iter()
        .map(|it| it.type_name.as_str())
        .filter(|name| is_never_admitted(name))
        .collect();
    let objects: BTreeSet<&str> = equal.iter().map(|it| it.uid.as_str()).collect();
    eprintln!(
        "{} of {} writes to {} objects of {} types have equal hashes at admission and when read back; \
         {} objects differ as listed: {differed:?}; {} of {} served types are never admitted: {tried:?}",
        equal.len(),
        equal.len() + findings.len(),
        objects.len(),
        covered.len(),
        differed.len(),
        tried.len(),
        writer.types.len(),
    );
    assert!(findings.is_empty(), "{findings:#?}");
    assert_eq!(differed.len(), DIFFERENT.len());
}

fn name_of(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}

fn is_never_admitted(name: &str) -> bool {
    NEVER_ADMITTED.iter().any(|(never, _)| *never == name)
}
