//! What the tests of this module are made of.

use bytes::Bytes;
use manifest::Identity;

use crate::change::{Attribution, Cause, Change, DestinationKey, Miss, Operation, Who};

/// A live update of the ConfigMap `lab/{path}`.
pub(super) fn by(username: &str, path: &str, content: &str) -> Change {
    Change {
        destination: DestinationKey {
            namespace: "lab".into(),
            name: "live".into(),
        },
        identity: Identity {
            group: String::new(),
            version: "v1".into(),
            resource: "configmaps".into(),
            namespace: "lab".into(),
            name: path.into(),
        },
        path: path.into(),
        content: Some(Bytes::copy_from_slice(content.as_bytes())),
        operation: Operation::Update,
        attribution: Attribution::Exact(Who {
            username: username.into(),
            field_manager: "kubectl".into(),
        }),
        cause: Cause::Live,
    }
}

pub(super) fn unattributed(path: &str, content: &str, miss: Miss) -> Change {
    Change {
        attribution: Attribution::None(miss),
        ..by("", path, content)
    }
}
