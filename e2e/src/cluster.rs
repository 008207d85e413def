//! The cluster that the chart is installed on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tests::ControlPlane;
use tests::assets::Assets;
use tests::control_plane::AuditEvent;

/// A cluster and an administrator's way into it.
pub struct Cluster {
    config: Config,
    kubeconfig: PathBuf,
    assets: Assets,
    // Ends with this value where it is ours alone.
    plane: Option<ControlPlane>,
}

// === impl Cluster ===

impl Cluster {
    /// A control plane of one's own.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(tests::control_plane::Options::default()).await
    }

    /// A control plane of one's own, with further flags.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_with(options: tests::control_plane::Options) -> Result<Self> {
        let plane = ControlPlane::start(options).await?;
        let mut cluster = Self::at(plane.kubeconfig_path()).await?;
        cluster.plane = Some(plane);
        Ok(cluster)
    }

    /// The control plane that all tests of this process share.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn shared() -> Result<Self> {
        Self::at(ControlPlane::shared().await.kubeconfig_path()).await
    }

    /// The cluster of the current context of a kubeconfig file, which must give an administrator's rights.
    ///
    /// # Errors
    /// If the file can't be read or names no cluster.
    pub async fn at(kubeconfig: PathBuf) -> Result<Self> {
        tests::certs::install_crypto_provider();
        let file = Kubeconfig::read_from(&kubeconfig)
            .with_context(|| format!("read {}", kubeconfig.display()))?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .with_context(|| format!("use {}", kubeconfig.display()))?;
        Ok(Self {
            config,
            kubeconfig,
            assets: Assets::locate()?,
            plane: None,
        })
    }

    /// What its apiserver was asked, where it is ours alone.
    #[must_use]
    pub fn audit_log(&self) -> Vec<AuditEvent> {
        self.plane
            .as_ref()
            .map(ControlPlane::audit_log)
            .unwrap_or_default()
    }

    /// Whether it ends with us, so that nothing on it needs to be cleaned up.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.plane.is_some()
    }

    /// How an administrator connects.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same, as a file.
    #[must_use]
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// The programs that go with the control plane.
    #[must_use]
    pub fn assets(&self) -> &Assets {
        &self.assets
    }

    /// An administrator's client.
    ///
    /// # Errors
    /// If the configuration is not usable.
    pub fn client(&self) -> Result<Client> {
        Client::try_from(self.config.clone()).context("make a client")
    }

    /// A client that acts as a user, impersonated, with that user's rights and no more.
    ///
    /// # Errors
    /// If the configuration is not usable.
    pub fn client_as(&self, user: &str, groups: &[&str]) -> Result<Client> {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups =
            Some(groups.iter().map(ToString::to_string).collect());
        Client::try_from(config).with_context(|| format!("make a client for {user}"))
    }
}
