//! The real Flux: what is written of one cluster, it applies to another.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, GroupVersionKind, Patch, PatchParams, TypeMeta};
use kube::{Client, ResourceExt};
use tests::certs::Authority;
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::flux::Flux;

use super::encrypted::{documented, meant, start};
use super::sops::Sops;
use super::*;

/// What is written, and compared: group, kind, resource.
const KINDS: [(&str, &str, &str); 5] = [
    ("", "ConfigMap", "configmaps"),
    ("", "Secret", "secrets"),
    ("", "Service", "services"),
    ("apps", "Deployment", "deployments"),
    ("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
];

/// Where docs/secrets.md has Flux.
const FLUX: &str = "flux-system";

fn api(client: &Client, types: &GroupVersionKind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(types))
}

async fn apply(client: &Client, namespace: &str, object: &Value) {
    let types: TypeMeta = serde_json::from_value(object.clone()).unwrap();
    let api = api(client, &types.try_into().unwrap(), namespace);
    let name = object["metadata"]["name"].as_str().unwrap();
    let params = PatchParams::apply("test").force();
    api.patch(name, &params, &Patch::Apply(object))
        .await
        .unwrap();
}

/// Secrets of every type and value, and what surrounds them.
fn objects() -> Vec<Value> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let every_byte = BASE64.encode(every_byte);
    let identity = Authority::new("shop").unwrap();
    let identity = identity.server("shop", &["shop.example.com"]).unwrap();
    let registry = json!({"auths": {"registry.example.com": {"auth": BASE64.encode(VALUES[1])}}});
    let secrets = [
        json!({"type": "Opaque", "data": {
            "binary": every_byte, "empty": "", "lines": BASE64.encode("a\n\nb\r\n\t# c: d\n"),
            "unicode": BASE64.encode("Grüße, 世界 🔑"), "file": BASE64.encode("sops:\n  mac: x\n${HOME}\n"),
        }}),
        json!({"stringData": {"password": VALUES[0], "number": "007", "yes": "true"}}),
        json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": identity.certificate, "tls.key": identity.key}}),
        json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": registry.to_string()}}),
        json!({"type": "kubernetes.io/basic-auth", "immutable": true, "stringData": {"username": "", "password": VALUES[1]}}),
        json!({"type": "example.com/none"}),
        json!({"data": {"large": BASE64.encode(vec![b'x'; 900_000])}}),
    ];
    let mut objects = Vec::new();
    for (i, mut secret) in secrets.into_iter().enumerate() {
        (secret["apiVersion"], secret["kind"]) = ("v1".into(), "Secret".into());
        secret["metadata"] = json!({
            "name": format!("secret-{i}"), "labels": {"app": "shop", "data": "of-a-label"},
            "annotations": {"stringData": "x", "lines": "a\n# b\n", "empty": ""},
        });
        objects.push(secret);
    }
    // As files, kustomize and source-controller would take two of them for something else.
    for name in ["plain", "kustomization", "cloudbuild"] {
        objects.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"file": "kind: Secret\nsops: {}\n", "shell": "${HOME} $(id)"}, "binaryData": {"bytes": every_byte},
        }));
    }
    let selector = json!({"matchLabels": {"app": "shop"}});
    objects.push(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {"replicas": 1, "selector": selector, "template": {
            "metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{"name": "shop", "image": "shop:1", "envFrom": [{"secretRef": {"name": "secret-1"}}]}]},
        }},
    }));
    objects.push(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"},
        "spec": {"selector": {"app": "shop"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }));
    // A flag names its type: every field is encrypted.
    objects.push(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "shop"},
        "spec": {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 8080, "protocol": "TCP"}]}]},
    }));
    objects
}

/// All that a namespace holds of what is written, as people mean it, by resource and name.
async fn all(client: &Client, namespace: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (group, kind, resource) in KINDS {
        let types = GroupVersionKind::gvk(group, "v1", kind);
        let api = api(client, &types, namespace);
        for mut object in api.list(&ListParams::default()).await.unwrap() {
            let name = object.name_any();
            // Every control plane publishes its own.
            if name == "kube-root-ca.crt" {
                continue;
            }
            // By which Flux knows what is its.
            let labels = object.labels_mut();
            labels.retain(|label, _| !label.starts_with("kustomize.toolkit.fluxcd.io/"));
            let mut object = serde_json::to_value(object).unwrap();
            object["apiVersion"] = types.api_version().into();
            object["kind"] = kind.into();
            found.insert(format!("{resource}/{name}"), meant(&object));
        }
    }
    found
}

/// The objects of docs/secrets.md for Flux.
fn documented_for_flux() -> [Value; 2] {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/secrets.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let mut blocks = text.split("```").map(|block| block.strip_prefix("yaml\n"));
    let block = blocks.find_map(|block| block.filter(|block| block.contains("fluxcd.io")));
    let objects = serde_yaml::Deserializer::from_str(block.unwrap());
    let objects = objects.map(|object| serde::Deserialize::deserialize(object).unwrap());
    objects.collect::<Vec<_>>().try_into().unwrap()
}

/// A cluster in which Flux applies the folder of a lab of another.
struct Receiver<'a> {
    lab: &'a Lab<'a>,
    client: Client,
    flux: Flux,
    source: Value,
}

// === impl Receiver ===

impl<'a> Receiver<'a> {
    /// With the key and the objects of docs/secrets.md; the namespaces are there.
    async fn start(plane: &ControlPlane, lab: &'a Lab<'a>, sops: &Sops) -> Self {
        let flux = Flux::start(plane).await.unwrap();
        let client = plane.client();
        for name in [FLUX, &lab.namespace] {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            create(&Api::<Namespace>::all(client.clone()), &namespace).await;
        }
        let [_, _, give_key] = documented();
        let directory = sops.directory.path();
        sops.shell(directory, &plane.kubeconfig_path(), &give_key);
        // The reverser's own credentials.
        let credentials: Api<Secret> = Api::namespaced(lab.client.clone(), &lab.namespace);
        let mut credentials = credentials.get("git").await.unwrap();
        credentials.metadata = serde_json::from_value(json!({"name": "git"})).unwrap();
        create(&Api::namespaced(client.clone(), FLUX), &credentials).await;
        let [mut source, mut kustomization] = documented_for_flux();
        source["spec"]["url"] = lab.repo.url().into();
        source["spec"]["interval"] = "1s".into();
        kustomization["spec"]["path"] = format!("./{FOLDER}").into();
        for object in [&source, &kustomization] {
            apply(&client, FLUX, object).await;
        }
        Self {
            lab,
            client,
            flux,
            source,
        }
    }

    /// The Ready condition, once Flux has tried all that was written.
    async fn outcome(&self) -> Value {
        self.lab.settle().await;
        let wanted = self.lab.repo.head().unwrap();
        let types = GroupVersionKind::gvk("kustomize.toolkit.fluxcd.io", "v1", "Kustomization");
        let api = api(&self.client, &types, FLUX);
        eventually(PATIENCE, || async {
            let status = api.get("shop").await.unwrap().data["status"].take();
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let ready = conditions.clone().find(|it| it["type"] == "Ready");
            let tried = status["lastAttemptedRevision"].as_str();
            match ready {
                Some(ready)
                    if tried.is_some_and(|it| it.ends_with(&wanted))
                        && ready["status"] != "Unknown" =>
                {
                    Ok(ready.clone())
                }
                _ => Err(status.to_string()),
            }
        })
        .await
    }

    /// Both clusters hold the same, once Flux has applied all that was written.
    async fn assert_same(&self) {
        let ready = self.outcome().await;
        assert_eq!(ready["status"], "True", "{ready}");
        let mut applied = self.all().await;
        for (name, object) in all(&self.lab.client, &self.lab.namespace).await {
            let applied = applied.remove(&name).unwrap_or_default();
            assert!(applied == object, "{name}: {object:#} is {applied:#}");
        }
        assert!(applied.is_empty(), "{applied:?}");
    }

    async fn all(&self) -> BTreeMap<String, Value> {
        all(&self.client, &self.lab.namespace).await
    }

    /// Files that the GitRepository leaves out, in place of those that Flux leaves out by itself.
    async fn leave_out(&mut self, patterns: &str) {
        self.source["spec"]["ignore"] = patterns.into();
        apply(&self.client, FLUX, &self.source).await;
    }
}

#[tokio::test]
#[ignore = "make test-flux"]
async fn flux_applies_what_is_encrypted_and_nothing_of_what_is_redacted() {
    let sops = Sops::find();
    let key = sops.key("key.txt");
    let start_plane = || ControlPlane::start(PlaneOptions::default());
    let (here, there) = tokio::try_join!(start_plane(), start_plane()).unwrap();
    let reverser = start(&here, &sops).await;
    let resources = KINDS.map(|(_, _, resource)| resource);
    let lab = Lab::on(&here, "shop").await;
    let lab = lab.encrypting(&[&key], &resources).await;
    let objects = objects();
    for object in &objects {
        apply(&lab.user("alice"), &lab.namespace, object).await;
    }
    let mut receiver = Receiver::start(&there, &lab, &sops).await;
    receiver.assert_same().await;
    assert!(receiver.all().await.len() > objects.len());

    // A changed value, and a Secret that is gone; and `.sops.yaml` comes along.
    receiver.leave_out("/docs/\n").await;
    let changed = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret-1"}, "stringData": {"password": VALUES[2]},
    });
    apply(&lab.user("bob"), &lab.namespace, &changed).await;
    lab.delete_secret("bob", "secret-5").await;
    assert!(lab.repo.file(&format!("{FOLDER}/.sops.yaml")).is_some());
    receiver.assert_same().await;

    // Nothing of a folder that holds placeholders.
    let before = receiver.all().await;
    lab.policy("Redact").await;
    let refused = receiver.outcome().await;
    assert_eq!(refused["status"], "False", "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains("dry-run failed") && message.contains("illegal base64 data"),
        "{message}"
    );
    assert!(receiver.all().await == before);

    // All of it but them; and what was applied and is no longer there goes.
    receiver
        .leave_out("**/v1/secrets/\n**/networkpolicies/\n")
        .await;
    let ready = receiver.outcome().await;
    assert_eq!(ready["status"], "True", "{ready}");
    let mut left = all(&lab.client, &lab.namespace).await;
    left.retain(|name, _| !name.starts_with("secrets/") && name != "networkpolicies/shop");
    assert!(receiver.all().await == left);

    receiver.flux.must_run().unwrap();
    reverser.stop().await.unwrap();
}
