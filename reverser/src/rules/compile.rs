//! Custom resources and the catalog in, a [`Plan`] out. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::configuration::Configuration;
use super::destinations::{check_destinations, check_repos, refuse_overlaps};
use super::plan::{DestinationPlan, Plan, Subscription, WatchKey};
use super::resolve::TypeFilter;
use super::selections::{apply_rule, collect_rules};
use crate::change::DestinationKey;
use crate::commit::CommitOptions;
use crate::discovery::{Catalog, ServedType};
use crate::secrets::Secrets;
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
    /// Whether a repository may be a directory of this machine.
    pub allow_file_urls: bool,
    /// Whose values are secret, and how they are hidden.
    pub secrets: Arc<Secrets>,
}

/// Makes the plan.
#[must_use]
pub fn compile(configuration: &Configuration, catalog: &Catalog, options: &CompileOptions) -> Plan {
    let mut plan = Plan::default();
    let repos = check_repos(configuration, options, &mut plan);
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

/// One watch per type and scope; a cluster-wide one serves the namespaces' rules too.
pub(crate) fn open_watches(
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
