//! What the control plane's processes read: certificates, keys, the audit policy, kubeconfigs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::audit;
use super::kubeconfig::{Credential, Endpoint};
use crate::certs::{Authority, key_pair};

/// Everything that is written before the first process starts.
pub(super) struct Files {
    directory: PathBuf,
    pub(super) endpoint: Endpoint,
    pub(super) admin: Credential,
    /// Signs client certificates.
    pub(super) authority: Authority,
}

// === impl Files ===

impl Files {
    /// Writes a control plane's files for an apiserver on this port.
    pub(super) fn write(directory: &Path, apiserver_port: u16) -> Result<Self> {
        let authority = Authority::new("gitops-reverser-test")?;
        let serving = authority.server(
            "kube-apiserver",
            &[
                "127.0.0.1",
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "10.96.0.1",
            ],
        )?;
        let admin =
            Credential::Certificate(authority.client("kubernetes-admin", &["system:masters"])?);
        let manager =
            Credential::Certificate(authority.client("system:kube-controller-manager", &[])?);
        let front_proxy_authority = Authority::new("gitops-reverser-test-front-proxy")?;
        let front_proxy = front_proxy_authority.client("front-proxy-client", &[])?;
        let (token_key, token_public_key) = key_pair()?;
        let endpoint = Endpoint {
            url: format!("https://127.0.0.1:{apiserver_port}"),
            ca_pem: authority.pem(),
            ca_der: authority.der(),
        };
        let files = Self {
            directory: directory.to_owned(),
            endpoint,
            admin,
            authority,
        };
        for (name, contents) in [
            ("ca.crt", files.authority.pem()),
            ("ca.key", files.authority.key_pem()),
            ("apiserver.crt", serving.certificate),
            ("apiserver.key", serving.key),
            ("front-proxy-ca.crt", front_proxy_authority.pem()),
            ("front-proxy.crt", front_proxy.certificate),
            ("front-proxy.key", front_proxy.key),
            ("token.key", token_key),
            ("token.pub", token_public_key),
            ("audit-policy.json", audit::POLICY.to_owned()),
            ("admin.kubeconfig", files.endpoint.kubeconfig(&files.admin)),
            ("manager.kubeconfig", files.endpoint.kubeconfig(&manager)),
        ] {
            write_private(&files.path(name), &contents)?;
        }
        Ok(files)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// `--flag=/path/of/name`.
    pub(super) fn flag(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.path(name).display())
    }
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, contents: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(contents.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}
