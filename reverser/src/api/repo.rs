//! GitRepoConfig: where a repository is, and how we may write to it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;
use super::patterns;

/// A Git repository that manifests may be written to.
#[derive(CustomResource, KubeSchema, Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[kube(
    group = "configbutler.ai",
    version = "v1alpha1",
    kind = "GitRepoConfig",
    plural = "gitrepoconfigs",
    shortname = "grc",
    category = "gitops-reverser",
    namespaced,
    status = "RepoStatus",
    doc = "A Git repository that manifests may be written to.",
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
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.repoUrl"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct GitRepoConfigSpec {
    /// https://, http://, ssh://, file:///, or git@host:path. Credentials belong into secretRef, not here.
    #[schemars(length(min = 1, max = 2048), regex(pattern = patterns::REPO_URL))]
    #[x_kube(validation = Rule::new(patterns::REPO_URL_RULE)
        .message("credentials belong into secretRef, not into the URL"))]
    pub repo_url: String,
    /// The branches that destinations may write to.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 244), regex(pattern = patterns::BRANCH)))]
    #[x_kube(validation = Rule::new(patterns::BRANCHES_RULE).message("not a branch name that git accepts"))]
    pub allowed_branches: Vec<String>,
    /// The Secret with the credentials, in the same namespace. Without it the repository is used anonymously.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// When a batch is pushed. Each limit overrides the flag of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<PushSettings>,
    /// How commits are signed off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitSettings>,
}

/// A Secret in the same namespace.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::NAME))]
    pub name: String,
}

/// The ceilings of one batch: whichever is reached first closes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PushSettings {
    /// Files in a batch.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u32>,
    /// Bytes of manifests in a batch.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Seconds that a change may wait in all.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait_sec: Option<u32>,
    /// Milliseconds to wait for more changes after the first.
    #[schemars(range(min = 0, max = 60_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linger_ms: Option<u32>,
}

/// Names and addresses in commits.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitSettings {
    /// The committer, and the author of what has no known author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committer: Option<Committer>,
    /// Completes a user name to an e-mail address: alice@this.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = patterns::NAME)
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_email_domain: Option<String>,
    /// Every commit is signed. Where the key can't be used, nothing is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<SigningSettings>,
}

/// With what commits are signed.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SigningSettings {
    /// The Secret with the key, in the same namespace. SSH: `ssh-privatekey` or `identity` in OpenSSH's format, and `ssh-password`
    /// where the key is encrypted. Or OpenPGP: `git.asc`, a private key in ASCII armour, and `passphrase` where it is encrypted,
    /// as Flux's image-automation-controller has them. Ed25519, ECDSA on nistp256 or nistp384, or RSA of 2048 to 4096 bits.
    pub secret_ref: SecretRef,
}

impl GitRepoConfigSpec {
    /// The Secret with the key that signs commits.
    #[must_use]
    pub fn signing_secret(&self) -> Option<&str> {
        let signing = self.commit.as_ref()?.signing.as_ref()?;
        Some(&signing.secret_ref.name)
    }
}

/// The bot.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
pub struct Committer {
    /// Its name.
    #[schemars(length(min = 1, max = 200), regex(pattern = patterns::COMMITTER))]
    pub name: String,
    /// Its address.
    #[schemars(length(min = 1, max = 320), regex(pattern = patterns::COMMITTER_EMAIL))]
    pub email: String,
}

/// What was found out about the repository.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepoStatus {
    /// Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// metadata.generation that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
