//! Git converges to the cluster.

use std::time::Instant;

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::json;
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::reverser::{Options, Reverser};

use crate::lab::{FOLDER, Lab, PATIENCE, create, delete, map, set};

#[tokio::test]
async fn a_restart_repairs_what_changed_meanwhile_and_then_makes_no_commit() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "restart").await;
    for name in ["kept", "changed", "deleted"] {
        create(&lab.maps("alice"), &map(name, "k", "1")).await;
    }
    let lab = lab.watching(&["configmaps"]).await;
    for name in ["kept", "changed", "deleted"] {
        lab.holds(name, "k", "1").await;
    }
    let seed = lab.versions(&lab.path("kept"));
    assert_eq!(seed[0].trailer("Reason"), Some("seed"));

    reverser.kill9_reverser();
    reverser.kill9_webhook();
    set(&lab.maps("bob"), "changed", "k", "2").await;
    delete(&lab.maps("bob"), "deleted").await;
    create(&lab.maps("bob"), &map("new", "k", "1")).await;
    reverser.restart_reverser().await.unwrap();
    reverser.restart_webhook().await.unwrap();
    lab.holds("changed", "k", "2").await;
    lab.holds("new", "k", "1").await;
    lab.lacks("deleted").await;
    // Nobody saw who it was, and nobody is named.
    for name in ["changed", "deleted", "new"] {
        let versions = lab.versions(&lab.path(name));
        assert_eq!(
            versions.last().unwrap().trailer("Attribution"),
            Some("none"),
            "{name}"
        );
    }

    // What one push asks of the server.
    let asked = lab.server.push_requests();
    lab.settle().await;
    let of_one_push = lab.server.push_requests() - asked;
    assert!(of_one_push > 0);
    reverser.kill9_reverser();
    lab.repo.remove_stale_locks();
    let (before, asked) = (lab.repo.log(), lab.server.push_requests());
    let all = lab
        .maps("alice")
        .list(&ListParams::default())
        .await
        .unwrap();
    reverser.restart_reverser().await.unwrap();
    reverser.restart_webhook().await.unwrap();
    eventually(PATIENCE, || async {
        let metrics = reverser.reverser_metrics().await;
        match metrics.sum("gitopsreverser_objects_scanned_total") {
            listed if listed < all.items.len() as f64 => Err(format!("{listed} were listed")),
            _ => Ok(()),
        }
    })
    .await;
    // A worker commits in order: what comes now comes after whatever the restart may have found.
    set(&lab.maps("bob"), "new", "k", "2").await;
    lab.holds("new", "k", "2").await;
    let log = lab.repo.log();
    assert_eq!(log.len(), before.len() + 1, "{log:#?}");
    assert_eq!(log.last().unwrap().paths(), [lab.path("new")]);
    assert_eq!(lab.server.push_requests(), asked + of_one_push);
    lab.repo.fsck().unwrap();
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn without_the_webhook_the_change_is_written_and_nobody_is_named() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "unseen")
        .await
        .watching(&["configmaps"])
        .await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    reverser.unregister_webhook().await.unwrap();
    // The apiserver drops a webhook a moment after its configuration is gone.
    eventually(PATIENCE, || async {
        set(
            &lab.maps("bob"),
            "one",
            "k",
            &format!("{}", lab.commits().len()),
        )
        .await;
        lab.settle().await;
        let last = lab.versions(&lab.path("one")).pop().unwrap();
        match last.trailer("Attribution") {
            Some("none") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let last = lab.versions(&lab.path("one")).pop().unwrap();
    assert_eq!(last.author_name, last.committer_name);
    assert_eq!(last.trailer("Kubernetes-User"), None);
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_writer_is_replayed_over_and_left_alone_outside_the_folder() {
    let lab = Lab::shared("rival").await.watching(&["configmaps"]).await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    for n in 0..5 {
        lab.repo.commit_as_outsider("README.md", format!("{n}\n"));
        set(&lab.maps("bob"), "one", "k", &format!("after {n}")).await;
        lab.holds("one", "k", &format!("after {n}")).await;
    }
    assert_eq!(lab.repo.file("README.md").unwrap(), b"4\n");
    let versions = lab.versions(&lab.path("one"));
    assert_eq!(
        versions.iter().filter(|c| c.author_name == "bob").count(),
        5
    );
    lab.repo.fsck().unwrap();
}

#[tokio::test]
async fn what_somebody_else_did_in_the_folder_is_undone() {
    let lab = Lab::shared("drift").await.watching(&["configmaps"]).await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    create(&lab.maps("alice"), &map("two", "k", "1")).await;
    lab.holds("two", "k", "1").await;
    lab.repo
        .commit_as_outsider(&lab.path("one"), "edited: by hand\n");
    lab.repo
        .commit_as_outsider(&lab.path("ghost"), "kind: Ghost\n");
    lab.repo
        .commit_as_outsider(&format!("{FOLDER}/notes.txt"), "not of our grammar\n");
    set(&lab.maps("bob"), "two", "k", "2").await;
    lab.holds("two", "k", "2").await;
    lab.holds("one", "k", "1").await;
    lab.lacks("ghost").await;
    assert!(lab.repo.file(&format!("{FOLDER}/notes.txt")).is_some());
    let repair = lab.versions(&lab.path("one")).pop().unwrap();
    assert_eq!(repair.trailer("Reason"), Some("drift"));
}

/// Clones in the work dir: they are named by 16 hex digits.
fn clones(reverser: &Reverser) -> usize {
    let entries = std::fs::read_dir(reverser.work_dir()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .count()
}

#[tokio::test]
async fn what_somebody_does_in_git_while_nothing_else_changes_is_undone() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let options = Options {
        reverser_args: vec!["--drift-check-interval=1s".to_owned()],
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let lab = Lab::on(&plane, "idle")
        .await
        .watching(&["configmaps"])
        .await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    lab.repo
        .commit_as_outsider(&lab.path("one"), "edited: by hand\n");
    lab.holds("one", "k", "1").await;
    let repair = lab.versions(&lab.path("one")).pop().unwrap();
    assert_eq!(repair.trailer("Reason"), Some("drift"));
    assert_eq!(repair.author_name, repair.committer_name);

    lab.repo
        .git(&["update-ref", "-d", "refs/heads/main"])
        .unwrap();
    lab.holds("one", "k", "1").await;
    assert!(
        lab.repo
            .file(&format!("{FOLDER}/.gitops-reverser"))
            .is_some()
    );
    lab.repo.fsck().unwrap();

    assert_eq!(clones(&reverser), 1);
    let destinations: Api<reverser::api::GitDestination> =
        Api::namespaced(lab.client.clone(), &lab.namespace);
    let deleted = destinations.delete("all", &DeleteParams::default()).await;
    deleted.unwrap();
    eventually(PATIENCE, || async {
        match clones(&reverser) {
            0 => Ok(()),
            clones => Err(format!("{clones} clones")),
        }
    })
    .await;
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn a_planted_symlink_does_not_lead_out_of_the_folder() {
    let lab = Lab::shared("symlink").await;
    lab.repo
        .commit_as_outsider("secret/target.txt", "outside\n");
    lab.repo
        .plant_symlink(&format!("{FOLDER}/v1/configmaps"), "../../../secret");
    let lab = lab.watching(&["configmaps"]).await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    let outside: Vec<String> = lab
        .repo
        .files()
        .into_iter()
        .filter(|f| !f.starts_with(FOLDER))
        .collect();
    assert_eq!(outside, ["secret/target.txt"]);
    assert_eq!(lab.repo.file("secret/target.txt").unwrap(), b"outside\n");
}

#[tokio::test]
async fn a_type_that_appears_is_watched_and_one_that_goes_is_not() {
    let lab = Lab::shared("types").await;
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.destination("all", json!({})).await;
    let group = format!("{}.example.com", lab.namespace);
    lab.rule(
        "rule",
        json!([{"apiGroups": [group], "resources": ["widgets"]}]),
    )
    .await;
    let message = lab
        .not_ready::<reverser::api::WatchRule>("rule", "UnresolvedResources")
        .await;
    assert!(message.contains("widgets"), "{message}");

    let crds: Api<DynamicObject> = Api::all_with(lab.client.clone(), &kube::api::ApiResource::erase::<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    >(&()));
    let crd_name = format!("widgets.{group}");
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": crd_name},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    let installed = Instant::now();
    crds.patch(&crd_name, &PatchParams::apply("test"), &Patch::Apply(crd))
        .await
        .unwrap();
    let widgets: Api<DynamicObject> = Api::namespaced_with(
        lab.user("alice"),
        &lab.namespace,
        &kube::api::ApiResource {
            group: group.clone(),
            version: "v1".into(),
            api_version: format!("{group}/v1"),
            kind: "Widget".into(),
            plural: "widgets".into(),
        },
    );
    let widget = |name: &str| -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 3},
        }))
        .unwrap()
    };
    let path = |name: &str| format!("{FOLDER}/{group}/v1/widgets/{}/{name}.yaml", lab.namespace);
    // As soon as the apiserver takes it, as a chart does that brings both.
    eventually(PATIENCE, || async {
        widgets
            .create(&Default::default(), &widget("first"))
            .await
            .map(drop)
    })
    .await;
    let created = installed.elapsed();
    eventually(PATIENCE, || async {
        lab.repo
            .file(&path("first"))
            .ok_or("the first widget is not there")
    })
    .await;
    eprintln!(
        "types: the first object was created {created:?} after its CRD, and in Git after {:?}",
        installed.elapsed()
    );
    lab.ready::<reverser::api::WatchRule>("rule").await;
    create(&widgets, &widget("w")).await;
    let path = path("w");
    eventually(PATIENCE, || async {
        lab.repo.file(&path).ok_or("the widget is not there")
    })
    .await;
    assert_eq!(lab.versions(&path)[0].author_name, "alice");

    let deleted = Instant::now();
    crds.delete(&crd_name, &DeleteParams::default())
        .await
        .unwrap();
    lab.not_ready::<reverser::api::WatchRule>("rule", "UnresolvedResources")
        .await;
    eventually(PATIENCE, || async {
        if lab.repo.file(&path).is_none() {
            Ok(())
        } else {
            Err("the widget's file is still there")
        }
    })
    .await;
    eprintln!(
        "types: the files were gone {:?} after the CRD",
        deleted.elapsed()
    );
}

/// Tasks that have not ended, and sockets that are open.
async fn running(reverser: &Reverser) -> (f64, usize) {
    let metrics = reverser.reverser_metrics().await;
    let tasks = metrics.get("gitopsreverser_tasks").unwrap();
    let pid = reverser.pids()[0].unwrap();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let sockets = links.filter(|link| link.to_string_lossy().starts_with("socket:"));
    (tasks, sockets.count())
}

#[tokio::test]
async fn types_that_go_leave_no_watch_no_task_and_no_connection() {
    const TYPES: usize = 8;
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "gone")
        .await
        .watching(&["configmaps"])
        .await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    let group = "gone.example.com";
    let plurals: Vec<String> = (0..TYPES).map(|n| format!("gone{n}s")).collect();
    lab.rule(
        "gone",
        json!([{"apiGroups": [group], "resources": plurals}]),
    )
    .await;
    let crds: Api<DynamicObject> = Api::all_with(lab.client.clone(), &kube::api::ApiResource::erase::<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    >(&()));
    // What is counted may stand still for a moment that is not the end: two equal counts, a second apart.
    let settled = async || {
        eventually(PATIENCE, || async {
            let before = running(&reverser).await;
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let after = running(&reverser).await;
            if before == after {
                Ok(after)
            } else {
                Err(format!("{before:?}, {after:?}"))
            }
        })
        .await
    };
    let before = settled().await;
    for (number, plural) in plurals.iter().enumerate() {
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {"group": group, "scope": "Namespaced",
                "names": {"plural": plural, "singular": format!("gone{number}"), "kind": format!("Gone{number}")},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
        });
        let name = format!("{plural}.{group}");
        crds.patch(&name, &PatchParams::apply("test"), &Patch::Apply(crd))
            .await
            .unwrap();
    }
    let watched = async |wanted: usize| {
        eventually(PATIENCE, || async {
            let status = lab.status::<reverser::api::WatchRule>("gone").await;
            match status["watchedTypes"].as_u64() {
                Some(types) if types == wanted as u64 => Ok(()),
                _ => Err(status.to_string()),
            }
        })
        .await;
    };
    watched(TYPES).await;
    let during = settled().await;
    assert!(
        during.0 >= before.0 + TYPES as f64,
        "{before:?}, {during:?}"
    );
    for plural in &plurals {
        crds.delete(&format!("{plural}.{group}"), &DeleteParams::default())
            .await
            .unwrap();
    }
    watched(0).await;
    eventually(PATIENCE * 2, || async {
        let after = settled().await;
        if after.0 <= before.0 && after.1 <= before.1 {
            Ok(())
        } else {
            Err(format!(
                "{before:?} before, {during:?} meanwhile, {after:?} after"
            ))
        }
    })
    .await;
    eprintln!("gone: {before:?} before, {during:?} meanwhile");
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_names_nobody_for_undoing_what_somebody_did_in_git() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "undone")
        .await
        .watching(&["configmaps"])
        .await;
    for name in ["edited", "restored", "changed"] {
        create(&lab.maps("carol"), &map(name, "k", "1")).await;
        lab.holds(name, "k", "1").await;
    }
    let before = lab.repo.file(&lab.path("restored")).unwrap();
    set(&lab.maps("alice"), "edited", "k", "2").await;
    delete(&lab.maps("alice"), "restored").await;
    lab.holds("edited", "k", "2").await;
    lab.lacks("restored").await;

    // The sidecar lives, and tells of the last minute again.
    reverser.kill9_reverser();
    lab.repo.remove_stale_locks();
    lab.repo
        .commit_as_outsider(&lab.path("edited"), "edited: by hand\n");
    lab.repo.commit_as_outsider(&lab.path("restored"), before);
    set(&lab.maps("bob"), "changed", "k", "2").await;
    reverser.restart_reverser().await.unwrap();
    lab.holds("edited", "k", "2").await;
    lab.lacks("restored").await;
    lab.holds("changed", "k", "2").await;
    for (name, author, tier) in [
        ("edited", "GitOps Reverser", "none"),
        ("restored", "GitOps Reverser", "none"),
        ("changed", "bob", "content"),
    ] {
        let last = lab.versions(&lab.path(name)).pop().unwrap();
        let found = (last.author_name.as_str(), last.trailer("Attribution"));
        assert_eq!(found, (author, Some(tier)), "{name}");
    }
    reverser.stop().await.unwrap();
}
