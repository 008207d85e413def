//! ClusterWatchRules: cluster-scoped objects, and namespaced ones everywhere.

use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use reverser::api::{ClusterWatchRule, GitDestination, WatchRule};
use serde_json::{Value, json};
use tests::eventually::eventually;

use crate::lab::{FOLDER, Lab, PATIENCE, create, map};

// Types that no other test writes: everybody's objects would come along.
const CLUSTER: &str = "scheduling.k8s.io/v1/priorityclasses";
const NAMESPACED: &str = "v1/resourcequotas";

impl Lab<'_> {
    async fn cluster_rule(&self, name: &str, rules: Value) {
        let api: Api<ClusterWatchRule> = Api::all(self.client.clone());
        let rule = json!({
            "apiVersion": "configbutler.ai/v1alpha1", "kind": "ClusterWatchRule",
            "metadata": {"name": name},
            "spec": {"destinationRef": {"namespace": self.namespace, "name": "all"}, "rules": rules},
        });
        api.patch(
            name,
            &PatchParams::apply("test").force(),
            &Patch::Apply(rule),
        )
        .await
        .unwrap();
        eventually(PATIENCE, || async {
            let rule = api.get(name).await.unwrap();
            let rule = serde_json::to_value(rule).unwrap();
            let ready = rule["status"]["conditions"]
                .as_array()
                .and_then(|c| c.iter().find(|c| c["type"] == "Ready"))
                .is_some_and(|c| c["status"] == "True");
            if ready && rule["status"]["observedGeneration"] == rule["metadata"]["generation"] {
                Ok(())
            } else {
                Err(rule["status"].to_string())
            }
        })
        .await;
    }

    async fn present(&self, path: &str) {
        eventually(PATIENCE, || async {
            self.repo
                .file(path)
                .ok_or_else(|| format!("{path} is not among {:?}", self.repo.files()))
        })
        .await;
    }

    async fn absent(&self, path: &str) {
        eventually(PATIENCE, || async {
            if self.repo.file(path).is_none() {
                Ok(())
            } else {
                Err(format!("{path} is there"))
            }
        })
        .await;
    }
}

async fn quota(lab: &Lab<'_>, user: &str, namespace: &str, name: &str) -> String {
    let quota: ResourceQuota = serde_json::from_value(
        json!({"metadata": {"name": name}, "spec": {"hard": {"pods": "7"}}}),
    )
    .unwrap();
    create(&Api::namespaced(lab.user(user), namespace), &quota).await;
    format!("{FOLDER}/{NAMESPACED}/{namespace}/{name}.yaml")
}

#[tokio::test]
async fn cluster_scoped_objects_are_written_and_deleted_with_their_authors() {
    let lab = Lab::shared("scoped").await;
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.destination("all", json!({})).await;
    let rule = format!("{}-classes", lab.namespace);
    lab.cluster_rule(
        &rule,
        json!([{"scope": "Cluster", "resources": ["priorityclasses"]}]),
    )
    .await;
    lab.ready::<GitDestination>("all").await;
    // The apiserver's own two are left out.
    assert_eq!(lab.repo.files(), [format!("{FOLDER}/.gitops-reverser")]);

    let classes: Api<PriorityClass> = Api::all(lab.user("alice"));
    let name = format!("{}-high", lab.namespace);
    let class = serde_json::from_value(json!({"metadata": {"name": name}, "value": 1000})).unwrap();
    create(&classes, &class).await;
    let path = format!("{FOLDER}/{CLUSTER}/{name}.yaml");
    lab.present(&path).await;
    Api::<PriorityClass>::all(lab.user("bob"))
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    lab.absent(&path).await;
    let versions = lab.versions(&path);
    let seen: Vec<_> = versions
        .iter()
        .map(|c| {
            (
                c.author_name.as_str(),
                c.trailer("Attribution"),
                c.subject.as_str(),
            )
        })
        .collect();
    let object = format!("priorityclasses {name}");
    assert_eq!(
        seen,
        [
            ("alice", Some("exact"), format!("Create {object}").as_str()),
            ("bob", Some("exact"), format!("Delete {object}").as_str()),
        ]
    );
    let rules: Api<ClusterWatchRule> = Api::all(lab.client.clone());
    rules.delete(&rule, &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn namespaced_objects_come_from_everywhere_while_a_namespaces_rule_keeps_to_its_own() {
    let wide = Lab::shared("wide").await;
    wide.repo_config(wide.repo.url(), &["main"]).await;
    wide.destination("all", json!({})).await;
    // Beside it: another type for the same destination, and the same type for another's.
    wide.rule(
        "rule",
        json!([{"resources": ["configmaps", "resourcequotas"]}]),
    )
    .await;
    wide.ready::<WatchRule>("rule").await;
    let narrow = Lab::shared("narrow")
        .await
        .watching(&["resourcequotas"])
        .await;
    let rule = format!("{}-quotas", wide.namespace);
    wide.cluster_rule(
        &rule,
        json!([{"scope": "Namespaced", "resources": ["resourcequotas"]}]),
    )
    .await;
    let third = wide.plane.create_namespace("third").await;

    let own = quota(&wide, "alice", &wide.namespace, "own").await;
    let theirs = quota(&wide, "bob", &narrow.namespace, "theirs").await;
    let elsewhere = quota(&wide, "carol", &third, "elsewhere").await;
    for path in [&own, &theirs, &elsewhere] {
        wide.present(path).await;
    }
    narrow.present(&theirs).await;
    create(&wide.maps("dave"), &map("one", "k", "1")).await;
    wide.holds("one", "k", "1").await;
    for (lab, path, user) in [
        (&wide, &own, "alice"),
        (&wide, &theirs, "bob"),
        (&narrow, &theirs, "bob"),
        (&wide, &elsewhere, "carol"),
    ] {
        let versions = lab.versions(path);
        assert_eq!(versions.len(), 1, "{path}: {versions:#?}");
        assert_eq!(
            (
                versions[0].author_name.as_str(),
                versions[0].trailer("Attribution")
            ),
            (user, Some("exact")),
            "{path}"
        );
    }
    let mut files = narrow.repo.files();
    files.sort();
    assert_eq!(
        files,
        [format!("{FOLDER}/.gitops-reverser"), theirs.clone()]
    );
    // ConfigMaps are selected in one namespace only.
    let maps = format!("{FOLDER}/v1/configmaps/");
    let own_maps = format!("{maps}{}/", wide.namespace);
    assert!(
        wide.repo
            .files()
            .iter()
            .filter(|f| f.starts_with(&maps))
            .all(|f| f.starts_with(&own_maps))
    );

    // Without it, what it alone selected goes, and the namespaces' rules go on.
    let rules: Api<ClusterWatchRule> = Api::all(wide.client.clone());
    rules.delete(&rule, &DeleteParams::default()).await.unwrap();
    wide.absent(&elsewhere).await;
    wide.absent(&theirs).await;
    assert!(wide.repo.file(&own).is_some());
    assert!(narrow.repo.file(&theirs).is_some());
    wide.ready::<GitDestination>("all").await;
    narrow.ready::<WatchRule>("rule").await;
    let more = quota(&wide, "erin", &narrow.namespace, "more").await;
    narrow.present(&more).await;
    let own_more = quota(&wide, "erin", &wide.namespace, "more").await;
    wide.present(&own_more).await;
    assert_eq!(wide.repo.file(&more), None);
    assert_eq!(narrow.versions(&theirs).len(), 1);
    assert_eq!(wide.versions(&own).len(), 1);
}
