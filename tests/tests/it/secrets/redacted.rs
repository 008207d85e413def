//! Values that are never written: what shows of them, and that nothing else does, whatever happens meanwhile.

use kube::api::{Patch, PatchParams};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::reverser::Options;

use super::*;

fn digest(object: &Value, key: &str) -> String {
    let value = object["data"][key].as_str().unwrap();
    let digits = value.strip_prefix("redacted:").unwrap();
    assert!(
        digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{object}"
    );
    value.to_owned()
}

/// A reverser with a key, that tells everything it can.
async fn start(plane: &ControlPlane, directory: &std::path::Path) -> Reverser {
    let key = directory.join("key");
    std::fs::write(&key, "0123456789abcdefghijklmnopqrstuvwxyz\n").unwrap();
    let options = Options {
        log_level: "trace".to_owned(),
        reverser_args: vec![
            format!("--redaction-key-file={}", key.display()),
            "--sensitive-resources=networkpolicies.networking.k8s.io".to_owned(),
        ],
        ..Options::default()
    };
    Reverser::start(plane, options).await.unwrap()
}

#[tokio::test]
async fn changes_show_and_values_never_do() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let reverser = start(&plane, directory.path()).await;
    let grpcurl = Grpcurl::of(&plane, &reverser).await;
    let lab = Lab::on(&plane, "redacted").await;
    lab.write_secret("alice", "seeded", "0").await;
    // The default.
    let lab = lab
        .watching(&["configmaps", "secrets", "networkpolicies"])
        .await;

    let first = secret("one", [VALUES[0], VALUES[1]], "1");
    lab.apply_secret("alice", "one", first.clone()).await;
    lab.apply_secret("alice", "two", secret("two", [VALUES[0], VALUES[1]], "1"))
        .await;
    let before = lab.secret_file("one", note("1")).await;
    assert_eq!(
        (
            &before["kind"],
            &before["type"],
            &before["metadata"]["name"]
        ),
        (&json!("Secret"), &json!("Opaque"), &json!("one"))
    );
    let two = lab.secret_file("two", note("1")).await;
    assert_ne!(digest(&before, "password"), digest(&two, "password"));
    let seeded = lab.secret_file("seeded", note("0")).await;
    digest(&seeded, "token");

    // One value changes, with its author.
    lab.apply_secret("bob", "one", secret("one", [VALUES[2], VALUES[1]], "2"))
        .await;
    let after = lab.secret_file("one", note("2")).await;
    assert_ne!(digest(&before, "password"), digest(&after, "password"));
    assert_eq!(digest(&before, "token"), digest(&after, "token"));
    let authors: Vec<(String, Option<String>)> = lab
        .versions(&path(&lab, "one"))
        .iter()
        .map(|commit| {
            let tier = commit.trailer("Attribution").map(ToOwned::to_owned);
            (commit.author_name.clone(), tier)
        })
        .collect();
    let exact = Some("exact".to_owned());
    assert_eq!(
        authors,
        [
            ("alice".to_owned(), exact.clone()),
            ("bob".to_owned(), exact)
        ]
    );
    lab.settle().await;
    assert_never_in_git(&lab, &reverser);
    assert_hidden(&lab, &reverser, &grpcurl).await;

    // What is redacted can't be applied by mistake.
    let api: Api<DynamicObject> = Api::namespaced_with(
        lab.client.clone(),
        &lab.namespace,
        &kube::api::ApiResource::erase::<Secret>(&()),
    );
    let dry_run = PatchParams::apply("gitops").force().dry_run();
    let refusal = api
        .patch("one", &dry_run, &Patch::Apply(&after))
        .await
        .unwrap_err();
    assert!(refusal.to_string().contains("base64"), "{refusal}");
    api.patch("one", &dry_run, &Patch::Apply(&first))
        .await
        .unwrap();

    // The types that a flag names.
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "hidden"},
        "spec": {"podSelector": {"matchLabels": {"app": VALUES[0]}}, "policyTypes": ["Ingress"]},
    });
    let policies: Api<k8s_openapi::api::networking::v1::NetworkPolicy> =
        Api::namespaced(lab.user("alice"), &lab.namespace);
    let apply = PatchParams::apply("test");
    policies
        .patch("hidden", &apply, &Patch::Apply(policy))
        .await
        .unwrap();
    lab.settle().await;
    let file = format!(
        "{FOLDER}/networking.k8s.io/v1/networkpolicies/{}/hidden.yaml",
        lab.namespace
    );
    let text = lab.repo.file(&file).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("app: redacted:")
            || text.contains("app: 'redacted:")
            || text.contains("app: \"redacted:"),
        "{text}"
    );
    assert_never_in_git(&lab, &reverser);
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn values_are_hidden_through_failures_crashes_and_switches() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let reverser = start(&plane, directory.path()).await;
    let grpcurl = Grpcurl::of(&plane, &reverser).await;
    let lab = Lab::on(&plane, "hidden")
        .await
        .watching(&["configmaps", "secrets"])
        .await;
    lab.apply_secret("alice", "one", secret("one", [VALUES[0], VALUES[1]], "1"))
        .await;
    let before = lab.secret_file("one", note("1")).await;

    // Nothing changes: a restart finds the same digests.
    lab.settle().await;
    let history = ["one", "git"].map(|name| lab.versions(&path(&lab, name)).len());
    reverser.restart_reverser().await.unwrap();
    // Behind the list of all that was there before.
    lab.apply_secret("alice", "marker", secret("marker", [VALUES[0]; 2], "m"))
        .await;
    lab.secret_file("marker", note("m")).await;
    lab.settle().await;
    let now = ["one", "git"].map(|name| lab.versions(&path(&lab, name)).len());
    assert_eq!(now, history);

    // Committed, refused by the server, and killed.
    refused_and_killed(&lab, &reverser, &grpcurl).await;
    let after = lab.secret_file("one", note("2")).await;
    assert_ne!(digest(&before, "password"), digest(&after, "password"));
    assert_eq!(digest(&before, "token"), digest(&after, "token"));
    lab.secret_file("late", note("2")).await;

    // Left out, and back: the digests are the same.
    lab.policy("Omit").await;
    lab.no_secret_file().await;
    lab.apply_secret("carol", "one", secret("one", [VALUES[1], VALUES[1]], "3"))
        .await;
    lab.settle().await;
    lab.policy("Redact").await;
    let back = lab.secret_file("one", note("3")).await;
    assert_eq!(digest(&after, "token"), digest(&back, "token"));

    late_goes(&lab, &reverser, &grpcurl).await;
    reverser.stop().await.unwrap();
}
