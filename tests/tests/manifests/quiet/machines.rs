//! What controllers, kubelets and operators write all day. kube-controller-manager's own writes come by themselves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tests::certs::Authority;
use tests::eventually::eventually;

use super::people::web;
use super::{Life, object};
use crate::PATIENCE;
use crate::served;

const SCHEDULER: &str = "system:kube-scheduler";
const KUBELET: &str = "system:node:one";
const MANAGER: &str = "system:kube-controller-manager";
const INJECTOR: &str = "system:serviceaccount:cert-manager:cert-manager-cainjector";
const OPERATOR: &str = "system:serviceaccount:operators:gadgets";

/// What is there before anybody looks.
/// Each with its field manager.
pub(super) fn before() -> Vec<(&'static str, Value)> {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = json!({"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema}});
    let names = json!({"plural": "gadgets", "singular": "gadget", "kind": "Gadget"});
    let spec = json!({"group": "quiet.test", "scope": "Namespaced", "names": names, "versions": [version]});
    let people = [
        object("v1", "Namespace", "", "shop", json!({})),
        object(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            "",
            "gadgets.quiet.test",
            json!({"spec": spec}),
        ),
        object(
            "quiet.test/v1",
            "Gadget",
            "shop",
            "old",
            json!({"spec": {"size": 1}}),
        ),
        hook(),
        object(
            "v1",
            "ServiceAccount",
            "shop",
            "worker",
            json!({"automountServiceAccountToken": true}),
        ),
    ];
    let machines = [
        (
            "kube-scheduler",
            object("v1", "ConfigMap", "kube-system", "old-lock", json!({})),
        ),
        ("kube-scheduler", lease("kube-system", "kube-scheduler")),
        ("kubelet", lease("kube-node-lease", "one")),
        ("kubelet", object("v1", "Node", "", "one", json!({}))),
    ];
    let people = people.map(|object| ("kubectl-create", object));
    people.into_iter().chain(machines).collect()
}

/// With something in it from the begin: the apiserver never keeps track of who wrote an object that was created with nothing but
/// its name.
fn lease(namespace: &str, name: &str) -> Value {
    let spec = json!({"spec": {"leaseDurationSeconds": 15}});
    object("coordination.k8s.io/v1", "Lease", namespace, name, spec)
}

fn hook() -> Value {
    let rules = json!([{"apiGroups": ["quiet.test"], "apiVersions": ["v1"], "resources": ["gadgets"], "operations": ["DELETE"]}]);
    let webhook = json!({"name": "never.quiet.test", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": {"url": "https://never.example.com/"}, "failurePolicy": "Ignore", "rules": rules,
        "objectSelector": {"matchLabels": {"nobody": "has-this"}}});
    object(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "",
        "injected",
        json!({"webhooks": [webhook]}),
    )
}

/// One round of all of them; each writes something new.
pub(super) async fn act(life: &Life, round: usize) {
    let time = format!("2026-01-01T00:{round:02}:00Z");
    let micro = format!("2026-01-01T00:{round:02}:00.000000Z");
    let holder = json!({"spec": {"holderIdentity": "a", "renewTime": micro}});
    let leader = json!({"metadata": {"annotations": {"control-plane.alpha.kubernetes.io/leader": format!("{{\"renewTime\":\"{time}\"}}")}}});
    life.machine(
        SCHEDULER,
        "kube-scheduler",
        &lease("kube-system", "kube-scheduler"),
        "",
        &holder,
    )
    .await;
    life.machine(
        KUBELET,
        "kubelet",
        &lease("kube-node-lease", "one"),
        "",
        &holder,
    )
    .await;
    let lock = object("v1", "ConfigMap", "kube-system", "old-lock", json!({}));
    life.machine(SCHEDULER, "kube-scheduler", &lock, "", &leader)
        .await;

    let ready = json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": time, "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "KubeletReady", "message": "is up"}]);
    let node = object("v1", "Node", "", "one", json!({}));
    life.machine(
        KUBELET,
        "kubelet",
        &node,
        "/status",
        &json!({"status": {"conditions": ready}}),
    )
    .await;
    let ttl =
        json!({"metadata": {"annotations": {"node.alpha.kubernetes.io/ttl": round.to_string()}}});
    life.machine(MANAGER, "kube-controller-manager", &node, "", &ttl)
        .await;

    let authority = Authority::new(&format!("round {round}")).unwrap();
    inject(life, &BASE64.encode(authority.pem())).await;

    let gadget = object("quiet.test/v1", "Gadget", "shop", "old", json!({}));
    let status = json!({"status": {"observed": round, "at": time}});
    life.machine(OPERATOR, "gadget-operator", &gadget, "/status", &status)
        .await;
    let account = object("v1", "ServiceAccount", "shop", "worker", json!({}));
    let secrets = json!({"secrets": [{"name": format!("worker-token-{round:05}")}]});
    life.machine(MANAGER, "kube-controller-manager", &account, "", &secrets)
        .await;

    let by_hand = json!({"status": {"conditions": [{"type": "ByHand", "status": "True", "reason": format!("Round{round}"), "message": ""}]}});
    life.machine("alice", "kubectl-edit", &web(), "/status", &by_hand)
        .await;
    if round > 1 {
        let scaler = object(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "shop",
            "web",
            json!({}),
        );
        let status =
            json!({"status": {"currentReplicas": 2, "desiredReplicas": 2, "lastScaleTime": time}});
        life.machine(
            MANAGER,
            "kube-controller-manager",
            &scaler,
            "/status",
            &status,
        )
        .await;
    }
    pods(life, round, &time).await;
}

/// As a kubelet tells of its pods; their addresses make Endpoints and EndpointSlices.
async fn pods(life: &Life, round: usize, time: &str) {
    let client = life.cluster.client();
    let pods = served::get(
        &client,
        "/api/v1/namespaces/shop/pods?labelSelector=app%3Dweb",
    )
    .await
    .unwrap();
    for (number, pod) in pods["items"].as_array().unwrap().iter().take(3).enumerate() {
        let address = format!("10.1.{round}.{}", number + 1);
        let pod_path = format!(
            "/api/v1/namespaces/shop/pods/{}",
            served::text(&pod["metadata"]["name"])
        );
        if pod["spec"]["nodeName"].is_null() {
            let target = json!({"kind": "Node", "name": "one"});
            let binding = object(
                "v1",
                "Binding",
                "",
                served::text(&pod["metadata"]["name"]),
                json!({"target": target}),
            );
            send_unless_gone(
                life,
                SCHEDULER,
                "POST",
                &format!("{pod_path}/binding"),
                &binding,
            )
            .await;
        }
        let ready = if round.is_multiple_of(2) {
            "True"
        } else {
            "False"
        };
        let condition = json!([{"type": "Ready", "status": ready, "lastTransitionTime": time}]);
        let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": condition}});
        let path = format!("{pod_path}/status?fieldManager=kubelet");
        send_unless_gone(life, KUBELET, "PATCH", &path, &status).await;
    }
}

/// A rollout may have taken the pod away meanwhile.
async fn send_unless_gone(life: &Life, user: &str, method: &str, path: &str, body: &Value) {
    let content_type = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let client = life.cluster.user(user);
    match served::send(&client, method, path, content_type, body).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        result => drop(result.unwrap()),
    }
}

/// By server-side apply, as cert-manager does: it owns the bundle and nothing else.
async fn inject(life: &Life, bundle: &str) {
    let mut applied = hook();
    applied["webhooks"] =
        json!([{"name": "never.quiet.test", "clientConfig": {"caBundle": bundle}}]);
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/injected?fieldManager=cert-manager-cainjector&force=true";
    let injector = life.cluster.user(INJECTOR);
    served::send(
        &injector,
        "PATCH",
        path,
        "application/apply-patch+yaml",
        &applied,
    )
    .await
    .unwrap();
}

/// Waits until kube-controller-manager has done what the people's objects ask for, so that it was there to make no commit.
pub(super) async fn worked(life: &Life) {
    let client = life.cluster.client();
    let shop = "/namespaces/shop";
    for (path, pointer) in [
        (
            format!("/apis/apps/v1{shop}/deployments/web"),
            "/metadata/annotations/deployment.kubernetes.io~1revision",
        ),
        (
            format!("/api/v1{shop}/persistentvolumeclaims/share"),
            "/spec/volumeName",
        ),
        (
            format!("/api/v1{shop}/persistentvolumeclaims/data-db-1"),
            "/metadata/uid",
        ),
        (
            "/api/v1/persistentvolumes/share".to_owned(),
            "/spec/claimRef/uid",
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/gathered".to_owned(),
            "/rules/0/verbs",
        ),
        (
            "/api/v1/namespaces/team-14/configmaps/kube-root-ca.crt".to_owned(),
            "/data",
        ),
        (
            "/api/v1/namespaces/team-14/serviceaccounts/default".to_owned(),
            "/metadata/uid",
        ),
        (
            format!("/api/v1{shop}/resourcequotas/quota"),
            "/status/used",
        ),
        (format!("/apis/batch/v1{shop}/jobs/once"), "/status/active"),
        (format!("/api/v1{shop}/endpoints/web"), "/subsets/0"),
        (
            format!("/apis/policy/v1{shop}/poddisruptionbudgets/web"),
            "/status/observedGeneration",
        ),
    ] {
        eventually(PATIENCE, || async {
            let object = served::get(&client, &path)
                .await
                .map_err(|error| error.to_string())?;
            let there = object
                .pointer(pointer)
                .is_some_and(|value| !value.is_null());
            if there {
                Ok(())
            } else {
                Err(format!("{path} has no {pointer}: {object}"))
            }
        })
        .await;
    }
}
