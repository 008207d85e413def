use serde_json::json;

use super::*;

fn identity(group: &str, resource: &str, namespace: &str, name: &str) -> Identity {
    Identity {
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn managed(mut object: Value, managers: &[&str]) -> Value {
    let fields: Vec<_> = managers
        .iter()
        .map(|manager| json!({"manager": manager, "operation": "Update", "fieldsV1": {"f:x": {}}}))
        .collect();
    object["metadata"]["managedFields"] = fields.into();
    object
}

#[test]
fn root_ca_is_published_to_each_namespace() {
    let object = json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "x"}});
    let named = |name| left_out(&identity("", "configmaps", "lab", name), &object);
    assert_eq!(named("kube-root-ca.crt"), Some(LeftOut::Published));
    assert_eq!(named("my-ca.crt"), None);
    assert_eq!(
        named("extension-apiserver-authentication"),
        None,
        "only in kube-system"
    );
}

#[test]
fn default_service_account_counts_once_changed() {
    let id = identity("", "serviceaccounts", "lab", "default");
    let made = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "lab", "uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-11-01T00:00:00Z"},
    });
    assert_eq!(left_out(&id, &made), Some(LeftOut::DefaultServiceAccount));

    // A legacy token controller adds its own; that is no change by a person.
    let mut with_token = made.clone();
    with_token["secrets"] = json!([{"name": "default-token-x"}]);
    with_token["metadata"]["managedFields"] = json!([{
        "manager": "kube-controller-manager",
        "fieldsV1": {"f:secrets": {".": {}, "k:{\"name\":\"default-token-x\"}": {}}},
    }]);
    assert_eq!(
        left_out(&id, &with_token),
        Some(LeftOut::DefaultServiceAccount)
    );

    for change in [
        json!({"imagePullSecrets": [{"name": "registry"}]}),
        json!({"automountServiceAccountToken": false}),
        json!({"metadata": {"name": "default", "annotations": {"eks.amazonaws.com/role-arn": "arn"}}}),
        json!({"metadata": {"name": "default", "labels": {"team": "a"}}}),
    ] {
        let mut changed = made.clone();
        for (key, value) in change.as_object().expect("a map") {
            changed[key] = value.clone();
        }
        assert_eq!(left_out(&id, &changed), None, "{change}");
    }
    let other = identity("", "serviceaccounts", "lab", "builder");
    assert_eq!(left_out(&other, &made), None);
}

#[test]
fn accounts_of_controllers_are_known_by_name_and_namespace() {
    let bare = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ttl-controller", "uid": "u"}});
    let of = |namespace, name, object| {
        left_out(&identity("", "serviceaccounts", namespace, name), object)
    };
    let made = Some(LeftOut::ControllerServiceAccount);
    assert_eq!(of("kube-system", "ttl-controller", &bare), made);
    assert_eq!(of("lab", "ttl-controller", &bare), None);
    assert_eq!(of("kube-system", "coredns", &bare), None);
    let mut changed = bare.clone();
    changed["metadata"]["labels"] = json!({"team": "a"});
    assert_eq!(of("kube-system", "ttl-controller", &changed), None);
}

#[test]
fn tokens_and_releases_are_known_by_their_type() {
    let id = identity("", "secrets", "lab", "x");
    let of_type = |kind: &str| left_out(&id, &json!({"type": kind}));
    assert_eq!(
        of_type("kubernetes.io/service-account-token"),
        Some(LeftOut::ServiceAccountToken)
    );
    assert_eq!(of_type("helm.sh/release.v1"), Some(LeftOut::HelmRelease));
    assert_eq!(of_type("Opaque"), None);
    assert_eq!(of_type("kubernetes.io/tls"), None);

    let labelled = json!({"metadata": {"labels": {"owner": "helm"}}});
    let release = identity("", "configmaps", "lab", "sh.helm.release.v1.web.v3");
    assert_eq!(left_out(&release, &labelled), Some(LeftOut::HelmRelease));
    assert_eq!(
        left_out(&identity("", "configmaps", "lab", "web"), &labelled),
        None,
        "a label alone"
    );
    assert_eq!(left_out(&release, &json!({})), None);
}

#[test]
fn bootstrap_rbac_needs_label_name_and_machine() {
    let role = |name| identity("rbac.authorization.k8s.io", "clusterroles", "", name);
    let object = json!({"metadata": {"labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}});
    let machine = managed(
        object.clone(),
        &["kube-apiserver", "clusterrole-aggregation-controller"],
    );
    for name in ["system:node", "cluster-admin", "admin", "edit", "view"] {
        assert_eq!(
            left_out(&role(name), &machine),
            Some(LeftOut::BootstrapRbac),
            "{name}"
        );
        assert_eq!(
            left_out(
                &role(name),
                &managed(object.clone(), &["kube-apiserver", "kubectl-edit"])
            ),
            None
        );
        assert_eq!(
            left_out(&role(name), &json!({"metadata": {"name": name}})),
            None,
            "no label"
        );
    }
    assert_eq!(left_out(&role("ops"), &machine), None, "a label alone");
    let elsewhere = identity("rbac.example.com", "clusterroles", "", "admin");
    assert_eq!(left_out(&elsewhere, &machine), None);
}

#[test]
fn api_services_with_a_backend_are_kept() {
    let id = identity("apiregistration.k8s.io", "apiservices", "", "v1.apps");
    let object = managed(
        json!({
            "metadata": {"labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"}},
            "spec": {"group": "apps", "version": "v1", "service": null},
        }),
        &["kube-apiserver"],
    );
    assert_eq!(left_out(&id, &object), Some(LeftOut::LocalApiService));

    let core = identity("apiregistration.k8s.io", "apiservices", "", "v1.");
    let mut of_core = object.clone();
    of_core["spec"] = json!({"version": "v1"});
    assert_eq!(left_out(&core, &of_core), Some(LeftOut::LocalApiService));

    let mut aggregated = object.clone();
    aggregated["spec"]["service"] = json!({"name": "metrics-server", "namespace": "kube-system"});
    assert_eq!(left_out(&id, &aggregated), None);
    let misnamed = identity("apiregistration.k8s.io", "apiservices", "", "v1.other");
    assert_eq!(left_out(&misnamed, &object), None);
    assert_eq!(left_out(&id, &managed(object, &["kubectl"])), None);
}

#[test]
fn system_objects_count_once_a_person_manages_them() {
    for (id, reason) in [
        (
            identity(
                "scheduling.k8s.io",
                "priorityclasses",
                "",
                "system-node-critical",
            ),
            LeftOut::SystemPriorityClass,
        ),
        (
            identity("", "services", "default", "kubernetes"),
            LeftOut::ApiServerService,
        ),
        (
            identity("networking.k8s.io", "servicecidrs", "", "kubernetes"),
            LeftOut::AllocatedAddress,
        ),
    ] {
        let object = json!({"metadata": {"name": id.name}});
        assert_eq!(
            left_out(&id, &managed(object.clone(), &["kube-apiserver"])),
            Some(reason)
        );
        assert_eq!(
            left_out(&id, &managed(object, &["kube-apiserver", "kubectl-patch"])),
            None
        );
        assert!(!reason.to_string().is_empty());
        let mut with_status = managed(
            json!({"metadata": {"name": id.name}}),
            &["kube-apiserver", "my-status-writer"],
        );
        with_status["metadata"]["managedFields"][1]["subresource"] = json!("status");
        assert_eq!(
            left_out(&id, &with_status),
            Some(reason),
            "status is no intent"
        );
    }
    let own = identity("scheduling.k8s.io", "priorityclasses", "", "high");
    assert_eq!(left_out(&own, &json!({})), None);
    let own = identity("", "services", "lab", "kubernetes");
    assert_eq!(left_out(&own, &json!({})), None);
}

#[test]
fn addresses_of_services_are_known_by_name_and_label() {
    let id = |name| identity("networking.k8s.io", "ipaddresses", "", name);
    let object = json!({"metadata": {"labels": {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}}});
    assert_eq!(
        left_out(&id("10.0.0.1"), &object),
        Some(LeftOut::AllocatedAddress)
    );
    assert_eq!(
        left_out(&id("fd00::1"), &object),
        Some(LeftOut::AllocatedAddress)
    );
    assert_eq!(left_out(&id("10.0.0.1"), &json!({})), None);
    assert_eq!(left_out(&id("mine"), &object), None);
}

#[test]
fn initial_namespaces_count_once_labelled() {
    let id = identity("", "namespaces", "", "kube-system");
    let mut object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": "kube-system", "uid": "u", "labels": {"kubernetes.io/metadata.name": "kube-system"},
            "managedFields": [{"manager": "kube-apiserver", "fieldsV1": {"f:metadata": {"f:labels": {".": {}}}}}],
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    });
    assert_eq!(left_out(&id, &object), Some(LeftOut::InitialNamespace));
    assert_eq!(
        left_out(&identity("", "namespaces", "", "lab"), &object),
        None
    );
    object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("privileged");
    assert_eq!(left_out(&id, &object), None);
}

#[test]
fn odd_objects_are_no_panic() {
    for object in [
        json!(null),
        json!([]),
        json!({"metadata": 1}),
        json!({"metadata": {"labels": []}, "spec": "x"}),
    ] {
        for (group, resource) in [
            ("", "serviceaccounts"),
            ("", "namespaces"),
            ("", "secrets"),
            ("apiregistration.k8s.io", "apiservices"),
        ] {
            let _ = left_out(&identity(group, resource, "", "default"), &object);
        }
    }
}

#[test]
fn a_webhook_path_with_a_token_stays_out_of_git() {
    let id = identity(
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        "",
        "gitops-reverser",
    );
    let at = |path: &str| json!({"webhooks": [{"clientConfig": {"service": {"path": path}}}]});
    let ours = at("/process-validating-webhook/0123abcd");
    assert_eq!(left_out(&id, &ours), Some(LeftOut::PathToken));
    for other in ["/process-validating-webhook", "/validate"] {
        assert_eq!(left_out(&id, &at(other)), None, "{other}");
    }
    assert_eq!(left_out(&id, &json!({"webhooks": null})), None);
}

fn owned_by(api_version: &str, kind: &str, controller: bool) -> Value {
    json!({"metadata": {"name": "x", "ownerReferences": [
        {"apiVersion": "v1", "kind": "Other", "name": "y", "uid": "u1"},
        {"apiVersion": api_version, "kind": kind, "name": "z", "uid": "u2", "controller": controller},
    ]}})
}

#[test]
fn what_a_controller_of_kubernetes_keeps_for_an_owner_is_left_out() {
    for (group, resource, api_version, kind) in [
        ("apps", "replicasets", "apps/v1", "Deployment"),
        ("apps", "controllerrevisions", "apps/v1", "StatefulSet"),
        ("", "pods", "apps/v1", "ReplicaSet"),
        ("", "pods", "v1", "Node"),
        ("batch", "jobs", "batch/v1", "CronJob"),
        ("discovery.k8s.io", "endpointslices", "v1", "Service"),
        ("resource.k8s.io", "resourceclaims", "v1", "Pod"),
    ] {
        let id = identity(group, resource, "lab", "x");
        let owned = owned_by(api_version, kind, true);
        assert_eq!(
            left_out(&id, &owned),
            Some(LeftOut::Owned),
            "{resource} of {kind}"
        );
        assert_eq!(
            left_out(&id, &owned_by(api_version, kind, false)),
            None,
            "not its controller"
        );
        assert_eq!(
            left_out(&id, &json!({"metadata": {"name": "x"}})),
            None,
            "without owner"
        );
    }
}

#[test]
fn what_an_operator_keeps_for_a_custom_resource_is_written() {
    let id = identity("apps", "deployments", "lab", "x");
    for api_version in ["example.com/v1", "apps.example.com/v1"] {
        assert_eq!(left_out(&id, &owned_by(api_version, "App", true)), None);
    }
}

#[test]
fn what_machines_made_counts_once_a_person_sets_something() {
    for (group, resource, manager) in [
        ("", "endpoints", "kube-controller-manager"),
        ("", "nodes", "kubelet"),
        ("", "persistentvolumeclaims", "kube-controller-manager"),
        ("storage.k8s.io", "csinodes", "kubelet"),
        (
            "storage.k8s.io",
            "volumeattachments",
            "kube-controller-manager",
        ),
        (
            "flowcontrol.apiserver.k8s.io",
            "flowschemas",
            "api-priority-and-fairness-config-producer-v1",
        ),
    ] {
        let id = identity(group, resource, "", "x");
        let object = json!({"metadata": {"name": "x"}});
        let made = managed(object.clone(), &[manager, "aws-cloud-controller-manager"]);
        assert_eq!(
            left_out(&id, &made),
            Some(LeftOut::MachineMade),
            "{resource}"
        );
        assert_eq!(
            left_out(&id, &managed(object.clone(), &[manager, "kubectl-label"])),
            None
        );
        assert_eq!(left_out(&id, &object), None, "nobody knows who made it");
    }
    let kept = managed(json!({"metadata": {"name": "x"}}), &["csi-provisioner"]);
    let volume = identity("", "persistentvolumes", "", "x");
    assert_eq!(
        left_out(&volume, &kept),
        None,
        "what is on a volume is not made again"
    );
}

#[test]
fn all_of_it_is_written_when_asked_for_but_never_the_path_token() {
    let id = identity("", "configmaps", "lab", "kube-root-ca.crt");
    let published = json!({"metadata": {"name": "kube-root-ca.crt"}});
    assert_eq!(
        ClusterMade::LeftOut.left_out(&id, &published),
        Some(LeftOut::Published)
    );
    assert_eq!(ClusterMade::Written.left_out(&id, &published), None);
    let id = identity(
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        "",
        "x",
    );
    let ours = json!({"webhooks": [{"clientConfig": {"service": {"path": "/process-validating-webhook/0123"}}}]});
    assert_eq!(
        ClusterMade::Written.left_out(&id, &ours),
        Some(LeftOut::PathToken)
    );
}

#[test]
fn every_reason_can_be_read() {
    let told: std::collections::BTreeSet<_> =
        LeftOut::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), LeftOut::ALL.len());
}
