//! Values that only a private key opens: sops restores all of them, and nothing else shows any, whatever happens meanwhile.

use std::collections::BTreeMap;

use futures::StreamExt;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::reverser::Options;

use super::sops::{AgeKey, Sops};
use super::*;
use crate::lab::create;

/// A reverser with a key, that tells everything it can.
pub(super) async fn start(plane: &ControlPlane, sops: &Sops) -> Reverser {
    let key = sops.directory.path().join("redaction-key");
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

fn encrypt_for(keys: &[&AgeKey]) -> Value {
    let recipients: Vec<&str> = keys.iter().map(|key| key.recipient.as_str()).collect();
    json!({"secretPolicy": "Encrypt", "encryption": {"ageRecipients": recipients}})
}

/// Whether a file is for these recipients.
fn is_for(object: &Value, keys: &[&AgeKey]) -> bool {
    let mut wanted: Vec<&str> = keys.iter().map(|key| key.recipient.as_str()).collect();
    wanted.sort_unstable();
    let age = object["sops"]["age"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    age.iter()
        .map(|it| it["recipient"].as_str().unwrap())
        .eq(wanted)
}

impl Lab<'_> {
    /// A destination that encrypts, and what it watches.
    pub(super) async fn encrypting(self, keys: &[&AgeKey], resources: &[&str]) -> Self {
        self.repo_config(self.repo.url(), &["main"]).await;
        self.destination("all", encrypt_for(keys)).await;
        self.rule("rule", json!([{"resources": resources}])).await;
        self.ready::<WatchRule>("rule").await;
        self.ready::<GitDestination>("all").await;
        self
    }

    async fn opened(&self, sops: &Sops, key: &AgeKey, name: &str) -> Result<Value, String> {
        sops.open(key, &self.repo.file(&path(self, name)).unwrap())
    }

    /// Commits that every branch leads to, ours and others'.
    fn count(&self) -> usize {
        self.repo.log().len()
    }
}

/// The commands of docs/secrets.md, of which there are three.
pub(super) fn documented() -> [String; 3] {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/secrets.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("$ "));
    let lines: Vec<String> = lines.map(ToOwned::to_owned).collect();
    lines.try_into().unwrap()
}

/// What people mean by an object, without what a running cluster knows.
pub(super) fn meant(object: &impl serde::Serialize) -> Value {
    let object = serde_json::to_value(object).unwrap();
    manifest::parse(&manifest::canonicalize(&object).unwrap().text).unwrap()
}

#[tokio::test]
async fn sops_restores_all_that_is_written_and_nothing_else_shows_it() {
    let sops = Sops::find();
    let [two, stranger] = ["two", "stranger"].map(|name| sops.key(name));
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    // As the documentation says.
    let [make_key, open, give_to_flux] = documented();
    let (directory, kubeconfig) = (sops.directory.path(), plane.kubeconfig_path());
    sops.shell(directory, &kubeconfig, &make_key);
    let one = sops.key_in(directory.join("key.txt"));
    let reverser = start(&plane, &sops).await;
    let grpcurl = Grpcurl::of(&plane, &reverser).await;
    let lab = Lab::on(&plane, "encrypted").await;
    lab.write_secret("alice", "seeded", "0").await;
    // One of them comes from a Secret.
    let readers = format!("# the team\n\n{}\n", two.recipient);
    lab.secret("readers", &[("recipients", &readers)]).await;
    lab.repo_config(lab.repo.url(), &["main"]).await;
    let mut destination = encrypt_for(&[&one]);
    destination["encryption"]["recipientsFrom"] = json!({"name": "readers"});
    lab.destination("all", destination).await;
    lab.rule(
        "rule",
        json!([{"resources": ["configmaps", "secrets", "networkpolicies"]}]),
    )
    .await;
    lab.ready::<GitDestination>("all").await;

    let odd = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "example.com/odd",
        "metadata": {
            "name": "odd", "labels": {"app": "shop", "data": "label"},
            "annotations": {"note": "1", "stringData": "x", "lines": "a\n# b\n\tc: d\n", "unicode": "Grüße \u{2028} 🔑", "empty": "", "yes": "no"},
        },
        "data": {
            "binary": BASE64.encode([0, 255, 159, 146, 10, 13, 0]), "empty": "", "unicode": BASE64.encode("Grüße, 世界 🔑"),
            "lines": BASE64.encode("-----BEGIN\nx\n\n-----END\n"), "a.b_c-D": BASE64.encode(VALUES[2]),
        },
    });
    lab.apply_secret("alice", "odd", odd).await;
    let large = vec![b'x'; 1 << 20];
    let large = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "large", "annotations": {"note": "1"}},
        "data": {"large": BASE64.encode(large)},
    });
    create(
        &Api::<Secret>::namespaced(lab.user("alice"), &lab.namespace),
        &serde_json::from_value(large).unwrap(),
    )
    .await;
    let many: BTreeMap<String, String> = (0..1000)
        .map(|i| (format!("key-{i}"), BASE64.encode(format!("value {i}"))))
        .collect();
    let many = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "many", "annotations": {"note": "1"}}, "data": many,
    });
    lab.apply_secret("bob", "many", many).await;
    lab.apply_secret("alice", "one", secret("one", [VALUES[0], VALUES[1]], "1"))
        .await;
    for name in ["odd", "large", "many", "one"] {
        lab.secret_file(name, note("1")).await;
    }
    // A flag names them.
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "hidden"},
        "spec": {"podSelector": {"matchLabels": {"app": VALUES[0]}}, "policyTypes": ["Ingress"],
                 "ingress": [{"ports": [{"port": 8080, "protocol": "TCP"}]}]},
    });
    let policies: Api<NetworkPolicy> = Api::namespaced(lab.user("alice"), &lab.namespace);
    policies
        .patch("hidden", &PatchParams::apply("test"), &Patch::Apply(policy))
        .await
        .unwrap();

    // A changed value is one commit, of that file, by whoever changed it.
    lab.settle().await;
    let before = lab.secret_file("one", note("1")).await;
    let count = lab.commits().len();
    lab.apply_secret("bob", "one", secret("one", [VALUES[2], VALUES[1]], "1"))
        .await;
    let after = lab.secret_file("one", |object| object != &before).await;
    let commits = lab.commits();
    assert_eq!(commits.len(), count + 1);
    let last = commits.last().unwrap();
    assert_eq!(last.paths(), [path(&lab, "one").as_str()]);
    assert_eq!(
        (last.author_name.as_str(), last.trailer("Attribution")),
        ("bob", Some("exact"))
    );
    // What can be read without a key.
    assert_eq!(
        (&after["kind"], &after["type"], &after["metadata"]["name"]),
        (&json!("Secret"), &json!("Opaque"), &json!("one"))
    );

    // A clone, a key, and sops: all of the folder is restored.
    let clone = sops.directory.path().join("clone");
    lab.repo.clone_to(&clone, &lab.server.git_client()).unwrap();
    let mut live: BTreeMap<String, Value> = BTreeMap::new();
    let secrets: Api<Secret> = Api::namespaced(lab.client.clone(), &lab.namespace);
    for mut object in secrets.list(&Default::default()).await.unwrap() {
        (
            object.metadata.managed_fields,
            object.metadata.resource_version,
        ) = (None, None);
        let mut value = serde_json::to_value(&object).unwrap();
        (value["apiVersion"], value["kind"]) = ("v1".into(), "Secret".into());
        live.insert(path(&lab, &object.name_any()), meant(&value));
    }
    let mut value = serde_json::to_value(policies.get("hidden").await.unwrap()).unwrap();
    (value["apiVersion"], value["kind"]) = ("networking.k8s.io/v1".into(), "NetworkPolicy".into());
    let of_policy = format!(
        "{FOLDER}/networking.k8s.io/v1/networkpolicies/{}/hidden.yaml",
        lab.namespace
    );
    live.insert(of_policy.clone(), meant(&value));
    assert_eq!(live.len(), 8, "{:?}", live.keys());
    let written: Vec<String> = lab.repo.files();
    let encrypted = written
        .iter()
        .filter(|path| path.contains("/secrets/") || **path == of_policy);
    assert_eq!(
        encrypted.collect::<Vec<_>>(),
        live.keys().collect::<Vec<_>>()
    );
    for (file, object) in &live {
        for key in [&one, &two] {
            let opened = sops.decrypt(key, &clone.join(file)).unwrap();
            assert_eq!(&opened, object, "{file}");
        }
        let refusal = sops.decrypt(&stranger, &clone.join(file)).unwrap_err();
        assert!(refusal.contains("data key"), "{refusal}");
    }
    let open = open.replace("shop/database", &format!("{}/one", lab.namespace));
    let open = open.replace("key.txt", &one.file.to_string_lossy());
    let opened = sops.shell(&clone.join(FOLDER), &kubeconfig, &open);
    let opened: Value = serde_yaml::from_str(&opened).unwrap();
    assert_eq!(opened, live[&path(&lab, "one")]);
    let flux = json!({"metadata": {"name": "flux-system"}});
    create(
        &Api::<k8s_openapi::api::core::v1::Namespace>::all(lab.client.clone()),
        &serde_json::from_value(flux).unwrap(),
    )
    .await;
    sops.shell(directory, &kubeconfig, &give_to_flux);
    let given: Api<Secret> = Api::namespaced(lab.client.clone(), "flux-system");
    let given = given.get("sops-age").await.unwrap().data.unwrap();
    assert_eq!(given["age.agekey"].0, std::fs::read(&one.file).unwrap());
    // What was decrypted applies, and what was not does not by mistake.
    let dry_run = PatchParams::apply("gitops").force().dry_run();
    for name in ["one", "odd", "many"] {
        let path = path(&lab, name);
        let object = &live[&path];
        secrets
            .patch(name, &dry_run, &Patch::Apply(object))
            .await
            .unwrap();
        let file: Value = serde_yaml::from_slice(&lab.repo.file(&path).unwrap()).unwrap();
        let refusal = secrets.patch(name, &dry_run, &Patch::Apply(file)).await;
        assert!(refusal.is_err(), "{name}");
    }

    // What people add to the folder is encrypted for the same recipients, of whom nobody has to tell sops.
    let added = clone.join(FOLDER).join("added.yaml");
    std::fs::write(&added, format!("kind: Secret\ndata:\n  k: {}\n", VALUES[0])).unwrap();
    sops.run(&clone.join(FOLDER), &["-e", "-i", "added.yaml"]);
    let text = std::fs::read_to_string(&added).unwrap();
    assert!(
        text.contains("kind: Secret\n") && !text.contains(VALUES[0]),
        "{text}"
    );
    assert_eq!(sops.decrypt(&two, &added).unwrap()["data"]["k"], VALUES[0]);

    lab.settle().await;
    assert_never_in_git(&lab, &reverser);
    assert_hidden(&lab, &reverser, &grpcurl).await;
    reverser.must_run().unwrap();
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn a_thousand_unchanged_secrets_make_no_commit_after_a_restart_and_a_resync() {
    let sops = Sops::find();
    let [one, two] = ["one", "two"].map(|name| sops.key(name));
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = start(&plane, &sops).await;
    let lab = Lab::on(&plane, "thousand").await;
    let secrets: Api<Secret> = Api::namespaced(lab.user("alice"), &lab.namespace);
    futures::stream::iter(0..1000)
        .map(|i| {
            let secrets = secrets.clone();
            async move {
                let object = json!({"metadata": {"name": format!("s-{i}")}, "stringData": {"k": format!("value {i}")}});
                let object = serde_json::from_value(object).unwrap();
                secrets.create(&PostParams::default(), &object).await.unwrap();
            }
        })
        .buffer_unordered(8)
        .collect::<Vec<()>>()
        .await;
    let lab = lab
        .encrypting(&[&one, &two], &["configmaps", "secrets"])
        .await;
    let files = || {
        let mut files = lab.repo.contents();
        files.retain(|path, _| path.contains("/secrets/"));
        files
    };
    let before = files();
    assert!(before.len() >= 1000, "{}", before.len());
    let count = lab.count();

    reverser.restart_reverser().await.unwrap();
    // Behind the list of all that was there before.
    lab.write_secret("alice", "marker", "m").await;
    lab.secret_file("marker", note("m")).await;
    assert_eq!(lab.count(), count + 1, "{:#?}", lab.repo.log().last());

    // All of it is given to the worker again: it might take a folder over now, and nothing else is new.
    let mut again = encrypt_for(&[&two, &one]);
    again["takeOver"] = "nobody".into();
    lab.destination("all", again).await;
    lab.ready::<GitDestination>("all").await;
    lab.write_secret("alice", "marker", "n").await;
    lab.secret_file("marker", note("n")).await;
    assert_eq!(lab.count(), count + 2, "{:#?}", lab.repo.log().last());

    let change = json!({"stringData": {"k": "another"}});
    secrets
        .patch("s-7", &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap();
    lab.settle().await;
    // And the one that settles.
    assert_eq!(lab.count(), count + 4);
    let after = files();
    let changed: Vec<&String> = before
        .iter()
        .filter(|(path, text)| after.get(*path) != Some(text))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(changed, [&path(&lab, "s-7")]);
    reverser.must_run().unwrap();
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn recipients_come_and_go_and_policies_change() {
    let sops = Sops::find();
    let [one, two] = ["one", "two"].map(|name| sops.key(name));
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = start(&plane, &sops).await;
    let lab = Lab::on(&plane, "recipients").await;
    recipients(&lab, &sops, &one, &two).await;
    operations(&Lab::on(&plane, "policies").await, &sops, &one).await;

    // Another key: the same values, encrypted once more.
    let before = lab.secret_file("one", |_| true).await;
    let opened = lab.opened(&sops, &two, "one").await.unwrap();
    std::fs::write(sops.directory.path().join("redaction-key"), "z".repeat(40)).unwrap();
    reverser.restart_reverser().await.unwrap();
    lab.secret_file("one", |object| object != &before).await;
    assert_eq!(lab.opened(&sops, &two, "one").await.unwrap(), opened);
    reverser.must_run().unwrap();
    reverser.stop().await.unwrap();
}

async fn recipients(lab: &Lab<'_>, sops: &Sops, one: &AgeKey, two: &AgeKey) {
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.rule("rule", json!([{"resources": ["configmaps", "secrets"]}]))
        .await;
    lab.apply_secret("alice", "one", secret("one", [VALUES[0], VALUES[1]], "1"))
        .await;
    // Nobody to encrypt for: nothing is written.
    let mistyped = one.recipient.replacen(&one.recipient[10..12], "qq", 1);
    let mut bad = encrypt_for(&[one]);
    bad["encryption"]["ageRecipients"] = json!([mistyped]);
    lab.destination("all", bad).await;
    let message = lab
        .not_ready::<GitDestination>("all", "InvalidRecipients")
        .await;
    assert!(
        message.contains("ageRecipients[0]") && message.contains("mistyped"),
        "{message}"
    );
    let from = json!({"secretPolicy": "Encrypt", "encryption": {"recipientsFrom": {"name": "readers", "key": "all.txt"}}});
    lab.destination("all", from).await;
    let message = lab
        .not_ready::<GitDestination>("all", "SecretNotFound")
        .await;
    assert!(message.contains("'readers'"), "{message}");
    let private = std::fs::read_to_string(&one.file).unwrap();
    lab.secret("readers", &[("all.txt", &private)]).await;
    let message = lab
        .not_ready::<GitDestination>("all", "InvalidRecipients")
        .await;
    assert!(message.contains("line 3: it is a private key"), "{message}");
    assert!(!message.contains("AGE-SECRET-KEY-1"), "{message}");
    assert_eq!(lab.repo.files(), Vec::<String>::new());

    // It is taken up by itself.
    lab.secret(
        "readers",
        &[(
            "all.txt",
            &format!("{}\n{}\n", one.recipient, two.recipient),
        )],
    )
    .await;
    lab.ready::<GitDestination>("all").await;
    lab.secret_file("one", |object| is_for(object, &[one, two]))
        .await;
    for key in [one, two] {
        lab.opened(sops, key, "one").await.unwrap();
    }
    let config = format!("{FOLDER}/.sops.yaml");
    let text = || String::from_utf8(lab.repo.file(&config).unwrap()).unwrap();
    assert!(text().contains(&one.recipient) && text().contains(&two.recipient));

    // Somebody leaves: the next version, and each file, is not for them.
    lab.secret("readers", &[("all.txt", &one.recipient)]).await;
    lab.secret_file("one", |object| is_for(object, &[one]))
        .await;
    lab.apply_secret("bob", "one", secret("one", [VALUES[2], VALUES[1]], "2"))
        .await;
    lab.secret_file("one", note("2")).await;
    lab.opened(sops, one, "one").await.unwrap();
    assert!(lab.opened(sops, two, "one").await.is_err());
    assert!(text().contains(&one.recipient) && !text().contains(&two.recipient));

    // Ours comes back; somebody else's stays.
    lab.repo.remove_as_outsider(&config);
    lab.settle().await;
    eventually(PATIENCE, || async {
        lab.repo.file(&config).map(drop).ok_or("it is not there")
    })
    .await;
    lab.repo.commit_as_outsider(&config, "creation_rules: []\n");
    lab.secret("readers", &[("all.txt", &two.recipient)]).await;
    lab.secret_file("one", |object| is_for(object, &[two]))
        .await;
    lab.settle().await;
    assert_eq!(text(), "creation_rules: []\n");
    assert!(
        sops.open(one, &lab.repo.file(&path(lab, "one")).unwrap())
            .is_err()
    );
    lab.opened(sops, two, "one").await.unwrap();
    // Neither Secret was ever there in the clear.
    let objects = lab.repo.git(&EVERY_OBJECT).unwrap();
    assert_hides(&objects, "the repository");
}

/// Files that the rule never changes or deletes are written for others all the same.
async fn operations(lab: &Lab<'_>, sops: &Sops, one: &AgeKey) {
    plain_and_created_only(lab).await;
    crate::lab::set(&lab.maps("bob"), "kept", "k", "2").await;
    let value = BASE64.encode(VALUES[0]);

    lab.destination("all", encrypt_for(&[one])).await;
    for name in ["one", "gone"] {
        lab.secret_file(name, |object| is_for(object, &[one])).await;
        let opened = lab.opened(sops, one, name).await.unwrap();
        assert_eq!(opened["data"]["password"], value);
    }
    lab.policy("Redact").await;
    for name in ["one", "gone"] {
        let hidden = |object: &Value| {
            object["sops"].is_null()
                && object["data"]["password"]
                    .as_str()
                    .is_some_and(|text| text.starts_with("redacted:"))
        };
        lab.secret_file(name, hidden).await;
    }
    assert!(lab.repo.file(&format!("{FOLDER}/.sops.yaml")).is_none());
    lab.destination("all", encrypt_for(&[one])).await;
    lab.secret_file("one", |object| is_for(object, &[one]))
        .await;
    // Of what is gone nobody has the values any more.
    lab.secret_file("gone", |object| object["sops"].is_null())
        .await;
    lab.policy("Plain").await;
    lab.secret_file("one", |object| object["data"]["password"] == value)
        .await;
    lab.destination("all", encrypt_for(&[one])).await;
    lab.secret_file("one", |object| is_for(object, &[one]))
        .await;
    lab.policy("Omit").await;
    lab.no_secret_file().await;
    // Nothing else is excepted from the operations.
    lab.holds("kept", "k", "1").await;
}

#[tokio::test]
async fn values_are_hidden_through_failures_crashes_and_switches() {
    let sops = Sops::find();
    let one = sops.key("one");
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = start(&plane, &sops).await;
    let grpcurl = Grpcurl::of(&plane, &reverser).await;
    let lab = Lab::on(&plane, "hidden")
        .await
        .encrypting(&[&one], &["configmaps", "secrets"])
        .await;
    lab.apply_secret("alice", "one", secret("one", [VALUES[0], VALUES[1]], "1"))
        .await;
    let before = lab.secret_file("one", note("1")).await;
    lab.settle().await;

    // Committed, refused by the server, and killed.
    refused_and_killed(&lab, &reverser, &grpcurl).await;
    lab.secret_file("one", note("2")).await;
    lab.secret_file("late", note("2")).await;

    // Left out, and back as it was at first: byte for byte what it was then.
    lab.policy("Omit").await;
    lab.no_secret_file().await;
    lab.apply_secret("carol", "one", secret("one", [VALUES[0], VALUES[1]], "1"))
        .await;
    lab.settle().await;
    lab.destination("all", encrypt_for(&[&one])).await;
    let back = lab.secret_file("one", note("1")).await;
    assert_eq!(back, before);
    lab.policy("Redact").await;
    lab.secret_file("one", |object| object["sops"].is_null())
        .await;
    lab.destination("all", encrypt_for(&[&one])).await;
    lab.secret_file("one", |object| object == &before).await;
    let opened = lab.opened(&sops, &one, "late").await.unwrap();
    assert_eq!(opened["data"]["token"], BASE64.encode(VALUES[2]));

    late_goes(&lab, &reverser, &grpcurl).await;
    reverser.stop().await.unwrap();
}
