//! What people, and who acts for them by their order, mean. Nobody changes the same object twice, so that each change is one
//! version in one commit.

use serde_json::{Value, json};

use super::{Life, object};
use crate::served;

const SCALER: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

pub(super) fn web() -> Value {
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}});
    let spec =
        json!({"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    object(
        "apps/v1",
        "Deployment",
        "shop",
        "web",
        json!({"spec": spec}),
    )
}

fn settings() -> Value {
    object(
        "v1",
        "ConfigMap",
        "shop",
        "settings",
        json!({"data": {"a": "1"}}),
    )
}

/// In its round each person does what only they do.
pub(super) async fn act(life: &mut Life, round: usize) {
    match round {
        0 => {
            life.create("alice", &web()).await;
            let ports = json!({"spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
            life.create("alice", &object("v1", "Service", "shop", "web", ports))
                .await;
            life.create("alice", &settings()).await;
        }
        1 => {
            let selector = json!({"matchLabels": {"app": "web"}});
            let budget = json!({"spec": {"minAvailable": 1, "selector": selector}});
            life.create(
                "alice",
                &object("policy/v1", "PodDisruptionBudget", "shop", "web", budget),
            )
            .await;
            let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
            let scaler = json!({"spec": {"scaleTargetRef": target, "maxReplicas": 9}});
            life.create(
                "alice",
                &object(
                    "autoscaling/v2",
                    "HorizontalPodAutoscaler",
                    "shop",
                    "web",
                    scaler,
                ),
            )
            .await;
        }
        2 => {
            let pod = json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "db:1"}]}});
            let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
            let spec = json!({"serviceName": "db", "replicas": 2, "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": {"app": "db"}}, "template": pod, "volumeClaimTemplates": [claim]});
            life.create(
                "bob",
                &object(
                    "apps/v1",
                    "StatefulSet",
                    "shop",
                    "db",
                    json!({"spec": spec}),
                ),
            )
            .await;
        }
        3 => {
            let spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "none",
                "nfs": {"server": "nfs.example.com", "path": "/"}});
            life.create(
                "bob",
                &object("v1", "PersistentVolume", "", "share", json!({"spec": spec})),
            )
            .await;
            let spec = json!({"accessModes": ["ReadWriteMany"], "storageClassName": "none", "resources": {"requests": {"storage": "1Gi"}}});
            life.create(
                "bob",
                &object(
                    "v1",
                    "PersistentVolumeClaim",
                    "shop",
                    "share",
                    json!({"spec": spec}),
                ),
            )
            .await;
        }
        4 => {
            let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "job:1"}]}});
            life.create(
                "bob",
                &object(
                    "batch/v1",
                    "Job",
                    "shop",
                    "once",
                    json!({"spec": {"template": pod}}),
                ),
            )
            .await;
        }
        5 => {
            let containers = json!([{"name": "c", "image": "web:2"}]);
            let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
            life.change("bob", &web(), &patch).await;
        }
        6 => {
            let selectors = json!([{"matchLabels": {"gather": "yes"}}]);
            let gathered = json!({"aggregationRule": {"clusterRoleSelectors": selectors}});
            life.create(
                "carol",
                &object(
                    "rbac.authorization.k8s.io/v1",
                    "ClusterRole",
                    "",
                    "gathered",
                    gathered,
                ),
            )
            .await;
            let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
            let part = json!({"metadata": {"labels": {"gather": "yes"}}, "rules": rules});
            life.create(
                "carol",
                &object(
                    "rbac.authorization.k8s.io/v1",
                    "ClusterRole",
                    "",
                    "part",
                    part,
                ),
            )
            .await;
        }
        7 => {
            life.change("carol", &settings(), &json!({"data": {"a": "2"}}))
                .await;
        }
        8 => {
            let quota = json!({"spec": {"hard": {"pods": "20", "configmaps": "20"}}});
            life.create(
                "carol",
                &object("v1", "ResourceQuota", "shop", "quota", quota),
            )
            .await;
        }
        // Told, as a declared actor: its order is the HPA.
        9 => {
            let client = life.cluster.user(SCALER);
            let served = life.type_of(&web());
            let patch = json!({"spec": {"replicas": 4}});
            served::merge(
                &client,
                &served,
                &web(),
                "/scale",
                "kube-controller-manager",
                &patch,
            )
            .await;
            life.means(SCALER, 'M', &web());
        }
        10..=14 => {
            let name = format!("team-{round}");
            life.create("dave", &object("v1", "Namespace", "", &name, json!({})))
                .await;
            let account = object("v1", "ServiceAccount", &name, "worker", json!({}));
            life.create("dave", &account).await;
        }
        15 => {
            let gadget = object("quiet.test/v1", "Gadget", "shop", "old", json!({}));
            life.change("erin", &gadget, &json!({"spec": {"size": 7}}))
                .await;
        }
        16 => nothing_new(life).await,
        17 => {
            let client = life.cluster.user("erin");
            let path = "/api/v1/namespaces/shop/configmaps/settings";
            served::send(&client, "DELETE", path, "application/json", &json!({}))
                .await
                .unwrap();
            life.means("erin", 'D', &settings());
        }
        _ => {}
    }
}

/// The same once more, and only as a trial.
async fn nothing_new(life: &Life) {
    let client = life.cluster.user("erin");
    let served = life.type_of(&web());
    let same =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}});
    let trial = json!({"data": {"a": "trial"}});
    for _ in 0..5 {
        // A merge patch replaces the list, of which the rest is defaults.
        served::merge(&client, &served, &web(), "", "kubectl-edit", &same).await;
        let path = "/api/v1/namespaces/shop/configmaps/settings?dryRun=All";
        served::send(
            &client,
            "PATCH",
            path,
            "application/merge-patch+json",
            &trial,
        )
        .await
        .unwrap();
    }
}
