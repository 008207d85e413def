//! One object as a list or a watch delivered it.

use bytes::Bytes;
use manifest::{Identity, LeftOut, SpecHash};
use serde_json::Value;

use super::index::{Entry, ObjectName};
use crate::change::{Operation, Sighting};
use crate::discovery::ServedType;

/// What the pipeline needs of an object, worked out once.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) identity: Identity,
    pub(super) uid: Box<str>,
    pub(super) resource_version: Box<str>,
    pub(super) text: Bytes,
    pub(super) spec_hash: SpecHash,
    pub(super) managed_fields_hash: Option<SpecHash>,
    pub(super) replicas: Option<i64>,
    pub(super) unscaled_hash: Option<SpecHash>,
    pub(super) terminating: bool,
    pub(super) left_out: Option<LeftOut>,
}

/// An object that can't be written; the others go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnreadableObject {
    #[error("the object has no metadata.{0}")]
    NoMetadata(&'static str),
    #[error(transparent)]
    NotCanonical(#[from] manifest::CanonicalizeError),
}

impl Seen {
    /// `object` as it came; items of a list come without apiVersion and kind, which are filled in.
    pub(super) fn new(mut object: Value, served: &ServedType) -> Result<Self, UnreadableObject> {
        if let Some(map) = object.as_object_mut() {
            map.entry("apiVersion")
                .or_insert_with(|| Value::from(served.api_version()));
            map.entry("kind")
                .or_insert_with(|| Value::from(served.kind.as_str()));
        }
        let text = |field: &'static str| {
            object["metadata"][field]
                .as_str()
                .filter(|s| !s.is_empty())
                .ok_or(UnreadableObject::NoMetadata(field))
        };
        let identity = Identity {
            group: served.group.clone(),
            version: served.version.clone(),
            resource: served.resource.clone(),
            namespace: object["metadata"]["namespace"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            name: text("name")?.to_owned(),
        };
        let uid = text("uid")?.into();
        let resource_version = text("resourceVersion")?.into();
        let manifest = manifest::canonicalize(&object)?;
        Ok(Self {
            left_out: manifest::left_out(&identity, &object),
            identity,
            uid,
            resource_version,
            spec_hash: manifest.hash,
            text: manifest.text.into(),
            managed_fields_hash: manifest::managed_fields_hash(&object),
            replicas: manifest::replicas(&object),
            unscaled_hash: manifest::hash_without_replicas(&object),
            terminating: object["metadata"]["deletionTimestamp"].is_string(),
        })
    }

    pub(super) fn name(&self) -> ObjectName {
        (
            self.identity.namespace.as_str().into(),
            self.identity.name.as_str().into(),
        )
    }

    pub(super) fn entry(&self) -> Entry {
        Entry {
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
            spec_hash: self.spec_hash,
            unscaled_hash: self.unscaled_hash,
            terminating: self.terminating,
            left_out: self.left_out.is_some(),
            found: false,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        !self.terminating && self.left_out.is_none()
    }

    /// That this object was written on `base`; after `before`, where it was known. Of a list only
    /// Git can tell a create from an update, so the worker judges that anew.
    pub(super) fn sighting(&self, before: Option<&Entry>, base: Option<String>) -> Sighting {
        Sighting {
            identity: self.identity.clone(),
            uid: self.uid.to_string(),
            operation: if before.is_some() {
                Operation::Update
            } else {
                Operation::Create
            },
            base,
            version: self.resource_version.to_string(),
            spec_hash: self.spec_hash,
            managed_fields_hash: self.managed_fields_hash,
            scaled_to: None,
        }
    }

    /// The new replicas, where nothing else changed since `before`.
    pub(super) fn scaled_since(&self, before: &Entry) -> Option<i64> {
        (self.unscaled_hash.is_some() && self.unscaled_hash == before.unscaled_hash)
            .then_some(self.replicas)
            .flatten()
    }
}
