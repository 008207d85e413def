//! What the documentation tells people to type works as it says.

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::Api;
use serde_json::json;
use tests::assets::Tool;
use tests::control_plane::{ControlPlane, Options};
use tests::git::{GitServer, HttpOptions, Repo};
use tests::reverser::Binaries;
use tokio::process::Command;

use super::Said;
use crate::lab::{create, map, ssh_server};

const URL: &str = "https://git.example.com/team/cluster.git";
const SSH_URL: &str = "ssh://git@git.example.com/team/cluster.git";

fn read(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(file)).unwrap()
}

/// What is typed in each console block that takes snapshots, and what is printed there.
fn blocks(text: &str) -> Vec<(String, Vec<String>)> {
    let blocks = text.split("```console\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let mut found = Vec::new();
    for block in blocks.filter(|block| block.contains("gitops-reverser snapshot")) {
        let (mut typed, mut printed, mut goes_on) = (String::new(), Vec::new(), false);
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                None if !goes_on => printed.push(line.to_owned()),
                typing => {
                    typed.push_str(typing.unwrap_or(line));
                    typed.push('\n');
                    goes_on = line.ends_with('\\');
                }
            }
        }
        found.push((typed, printed));
    }
    found
}

/// A terminal in a directory of its own.
struct Terminal<'a> {
    plane: &'a ControlPlane,
    repo: Repo,
    path: std::ffi::OsString,
    directory: tempfile::TempDir,
}

impl Terminal<'_> {
    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn types(&self, text: &str, ssh: Option<&str>) -> Said {
        let text = text
            .replace(SSH_URL, ssh.unwrap_or(SSH_URL))
            .replace(URL, self.repo.url());
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &text])
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.directory.path())
            .env("KUBECONFIG", self.at("kubeconfig"))
            .env("GITOPS_REVERSER_GIT_USERNAME", "bot")
            .env("GITOPS_REVERSER_GIT_PASSWORD", "a-token")
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    async fn namespace(&self, name: &str) {
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        create(&Api::all(self.plane.client()), &namespace).await;
    }

    /// A folder as the operator keeps it, with the key in the Secret of the chart.
    async fn of_operator(&self, folder: &str) {
        let key = "0123456789abcdefghijklmnopqrstuvwxyz";
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "gitops-reverser-redaction-key"}, "stringData": {"key": key},
        }))
        .unwrap();
        self.namespace("gitops-reverser").await;
        create(
            &Api::namespaced(self.plane.client(), "gitops-reverser"),
            &secret,
        )
        .await;
        std::fs::write(self.at("key"), key).unwrap();
        let write = format!(
            "gitops-reverser snapshot --redaction-key-file key --repo {URL} --folder {folder}"
        );
        self.types(&write, None).await.ended(0);
        let marker = format!("{folder}/.gitops-reverser");
        let ours = String::from_utf8(self.repo.file(&marker).unwrap()).unwrap();
        let theirs = ours.replace("destination: snapshot", "destination: shop/cluster");
        self.repo.commit_as_outsider(&marker, theirs);
    }
}

async fn deploy(plane: &ControlPlane, replicas: u32) {
    let api: Api<Deployment> = Api::namespaced(plane.client(), "shop");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "registry.example.com/web:1"}]},
            },
        },
    });
    let apply = kube::api::PatchParams::apply("test");
    api.patch("web", &apply, &kube::api::Patch::Apply(deployment))
        .await
        .unwrap();
}

#[tokio::test]
async fn every_command_works_as_it_stands_there() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let server = GitServer::http(HttpOptions::basic("bot", "a-token")).unwrap();
    let assets = plane.assets().clone();
    let programs = tokio::task::spawn_blocking(move || {
        [
            Binaries::get().unwrap().reverser,
            assets.get(Tool::Kubectl).unwrap(),
        ]
    });
    let system = std::env::var_os("PATH").unwrap_or_default();
    let directories = programs.await.unwrap().map(|program| {
        let directory = program.parent().unwrap();
        directory.canonicalize().unwrap()
    });
    let directories = directories
        .into_iter()
        .chain(std::env::split_paths(&system));
    let terminal = Terminal {
        plane: &plane,
        repo: server.create_repo("cluster"),
        path: std::env::join_paths(directories).unwrap(),
        directory: tempfile::tempdir().unwrap(),
    };
    // Its context is called as in the documentation.
    let kubeconfig = std::fs::read_to_string(plane.kubeconfig_path()).unwrap();
    let kubeconfig = kubeconfig.replace("\"test\"", "\"prod\"");
    std::fs::write(terminal.at("kubeconfig"), kubeconfig).unwrap();
    for name in ["shop", "shop-db"] {
        terminal.namespace(name).await;
    }
    deploy(&plane, 1).await;

    let text = read("docs/snapshot.md");
    let blocks_of_page = blocks(&text);
    let [first, diff, operator, selected, ssh] = blocks_of_page.as_slice() else {
        panic!("{blocks_of_page:?}")
    };
    let said = terminal.types(&first.0, None).await.ended(0);
    assert!(said.err.contains(&first.1[0]), "{}", said.err);
    let words = |line: &str| -> String {
        line.chars()
            .filter(|c| c.is_alphabetic() || ",;: ".contains(*c))
            .collect()
    };
    let without_commit = |line: &str| words(line.split(" pushed").next().unwrap());
    assert_eq!(without_commit(&said.out), without_commit(&first.1[1]));
    let subject = terminal.repo.log().pop().unwrap().subject;
    assert!(
        subject.starts_with("Snapshot of cluster prod: "),
        "{subject}"
    );

    deploy(&plane, 2).await;
    let maps: Api<ConfigMap> = Api::namespaced(plane.client(), "shop");
    create(&maps, &map("by-hand", "k", "v")).await;
    let said = terminal.types(&diff.0, None).await.ended(1);
    let (last, differences) = diff.1.split_last().unwrap();
    assert_eq!(said.lines(), differences);
    assert_eq!(words(said.err.lines().last().unwrap()), words(last));

    terminal.of_operator("clusters/live").await;
    let said = terminal.types(&operator.0, None).await.ended(0);
    assert_eq!(said.out, "");

    terminal.types(&selected.0, None).await.ended(0);
    let branch = terminal.repo.log_of("snapshots");
    assert_eq!(branch.last().unwrap().subject, "Before the upgrade");
    let files = terminal.repo.files();
    assert!(
        files.contains(&"clusters/shop/apps/v1/deployments/shop/web.yaml".to_owned()),
        "{files:?}"
    );

    if let Some(server) = ssh_server() {
        let repo = server.create_repo("cluster");
        std::fs::write(terminal.at("id_ed25519"), server.private_key_pem()).unwrap();
        std::fs::write(terminal.at("checked_known_hosts"), server.known_hosts()).unwrap();
        terminal.types(&ssh.0, Some(repo.url())).await.ended(0);
        assert!(repo.head().is_some());
    }

    let readme = blocks(&read("README.md"));
    let [(typed, _)] = readme.as_slice() else {
        panic!("{readme:?}")
    };
    terminal.types(typed, None).await.ended(0);
    // The job of the CI example.
    let readme = read("README.md");
    let job = readme
        .lines()
        .find_map(|line| line.trim().strip_prefix("- run: gitops-reverser "))
        .unwrap();
    let job = format!("gitops-reverser {job}");
    terminal.types(&job, None).await.ended(0);
    create(&maps, &map("drifted", "k", "v")).await;
    terminal.types(&job, None).await.ended(1);
}

#[test]
fn every_flag_has_its_line() {
    let text = read("docs/snapshot.md");
    let command = reverser::args::Args::command();
    let command = command.find_subcommand("snapshot").unwrap();
    let flags: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .filter(|flag| *flag != "help")
        .map(|flag| format!("`--{flag}`"))
        .collect();
    assert!(flags.len() > 15, "{flags:?}");
    let table: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `--"))
        .collect();
    for flag in flags {
        assert!(table.iter().any(|line| line.contains(&flag)), "{flag}");
    }
}
