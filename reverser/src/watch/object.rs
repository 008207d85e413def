//! One object as a list or a watch delivered it.

use bytes::Bytes;
use manifest::{ClusterMade, Identity, LeftOut, SpecHash};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::index::{Entry, ObjectName};
use super::subscriber::identity;
use crate::change::{Operation, Sighting};
use crate::discovery::ServedType;
use crate::fingerprint::Fingerprint;

/// Which object this is, and which version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) name: ObjectName,
    pub(super) uid: Box<str>,
    pub(super) resource_version: Box<str>,
    /// It is told to go.
    pub(super) terminating: bool,
}

/// What the pipeline needs of an object, worked out once.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) meta: Meta,
    pub(super) identity: Identity,
    pub(super) text: Bytes,
    pub(super) spec_hash: SpecHash,
    pub(super) fingerprint: Fingerprint,
    pub(super) managed_fields_hash: Option<SpecHash>,
    pub(super) replicas: Option<i64>,
    pub(super) unscaled_hash: Option<SpecHash>,
    pub(super) left_out: Option<LeftOut>,
}

/// An object that can't be written; the others go on.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) which: Which,
    pub(super) why: WhyUnreadable,
}

/// What is known of an object that can't be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All but its content.
    Version(Meta),
    /// Its name only.
    Name(ObjectName),
    Unknown,
}

impl Which {
    pub(super) fn name(&self) -> Option<&ObjectName> {
        match self {
            Self::Version(meta) => Some(&meta.name),
            Self::Name(name) => Some(name),
            Self::Unknown => None,
        }
    }
}

/// Why an object can't be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WhyUnreadable {
    #[error("the object has no metadata.{0}")]
    NoMetadata(&'static str),
    /// Nested too deeply, as a rule.
    #[error("the object can't be read: {0}")]
    NoJson(#[from] serde_json::Error),
    #[error(transparent)]
    NotCanonical(#[from] manifest::CanonicalizeError),
}

// === impl Meta ===

/// The fields of any object that make its [`Meta`]. What else it holds is passed over, however deep.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: HeadMetadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HeadMetadata {
    namespace: Option<Box<str>>,
    name: Option<Box<str>>,
    uid: Option<Box<str>>,
    resource_version: Option<Box<str>>,
    deletion_timestamp: Option<Box<str>>,
}

impl Meta {
    /// Of an object as it came, whatever the rest of it is like.
    pub(super) fn read(object: &RawValue) -> Result<Self, Unreadable> {
        let head: Head = serde_json::from_str(object.get()).map_err(|error| Unreadable {
            which: Which::Unknown,
            why: error.into(),
        })?;
        let metadata = head.metadata;
        let given = |value: Option<Box<str>>| value.filter(|text| !text.is_empty());
        let lacks = |which, field| Unreadable {
            which,
            why: WhyUnreadable::NoMetadata(field),
        };
        let Some(name) = given(metadata.name) else {
            return Err(lacks(Which::Unknown, "name"));
        };
        let name = (metadata.namespace.unwrap_or_default(), name);
        match (given(metadata.uid), given(metadata.resource_version)) {
            (Some(uid), Some(resource_version)) => Ok(Self {
                name,
                uid,
                resource_version,
                terminating: metadata.deletion_timestamp.is_some(),
            }),
            (None, _) => Err(lacks(Which::Name(name), "uid")),
            (_, None) => Err(lacks(Which::Name(name), "resourceVersion")),
        }
    }
}

// === impl Seen ===

impl Seen {
    /// `object` as it came; items of a list come without apiVersion and kind, which are filled in.
    pub(super) fn new(
        object: &RawValue,
        served: &ServedType,
        cluster_made: ClusterMade,
    ) -> Result<Self, Unreadable> {
        let meta = Meta::read(object)?;
        Self::of(meta.clone(), object, served, cluster_made).map_err(|why| Unreadable {
            which: Which::Version(meta),
            why,
        })
    }

    fn of(
        meta: Meta,
        object: &RawValue,
        served: &ServedType,
        cluster_made: ClusterMade,
    ) -> Result<Self, WhyUnreadable> {
        let mut object: Value = serde_json::from_str(object.get())?;
        if let Some(map) = object.as_object_mut() {
            map.entry("apiVersion")
                .or_insert_with(|| Value::from(served.api_version()));
            map.entry("kind")
                .or_insert_with(|| Value::from(served.kind.as_str()));
        }
        let identity = identity(served, &meta.name.0, &meta.name.1);
        let manifest = manifest::canonicalize(&object)?;
        Ok(Self {
            meta,
            left_out: cluster_made.left_out(&identity, &object),
            identity,
            spec_hash: manifest.hash,
            fingerprint: Fingerprint::of(&manifest.text),
            text: manifest.text.into(),
            managed_fields_hash: manifest::managed_fields_hash(&object),
            replicas: served
                .replicas
                .as_ref()
                .and_then(|path| path.replicas(&object)),
            unscaled_hash: served
                .replicas
                .as_ref()
                .and_then(|path| path.hash_without(&object)),
        })
    }

    pub(super) fn entry(&self) -> Entry {
        Entry {
            uid: self.meta.uid.clone(),
            resource_version: self.meta.resource_version.clone(),
            spec_hash: Some(self.spec_hash),
            fingerprint: Some(self.fingerprint),
            unscaled_hash: self.unscaled_hash,
            terminating: self.meta.terminating,
            left_out: self.left_out.is_some(),
            found: false,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        !self.meta.terminating && self.left_out.is_none()
    }

    /// That this object was written on `base`; after `before`, where it was known. Of a list only
    /// Git can tell a create from an update, so the worker judges that anew.
    pub(super) fn sighting(&self, before: Option<&Entry>, base: Option<String>) -> Sighting {
        Sighting {
            identity: self.identity.clone(),
            uid: self.meta.uid.to_string(),
            operation: if before.is_some() {
                Operation::Update
            } else {
                Operation::Create
            },
            base,
            version: self.meta.resource_version.to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Catalog;

    fn read(text: &str) -> Result<Seen, Unreadable> {
        let catalog = Catalog::of(&[("", "v1", "configmaps", "ConfigMap", true)]);
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        let served = &catalog.versions("", "configmaps")[0];
        Seen::new(&raw, served, ClusterMade::LeftOut)
    }

    #[test]
    fn of_an_object_of_any_depth_its_version_is_known() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let text = format!(
            r#"{{"data": {deep}, "metadata": {{"annotations": {deep}, "namespace": "lab", "name": "deep", "uid": "u1",
                "resourceVersion": "7", "deletionTimestamp": "2026-01-01T00:00:00Z"}}}}"#
        );
        let unreadable = read(&text).unwrap_err();
        let meta = Meta {
            name: ("lab".into(), "deep".into()),
            uid: "u1".into(),
            resource_version: "7".into(),
            terminating: true,
        };
        assert_eq!(unreadable.which, Which::Version(meta));
    }

    #[test]
    fn what_has_no_version_has_a_name_at_best() {
        let which = |text: &str| read(text).unwrap_err().which;
        let named = Which::Name(("".into(), "one".into()));
        assert_eq!(which(r#"{"metadata": {"name": "one"}}"#), named);
        assert_eq!(which(r#"{"metadata": {"name": "one", "uid": "u"}}"#), named);
        for text in ["{}", "7", r#"{"metadata": {"name": ""}}"#] {
            assert_eq!(which(text), Which::Unknown, "{text}");
        }
    }
}
