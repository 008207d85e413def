//! The apiserver's audit log: the ground truth of who wrote what.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Level Metadata says who did what to which object. Bodies stay out, and so do Secrets' values.
/// `ResponseStarted` is kept, as a watch is only known by it until it ends.
pub(crate) const POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [
    { "level": "None", "resources": [{ "group": "coordination.k8s.io" }, { "group": "", "resources": ["events"] }] },
    { "level": "None", "nonResourceURLs": ["*"] },
    { "level": "None", "users": ["system:apiserver"], "verbs": ["get", "list", "watch"] },
    { "level": "Metadata" }
  ]
}
"#;

/// One entry of the audit log (`audit.k8s.io/v1` Event), with the fields that tests look at.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// The same for all stages of one request.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// `ResponseStarted` (watches), `ResponseComplete` or `Panic`.
    pub stage: String,
    /// `create`, `update`, `patch`, `delete`, `deletecollection`, `get`, `list`, `watch`.
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// Who authenticated.
    pub user: AuditUser,
    /// Whom they acted as.
    pub impersonated_user: Option<AuditUser>,
    /// What client it was.
    #[serde(default)]
    pub user_agent: String,
    /// What was asked for; absent where the URL names no resource.
    pub object_ref: Option<AuditObject>,
    /// How it went; absent while it goes on.
    pub response_status: Option<AuditStatus>,
    /// RFC 3339 with microseconds.
    pub request_received_timestamp: String,
    /// RFC 3339 with microseconds.
    pub stage_timestamp: String,
}

/// A user as the apiserver knows it.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditUser {
    /// The user name.
    #[serde(default)]
    pub username: String,
    /// All groups.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// What a request was about. The name is empty for a create with `generateName` and for collections.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditObject {
    /// Plural resource name.
    pub resource: String,
    /// Empty for cluster-scoped resources and for requests over all namespaces.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// Empty for the core group.
    pub api_group: String,
    /// The version in the URL.
    pub api_version: String,
    /// `status`, `scale`, … or empty.
    pub subresource: String,
    /// Known only to some verbs.
    pub uid: String,
}

/// The answer's status.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditStatus {
    /// The HTTP status.
    #[serde(default)]
    pub code: u16,
}

// === impl AuditEvent ===

impl AuditEvent {
    /// The user that admission sees: whom was acted as, else who authenticated.
    #[must_use]
    pub fn acting_user(&self) -> &str {
        &self
            .impersonated_user
            .as_ref()
            .unwrap_or(&self.user)
            .username
    }

    /// Whether this is a write that the apiserver accepted. Dry runs and no-op writes count too.
    #[must_use]
    pub fn is_accepted_write(&self) -> bool {
        self.stage == "ResponseComplete"
            && matches!(
                self.verb.as_str(),
                "create" | "update" | "patch" | "delete" | "deletecollection"
            )
            && self
                .response_status
                .as_ref()
                .is_some_and(|status| (200..300).contains(&status.code))
    }

    /// Whether it is about this object.
    #[must_use]
    pub fn is_about(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.object_ref.as_ref().is_some_and(|object| {
            object.resource == resource && object.namespace == namespace && object.name == name
        })
    }
}

/// All complete lines of an audit log.
pub(crate) fn read(path: &Path) -> Result<Vec<AuditEvent>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("audit log: {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_json() {
        assert!(serde_json::from_str::<serde_json::Value>(POLICY).is_ok());
    }

    #[test]
    fn a_line_still_being_written_is_left_for_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let line = r#"{"auditID":"1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/configmaps","verb":"create",
            "user":{"username":"admin"},"impersonatedUser":{"username":"jane","groups":["dev"]},
            "objectRef":{"resource":"configmaps","namespace":"a","name":"b","apiVersion":"v1"},"responseStatus":{"code":201},
            "requestReceivedTimestamp":"t","stageTimestamp":"t"}"#
            .replace('\n', "");
        std::fs::write(&path, format!("{line}\n{{\"auditID\":")).unwrap();
        let events = read(&path).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].acting_user(), "jane");
        assert!(events[0].is_accepted_write() && events[0].is_about("configmaps", "a", "b"));
    }
}
