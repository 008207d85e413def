//! A folder that the operator keeps.

use kube::Api;
use kube::api::{Patch, PatchParams};
use reverser::api::{ClusterWatchRule, GitDestination};
use serde_json::json;
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::reverser::{Options, Reverser};

use super::Snapshot;
use crate::lab::{FOLDER, Lab, PASSWORD, PATIENCE, USER, create, map};

const KEY: &str = "0123456789abcdefghijklmnopqrstuvwxyz\n";

/// With the lab's repository and folder.
async fn snapshot(lab: &Lab<'_>, directory: &std::path::Path, flags: &[&str]) -> super::Said {
    let ca = directory.join("ca");
    std::fs::create_dir_all(&ca).unwrap();
    std::fs::write(ca.join("ca.crt"), lab.server.ca_pem()).unwrap();
    let given = [
        format!("--repo={}", lab.repo.url()),
        format!("--folder={FOLDER}"),
        format!("--kubeconfig={}", lab.plane.kubeconfig_path().display()),
        format!("--credentials-dir={}", ca.display()),
    ];
    Snapshot::new(directory)
        .await
        .flags(&given)
        .flags(flags)
        .env("GITOPS_REVERSER_GIT_USERNAME", USER)
        .env("GITOPS_REVERSER_GIT_PASSWORD", PASSWORD)
        .run()
        .await
}

#[tokio::test]
async fn a_folder_that_the_operator_keeps_is_in_sync_until_somebody_edits_it() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, KEY).unwrap();
    let key = format!("--redaction-key-file={}", key.display());
    let options = Options {
        reverser_args: vec![key.clone()],
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let lab = Lab::on(&plane, "kept").await;
    create(&lab.maps("alice"), &map("one", "k", "v")).await;
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.destination("all", json!({})).await;
    let rules: Api<ClusterWatchRule> = Api::all(lab.client.clone());
    let rule = json!({
        "apiVersion": "configbutler.ai/v1alpha1", "kind": "ClusterWatchRule", "metadata": {"name": "all"},
        "spec": {
            "destinationRef": {"namespace": lab.namespace, "name": "all"},
            "rules": [{"scope": "Namespaced", "resources": ["*"]}, {"scope": "Cluster", "resources": ["*"]}],
        },
    });
    rules
        .patch("all", &PatchParams::apply("test"), &Patch::Apply(rule))
        .await
        .unwrap();
    lab.holds("one", "k", "v").await;
    lab.ready::<GitDestination>("all").await;

    // Everything: redacted Secrets, CRDs, RBAC. Ready says that it is pushed; the last writes may still be on their way.
    eventually(PATIENCE, || async {
        let said = snapshot(&lab, directory.path(), &["--diff", &key]).await;
        match said.code {
            0 => Ok(()),
            _ => Err(format!("{}{}", said.out, said.err)),
        }
    })
    .await;
    let files = lab.repo.files();
    for part in ["/secrets/", "/customresourcedefinitions/", "/configmaps/"] {
        assert!(files.iter().any(|file| file.contains(part)), "{files:?}");
    }

    // It is not for a snapshot to write there.
    let head = lab.repo.head();
    let said = snapshot(&lab, directory.path(), &[]).await;
    let refusal = said
        .err
        .lines()
        .find(|line| line.starts_with("error: "))
        .unwrap_or_default();
    assert_eq!(said.code, 2);
    let owner = format!("GitDestination {}/all", lab.namespace);
    assert!(refusal.contains(&owner), "{}", said.err);
    assert_eq!(lab.repo.head(), head);

    // The operator finds it within --drift-check-interval, 5 minutes.
    reverser.kill9_reverser();
    let path = lab.path("one");
    lab.repo.commit_as_outsider(&path, "edited: by hand\n");
    let said = snapshot(&lab, directory.path(), &["--diff", &key])
        .await
        .ended(1);
    assert_eq!(said.lines(), [format!("M {path}")]);
    // Another key: every value that is redacted differs.
    let said = snapshot(
        &lab,
        directory.path(),
        &["--diff", "--secret-policy=redact"],
    )
    .await
    .ended(1);
    assert!(
        said.lines()
            .iter()
            .any(|line| line.starts_with("M ") && line.contains("/secrets/")),
        "{}",
        said.out
    );
}
