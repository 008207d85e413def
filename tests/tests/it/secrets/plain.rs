//! What is written as it is, because somebody asked for that.

use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::reverser::Options;

use super::*;
use crate::lab::{create, map};

#[tokio::test]
async fn a_value_is_written_where_that_was_asked_for_and_shows_nowhere_else() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let options = Options {
        log_level: "trace".to_owned(),
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let grpcurl = Grpcurl::of(&plane, &reverser).await;
    let lab = Lab::on(&plane, "secrets").await;
    lab.write_secret("alice", "seeded", "0").await;
    let lab = lab.watching(&["configmaps"]).await;
    lab.policy("Omit").await;
    lab.rule("rule", json!([{"resources": ["configmaps", "secrets"]}]))
        .await;
    lab.ready::<WatchRule>("rule").await;

    // Left out.
    lab.write_secret("alice", "one", "1").await;
    lab.write_secret("bob", "one", "2").await;
    lab.settle().await;
    lab.no_secret_file().await;
    assert_never_in_git(&lab, &reverser);
    assert_hidden(&lab, &reverser, &grpcurl).await;

    // Asked for by name.
    lab.policy("Plain").await;
    lab.warned_of_plain().await;
    lab.secret_file("seeded", note("0")).await;
    let written = lab.secret_file("one", note("2")).await;
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
    lab.secret_file("one", note("3")).await;
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
    lab.no_secret_file().await;
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
    plain_and_created_only(&lab).await;

    lab.policy("Omit").await;
    lab.no_secret_file().await;
    // Nothing else is excepted from the operations.
    assert!(lab.repo.file(&lab.path("kept")).is_some());
}

#[tokio::test]
async fn redacting_secrets_rewrites_them_whatever_the_operations() {
    let lab = Lab::shared("rewrite").await;
    plain_and_created_only(&lab).await;
    crate::lab::set(&lab.maps("bob"), "kept", "k", "2").await;

    lab.policy("Redact").await;
    // This reverser has no key.
    let redacted =
        |object: &Value| object["data"] == json!({"password": "redacted:", "token": "redacted:"});
    lab.secret_file("one", redacted).await;
    lab.secret_file("gone", redacted).await;
    let ready = lab.status::<GitDestination>("all").await;
    assert!(
        ready["conditions"].to_string().contains("redaction key"),
        "{ready}"
    );
    lab.policy("Plain").await;
    lab.secret_file("one", |object| {
        object["data"]["password"] == BASE64.encode(VALUES[0])
    })
    .await;
    // Nothing else is excepted from the operations.
    lab.holds("kept", "k", "1").await;
}

impl Lab<'_> {
    /// The condition and an Event say that Secrets are in the clear.
    async fn warned_of_plain(&self) {
        let reason = "SecretsInTheClear";
        eventually(PATIENCE, || async {
            let status = self.status::<GitDestination>("all").await;
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let said = conditions.iter().any(|c| {
                c["type"] == "Ready"
                    && c["status"] == "True"
                    && c["reason"] == reason
                    && c["message"].to_string().contains("in the clear")
            });
            said.then_some(()).ok_or(status)
        })
        .await;
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        eventually(PATIENCE, || async {
            let events = events.list(&ListParams::default()).await.unwrap();
            let warned = events.iter().any(|event| {
                event.type_.as_deref() == Some("Warning") && event.reason.as_deref() == Some(reason)
            });
            warned.then_some(()).ok_or("there is no such Event")
        })
        .await;
    }
}
