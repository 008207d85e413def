//! Secret values reach Git only where somebody asked for it, and nothing else ever.

mod encrypted;
mod flux;
mod plain;
mod redacted;
mod sops;
mod switched;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use reverser::api::{GitDestination, GitRepoConfig, WatchRule};
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::net::http_get;
use tests::reverser::Reverser;

use crate::grpcurl::Grpcurl;
use crate::lab::{FOLDER, Lab, PASSWORD, PATIENCE, create, map};

/// Not a substring of anything else.
const VALUES: [&str; 3] = [
    "Tr0ub4dor-and-3-stapled",
    "c0rrect-h0rse-battery",
    "Xkcd-936-wa5-right",
];

fn path(lab: &Lab<'_>, name: &str) -> String {
    format!("{FOLDER}/v1/secrets/{}/{name}.yaml", lab.namespace)
}

/// Every object of a repository, whether anything leads to it or not.
const EVERY_OBJECT: [&str; 3] = ["cat-file", "--batch", "--batch-all-objects"];

/// No object that the remote or a clone has ever held has a value in it, and no other file of the work directory.
fn assert_never_in_git(lab: &Lab<'_>, reverser: &Reverser) {
    let objects = lab.repo.git(&EVERY_OBJECT).unwrap();
    assert_hides(&objects, "the repository");
    assert!(objects.contains("configmaps"), "nothing was looked through");
    let mut clones = 0;
    let mut directories = vec![reverser.work_dir()];
    while let Some(directory) = directories.pop() {
        // The reverser works meanwhile: what is gone by now holds nothing.
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        if directory.join("HEAD").is_file() && directory.join("objects").is_dir() {
            let git = std::process::Command::new("git")
                .arg("-C")
                .arg(&directory)
                .args(EVERY_OBJECT)
                .output()
                .unwrap();
            assert_hides(&String::from_utf8_lossy(&git.stdout), "a clone");
            clones += 1;
        }
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                assert_hides(&String::from_utf8_lossy(&bytes), &path.to_string_lossy());
            }
        }
    }
    assert!(clones > 0, "there is no clone");
}

fn assert_hides(text: &str, place: &str) {
    for value in VALUES.into_iter().chain([PASSWORD]) {
        for form in [value.to_owned(), BASE64.encode(value)] {
            if let Some(line) = text.lines().find(|line| line.contains(&form)) {
                let begin: String = line.chars().take(200).collect();
                panic!("{place} holds {form}: {begin}");
            }
        }
    }
}

/// Everything that an operator or a user of the cluster can read of us.
async fn assert_hidden(lab: &Lab<'_>, reverser: &Reverser, grpcurl: &Grpcurl) {
    let [of_reverser, of_webhook] = reverser.logs();
    assert_hides(&of_reverser, "the reverser's log");
    assert_hides(&of_webhook, "the webhook's log");
    for address in reverser.metrics_addresses() {
        let (_, metrics) = http_get(address, "/metrics").await.unwrap();
        assert_hides(&metrics, address);
    }
    for (method, request) in [
        ("GetStatus", json!({})),
        ("ListWatches", json!({})),
        ("ListWorkers", json!({})),
        ("ListPendingAttributions", json!({"limit": 10_000})),
        (
            "Explain",
            json!({"resource": "secrets", "namespace": lab.namespace, "name": "one"}),
        ),
    ] {
        let answer = grpcurl.ask(method, request).await;
        assert_hides(&answer.to_string(), method);
    }
    for resource in [
        kube::api::ApiResource::erase::<GitRepoConfig>(&()),
        kube::api::ApiResource::erase::<GitDestination>(&()),
        kube::api::ApiResource::erase::<WatchRule>(&()),
    ] {
        let api: Api<DynamicObject> = Api::all_with(lab.client.clone(), &resource);
        let objects = api.list(&ListParams::default()).await.unwrap();
        assert_hides(
            &serde_json::to_string(&objects.items).unwrap(),
            &resource.kind,
        );
    }
    let events: Api<Event> = Api::all(lab.client.clone());
    let events = events.list(&ListParams::default()).await.unwrap();
    assert_hides(&serde_json::to_string(&events.items).unwrap(), "an Event");
}

fn secret(name: &str, values: [&str; 2], note: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "annotations": {"note": note}},
        "data": {"password": BASE64.encode(values[0]), "token": BASE64.encode(values[1])},
    })
}

/// Under a rule that never changes or deletes a file: Secrets in the clear, of which one is gone from the cluster.
async fn plain_and_created_only(lab: &Lab<'_>) {
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.destination("all", json!({"secretPolicy": "Plain"}))
        .await;
    lab.rule(
        "rule",
        json!([{"resources": ["secrets", "configmaps"], "operations": ["CREATE"]}]),
    )
    .await;
    lab.ready::<WatchRule>("rule").await;
    lab.write_secret("alice", "one", "1").await;
    lab.write_secret("alice", "gone", "1").await;
    create(&lab.maps("alice"), &map("kept", "k", "1")).await;
    lab.secret_file("one", note("1")).await;
    lab.secret_file("gone", note("1")).await;
    lab.holds("kept", "k", "1").await;
    lab.delete_secret("bob", "gone").await;
}

/// Two changes, of `one` and of a new Secret `late`, that are committed, refused by the server, and there when the process is killed.
async fn refused_and_killed(lab: &Lab<'_>, reverser: &Reverser, grpcurl: &Grpcurl) {
    lab.repo
        .install_hook("pre-receive", "#!/bin/sh\necho no >&2\nexit 1\n");
    lab.apply_secret("bob", "one", secret("one", [VALUES[2], VALUES[1]], "2"))
        .await;
    lab.apply_secret("bob", "late", secret("late", [VALUES[0], VALUES[2]], "2"))
        .await;
    lab.condition::<GitDestination>("all", |ready| ready["status"] == "False")
        .await;
    assert_never_in_git(lab, reverser);
    assert_hidden(lab, reverser, grpcurl).await;
    reverser.kill9_reverser();
    assert_never_in_git(lab, reverser);
    reverser.restart_reverser().await.unwrap();
    lab.repo.remove_hook("pre-receive");
}

/// The Secret `late` is deleted, and then its file; still nothing shows a value.
async fn late_goes(lab: &Lab<'_>, reverser: &Reverser, grpcurl: &Grpcurl) {
    lab.delete_secret("dave", "late").await;
    lab.settle().await;
    assert!(lab.repo.file(&path(lab, "late")).is_none());
    assert_never_in_git(lab, reverser);
    assert_hidden(lab, reverser, grpcurl).await;
    reverser.must_run().unwrap();
}

impl Lab<'_> {
    /// A Secret of these values, through stringData and through data.
    async fn write_secret(&self, user: &str, name: &str, note: &str) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "annotations": {"note": note}},
            "stringData": {"password": VALUES[0]}, "data": {"token": BASE64.encode(VALUES[1])},
        });
        self.apply_secret(user, name, secret).await;
    }

    async fn apply_secret(&self, user: &str, name: &str, secret: Value) {
        let api: Api<Secret> = Api::namespaced(self.user(user), &self.namespace);
        let apply = kube::api::PatchParams::apply("test").force();
        api.patch(name, &apply, &kube::api::Patch::Apply(secret))
            .await
            .unwrap();
    }

    async fn delete_secret(&self, user: &str, name: &str) {
        let api: Api<Secret> = Api::namespaced(self.user(user), &self.namespace);
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until the file of a Secret is as wanted.
    async fn secret_file(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let path = path(self, name);
        eventually(PATIENCE, || async {
            let text = self.repo.file(&path).ok_or("the Secret is not there")?;
            let object: Value = serde_yaml::from_slice(&text).map_err(|_| "not YAML")?;
            if wanted(&object) {
                Ok(object)
            } else {
                Err("another version")
            }
        })
        .await
    }

    /// Waits until the folder holds no Secret.
    async fn no_secret_file(&self) {
        eventually(PATIENCE, || async {
            let files = self.repo.files();
            let left: Vec<&String> = files.iter().filter(|f| f.contains("/secrets/")).collect();
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        })
        .await;
    }

    async fn policy(&self, policy: &str) {
        self.destination("all", json!({"secretPolicy": policy}))
            .await;
        self.ready::<GitDestination>("all").await;
    }
}

/// A file's annotation `note`, by which its versions are told apart.
fn note(note: &str) -> impl Fn(&Value) -> bool {
    move |object| object["metadata"]["annotations"]["note"] == note
}
