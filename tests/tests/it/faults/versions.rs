//! A type whose preferred version is another one by now.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use reverser::api::WatchRule;
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::git::Commit;
use tests::reverser::{Options, Reverser};

use crate::crowd::{Sort, custom, sign};
use crate::lab::{FOLDER, Lab, PATIENCE, create};
use crate::truth::{git_equals_the_cluster, is_gone, is_signed, last_author};

const GROUP: &str = "moving.example.com";
/// More than one batch of 200.
const WIDGETS: usize = 250;

fn widgets(version: &str) -> Sort {
    custom(GROUP, version, "widgets", "Widget")
}

fn name(number: usize) -> String {
    format!("w-{number:03}")
}

/// Has the type served at these versions, the first of them being the preferred one, and waits until discovery says so
/// and each of them answers.
async fn serve(lab: &Lab<'_>, versions: &[&str]) {
    let resource = ApiResource::erase::<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    >(&());
    let crds: Api<DynamicObject> = Api::all_with(lab.client.clone(), &resource);
    let versions_of_it: Vec<Value> = ["v1", "v2"]
        .into_iter()
        .map(|version| {
            json!({"name": version, "served": versions.contains(&version), "storage": version == "v1",
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
        })
        .collect();
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{GROUP}")},
        "spec": {"group": GROUP, "scope": "Namespaced", "versions": versions_of_it,
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"}},
    });
    let by_force = PatchParams::apply("test").force();
    crds.patch(&format!("widgets.{GROUP}"), &by_force, &Patch::Apply(crd))
        .await
        .unwrap();
    eventually(PATIENCE, || async {
        let groups = lab.client.list_api_groups_aggregated().await;
        let groups = groups.map_err(|error| error.to_string())?;
        let group = groups
            .items
            .into_iter()
            .find(|group| group.metadata.as_ref().and_then(|m| m.name.as_deref()) == Some(GROUP));
        let served = group.into_iter().flat_map(|group| group.versions);
        let served: Vec<String> = served
            .filter(|version| !version.resources.is_empty())
            .filter_map(|version| version.version)
            .collect();
        if served == versions {
            Ok(())
        } else {
            Err(format!("{served:?}"))
        }
    })
    .await;
    // The apiserver tells of a version that joins a type some moments before it takes requests for it: one in 1,700 first
    // requests was answered with 404.
    for version in versions {
        let api = widgets(version).api(lab, "ann");
        eventually(PATIENCE, || async {
            api.list(&ListParams::default().limit(1)).await
        })
        .await;
    }
}

/// Each tip that was ever pushed, with the paths below the type's group.
fn tips(lab: &Lab<'_>) -> Vec<BTreeSet<String>> {
    let reflog = lab
        .repo
        .git(&["reflog", "show", "--format=%H", "main"])
        .unwrap();
    let mut tips: Vec<BTreeSet<String>> = reflog
        .lines()
        .map(|tip| {
            let folder = format!("{FOLDER}/{GROUP}");
            let files = lab
                .repo
                .git(&["ls-tree", "-r", "--name-only", tip, "--", &folder]);
            files.unwrap().lines().map(ToOwned::to_owned).collect()
        })
        .collect();
    tips.reverse();
    tips
}

/// By name: the paths at one tip.
fn by_name(tip: &BTreeSet<String>) -> BTreeMap<&str, Vec<&str>> {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for path in tip {
        let name = path.rsplit('/').next().unwrap();
        names.entry(name).or_default().push(path);
    }
    names
}

/// Panics unless every commit that writes a file's new path takes the old one away.
fn moved_in_one_commit(lab: &Lab<'_>, from: &str, to: &str, names: impl Iterator<Item = String>) {
    let commits = lab.commits();
    for name in names {
        let (old, new) = (widgets(from).path(lab, &name), widgets(to).path(lab, &name));
        let last = |path: &str, status: char| {
            let change = |c: &&Commit| c.files.iter().any(|f| f.path == path && f.status == status);
            commits.iter().rev().find(change).map(|c| c.hash.clone())
        };
        let (gone, came) = (last(&old, 'D'), last(&new, 'A'));
        assert!(gone.is_some(), "{old} never went");
        assert_eq!(gone, came, "{name} did not move in one commit");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_move_to_the_version_that_became_the_preferred_one_and_are_never_there_twice_or_not_at_all()
 {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "moving").await;
    serve(&lab, &["v1"]).await;
    let ann = widgets("v1").api(&lab, "ann");
    for number in 0..WIDGETS {
        create(&ann, &widgets("v1").object(&name(number), "ann-0")).await;
    }
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.destination("all", json!({})).await;
    lab.rule(
        "rule",
        json!([{"apiGroups": [GROUP], "resources": ["widgets"]}]),
    )
    .await;
    lab.ready::<WatchRule>("rule").await;
    git_equals_the_cluster(&lab, &[widgets("v1")]).await;

    // While the reverser is away; its sidecar sees who writes.
    reverser.kill9_reverser();
    lab.repo.remove_stale_locks();
    serve(&lab, &["v2", "v1"]).await;
    sign(&widgets("v2").api(&lab, "ben"), &name(7), "ben-1")
        .await
        .unwrap();
    widgets("v1")
        .api(&lab, "cleo")
        .delete(&name(8), &DeleteParams::default())
        .await
        .unwrap();
    create(
        &widgets("v2").api(&lab, "dan"),
        &widgets("v2").object("new", "dan-1"),
    )
    .await;
    reverser.restart_reverser().await.unwrap();
    is_signed(&lab, &widgets("v2").path(&lab, "new"), "dan-1").await;
    lab.ready::<WatchRule>("rule").await;
    git_equals_the_cluster(&lab, &[widgets("v2")]).await;
    let unchanged = || (0..WIDGETS).filter(|n| ![7, 8].contains(n)).map(name);
    moved_in_one_commit(&lab, "v1", "v2", unchanged());
    for (name, who) in [(name(7), "ben"), ("new".to_owned(), "dan")] {
        let (author, tier) = last_author(&lab, &widgets("v2").path(&lab, &name));
        assert!(
            tier == "none" || author == who,
            "{name}: {author} by {tier}"
        );
        eprintln!("moving: {name} by {author}, {tier}");
    }

    // While it runs: the newer version is served no more.
    serve(&lab, &["v1"]).await;
    is_signed(&lab, &widgets("v1").path(&lab, "new"), "dan-1").await;
    lab.ready::<WatchRule>("rule").await;
    git_equals_the_cluster(&lab, &[widgets("v1")]).await;
    let all = || {
        (0..WIDGETS)
            .filter(|n| *n != 8)
            .map(name)
            .chain(["new".to_owned()])
    };
    moved_in_one_commit(&lab, "v2", "v1", all());
    // And it goes on there.
    sign(&widgets("v1").api(&lab, "fay"), "new", "fay-2")
        .await
        .unwrap();
    let new = widgets("v1").path(&lab, "new");
    is_signed(&lab, &new, "fay-2").await;
    assert_eq!(
        last_author(&lab, &new),
        ("fay".to_owned(), "exact".to_owned())
    );
    widgets("v1")
        .api(&lab, "gil")
        .delete("new", &DeleteParams::default())
        .await
        .unwrap();
    is_gone(&lab, &new).await;
    assert_eq!(
        last_author(&lab, &new),
        ("gil".to_owned(), "exact".to_owned())
    );

    // Whoever fetched at any time found every object once.
    let mut seeded = false;
    let tips = tips(&lab);
    for tip in &tips {
        let names = by_name(tip);
        let twice: Vec<_> = names.iter().filter(|(_, paths)| paths.len() > 1).collect();
        assert!(
            twice.is_empty(),
            "{} are there twice, such as {:?}",
            twice.len(),
            twice[0]
        );
        seeded |= names.len() == WIDGETS;
        if seeded {
            let missing: Vec<_> = (0..WIDGETS)
                .filter(|n| *n != 8 && !names.contains_key(format!("{}.yaml", name(*n)).as_str()))
                .collect();
            assert!(
                missing.is_empty(),
                "{} are missing, such as {}",
                missing.len(),
                missing[0]
            );
        }
    }
    eprintln!("moving: {} objects, {} tips", WIDGETS, tips.len());
    lab.repo.fsck().unwrap();
    reverser.stop().await.unwrap();
}
