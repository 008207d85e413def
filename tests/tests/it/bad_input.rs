//! Input that no schema can refuse: each ends as a condition and an Event on its own object, everything else goes on,
//! and once it is mended it is Ready without a restart.

use kube::Resource;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use reverser::api::{ClusterWatchRule, GitDestination, GitRepoConfig, WatchRule, definitions};
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::git::Fault;
use tests::net::free_port;
use tests::reverser::{Options, Reverser};

use crate::lab::{FOLDER, Lab, PASSWORD, PATIENCE, USER, create, map, set};

/// Waits until the object is stalled or on its way for this reason, and until an Event on it says the same; returns the
/// message.
async fn told<K: Resource<DynamicType = ()>>(lab: &Lab<'_>, name: &str, reason: &str) -> String {
    let message = lab.not_ready::<K>(name, reason).await;
    let kind = K::kind(&());
    eventually(PATIENCE, || async {
        let events = events(lab).await;
        let found = events.iter().any(|event| {
            let object = &event["involvedObject"];
            object["kind"] == *kind
                && object["name"] == name
                && event["reason"] == reason
                && event["message"] == *message
        });
        if found {
            Ok(())
        } else {
            Err(format!("no Event {reason} on {kind} {name}: {events:#?}"))
        }
    })
    .await;
    message
}

async fn events(lab: &Lab<'_>) -> Vec<Value> {
    let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Event>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(lab.client.clone(), &lab.namespace, &resource);
    let list = api.list(&ListParams::default()).await.unwrap();
    list.items.into_iter().map(|event| event.data).collect()
}

/// Nobody but somebody else can mend it: kstatus calls that stalled.
async fn is_stalled<K: Resource<DynamicType = ()>>(lab: &Lab<'_>, name: &str) -> bool {
    let api: Api<DynamicObject> = Api::namespaced_with(
        lab.client.clone(),
        &lab.namespace,
        &ApiResource::erase::<K>(&()),
    );
    let object = api.get(name).await.unwrap();
    let conditions = object.data["status"]["conditions"].as_array().cloned();
    conditions
        .unwrap_or_default()
        .iter()
        .any(|c| c["type"] == "Stalled" && c["status"] == "True")
}

/// No value of a Secret is in a status, an Event, or a log of either process.
async fn keeps_secrets(lab: &Lab<'_>, reverser: &Reverser, values: &[&str]) {
    let mut shown = Vec::new();
    for resource in [
        ApiResource::erase::<GitRepoConfig>(&()),
        ApiResource::erase::<GitDestination>(&()),
        ApiResource::erase::<WatchRule>(&()),
    ] {
        let api: Api<DynamicObject> =
            Api::namespaced_with(lab.client.clone(), &lab.namespace, &resource);
        for object in api.list(&ListParams::default()).await.unwrap() {
            shown.push((resource.kind.clone(), object.data["status"].to_string()));
        }
    }
    assert!(!shown.is_empty());
    for event in events(lab).await {
        shown.push(("an Event".to_owned(), event.to_string()));
    }
    let [reverser_log, webhook_log] = reverser.logs();
    assert!(!reverser_log.is_empty() && !webhook_log.is_empty());
    shown.push(("the reverser's log".to_owned(), reverser_log));
    shown.push(("the webhook's log".to_owned(), webhook_log));
    for value in values {
        let forms = [
            (*value).to_owned(),
            base64(value),
            base64(&format!("{USER}:{value}")),
        ];
        for (place, text) in &shown {
            let leak = forms.iter().find(|form| text.contains(form.as_str()));
            assert!(leak.is_none(), "{place} shows {value:?} as {leak:?}");
        }
    }
}

fn base64(text: &str) -> String {
    use k8s_openapi::ByteString;
    let encoded = serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap();
    encoded.as_str().unwrap().to_owned()
}

/// The lab's repository, destination `all` and rule, none of which need be good.
async fn configure(lab: &Lab<'_>, url: &str) {
    apply_repo(lab, url).await;
    lab.destination("all", json!({})).await;
    lab.rule("rule", json!([{"resources": ["configmaps"]}]))
        .await;
}

async fn apply_repo(lab: &Lab<'_>, url: &str) {
    let spec = json!({
        "repoUrl": url, "allowedBranches": ["main"], "secretRef": {"name": "git"}, "push": {"lingerMs": 200},
    });
    lab.apply::<GitRepoConfig>("repo", spec).await.unwrap();
}

async fn credentials(lab: &Lab<'_>, password: &str) {
    let ca = lab.server.ca_pem();
    lab.secret(
        "git",
        &[("username", USER), ("password", password), ("ca.crt", ca)],
    )
    .await;
}

/// After mending: everything is Ready and what was written meanwhile is in Git.
async fn recovers(lab: &Lab<'_>) {
    lab.ready::<GitRepoConfig>("repo").await;
    lab.holds("meanwhile", "k", "1").await;
    lab.ready::<GitDestination>("all").await;
    lab.ready::<WatchRule>("rule").await;
    lab.settle().await;
    keeps_secrets(lab, Reverser::shared().await, &[PASSWORD]).await;
}

/// Something for Git, while Git can't have it; and what a destination of another repository does then.
async fn goes_on_elsewhere(lab: &Lab<'_>, healthy: &Lab<'_>) {
    create(&lab.maps("alice"), &map("meanwhile", "k", "1")).await;
    healthy.settle().await;
    healthy.ready::<GitDestination>("all").await;
}

async fn labs(prefix: &str) -> (Lab<'static>, Lab<'static>) {
    let healthy = Lab::shared(&format!("{prefix}-beside"))
        .await
        .watching(&["configmaps"])
        .await;
    (Lab::shared(prefix).await, healthy)
}

#[tokio::test]
async fn a_repository_that_cannot_be_reached() {
    let (lab, healthy) = labs("closed").await;
    credentials(&lab, PASSWORD).await;
    configure(&lab, &format!("https://127.0.0.1:{}/a.git", free_port())).await;
    for message in [
        told::<GitRepoConfig>(&lab, "repo", "RepositoryUnreachable").await,
        told::<GitDestination>(&lab, "all", "RepositoryUnreachable").await,
    ] {
        assert!(message.contains("127.0.0.1"), "{message}");
    }
    // It may come back by itself.
    assert!(!is_stalled::<GitDestination>(&lab, "all").await);
    goes_on_elsewhere(&lab, &healthy).await;
    apply_repo(&lab, lab.repo.url()).await;
    recovers(&lab).await;
}

#[tokio::test]
async fn a_password_that_the_server_refuses() {
    let (lab, healthy) = labs("password").await;
    credentials(&lab, "Tr0ub4dor&3 wrong").await;
    configure(&lab, lab.repo.url()).await;
    for message in [
        told::<GitRepoConfig>(&lab, "repo", "AuthenticationFailed").await,
        told::<GitDestination>(&lab, "all", "AuthenticationFailed").await,
    ] {
        assert!(message.contains("refused the credentials"), "{message}");
    }
    assert!(is_stalled::<GitDestination>(&lab, "all").await);
    goes_on_elsewhere(&lab, &healthy).await;
    keeps_secrets(&lab, Reverser::shared().await, &["Tr0ub4dor&3 wrong"]).await;
    credentials(&lab, PASSWORD).await;
    recovers(&lab).await;
}

#[tokio::test]
async fn a_secret_that_is_missing_and_then_incomplete() {
    let (lab, healthy) = labs("secret").await;
    configure(&lab, lab.repo.url()).await;
    let expected = format!("there is no Secret 'git' in namespace {}", lab.namespace);
    for message in [
        told::<GitRepoConfig>(&lab, "repo", "SecretNotFound").await,
        told::<GitDestination>(&lab, "all", "SecretNotFound").await,
    ] {
        assert_eq!(message, expected);
    }
    goes_on_elsewhere(&lab, &healthy).await;
    lab.secret("git", &[("username", USER)]).await;
    for message in [
        told::<GitRepoConfig>(&lab, "repo", "InvalidCredentials").await,
        told::<GitDestination>(&lab, "all", "InvalidCredentials").await,
    ] {
        assert!(
            message.contains("'git'") && message.contains("password"),
            "{message}"
        );
    }
    credentials(&lab, PASSWORD).await;
    recovers(&lab).await;
}

#[tokio::test]
async fn a_server_whose_certificate_nobody_vouches_for() {
    let (lab, healthy) = labs("untrusted").await;
    lab.secret("git", &[("username", USER), ("password", PASSWORD)])
        .await;
    configure(&lab, lab.repo.url()).await;
    for message in [
        told::<GitRepoConfig>(&lab, "repo", "ServerNotTrusted").await,
        told::<GitDestination>(&lab, "all", "ServerNotTrusted").await,
    ] {
        assert!(message.contains("certificate"), "{message}");
    }
    goes_on_elsewhere(&lab, &healthy).await;
    credentials(&lab, PASSWORD).await;
    recovers(&lab).await;
}

#[tokio::test]
async fn a_repository_that_does_not_exist() {
    let (lab, healthy) = labs("nowhere").await;
    credentials(&lab, PASSWORD).await;
    configure(&lab, &lab.server.url("nowhere-else")).await;
    for message in [
        told::<GitRepoConfig>(&lab, "repo", "RepositoryNotFound").await,
        told::<GitDestination>(&lab, "all", "RepositoryNotFound").await,
    ] {
        assert!(message.contains("not found"), "{message}");
    }
    goes_on_elsewhere(&lab, &healthy).await;
    // Nothing of ours changes: somebody makes the repository.
    let made = Lab {
        repo: lab.server.create_repo("nowhere-else"),
        ..lab
    };
    recovers(&made).await;
}

#[tokio::test]
async fn a_server_that_never_answers() {
    let (lab, healthy) = labs("hang").await;
    credentials(&lab, PASSWORD).await;
    lab.server.set_fault(Fault::Hang);
    configure(&lab, lab.repo.url()).await;
    // Well before the server is given up.
    goes_on_elsewhere(&lab, &healthy).await;
    for message in [
        told::<GitDestination>(&lab, "all", "RepositoryUnreachable").await,
        told::<GitRepoConfig>(&lab, "repo", "RepositoryUnreachable").await,
    ] {
        assert!(message.contains("in time"), "{message}");
    }
    healthy.settle().await;
    lab.server.set_fault(Fault::None);
    recovers(&lab).await;
}

#[tokio::test]
async fn a_hook_that_refuses_the_push() {
    let (lab, healthy) = labs("hook").await;
    lab.repo.install_hook(
        "pre-receive",
        "#!/bin/sh\necho 'ask the platform team first' >&2\nexit 1\n",
    );
    credentials(&lab, PASSWORD).await;
    configure(&lab, lab.repo.url()).await;
    let message = told::<GitDestination>(&lab, "all", "PushRefused").await;
    assert!(message.contains("ask the platform team first"), "{message}");
    assert!(is_stalled::<GitDestination>(&lab, "all").await);
    // Reading is all that it is asked for.
    lab.ready::<GitRepoConfig>("repo").await;
    goes_on_elsewhere(&lab, &healthy).await;
    assert_eq!(lab.repo.head(), None);
    lab.repo.remove_hook("pre-receive");
    recovers(&lab).await;
    // Also after that long no name is lost.
    let versions = lab.versions(&lab.path("meanwhile"));
    assert_eq!(versions.last().unwrap().author_name, "alice");
}

#[tokio::test]
async fn resources_that_no_watch_rule_can_select() {
    let lab = Lab::shared("words").await.watching(&["configmaps"]).await;
    let rules = json!([{"resources": ["configmaps", "deploymets", "namespaces"]}, {"apiGroups": ["apps"], "resources": ["secrets"]}]);
    lab.rule("rule", rules).await;
    let message = told::<WatchRule>(&lab, "rule", "UnresolvedResources").await;
    for words in [
        "no resource 'deploymets'; did you mean 'deployments' in apps?",
        "'namespaces' is cluster-scoped; select it with a ClusterWatchRule of scope Cluster",
        "no resource 'secrets' in apiGroups [\"apps\"]; did you mean 'secrets' in the core group",
    ] {
        assert!(message.contains(words), "{message}");
    }
    // The rest of the rule is at work.
    lab.settle().await;
    lab.ready::<GitDestination>("all").await;
    lab.rule(
        "rule",
        json!([{"resources": ["configmaps", "deployments"]}]),
    )
    .await;
    lab.ready::<WatchRule>("rule").await;
    lab.settle().await;
}

#[tokio::test]
async fn a_namespaced_resource_in_cluster_scope() {
    let lab = Lab::shared("scope").await.watching(&["configmaps"]).await;
    let name = format!("{}-scope", lab.namespace);
    let api: Api<ClusterWatchRule> = Api::all(lab.client.clone());
    let rule: ClusterWatchRule = serde_json::from_value(json!({
        "apiVersion": "configbutler.ai/v1alpha1", "kind": "ClusterWatchRule", "metadata": {"name": name},
        "spec": {"destinationRef": {"name": "all", "namespace": lab.namespace},
            "rules": [{"scope": "Cluster", "resources": ["secrets"]}]},
    }))
    .unwrap();
    create(&api, &rule).await;
    let message = eventually(PATIENCE, || async {
        let rule = api.get(&name).await.map_err(|error| error.to_string())?;
        let conditions = rule.status.map(|s| s.conditions).unwrap_or_default();
        conditions
            .iter()
            .find(|c| c.reason == "UnresolvedResources")
            .map(|c| c.message.clone())
            .ok_or_else(|| format!("{conditions:?}"))
    })
    .await;
    assert!(
        message.contains("'secrets' is namespaced; select it with scope Namespaced"),
        "{message}"
    );
    lab.settle().await;
    api.delete(&name, &Default::default()).await.unwrap();
}

#[tokio::test]
async fn a_branch_that_is_not_allowed() {
    let lab = Lab::shared("branch").await.watching(&["configmaps"]).await;
    lab.destination("other", json!({"branch": "release", "baseFolder": "other"}))
        .await;
    let rule =
        json!({"destinationRef": {"name": "other"}, "rules": [{"resources": ["configmaps"]}]});
    lab.apply::<WatchRule>("other", rule).await.unwrap();
    let message = told::<GitDestination>(&lab, "other", "BranchNotAllowed").await;
    assert!(
        message.contains("'release'") && message.contains("'repo': main"),
        "{message}"
    );
    let message = told::<WatchRule>(&lab, "other", "DestinationNotReady").await;
    assert!(
        message.contains(&format!("{}/other", lab.namespace)),
        "{message}"
    );
    lab.settle().await;

    lab.repo_config(&lab.repo.url().to_owned(), &["main", "release"])
        .await;
    lab.ready::<GitDestination>("other").await;
    lab.ready::<WatchRule>("other").await;
    assert!(lab.repo.tip("release").is_some());
    // And back: what is there stays, and is no longer written to.
    lab.repo_config(&lab.repo.url().to_owned(), &["main"]).await;
    told::<GitDestination>(&lab, "other", "BranchNotAllowed").await;
    let tip = lab.repo.tip("release");
    lab.settle().await;
    assert_eq!(lab.repo.tip("release"), tip);
}

#[tokio::test]
async fn folders_that_overlap() {
    let lab = Lab::shared("overlap").await.watching(&["configmaps"]).await;
    let rule =
        json!({"destinationRef": {"name": "inner"}, "rules": [{"resources": ["configmaps"]}]});
    lab.apply::<WatchRule>("inner", rule).await.unwrap();
    let message = told::<WatchRule>(&lab, "inner", "DestinationNotReady").await;
    assert!(message.contains("inner"), "{message}");
    for folder in [
        FOLDER.to_owned(),
        format!("{FOLDER}/inner"),
        "clusters".to_owned(),
        FOLDER.to_uppercase(),
    ] {
        lab.destination("inner", json!({"baseFolder": folder}))
            .await;
        let message = told::<GitDestination>(&lab, "inner", "FolderOverlap").await;
        assert!(
            message.contains(&folder) && message.contains(&format!("{}/all", lab.namespace)),
            "{message}"
        );
        lab.ready::<GitDestination>("all").await;
    }
    lab.settle().await;
    lab.destination("inner", json!({"baseFolder": "clusters/labour"}))
        .await;
    lab.ready::<GitDestination>("inner").await;
    lab.ready::<WatchRule>("inner").await;
    lab.settle().await;
}

#[tokio::test]
async fn references_into_other_namespaces() {
    let (lab, healthy) = labs("references").await;
    let lab = lab.watching(&["configmaps"]).await;
    let elsewhere = &healthy.namespace;
    let rule = json!({
        "destinationRef": {"name": "all", "namespace": elsewhere}, "rules": [{"resources": ["configmaps"]}],
    });
    lab.apply::<WatchRule>("stray", rule).await.unwrap();
    let message = told::<WatchRule>(&lab, "stray", "CrossNamespaceReference").await;
    assert!(message.contains("of its own namespace only"), "{message}");
    lab.destination(
        "stray",
        json!({"repoRef": {"name": "repo", "namespace": elsewhere}, "baseFolder": "stray"}),
    )
    .await;
    let message = told::<GitDestination>(&lab, "stray", "CrossNamespaceReference").await;
    assert!(message.contains(&lab.namespace), "{message}");

    create(&lab.maps("alice"), &map("mine", "k", "1")).await;
    lab.holds("mine", "k", "1").await;
    healthy.settle().await;
    let strays = healthy
        .repo
        .files()
        .into_iter()
        .filter(|path| path.contains(&lab.namespace))
        .count();
    assert_eq!(strays, 0);

    lab.destination(
        "stray",
        json!({"repoRef": {"name": "repo"}, "baseFolder": "stray"}),
    )
    .await;
    lab.ready::<GitDestination>("stray").await;
    let rule =
        json!({"destinationRef": {"name": "stray"}, "rules": [{"resources": ["configmaps"]}]});
    lab.apply::<WatchRule>("stray", rule).await.unwrap();
    lab.ready::<WatchRule>("stray").await;
}

#[tokio::test]
async fn a_repository_configuration_that_does_not_exist() {
    let (lab, healthy) = labs("absent").await;
    lab.destination("all", json!({})).await;
    lab.rule("rule", json!([{"resources": ["configmaps"]}]))
        .await;
    let message = told::<GitDestination>(&lab, "all", "RepoConfigNotFound").await;
    assert!(
        message.contains("'repo'") && message.contains(&lab.namespace),
        "{message}"
    );
    told::<WatchRule>(&lab, "rule", "DestinationNotReady").await;
    goes_on_elsewhere(&lab, &healthy).await;
    lab.repo_config(&lab.repo.url().to_owned(), &["main"]).await;
    recovers(&lab).await;
}

/// A marker that another cluster has left.
const FOREIGN: &str = "cluster: 0c2f9d0e-another\ndestination: lab/all\n";

#[tokio::test]
async fn a_folder_of_another_cluster() {
    // The worker has its clone already when the other cluster pushes.
    let lab = Lab::shared("foreign").await.watching(&["configmaps"]).await;
    let marker = "theirs/.gitops-reverser";
    lab.repo.commit_as_outsider(marker, FOREIGN);
    lab.repo
        .commit_as_outsider("theirs/v1/configmaps/lab/x.yaml", "kind: ConfigMap\n");
    lab.destination("theirs", json!({"baseFolder": "theirs"}))
        .await;
    let rule =
        json!({"destinationRef": {"name": "theirs"}, "rules": [{"resources": ["configmaps"]}]});
    lab.apply::<WatchRule>("theirs", rule).await.unwrap();
    let message = told::<GitDestination>(&lab, "theirs", "ForeignFolder").await;
    assert!(
        message.contains("belongs to cluster 0c2f9d0e-another")
            && message.contains("set spec.takeOver to 0c2f9d0e-another"),
        "{message}"
    );
    assert!(is_stalled::<GitDestination>(&lab, "theirs").await);
    // The other folder of the same branch goes on, and nothing is written to theirs.
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.settle().await;
    let theirs = || -> Vec<String> {
        let files = lab.repo.files().into_iter();
        files.filter(|path| path.starts_with("theirs/")).collect()
    };
    assert_eq!(theirs(), [marker, "theirs/v1/configmaps/lab/x.yaml"]);
    assert_eq!(lab.repo.file(marker).unwrap(), FOREIGN.as_bytes());

    lab.destination(
        "theirs",
        json!({"baseFolder": "theirs", "takeOver": "0c2f9d0e-another"}),
    )
    .await;
    lab.ready::<GitDestination>("theirs").await;
    let ours = format!("theirs/v1/configmaps/{}/one.yaml", lab.namespace);
    assert!(theirs().contains(&ours), "{:?}", theirs());
    assert!(!theirs().contains(&"theirs/v1/configmaps/lab/x.yaml".to_owned()));
    let now = String::from_utf8(lab.repo.file(marker).unwrap()).unwrap();
    assert!(
        now.contains(&format!("destination: {}/theirs", lab.namespace)),
        "{now}"
    );
}

#[tokio::test]
async fn a_folder_that_another_cluster_takes_and_leaves_again() {
    let lab = Lab::shared("taken").await.watching(&["configmaps"]).await;
    lab.settle().await;
    let marker = format!("{FOLDER}/.gitops-reverser");
    lab.repo.commit_as_outsider(&marker, FOREIGN);
    // Found at the next push, which was begun before.
    set(&lab.maps("alice"), "settle-0", "k", "2").await;
    told::<GitDestination>(&lab, "all", "ForeignFolder").await;
    let head = lab.repo.head();
    set(&lab.maps("alice"), "settle-0", "k", "3").await;
    lab.repo.remove_as_outsider(&marker);
    assert_ne!(lab.repo.head(), head);
    lab.holds("settle-0", "k", "3").await;
    lab.ready::<GitDestination>("all").await;
    assert!(lab.repo.file(&marker).is_some());
}

#[tokio::test]
async fn objects_from_before_the_schema() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    permissive_definitions(&plane).await;
    let lab = Lab::on(&plane, "old").await;
    let good = json!({"destinationRef": {"name": "all"}, "rules": [{"resources": ["configmaps"]}]});
    let broken = [
        ("text", json!("configmaps")),
        ("none", Value::Null),
        (
            "wrong",
            json!({"destinationRef": "all", "rules": {"resources": "configmaps"}}),
        ),
        (
            "word",
            json!({"destinationRef": {"name": "all"}, "rules": [{"resources": ["configmaps"], "operations": ["WATCH"]}]}),
        ),
    ];
    for (name, spec) in &broken {
        eventually(PATIENCE, || lab.apply::<WatchRule>(name, spec.clone())).await;
    }
    lab.destination("up", json!({"baseFolder": "../up"})).await;
    lab.destination("policy", json!({"secretPolicy": "Encrypt"}))
        .await;
    lab.apply::<GitRepoConfig>(
        "ftp",
        json!({"repoUrl": "ftp://u:s3cr3t@h/a", "allowedBranches": ["main"]}),
    )
    .await
    .unwrap();
    lab.apply::<GitRepoConfig>(
        "dots",
        json!({"repoUrl": "https://127.0.0.1:1/a", "allowedBranches": ["a..b"]}),
    )
    .await
    .unwrap();
    lab.destination(
        "dots",
        json!({"repoRef": {"name": "dots"}, "branch": "a..b", "baseFolder": "dots"}),
    )
    .await;

    // Applies the definitions as they are.
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = lab.watching(&["configmaps"]).await;
    lab.settle().await;
    for (name, _) in &broken {
        let message = told::<WatchRule>(&lab, name, "InvalidSpec").await;
        assert!(message.starts_with("the spec can't be read: "), "{message}");
    }
    told::<GitDestination>(&lab, "up", "InvalidBaseFolder").await;
    let message = told::<GitDestination>(&lab, "policy", "InvalidSpec").await;
    assert!(
        message.contains("Encrypt") && message.contains("Omit"),
        "{message}"
    );
    told::<GitRepoConfig>(&lab, "ftp", "InvalidURL").await;
    told::<GitDestination>(&lab, "dots", "InvalidBranch").await;
    keeps_secrets(&lab, &reverser, &[PASSWORD, "s3cr3t"]).await;

    // As `kubectl replace` does: an apply has to read what is there.
    let rules: Api<DynamicObject> = Api::namespaced_with(
        lab.client.clone(),
        &lab.namespace,
        &ApiResource::erase::<WatchRule>(&()),
    );
    for (name, _) in &broken {
        // Its status may be written in between.
        eventually(PATIENCE, || async {
            let mut rule = rules.get(name).await?;
            rule.data["spec"] = good.clone();
            rules.replace(name, &PostParams::default(), &rule).await
        })
        .await;
        lab.ready::<WatchRule>(name).await;
    }
    lab.ready::<GitDestination>("all").await;
    lab.settle().await;
    reverser.stop().await.unwrap();
}

/// The four kinds, without a word on what is in them.
async fn permissive_definitions(plane: &ControlPlane) {
    let api: Api<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> =
        Api::all(plane.client());
    for definition in definitions() {
        let mut definition = serde_json::to_value(definition).unwrap();
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        create(&api, &serde_json::from_value(definition).unwrap()).await;
    }
}
