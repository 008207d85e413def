//! Custom resources and the catalog in, a [`Plan`] out. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Operations;
use super::configuration::{ConfigObject, Configuration, Kind, ObjectKey};
use super::plan::{
    BranchKey, DestinationPlan, Finding, Plan, Subscription, TypeSelection, WatchKey,
};
use super::resolve::{TypeFilter, may_miss_types, resolve};
use crate::api::{
    ClusterResourceRule, Conditions, GitDestinationSpec, GitRepoConfigSpec, PushSettings,
    ResourceRule, RuleScope,
};
use crate::change::DestinationKey;
use crate::commit::{CommitOptions, Signature};
use crate::discovery::{Catalog, ServedType};
use crate::git::{RepoUrl, check_path, is_branch_name};
use crate::workers::BatchLimits;

/// Flags that bear on a plan.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// What `*` means.
    pub filter: TypeFilter,
    /// Where a GitRepoConfig sets none.
    pub limits: BatchLimits,
    /// Where a GitRepoConfig sets none.
    pub commit: CommitOptions,
}

/// Makes the plan.
#[must_use]
pub fn compile(configuration: &Configuration, catalog: &Catalog, options: &CompileOptions) -> Plan {
    let mut plan = Plan::default();
    let repos = check_repos(configuration, &mut plan);
    let mut destinations = check_destinations(configuration, &repos, options, &mut plan);
    refuse_overlaps(configuration, &mut destinations, &mut plan);
    let rules = collect_rules(configuration);
    for rule in &rules {
        let finding = apply_rule(rule, &mut destinations, catalog, &options.filter);
        plan.findings.insert(rule.key.clone(), finding);
    }
    plan.destinations = destinations
        .into_iter()
        .map(|(key, destination)| (key, Arc::new(destination)))
        .collect();
    plan.watches = open_watches(&plan.destinations);
    for (key, finding) in &mut plan.findings {
        let metadata = configuration.object(key).map(|object| &object.metadata);
        finding.judged = metadata.map_or((None, None), |m| (m.uid.clone(), m.generation));
    }
    plan
}

fn stalled(reason: &'static str, message: impl Into<String>) -> Conditions {
    Conditions::Stalled {
        reason,
        message: message.into(),
    }
}

fn finding(conditions: Conditions) -> Finding {
    Finding {
        conditions,
        judged: (None, None),
        destination: None,
        watched: Vec::new(),
        types: 0,
        unresolved: Vec::new(),
    }
}

fn ready() -> Conditions {
    Conditions::Ready {
        reason: "Accepted",
        message: String::new(),
    }
}

fn invalid(error: &str) -> Conditions {
    stalled("InvalidSpec", format!("the spec can't be read: {error}"))
}

type Repos<'a> = BTreeMap<(String, String), Result<(RepoUrl, &'a GitRepoConfigSpec), ()>>;

fn check_repos<'a>(configuration: &'a Configuration, plan: &mut Plan) -> Repos<'a> {
    let mut repos = Repos::new();
    for (name, repo) in &configuration.repos {
        let checked = match &repo.spec {
            Err(error) => Err(invalid(error)),
            Ok(spec) => match RepoUrl::parse(&spec.repo_url) {
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

fn check_destinations(
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
        let checked = check_destination(&key, object, repos, options);
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
        },
        url: url.clone(),
        repo_name: repo_name.clone(),
        secret_name: repo.secret_ref.as_ref().map(|r| r.name.clone()),
        base_folder: spec.base_folder.clone(),
        secret_policy: spec.secret_policy,
        take_over: spec.take_over.clone(),
        limits: limits(repo.push.as_ref(), options.limits),
        commit: commit_options(repo, &options.commit),
        selections: BTreeMap::new(),
        resolved: true,
    })
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
fn refuse_overlaps(
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

/// A rule of either kind.
struct Rule<'a> {
    key: ObjectKey,
    spec: Result<RuleSpec<'a>, &'a str>,
}

struct RuleSpec<'a> {
    destination: DestinationKey,
    /// The rule's own namespace, which it may not leave; `None` for a ClusterWatchRule.
    namespace: Option<&'a str>,
    /// Each with whether it is about namespaced objects.
    items: Vec<(&'a ResourceRule, bool)>,
}

fn collect_rules(configuration: &Configuration) -> Vec<Rule<'_>> {
    let namespaced = configuration
        .rules
        .iter()
        .map(|((namespace, name), object)| Rule {
            key: ObjectKey {
                kind: Kind::Rule,
                namespace: namespace.clone(),
                name: name.clone(),
            },
            spec: object
                .spec
                .as_deref()
                .map_err(String::as_str)
                .map(|spec| RuleSpec {
                    destination: DestinationKey {
                        namespace: spec
                            .destination_ref
                            .namespace
                            .clone()
                            .unwrap_or_else(|| namespace.clone()),
                        name: spec.destination_ref.name.clone(),
                    },
                    namespace: Some(namespace),
                    items: spec.rules.iter().map(|item| (item, true)).collect(),
                }),
        });
    let cluster = configuration
        .cluster_rules
        .iter()
        .map(|((_, name), object)| Rule {
            key: ObjectKey {
                kind: Kind::ClusterRule,
                namespace: String::new(),
                name: name.clone(),
            },
            spec: object
                .spec
                .as_deref()
                .map_err(String::as_str)
                .map(|spec| RuleSpec {
                    destination: DestinationKey {
                        namespace: spec.destination_ref.namespace.clone(),
                        name: spec.destination_ref.name.clone(),
                    },
                    namespace: None,
                    items: spec
                        .rules
                        .iter()
                        .map(|ClusterResourceRule { scope, rule }| {
                            (rule, *scope == RuleScope::Namespaced)
                        })
                        .collect(),
                }),
        });
    namespaced.chain(cluster).collect()
}

fn apply_rule(
    rule: &Rule<'_>,
    destinations: &mut BTreeMap<DestinationKey, DestinationPlan>,
    catalog: &Catalog,
    filter: &TypeFilter,
) -> Finding {
    let spec = match &rule.spec {
        Ok(spec) => spec,
        Err(error) => {
            // What it selected before can't be told from what nothing selects.
            let mine = |key: &DestinationKey| {
                rule.key.kind == Kind::ClusterRule || key.namespace == rule.key.namespace
            };
            for (_, destination) in destinations.iter_mut().filter(|(key, _)| mine(key)) {
                destination.resolved = false;
            }
            return finding(invalid(error));
        }
    };
    if spec
        .namespace
        .is_some_and(|own| own != spec.destination.namespace)
    {
        return finding(stalled(
            "CrossNamespaceReference",
            "destinationRef names another namespace; a WatchRule writes to destinations of its own namespace only",
        ));
    }
    let Some(destination) = destinations.get_mut(&spec.destination) else {
        return finding(stalled(
            "DestinationNotReady",
            format!(
                "GitDestination {} does not exist or can't be written to; see its conditions",
                spec.destination
            ),
        ));
    };
    let mut unresolved = Vec::new();
    let mut types: BTreeSet<Arc<ServedType>> = BTreeSet::new();
    for (item, namespaced) in &spec.items {
        let resolution = resolve(item, *namespaced, catalog, filter);
        unresolved.extend(resolution.unresolved);
        if may_miss_types(item, catalog, filter) {
            destination.resolved = false;
        }
        let operations = Operations::from_rule(item.operations.as_deref());
        for served in resolution.types {
            types.insert(select(
                destination,
                &served,
                spec.namespace,
                operations,
                &rule.key,
            ));
        }
    }
    let namespace = spec.namespace.map(ToOwned::to_owned);
    let watched = types
        .iter()
        .map(|served| WatchKey {
            served: served.clone(),
            namespace: namespace.clone(),
        })
        .collect();
    let conditions = if unresolved.is_empty() {
        ready()
    } else {
        destination.resolved = false;
        stalled(
            "UnresolvedResources",
            format!(
                "{}; watched as soon as the cluster serves it. The rest of the rule is at work.",
                unresolved.join("; ")
            ),
        )
    };
    Finding {
        conditions,
        judged: (None, None),
        destination: Some(spec.destination.clone()),
        watched,
        types: types.len(),
        unresolved,
    }
}

/// Returns the version that is watched: the one of the first rule that selects the type.
fn select(
    destination: &mut DestinationPlan,
    served: &Arc<ServedType>,
    namespace: Option<&str>,
    operations: Operations,
    rule: &ObjectKey,
) -> Arc<ServedType> {
    let entry = destination
        .selections
        .entry((served.group.clone(), served.resource.clone()))
        .or_insert_with(|| {
            Arc::new(TypeSelection {
                served: served.clone(),
                everywhere: None,
                namespaces: BTreeMap::new(),
                rules: Vec::new(),
            })
        });
    // Not shared yet: subscriptions are made after the last rule.
    let selection = Arc::make_mut(entry);
    match namespace {
        None => {
            selection.everywhere = Some(
                selection
                    .everywhere
                    .map_or(operations, |known| known.union(operations)),
            );
        }
        Some(namespace) => {
            let known = selection
                .namespaces
                .entry(namespace.to_owned())
                .or_insert(operations);
            *known = known.union(operations);
        }
    }
    let rule = rule.to_string();
    if !selection.rules.contains(&rule) {
        selection.rules.push(rule);
    }
    selection.served.clone()
}

/// One watch per type and scope; a cluster-wide one serves the namespaces' rules too.
fn open_watches(
    destinations: &BTreeMap<DestinationKey, Arc<DestinationPlan>>,
) -> BTreeMap<WatchKey, Vec<Subscription>> {
    let selections = || {
        destinations
            .values()
            .flat_map(|d| d.selections.values().map(move |s| (d, s)))
    };
    let cluster_wide: BTreeSet<&Arc<ServedType>> = selections()
        .filter(|(_, s)| s.everywhere.is_some())
        .map(|(_, s)| &s.served)
        .collect();
    let mut watches: BTreeMap<WatchKey, Vec<Subscription>> = BTreeMap::new();
    for (destination, selection) in selections() {
        let served = &selection.served;
        let subscription = || Subscription {
            destination: destination.clone(),
            selection: selection.clone(),
        };
        if cluster_wide.contains(served) {
            let key = WatchKey {
                served: served.clone(),
                namespace: None,
            };
            watches.entry(key).or_default().push(subscription());
        } else {
            for namespace in selection.namespaces.keys() {
                let key = WatchKey {
                    served: served.clone(),
                    namespace: Some(namespace.clone()),
                };
                watches.entry(key).or_default().push(subscription());
            }
        }
    }
    watches
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
