//! GitDestination: one folder on one branch of one repository.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;
use super::patterns;

/// A folder in a Git repository that holds what the rules that name it select.
#[derive(CustomResource, KubeSchema, Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[kube(
    group = "configbutler.ai",
    version = "v1alpha1",
    kind = "GitDestination",
    plural = "gitdestinations",
    shortname = "gd",
    category = "gitops-reverser",
    namespaced,
    status = "DestinationStatus",
    doc = "A folder in a Git repository that holds what the rules that name it select.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Branch", type_ = "string", json_path = ".spec.branch"),
    printcolumn(name = "Folder", type_ = "string", json_path = ".spec.baseFolder"),
    printcolumn(name = "Objects", type_ = "integer", json_path = ".status.objects"),
    printcolumn(
        name = "Pending",
        type_ = "integer",
        json_path = ".status.pendingChanges"
    ),
    printcolumn(name = "Commit", type_ = "string", json_path = ".status.lastCommit"),
    printcolumn(name = "Pushed", type_ = "date", json_path = ".status.lastPushTime")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(patterns::ENCRYPTION_RULE)
    .message("secretPolicy Encrypt needs spec.encryption with ageRecipients, recipientsFrom, or both"))]
pub struct GitDestinationSpec {
    /// The GitRepoConfig.
    pub repo_ref: RepoRef,
    /// One of its allowedBranches.
    #[schemars(length(min = 1, max = 244), regex(pattern = patterns::BRANCH))]
    #[x_kube(validation = Rule::new(patterns::BRANCH_RULE).message("not a branch name that git accepts"))]
    pub branch: String,
    /// Relative to the root of the repository; nothing outside it is ever touched.
    #[schemars(length(min = 1, max = 512), regex(pattern = patterns::BASE_FOLDER))]
    #[x_kube(validation = Rule::new(patterns::BASE_FOLDER_RULE)
        .message("baseFolder is a relative path; no segment of it is '.', '..' or '.git', ends in a dot or a space, or is longer than a file name"))]
    pub base_folder: String,
    /// What becomes of Secrets.
    #[serde(default)]
    pub secret_policy: SecretPolicy,
    /// For whom Secrets are encrypted, under secretPolicy Encrypt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptionSettings>,
    /// The id of the cluster that this folder belonged to before, when this one is to own it now.
    /// The status names the id when it is needed.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_over: Option<String>,
}

/// A GitRepoConfig.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
pub struct RepoRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::NAME))]
    pub name: String,
    /// Its namespace; only the destination's own is allowed until owners can consent.
    #[schemars(length(min = 1, max = 63), regex(pattern = patterns::NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// What becomes of core Secrets, and of further types whose values are secret (`--sensitive-resources`).
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, Hash, JsonSchema)]
pub enum SecretPolicy {
    /// They are written with a keyed digest in place of each value: changes show, values don't.
    #[default]
    Redact,
    /// They are not written.
    Omit,
    /// They are written as SOPS files for age recipients: who has a private key decrypts them with `sops`, or Flux does.
    Encrypt,
    /// They are written as they are: everybody who can read the repository can read them.
    Plain,
}

/// Who can decrypt: everybody who is named in either place.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EncryptionSettings {
    /// age public keys, as age-keygen prints them.
    #[schemars(length(max = 32), inner(regex(pattern = patterns::AGE_RECIPIENT)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub age_recipients: Vec<String>,
    /// A Secret in the same namespace that lists more of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients_from: Option<RecipientsRef>,
}

/// Public keys in a Secret, one on a line; lines that begin with `#` don't count.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
pub struct RecipientsRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::NAME))]
    pub name: String,
    /// The key of its data; `recipients` where none is given.
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::DATA_KEY))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What was written, and what waits.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationStatus {
    /// Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// metadata.generation that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Live objects that the rules select.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<i64>,
    /// Changes seen and not pushed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_changes: Option<i64>,
    /// The last commit that was pushed for this destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit: Option<String>,
    /// When, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_push_time: Option<String>,
}
