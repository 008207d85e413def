//! One admission, as the sidecar saw it, checked.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use manifest::{Identity, SpecHash};
use proto::v1;

/// What an admission asked for, as far as joining it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// A new object with this content.
    Create(SpecHash),
    /// This content in place of another.
    Update(SpecHash),
    /// The removal of an object that has this content.
    Delete(SpecHash),
    /// An update of `spec.replicas` through the scale subresource; the sidecar never sees the
    /// object itself.
    Scale(i64),
    /// The removal of a Pod by its eviction, for which no delete is admitted. Which of that name is not said.
    Eviction,
}

impl Write {
    /// The operation as the admission review calls it; a scale is an UPDATE, an eviction is a CREATE.
    #[must_use]
    pub fn operation(self) -> &'static str {
        match self {
            Self::Create(_) | Self::Eviction => "CREATE",
            Self::Update(_) | Self::Scale(_) => "UPDATE",
            Self::Delete(_) => "DELETE",
        }
    }
}

/// One admission: who asked for which write, on top of which version.
///
/// It says nothing of whether the write succeeded: it may have been refused later, or lost
/// the apiserver's compare-and-swap. Only a watch event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The object, at the version in which the client wrote.
    pub identity: Identity,
    /// `metadata.uid`; empty only where the apiserver sent none.
    pub uid: String,
    /// What was asked for.
    pub write: Write,
    /// The resourceVersion to be replaced; empty for a create.
    pub base: String,
    /// Of the `metadata.managedFields` asked for, where there were any.
    pub managed_fields_hash: Option<SpecHash>,
    /// As authenticated, any bytes.
    pub username: Arc<str>,
    /// Empty where unknown.
    pub field_manager: String,
    /// When the sidecar saw it, by its own clock. For people only.
    pub time: SystemTime,
    /// The apiserver had just begun to reach the sidecar, so another write on this version may have
    /// been seen by nobody. It can speak against a name, not for one, unless it is a create.
    pub early: bool,
}

/// The sidecar sent something that is no observation. It is counted and dropped; the stream
/// goes on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ObservationError {
    /// A field that must be there is empty.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field is longer than anything the API accepts: it would cost the store its bound.
    #[error("{field} is longer than {limit} bytes")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its limit in bytes.
        limit: usize,
    },
    /// Not one of CREATE, UPDATE and DELETE.
    #[error("operation {0} is unknown")]
    Operation(i32),
    /// A hash is not 16 hex digits.
    #[error("{0} is not 16 hex digits")]
    Hash(&'static str),
    /// Only the object itself, its scale, and the eviction of a Pod are observed.
    #[error("the subresource is neither empty nor scale, nor a Pod's eviction")]
    Subresource,
}

/// Names that the API bounds to 253 bytes or less; objects' names may be longer for kinds
/// that only ask for a path segment.
const MAX_SEGMENT: usize = 253;
const MAX_NAME: usize = 1024;
/// User names have no limit in the API. Nobody is credited under a cut one, hence refused.
const MAX_USERNAME: usize = 2048;
/// The API's own limit is 128 characters.
const MAX_FIELD_MANAGER: usize = 512;
const MAX_UID: usize = 128;
const MAX_RESOURCE_VERSION: usize = 64;

fn bounded(value: String, field: &'static str, limit: usize) -> Result<String, ObservationError> {
    if value.len() > limit {
        return Err(ObservationError::TooLong { field, limit });
    }
    Ok(value)
}

fn required(value: String, field: &'static str, limit: usize) -> Result<String, ObservationError> {
    if value.is_empty() {
        return Err(ObservationError::Missing(field));
    }
    bounded(value, field, limit)
}

fn hash(text: &str, field: &'static str) -> Result<SpecHash, ObservationError> {
    if text.is_empty() {
        return Err(ObservationError::Missing(field));
    }
    text.parse().map_err(|_| ObservationError::Hash(field))
}

fn write(message: &v1::Observation) -> Result<Write, ObservationError> {
    let operation = v1::Operation::try_from(message.operation)
        .map_err(|_| ObservationError::Operation(message.operation))?;
    let content = || hash(&message.spec_hash, "spec_hash");
    match (operation, message.subresource.as_str()) {
        (v1::Operation::Create, "") => Ok(Write::Create(content()?)),
        (v1::Operation::Update, "") => Ok(Write::Update(content()?)),
        (v1::Operation::Delete, "") => Ok(Write::Delete(content()?)),
        (v1::Operation::Update, "scale") => message
            .replicas
            .map(Write::Scale)
            .ok_or(ObservationError::Missing("replicas")),
        (v1::Operation::Create, "eviction")
            if message.group.is_empty() && message.resource == "pods" =>
        {
            Ok(Write::Eviction)
        }
        (v1::Operation::Unspecified, _) => Err(ObservationError::Operation(message.operation)),
        _ => Err(ObservationError::Subresource),
    }
}

impl TryFrom<v1::Observation> for Observation {
    type Error = ObservationError;

    fn try_from(message: v1::Observation) -> Result<Self, Self::Error> {
        let write = write(&message)?;
        let base = bounded(
            message.base_resource_version,
            "base_resource_version",
            MAX_RESOURCE_VERSION,
        )?;
        let base = match write {
            // An upsert through PUT carries no version of anything that it replaces.
            Write::Create(_) | Write::Eviction => String::new(),
            _ if base.is_empty() => {
                return Err(ObservationError::Missing("base_resource_version"));
            }
            _ => base,
        };
        let managed_fields_hash = match message.managed_fields_hash.as_str() {
            "" => None,
            text => Some(hash(text, "managed_fields_hash")?),
        };
        let uid = bounded(message.uid, "uid", MAX_UID)?;
        if uid.is_empty() && !matches!(write, Write::Create(_) | Write::Eviction) {
            return Err(ObservationError::Missing("uid"));
        }
        Ok(Self {
            identity: Identity {
                group: bounded(message.group, "group", MAX_SEGMENT)?,
                version: required(message.version, "version", MAX_SEGMENT)?,
                resource: required(message.resource, "resource", MAX_SEGMENT)?,
                namespace: bounded(message.namespace, "namespace", MAX_SEGMENT)?,
                name: required(message.name, "name", MAX_NAME)?,
            },
            uid,
            write,
            base,
            managed_fields_hash,
            username: required(message.username, "username", MAX_USERNAME)?.into(),
            field_manager: bounded(message.field_manager, "field_manager", MAX_FIELD_MANAGER)?,
            time: message.time.map_or(SystemTime::UNIX_EPOCH, |t| {
                let nanos = u32::try_from(t.nanos).unwrap_or(0).min(999_999_999);
                let since = Duration::new(u64::try_from(t.seconds).unwrap_or(0), nanos);
                SystemTime::UNIX_EPOCH
                    .checked_add(since)
                    .unwrap_or(SystemTime::UNIX_EPOCH)
            }),
            early: message.early,
        })
    }
}

impl Observation {
    /// `{group}/{version}/{resource}/{namespace}/{name}:{operation}:{specHash}`; the hash is
    /// empty for a scale and an eviction.
    #[must_use]
    pub fn key(&self) -> String {
        match self.write {
            Write::Create(h) | Write::Update(h) | Write::Delete(h) => {
                key(&self.identity, self.write.operation(), h)
            }
            Write::Scale(_) | Write::Eviction => {
                format!("{}:{}:", self.identity, self.write.operation())
            }
        }
    }
}

/// The key under which an admission of this content waits.
pub(super) fn key(identity: &Identity, operation: &str, hash: SpecHash) -> String {
    format!("{identity}:{operation}:{hash}")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn wire(sequence: u64) -> v1::Observation {
        v1::Observation {
            sequence,
            group: "apps".into(),
            version: "v1".into(),
            resource: "deployments".into(),
            namespace: "shop".into(),
            name: "web".into(),
            uid: "u1".into(),
            operation: v1::Operation::Update.into(),
            spec_hash: "00000000000000aa".into(),
            managed_fields_hash: String::new(),
            base_resource_version: "41".into(),
            subresource: String::new(),
            replicas: None,
            username: "alice".into(),
            field_manager: "kubectl".into(),
            time: None,
            early: false,
        }
    }

    #[test]
    fn key_is_the_documented_one() {
        let observation = Observation::try_from(wire(1)).unwrap();
        assert_eq!(
            observation.key(),
            "apps/v1/deployments/shop/web:UPDATE:00000000000000aa"
        );
    }

    #[test]
    fn scale_has_replicas_and_no_hash() {
        let message = v1::Observation {
            spec_hash: String::new(),
            subresource: "scale".into(),
            replicas: Some(3),
            ..wire(1)
        };
        let observation = Observation::try_from(message.clone()).unwrap();
        assert_eq!(observation.write, Write::Scale(3));
        assert_eq!(observation.key(), "apps/v1/deployments/shop/web:UPDATE:");
        let message = v1::Observation {
            replicas: None,
            ..message
        };
        assert_eq!(
            Observation::try_from(message),
            Err(ObservationError::Missing("replicas"))
        );
    }

    #[test]
    fn an_eviction_is_known_by_the_name_of_its_pod() {
        let message = v1::Observation {
            group: String::new(),
            resource: "pods".into(),
            uid: String::new(),
            operation: v1::Operation::Create.into(),
            spec_hash: String::new(),
            base_resource_version: String::new(),
            subresource: "eviction".into(),
            ..wire(1)
        };
        let observation = Observation::try_from(message.clone()).unwrap();
        assert_eq!(observation.write, Write::Eviction);
        let message = v1::Observation {
            resource: "nodes".into(),
            ..message
        };
        assert_eq!(
            Observation::try_from(message),
            Err(ObservationError::Subresource)
        );
    }

    #[test]
    fn malformed_ones_are_told_apart() {
        use ObservationError as E;
        type Spoil = fn(&mut v1::Observation);
        let cases: [(Spoil, E); 8] = [
            (|o| o.operation = 9, E::Operation(9)),
            (|o| o.operation = 0, E::Operation(0)),
            (|o| o.spec_hash = "AA".into(), E::Hash("spec_hash")),
            (
                |o| o.managed_fields_hash = "x".into(),
                E::Hash("managed_fields_hash"),
            ),
            (|o| o.username = String::new(), E::Missing("username")),
            (|o| o.subresource = "status".into(), E::Subresource),
            (
                |o| o.base_resource_version = String::new(),
                E::Missing("base_resource_version"),
            ),
            (
                |o| o.username = "x".repeat(5000),
                E::TooLong {
                    field: "username",
                    limit: MAX_USERNAME,
                },
            ),
        ];
        for (spoil, error) in cases {
            let mut message = wire(1);
            spoil(&mut message);
            assert_eq!(Observation::try_from(message), Err(error));
        }
    }
}
