//! What the rules of either kind select for their destinations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Operations;
use super::configuration::{Configuration, Kind, ObjectKey};
use super::plan::{DestinationPlan, Finding, TypeSelection, WatchKey};
use super::resolve::{TypeFilter, may_miss_types, resolve, unseen_groups};
use super::verdict::{finding, invalid, ready, stalled};
use crate::api::{ClusterResourceRule, ResourceRule, RuleScope};
use crate::change::DestinationKey;
use crate::discovery::{Catalog, ServedType};

/// A rule of either kind.
pub(super) struct Rule<'a> {
    pub(super) key: ObjectKey,
    spec: Result<RuleSpec<'a>, &'a str>,
}

struct RuleSpec<'a> {
    destination: DestinationKey,
    /// The rule's own namespace, which it may not leave; `None` for a ClusterWatchRule.
    namespace: Option<&'a str>,
    /// Each with whether it is about namespaced objects.
    items: Vec<(&'a ResourceRule, bool)>,
}

pub(super) fn collect_rules(configuration: &Configuration) -> Vec<Rule<'_>> {
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

pub(super) fn apply_rule(
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
        destination.unseen.extend(unseen_groups(item, catalog));
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

/// Selects what is asked for without any rule: `items` in these namespaces, or everywhere where there are none, objects of the
/// cluster included.
///
/// # Errors
/// Each resource that can't be found, with what its author may have meant.
pub(crate) fn select_unruled(
    destination: &mut DestinationPlan,
    items: &[ResourceRule],
    namespaces: &[String],
    catalog: &Catalog,
    filter: &TypeFilter,
) -> Result<(), Vec<String>> {
    let nobody = ObjectKey {
        kind: Kind::Destination,
        namespace: destination.key.namespace.clone(),
        name: destination.key.name.clone(),
    };
    let mut missing = Vec::new();
    for item in items {
        let found = resolve(item, true, catalog, filter);
        let of_cluster = resolve(item, false, catalog, filter);
        for served in &found.types {
            let places: Vec<Option<&str>> = match namespaces {
                [] => vec![None],
                namespaces => namespaces.iter().map(|n| Some(n.as_str())).collect(),
            };
            for place in places {
                select(destination, served, place, Operations::ALL, &nobody);
            }
        }
        if namespaces.is_empty() {
            for served in &of_cluster.types {
                select(destination, served, None, Operations::ALL, &nobody);
            }
        }
        if found.types.is_empty() {
            match (of_cluster.types.first(), namespaces) {
                (Some(_), []) => {}
                (Some(served), _) if !item.resources.iter().any(|r| r == "*") => {
                    missing.push(format!(
                        "'{}' is cluster-scoped, and in no namespace",
                        served.resource
                    ));
                }
                _ => missing.extend(found.unresolved),
            }
        }
        destination.resolved &= !may_miss_types(item, catalog, filter);
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing)
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
