//! A cluster, exported, restored into an empty one from the files alone, exported again: the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::control_plane::{self, ControlPlane};
use tests::eventually::eventually;
use tests::git::{GitClient, GitServer};
use tests::reverser;

use crate::PATIENCE;
use crate::corpus::{self, NOT_BY_PLAIN_APPLY, NOT_BY_SERVER_SIDE_APPLY};
use crate::export::{Cluster, FOLDER, established, identity_of, server};
use crate::kubectl::Kubectl;
use crate::served::{self, Served, text, type_of};

/// What is not exported at all, and why.
const NOT_SELECTED: &[(&str, &str)] = &[
    ("events", "says what happened"),
    ("events.events.k8s.io", "the same objects once more"),
    (
        "clusterwatchrules.configbutler.ai",
        "another destination of the same cluster",
    ),
    ("gitdestinations.configbutler.ai", "likewise"),
    ("gitrepoconfigs.configbutler.ai", "likewise"),
    ("watchrules.configbutler.ai", "likewise"),
];

/// Files that are not restored and not compared, by the beginning of their path below the folder, and why.
const NOT_COMPARED: &[(&str, &str)] = &[(
    "admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gitops-reverser-",
    "the test bed's own webhook: another port and authority each time",
)];

/// Conflicts of server-side apply on an object that is there already, and why. `--force-conflicts` is for whoever means it.
const CONFLICTS: [(&str, &str); 2] = [
    (
        "Apply failed with 1 conflict: conflict with \"kube-controller-manager\" using v1: .spec.taints",
        "a Node's taints are one field, which the node controller writes as well as the person",
    ),
    (
        "Apply failed with 1 conflict: conflict with \"kubectl-create\" using apps/v1: .spec.volumeClaimTemplates",
        "the templates are one field, in which the apiserver fills in a status",
    ),
];

/// How often everything is applied at most: what comes too early is applied again, as the documentation says.
const PASSES: usize = 4;

type Files = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ServerSide,
    Plain,
}

// === impl Way ===

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::ServerSide => "server-side",
            Self::Plain => "plain",
        }
    }

    fn args(self) -> &'static [&'static str] {
        match self {
            Self::ServerSide => &["apply", "--server-side", "--recursive"],
            Self::Plain => &["apply", "--recursive"],
        }
    }

    fn cannot(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::ServerSide => &NOT_BY_SERVER_SIDE_APPLY,
            Self::Plain => &NOT_BY_PLAIN_APPLY,
        }
    }

    fn takes(self, content: &[u8]) -> bool {
        let object = manifest::parse(content).unwrap();
        let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
        !self.cannot().contains(&(kind, name))
    }
}

async fn selected(cluster: &Cluster) -> Vec<Served> {
    let mut types = served::all(&cluster.client()).await;
    types.retain(|served| !NOT_SELECTED.iter().any(|(name, _)| *name == served.name()));
    types
}

fn is_compared(path: &str) -> bool {
    let below = path
        .strip_prefix(FOLDER)
        .and_then(|path| path.strip_prefix('/'))
        .unwrap();
    !NOT_COMPARED
        .iter()
        .any(|(prefix, _)| below.starts_with(prefix))
}

/// A cluster with everything in it, as alice made it while it was watched.
async fn filled(server: &GitServer) -> (Cluster, Vec<Served>, Files) {
    let cluster = Cluster::start(
        server,
        "first",
        control_plane::Options::default(),
        reverser::Options::default(),
    )
    .await;
    let alice = cluster.user("alice");
    let everything = served::all(&alice).await;
    for object in corpus::types() {
        served::create(&alice, type_of(&everything, &object), &object).await;
        if object["kind"] == "CustomResourceDefinition" {
            established(&alice, &object).await;
        }
    }
    let types = selected(&cluster).await;
    cluster.select("all", &types).await;
    let everything = served::all(&alice).await;
    for object in corpus::objects() {
        served::create(&alice, type_of(&everything, &object), &object).await;
    }
    let files = cluster.exported(&types).await;
    (cluster, types, files)
}

/// A clone of what was pushed, and the folder in it.
async fn clone(cluster: &Cluster, client: &GitClient) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let (repo, client) = (cluster.repo.clone(), client.clone());
    let clone = directory.path().join("clone");
    let to = clone.clone();
    tokio::task::spawn_blocking(move || repo.clone_to(&to, &client).unwrap())
        .await
        .unwrap();
    (directory, clone.join(FOLDER))
}

/// What docs/manifests.md applies before all of it. Its commands are those of [`Way::ServerSide`].
fn documented() -> [String; 2] {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manifests.md");
    let page = std::fs::read_to_string(page).unwrap();
    let commands = page.lines().filter_map(|line| line.strip_prefix("$ "));
    let command = format!(
        "kubectl {} -f clusters/prod",
        Way::ServerSide.args().join(" ")
    );
    let folder = |line: &str| {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        let folder = line.strip_prefix(&command).unwrap();
        folder.trim_start_matches('/').to_owned()
    };
    let [types, namespaces, all]: [String; 3] =
        commands.map(folder).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(all, "");
    [types, namespaces]
}

/// An empty control plane, given the files in the order that the documentation names.
async fn restore(way: Way, folder: &Path) -> ControlPlane {
    let plane = ControlPlane::start(control_plane::Options::default())
        .await
        .unwrap();
    let kubectl = Kubectl::of(&plane).await;
    for first in documented() {
        let said = kubectl.run(way.args(), Some(&folder.join(&first))).await;
        assert!(said.success, "{}: {first}: {}", way.name(), said.stderr);
    }
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=60s",
    ];
    let said = kubectl.run(&wait, None).await;
    assert!(said.success, "{}", said.stderr);
    for pass in 1..=PASSES {
        let said = kubectl.run(way.args(), Some(folder)).await;
        eprintln!(
            "restored by {} apply, pass {pass}: {} objects, errors: {:?}",
            way.name(),
            said.stdout.lines().count(),
            errors(&said.stderr)
        );
        if unknown_errors(&said.stderr).is_empty() {
            return plane;
        }
        assert!(pass < PASSES, "{}: {}", way.name(), said.stderr);
    }
    unreachable!("the last pass returns or fails")
}

/// What kubectl complained about, without its advice on conflicts.
fn errors(stderr: &str) -> Vec<&str> {
    let advice = [
        "Please review ",
        "are the ways ",
        "* If you ",
        "* You may ",
        "  ",
        "See https:",
    ];
    stderr
        .lines()
        .filter(|line| !line.starts_with("Warning:"))
        .filter(|line| !advice.iter().any(|start| line.starts_with(start)))
        .collect()
}

fn unknown_errors(stderr: &str) -> Vec<&str> {
    let mut errors = errors(stderr);
    errors.retain(|line| !CONFLICTS.iter().any(|(known, _)| line.ends_with(known)));
    errors
}

/// Restores, exports and compares. Returns how many files are equal.
async fn round(
    way: Way,
    server: &GitServer,
    client: &GitClient,
    first: (&Cluster, &Files),
) -> usize {
    let (_directory, folder) = clone(first.0, client).await;
    let mut wanted = first.1.clone();
    wanted.retain(|path, content| {
        let kept = is_compared(path) && way.takes(content);
        if !kept {
            let below = path.strip_prefix(FOLDER).unwrap().trim_start_matches('/');
            std::fs::remove_file(folder.join(below)).unwrap();
        }
        kept
    });
    let left = first.1.len() - wanted.len();
    assert_eq!(
        left,
        way.cannot().len() + NOT_COMPARED.len(),
        "each exception is one file"
    );
    let plane = restore(way, &folder).await;
    let options = reverser::Options {
        register_webhook: false,
        ..reverser::Options::default()
    };
    let second = Cluster::on(plane, server, way.name(), options).await;
    let types = selected(&second).await;
    second.select("all", &types).await;
    // Controllers may still be at work: bind claims, gather roles.
    eventually(PATIENCE, || async {
        let files = second.exported(&types).await;
        let (wanted, files): (BTreeSet<_>, BTreeSet<_>) =
            (wanted.iter().collect(), files.iter().collect());
        let differences: Vec<String> = wanted
            .symmetric_difference(&files)
            .map(|(path, content)| {
                format!(
                    "{path}\n{}",
                    String::from_utf8_lossy(&content[..content.len().min(3000)])
                )
            })
            .collect();
        if differences.is_empty() {
            Ok(())
        } else {
            Err(format!("{}: {}", way.name(), differences.join("\n")))
        }
    })
    .await;
    second.reverser.must_run().unwrap();
    wanted.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_restored_from_its_export_exports_the_same_bytes() {
    let server = server();
    let client = server.git_client();
    let (first, types, files) = filled(&server).await;
    let kinds: BTreeSet<String> = files
        .values()
        .map(|content| {
            let identity = identity_of(&types, content);
            format!("{}.{}", identity.resource, identity.group)
        })
        .collect();
    let bytes: usize = files.values().map(Vec::len).sum();
    eprintln!(
        "exported: {} files of {} types, {} KiB; {} types were selected",
        files.len(),
        kinds.len(),
        bytes / 1024,
        types.len()
    );
    let without: Vec<String> = types
        .iter()
        .map(|served| format!("{}.{}", served.resource, served.group))
        .filter(|name| !kinds.contains(name))
        .collect();
    assert!(without.is_empty(), "no file of these types: {without:?}");
    let (by_server, plain) = tokio::join!(
        round(Way::ServerSide, &server, &client, (&first, &files)),
        round(Way::Plain, &server, &client, (&first, &files)),
    );
    eprintln!(
        "byte-equal after a round trip: {by_server} files by server-side apply ({} can't), {plain} by plain apply ({} can't)",
        NOT_BY_SERVER_SIDE_APPLY.len(),
        NOT_BY_PLAIN_APPLY.len()
    );
    accepted_by_a_dry_run(&first, &client, &files).await;
    redacted_secrets_are_refused(&first, &types).await;
    first.reverser.must_run().unwrap();
    first.repo.fsck().unwrap();
}

/// What is exported conflicts with nothing that is there, and what is said to be refused is.
async fn accepted_by_a_dry_run(first: &Cluster, client: &GitClient, files: &Files) {
    let (_directory, folder) = clone(first, client).await;
    let kubectl = Kubectl::of(&first.plane).await;
    let mut refused = 0;
    for (path, content) in files {
        let file = folder.join(path.strip_prefix(FOLDER).unwrap().trim_start_matches('/'));
        for (way, reason) in [(Way::ServerSide, "yaml"), (Way::Plain, "Too long")] {
            // A null is taken, and gone the second time.
            if way.takes(content) || (way == Way::Plain && path.contains("/round.test/")) {
                continue;
            }
            let args = [way.args(), &["--dry-run=server"]].concat();
            let said = kubectl.run(&args, Some(&file)).await;
            let is_so = !said.success && said.stderr.contains(reason);
            assert!(is_so, "{path}: {}{}", said.stdout, said.stderr);
            refused += 1;
        }
        if !Way::ServerSide.takes(content) {
            std::fs::remove_file(file).unwrap();
        }
    }
    assert_eq!(refused, 3);
    let args = ["apply", "--server-side", "--dry-run=server", "--recursive"];
    let said = kubectl.run(&args, Some(&folder)).await;
    assert_eq!(unknown_errors(&said.stderr), [""; 0]);
    let objects = said.stdout.lines().count();
    eprintln!("accepted by a dry run on the server, without forcing conflicts: {objects} files");
    let left = NOT_BY_SERVER_SIDE_APPLY.len() + CONFLICTS.len();
    assert_eq!(objects, files.len() - left);
}

async fn redacted_secrets_are_refused(first: &Cluster, types: &[Served]) {
    let secrets: Vec<Served> = types
        .iter()
        .filter(|served| served.name() == "secrets")
        .cloned()
        .collect();
    first.destination("redacted", "redacted", "Redact").await;
    first.select("redacted", &secrets).await;
    let wanted = first.wanted(&secrets).await.len();
    let redacted = eventually(PATIENCE, || async {
        let mut files = first.repo.contents();
        files.retain(|path, _| path.starts_with("redacted/") && path.ends_with(".yaml"));
        if files.len() == wanted {
            Ok(files)
        } else {
            Err(format!("{} of {wanted} Secrets", files.len()))
        }
    })
    .await;
    let kubectl = Kubectl::of(&first.plane).await;
    let directory = tempfile::tempdir().unwrap();
    let mut refused = 0;
    for (path, content) in &redacted {
        let object: Value = manifest::parse(content).unwrap();
        assert!(
            object["data"]
                .as_object()
                .is_some_and(|data| !data.is_empty()),
            "{path}"
        );
        let file = directory.path().join("secret.yaml");
        std::fs::write(&file, content).unwrap();
        for args in [
            &[
                "apply",
                "--server-side",
                "--force-conflicts",
                "--dry-run=server",
            ][..],
            &["apply", "--dry-run=server"],
        ] {
            let said = kubectl.run(args, Some(&file)).await;
            assert!(
                !said.success,
                "{path} is taken by {args:?}: {}",
                said.stdout
            );
            assert!(said.stderr.contains("base64"), "{path}: {}", said.stderr);
        }
        refused += 1;
    }
    eprintln!("refused: {refused} redacted Secrets, each in both ways of applying");
}
