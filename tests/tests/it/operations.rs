//! `operations` bound what a rule may do to Git, judged by the effect on the file.

use k8s_openapi::api::core::v1::{ConfigMap, LimitRange};
use kube::Api;
use kube::api::DeleteParams;
use reverser::api::{GitDestination, WatchRule};
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::reverser::{Options, Reverser};

use crate::lab::{FOLDER, Lab, PATIENCE, create, delete, map, set};

/// Of a type without bounds, so that something can always be written.
const MARKS: &str = "limitranges";

impl Lab<'_> {
    /// ConfigMaps under these operations, LimitRanges under all.
    async fn bounded(&self, operations: &[&str]) {
        self.rule(
            "rule",
            json!([
                {"resources": ["configmaps"], "operations": operations},
                {"resources": [MARKS]},
            ]),
        )
        .await;
        self.ready::<WatchRule>("rule").await;
        self.ready::<GitDestination>("all").await;
    }

    /// Writes a LimitRange and waits for its file: the worker commits.
    async fn mark(&self, name: &str) {
        let ranges: Api<LimitRange> = Api::namespaced(self.user("marker"), &self.namespace);
        let range = serde_json::from_value(json!({"metadata": {"name": name}, "spec": {
            "limits": [{"type": "Container", "default": {"cpu": "1"}}]}}))
        .unwrap();
        create(&ranges, &range).await;
        let path = format!("{FOLDER}/v1/{MARKS}/{}/{name}.yaml", self.namespace);
        eventually(PATIENCE, || async {
            self.repo
                .file(&path)
                .ok_or_else(|| format!("{path} is not there"))
        })
        .await;
    }

    /// The value of a ConfigMap's file; `None` without the file.
    fn value(&self, name: &str) -> Option<String> {
        let text = self.repo.file(&self.path(name))?;
        let object: Value = serde_yaml::from_slice(&text).unwrap();
        Some(object["data"]["k"].as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn with_create_only_a_file_is_written_once_and_survives_everything() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "once").await;
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.destination("all", json!({})).await;
    create(&lab.maps("alice"), &map("seeded", "k", "1")).await;
    lab.bounded(&["CREATE"]).await;
    create(&lab.maps("alice"), &map("live", "k", "1")).await;
    for name in ["seeded", "live"] {
        lab.holds(name, "k", "1").await;
        set(&lab.maps("bob"), name, "k", "2").await;
    }
    // Behind them in the same watch.
    create(&lab.maps("alice"), &map("after-update", "k", "1")).await;
    lab.holds("after-update", "k", "1").await;
    assert_eq!(lab.value("seeded").as_deref(), Some("1"));
    assert_eq!(lab.value("live").as_deref(), Some("1"));

    for name in ["seeded", "live"] {
        delete(&lab.maps("carol"), name).await;
    }
    create(&lab.maps("alice"), &map("after-delete", "k", "1")).await;
    lab.holds("after-delete", "k", "1").await;
    assert_eq!(lab.value("seeded").as_deref(), Some("1"));
    assert_eq!(lab.value("live").as_deref(), Some("1"));

    // The sweep after a start judges alike: neither the changed nor the deleted are touched.
    set(&lab.maps("bob"), "after-update", "k", "2").await;
    let head = lab.repo.head();
    reverser.kill9_reverser();
    delete(&lab.maps("carol"), "after-delete").await;
    reverser.restart_reverser().await.unwrap();
    lab.ready::<WatchRule>("rule").await;
    lab.ready::<GitDestination>("all").await;
    lab.mark("mark").await;
    for name in ["seeded", "live", "after-update", "after-delete"] {
        assert_eq!(lab.value(name).as_deref(), Some("1"), "{name}");
        assert_eq!(lab.versions(&lab.path(name)).len(), 1, "{name}");
    }
    let since = lab.commits().into_iter().rev();
    let since: Vec<_> = since
        .take_while(|c| Some(&c.hash) != head.as_ref())
        .collect();
    assert_eq!(since.len(), 1, "{since:#?}");
    lab.repo.fsck().unwrap();
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn without_delete_files_are_kept_up_to_date_and_outlive_their_objects() {
    let lab = Lab::shared("outlive").await;
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.destination("all", json!({})).await;
    lab.bounded(&["CREATE", "UPDATE"]).await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    set(&lab.maps("bob"), "one", "k", "2").await;
    lab.holds("one", "k", "2").await;
    delete(&lab.maps("carol"), "one").await;
    lab.settle().await;
    assert_eq!(lab.value("one").as_deref(), Some("2"));

    // The object comes back, which the file sees as a change, made by who created it.
    create(&lab.maps("dave"), &map("one", "k", "3")).await;
    lab.holds("one", "k", "3").await;
    let last = lab.versions(&lab.path("one")).pop().unwrap();
    assert_eq!(
        (last.author_name.as_str(), last.trailer("Attribution")),
        ("dave", Some("exact"))
    );

    // Once DELETE is allowed, what is not live goes.
    delete(&lab.maps("carol"), "one").await;
    lab.settle().await;
    assert_eq!(lab.value("one").as_deref(), Some("3"));
    lab.bounded(&["*"]).await;
    lab.lacks("one").await;
}

#[tokio::test]
async fn without_create_only_files_already_there_are_updated() {
    let lab = Lab::shared("present").await.watching(&["configmaps"]).await;
    for name in ["here", "gone"] {
        create(&lab.maps("alice"), &map(name, "k", "1")).await;
        lab.holds(name, "k", "1").await;
    }
    lab.bounded(&["UPDATE", "DELETE"]).await;
    create(&lab.maps("bob"), &map("new", "k", "1")).await;
    set(&lab.maps("bob"), "new", "k", "2").await;
    set(&lab.maps("bob"), "here", "k", "2").await;
    delete(&lab.maps("bob"), "gone").await;
    lab.lacks("gone").await;
    lab.holds("here", "k", "2").await;
    assert_eq!(lab.value("new"), None);

    // A second rule on the type adds to the first.
    lab.rule(
        "second",
        json!([{"resources": ["configmaps"], "operations": ["CREATE"]}]),
    )
    .await;
    lab.holds("new", "k", "2").await;
    let everything: Api<ConfigMap> = lab.maps("bob");
    everything
        .delete("new", &DeleteParams::default())
        .await
        .unwrap();
    lab.lacks("new").await;
}
