//! What the ServiceAccount may do, as the apiserver itself lists it.

// clippy.toml allows it in test functions only, not in what they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::cluster::Cluster;
use k8s_openapi::api::authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use tests::control_plane::ControlPlane;
use tests::eventually::eventually;

const MINUTE: Duration = Duration::from_secs(60);

/// `verb resource.group`, or `verb resource.group/name` where it is one object's only.
type Rights = BTreeSet<String>;

/// What the ServiceAccount may do in this namespace that any other can't.
async fn rights(plane: &ControlPlane, account: (&str, &str), namespace: &str) -> Rights {
    let of = async |namespace_of_account: &str, name: &str| {
        let token = plane
            .service_account_token(namespace_of_account, name)
            .await;
        let reviews: Api<SelfSubjectRulesReview> =
            Api::all(plane.client_with_token(&token.unwrap()));
        let review = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec {
                namespace: Some(namespace.to_owned()),
            },
            ..SelfSubjectRulesReview::default()
        };
        let answer = reviews.create(&PostParams::default(), &review).await;
        let status = answer.unwrap().status.unwrap();
        assert!(!status.incomplete, "{status:?}");
        let mut rights = Rights::new();
        for rule in status.resource_rules {
            let names = match rule.resource_names {
                Some(names) if !names.is_empty() => names,
                _ => vec![String::new()],
            };
            for group in rule.api_groups.unwrap_or_default() {
                for resource in rule.resources.iter().flatten() {
                    for name in &names {
                        for verb in &rule.verbs {
                            let object = [resource, ".", &group].concat();
                            let object = object.trim_end_matches('.');
                            let name = if name.is_empty() {
                                ""
                            } else {
                                &format!("/{name}")
                            };
                            rights.insert(format!("{verb} {object}{name}"));
                        }
                    }
                }
            }
        }
        rights
    };
    let anybody = of("default", "default").await;
    let mut ours = of(account.0, account.1).await;
    ours.retain(|right| !anybody.contains(right));
    ours
}

fn each(verbs: &[&str], objects: &[&str]) -> Rights {
    let of = |verb| move |object| format!("{verb} {object}");
    verbs
        .iter()
        .flat_map(|verb| objects.iter().map(of(verb)))
        .collect()
}

/// Whatever the values.
fn always() -> Rights {
    let kinds = [
        "gitrepoconfigs",
        "gitdestinations",
        "watchrules",
        "clusterwatchrules",
    ];
    let kind = |end: &str| kinds.map(|kind| format!("{kind}{end}.configbutler.ai"));
    let (whole, status) = (kind(""), kind("/status"));
    let mut rights = each(
        &["get", "list", "watch"],
        &whole.each_ref().map(String::as_str),
    );
    rights.extend(each(&["patch"], &status.each_ref().map(String::as_str)));
    rights.extend(each(&["create", "patch"], &["events.events.k8s.io"]));
    rights.extend(each(&["get"], &["secrets", "namespaces/kube-system"]));
    rights
}

/// What is there to know which types there are.
const TYPES: [&str; 2] = [
    "customresourcedefinitions.apiextensions.k8s.io",
    "apiservices.apiregistration.k8s.io",
];

/// The other types that `resources: ["*"]` in a rule means.
const PRESET: [&str; 17] = [
    "services",
    "configmaps",
    "secrets",
    "serviceaccounts",
    "resourcequotas",
    "limitranges",
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "ingresses.networking.k8s.io",
    "networkpolicies.networking.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "poddisruptionbudgets.policy",
    "priorityclasses.scheduling.k8s.io",
];

/// Renders and applies the chart, and compares what its ServiceAccount may do in the release's namespace and in another one.
async fn may(prefix: &str, values: Value, everywhere: Rights, at_home: Rights) {
    let cluster = Cluster::shared().await.unwrap();
    let plane = ControlPlane::shared().await;
    let client = cluster.client().unwrap();
    let rendered = super::render(&cluster, prefix, values).await.unwrap();
    rendered.apply(&client).await.unwrap();
    let name = format!("{prefix}-gitops-reverser");
    for (namespace, expected) in [
        ("default", everywhere.clone()),
        (prefix, &everywhere | &at_home),
    ] {
        // The authorizer learns of new roles a moment later.
        eventually(MINUTE, || async {
            let found = rights(plane, (prefix, &name), namespace).await;
            let more: Vec<_> = found.difference(&expected).collect();
            let less: Vec<_> = expected.difference(&found).collect();
            if more.is_empty() && less.is_empty() {
                Ok(())
            } else {
                Err(format!(
                    "in {namespace} it may also {more:?}, and may not {less:?}"
                ))
            }
        })
        .await;
    }
    rendered.delete(&client).await.unwrap();
}

const READ: [&str; 2] = ["list", "watch"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn by_default_it_reads_the_preset_and_nothing_else() {
    let mut rights = always();
    rights.extend(each(&READ, &TYPES));
    rights.extend(each(&READ, &PRESET));
    rights.extend(each(&READ, &["storageclasses.storage.k8s.io"]));
    may("rights-default", json!({}), rights, Rights::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn one_value_widens_to_all_types_and_one_narrows_to_a_list() {
    let mut all = always();
    all.extend(each(&READ, &["*.*"]));
    may(
        "rights-all",
        json!({"rbac": {"watchAll": true}}),
        all,
        Rights::new(),
    )
    .await;

    let mut few = always();
    few.extend(each(&READ, &TYPES));
    few.extend(each(&READ, &["configmaps", "widgets.example.com"]));
    let values = json!({"rbac": {
        "watch": [{"apiGroups": [""], "resources": ["configmaps"]}],
        "extraWatch": [{"apiGroups": ["example.com"], "resources": ["widgets"]}],
    }});
    may("rights-few", values, few, Rights::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn replicas_need_a_lease_and_the_pods_of_their_own_namespace() {
    let mut rights = always();
    rights.extend(each(&READ, &TYPES));
    rights.extend(each(&READ, &["configmaps"]));
    let mut at_home = each(&["get", "list", "patch"], &["pods"]);
    at_home.extend(each(&["create"], &["leases.coordination.k8s.io"]));
    at_home.extend(each(
        &["get", "update"],
        &["leases.coordination.k8s.io/rights-two-gitops-reverser"],
    ));
    let values = json!({
        "replicaCount": 2,
        "rbac": {"watch": [{"apiGroups": [""], "resources": ["configmaps"]}]},
    });
    may("rights-two", values, rights, at_home).await;
}
