//! Secret values reach Git only where somebody asked for it, and nothing else ever.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use reverser::api::{GitDestination, GitRepoConfig, WatchRule};
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::net::http_get;
use tests::reverser::{Options, Reverser};

use crate::grpcurl::Grpcurl;
use crate::lab::{FOLDER, Lab, PATIENCE, create, map};

/// Not a substring of anything else.
const VALUES: [&str; 2] = ["Tr0ub4dor-and-3-stapled", "c0rrect-h0rse-battery"];

fn path(lab: &Lab<'_>, name: &str) -> String {
    format!("{FOLDER}/v1/secrets/{}/{name}.yaml", lab.namespace)
}

/// No blob that the repository has ever held has a value in it.
fn assert_never_in_git(lab: &Lab<'_>) {
    let objects = lab
        .repo
        .git(&["cat-file", "--batch", "--batch-all-objects"])
        .unwrap();
    assert_hides(&objects, "the repository");
    assert!(!lab.repo.files().iter().any(|f| f.contains("/secrets/")));
}

fn assert_hides(text: &str, place: &str) {
    for value in VALUES {
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

impl Lab<'_> {
    /// A Secret of these values, through stringData and through data.
    async fn write_secret(&self, user: &str, name: &str, note: &str) {
        let api: Api<Secret> = Api::namespaced(self.user(user), &self.namespace);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "annotations": {"note": note}},
            "stringData": {"password": VALUES[0]}, "data": {"token": BASE64.encode(VALUES[1])},
        });
        let apply = kube::api::PatchParams::apply("test").force();
        api.patch(name, &apply, &kube::api::Patch::Apply(secret))
            .await
            .unwrap();
    }

    async fn secret_file(&self, name: &str, note: &str) -> Value {
        let path = path(self, name);
        eventually(PATIENCE, || async {
            let text = self.repo.file(&path).ok_or("the Secret is not there")?;
            let object: Value = serde_yaml::from_slice(&text).map_err(|_| "not YAML")?;
            if object["metadata"]["annotations"]["note"] == note {
                Ok(object)
            } else {
                Err("an older version")
            }
        })
        .await
    }

    async fn policy(&self, policy: &str) {
        self.destination("all", json!({"secretPolicy": policy}))
            .await;
        self.ready::<GitDestination>("all").await;
    }
}

#[tokio::test]
async fn a_secrets_value_is_written_where_that_was_asked_for_and_shows_nowhere_else() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let options = Options {
        log_level: "trace".to_owned(),
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let grpcurl = Grpcurl::of(&plane, &reverser).await;
    let lab = Lab::on(&plane, "secrets").await;
    lab.write_secret("alice", "seeded", "0").await;
    let lab = lab.watching(&["configmaps", "secrets"]).await;

    // The default.
    lab.write_secret("alice", "one", "1").await;
    lab.write_secret("bob", "one", "2").await;
    lab.settle().await;
    assert_never_in_git(&lab);
    assert_hidden(&lab, &reverser, &grpcurl).await;

    // Asked for by name.
    lab.policy("Plain").await;
    lab.secret_file("seeded", "0").await;
    let written = lab.secret_file("one", "2").await;
    assert_eq!(
        written["data"],
        json!({"password": BASE64.encode(VALUES[0]), "token": BASE64.encode(VALUES[1])})
    );
    assert_eq!(written["stringData"], Value::Null);
    // Of the versions under Omit, none came along.
    let versions = lab.versions(&path(&lab, "one"));
    assert_eq!(versions.len(), 1, "{versions:#?}");
    assert!(versions[0].trailer("Reason").is_some(), "{versions:#?}");
    lab.write_secret("carol", "one", "3").await;
    lab.secret_file("one", "3").await;
    let last = lab.versions(&path(&lab, "one")).pop().unwrap();
    assert_eq!(
        (last.author_name.as_str(), last.trailer("Attribution")),
        ("carol", Some("exact"))
    );
    let [log, _] = reverser.logs();
    assert!(log.contains(&format!("v1/secrets/{}/one", lab.namespace)));
    let messages = lab.repo.git(&["log", "--format=%B%an%ae"]).unwrap();
    assert_hides(&messages, "a commit message");
    assert_hidden(&lab, &reverser, &grpcurl).await;

    // And taken back: the files go, and no later write brings them.
    lab.policy("Omit").await;
    for name in ["one", "seeded", "git"] {
        eventually(PATIENCE, || async {
            match lab.repo.file(&path(&lab, name)) {
                None => Ok(()),
                Some(_) => Err(format!("{name} is there")),
            }
        })
        .await;
    }
    let head = lab.versions(&path(&lab, "one")).len();
    lab.write_secret("dave", "one", "4").await;
    create(&lab.maps("dave"), &map("later", "k", "v")).await;
    lab.holds("later", "k", "v").await;
    lab.settle().await;
    assert_eq!(lab.versions(&path(&lab, "one")).len(), head);
    assert_hidden(&lab, &reverser, &grpcurl).await;
    reverser.must_run().unwrap();
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn omitting_secrets_removes_them_whatever_the_operations() {
    let lab = Lab::shared("withdraw").await;
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
    lab.secret_file("one", "1").await;
    lab.secret_file("gone", "1").await;
    lab.holds("kept", "k", "1").await;
    let secrets: Api<Secret> = Api::namespaced(lab.user("bob"), &lab.namespace);
    secrets
        .delete("gone", &DeleteParams::default())
        .await
        .unwrap();

    lab.policy("Omit").await;
    eventually(PATIENCE, || async {
        let files = lab.repo.files();
        let left: Vec<&String> = files.iter().filter(|f| f.contains("/secrets/")).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    // Nothing else is excepted from the operations.
    assert!(lab.repo.file(&lab.path("kept")).is_some());
}
