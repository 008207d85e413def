//! The commands of pages in `docs/`, as a reader would run them.

// clippy.toml allows it in test functions only, not in what they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use e2e::cluster::Cluster;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::shell::{Shell, commands};

/// What is random in a release, by Secret.
async fn made_once(cluster: &Cluster) -> BTreeMap<String, BTreeMap<String, ByteString>> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client().unwrap(), "gitops-reverser");
    let all = secrets.list(&ListParams::default()).await.unwrap();
    all.into_iter()
        .filter(|secret| secret.type_.as_deref() != Some("helm.sh/release.v1"))
        .map(|secret| (secret.name_any(), secret.data.unwrap_or_default()))
        .collect()
}

/// The one command of a page that begins like this.
fn only(page: &str, start: &str) -> String {
    let mut found = commands(page);
    found.retain(|command| command.starts_with(start));
    assert_eq!(found.len(), 1, "{page}: {found:?}");
    found.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn every_command_of_installing_upgrading_rights_and_credentials_works() {
    let cluster = Cluster::start().await.unwrap();
    let shell = Shell::new(&cluster);
    shell.follow("docs/install.md");
    // It ends with the release's end: the redaction key alone is kept.
    let kept = made_once(&cluster).await;
    let names: Vec<_> = kept.keys().map(String::as_str).collect();
    assert_eq!(names, ["gitops-reverser-redaction-key", "my-redaction-key"]);

    shell.run(&commands("docs/install.md")[0]);
    let before = made_once(&cluster).await;
    assert_eq!(
        before["gitops-reverser-redaction-key"],
        kept["gitops-reverser-redaction-key"]
    );
    assert_eq!(before.len(), 4, "{:?}", before.keys());
    shell.follow("docs/upgrade.md");
    // Whoever reads no page reads this.
    let notes = shell.run("helm get notes gitops-reverser --namespace gitops-reverser");
    let crds = only("docs/upgrade.md", "kubectl ");
    assert!(notes.lines().any(|line| line.trim() == crds), "{notes}");
    assert_eq!(made_once(&cluster).await, before);
    shell.run(&only("docs/high-availability.md", "helm "));
    assert_eq!(made_once(&cluster).await, before);
    shell.run(&only("README.md", "kubectl -n shop get "));
    shell.run("helm uninstall gitops-reverser --namespace gitops-reverser");
    shell.run(&only("README.md", "helm "));
    shell.follow("docs/rbac.md");
    let key = Path::new("/tmp/gitops-reverser-deploy-key");
    let _ = std::fs::remove_file(key);
    shell.follow("docs/git-hosts.md");
    let _ = std::fs::remove_file(key);
    let _ = std::fs::remove_file(key.with_extension("pub"));
}
