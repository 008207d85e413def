use super::*;
use crate::commit::Signature;
use crate::rules::{ConfigObject, Kind, ObjectKey, Operations};
use kube::api::DynamicObject;
use serde_json::{Value, json};

fn options() -> CompileOptions {
    CompileOptions {
        secrets: Arc::default(),
        allow_file_urls: false,
        filter: TypeFilter::default(),
        limits: BatchLimits::default(),
        commit: CommitOptions {
            bot: Signature {
                name: "bot".to_owned(),
                email: "bot@example.com".to_owned(),
            },
            email_domain: "example.com".to_owned(),
        },
    }
}

fn catalog() -> Catalog {
    Catalog::of(&[
        ("", "v1", "configmaps", "ConfigMap", true),
        ("", "v1", "nodes", "Node", false),
        ("apps", "v1", "deployments", "Deployment", true),
    ])
}

fn object<S: serde::de::DeserializeOwned>(
    namespace: &str,
    name: &str,
    created: &str,
    spec: Value,
) -> ((String, String), ConfigObject<S>) {
    let value = json!({
        "apiVersion": "configbutler.ai/v1alpha1", "kind": "K",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
        "spec": spec.clone(),
    });
    let object: DynamicObject = serde_json::from_value(value).unwrap();
    let parsed = serde_json::from_value(spec)
        .map(Arc::new)
        .map_err(|e| e.to_string());
    (
        (namespace.to_owned(), name.to_owned()),
        ConfigObject {
            object: Arc::new(object),
            spec: parsed,
        },
    )
}

fn configuration() -> Configuration {
    let mut c = Configuration::default();
    let t = "2026-01-01T00:00:00Z";
    c.repos.extend([object(
        "lab",
        "repo",
        t,
        json!({"repoUrl": "https://git.example.com/a/b.git", "allowedBranches": ["main"]}),
    )]);
    c.destinations.extend([object(
        "lab",
        "all",
        t,
        json!({"repoRef": {"name": "repo"}, "branch": "main", "baseFolder": "live"}),
    )]);
    c.rules.extend([object(
        "lab",
        "maps",
        t,
        json!({"destinationRef": {"name": "all"}, "rules": [{"resources": ["configmaps"]}]}),
    )]);
    c
}

fn reason(plan: &Plan, kind: Kind, namespace: &str, name: &str) -> &'static str {
    plan.findings[&ObjectKey {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }]
        .conditions
        .reason()
}

#[test]
fn a_rule_watches_its_own_namespace_only() {
    let plan = compile(&configuration(), &catalog(), &options());
    let keys: Vec<String> = plan.watches.keys().map(ToString::to_string).collect();
    assert_eq!(keys, ["configmaps.v1 in lab"]);
}

#[test]
fn a_directory_is_a_repository_only_where_a_flag_says_so() {
    let mut c = configuration();
    let spec = json!({"repoUrl": "file:///srv/git/a.git", "allowedBranches": ["main"]});
    c.repos
        .extend([object("lab", "repo", "2026-01-01T00:00:00Z", spec)]);
    let plan = compile(&c, &catalog(), &options());
    let refused = reason(&plan, Kind::Repo, "lab", "repo");
    assert_eq!(refused, "FileURLNotAllowed");
    assert!(plan.destinations.is_empty());
    let options = CompileOptions {
        allow_file_urls: true,
        ..options()
    };
    let plan = compile(&c, &catalog(), &options);
    assert_eq!(plan.destinations.len(), 1);
}

#[test]
fn a_neighbour_that_does_not_sign_has_a_worker_of_its_own() {
    let mut c = configuration();
    let t = "2026-01-01T00:00:00Z";
    let signing = json!({
        "repoUrl": "https://git.example.com/a/b.git", "allowedBranches": ["main"],
        "commit": {"signing": {"secretRef": {"name": "key"}}},
    });
    c.repos.extend([object("lab", "signed", t, signing)]);
    let spec = json!({"repoRef": {"name": "signed"}, "branch": "main", "baseFolder": "signed"});
    c.destinations.extend([object("lab", "signed", t, spec)]);
    let plan = compile(&c, &catalog(), &options());
    let branch = |name: &str| {
        let key = DestinationKey {
            namespace: "lab".to_owned(),
            name: name.to_owned(),
        };
        plan.destinations[&key].branch.clone()
    };
    assert_ne!(branch("all"), branch("signed"));
    assert!(branch("all").is_same_branch(&branch("signed")));
    assert_eq!(branch("signed").signing, "lab/key");
}

#[test]
fn a_cluster_wide_watch_serves_the_namespaces_too() {
    let mut c = configuration();
    c.cluster_rules.extend([object("", "everywhere", "2026-01-01T00:00:00Z", json!({
        "destinationRef": {"name": "all", "namespace": "lab"},
        "rules": [{"scope": "Namespaced", "resources": ["configmaps"], "operations": ["CREATE"]}],
    }))]);
    let plan = compile(&c, &catalog(), &options());
    let keys: Vec<String> = plan.watches.keys().map(ToString::to_string).collect();
    assert_eq!(keys, ["configmaps.v1"]);
    let selection = &plan.watches.values().next().unwrap()[0].selection;
    assert_eq!(selection.operations("lab"), Some(Operations::ALL));
    assert!(
        !selection
            .operations("other")
            .unwrap()
            .allows(crate::change::Operation::Delete)
    );
}

#[test]
fn a_branch_that_is_not_allowed_is_refused_and_its_rules_wait() {
    let mut c = configuration();
    c.destinations.extend([object(
        "lab",
        "all",
        "2026-01-01T00:00:00Z",
        json!({"repoRef": {"name": "repo"}, "branch": "prod", "baseFolder": "live"}),
    )]);
    let plan = compile(&c, &catalog(), &options());
    assert_eq!(
        reason(&plan, Kind::Destination, "lab", "all"),
        "BranchNotAllowed"
    );
    assert_eq!(
        reason(&plan, Kind::Rule, "lab", "maps"),
        "DestinationNotReady"
    );
    assert!(plan.watches.is_empty());
}

#[test]
fn the_younger_of_two_overlapping_folders_is_refused() {
    let mut c = configuration();
    c.destinations.extend([object(
        "lab",
        "a-younger",
        "2026-02-01T00:00:00Z",
        json!({"repoRef": {"name": "repo"}, "branch": "main", "baseFolder": "Live/sub"}),
    )]);
    c.destinations.extend([object(
        "lab",
        "beside",
        "2026-02-01T00:00:00Z",
        json!({"repoRef": {"name": "repo"}, "branch": "main", "baseFolder": "live2"}),
    )]);
    let plan = compile(&c, &catalog(), &options());
    assert_eq!(
        reason(&plan, Kind::Destination, "lab", "a-younger"),
        "FolderOverlap"
    );
    assert_eq!(reason(&plan, Kind::Destination, "lab", "all"), "Accepted");
    assert_eq!(
        reason(&plan, Kind::Destination, "lab", "beside"),
        "Accepted"
    );
}

#[test]
fn one_broken_object_costs_the_others_nothing() {
    let mut c = configuration();
    c.rules.extend([object(
        "lab",
        "broken",
        "2026-01-01T00:00:00Z",
        json!({"rules": 7}),
    )]);
    let plan = compile(&c, &catalog(), &options());
    assert_eq!(reason(&plan, Kind::Rule, "lab", "broken"), "InvalidSpec");
    assert_eq!(reason(&plan, Kind::Rule, "lab", "maps"), "Accepted");
}

#[test]
fn an_unresolved_resource_keeps_the_rest_at_work_and_forbids_cleaning_up() {
    let mut c = configuration();
    c.rules.extend([object("lab", "maps", "2026-01-01T00:00:00Z", json!({"destinationRef": {"name": "all"}, "rules": [{"resources": ["configmaps", "gadgets"]}]}))]);
    let plan = compile(&c, &catalog(), &options());
    assert_eq!(
        reason(&plan, Kind::Rule, "lab", "maps"),
        "UnresolvedResources"
    );
    assert_eq!(plan.watches.len(), 1);
    assert!(!plan.destinations.values().next().unwrap().resolved);
}

#[test]
fn another_namespace_needs_consent_that_nobody_can_give_yet() {
    let mut c = configuration();
    c.rules.extend([object("lab", "maps", "2026-01-01T00:00:00Z", json!({"destinationRef": {"name": "all", "namespace": "other"}, "rules": [{"resources": ["configmaps"]}]}))]);
    let plan = compile(&c, &catalog(), &options());
    assert_eq!(
        reason(&plan, Kind::Rule, "lab", "maps"),
        "CrossNamespaceReference"
    );
}
