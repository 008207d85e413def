//! What tests of workers have in common.

use std::sync::Arc;

use bytes::Bytes;
use manifest::Identity;
use tokio::time::Instant;

use super::Write;
use crate::change::{Attribution, Cause, Change, Operation, Who};
use crate::rules::{DestinationPlan, Operations};

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
