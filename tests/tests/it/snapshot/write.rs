//! What a snapshot writes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use rand::RngCore;
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Options};

use super::{FOLDER, Site, bare};
use crate::lab::{create, delete, map, set};

async fn apply(site: &Site<'_>, group: &str, plural: &str, object: Value) {
    let text = |field: &str| object[field].as_str().unwrap().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let version = version.rsplit('/').next().unwrap();
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    let resource = kube::api::ApiResource::from_gvk_with_plural(&gvk, plural);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(site.client(), namespace, &resource),
        None => Api::all_with(site.client(), &resource),
    };
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    api.patch(&name, &PatchParams::apply("test"), &Patch::Apply(object))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_whole_cluster_is_one_commit_and_a_second_run_makes_none() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let site = Site::on(&plane, "whole").await;
    let (ns, other) = (&site.namespace, plane.create_namespace("other").await);
    create(&site.maps(), &map("config", "k", "v")).await;
    create(
        &Api::namespaced(site.client(), &other),
        &map("elsewhere", "k", "v"),
    )
    .await;
    let selector = json!({"matchLabels": {"app": "web"}});
    let template = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "registry.example.com/web:1"}]},
    });
    apply(&site, "apps", "deployments", json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": ns, "name": "web"},
        "spec": {"replicas": 2, "selector": selector, "template": template},
    }))
    .await;
    apply(&site, "rbac.authorization.k8s.io", "clusterroles", json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "shop:reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }))
    .await;
    apply(&site, "scheduling.k8s.io", "priorityclasses", json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 7,
    }))
    .await;
    site.service("web").await;

    let said = site.everything(&[]).await.ended(0);
    let files = site.repo.files();
    let expected = [
        format!("{FOLDER}/.gitops-reverser"),
        format!("{FOLDER}/apps/v1/deployments/{ns}/web.yaml"),
        format!("{FOLDER}/rbac.authorization.k8s.io/v1/clusterroles/shop%3Areader.yaml"),
        format!("{FOLDER}/scheduling.k8s.io/v1/priorityclasses/high.yaml"),
        format!("{FOLDER}/v1/configmaps/{other}/elsewhere.yaml"),
        site.map_file("config"),
        site.file("services", "web"),
    ];
    for file in &expected {
        assert!(files.contains(file), "{file} is not among {files:?}");
    }
    // What people declare, and nothing that the cluster makes for itself: no Pod, ReplicaSet, Node or kube-root-ca.crt.
    for unwanted in [
        "/pods/",
        "/replicasets/",
        "/namespaces/",
        "kube-root-ca",
        "/secrets/",
    ] {
        assert!(!files.iter().any(|f| f.contains(unwanted)), "{files:?}");
    }
    let objects = files.len() - 1;
    let head = site.repo.head().unwrap();
    assert_eq!(
        said.lines(),
        [format!(
            "{objects} objects, {objects} added, 0 modified, 0 deleted; pushed {head}"
        )]
    );
    assert!(said.err.contains("Secrets are left out"), "{}", said.err);
    let text = site.repo.file(&site.map_file("config")).unwrap();
    let object: Value = serde_yaml::from_slice(&text).unwrap();
    assert_eq!(
        object,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": ns, "name": "config"}, "data": {"k": "v"}})
    );

    let [commit] = site.repo.log().try_into().unwrap();
    assert!(
        commit.subject.starts_with("Snapshot of cluster ")
            && commit.subject.ends_with(&format!(": {objects} objects")),
        "{}",
        commit.subject
    );
    assert_eq!(commit.author_name, "GitOps Reverser");
    let trailers = ["Attribution", "Destination", "Reason", "Kubernetes-User"];
    assert_eq!(
        trailers.map(|key| commit.trailer(key)),
        [Some("none"), Some("snapshot"), Some("seed"), None]
    );
    assert!(
        commit
            .body
            .contains(&format!("- Create configmaps {ns}/config")),
        "{}",
        commit.body
    );
    site.repo.fsck().unwrap();

    let said = site.everything(&[]).await.ended(0);
    assert_eq!(
        said.lines(),
        [format!("{objects} objects, as they are in Git already")]
    );
    assert_eq!(site.repo.head().unwrap(), head);
    let said = site.everything(&["--diff"]).await.ended(0);
    assert_eq!(said.out, "");

    // Nothing of it needed anything of ours in the cluster.
    let crds: Api<CustomResourceDefinition> = Api::all(site.client());
    let crds = crds.list(&ListParams::default()).await.unwrap();
    let ours: Vec<String> = crds
        .iter()
        .map(ResourceExt::name_any)
        .filter(|name| name.ends_with(".configbutler.ai"))
        .collect();
    assert_eq!(ours, [""; 0]);
}

#[tokio::test]
async fn what_changed_is_written_and_what_is_gone_is_deleted() {
    let site = Site::on(bare().await, "changed").await;
    for name in ["kept", "edited", "gone"] {
        create(&site.maps(), &map(name, "k", "v")).await;
    }
    let only = ["--resource=configmaps"];
    site.snapshot(&only).await.ended(0);
    set(&site.maps(), "edited", "k", "w").await;
    delete(&site.maps(), "gone").await;
    create(&site.maps(), &map("new", "k", "v")).await;
    site.snapshot(&[
        "--resource=configmaps",
        "--author=Jane Doe <jane@example.com>",
        "--message=Before the upgrade\nReason: forged",
    ])
    .await
    .ended(0);
    let files = ["edited", "kept", "new"].map(|name| site.map_file(name));
    let marker = format!("{FOLDER}/.gitops-reverser");
    assert_eq!(site.repo.files(), [&[marker], &files[..]].concat());
    let commits = site.repo.log();
    let [_, last] = commits.as_slice() else {
        panic!("{commits:?}")
    };
    let mut paths = last.paths();
    paths.sort_unstable();
    let changed = ["edited", "gone", "new"].map(|name| site.map_file(name));
    assert_eq!(paths, changed);
    assert_eq!(
        (last.author_name.as_str(), last.committer_email.as_str()),
        ("Jane Doe", "jane@example.com")
    );
    assert_eq!(last.subject, "Before the upgrade%0AReason: forged");
    assert_eq!(last.trailer("Reason"), Some("resync"));
    // A commit whose push failed is not pushed by a later run, which finds the cluster changed.
    let kept = site.directory.path().join("kept");
    let kept = format!("--work-dir={}", kept.display());
    site.repo
        .install_hook("pre-receive", "#!/bin/sh\necho no >&2\nexit 1\n");
    create(&site.maps(), &map("late", "k", "v")).await;
    let said = site.snapshot(&[only[0], &kept]).await;
    assert!(said.refusal().contains("refused the push"), "{}", said.err);
    site.repo.remove_hook("pre-receive");
    delete(&site.maps(), "late").await;
    let said = site.snapshot(&[only[0], &kept]).await.ended(0);
    assert_eq!(said.lines(), ["3 objects, as they are in Git already"]);
    assert_eq!(site.repo.log().len(), 2);
}

#[tokio::test]
async fn only_files_of_the_folder_that_look_like_ours_are_touched() {
    let site = Site::on(bare().await, "others").await;
    create(&site.maps(), &map("mine", "k", "v")).await;
    let ns = &site.namespace;
    let strangers = [
        "README.md".to_owned(),
        format!("clusters/other/v1/configmaps/{ns}/ghost.yaml"),
        format!("clusters/lab2/v1/configmaps/{ns}/ghost.yaml"),
        format!("{FOLDER}/README.md"),
        format!("{FOLDER}/kustomization.yaml"),
        format!("{FOLDER}/v1/configmaps/{ns}/notes.txt"),
        format!("{FOLDER}/v1/configmaps/{ns}/deep/er/x.yaml"),
    ];
    let ghosts = [
        site.map_file("ghost"),
        format!("{FOLDER}/v1beta1/configmaps/{ns}/mine.yaml"),
        format!("{FOLDER}/apps/v1/deployments/{ns}/ghost.yaml"),
    ];
    let of_others = [
        format!("{FOLDER}/v1/configmaps/elsewhere/theirs.yaml"),
        format!("{FOLDER}/v1/namespaces/theirs.yaml"),
    ];
    for file in strangers.iter().chain(&ghosts).chain(&of_others) {
        site.repo.commit_as_outsider(file, "data: {}\n");
    }
    site.repo.plant_symlink(
        &format!("{FOLDER}/v1/configmaps/{ns}/link.yaml"),
        "mine.yaml",
    );
    let before = site.repo.contents();

    // What is not selected stays where that is asked for.
    let diff = site
        .snapshot(&["--diff", "--keep-unselected"])
        .await
        .ended(1);
    let mut lines: Vec<String> = ghosts.iter().map(|file| format!("D {file}")).collect();
    lines.push(format!("A {}", site.map_file("mine")));
    lines.sort_by(|a, b| a[2..].cmp(&b[2..]));
    assert_eq!(diff.lines(), lines);

    site.snapshot(&[]).await.ended(0);
    let after = site.repo.contents();
    for file in &strangers {
        assert_eq!(before.get(file), after.get(file), "{file}");
    }
    for file in ghosts.iter().chain(&of_others) {
        assert!(!after.contains_key(file), "{file}");
    }
    assert!(after.contains_key(&format!("{FOLDER}/v1/configmaps/{ns}/link.yaml")));
    assert!(after.contains_key(&site.map_file("mine")));
}

#[tokio::test]
async fn the_branch_is_made_from_the_default_branch_and_nothing_is_left_on_disk() {
    let site = Site::on(bare().await, "branch").await;
    site.repo.commit_as_outsider("README.md", "hello\n");
    create(&site.maps(), &map("config", "k", "v")).await;
    let said = site.snapshot(&["--branch=snapshots/lab"]).await.ended(0);
    assert!(said.err.contains("is new"), "{}", said.err);
    let commits = site.repo.log_of("snapshots/lab");
    assert_eq!(commits.len(), 2);
    assert_eq!(site.repo.log().len(), 1);
    let left: Vec<_> = std::fs::read_dir(site.directory.path().join("tmp"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn what_is_more_than_is_kept_in_memory_arrives_whole() {
    let site = Site::on(bare().await, "large").await;
    // Compressed some 10 MiB, of which 8 MiB may wait in memory.
    for n in 0..16 {
        let mut noise = vec![0; 660_000];
        rand::rng().fill_bytes(&mut noise);
        let text = BASE64.encode(noise);
        create(&site.maps(), &map(&format!("large-{n}"), "k", &text)).await;
    }
    site.snapshot(&["--resource=configmaps"]).await.ended(0);
    site.repo.fsck().unwrap();
    for n in 0..16 {
        let name = format!("large-{n}");
        let live = site.maps().get(&name).await.unwrap();
        let file = site.repo.file(&site.map_file(&name)).unwrap();
        let file: Value = serde_yaml::from_slice(&file).unwrap();
        let data = serde_json::to_value(live.data).unwrap();
        assert!(file["data"] == data, "{name} differs");
    }
    site.snapshot(&["--resource=configmaps", "--diff"])
        .await
        .ended(0);
}
