//! The programs and how each is built.

use anyhow::{Context, Result};

/// A program that the test bed knows how to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// etcd, the store of the control plane.
    Etcd,
    /// kube-apiserver.
    KubeApiserver,
    /// kube-controller-manager: default ServiceAccounts, garbage collection, namespace deletion, Deployments.
    KubeControllerManager,
    /// kubectl, of the same version as the control plane.
    Kubectl,
    /// Helm, which renders the chart.
    Helm,
    /// grpcurl, which talks to the introspection API as an operator would.
    Grpcurl,
    /// sops, which decrypts what is written encrypted.
    Sops,
    /// age-keygen, which makes the keys for that.
    AgeKeygen,
    /// source-controller of Flux, which fetches repositories.
    SourceController,
    /// kustomize-controller of Flux, which applies what is in them.
    KustomizeController,
}

/// Which control plane tests run against: `GITOPS_REVERSER_KUBERNETES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kubernetes {
    /// The one that is developed against; nothing is set.
    Usual,
    /// `oldest`: the first whose webhooks have matchConditions.
    Oldest,
    /// `newest`: the last that there is.
    Newest,
}

// === impl Kubernetes ===

impl Kubernetes {
    /// # Panics
    /// If the variable says anything else: a run against the wrong one would prove nothing.
    fn chosen() -> Self {
        match std::env::var("GITOPS_REVERSER_KUBERNETES").as_deref() {
            Err(_) | Ok("") => Self::Usual,
            Ok("oldest") => Self::Oldest,
            Ok("newest") => Self::Newest,
            Ok(other) => panic!("GITOPS_REVERSER_KUBERNETES is oldest or newest, not {other}"),
        }
    }

    fn set(self) -> &'static str {
        match self {
            Self::Usual => "kubernetes",
            Self::Oldest => "kubernetes-oldest",
            Self::Newest => "kubernetes-newest",
        }
    }
}

// === impl Tool ===

impl Tool {
    /// The file name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::Grpcurl => "grpcurl",
            Self::Sops => "sops",
            Self::AgeKeygen => "age-keygen",
            Self::SourceController => "source-controller",
            Self::KustomizeController => "kustomize-controller",
        }
    }

    /// The directory below `tests/assets` whose go.mod pins it.
    pub(super) fn set(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver | Self::KubeControllerManager | Self::Kubectl => {
                Kubernetes::chosen().set()
            }
            Self::Helm => "helm",
            Self::Grpcurl => "grpcurl",
            Self::Sops | Self::AgeKeygen => "sops",
            Self::SourceController | Self::KustomizeController => "flux",
        }
    }

    /// The Go module whose version is the program's.
    pub(super) fn module(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver | Self::KubeControllerManager | Self::Kubectl => {
                "k8s.io/kubernetes"
            }
            Self::Helm => "helm.sh/helm/v3",
            Self::Grpcurl => "github.com/fullstorydev/grpcurl",
            Self::Sops => "github.com/getsops/sops/v3",
            Self::AgeKeygen => "filippo.io/age",
            Self::SourceController => "github.com/fluxcd/source-controller",
            Self::KustomizeController => "github.com/fluxcd/kustomize-controller",
        }
    }

    /// The Go package of its `main`.
    pub(super) fn package(self) -> String {
        match self {
            Self::Etcd | Self::SourceController | Self::KustomizeController => {
                self.module().to_owned()
            }
            _ => format!("{}/cmd/{}", self.module(), self.name()),
        }
    }

    /// Measured on two cores with nothing cached.
    pub(super) fn takes(self) -> &'static str {
        match self {
            Self::KubeApiserver => "6 minutes",
            Self::KubeControllerManager => "2 minutes after kube-apiserver's 6",
            Self::Helm | Self::Sops => "3 minutes",
            Self::Kubectl => "a minute after kube-apiserver's 6",
            Self::Etcd | Self::Grpcurl | Self::AgeKeygen => "a minute",
            Self::KustomizeController => "6 minutes",
            Self::SourceController => "3 minutes after kustomize-controller's 6",
        }
    }

    /// What the linker writes into the program, so that it tells its version (API clients and Helm rely on that).
    pub(super) fn linker_flags(self, go_mod: &str) -> Result<String> {
        let mut flags = "-s -w".to_owned();
        match self.set() {
            set if set.starts_with("kubernetes") => {
                let version = module_version(go_mod, self.module())?;
                let (major, minor) = major_minor(version)?;
                for (variable, value) in [
                    ("gitVersion", version),
                    ("gitMajor", major),
                    ("gitMinor", minor),
                ] {
                    flags.push_str(&format!(
                        " -X k8s.io/component-base/version.{variable}={value}"
                    ));
                }
            }
            "helm" => {
                // Helm's own Makefile does the same: without it charts see Kubernetes 1.20.
                let version = module_version(go_mod, self.module())?;
                flags.push_str(&format!(
                    " -X helm.sh/helm/v3/internal/version.version={version}"
                ));
                let (_, minor) = major_minor(module_version(go_mod, "k8s.io/client-go")?)?;
                for package in ["pkg/lint/rules", "pkg/chartutil"] {
                    flags.push_str(&format!(
                        " -X helm.sh/helm/v3/{package}.k8sVersionMajor=1 -X helm.sh/helm/v3/{package}.k8sVersionMinor={minor}"
                    ));
                }
            }
            "grpcurl" => {
                let version = module_version(go_mod, self.module())?;
                flags.push_str(&format!(" -X main.version={version}"));
            }
            _ => {}
        }
        Ok(flags)
    }
}

/// The version that go.mod requires of a module. Replaced modules count by their requirement.
pub(super) fn module_version<'a>(go_mod: &'a str, module: &str) -> Result<&'a str> {
    go_mod
        .lines()
        .filter(|line| !line.contains("=>"))
        .map(|line| line.trim().trim_start_matches("require "))
        .find_map(|line| {
            line.strip_prefix(module)?
                .strip_prefix(' ')?
                .split_whitespace()
                .next()
        })
        .with_context(|| format!("go.mod requires no {module}"))
}

/// `1` and `34` of `v1.34.4`.
fn major_minor(version: &str) -> Result<(&str, &str)> {
    let mut parts = version.trim_start_matches('v').split('.');
    parts
        .next()
        .zip(parts.next())
        .with_context(|| format!("{version} is no version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_required_not_the_one_of_a_longer_name() {
        let go_mod = "tool k8s.io/kubernetes/cmd/kubectl\nrequire (\n\tk8s.io/kubernetes/x v1.0.0\n\tk8s.io/kubernetes v1.34.4 // indirect\n)\n";
        assert_eq!(
            module_version(go_mod, "k8s.io/kubernetes").unwrap(),
            "v1.34.4"
        );
        assert_eq!(
            module_version("require a/b v2.0.0", "a/b").unwrap(),
            "v2.0.0"
        );
        assert!(module_version(go_mod, "k8s.io/api").is_err());
    }

    #[test]
    fn kubernetes_tells_the_version_of_its_module() {
        let flags = Tool::KubeApiserver
            .linker_flags("require k8s.io/kubernetes v1.34.4\n")
            .unwrap();
        assert_eq!(
            flags,
            "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4 \
             -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"
        );
    }
}
