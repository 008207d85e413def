//! The real kubectl, as a person would call it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tests::ControlPlane;
use tests::assets::Tool;

pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    /// What it keeps of discovery; each control plane has its own.
    cache: tempfile::TempDir,
}

/// What it said.
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

// === impl Kubectl ===

impl Kubectl {
    pub(crate) async fn of(plane: &ControlPlane) -> Self {
        let assets = plane.assets().clone();
        let program = tokio::task::spawn_blocking(move || assets.get(Tool::Kubectl).unwrap())
            .await
            .unwrap();
        Self {
            program,
            kubeconfig: plane.kubeconfig_path(),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) async fn run(&self, args: &[&str], file: Option<&Path>) -> Said {
        let mut command = Command::new(&self.program);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(self.cache.path())
            .args(args)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null());
        if let Some(file) = file {
            command.arg("-f").arg(file);
        }
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said {
            success: output.status.success(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}
