//! A container from its image, by a container engine of this machine: `GITOPS_REVERSER_ENGINE=podman`.
//!
//! It is on the machine's network, as its ports are those of the test bed. Everything else is as a node has it: the image's
//! file system, read-only where the Deployment says so, its user, volumes at their own paths, and the in-cluster
//! configuration from the mounted ServiceAccount token.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Container, PodSecurityContext, SecurityContext, VolumeMount};
use kube::Config;
use tests::process::{Signal, Spec};

/// The command line of podman, or of what takes the same arguments.
#[derive(Clone, Debug)]
pub struct Engine(String);

/// A container that is removed when this is dropped, whatever became of the engine's own process.
#[derive(Debug)]
pub(crate) struct Started {
    engine: Engine,
    name: String,
}

// === impl Engine ===

impl Engine {
    /// That of the environment.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        std::env::var("GITOPS_REVERSER_ENGINE").ok().map(Self)
    }

    /// A container as an attached process: its output is the engine's, and so is its end.
    pub(crate) fn run(
        &self,
        container: &Container,
        pod: Option<&PodSecurityContext>,
        config: &Config,
        environment: &[(String, String)],
        mounts: &[(&VolumeMount, &Path)],
        logs: &Path,
    ) -> Result<(Spec, Started)> {
        let started = Started {
            engine: self.clone(),
            name: logs
                .file_name()
                .and_then(|name| name.to_str())
                .map(|name| format!("{name}-{}", container.name))
                .context("a directory for logs")?,
        };
        let mut spec = Spec::new(&container.name, &self.0, logs)
            .args([
                "run",
                "--rm",
                "--pull=never",
                "--network=host",
                "--log-driver=none",
                "--sig-proxy=false",
            ])
            .arg(format!("--name={}", started.name))
            .args(security(container.security_context.as_ref(), pod)?);
        let host = config.cluster_url.host().context("a host")?;
        let port = config.cluster_url.port_u16().unwrap_or(443);
        for (key, value) in [
            ("KUBERNETES_SERVICE_HOST", host.to_owned()),
            ("KUBERNETES_SERVICE_PORT", port.to_string()),
        ] {
            spec = spec.arg(format!("--env={key}={value}"));
        }
        for (key, value) in environment {
            spec = spec.arg(format!("--env={key}={value}"));
        }
        let group = pod.and_then(|pod| pod.fs_group);
        for (mount, directory) in mounts {
            if let Some(group) = group {
                give(directory, u32::try_from(group)?)?;
            }
            let mode = if mount.read_only == Some(true) {
                "ro"
            } else {
                "rw"
            };
            let path = &mount.mount_path;
            spec = spec.arg(format!("--volume={}:{path}:{mode}", directory.display()));
        }
        let mut args = container.args.clone().unwrap_or_default();
        if let Some((program, first)) = container.command.as_deref().and_then(<[_]>::split_first) {
            spec = spec.arg(format!("--entrypoint={program}"));
            args = [first, &args].concat();
        }
        let image = container.image.as_deref().context("an image")?;
        Ok((spec.arg(image).args(args), started))
    }
}

/// What the Deployment says of rights, in the engine's words.
fn security(
    container: Option<&SecurityContext>,
    pod: Option<&PodSecurityContext>,
) -> Result<Vec<String>> {
    let mut flags = Vec::new();
    let user = container
        .and_then(|it| it.run_as_user)
        .or(pod.and_then(|it| it.run_as_user));
    let group = container
        .and_then(|it| it.run_as_group)
        .or(pod.and_then(|it| it.run_as_group));
    if let Some(user) = user {
        flags.push(format!("--user={user}:{}", group.unwrap_or(user)));
    }
    let Some(container) = container else {
        return Ok(flags);
    };
    if container.read_only_root_filesystem == Some(true) {
        // podman would put memory at /tmp and /run otherwise.
        flags.extend([
            "--read-only".to_owned(),
            "--read-only-tmpfs=false".to_owned(),
        ]);
    }
    if container.allow_privilege_escalation == Some(false) {
        flags.push("--security-opt=no-new-privileges".to_owned());
    }
    if let Some(capabilities) = &container.capabilities {
        if capabilities.add.as_ref().is_some_and(|it| !it.is_empty()) {
            bail!("added capabilities have no counterpart here");
        }
        for capability in capabilities.drop.iter().flatten() {
            flags.push(format!("--cap-drop={capability}"));
        }
    }
    Ok(flags)
}

/// As the kubelet does by `fsGroup`: a volume is the group's, who may do in it what its owner may.
fn give(path: &Path, group: u32) -> Result<()> {
    lchown(path, None, Some(group)).with_context(|| format!("give {}", path.display()))?;
    let metadata = path.symlink_metadata()?;
    let mode = metadata.permissions().mode();
    std::fs::set_permissions(path, Permissions::from_mode(mode | ((mode & 0o700) >> 3)))?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), group)?;
        }
    }
    Ok(())
}

// === impl Started ===

impl Started {
    /// Sends a signal to its process, if that is still there. It takes some tenths of a second.
    pub(crate) fn signal(&self, signal: Signal) {
        let signal = signal.as_raw();
        self.tell(&["kill", &format!("--signal={signal}"), &self.name]);
    }

    fn tell(&self, args: &[&str]) {
        let _ = Command::new(&self.engine.0)
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Most have ended by themselves, and are removed.
        self.tell(&["rm", "--force", &self.name]);
    }
}
