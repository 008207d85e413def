//! Why one object is, or is not, in Git.

use kube::api::{GetParams, Request};
use manifest::Identity;
use proto::v1;
use serde_json::Value;
use tonic::Status;

use super::Sources;
use crate::change::{Attribution, Miss, Who};
use crate::discovery::ServedType;
use crate::rules::{DestinationPlan, TypeSelection};
use crate::status::Snapshot;

/// Asks the apiserver for the object, and the plan for what becomes of it.
///
/// # Errors
/// INVALID_ARGUMENT without resource or name, and for names that no object can have; UNAVAILABLE when
/// the apiserver does not answer.
pub(super) async fn explain(
    sources: &Sources,
    request: &v1::ExplainRequest,
) -> Result<v1::ExplainResponse, Status> {
    check(request)?;
    let facts = sources.board.snapshot();
    let selecting = selections(&facts, request);
    let Some((_, first)) = selecting.first() else {
        let reason = format!(
            "no rule selects {} in namespace '{}', or the cluster does not serve it",
            request.resource, request.namespace
        );
        return Ok(v1::ExplainResponse {
            summary: format!("Not written: {reason}."),
            reason,
            ..Default::default()
        });
    };
    let served = first.served.clone();
    if served.namespaced == request.namespace.is_empty() {
        let scope = if served.namespaced {
            "is namespaced: namespace is needed"
        } else {
            "is cluster-scoped: it has no namespace"
        };
        return Err(Status::invalid_argument(format!("{served} {scope}")));
    }
    let object = live(sources, &served, request).await?;
    let identity = Identity {
        group: served.group.clone(),
        version: served.version.clone(),
        resource: served.resource.clone(),
        namespace: request.namespace.clone(),
        name: request.name.clone(),
    };
    let mut response = v1::ExplainResponse {
        live: object.is_some(),
        ..Default::default()
    };
    if let Some(object) = &object {
        let metadata = |field: &str| {
            object["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        response.uid = metadata("uid");
        response.resource_version = metadata("resourceVersion");
        // A hash without a key would give a short value away to whoever can guess.
        let secret = selecting.iter().any(|(d, _)| {
            d.secrets
                .types
                .contains(&identity.group, &identity.resource)
        });
        if !secret {
            response.spec_hash = manifest::canonicalize(object)
                .map(|m| m.hash.to_string())
                .unwrap_or_default();
        }
    }
    response.reason = left_out(sources, &identity, object.as_ref(), &selecting);
    response.selections = selecting
        .iter()
        .map(|(destination, selection)| describe(sources, destination, selection, &identity))
        .collect();
    response.summary = if response.reason.is_empty() {
        let places: Vec<&str> = response
            .selections
            .iter()
            .map(|s| s.path.as_str())
            .filter(|path| !path.is_empty())
            .collect();
        format!("Written to {}.", places.join(", "))
    } else {
        format!("Not written: {}.", response.reason)
    };
    Ok(response)
}

/// What can't be a name is refused here, as it would name something else in the URL of the object.
fn check(request: &v1::ExplainRequest) -> Result<(), Status> {
    if request.resource.is_empty() || request.name.is_empty() {
        return Err(Status::invalid_argument("resource and name are needed"));
    }
    // What apimachinery's IsValidPathSegmentName refuses in every name.
    if matches!(request.name.as_str(), "." | "..") || request.name.contains(['/', '%']) {
        return Err(Status::invalid_argument(
            "a name is not '.' or '..' and has no '/' or '%' in it",
        ));
    }
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !request.namespace.chars().all(label) {
        return Err(Status::invalid_argument(
            "a namespace has only a-z, 0-9 and '-' in its name",
        ));
    }
    Ok(())
}

/// A name as a segment of a URL path (RFC 3986): those of RBAC may hold nearly anything.
fn path_segment(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn selections<'a>(
    facts: &'a Snapshot,
    request: &v1::ExplainRequest,
) -> Vec<(&'a DestinationPlan, &'a TypeSelection)> {
    facts
        .plan
        .destinations
        .values()
        .filter_map(|destination| {
            let selection = destination
                .selections
                .get(&(request.group.clone(), request.resource.clone()))?;
            let version_fits =
                request.version.is_empty() || selection.served.version == request.version;
            (version_fits && selection.operations(&request.namespace).is_some())
                .then(|| (destination.as_ref(), selection.as_ref()))
        })
        .collect()
}

async fn live(
    sources: &Sources,
    served: &ServedType,
    request: &v1::ExplainRequest,
) -> Result<Option<Value>, Status> {
    let namespace = Some(request.namespace.as_str()).filter(|n| !n.is_empty());
    let get = Request::new(served.url_path(namespace))
        .get(&path_segment(&request.name), &GetParams::default())
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    // As text: kube's client logs the whole of what it can't parse.
    match sources.client.request_text(get).await {
        Ok(object) => serde_json::from_str(&object)
            .map(Some)
            .map_err(|error| Status::unavailable(format!("the object can't be read: {error}"))),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        // Rights to watch without rights to get: the plan can be told all the same.
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Err(error) => Err(Status::unavailable(error.to_string())),
    }
}

fn left_out(
    sources: &Sources,
    identity: &Identity,
    object: Option<&Value>,
    selecting: &[(&DestinationPlan, &TypeSelection)],
) -> String {
    if selecting
        .iter()
        .all(|(destination, _)| destination.omits(&identity.group, &identity.resource))
    {
        return "its destinations omit Secrets (secretPolicy)".to_owned();
    }
    let Some(object) = object else {
        return "there is no such object now, or it may not be read".to_owned();
    };
    if object["metadata"]["deletionTimestamp"].is_string() {
        return "it is being deleted".to_owned();
    }
    sources
        .cluster_made
        .left_out(identity, object)
        .map(|why| why.to_string())
        .unwrap_or_default()
}

fn describe(
    sources: &Sources,
    destination: &DestinationPlan,
    selection: &TypeSelection,
    identity: &Identity,
) -> v1::Selection {
    let path = manifest::file_path(&destination.base_folder, identity);
    let note = sources.board.last_commit(&destination.key, &path);
    let omitted = destination.omits(&identity.group, &identity.resource);
    let (author, tier, why) = match note.as_ref().map(|note| &note.attribution) {
        None => (String::new(), "", ""),
        Some(Attribution::Exact(Who { username, .. })) => (username.clone(), "exact", ""),
        Some(Attribution::Content(Who { username, .. })) => (username.clone(), "content", ""),
        Some(Attribution::None(miss)) => (String::new(), "none", why(*miss)),
    };
    v1::Selection {
        destination: destination.key.to_string(),
        rules: selection.rules.clone(),
        repo_url: destination.url.to_string(),
        branch: destination.branch.branch.clone(),
        path: if omitted { String::new() } else { path },
        commit: note.map(|note| note.commit).unwrap_or_default(),
        author,
        attribution: tier.to_owned(),
        attribution_reason: why.to_owned(),
    }
}

fn why(miss: Miss) -> &'static str {
    match miss {
        Miss::Unseen => {
            "no admission was seen for it: the webhook was not called, or its call was lost"
        }
        Miss::Ambiguous => "several users sent what can't be told apart",
        Miss::Unconfirmed => {
            "the webhook sidecar was away meanwhile, and may have missed who else asked for it"
        }
        Miss::NeverAdmitted => "the apiserver calls no webhooks for admissionregistration.k8s.io",
        Miss::Reconciled => "it was found by comparing the live list with Git",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(namespace: &str, name: &str) -> v1::ExplainRequest {
        v1::ExplainRequest {
            resource: "configmaps".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn a_name_can_not_lead_to_another_object() {
        for (namespace, name) in [
            ("lab", ""),
            ("lab", ".."),
            ("lab", "../secrets/password"),
            ("lab", "%2e%2e"),
            ("lab/secrets", "password"),
            ("..", "password"),
            ("lab?watch=true", "one"),
        ] {
            let status = check(&request(namespace, name)).unwrap_err();
            assert_eq!(
                status.code(),
                tonic::Code::InvalidArgument,
                "{namespace} {name}"
            );
        }
        assert!(check(&request("lab", "system:node?x")).is_ok());
        assert_eq!(
            path_segment("system:node?x #ü"),
            "system:node%3Fx%20%23%C3%BC"
        );
    }
}
