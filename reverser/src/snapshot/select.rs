//! From flags to what a GitDestination and its rules say: where, what, and in which form.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::args::{ResourceName, SnapshotArgs};
use super::error::SnapshotError;
use crate::api::{ResourceRule, SecretPolicy};
use crate::change::DestinationKey;
use crate::commit::{CommitOptions, DEFAULT_EMAIL_DOMAIN};
use crate::discovery::Catalog;
use crate::git::{RepoUrl, RepoUrlError, check_path, is_branch_name};
use crate::rules::{BranchKey, DestinationPlan, TypeFilter, select_unruled};
use crate::secrets::{Recipients, Secrets};
use crate::workers::BatchLimits;

/// Checks the flags. Nothing is selected yet.
pub(super) fn destination(args: &SnapshotArgs) -> Result<DestinationPlan, SnapshotError> {
    let url = RepoUrl::parse(&args.repo).map_err(|error| match error {
        RepoUrlError::Password => SnapshotError::PasswordInUrl,
        error => SnapshotError::Url(error),
    })?;
    if !is_branch_name(&args.branch) {
        return Err(SnapshotError::Branch(args.branch.clone()));
    }
    let folder = args.folder.trim_end_matches('/');
    check_path(folder)?;
    let key_file = args.redaction_key_file.as_deref();
    let secrets = Secrets::from_flags(&args.sensitive_resources, key_file)?;
    let recipients: Recipients = args.age_recipients.iter().cloned().collect();
    let default = match key_file {
        Some(_) if !recipients.is_empty() => SecretPolicy::Encrypt,
        Some(_) => SecretPolicy::Redact,
        None => SecretPolicy::Omit,
    };
    let secret_policy = args.secret_policy.unwrap_or(default);
    if secret_policy == SecretPolicy::Encrypt && (key_file.is_none() || recipients.is_empty()) {
        return Err(SnapshotError::NobodyToEncryptFor);
    }
    Ok(DestinationPlan {
        key: DestinationKey::snapshot(),
        uid: String::new(),
        branch: BranchKey {
            repository: url.normalised(),
            branch: args.branch.clone(),
            secret: String::new(),
            signing: String::new(),
        },
        url,
        repo_name: String::new(),
        secret_name: None,
        signing_secret: None,
        base_folder: folder.to_owned(),
        secret_policy,
        recipients,
        secrets: Arc::new(secrets),
        take_over: args.take_over.clone(),
        limits: BatchLimits::default(),
        commit: CommitOptions {
            bot: args.author.clone(),
            email_domain: DEFAULT_EMAIL_DOMAIN.to_owned(),
        },
        selections: BTreeMap::new(),
        resolved: true,
        unseen: BTreeSet::new(),
    })
}

/// Selects the types.
pub(super) fn select(
    mut destination: DestinationPlan,
    args: &SnapshotArgs,
    catalog: &Catalog,
) -> Result<DestinationPlan, SnapshotError> {
    let filter = TypeFilter {
        watch_all: args.all_types,
        excluded: args.discovery_exclude.clone(),
    };
    let items: Vec<ResourceRule> = match args.resource.as_slice() {
        [] => vec![rule("*".to_owned(), None, None)],
        named => named.iter().map(named_outright).collect(),
    };
    select_unruled(&mut destination, &items, &args.namespace, catalog, &filter)
        .map_err(SnapshotError::Unresolved)?;
    Ok(destination)
}

fn named_outright(name: &ResourceName) -> ResourceRule {
    let ResourceName {
        resource,
        group,
        version,
    } = name;
    rule(resource.clone(), group.clone(), version.clone())
}

fn rule(resource: String, group: Option<String>, version: Option<String>) -> ResourceRule {
    ResourceRule {
        resources: vec![resource],
        api_groups: group.map(|group| vec![group]),
        api_versions: version.map(|version| vec![version]),
        ..ResourceRule::default()
    }
}

/// What is to be said of Secrets before any is read.
pub(super) fn note_on_secrets(
    args: &SnapshotArgs,
    destination: &DestinationPlan,
) -> Option<&'static str> {
    let mut types = destination.selections.keys();
    if !types.any(|(group, resource)| destination.secrets.types.contains(group, resource)) {
        return None;
    }
    match destination.secret_policy {
        SecretPolicy::Plain => {
            Some("warning: Secrets are in the clear, as --secret-policy=Plain asks for")
        }
        SecretPolicy::Omit if args.secret_policy.is_none() => {
            Some("note: Secrets are left out, as there is no --redaction-key-file")
        }
        SecretPolicy::Redact if !destination.secrets.redactor.shows_changes() => {
            Some("note: changes of Secrets' values don't show, as there is no --redaction-key-file")
        }
        SecretPolicy::Omit | SecretPolicy::Redact | SecretPolicy::Encrypt => None,
    }
}
