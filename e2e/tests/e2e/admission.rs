//! Nobody has exported what they may not read: the chart's ValidatingAdmissionPolicies on a real apiserver.

// clippy.toml allows it in test functions only, not in what they share.
#![allow(clippy::unwrap_used)]

use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use tests::ControlPlane;
use tests::eventually::eventually;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// A namespace, and people with rights in it.
struct Team {
    plane: &'static ControlPlane,
    admin: Client,
    namespace: String,
}

impl Team {
    async fn apply(&self, client: &Client, object: Value, dry_run: bool) -> kube::Result<()> {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let params = PatchParams::apply("test").force();
        let params = if dry_run { params.dry_run() } else { params };
        let name = object.metadata.name.clone().unwrap();
        e2e::chart::api(client, &object)
            .unwrap()
            .patch(&name, &params, &Patch::Apply(&object))
            .await
            .map(drop)
    }

    /// Gives a user these rights in the namespace, or everywhere.
    async fn grant(&self, user: &str, everywhere: bool, rules: Value) {
        let name = format!("{}-{user}", self.namespace);
        let (role, binding) = if everywhere {
            ("ClusterRole", "ClusterRoleBinding")
        } else {
            ("Role", "RoleBinding")
        };
        let mut metadata = json!({"name": name});
        if !everywhere {
            metadata["namespace"] = json!(self.namespace);
        }
        let version = "rbac.authorization.k8s.io/v1";
        for object in [
            json!({"apiVersion": version, "kind": role, "metadata": metadata, "rules": rules}),
            json!({
                "apiVersion": version, "kind": binding, "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
            }),
        ] {
            self.apply(&self.admin, object, false).await.unwrap();
        }
    }

    fn object(&self, kind: &str, spec: Value) -> Value {
        let mut object = json!({
            "apiVersion": "configbutler.ai/v1alpha1", "kind": kind, "metadata": {"name": "one"},
        });
        object["spec"] = spec;
        if kind != "ClusterWatchRule" {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        object
    }

    async fn accepts(&self, user: &str, kind: &str, spec: Value) {
        let client = self.plane.client_as(user, &[]);
        let object = self.object(kind, spec);
        // Rights that were just given take a moment to count.
        eventually(PATIENCE, || self.apply(&client, object.clone(), true)).await;
    }

    /// As it stands there: applying leaves nulls away.
    async fn creates(&self, user: &str, kind: &str, spec: Value) {
        let client = self.plane.client_as(user, &[]);
        let object: DynamicObject = serde_json::from_value(self.object(kind, spec)).unwrap();
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let api = e2e::chart::api(&client, &object).unwrap();
        api.create(&dry_run, &object).await.unwrap();
    }

    /// With all of these words.
    async fn refuses(&self, user: &str, kind: &str, spec: Value, words: &[&str]) {
        let client = self.plane.client_as(user, &[]);
        let object = self.object(kind, spec);
        eventually(PATIENCE, || async {
            match self.apply(&client, object.clone(), true).await {
                Err(kube::Error::Api(status))
                    if status.code == 403
                        && words.iter().all(|word| status.message.contains(word)) =>
                {
                    Ok(())
                }
                other => Err(format!("{user}: {other:?}")),
            }
        })
        .await;
    }
}

fn rules(items: Value) -> Value {
    let mut spec = json!({"destinationRef": {"name": "all"}});
    spec["rules"] = items;
    spec
}

/// Whoever may write our four kinds.
fn writes_ours() -> Value {
    json!({
        "apiGroups": ["configbutler.ai"], "resources": ["*"],
        "verbs": ["get", "list", "create", "update", "patch", "delete"],
    })
}

async fn team(prefix: &str) -> (Rendered, Team) {
    let cluster = Cluster::shared().await.unwrap();
    let admin = cluster.client().unwrap();
    let plane = ControlPlane::shared().await;
    let rendered = render(&cluster, prefix, json!({}))
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    rendered
        .apply(&admin)
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    let namespace = plane.create_namespace(prefix).await;
    let team = Team {
        plane,
        admin,
        namespace,
    };
    (rendered, team)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn a_rule_exports_nothing_that_its_author_may_not_list() {
    let (rendered, team) = team("exports").await;
    let list = |groups: Value, resources: Value| json!({"apiGroups": groups, "resources": resources, "verbs": ["list"]});
    team.grant("mallory", false, json!([writes_ours()])).await;
    let of_alice = list(json!(["", "apps"]), json!(["configmaps", "deployments"]));
    team.grant("alice", false, json!([writes_ours(), of_alice]))
        .await;
    let core = json!([{"apiGroups": [""], "resources": ["configmaps"]}]);
    let namespace = team.namespace.as_str();
    team.refuses(
        "mallory",
        "WatchRule",
        rules(core.clone()),
        &["you may not list 'configmaps' in API group ''", namespace],
    )
    .await;
    team.accepts("alice", "WatchRule", rules(core.clone()))
        .await;
    team.accepts(
        "alice",
        "WatchRule",
        rules(json!([{"apiGroups": [""], "resources": ["configmaps"]}, {"apiGroups": ["apps"], "resources": ["deployments"]}])),
    )
    .await;
    for (item, words) in [
        (
            json!({"apiGroups": [""], "resources": ["configmaps", "secrets"]}),
            "you may not list 'secrets' in API group ''",
        ),
        (
            json!({"apiGroups": ["", "example.com"], "resources": ["configmaps"]}),
            "you may not list 'configmaps' in API group 'example.com'",
        ),
        (json!({"resources": ["configmaps"]}), "name the group"),
        (
            json!({"apiGroups": ["*"], "resources": ["configmaps"]}),
            "name the group",
        ),
        (
            json!({"resources": ["*"]}),
            "you may not list 'limitranges'",
        ),
        (
            json!({"apiGroups": ["apps"], "resources": ["*"]}),
            "you may not list 'daemonsets' in API group 'apps'",
        ),
    ] {
        // Behind an item that is allowed.
        let first = json!({"apiGroups": [""], "resources": ["configmaps"]});
        team.refuses("alice", "WatchRule", rules(json!([first, item])), &[words])
            .await;
    }

    // Of the whole cluster, rights in a namespace are none.
    let mut everywhere =
        rules(json!([{"scope": "Namespaced", "apiGroups": [""], "resources": ["configmaps"]}]));
    everywhere["destinationRef"]["namespace"] = json!(namespace);
    team.grant("alice", true, json!([writes_ours()])).await;
    let words = ["you may not list 'configmaps'", "in all namespaces"];
    team.refuses("alice", "ClusterWatchRule", everywhere.clone(), &words)
        .await;
    let all = list(json!([""]), json!(["configmaps"]));
    team.grant("carol", true, json!([writes_ours(), all])).await;
    team.accepts("carol", "ClusterWatchRule", everywhere).await;

    // What "*" means depends on the scope.
    let star = |scope: &str| json!({"scope": scope, "resources": ["*"]});
    let whole_cluster = |scopes: &[&str]| {
        let mut spec = rules(scopes.iter().map(|scope| star(scope)).collect());
        spec["destinationRef"]["namespace"] = json!(namespace);
        spec
    };
    let resources = |groups: &[&str], resources: &[&str]| list(json!(groups), json!(resources));
    let mut of_preset = vec![
        writes_ours(),
        resources(
            &[""],
            &[
                "services",
                "configmaps",
                "secrets",
                "serviceaccounts",
                "resourcequotas",
                "limitranges",
            ],
        ),
        resources(&["apps"], &["deployments", "statefulsets", "daemonsets"]),
        resources(&["networking.k8s.io"], &["ingresses", "networkpolicies"]),
        resources(&["policy"], &["poddisruptionbudgets"]),
        resources(&["rbac.authorization.k8s.io"], &["roles", "rolebindings"]),
    ];
    team.grant("erin", true, json!(of_preset)).await;
    team.accepts("erin", "ClusterWatchRule", whole_cluster(&["Namespaced"]))
        .await;
    let words = ["you may not list 'customresourcedefinitions'"];
    team.refuses(
        "erin",
        "ClusterWatchRule",
        whole_cluster(&["Cluster"]),
        &words,
    )
    .await;
    of_preset.extend([
        resources(
            &["rbac.authorization.k8s.io"],
            &["clusterroles", "clusterrolebindings"],
        ),
        resources(&["apiextensions.k8s.io"], &["customresourcedefinitions"]),
        resources(&["apiregistration.k8s.io"], &["apiservices"]),
        resources(&["scheduling.k8s.io"], &["priorityclasses"]),
        resources(&["storage.k8s.io"], &["storageclasses"]),
    ]);
    team.grant("finn", true, json!(of_preset)).await;
    team.accepts(
        "finn",
        "ClusterWatchRule",
        whole_cluster(&["Namespaced", "Cluster"]),
    )
    .await;

    // The administrator of a namespace exports what there is to export of it.
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "admins", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dora"}],
    });
    team.apply(&team.admin, binding, false).await.unwrap();
    team.grant("dora", false, json!([writes_ours()])).await;
    team.accepts("dora", "WatchRule", rules(json!([{"resources": ["*"]}])))
        .await;
    let null = json!([{"apiGroups": null, "resources": ["*"]}]);
    team.creates("dora", "WatchRule", rules(null)).await;

    // A change is judged as a creation is; a label exports nothing.
    let stored = team.object("WatchRule", rules(core));
    team.apply(&team.admin, stored.clone(), false)
        .await
        .unwrap();
    let mallory = team.plane.client_as("mallory", &[]);
    let mut labelled = stored;
    labelled["metadata"]["labels"] = json!({"a": "b"});
    team.apply(&mallory, labelled, true).await.unwrap();
    let secrets = json!([{"apiGroups": [""], "resources": ["secrets"]}]);
    team.refuses("mallory", "WatchRule", rules(secrets), &["'secrets'"])
        .await;
    rendered.delete(&team.admin).await.unwrap();
}

/// An authorization check has a high price in CEL's budget, and the longest rule that is accepted must not exceed it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn a_rule_of_24_types_is_checked_and_a_longer_one_refused() {
    let (rendered, team) = team("budget").await;
    let types: Vec<String> = (0..25).map(|number| format!("things{number}")).collect();
    let mut of_alice =
        json!({"apiGroups": ["example.com"], "resources": types[..24], "verbs": ["list"]});
    let item =
        |count: usize| rules(json!([{"apiGroups": ["example.com"], "resources": types[..count]}]));
    team.grant("alice", false, json!([writes_ours(), of_alice]))
        .await;
    team.accepts("alice", "WatchRule", item(24)).await;
    team.refuses("alice", "WatchRule", item(25), &["more than 24 types"])
        .await;
    // Without the last of them.
    of_alice["resources"] = json!(types[..23]);
    team.grant("alice", false, json!([writes_ours(), of_alice]))
        .await;
    team.refuses("alice", "WatchRule", item(24), &["'things23'"])
        .await;
    rendered.delete(&team.admin).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn credentials_are_used_by_who_may_read_them() {
    let (rendered, team) = team("credentials").await;
    let named = json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["git", "key"], "verbs": ["get"]});
    let of_repo = json!({
        "apiGroups": ["configbutler.ai"], "resources": ["gitrepoconfigs"], "resourceNames": ["repo"], "verbs": ["use"],
    });
    let secrets = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]});
    team.grant("mallory", false, json!([writes_ours()])).await;
    team.grant("alice", false, json!([writes_ours(), named]))
        .await;
    team.grant("bob", false, json!([writes_ours(), of_repo]))
        .await;
    team.grant("dora", false, json!([writes_ours(), secrets]))
        .await;

    let repo = |secret: &str| json!({"repoUrl": "https://git.example.com/a.git", "allowedBranches": ["main"], "secretRef": {"name": secret}});
    let words = ["you may not get Secret 'git'", team.namespace.as_str()];
    team.refuses("mallory", "GitRepoConfig", repo("git"), &words)
        .await;
    team.accepts("alice", "GitRepoConfig", repo("git")).await;
    team.refuses("alice", "GitRepoConfig", repo("other"), &["'other'"])
        .await;
    let anonymous =
        json!({"repoUrl": "https://git.example.com/a.git", "allowedBranches": ["main"]});
    team.accepts("mallory", "GitRepoConfig", anonymous.clone())
        .await;

    // The definitions allow null for what is left out.
    let mut nothing = anonymous.clone();
    nothing["secretRef"] = Value::Null;
    team.creates("mallory", "GitRepoConfig", nothing.clone())
        .await;
    nothing["commit"] = json!({"signing": null});
    team.creates("mallory", "GitRepoConfig", nothing.clone())
        .await;
    nothing["commit"] = Value::Null;
    team.creates("mallory", "GitRepoConfig", nothing).await;

    let destination = |policy: &str, name: &str| json!({"repoRef": {"name": name}, "branch": "main", "baseFolder": "live", "secretPolicy": policy});
    let words = [
        "you may neither get the Secrets",
        "'use' GitRepoConfig 'repo'",
    ];
    for user in ["mallory", "alice"] {
        team.refuses(
            user,
            "GitDestination",
            destination("Redact", "repo"),
            &words,
        )
        .await;
    }
    team.accepts("bob", "GitDestination", destination("Redact", "repo"))
        .await;
    team.refuses(
        "bob",
        "GitDestination",
        destination("Redact", "other"),
        &["'other'"],
    )
    .await;
    team.refuses(
        "bob",
        "GitDestination",
        destination("Plain", "repo"),
        &["written in the clear"],
    )
    .await;
    let mut encrypt = destination("Encrypt", "repo");
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    encrypt["encryption"] = json!({"ageRecipients": [recipient]});
    team.refuses("bob", "GitDestination", encrypt.clone(), &["whom you name"])
        .await;
    for of_dora in [destination("Plain", "repo"), encrypt] {
        team.accepts("dora", "GitDestination", of_dora).await;
    }
    rendered.delete(&team.admin).await.unwrap();
}
