//! Types that are not built in, and APIs that nobody answers for.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Client, Resource};
use serde_json::json;
use tests::eventually::eventually;

use crate::lab::{Lab, PATIENCE};

/// The definitions of types.
pub(crate) fn definitions(client: &Client) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<CustomResourceDefinition>(&());
    Api::all_with(client.clone(), &resource)
}

/// Defines a namespaced type whose objects may hold anything, at `v1`. Its names are made from the kind.
pub(crate) async fn define(client: &Client, group: &str, kind: &str) {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let name = format!("{plural}.{group}");
    let crd = json!({
        "apiVersion": CustomResourceDefinition::api_version(&()), "kind": CustomResourceDefinition::kind(&()),
        "metadata": {"name": name},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": plural, "singular": singular, "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    definitions(client)
        .patch(&name, &PatchParams::apply("test"), &Patch::Apply(crd))
        .await
        .unwrap();
}

/// Has a Service that nobody stands behind answer for what a group serves at `v1`: with 503, from now on.
pub(crate) async fn hand_to_nobody(lab: &Lab<'_>, group: &str) {
    let services: Api<APIService> = Api::all(lab.client.clone());
    let patch = json!({
        // With it the apiserver would put its own back.
        "metadata": {"labels": {"kube-aggregator.kubernetes.io/automanaged": null}},
        "spec": {"insecureSkipTLSVerify": true, "service": {"namespace": lab.namespace, "name": "nobody", "port": 443}},
    });
    let name = format!("v1.{group}");
    services
        .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

/// Waits until the apiserver knows that nobody answers for what a group serves at `v1`.
pub(crate) async fn is_down(client: &Client, group: &str) {
    let services: Api<APIService> = Api::all(client.clone());
    let name = format!("v1.{group}");
    eventually(PATIENCE, || async {
        let service = services.get(&name).await;
        let status = service.map_err(|error| error.to_string())?.status;
        let conditions = status.and_then(|s| s.conditions).unwrap_or_default();
        match conditions.iter().find(|c| c.type_ == "Available") {
            Some(condition) if condition.status == "False" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
