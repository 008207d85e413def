//! What tests of workers have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use manifest::Identity;
use tokio::time::Instant;

use super::Write;
use crate::change::{Attribution, Cause, Change, Operation, Who};
use crate::discovery::ServedType;
use crate::rules::{DestinationPlan, Operations, TypeSelection};

/// Core's types of these names, selected everywhere at this version.
pub(super) fn everywhere(
    resources: &[&str],
    version: &str,
) -> BTreeMap<(String, String), Arc<TypeSelection>> {
    let selected = |resource: &&str| {
        let selection = TypeSelection {
            served: Arc::new(ServedType {
                group: String::new(),
                version: version.to_owned(),
                resource: (*resource).to_owned(),
                kind: String::new(),
                namespaced: true,
                replicas: None,
            }),
            everywhere: Some(Operations::ALL),
            namespaces: BTreeMap::new(),
            rules: Vec::new(),
        };
        ((String::new(), (*resource).to_owned()), Arc::new(selection))
    };
    resources.iter().map(selected).collect()
}

/// A ConfigMap in the namespace `lab`.
pub(super) fn config_map(name: &str) -> Identity {
    Identity {
        group: String::new(),
        version: "v1".to_owned(),
        resource: "configmaps".to_owned(),
        namespace: "lab".to_owned(),
        name: name.to_owned(),
    }
}

/// Of such a ConfigMap's file in the folder `live`, as seen live and known for sure.
pub(super) fn write(
    destination: &Arc<DestinationPlan>,
    name: &str,
    content: &str,
    username: &str,
) -> Write {
    let identity = config_map(name);
    let who = Who {
        username: username.to_owned(),
        field_manager: String::new(),
    };
    Write {
        change: Change {
            destination: destination.key.clone(),
            path: manifest::file_path("live", &identity),
            identity,
            content: Some(Bytes::copy_from_slice(content.as_bytes())),
            operation: Operation::Update,
            attribution: Attribution::Exact(who),
            cause: Cause::Live,
        },
        destination: destination.clone(),
        allowed: Operations::ALL,
        unsettled: None,
        seen: Instant::now(),
    }
}
