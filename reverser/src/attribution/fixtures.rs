//! What the tests of this module are made of.

use std::time::SystemTime;

use manifest::{Identity, SpecHash};
use prometheus::Registry;

use crate::change::{Operation, Sighting};

use super::metrics::AttributionMetrics;
use super::observation::{Observation, Write};

pub(super) fn hash(content: &str) -> SpecHash {
    SpecHash::of(content.as_bytes())
}

pub(super) fn identity() -> Identity {
    Identity {
        group: "apps".into(),
        version: "v1".into(),
        resource: "deployments".into(),
        namespace: "shop".into(),
        name: "web".into(),
    }
}

fn observed(username: &str, base: &str, write: Write) -> Observation {
    Observation {
        identity: identity(),
        uid: "u1".into(),
        write,
        base: base.into(),
        managed_fields_hash: None,
        username: username.into(),
        field_manager: "kubectl".into(),
        time: SystemTime::UNIX_EPOCH,
        early: false,
    }
}

pub(super) fn create(username: &str, content: &str) -> Observation {
    observed(username, "", Write::Create(hash(content)))
}

pub(super) fn update(username: &str, base: &str, content: &str) -> Observation {
    observed(username, base, Write::Update(hash(content)))
}

pub(super) fn delete(username: &str, base: &str, content: &str) -> Observation {
    observed(username, base, Write::Delete(hash(content)))
}

pub(super) fn scale(username: &str, base: &str, replicas: i64) -> Observation {
    observed(username, base, Write::Scale(replicas))
}

/// With managedFields.
pub(super) fn managed(observation: Observation, fields: &str) -> Observation {
    Observation {
        managed_fields_hash: Some(hash(fields)),
        ..observation
    }
}

/// Written at `v2`.
pub(super) fn at_v2(mut observation: Observation) -> Observation {
    observation.identity.version = "v2".into();
    observation
}

pub(super) fn seen(operation: Operation, base: Option<&str>, content: &str) -> Sighting {
    Sighting {
        identity: identity(),
        uid: "u1".into(),
        operation,
        base: base.map(Into::into),
        version: "100".into(),
        spec_hash: hash(content),
        managed_fields_hash: None,
        scaled_to: None,
    }
}

pub(super) fn updated(base: &str, content: &str) -> Sighting {
    seen(Operation::Update, Some(base), content)
}

pub(super) fn metrics() -> AttributionMetrics {
    AttributionMetrics::register(&Registry::new()).unwrap()
}
