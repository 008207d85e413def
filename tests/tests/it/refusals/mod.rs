//! What the schemas refuse, as `kubectl apply --server-side` would be told, and what they accept.
//!
//! Everything is applied dry: the apiserver judges it and stores nothing.

mod fields;
mod git;

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
    let Value::Object(more) = more else {
        panic!("{more} is no object");
    };
    for (key, value) in more {
        if value.is_null() {
            fields.remove(&key);
        } else {
            fields.insert(key, value);
        }
    }
    base
}
