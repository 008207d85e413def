//! The commands of pages in `docs/`, as a reader would run them.

// clippy.toml allows it in test functions only, not in what they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::cluster::Cluster;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use tests::assets::Tool;

/// A shell in the project's root that finds `helm` and `kubectl`, and this cluster.
struct Shell {
    tools: tempfile::TempDir,
    kubeconfig: PathBuf,
}

impl Shell {
    fn new(cluster: &Cluster) -> Self {
        let tools = tempfile::tempdir().unwrap();
        for tool in [Tool::Helm, Tool::Kubectl] {
            let program = cluster.assets().get(tool).unwrap();
            std::os::unix::fs::symlink(program, tools.path().join(tool.name())).unwrap();
        }
        Self {
            tools,
            kubeconfig: cluster.kubeconfig_path().to_owned(),
        }
    }

    /// Runs the commands of a page in their order.
    fn follow(&self, page: &str) {
        for command in commands(page) {
            self.run(&command);
        }
    }

    fn run(&self, command: &str) {
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", command])
            .current_dir(root())
            .env("PATH", format!("{}:{path}", self.tools.path().display()))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.tools.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
    }
}

fn root() -> PathBuf {
    e2e::chart::directory().join("../..")
}

fn commands(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
    let commands = text.lines().filter_map(|line| line.strip_prefix("$ "));
    let commands: Vec<String> = commands.map(str::to_owned).collect();
    assert!(!commands.is_empty(), "{page} has no commands");
    commands
}

/// What is random in a release, by Secret.
async fn made_once(cluster: &Cluster) -> BTreeMap<String, BTreeMap<String, ByteString>> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client().unwrap(), "gitops-reverser");
    let all = secrets.list(&ListParams::default()).await.unwrap();
    all.into_iter()
        .filter(|secret| secret.type_.as_deref() != Some("helm.sh/release.v1"))
        .map(|secret| (secret.name_any(), secret.data.unwrap_or_default()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn every_command_of_installing_upgrading_rights_and_credentials_works() {
    let cluster = Cluster::start().await.unwrap();
    let shell = Shell::new(&cluster);
    shell.follow("install.md");
    // It ends with the release's end: the redaction key alone is kept.
    let kept = made_once(&cluster).await;
    let names: Vec<_> = kept.keys().map(String::as_str).collect();
    assert_eq!(names, ["gitops-reverser-redaction-key", "my-redaction-key"]);

    shell.run(&commands("install.md")[0]);
    let before = made_once(&cluster).await;
    assert_eq!(
        before["gitops-reverser-redaction-key"],
        kept["gitops-reverser-redaction-key"]
    );
    assert_eq!(before.len(), 4, "{:?}", before.keys());
    shell.follow("upgrade.md");
    assert_eq!(made_once(&cluster).await, before);
    shell.follow("rbac.md");
    let key = Path::new("/tmp/gitops-reverser-deploy-key");
    let _ = std::fs::remove_file(key);
    shell.follow("git-hosts.md");
    let _ = std::fs::remove_file(key);
    let _ = std::fs::remove_file(key.with_extension("pub"));
}
