//! Where it all happens: a control plane with a full audit log, our two processes, a repository.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::Client;
use manifest::SpecHash;
use serde_json::{Value, json};
use tests::control_plane::{self, ControlPlane};
use tests::eventually::eventually;
use tests::git::{GitServer, HttpOptions, Repo};
use tests::hooks::HookServer;
use tests::reverser::{self, Reverser};

use crate::crowd::{Actor, Crowd};
use crate::history;
use crate::kinds::{self, Kind};
use crate::witness::Witness;

const PATIENCE: Duration = Duration::from_secs(120);
/// Everything that the rules select, and all that a cluster does by itself beside it.
pub(crate) const FOLDER: &str = "clusters/corpus";
const HOME: &str = "corpus-home";

const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
  "omitManagedFields": false,
  "rules": [
    { "level": "RequestResponse", "verbs": ["create", "update", "patch", "delete", "deletecollection"],
      "resources": [
        { "group": "", "resources": ["configmaps", "serviceaccounts", "services", "pods", "namespaces",
                                     "services/status", "pods/status", "namespaces/status", "namespaces/finalize"] },
        { "group": "apps", "resources": ["deployments", "deployments/scale", "deployments/status"] },
        { "group": "autoscaling", "resources": ["horizontalpodautoscalers", "horizontalpodautoscalers/status"] },
        { "group": "corpus.test" }, { "group": "passing.test" },
        { "group": "scheduling.k8s.io", "resources": ["priorityclasses"] }] },
    { "level": "None" }
  ]
}
"#;

pub(crate) struct Place {
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) witness: Arc<Witness>,
    pub(crate) reverser: Reverser,
    pub(crate) repo: Repo,
    /// What was there before the rules.
    pub(crate) initial: Vec<(Kind, Value)>,
    // Ended after the reverser.
    pub(crate) server: GitServer,
    hooks: HookServer,
    pub(crate) plane: ControlPlane,
}

impl Place {
    /// Everything runs, and every kind is selected.
    pub(crate) async fn start() -> Self {
        let plane = ControlPlane::start(control_plane::Options {
            audit_policy: Some(AUDIT_POLICY.to_owned()),
            ..control_plane::Options::default()
        })
        .await
        .unwrap();
        let options = reverser::Options {
            tapped: true,
            ..reverser::Options::default()
        };
        let reverser = Reverser::start(&plane, options).await.unwrap();
        let witness = Arc::new(Witness::default());
        let hooks = witness.serve();
        let server = GitServer::https(HttpOptions::basic("writer", "secret")).unwrap();
        let repo = server.create_repo("corpus");
        let crowd = Crowd::new((0..4).map(|_| plane.client()).collect());
        let mut place = Self {
            crowd,
            witness,
            reverser,
            repo,
            initial: Vec::new(),
            server,
            hooks,
            plane,
        };
        place.types().await;
        place.hooks().await;
        place.namespace(HOME).await;
        place.initial = place.everything().await;
        place.rules().await;
        place
    }

    pub(crate) fn client(&self) -> Client {
        self.plane.client()
    }

    fn admin(&self) -> Actor {
        self.crowd.actor("others", "kubernetes-admin")
    }

    async fn apply(&self, path: &str, object: &Value) {
        let reply = self.admin().apply(path, "corpus", true, object).await;
        assert!(reply.is_ok(), "{path}: {reply:?}");
    }

    /// A namespace that nobody else has.
    pub(crate) async fn namespace(&self, name: &str) -> String {
        let object = kinds::NAMESPACES.object(name, json!({"metadata": {}}));
        self.apply(&kinds::NAMESPACES.path("", name), &object).await;
        name.to_owned()
    }

    pub(crate) async fn label(&self, path: &str, labels: Value) {
        let reply = self
            .admin()
            .merge(path, &json!({"metadata": {"labels": labels}}))
            .await;
        assert!(reply.is_ok(), "{path}: {reply:?}");
    }

    /// The custom resources: one of two versions, and one that will be gone.
    async fn types(&self) {
        let widgets = |version: &str, spec: Value, replicas: &str| {
            json!({"name": version, "served": true, "storage": version == "v1",
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": spec},
                    "status": {"type": "object", "properties": {"size": {"type": "integer"}}}}}},
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": replicas, "statusReplicasPath": ".status.size"}}})
        };
        let (integer, string) = (json!({"type": "integer"}), json!({"type": "string"}));
        let size = json!({"type": "object", "properties": {"size": integer}});
        let hook = json!({"url": self.hooks.url("convert"), "caBundle": BASE64.encode(self.hooks.ca_pem())});
        self.crd("corpus.test", "widgets", "Widget", json!([
            widgets("v1", json!({"size": integer, "colour": string}), ".spec.size"),
            widgets("v2", json!({"dimensions": size, "paint": string}), ".spec.dimensions.size"),
        ]), json!({"strategy": "Webhook", "webhook": {"clientConfig": hook, "conversionReviewVersions": ["v1"]}}))
        .await;
        self.crd(
            "passing.test",
            "passings",
            "Passing",
            json!([
                {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
            ]),
            json!({"strategy": "None"}),
        )
        .await;
    }

    async fn crd(
        &self,
        group: &str,
        resource: &str,
        kind: &str,
        versions: Value,
        conversion: Value,
    ) {
        let name = format!("{resource}.{group}");
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
            "spec": {"group": group, "scope": "Namespaced", "versions": versions, "conversion": conversion,
                     "names": {"plural": resource, "kind": kind, "singular": kind.to_lowercase()}},
        });
        self.apply(&path, &crd).await;
        eventually(PATIENCE, || async {
            let crd = self.admin().get(&path).await.body;
            let conditions = crd["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let there = conditions
                .iter()
                .any(|c| c["type"] == "Established" && c["status"] == "True");
            if there { Ok(()) } else { Err(crd.to_string()) }
        })
        .await;
    }

    async fn hooks(&self) {
        let ca = BASE64.encode(self.hooks.ca_pem());
        let groups = json!([
            "",
            "apps",
            "autoscaling",
            "corpus.test",
            "passing.test",
            "scheduling.k8s.io"
        ]);
        let resources = json!([
            "configmaps",
            "serviceaccounts",
            "services",
            "pods",
            "namespaces",
            "deployments",
            "deployments/scale",
            "horizontalpodautoscalers",
            "widgets",
            "widgets/scale",
            "passings",
            "priorityclasses",
        ]);
        let hook = |path: &str, operations: Value, more: Value| {
            let mut hook = json!({
                "name": format!("{path}.corpus.test"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"url": self.hooks.url(path), "caBundle": ca}, "failurePolicy": "Fail",
                "timeoutSeconds": 30, "matchPolicy": "Equivalent",
                "rules": [{"apiGroups": groups, "apiVersions": ["*"], "resources": resources,
                           "operations": operations, "scope": "*"}],
            });
            hook.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            hook
        };
        let configuration = |kind: &str, hook: Value| {
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                   "metadata": {"name": "corpus"}, "webhooks": [hook]})
        };
        let root = "/apis/admissionregistration.k8s.io/v1";
        let witness = hook("witness", json!(["CREATE", "UPDATE", "DELETE"]), json!({}));
        self.apply(
            &format!("{root}/validatingwebhookconfigurations/corpus"),
            &configuration("ValidatingWebhookConfiguration", witness),
        )
        .await;
        let labelled = json!({"namespaceSelector": {"matchLabels": {"mutate": "yes"}}});
        let mutate = hook("mutate", json!(["CREATE", "UPDATE"]), labelled);
        self.apply(
            &format!("{root}/mutatingwebhookconfigurations/corpus"),
            &configuration("MutatingWebhookConfiguration", mutate),
        )
        .await;
        // In force once the witness has seen a call.
        let probe = kinds::MAPS.object("probe", json!({"metadata": {}, "data": {}}));
        let mut round = 0;
        while self.witness.attempts().is_empty() {
            round += 1;
            let probe = json!({"data": {"round": round.to_string()}, "metadata": probe["metadata"],
                               "apiVersion": "v1", "kind": "ConfigMap"});
            self.apply(&kinds::MAPS.path("default", "probe"), &probe)
                .await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn rules(&self) {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"}, "stringData": {
            "username": "writer", "password": "secret", "ca.crt": self.server.ca_pem()}});
        self.apply(&format!("/api/v1/namespaces/{HOME}/secrets/git"), &secret)
            .await;
        let ours = format!("/apis/configbutler.ai/v1alpha1/namespaces/{HOME}");
        let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "configbutler.ai/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let repo = object(
            "GitRepoConfig",
            "repo",
            json!({
            "repoUrl": self.repo.url(), "allowedBranches": ["main"], "secretRef": {"name": "git"}}),
        );
        self.apply(&format!("{ours}/gitrepoconfigs/repo"), &repo)
            .await;
        let destination = object(
            "GitDestination",
            "all",
            json!({
            "repoRef": {"name": "repo"}, "branch": "main", "baseFolder": FOLDER}),
        );
        self.apply(&format!("{ours}/gitdestinations/all"), &destination)
            .await;
        let rules: Vec<Value> = kinds::ALL
            .iter()
            .map(|kind| {
                kind.rule(if kind.namespaced {
                    "Namespaced"
                } else {
                    "Cluster"
                })
            })
            .collect();
        let rule = object(
            "ClusterWatchRule",
            "corpus",
            json!({
            "destinationRef": {"namespace": HOME, "name": "all"}, "rules": rules}),
        );
        let path = "/apis/configbutler.ai/v1alpha1/clusterwatchrules/corpus";
        self.apply(path, &rule).await;
        self.ready(path).await;
        self.ready(&format!("{ours}/gitdestinations/all")).await;
    }

    pub(crate) async fn ready(&self, path: &str) {
        eventually(PATIENCE, || async {
            let object = self.admin().get(path).await.body;
            let conditions = object["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let ready = conditions
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True");
            if ready && object["status"]["observedGeneration"] == object["metadata"]["generation"] {
                Ok(())
            } else {
                Err(object["status"].to_string())
            }
        })
        .await;
    }

    /// What the three processes counted of what costs authors.
    pub(crate) async fn counters(&self) -> String {
        let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
        let apiserver = self.client().request_text(request).await.unwrap();
        let failed_open = apiserver
            .lines()
            .filter(|line| line.starts_with("apiserver_admission_webhook_fail_open_count"));
        let mut text: String = failed_open.map(|line| format!("{line}\n")).collect();
        let [reverser, webhook] = [
            self.reverser.reverser_metrics().await,
            self.reverser.webhook_metrics().await,
        ];
        for (metrics, name) in [
            (&reverser, "enrich_hits_total"),
            (&reverser, "enrich_misses_total"),
            (&reverser, "kv_evictions_total"),
            (&reverser, "attributions_pending"),
            (&webhook, "webhook_requests_total"),
            (&webhook, "webhook_ack_timeouts_total"),
            (&webhook, "webhook_observations_dropped_total"),
        ] {
            for (series, value) in metrics.series(&format!("gitopsreverser_{name}")) {
                text.push_str(&format!("{series} {value}\n"));
            }
        }
        text
    }

    /// Every object that a rule selects.
    pub(crate) async fn everything(&self) -> Vec<(Kind, Value)> {
        let mut all = Vec::new();
        for kind in kinds::ALL {
            let reply = self.admin().get(&kind.collection("")).await;
            for item in reply.body["items"].as_array().into_iter().flatten() {
                let mut object = item.clone();
                object["apiVersion"] = kind.api_version().into();
                object["kind"] = kind.kind.into();
                all.push((kind, object));
            }
        }
        all
    }

    /// Waits until nothing changes any more, and everything that is there is in Git.
    pub(crate) async fn settle(&self) -> HashSet<String> {
        let mut before = (0, String::new());
        let mut calm = 0;
        loop {
            let now = (
                self.witness.attempts().len(),
                self.repo.head().unwrap_or_default(),
            );
            calm = if now == before { calm + 1 } else { 0 };
            if calm == 4 {
                break;
            }
            before = now;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        eventually(PATIENCE, || async {
            let wanted = self.wanted().await;
            let mut files = history::at_tip(&self.repo);
            files.retain(|path, _| !path.ends_with("/.gitops-reverser"));
            let differ = |path: &&String| wanted.get(*path) != files.get(*path);
            let paths: Vec<&String> = wanted.keys().chain(files.keys()).filter(differ).collect();
            if paths.is_empty() {
                Ok(())
            } else {
                Err(format!(
                    "{} files are not as their objects: {paths:?}",
                    paths.len()
                ))
            }
        })
        .await;
        let live = self.everything().await;
        live.iter()
            .filter_map(|(_, object)| object["metadata"]["uid"].as_str().map(str::to_owned))
            .collect()
    }

    /// What Git is to hold.
    async fn wanted(&self) -> BTreeMap<String, SpecHash> {
        let mut files = BTreeMap::new();
        for (kind, object) in self.everything().await {
            let identity = kind.identity(&object["metadata"]);
            let terminating = object["metadata"]["deletionTimestamp"].is_string();
            if !terminating && manifest::left_out(&identity, &object).is_none() {
                let hash = manifest::canonicalize(&object).unwrap().hash;
                files.insert(manifest::file_path(FOLDER, &identity), hash);
            }
        }
        files
    }
}
