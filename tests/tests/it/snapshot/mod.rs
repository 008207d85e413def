//! `gitops-reverser snapshot`: the real binary, a real cluster without anything of ours in it, and real Git.

mod away;
mod diff;
mod documented;
mod forbidden;
mod markers;
mod meanwhile;
mod operator;
mod refusals;
mod remotes;
mod secrets;
mod write;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::{Api, Client};
use serde_json::json;
use tests::control_plane::{ControlPlane, Options};
use tests::git::{GitServer, HttpOptions, Repo};
use tests::process::{MARK_VARIABLE, mark};
use tests::reverser::Binaries;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::lab::{PASSWORD, USER};

/// Where snapshots are written.
const FOLDER: &str = "clusters/lab";

/// A control plane on which none of our custom resources is defined; of snapshots of single namespaces.
async fn bare() -> &'static ControlPlane {
    static BARE: OnceCell<ControlPlane> = OnceCell::const_new();
    BARE.get_or_init(|| async { ControlPlane::start(Options::default()).await.unwrap() })
        .await
}

/// A namespace, a repository, and files to log in to it.
struct Site<'a> {
    plane: &'a ControlPlane,
    server: GitServer,
    repo: Repo,
    namespace: String,
    directory: tempfile::TempDir,
}

impl<'a> Site<'a> {
    async fn on(plane: &'a ControlPlane, name: &str) -> Self {
        let server = GitServer::https(HttpOptions::basic(USER, PASSWORD)).unwrap();
        let site = Self {
            plane,
            repo: server.create_repo(name),
            namespace: plane.create_namespace(name).await,
            directory: tempfile::tempdir().unwrap(),
            server,
        };
        let credentials = site.credentials();
        std::fs::create_dir(&credentials).unwrap();
        let ca = site.server.ca_pem();
        for (key, value) in [("username", USER), ("password", PASSWORD), ("ca.crt", ca)] {
            std::fs::write(credentials.join(key), value).unwrap();
        }
        site
    }

    fn credentials(&self) -> PathBuf {
        self.directory.path().join("credentials")
    }

    /// Of the whole cluster.
    async fn everything(&self, flags: &[&str]) -> Said {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        self.command().await.flags(&flags).run().await
    }

    /// Of the namespace.
    async fn snapshot(&self, flags: &[&str]) -> Said {
        let namespace = format!("--namespace={}", self.namespace);
        let flags = [&[namespace.as_str()], flags].concat();
        self.everything(&flags).await
    }

    /// With repository, folder, kubeconfig and credentials.
    async fn command(&self) -> Snapshot {
        let flags = [
            format!("--repo={}", self.repo.url()),
            format!("--folder={FOLDER}"),
            format!("--kubeconfig={}", self.plane.kubeconfig_path().display()),
            format!("--credentials-dir={}", self.credentials().display()),
        ];
        Snapshot::new(self.directory.path()).await.flags(&flags)
    }

    fn client(&self) -> Client {
        self.plane.client()
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client(), &self.namespace)
    }

    /// Where a ConfigMap's file stands.
    fn map_file(&self, name: &str) -> String {
        self.file("configmaps", name)
    }

    /// Where the file of an object of the core group stands.
    fn file(&self, resource: &str, name: &str) -> String {
        format!("{FOLDER}/v1/{resource}/{}/{name}.yaml", self.namespace)
    }

    async fn service(&self, name: &str) {
        let service: Service = serde_json::from_value(
            json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}),
        )
        .unwrap();
        let api: Api<Service> = Api::namespaced(self.client(), &self.namespace);
        crate::lab::create(&api, &service).await;
    }
}

/// The subcommand, with nothing in its environment that it could find a cluster or a key by.
struct Snapshot {
    command: Command,
}

/// How it ended.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Snapshot {
    async fn new(directory: &Path) -> Self {
        let binaries = tokio::task::spawn_blocking(Binaries::get)
            .await
            .unwrap()
            .unwrap();
        let temporary = directory.join("tmp");
        std::fs::create_dir_all(&temporary).unwrap();
        let mut command = Command::new(binaries.reverser);
        command
            .arg("snapshot")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", directory)
            .env("TMPDIR", &temporary)
            .env(MARK_VARIABLE, mark().split_once('=').unwrap().1)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Self { command }
    }

    fn flags<S: AsRef<std::ffi::OsStr>>(mut self, flags: &[S]) -> Self {
        self.command.args(flags);
        self
    }

    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    async fn run(mut self) -> Said {
        let output = self.command.output().await.unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    #[track_caller]
    fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// The lines of standard output.
    fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }

    /// That it is one line, which says what is wrong.
    #[track_caller]
    fn refusal(&self) -> &str {
        assert_eq!(self.code, 2, "{}\n{}", self.out, self.err);
        assert_eq!(self.out, "");
        let error = self
            .err
            .strip_prefix("error: ")
            .unwrap_or_else(|| panic!("{}", self.err));
        assert_eq!(error.lines().count(), 1, "{error}");
        error.trim_end()
    }
}
