//! Who wrote what, on a healthy system.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::join_all;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Endpoints, Service};
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::hooks::{Handler, HookServer};
use tests::reverser::{Options, Reverser};

use crate::lab::{Lab, PATIENCE, create, delete, map, set};

#[tokio::test]
async fn create_update_and_delete_name_their_users() {
    let lab = Lab::shared("authors").await.watching(&["configmaps"]).await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    set(&lab.maps("bob"), "one", "k", "2").await;
    lab.holds("one", "k", "2").await;
    delete(&lab.maps("alice"), "one").await;
    lab.lacks("one").await;

    let versions = lab.versions(&lab.path("one"));
    let authors: Vec<&str> = versions.iter().map(|c| c.author_name.as_str()).collect();
    assert_eq!(authors, ["alice", "bob", "alice"]);
    let subjects: Vec<&str> = versions.iter().map(|c| c.subject.as_str()).collect();
    let name = format!("configmaps {}/one", lab.namespace);
    assert_eq!(
        subjects,
        [
            format!("Create {name}"),
            format!("Update {name}"),
            format!("Delete {name}")
        ]
    );
    for commit in &versions {
        assert_eq!(commit.trailer("Attribution"), Some("exact"));
        assert_eq!(
            commit.trailer("Kubernetes-User"),
            Some(commit.author_name.as_str())
        );
        assert_eq!(
            commit.trailer("Destination"),
            Some(format!("{}/all", lab.namespace).as_str())
        );
    }
    lab.repo.fsck().unwrap();
}

#[tokio::test]
async fn dry_run_no_op_and_status_make_no_commit() {
    let lab = Lab::shared("quiet")
        .await
        .watching(&["configmaps", "deployments"])
        .await;
    let maps = lab.maps("alice");
    create(&maps, &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    let before = lab.versions(&lab.path("one")).len();

    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    maps.create(&dry, &map("dry", "k", "1")).await.unwrap();
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    maps.patch("one", &dry, &Patch::Merge(json!({"data": {"k": "dry"}})))
        .await
        .unwrap();
    set(&maps, "one", "k", "1").await;

    let deployments: kube::Api<k8s_openapi::api::apps::v1::Deployment> =
        kube::Api::namespaced(lab.user("alice"), &lab.namespace);
    let deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}},
                              "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    }))
    .unwrap();
    create(&deployments, &deployment).await;
    let status = json!({"status": {"observedGeneration": 1, "replicas": 7, "updatedReplicas": 7}});
    deployments
        .patch_status("web", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    lab.settle().await;

    assert_eq!(lab.versions(&lab.path("one")).len(), before);
    assert_eq!(lab.repo.file(&lab.path("dry")), None);
    let web = format!(
        "clusters/lab/apps/v1/deployments/{}/web.yaml",
        lab.namespace
    );
    let versions = lab.versions(&web);
    assert_eq!(versions.len(), 1, "{versions:#?}");
    assert_eq!(versions[0].author_name, "alice");
}

#[tokio::test]
async fn a_hundred_updates_are_all_attributed() {
    let lab = Lab::shared("hundred").await.watching(&["configmaps"]).await;
    create(&lab.maps("user-0"), &map("one", "k", "0")).await;
    for n in 1..=100 {
        set(
            &lab.maps(&format!("user-{}", n % 7)),
            "one",
            "k",
            &n.to_string(),
        )
        .await;
    }
    lab.holds("one", "k", "100").await;
    let versions = lab.versions(&lab.path("one"));
    assert!(
        versions
            .iter()
            .all(|c| c.trailer("Attribution") == Some("exact")),
        "{versions:#?}"
    );
    // Seven users take turns, so nobody writes twice in a row and no version may be missing.
    assert_eq!(versions.len(), 101);
    for (n, commit) in versions.iter().enumerate() {
        assert_eq!(commit.author_name, format!("user-{}", n % 7), "version {n}");
    }
}

#[tokio::test]
async fn five_hundred_writes_at_once_name_the_right_users() {
    let lab = Lab::shared("crowd").await.watching(&["configmaps"]).await;
    let users: Vec<String> = (0..20).map(|n| format!("crowd-{n}")).collect();
    let writes = users.iter().map(|user| {
        let maps = lab.maps(user);
        async move {
            for n in 0..25 {
                create(&maps, &map(&format!("{user}-{n}"), "by", user)).await;
            }
        }
    });
    join_all(writes).await;
    let paths: Vec<(String, String)> = users
        .iter()
        .flat_map(|u| (0..25).map(move |n| (u.clone(), format!("{u}-{n}"))))
        .collect();
    eventually(PATIENCE, || async {
        let files = lab.repo.files();
        let missing = paths
            .iter()
            .filter(|(_, name)| !files.contains(&lab.path(name)))
            .count();
        if missing == 0 {
            Ok(())
        } else {
            Err(format!("{missing} files are missing"))
        }
    })
    .await;

    let mut author_of = BTreeMap::new();
    for commit in lab.commits() {
        assert_eq!(commit.trailer("Attribution"), Some("exact"), "{commit:#?}");
        for path in commit.paths() {
            author_of.insert(path.to_owned(), commit.author_name.clone());
        }
    }
    for (user, name) in &paths {
        assert_eq!(author_of.get(&lab.path(name)), Some(user), "{name}");
    }
}

#[tokio::test]
async fn an_object_that_swings_between_two_contents_keeps_every_author() {
    let lab = Lab::shared("swing").await.watching(&["configmaps"]).await;
    create(&lab.maps("start"), &map("one", "k", "begin")).await;
    let (ann, ben) = (lab.maps("ann"), lab.maps("ben"));
    for _ in 0..30 {
        set(&ann, "one", "k", "a").await;
        set(&ben, "one", "k", "b").await;
    }
    set(&ann, "one", "k", "end").await;
    lab.holds("one", "k", "end").await;
    let versions = lab.versions(&lab.path("one"));
    assert_eq!(versions.len(), 62);
    for (n, commit) in versions.iter().enumerate().skip(1) {
        let expected = if n % 2 == 1 { "ann" } else { "ben" };
        assert_eq!(
            (commit.author_name.as_str(), commit.trailer("Attribution")),
            (expected, Some("exact")),
            "{n}"
        );
    }
}

/// A webhook beside ours that refuses every delete of a ConfigMap or of Endpoints in the lab, where there is a ConfigMap `one`.
struct RefusedDeletes {
    _hooks: HookServer,
}

impl RefusedDeletes {
    async fn begin(lab: &Lab<'_>) -> Self {
        let refuse: Handler = Arc::new(|_, review| {
            Box::pin(async move {
                let response = json!({"uid": review["request"]["uid"], "allowed": false});
                json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
            })
        });
        let hooks = HookServer::start(refuse).unwrap();
        let configuration: ValidatingWebhookConfiguration = serde_json::from_value(json!({
            "metadata": {"name": lab.namespace},
            "webhooks": [{
                "name": "refuse.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"url": hooks.url("refuse"), "caBundle": BASE64.encode(hooks.ca_pem())},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": lab.namespace}},
                "rules": [{"apiGroups": [""], "apiVersions": ["*"], "resources": ["configmaps", "endpoints"],
                           "operations": ["DELETE"]}],
            }],
        }))
        .unwrap();
        create(&Api::all(lab.client.clone()), &configuration).await;
        let dry_run = DeleteParams {
            dry_run: true,
            ..DeleteParams::default()
        };
        eventually(PATIENCE, || async {
            match lab.maps("nobody").delete("one", &dry_run).await {
                Ok(_) => Err("it is not refused yet"),
                Err(_) => Ok(()),
            }
        })
        .await;
        Self { _hooks: hooks }
    }

    async fn leave(self, lab: &Lab<'_>) {
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(lab.client.clone());
        let options = DeleteParams::default();
        let gone = configurations.delete(&lab.namespace, &options).await;
        gone.unwrap();
        drop(self);
    }
}

#[tokio::test]
async fn a_delete_that_was_refused_names_nobody_when_the_rule_goes() {
    let lab = Lab::shared("refused")
        .await
        .watching(&["configmaps", "serviceaccounts"])
        .await;
    create(&lab.maps("carol"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    let hooks = RefusedDeletes::begin(&lab).await;
    let refused = lab
        .maps("alice")
        .delete("one", &DeleteParams::default())
        .await;
    refused.unwrap_err();

    lab.rule("rule", json!([{"resources": ["serviceaccounts"]}]))
        .await;
    lab.lacks("one").await;
    let removed = lab.versions(&lab.path("one")).pop().unwrap();
    assert_eq!(removed.author_name, removed.committer_name);
    assert_eq!(removed.trailer("Attribution"), Some("none"));
    assert_eq!(removed.trailer("Kubernetes-User"), None);
    lab.maps("carol").get("one").await.unwrap();
    hooks.leave(&lab).await;
}

/// Writes of Endpoints are sent to the sidecar too, as where the chart's `webhook.excludedResources` is emptied.
async fn observe_endpoints(lab: &Lab<'_>) {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(lab.client.clone());
    let all = configurations.list(&ListParams::default()).await.unwrap();
    for configuration in all {
        let patch = json!([{"op": "remove", "path": "/webhooks/0/matchConditions"}]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
        let name = configuration.name_any();
        let options = PatchParams::default();
        configurations.patch(&name, &options, &patch).await.unwrap();
    }
    let api: Api<Endpoints> = Api::namespaced(lab.user("carol"), &lab.namespace);
    eventually(PATIENCE, || async {
        let name = format!("probe-{}", lab.commits().len());
        create(&api, &endpoints(&name)).await;
        let path = lab.path_of("endpoints", &name);
        lab.there(&path, true).await;
        match lab.versions(&path)[0].author_name.as_str() {
            "carol" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
}

fn endpoints(name: &str) -> Endpoints {
    let subsets = json!([{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]);
    serde_json::from_value(json!({"metadata": {"name": name}, "subsets": subsets})).unwrap()
}

/// The apiserver deletes a Service's Endpoints itself, and asks no webhook.
#[tokio::test]
async fn who_asked_in_vain_to_delete_endpoints_is_not_named_when_they_go_with_their_service() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "along").await;
    let lab = lab.watching(&["services", "endpoints"]).await;
    observe_endpoints(&lab).await;
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}});
    let service: Service = serde_json::from_value(service).unwrap();
    let services = |user| Api::<Service>::namespaced(lab.user(user), &lab.namespace);
    let endpoints_of = |user| Api::<Endpoints>::namespaced(lab.user(user), &lab.namespace);
    create(&lab.maps("carol"), &map("one", "k", "1")).await;
    create(&services("carol"), &service).await;
    create(&endpoints_of("carol"), &endpoints("web")).await;
    let path_of = |resource| lab.path_of(resource, "web");
    lab.there(&path_of("endpoints"), true).await;
    let hooks = RefusedDeletes::begin(&lab).await;
    let options = DeleteParams::default();
    let refused = endpoints_of("alice").delete("web", &options).await;
    refused.unwrap_err();

    services("bob").delete("web", &options).await.unwrap();
    for (resource, author, tier) in [
        ("services", "bob", "exact"),
        ("endpoints", "GitOps Reverser", "none"),
    ] {
        let path = path_of(resource);
        lab.there(&path, false).await;
        let removed = lab.versions(&path).pop().unwrap();
        let found = (removed.author_name.as_str(), removed.trailer("Attribution"));
        assert_eq!(found, (author, Some(tier)), "{resource}");
    }
    hooks.leave(&lab).await;
    reverser.stop().await.unwrap();
}
