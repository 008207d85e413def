//! The commands of pages, as a reader would run them.

// clippy.toml allows it in test functions only, not in what they share.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;

use e2e::cluster::Cluster;
use tests::assets::Tool;

/// A shell in the project's root that finds `helm`, `kubectl` and `grpcurl`, and this cluster.
pub(crate) struct Shell {
    tools: tempfile::TempDir,
    kubeconfig: PathBuf,
}

impl Shell {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let tools = tempfile::tempdir().unwrap();
        for tool in [Tool::Helm, Tool::Kubectl, Tool::Grpcurl] {
            let program = cluster.assets().get(tool).unwrap();
            std::os::unix::fs::symlink(program, tools.path().join(tool.name())).unwrap();
        }
        Self {
            tools,
            kubeconfig: cluster.kubeconfig_path().to_owned(),
        }
    }

    /// Runs the commands of a page in their order.
    pub(crate) fn follow(&self, page: &str) {
        for command in commands(page) {
            self.run(&command);
        }
    }

    /// Runs one command and returns what it wrote.
    pub(crate) fn run(&self, command: &str) -> String {
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
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn root() -> PathBuf {
    e2e::chart::directory().join("../..")
}

/// The commands of a page, from the project's root: each begins with `$ `, and goes on in the next line behind a `\`.
pub(crate) fn commands(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let text = text.replace("\\\n", " ");
    let commands = text.lines().filter_map(|line| line.strip_prefix("$ "));
    let commands: Vec<String> = commands.map(str::to_owned).collect();
    assert!(!commands.is_empty(), "{page} has no commands");
    commands
}
