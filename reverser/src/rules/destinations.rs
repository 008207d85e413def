//! Which destinations can be written to, and what is wrong with the others.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::compile::CompileOptions;
use super::configuration::{ConfigObject, Configuration, Kind, ObjectKey};
use super::plan::{BranchKey, DestinationPlan, Plan};
use super::recipients::RecipientsSource;
use super::verdict::{finding, invalid, ready, stalled};
use crate::api::{Conditions, GitDestinationSpec, GitRepoConfigSpec, PushSettings, SecretPolicy};
use crate::change::DestinationKey;
use crate::commit::{CommitOptions, Signature};
use crate::git::{RepoUrl, Scheme, check_path, is_branch_name};
use crate::secrets::{Recipient, Recipients};
use crate::workers::BatchLimits;

pub(super) type Repos<'a> =
    BTreeMap<(String, String), Result<(RepoUrl, &'a GitRepoConfigSpec), ()>>;

pub(super) fn check_repos<'a>(
    configuration: &'a Configuration,
    options: &CompileOptions,
    plan: &mut Plan,
) -> Repos<'a> {
    let mut repos = Repos::new();
    for (name, repo) in &configuration.repos {
        let checked = match &repo.spec {
            Err(error) => Err(invalid(error)),
            Ok(spec) => match RepoUrl::parse(&spec.repo_url) {
                Ok(url) if url.scheme() == Scheme::File && !options.allow_file_urls => {
                    Err(stalled(
                        "FileURLNotAllowed",
                        "file:// URLs are refused: the reverser runs without --allow-file-urls",
                    ))
                }
                Ok(url) => Ok((url, spec.as_ref())),
                Err(error) => Err(stalled("InvalidURL", error.to_string())),
            },
        };
        let key = ObjectKey {
            kind: Kind::Repo,
            namespace: name.0.clone(),
            name: name.1.clone(),
        };
        let conditions = checked.as_ref().map_or_else(Clone::clone, |_| ready());
        plan.findings.insert(key, finding(conditions));
        repos.insert(name.clone(), checked.map_err(|_| ()));
    }
    repos
}

pub(super) fn check_destinations(
    configuration: &Configuration,
    repos: &Repos<'_>,
    options: &CompileOptions,
    plan: &mut Plan,
) -> BTreeMap<DestinationKey, DestinationPlan> {
    let mut destinations = BTreeMap::new();
    for ((namespace, name), object) in &configuration.destinations {
        let key = DestinationKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let checked = check_destination(&key, object, configuration, repos, options);
        let conditions = checked.as_ref().map_or_else(Clone::clone, |_| ready());
        plan.findings
            .insert(destination_object(&key), finding(conditions));
        if let Ok(destination) = checked {
            destinations.insert(key, destination);
        }
    }
    destinations
}

fn destination_object(key: &DestinationKey) -> ObjectKey {
    ObjectKey {
        kind: Kind::Destination,
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}

fn check_destination(
    key: &DestinationKey,
    object: &ConfigObject<GitDestinationSpec>,
    configuration: &Configuration,
    repos: &Repos<'_>,
    options: &CompileOptions,
) -> Result<DestinationPlan, Conditions> {
    let spec = object.spec.as_ref().map_err(|error| invalid(error))?;
    if spec
        .repo_ref
        .namespace
        .as_ref()
        .is_some_and(|n| *n != key.namespace)
    {
        return Err(stalled(
            "CrossNamespaceReference",
            format!(
                "repoRef names another namespace; a GitRepoConfig is used from its own namespace only ({})",
                key.namespace
            ),
        ));
    }
    let repo_name = &spec.repo_ref.name;
    let Some(repo) = repos.get(&(key.namespace.clone(), repo_name.clone())) else {
        return Err(stalled(
            "RepoConfigNotFound",
            format!(
                "there is no GitRepoConfig '{repo_name}' in namespace {}",
                key.namespace
            ),
        ));
    };
    let Ok((url, repo)) = repo else {
        return Err(stalled(
            "RepoConfigInvalid",
            format!("GitRepoConfig '{repo_name}' can't be used; see its conditions"),
        ));
    };
    if !repo.allowed_branches.contains(&spec.branch) {
        return Err(stalled(
            "BranchNotAllowed",
            format!(
                "branch '{}' is not among the allowedBranches of GitRepoConfig '{repo_name}': {}",
                spec.branch,
                repo.allowed_branches.join(", ")
            ),
        ));
    }
    // The schema refuses these; an object from before a schema may hold them all the same.
    if !is_branch_name(&spec.branch) {
        return Err(stalled(
            "InvalidBranch",
            format!("'{}' is not a branch name that git accepts", spec.branch),
        ));
    }
    if let Err(error) = check_path(&spec.base_folder) {
        return Err(stalled(
            "InvalidBaseFolder",
            format!("baseFolder must be a relative path that stays in the repository: {error}"),
        ));
    }
    let recipients = recipients(key, spec, configuration, options)?;
    let signing_secret = repo.signing_secret().map(ToOwned::to_owned);
    Ok(DestinationPlan {
        key: key.clone(),
        uid: object.object.metadata.uid.clone().unwrap_or_default(),
        branch: BranchKey {
            repository: url.normalised(),
            branch: spec.branch.clone(),
            secret: repo
                .secret_ref
                .as_ref()
                .map_or_else(String::new, |r| format!("{}/{}", key.namespace, r.name)),
            signing: signing_secret
                .as_ref()
                .map_or_else(String::new, |name| format!("{}/{name}", key.namespace)),
        },
        url: url.clone(),
        repo_name: repo_name.clone(),
        secret_name: repo.secret_ref.as_ref().map(|r| r.name.clone()),
        signing_secret,
        base_folder: spec.base_folder.clone(),
        secret_policy: spec.secret_policy,
        recipients,
        secrets: options.secrets.clone(),
        take_over: spec.take_over.clone(),
        limits: limits(repo.push.as_ref(), options.limits),
        commit: commit_options(repo, &options.commit),
        selections: BTreeMap::new(),
        resolved: true,
        unseen: BTreeSet::new(),
    })
}

/// Who can decrypt what the destination writes. One who can't be encrypted for makes all of it wait: what is left would be another list
/// than the one that was asked for.
fn recipients(
    key: &DestinationKey,
    spec: &GitDestinationSpec,
    configuration: &Configuration,
    options: &CompileOptions,
) -> Result<Recipients, Conditions> {
    if spec.secret_policy != SecretPolicy::Encrypt {
        return Ok(Recipients::default());
    }
    if options.secrets.encryptor.is_none() {
        return Err(stalled(
            "NoEncryptionKey",
            "secretPolicy Encrypt needs the key of --redaction-key-file (chart: reverser.redactionKeyFile)",
        ));
    }
    let mut all = Vec::new();
    let listed = spec.encryption.iter().flat_map(|it| &it.age_recipients);
    for (index, recipient) in listed.enumerate() {
        all.push(recipient.parse::<Recipient>().map_err(|error| {
            stalled(
                "InvalidRecipients",
                format!("spec.encryption.ageRecipients[{index}]: {error}"),
            )
        })?);
    }
    if let Some(source) = RecipientsSource::of(&key.namespace, spec) {
        let found = configuration.recipients.get(&source).cloned();
        let found = found.unwrap_or_else(|| Err(source.unreadable("it was not asked for yet")))?;
        all.extend(found.iter().cloned());
    }
    if all.is_empty() {
        return Err(stalled(
            "InvalidRecipients",
            "secretPolicy Encrypt needs somebody to encrypt for: spec.encryption",
        ));
    }
    Ok(all.into_iter().collect())
}

fn limits(push: Option<&PushSettings>, flags: BatchLimits) -> BatchLimits {
    let Some(push) = push else { return flags };
    BatchLimits {
        max_files: push.max_files.map_or(flags.max_files, |n| n as usize),
        max_bytes: push
            .max_bytes
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(flags.max_bytes),
        max_wait: push
            .max_wait_sec
            .map_or(flags.max_wait, |s| std::time::Duration::from_secs(s.into())),
        linger: push.linger_ms.map_or(flags.linger, |ms| {
            std::time::Duration::from_millis(ms.into())
        }),
    }
}

fn commit_options(repo: &GitRepoConfigSpec, flags: &CommitOptions) -> CommitOptions {
    let Some(commit) = &repo.commit else {
        return flags.clone();
    };
    let bot = commit.committer.as_ref().map_or_else(
        || flags.bot.clone(),
        |committer| Signature {
            name: committer.name.clone(),
            email: committer.email.clone(),
        },
    );
    let email_domain = commit
        .author_email_domain
        .clone()
        .unwrap_or_else(|| flags.email_domain.clone());
    CommitOptions { bot, email_domain }
}

/// Of two destinations whose folders overlap on one branch, the younger is refused.
pub(super) fn refuse_overlaps(
    configuration: &Configuration,
    destinations: &mut BTreeMap<DestinationKey, DestinationPlan>,
    plan: &mut Plan,
) {
    let created = |key: &DestinationKey| -> Option<Time> {
        let object = configuration
            .destinations
            .get(&(key.namespace.clone(), key.name.clone()))?;
        object.object.metadata.creation_timestamp.clone()
    };
    let mut by_age: Vec<DestinationKey> = destinations.keys().cloned().collect();
    by_age.sort_by_key(|key| (created(key), key.clone()));
    let mut kept: Vec<DestinationKey> = Vec::new();
    for key in by_age {
        let this = &destinations[&key];
        let other = kept.iter().find(|other| {
            let other = &destinations[*other];
            other.branch.is_same_branch(&this.branch)
                && overlap(&other.base_folder, &this.base_folder)
        });
        let Some(other) = other else {
            kept.push(key);
            continue;
        };
        let message = format!(
            "folder '{}' overlaps '{}' of GitDestination {other}, which was there first, on the same branch",
            this.base_folder, destinations[other].base_folder
        );
        plan.findings.insert(
            destination_object(&key),
            finding(stalled("FolderOverlap", message)),
        );
        destinations.remove(&key);
    }
}

/// Compared without case: a checkout on a file system that folds case would mix them.
fn overlap(a: &str, b: &str) -> bool {
    let (a, b) = (
        format!("{}/", a.to_lowercase()),
        format!("{}/", b.to_lowercase()),
    );
    a.starts_with(&b) || b.starts_with(&a)
}
