//! What the schemas refuse, as `kubectl apply --server-side` would be told, and what they accept.
//!
//! Everything is applied dry: the apiserver judges it and stores nothing.

use std::fmt::Debug;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective,
};
use kube::{Client, Resource};
use reverser::api::{ClusterWatchRule, GitDestination, GitRepoConfig, WatchRule, definition_files};
use serde_json::{Value, json};
use tests::control_plane::ControlPlane;
use tests::eventually::eventually;
use tests::reverser::apply_crds;

use crate::lab::PATIENCE;

/// What `git check-ref-format --branch` takes, and what it does not.
const BRANCHES: [&str; 48] = [
    "main",
    "feature/x",
    "release-1.2",
    "a.b",
    "a./b",
    "a@b",
    "@a",
    "a@",
    "@/b",
    "a-",
    "a]b",
    "a{b}",
    "a'b",
    "a\"b",
    "!a",
    "#1",
    "%x",
    "x.LOCK",
    "x.locked",
    "head",
    "FETCH_HEAD",
    "a/HEAD",
    "refs/heads/main",
    "ü/漢字",
    "a..b",
    "..",
    ".",
    "a.",
    ".a",
    "a/.b",
    "-x",
    "-",
    "x.lock",
    "x.lock/b",
    "a//b",
    "/a",
    "a/",
    "a b",
    "refs~1",
    "a^",
    "a:b",
    "a?b",
    "a*b",
    "a[b",
    "a\\b",
    "a@{b",
    "HEAD",
    "a\u{1}b",
];

async fn client() -> Client {
    let client = ControlPlane::shared().await.client();
    apply_crds(&client).await.unwrap();
    client
}

/// Applies dry and strictly; returns the object as it would be stored, or the apiserver's words and status code.
async fn apply<K>(client: &Client, spec: &Value) -> Result<Value, (u16, String)>
where
    K: Resource<DynamicType = ()>,
{
    let resource = ApiResource::erase::<K>(&());
    // The one cluster-scoped kind takes no namespace.
    let api: Api<DynamicObject> = if resource.kind == ClusterWatchRule::kind(&()) {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), "default", &resource)
    };
    let object = json!({
        "apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "judged"}, "spec": spec,
    });
    let mut parameters = PatchParams::apply("test").force();
    parameters.dry_run = true;
    parameters.field_validation = Some(ValidationDirective::Strict);
    match api
        .patch("judged", &parameters, &Patch::Apply(object))
        .await
    {
        Ok(stored) => Ok(stored.data["spec"].clone()),
        Err(kube::Error::Api(status)) => Err((status.code, status.message.clone())),
        Err(error) => panic!("{error}"),
    }
}

/// Every case must be refused with a message that names the field.
async fn all_refused<K, T: Debug>(cases: impl IntoIterator<Item = (T, Value)>, field: &str)
where
    K: Resource<DynamicType = ()>,
{
    let client = client().await;
    let mut wrong = Vec::new();
    for (case, spec) in cases {
        match apply::<K>(&client, &spec).await {
            Err((422, message)) if message.contains(field) => {}
            other => wrong.push(format!("{case:?}: {other:?}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "not refused for {field}:\n{}",
        wrong.join("\n")
    );
}

async fn all_accepted<K, T: Debug>(cases: impl IntoIterator<Item = (T, Value)>)
where
    K: Resource<DynamicType = ()>,
{
    let client = client().await;
    let mut wrong = Vec::new();
    for (case, spec) in cases {
        if let Err(refusal) = apply::<K>(&client, &spec).await {
            wrong.push(format!("{case:?}: {refusal:?}"));
        }
    }
    assert!(wrong.is_empty(), "refused:\n{}", wrong.join("\n"));
}

/// A spec that is good, but for what `more` puts in.
fn repo(more: Value) -> Value {
    merged(
        json!({"repoUrl": "https://git.example.com/a/b.git", "allowedBranches": ["main"]}),
        more,
    )
}

fn destination(more: Value) -> Value {
    merged(
        json!({"repoRef": {"name": "repo"}, "branch": "main", "baseFolder": "clusters/lab"}),
        more,
    )
}

fn rule(item: Value) -> Value {
    let item = merged(json!({"resources": ["configmaps"]}), item);
    json!({"destinationRef": {"name": "all"}, "rules": [item]})
}

fn cluster_rule(more: Value) -> Value {
    merged(
        json!({
            "destinationRef": {"name": "all", "namespace": "lab"},
            "rules": [{"scope": "Cluster", "resources": ["namespaces"]}],
        }),
        more,
    )
}

/// `null` takes a field away.
fn merged(mut base: Value, more: Value) -> Value {
    let fields = base.as_object_mut().unwrap();
    for (key, value) in more.as_object().unwrap() {
        if value.is_null() {
            fields.remove(key);
        } else {
            fields.insert(key.clone(), value.clone());
        }
    }
    base
}

fn git_accepts(branch: &str) -> bool {
    std::process::Command::new("git")
        .args(["check-ref-format", "--branch", branch])
        // Outside a repository, where `@{-1}` means nothing.
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap()
        .status
        .success()
}

#[tokio::test]
async fn the_definitions_are_applied_without_a_warning_and_served() {
    let client = client().await;
    for (name, text) in definition_files().unwrap() {
        let definition: Value = serde_yaml::from_str(&text).unwrap();
        let crd = definition["metadata"]["name"].as_str().unwrap();
        let path = format!(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd}\
             ?fieldManager=test&force=true&dryRun=All&fieldValidation=Strict"
        );
        let request = http::Request::patch(path)
            .header("content-type", "application/apply-patch+yaml")
            .body(text.clone().into_bytes().into())
            .unwrap();
        let answer = client.send(request).await.unwrap();
        let warnings: Vec<_> = answer.headers().get_all("warning").iter().collect();
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
        assert!(answer.status().is_success(), "{name}: {}", answer.status());

        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        let stored = api.get(crd).await.unwrap();
        let conditions = stored.status.unwrap().conditions.unwrap();
        for condition in conditions {
            let good = matches!(condition.type_.as_str(), "NamesAccepted" | "Established");
            assert!(good && condition.status == "True", "{name}: {condition:?}");
        }
    }
}

#[tokio::test]
async fn branches_are_refused_and_accepted_as_by_git() {
    let client = client().await;
    let mut wrong = Vec::new();
    // git 2.39 accepts `@`, which its manual refuses.
    for (branch, good) in BRANCHES
        .iter()
        .map(|branch| (*branch, git_accepts(branch)))
        .chain([("@", false), ("", false)])
    {
        let destination =
            apply::<GitDestination>(&client, &destination(json!({"branch": branch}))).await;
        let repo =
            apply::<GitRepoConfig>(&client, &repo(json!({"allowedBranches": ["main", branch]})))
                .await;
        for (found, field) in [(destination, "spec.branch"), (repo, "spec.allowedBranches")] {
            let as_it_should = match &found {
                Ok(_) => good,
                Err((422, message)) => !good && message.contains(field),
                Err(_) => false,
            };
            if !as_it_should {
                wrong.push(format!(
                    "{field} {branch:?}, git accepts: {good}: {found:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let refused = BRANCHES
        .iter()
        .filter(|branch| !git_accepts(branch))
        .count();
    assert!(
        (20..30).contains(&refused),
        "{refused} of the table are refused by git"
    );
}

#[tokio::test]
async fn folders_that_leave_the_repository_or_reach_into_git_are_refused() {
    let folders = [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "./a",
        "a/.",
        "../a",
        "a/../b",
        "a/..",
        ".git",
        "a/.git/b",
        ".GIT",
        "a/.Git",
        "git~1",
        "GIT~1/a",
        ".git.",
        ".git ",
        "a\\b",
        "\\a",
        "C:/a",
        "a:b",
        "a*",
        "a?b",
        "a|b",
        "<a>",
        "a\"",
        "a\nb",
        "a\tb",
        "a\u{0}b",
        "a\u{1}",
        ".g\u{200c}it",
        "a\u{202e}b",
        "a./b",
        "a /b",
        " a",
        "a ",
    ];
    all_refused::<GitDestination, _>(
        folders
            .into_iter()
            .map(str::to_owned)
            .chain(["x".repeat(251), "ü".repeat(64), "a/".repeat(300) + "b"])
            .map(|folder| (folder.clone(), destination(json!({"baseFolder": folder})))),
        "spec.baseFolder",
    )
    .await;
}

#[tokio::test]
async fn folders_of_the_repository_are_accepted() {
    let folders = [
        "a",
        "clusters/lab",
        ".github/live",
        "a/.gitx/b",
        "..a",
        "a..b",
        ".hidden",
        "Über uns/漢字",
        "a-b_c.d+e@f,g",
        "git",
        "~a",
    ];
    all_accepted::<GitDestination, _>(
        folders
            .into_iter()
            .map(str::to_owned)
            .chain(["x".repeat(250), "ü".repeat(63)])
            .map(|folder| (folder.clone(), destination(json!({"baseFolder": folder})))),
    )
    .await;
}

#[tokio::test]
async fn urls_of_other_schemes_and_with_credentials_are_refused() {
    let urls = [
        "",
        "git.example.com/a",
        "/srv/git/a",
        "./a",
        "a",
        "git://git.example.com/a",
        "ftp://h/a",
        "ext::sh -c id",
        "javascript://h/a",
        "file:a",
        "file://host/a",
        "file:///",
        "https://",
        "https://h",
        "https://h/",
        "https:///a",
        "https://h/a b",
        "https://h/a\nb",
        "https://h/a\u{1}",
        "https://h/a?token=x",
        "https://h/a#x",
        "https://u:p@h/a",
        "https://token@h/a",
        "http://u:p@h/a",
        "https://u@i:p@h/a",
        "ssh://git:p@h/a",
        "ssh://h",
        "git@host",
        "git@host:",
        "git@host:-oProxyCommand=id",
        "-oProxyCommand=id@h:a",
        "host:path",
    ];
    all_refused::<GitRepoConfig, _>(
        urls.map(|url| (url, repo(json!({"repoUrl": url})))),
        "spec.repoUrl",
    )
    .await;
}

#[tokio::test]
async fn urls_of_git_servers_are_accepted_by_the_schema_and_the_parser_alike() {
    let urls = [
        "https://git.example.com/a/b.git",
        "https://127.0.0.1:8443/a",
        "http://git.example.com/a",
        "https://[::1]:8/a",
        "ssh://git@git.example.com/a/b.git",
        "ssh://git.example.com:2222/~me/a",
        "git@git.example.com:a/b.git",
        "git@[::1]:a/b",
        "git@host:/srv/git/a.git",
        "org-1234@github.com:a/b.git",
        "file:///srv/git/a.git",
        "https://dev.azure.com/o/p%20q/_git/r",
        "https://h/a@b",
    ];
    for url in urls {
        reverser::git::RepoUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    }
    all_accepted::<GitRepoConfig, _>(urls.map(|url| (url, repo(json!({"repoUrl": url}))))).await;
}

#[tokio::test]
async fn empty_lists_are_refused() {
    all_refused::<GitRepoConfig, _>(
        [
            ("none", repo(json!({"allowedBranches": []}))),
            ("omitted", repo(json!({"allowedBranches": null}))),
        ],
        "spec.allowedBranches",
    )
    .await;
    all_refused::<WatchRule, _>(
        [
            (
                "empty",
                json!({"destinationRef": {"name": "all"}, "rules": []}),
            ),
            ("omitted", json!({"destinationRef": {"name": "all"}})),
        ],
        "spec.rules",
    )
    .await;
    for field in ["resources", "operations", "apiGroups", "apiVersions"] {
        let full = format!("spec.rules[0].{field}");
        all_refused::<WatchRule, _>([("empty", rule(json!({field: []})))], &full).await;
        let item = merged(
            json!({"scope": "Cluster", "resources": ["namespaces"]}),
            json!({field: []}),
        );
        all_refused::<ClusterWatchRule, _>(
            [("empty", cluster_rule(json!({"rules": [item]})))],
            &full,
        )
        .await;
    }
    all_refused::<WatchRule, _>(
        [("omitted", rule(json!({"resources": null})))],
        "spec.rules[0].resources",
    )
    .await;
    all_refused::<ClusterWatchRule, _>(
        [("empty", cluster_rule(json!({"rules": []})))],
        "spec.rules",
    )
    .await;
}

#[tokio::test]
async fn words_that_mean_nothing_are_refused() {
    for policy in ["Encrypt", "omit", "PLAIN", ""] {
        all_refused::<GitDestination, _>(
            [(policy, destination(json!({"secretPolicy": policy})))],
            "spec.secretPolicy",
        )
        .await;
    }
    let of_rules = [
        ("operations", vec!["CONNECT", "create", ""]),
        ("apiGroups", vec!["Apps", "apps/v1", "a b", "-a"]),
        ("apiVersions", vec!["", "apps/v1", "V1", "v1 "]),
        (
            "resources",
            vec!["", "deployments/scale", "config maps", "-x"],
        ),
    ];
    for (field, words) in of_rules {
        all_refused::<WatchRule, _>(
            words
                .iter()
                .map(|word| (*word, rule(json!({field: [word]})))),
            &format!("spec.rules[0].{field}"),
        )
        .await;
    }
    for name in ["", "Upper", "a/b", "a b", "-a"] {
        all_refused::<WatchRule, _>(
            [(
                name,
                json!({"destinationRef": {"name": name}, "rules": [{"resources": ["configmaps"]}]}),
            )],
            "spec.destinationRef.name",
        )
        .await;
        all_refused::<GitDestination, _>(
            [(name, destination(json!({"repoRef": {"name": name}})))],
            "spec.repoRef.name",
        )
        .await;
        all_refused::<GitRepoConfig, _>(
            [(name, repo(json!({"secretRef": {"name": name}})))],
            "spec.secretRef.name",
        )
        .await;
    }
    for committer in [" ", "a\nb", "<a>", "."] {
        let with = |name: &str, email: &str| {
            repo(json!({"commit": {"committer": {"name": name, "email": email}}}))
        };
        all_refused::<GitRepoConfig, _>(
            [(committer, with(committer, "a@b"))],
            "spec.commit.committer.name",
        )
        .await;
        all_refused::<GitRepoConfig, _>(
            [(committer, with("a", committer))],
            "spec.commit.committer.email",
        )
        .await;
    }
    let limits = [
        ("maxFiles", 0),
        ("maxBytes", 0),
        ("maxWaitSec", 0),
        ("maxWaitSec", 86400),
        ("lingerMs", -1),
    ];
    for (limit, value) in limits {
        all_refused::<GitRepoConfig, _>(
            [(value, repo(json!({"push": {limit: value}})))],
            &format!("spec.push.{limit}"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_cluster_rule_without_a_namespace_or_scope_is_refused() {
    all_refused::<ClusterWatchRule, _>(
        [(
            "omitted",
            cluster_rule(json!({"destinationRef": {"name": "all"}})),
        )],
        "spec.destinationRef.namespace",
    )
    .await;
    let items = [
        ("omitted", json!({"resources": ["namespaces"]})),
        (
            "unknown",
            json!({"scope": "Everything", "resources": ["namespaces"]}),
        ),
        (
            "lower case",
            json!({"scope": "cluster", "resources": ["namespaces"]}),
        ),
    ];
    all_refused::<ClusterWatchRule, _>(
        items.map(|(case, item)| (case, cluster_rule(json!({"rules": [item]})))),
        "spec.rules[0].scope",
    )
    .await;
}

#[tokio::test]
async fn what_is_misspelt_is_refused_by_name() {
    let client = client().await;
    let refused = [
        apply::<GitRepoConfig>(&client, &repo(json!({"branches": ["main"]}))).await,
        apply::<GitDestination>(&client, &destination(json!({"branches": "x"}))).await,
        apply::<WatchRule>(&client, &rule(json!({"branches": ["x"]}))).await,
        apply::<ClusterWatchRule>(&client, &cluster_rule(json!({"branches": ["x"]}))).await,
    ];
    for refusal in refused {
        let (_, message) = refusal.unwrap_err();
        assert!(message.contains("branches"), "{message}");
    }
}

#[tokio::test]
async fn good_ones_are_accepted_and_get_their_defaults() {
    let client = client().await;
    let stored = apply::<GitDestination>(&client, &destination(json!({})))
        .await
        .unwrap();
    assert_eq!(stored, destination(json!({"secretPolicy": "Omit"})));
    let plain = destination(
        json!({"secretPolicy": "Plain", "takeOver": "0c2f", "repoRef": {"name": "a", "namespace": "b"}}),
    );
    assert_eq!(
        apply::<GitDestination>(&client, &plain).await.unwrap(),
        plain
    );
    let full = repo(json!({
        "allowedBranches": ["main", "live"],
        "secretRef": {"name": "git.credentials"},
        "push": {"maxFiles": 1, "maxBytes": 1024, "maxWaitSec": 1, "lingerMs": 0},
        "commit": {"committer": {"name": "Jörg, Bot (prod).", "email": "bot@example.com"}, "authorEmailDomain": "example.com"},
    }));
    assert_eq!(apply::<GitRepoConfig>(&client, &full).await.unwrap(), full);
    let every = rule(json!({
        "operations": ["CREATE", "UPDATE", "DELETE", "*"], "apiGroups": ["", "*", "apps"], "apiVersions": ["*", "v1", "v1beta1"],
        "resources": ["*", "deployments", "Deployment", "widgets.example.com"],
    }));
    assert_eq!(apply::<WatchRule>(&client, &every).await.unwrap(), every);
    let both = cluster_rule(json!({"rules": [
        {"scope": "Cluster", "resources": ["*"]},
        {"scope": "Namespaced", "resources": ["secrets"], "operations": ["*"]},
    ]}));
    assert_eq!(
        apply::<ClusterWatchRule>(&client, &both).await.unwrap(),
        both
    );
}

#[tokio::test]
async fn an_update_is_judged_as_a_creation_is() {
    let plane = ControlPlane::shared().await;
    let client = client().await;
    let namespace = plane.create_namespace("judged").await;
    let api: Api<GitDestination> = Api::namespaced(client, &namespace);
    let good: GitDestination = serde_json::from_value(json!({
        "apiVersion": "configbutler.ai/v1alpha1", "kind": "GitDestination", "metadata": {"name": "all"},
        "spec": destination(json!({})),
    }))
    .unwrap();
    // A definition that was just applied may take a moment to be served.
    eventually(PATIENCE, || async {
        api.create(&PostParams::default(), &good).await
    })
    .await;
    let patch = Patch::Merge(json!({"spec": {"baseFolder": "../elsewhere"}}));
    match api.patch("all", &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 422, "{}", status.message),
        other => panic!("{other:?}"),
    }
}
