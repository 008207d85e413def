//! The controllers of Flux, which apply a folder of a Git repository to a control plane of the test bed.

use anyhow::{Context, Result};

use crate::assets::Tool;
use crate::control_plane::ControlPlane;
use crate::net::free_port;
use crate::process::{Process, Spec, temp_dir};
use crate::reverser::apply_crds_of;

/// Where Flux itself lives, by its own convention.
const NAMESPACE: &str = "flux-system";

/// source-controller and kustomize-controller with all rights, as Flux is installed. Ended when dropped, and with the process at
/// the latest.
pub struct Flux {
    // Ended in this order.
    kustomize_controller: Process,
    source_controller: Process,
    _directory: tempfile::TempDir,
}

// === impl Flux ===

impl Flux {
    /// Builds both controllers, which takes minutes once, applies their CRDs, and starts them. They work a moment later.
    ///
    /// # Errors
    /// If a program can't be built or the apiserver refuses a CRD.
    pub async fn start(plane: &ControlPlane) -> Result<Self> {
        let assets = plane.assets().clone();
        let find = move || {
            let tools = [Tool::KustomizeController, Tool::SourceController];
            let found = tools.map(|tool| anyhow::Ok((assets.get(tool)?, assets.source(tool)?)));
            let [kustomize, source] = found;
            anyhow::Ok([kustomize?, source?])
        };
        let found = tokio::task::spawn_blocking(find).await.context("build")??;
        for (_, source) in &found {
            apply_crds_of(&plane.client(), &source.join("config/crd/bases")).await?;
        }
        let [(kustomize_controller, _), (source_controller, _)] = found;
        let directory = temp_dir("flux")?;
        let storage = format!("127.0.0.1:{}", free_port());
        // Each takes what it finds in the directory of temporary files for what it left there in an earlier life.
        let spec = |name, program| {
            let own = directory.path().join(name);
            std::fs::create_dir(&own).with_context(|| format!("make {}", own.display()))?;
            let spec = Spec::new(name, program, directory.path())
                .env("KUBECONFIG", plane.kubeconfig_path())
                .env("RUNTIME_NAMESPACE", NAMESPACE)
                .env("TMPDIR", own)
                .args(["--metrics-addr=0", "--health-addr=0"]);
            anyhow::Ok(spec)
        };
        let source_controller = spec("source-controller", source_controller)?
            .arg(format!(
                "--storage-path={}",
                directory.path().join("source-controller").display()
            ))
            .arg(format!("--storage-addr={storage}"))
            .arg(format!("--storage-adv-addr={storage}"))
            .spawn()?;
        let kustomize_controller = spec("kustomize-controller", kustomize_controller)?.spawn()?;
        Ok(Self {
            kustomize_controller,
            source_controller,
            _directory: directory,
        })
    }

    /// An error with the end of the log of who no longer runs.
    ///
    /// # Errors
    /// If one of them has ended.
    pub fn must_run(&mut self) -> Result<()> {
        self.source_controller.must_run()?;
        self.kustomize_controller.must_run()
    }
}
