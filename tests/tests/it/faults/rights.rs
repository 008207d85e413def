//! A right to read one type that is taken from the reverser, and given back.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use reverser::api::{GitDestination, WatchRule};
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Gateway, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::reverser::{Options, Reverser, apply_crds};

use crate::crowd::{Crowd, maps, quotas, sign};
use crate::lab::{Lab, PATIENCE, create};
use crate::truth::{
    git_equals_the_cluster, is_gone, is_signed, last_author, no_live_object_was_deleted,
    nobody_is_wronged,
};

/// For so long what the sidecar saw is kept, with a margin.
const KEPT: Duration = Duration::from_secs(50);
/// The role that is taken away.
const QUOTAS: &str = "reverser-quotas";

/// As the chart has it, with what is watched in roles of its own.
async fn grant(plane: &ControlPlane, namespace: &str) {
    let read = json!(["list", "watch"]);
    let base = json!([
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": read},
        {"apiGroups": ["apiregistration.k8s.io"], "resources": ["apiservices"], "verbs": read},
        {"nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/version"], "verbs": ["get"]},
        {"apiGroups": ["configbutler.ai"], "verbs": ["get", "list", "watch"],
         "resources": ["gitrepoconfigs", "gitdestinations", "watchrules", "clusterwatchrules"]},
        {"apiGroups": ["configbutler.ai"], "verbs": ["patch"], "resources": [
            "gitrepoconfigs/status", "gitdestinations/status", "watchrules/status", "clusterwatchrules/status"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": read},
    ]);
    let quotas = json!([{"apiGroups": [""], "resources": ["resourcequotas"], "verbs": read}]);
    for (name, rules) in [("reverser", base), (QUOTAS, quotas)] {
        let role = json!({"metadata": {"name": name}, "rules": rules});
        make::<ClusterRole>(plane, role).await;
        bind(plane, namespace, name).await;
    }
}

async fn make<K>(plane: &ControlPlane, object: Value)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let object: K = serde_json::from_value(object).unwrap();
    let made = Api::all(plane.client())
        .create(&PostParams::default(), &object)
        .await;
    made.unwrap();
}

async fn bind(plane: &ControlPlane, namespace: &str, role: &str) {
    let binding = json!({
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    });
    make::<ClusterRoleBinding>(plane, binding).await;
}

/// Takes the right away and waits until the apiserver knows; an open watch lives on until it is closed.
async fn forbid(plane: &ControlPlane, token: &str, gateway: &Gateway) {
    let bindings: Api<ClusterRoleBinding> = Api::all(plane.client());
    bindings
        .delete(QUOTAS, &DeleteParams::default())
        .await
        .unwrap();
    let theirs: Api<ResourceQuota> = Api::all(plane.client_with_token(token));
    eventually(PATIENCE, || async {
        match theirs.list(&ListParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
            other => Err(format!("{:?}", other.map(|list| list.items.len()))),
        }
    })
    .await;
    gateway.cut();
}

/// The rule and the destination say what is missing.
async fn says_so(lab: &Lab<'_>) {
    // A watch that was cut says so too, for a moment.
    let forbidden = |ready: &Value| {
        let message = ready["message"].as_str().unwrap_or_default();
        ready["status"] == "False"
            && ready["reason"] == "ListFailed"
            && message.contains("resourcequotas")
            && message.contains("forbidden")
    };
    let told = lab.condition::<WatchRule>("rule", forbidden).await;
    lab.condition::<GitDestination>("all", forbidden).await;
    eprintln!("rights: the rule says: {}", told["message"]);
}

/// A change, a delete and a create that nobody may tell the reverser of, while what it may see goes on.
async fn meanwhile(lab: &Lab<'_>, round: &str) {
    let (changed, gone, new) = (
        format!("changed-{round}"),
        format!("gone-{round}"),
        format!("new-{round}"),
    );
    sign(&quotas().api(lab, "ben"), &changed, "ben-1")
        .await
        .unwrap();
    quotas()
        .api(lab, "cleo")
        .delete(&gone, &DeleteParams::default())
        .await
        .unwrap();
    create(&quotas().api(lab, "dan"), &quotas().object(&new, "dan-1")).await;
    let name = format!("seen-{round}");
    let path = maps().path(lab, &name);
    for (who, by) in [("ann", "ann-1"), ("fay", "fay-2")] {
        let api = maps().api(lab, who);
        if who == "ann" {
            create(&api, &maps().object(&name, by)).await;
        } else {
            sign(&api, &name, by).await.unwrap();
        }
        is_signed(lab, &path, by).await;
        assert_eq!(
            last_author(lab, &path),
            (who.to_owned(), "exact".to_owned())
        );
    }
    let quota = |name: &str| lab.repo.file(&quotas().path(lab, name));
    for name in [&changed, &gone] {
        let file = String::from_utf8(quota(name).unwrap()).unwrap();
        assert!(file.contains("by: ann-0"), "{file}");
    }
    assert_eq!(quota(&new), None);
}

/// What happened meanwhile has come.
async fn arrives(lab: &Lab<'_>, round: &str, written: Instant) {
    let path = |name: &str| quotas().path(lab, &format!("{name}-{round}"));
    is_signed(lab, &path("changed"), "ben-1").await;
    is_signed(lab, &path("new"), "dan-1").await;
    is_gone(lab, &path("gone")).await;
    lab.ready::<WatchRule>("rule").await;
    lab.ready::<GitDestination>("all").await;
    let mut tiers = Vec::new();
    for (name, who) in [("changed", "ben"), ("new", "dan"), ("gone", "cleo")] {
        let (author, tier) = last_author(lab, &path(name));
        let kept = written.elapsed() < KEPT;
        assert!(
            author == who || (tier == "none" && !kept),
            "{name}: {author} by {tier}"
        );
        tiers.push(format!("{name} {tier}"));
    }
    eprintln!("rights: {round}: {tiers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_that_may_not_be_read_waits_and_says_so_while_the_others_go_on_and_is_caught_up_with_when_it_may()
 {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let install = plane.create_namespace("install").await;
    // Before there is a reverser that would ask for them.
    apply_crds(&plane.client()).await.unwrap();
    grant(&plane, &install).await;
    let token = eventually(PATIENCE, || {
        plane.service_account_token(&install, "default")
    })
    .await;
    let gateway = plane.gateway(Some(&token)).unwrap();
    let options = Options {
        kubeconfig: Some(gateway.kubeconfig()),
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let lab = Lab::on(&plane, "rights").await;
    for round in ["running", "started"] {
        for name in ["changed", "gone"] {
            let name = format!("{name}-{round}");
            create(&quotas().api(&lab, "ann"), &quotas().object(&name, "ann-0")).await;
        }
    }
    let lab = lab.watching(&["configmaps", "resourcequotas"]).await;
    git_equals_the_cluster(&lab, &[maps(), quotas()]).await;
    let crowd = Crowd::start(&lab, &[maps()], 6);

    forbid(&plane, &token, &gateway).await;
    says_so(&lab).await;
    let written = Instant::now();
    meanwhile(&lab, "running").await;
    bind(&plane, &install, QUOTAS).await;
    arrives(&lab, "running", written).await;

    // One that is started without the right has never known what there was.
    forbid(&plane, &token, &gateway).await;
    reverser.restart_reverser().await.unwrap();
    says_so(&lab).await;
    let written = Instant::now();
    meanwhile(&lab, "started").await;
    bind(&plane, &install, QUOTAS).await;
    arrives(&lab, "started", written).await;

    let mut acts = crowd.stop().await;
    assert_eq!(acts.failures, 0);
    for round in ["running", "started"] {
        acts.deleted(quotas().path(&lab, &format!("gone-{round}")));
    }
    git_equals_the_cluster(&lab, &[maps(), quotas()]).await;
    no_live_object_was_deleted(&lab, &acts);
    let named = nobody_is_wronged(&lab);
    eprintln!(
        "rights: {} writes, {named} commits with a name of the crowd",
        acts.writes
    );
    lab.repo.fsck().unwrap();
    reverser.stop().await.unwrap();
}
