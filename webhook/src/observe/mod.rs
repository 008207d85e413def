//! From an admission to an observation. Pure: no I/O, no clock.
//!
//! What a real kube-apiserver puts into a review, and what it leaves out, was measured on
//! v1.34; the tests hold one review for each kind of write.

mod field_manager;

use std::time::SystemTime;

use manifest::Identity;
use prost::Message;
use proto::v1::{Observation, Operation};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::interest::InterestSet;
use crate::review::{Request, Resource};

/// What came of an admission.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// To be sent. `sequence` is not set yet.
    Observed(Box<Observation>),
    /// Nothing that a watch could ever show, or that anyone waits for.
    Skipped(Skip),
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Nothing will be stored.
    DryRun,
    /// CONNECT.
    Operation,
    /// Any but scale and the eviction of a Pod: status and the like change nothing that goes to Git.
    Subresource,
    /// No rule selects it.
    NotOfInterest,
    /// Git would see no difference.
    Unchanged,
    /// A DELETE of what is being deleted: someone else came first.
    Terminating,
    /// The object can't be read, has no name, or no canonical form. The apiserver sends no such
    /// thing.
    Unreadable,
    /// Larger than [`MAX_OBSERVATION`].
    Oversized,
}

/// Largest observation in bytes. Only a username of absurd length (whoever may impersonate can
/// make one up) is larger, and the reverser takes no name of more than 2 KiB; its stream would
/// break on a message of more than 64 KiB, and break again at each replay.
pub const MAX_OBSERVATION: usize = 16 << 10;

impl Outcome {
    /// The outcome as a metric label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Observed(_) => "observed",
            Self::Skipped(Skip::DryRun) => "dry_run",
            Self::Skipped(Skip::Operation) => "operation",
            Self::Skipped(Skip::Subresource) => "subresource",
            Self::Skipped(Skip::NotOfInterest) => "not_of_interest",
            Self::Skipped(Skip::Unchanged) => "unchanged",
            Self::Skipped(Skip::Terminating) => "terminating",
            Self::Skipped(Skip::Unreadable) => "unreadable",
            Self::Skipped(Skip::Oversized) => "oversized",
        }
    }
}

/// Judges one admission, cheapest question first: an object that no rule selects is never
/// parsed, let alone hashed.
///
/// The resource is the one the webhook was called with (`request.resource`), which is the
/// version the objects are in; `requestResource` may name another.
#[must_use]
pub fn observe(request: &Request<'_>, interest: &InterestSet, now: SystemTime) -> Outcome {
    match judge(request, interest) {
        Ok(mut observation) => {
            observation.time = Some(now.into());
            if observation.encoded_len() > MAX_OBSERVATION {
                return Outcome::Skipped(Skip::Oversized);
            }
            Outcome::Observed(Box::new(observation))
        }
        Err(skip) => Outcome::Skipped(skip),
    }
}

fn judge(request: &Request<'_>, interest: &InterestSet) -> Result<Observation, Skip> {
    if request.dry_run == Some(true) {
        return Err(Skip::DryRun);
    }
    let operation = match &*request.operation {
        "CREATE" => Operation::Create,
        "UPDATE" => Operation::Update,
        "DELETE" => Operation::Delete,
        _ => return Err(Skip::Operation),
    };
    let resource = &request.resource;
    let pod = resource.group.is_empty() && resource.resource == "pods";
    let read: fn(&Request<'_>) -> Result<Facts, Skip> = match (&*request.sub_resource, operation) {
        ("", Operation::Create) => created,
        ("", Operation::Delete) => deleted,
        ("", _) => updated,
        ("scale", Operation::Update) => scaled,
        ("eviction", Operation::Create) if pod => evicted,
        _ => return Err(Skip::Subresource),
    };
    let namespace = namespace(request);
    let covered = interest.covers(&resource.group, &resource.resource, namespace);
    if !covered && !takes_along(request, operation, interest) {
        return Err(Skip::NotOfInterest);
    }

    let facts = read(request)?;
    if facts.name.is_empty() {
        return Err(Skip::Unreadable);
    }
    Ok(Observation {
        sequence: 0,
        group: resource.group.clone().into_owned(),
        version: resource.version.clone().into_owned(),
        resource: resource.resource.clone().into_owned(),
        namespace: namespace.to_owned(),
        name: facts.name,
        uid: facts.uid,
        operation: operation.into(),
        spec_hash: facts.spec_hash,
        managed_fields_hash: facts.managed_fields_hash,
        base_resource_version: facts.base_resource_version,
        subresource: request.sub_resource.clone().into_owned(),
        replicas: facts.replicas,
        username: request.user_info.username.clone().into_owned(),
        field_manager: facts.field_manager,
        time: None,
        early: false,
    })
}

/// Whether objects that may be of interest go with this one, without a call: the apiserver deletes the custom resources of a CRD and
/// the Endpoints of a Service by itself. The reverser must not take that for what somebody else asked for.
fn takes_along(request: &Request<'_>, operation: Operation, interest: &InterestSet) -> bool {
    let Resource {
        group, resource, ..
    } = &request.resource;
    operation == Operation::Delete
        && match (&**group, &**resource) {
            ("apiextensions.k8s.io", "customresourcedefinitions") => true,
            ("", "services") => interest.covers("", "endpoints", &request.namespace),
            _ => false,
        }
}

/// What the objects say.
#[derive(Default)]
struct Facts {
    name: String,
    uid: String,
    base_resource_version: String,
    spec_hash: String,
    managed_fields_hash: String,
    replicas: Option<i64>,
    field_manager: String,
}

fn created(request: &Request<'_>) -> Result<Facts, Skip> {
    let object = parse(request.object)?;
    Ok(Facts {
        name: name(request, &object),
        uid: metadata(&object, "uid").to_owned(),
        spec_hash: spec_hash(&object)?,
        managed_fields_hash: managed_fields_hash(&object),
        field_manager: field_manager::of(request.options, &object, None),
        ..Facts::default()
    })
}

fn updated(request: &Request<'_>) -> Result<Facts, Skip> {
    if let (Some(object), Some(old)) = (request.object, request.old_object)
        && object.get() == old.get()
    {
        return Err(Skip::Unchanged);
    }
    let object = parse(request.object)?;
    let old = parse(request.old_object)?;
    let manifest = canonical(&object)?;
    let name = name(request, &old);
    // Not by their hashes, which can be made to be the same.
    if manifest.text == canonical(&old)?.text {
        // Who takes over what the cluster made, or gives it back, makes a file come or go.
        let identity = identity(request, &name);
        let left_out = |object| manifest::left_out(&identity, object).is_some();
        if left_out(&object) == left_out(&old) {
            return Err(Skip::Unchanged);
        }
    }
    Ok(Facts {
        name,
        uid: metadata(&old, "uid").to_owned(),
        base_resource_version: metadata(&old, "resourceVersion").to_owned(),
        spec_hash: manifest.hash.to_string(),
        managed_fields_hash: managed_fields_hash(&object),
        field_manager: field_manager::of(request.options, &object, Some(&old)),
        ..Facts::default()
    })
}

fn deleted(request: &Request<'_>) -> Result<Facts, Skip> {
    let old = parse(request.old_object)?;
    if !metadata(&old, "deletionTimestamp").is_empty() {
        return Err(Skip::Terminating);
    }
    Ok(Facts {
        name: name(request, &old),
        uid: metadata(&old, "uid").to_owned(),
        base_resource_version: metadata(&old, "resourceVersion").to_owned(),
        spec_hash: spec_hash(&old)?,
        field_manager: field_manager::of_options(request.options),
        ..Facts::default()
    })
}

/// Both objects are `autoscaling/v1` Scale, and their uid and resourceVersion are the parent's.
/// Their managedFields, if any, say nothing about the parent's, hence no hash of them.
fn scaled(request: &Request<'_>) -> Result<Facts, Skip> {
    let object = parse(request.object)?;
    let old = parse(request.old_object)?;
    let wanted = replicas(&object);
    if wanted == replicas(&old) {
        return Err(Skip::Unchanged);
    }
    Ok(Facts {
        name: name(request, &old),
        uid: metadata(&old, "uid").to_owned(),
        base_resource_version: metadata(&old, "resourceVersion").to_owned(),
        replicas: Some(wanted),
        field_manager: field_manager::of_options(request.options),
        ..Facts::default()
    })
}

/// The Eviction has the name of the Pod, and nothing else that tells which it is: no uid, no version.
fn evicted(request: &Request<'_>) -> Result<Facts, Skip> {
    let eviction = parse(request.object)?;
    Ok(Facts {
        name: name(request, &eviction),
        ..Facts::default()
    })
}

fn parse(raw: Option<&RawValue>) -> Result<Value, Skip> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .filter(Value::is_object)
        .ok_or(Skip::Unreadable)
}

/// Empty where it is missing.
fn metadata<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// The object knows its name best: `request.name` is absent with generateName and
/// deletecollection.
fn name(request: &Request<'_>, object: &Value) -> String {
    match metadata(object, "name") {
        "" => request.name.clone().into_owned(),
        name => name.to_owned(),
    }
}

fn identity(request: &Request<'_>, name: &str) -> Identity {
    let resource = &request.resource;
    Identity {
        group: resource.group.clone().into_owned(),
        version: resource.version.clone().into_owned(),
        resource: resource.resource.clone().into_owned(),
        namespace: namespace(request).to_owned(),
        name: name.to_owned(),
    }
}

fn namespace<'a>(request: &'a Request<'_>) -> &'a str {
    match (&*request.resource.group, &*request.resource.resource) {
        // The apiserver says that a Namespace is in itself; it is cluster-scoped all the same.
        ("", "namespaces") => "",
        _ => &request.namespace,
    }
}

fn canonical(object: &Value) -> Result<manifest::Manifest, Skip> {
    manifest::canonicalize(object).map_err(|_| Skip::Unreadable)
}

fn spec_hash(object: &Value) -> Result<String, Skip> {
    canonical(object).map(|manifest| manifest.hash.to_string())
}

fn managed_fields_hash(object: &Value) -> String {
    manifest::managed_fields_hash(object).map_or_else(String::new, |hash| hash.to_string())
}

/// `spec.replicas` of a Scale is left out of its JSON when it is 0 (autoscaling/v1 ScaleSpec).
fn replicas(scale: &Value) -> i64 {
    manifest::replicas(scale).unwrap_or(0)
}

#[cfg(test)]
mod tests;
