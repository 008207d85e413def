//! Two replicas, with the rights that the chart gives them.

// clippy.toml allows it in test functions only, not in what they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::chart::Release;
use e2e::cluster::Cluster;
use e2e::install::{self, Ports, programs};
use e2e::pod::Pod;
use e2e::scenario::Scenario;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod as KubePod};
use k8s_openapi::api::rbac::v1::Role;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tests::control_plane::Options;
use tests::eventually::eventually;

use crate::shell::{Shell, commands};

const NAMESPACE: &str = "gitops-reverser";
const ACCOUNT: &str = "system:serviceaccount:gitops-reverser:gitops-reverser";
const MINUTE: Duration = Duration::from_secs(60);

/// Everything about who asked for what, Leases too.
const EVERYTHING: &str =
    r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}"#;

/// Group, resource, verb.
type Right = (String, String, String);

async fn holder(client: &Client) -> String {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let lease = leases.get_opt("gitops-reverser").await.unwrap();
    let holder = lease.and_then(|lease| lease.spec?.holder_identity);
    let holder = holder.unwrap_or_default();
    holder.split('_').next().unwrap_or_default().to_owned()
}

async fn pods(client: &Client, labels: &str) -> Vec<String> {
    let pods: Api<KubePod> = Api::namespaced(client.clone(), NAMESPACE);
    let list = pods.list(&ListParams::default().labels(labels)).await;
    let mut names: Vec<String> = list.unwrap().iter().map(ResourceExt::name_any).collect();
    names.sort();
    names
}

async fn is_led_by(client: &Client, pod: &str) {
    eventually(MINUTE, || async {
        let holder = holder(client).await;
        // As the chart's Service selects them.
        let labels = "app.kubernetes.io/name=gitops-reverser,app.kubernetes.io/instance=gitops-reverser,configbutler.ai/role=leader";
        let labelled = pods(client, labels).await;
        if holder == pod && labelled == [pod] {
            Ok(())
        } else {
            Err(format!("led by {holder}, labelled: {labelled:?}"))
        }
    })
    .await;
}

fn granted(role: &Role) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in role.rules.iter().flatten() {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    rights.insert((group.clone(), resource.clone(), verb.clone()));
                }
            }
        }
    }
    rights
}

/// What the reverser's ServiceAccount has asked for in its own namespace, but for what every replica may anywhere.
fn used(cluster: &Cluster, role: &Role) -> BTreeSet<Right> {
    let resources: BTreeSet<String> = granted(role).into_iter().map(|right| right.1).collect();
    let log = cluster.audit_log();
    let ours = log
        .into_iter()
        .filter(|event| event.user.username == ACCOUNT);
    let rights = ours.filter_map(|event| {
        let code = event.response_status.as_ref().map(|status| status.code);
        assert_ne!(code, Some(403), "{event:#?}");
        let object = event.object_ref?;
        let asked = object.namespace == NAMESPACE && resources.contains(&object.resource);
        asked.then_some((object.api_group, object.resource, event.verb))
    });
    rights.collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn two_replicas_hand_over_with_exactly_the_rights_that_they_need() {
    let options = Options {
        audit_policy: Some(EVERYTHING.to_owned()),
        ..Options::default()
    };
    let cluster = Cluster::start_with(options).await.unwrap();
    let client = cluster.client().unwrap();
    let (_git, repo, repository) = super::repository().unwrap();
    let release = Release {
        name: "gitops-reverser".to_owned(),
        namespace: NAMESPACE.to_owned(),
        values: json!({ "replicaCount": 2 }),
    };
    // On one machine the second pod needs other ports; what is in the cluster is the first one's.
    let mut deployments = Vec::new();
    let mut installed = None;
    for _ in 0..2 {
        let rendered = install::render(&cluster, release.clone(), Ports::free(), "127.0.0.1")
            .await
            .unwrap_or_else(|error| panic!("{error:#}"));
        deployments.push(rendered.only::<Deployment>().unwrap());
        installed.get_or_insert(rendered);
    }
    let installed = installed.unwrap();
    installed.apply(&client).await.unwrap();
    // As the Deployment's controller has named them; no node runs them.
    let names = eventually(MINUTE, || async {
        let names = pods(&client, "app.kubernetes.io/name=gitops-reverser").await;
        match <[String; 2]>::try_from(names) {
            Ok(names) => Ok(names),
            Err(names) => Err(format!("{names:?}")),
        }
    })
    .await;
    let programs = programs().unwrap();
    let mut first = Pod::start_as(&names[0], &cluster, &deployments[0], &programs)
        .await
        .unwrap();
    first.wait_ready(MINUTE).await.unwrap();
    is_led_by(&client, &names[0]).await;
    let mut second = Pod::start_as(&names[1], &cluster, &deployments[1], &programs)
        .await
        .unwrap();
    second.wait_ready(MINUTE).await.unwrap();

    let scenario = Scenario::new("team", &repository).unwrap();
    scenario.prepare(&client).await.unwrap();
    if let Err(error) = scenario.wait_ready(&client, MINUTE).await {
        panic!("{error:#}\n{}", first.log_tails());
    }
    assert_eq!(holder(&client).await, names[0]);
    let shell = Shell::new(&cluster);
    let mut shown = commands("docs/high-availability.md");
    shown.retain(|command| command.starts_with("kubectl "));
    let [lease, leader] = &shown[..] else {
        panic!("{shown:?}");
    };
    for command in [lease, leader] {
        let said = shell.run(command);
        assert!(said.contains(&names[0]), "{command}: {said}");
    }

    if let Err(error) = first.stop().await {
        panic!("{error:#}");
    }
    is_led_by(&client, &names[1]).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "team");
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "later"}, "data": {"k": "v"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    eventually(MINUTE, || async {
        let path = format!("{}/v1/configmaps/team/later.yaml", e2e::scenario::FOLDER);
        repo.file(&path).ok_or_else(|| second.log_tails())
    })
    .await;
    // The label is looked after: what somebody does to it is undone.
    let taken = json!({"metadata": {"labels": {"configbutler.ai/role": null}}});
    Api::<KubePod>::namespaced(client.clone(), NAMESPACE)
        .patch(&names[1], &PatchParams::default(), &Patch::Merge(taken))
        .await
        .unwrap();
    is_led_by(&client, &names[1]).await;

    let role: Role = installed.only().unwrap();
    assert_eq!(used(&cluster, &role), granted(&role));
    second.must_run().unwrap();
    if let Err(error) = second.stop().await {
        panic!("{error:#}");
    }
    assert_eq!(holder(&client).await, "");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn one_replica_has_no_rights_for_leases_and_pods() {
    let cluster = Cluster::shared().await.unwrap();
    let client = cluster.client().unwrap();
    let rendered = super::render(&cluster, "alone", json!({})).await.unwrap();
    rendered.apply(&client).await.unwrap();
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let may = async |group: &str, resource: &str, verb: &str| {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some("system:serviceaccount:alone:alone-gitops-reverser".to_owned()),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(group.to_owned()),
                    resource: Some(resource.to_owned()),
                    namespace: Some("alone".to_owned()),
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = reviews.create(&PostParams::default(), &review).await;
        answer.unwrap().status.unwrap().allowed
    };
    // The authorizer learns of new roles a moment later.
    eventually(MINUTE, || async {
        let allowed = may("", "configmaps", "list").await;
        allowed.then_some(()).ok_or("it may not list ConfigMaps")
    })
    .await;
    for verb in [
        "get", "list", "watch", "create", "update", "patch", "delete",
    ] {
        assert!(!may("coordination.k8s.io", "leases", verb).await, "{verb}");
        assert!(!may("", "pods", verb).await, "{verb}");
    }
    rendered.delete(&client).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn a_second_replica_comes_and_goes_where_the_chart_is_applied_server_side() {
    let cluster = Cluster::shared().await.unwrap();
    let client = cluster.client().unwrap();
    for replicas in [1, 2, 1] {
        let rendered = super::render(&cluster, "resized", json!({ "replicaCount": replicas }))
            .await
            .unwrap();
        rendered
            .apply(&client)
            .await
            .unwrap_or_else(|error| panic!("{replicas}: {error:#}"));
    }
    let deployments: Api<Deployment> = Api::namespaced(client, "resized");
    let deployment = deployments.get("resized-gitops-reverser").await.unwrap();
    let strategy = deployment.spec.unwrap().strategy.unwrap();
    assert_eq!(strategy.type_.as_deref(), Some("Recreate"));
    assert_eq!(strategy.rolling_update, None);
}
