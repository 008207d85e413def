//! From the words of a rule to types that the cluster serves.

use std::sync::Arc;

use super::preset::{EXCLUDED, INCLUDED};
use crate::api::ResourceRule;
use crate::discovery::{Catalog, ServedType};

/// What `*` means in this process: `--watch-all` and `--discovery-exclude`.
#[derive(Clone, Debug, Default)]
pub struct TypeFilter {
    /// `*` selects everything discoverable.
    pub watch_all: bool,
    /// More resources that `*` never selects: `resource` or `resource.group`.
    pub excluded: Vec<String>,
}

impl TypeFilter {
    fn star_selects(&self, served: &ServedType) -> bool {
        let resource = served.resource.as_str();
        let included = self.watch_all
            || INCLUDED
                .iter()
                .any(|(g, r)| *g == served.group && *r == resource);
        let qualified = format!("{resource}.{}", served.group);
        included
            && !EXCLUDED.contains(&resource)
            && !self
                .excluded
                .iter()
                .any(|e| e == resource || *e == qualified)
    }
}

/// Whether `*` in this item could select types that can't be discovered now.
pub(super) fn may_miss_types(rule: &ResourceRule, catalog: &Catalog, filter: &TypeFilter) -> bool {
    let star = rule.resources.iter().any(|resource| resource == "*");
    let mut stale = catalog.stale_groups();
    let selects = |group: &str| {
        (filter.watch_all || INCLUDED.iter().any(|(g, _)| *g == group))
            && allows(rule.api_groups.as_deref(), group)
    };
    star && stale.any(selects)
}

/// Groups in which this item may mean types that can't be discovered now, though it found others by the same name.
pub(super) fn unseen_groups(
    rule: &ResourceRule,
    catalog: &Catalog,
) -> impl Iterator<Item = String> {
    let named = rule.resources.iter().any(|resource| resource != "*");
    let stale = catalog.stale_groups().filter(move |_| named);
    stale
        .filter(|group| allows(rule.api_groups.as_deref(), group))
        .map(ToOwned::to_owned)
}

/// What one item of a rule came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resolution {
    pub(super) types: Vec<Arc<ServedType>>,
    /// Each with what its author may have meant.
    pub(super) unresolved: Vec<String>,
}

/// The types that an item selects, of one scope.
///
/// A type is watched at one version: the first in the cluster's order of preference that the
/// item allows.
pub(super) fn resolve(
    rule: &ResourceRule,
    namespaced: bool,
    catalog: &Catalog,
    filter: &TypeFilter,
) -> Resolution {
    let mut resolution = Resolution::default();
    for resource in &rule.resources {
        let star = resource == "*";
        let mut found = false;
        let mut elsewhere = None;
        for versions in catalog.types() {
            let Some(served) = pick_version(versions, rule.api_versions.as_deref()) else {
                continue;
            };
            let selected = if star {
                filter.star_selects(served)
            } else {
                served.resource == *resource
            };
            if !selected || !allows(rule.api_groups.as_deref(), &served.group) {
                continue;
            }
            if served.namespaced != namespaced {
                elsewhere = Some(served);
                continue;
            }
            found = true;
            if !resolution.types.contains(served) {
                resolution.types.push(served.clone());
            }
        }
        if !found && !star {
            resolution.unresolved.push(explain(
                resource,
                rule,
                elsewhere.map(Arc::as_ref),
                catalog,
            ));
        }
    }
    resolution
}

fn allows(listed: Option<&[String]>, word: &str) -> bool {
    listed.is_none_or(|listed| listed.iter().any(|l| l == "*" || l == word))
}

fn pick_version<'a>(
    versions: &'a [Arc<ServedType>],
    listed: Option<&[String]>,
) -> Option<&'a Arc<ServedType>> {
    versions
        .iter()
        .find(|served| allows(listed, &served.version))
}

/// Why nothing was found, in one line.
fn explain(
    resource: &str,
    rule: &ResourceRule,
    elsewhere: Option<&ServedType>,
    catalog: &Catalog,
) -> String {
    if let Some(served) = elsewhere {
        return if served.namespaced {
            format!("'{resource}' is namespaced; select it with scope Namespaced")
        } else {
            format!(
                "'{resource}' is cluster-scoped; select it with a ClusterWatchRule of scope Cluster"
            )
        };
    }
    let groups = rule
        .api_groups
        .as_ref()
        .map(|g| format!(" in apiGroups {g:?}"))
        .unwrap_or_default();
    let versions = rule
        .api_versions
        .as_ref()
        .map(|v| format!(" at apiVersions {v:?}"))
        .unwrap_or_default();
    let guess = catalog.suggest(resource).map(|served| {
        let group = if served.group.is_empty() {
            "the core group \"\""
        } else {
            &served.group
        };
        format!("; did you mean '{}' in {group}?", served.resource)
    });
    format!(
        "no resource '{resource}'{groups}{versions}{}",
        guess.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog::of(&[
            ("", "v1", "configmaps", "ConfigMap", true),
            ("", "v1", "pods", "Pod", true),
            ("", "v1", "nodes", "Node", false),
            ("apps", "v1", "deployments", "Deployment", true),
            (
                "autoscaling",
                "v2",
                "horizontalpodautoscalers",
                "HorizontalPodAutoscaler",
                true,
            ),
            (
                "autoscaling",
                "v1",
                "horizontalpodautoscalers",
                "HorizontalPodAutoscaler",
                true,
            ),
        ])
    }

    fn rule(resources: &[&str]) -> ResourceRule {
        ResourceRule {
            resources: resources.iter().map(ToString::to_string).collect(),
            ..ResourceRule::default()
        }
    }

    fn names(resolution: &Resolution) -> Vec<String> {
        resolution.types.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn star_is_the_preset_without_what_nobody_declares() {
        let found = resolve(&rule(&["*"]), true, &catalog(), &TypeFilter::default());
        assert_eq!(names(&found), ["configmaps.v1", "deployments.v1.apps"]);
    }

    #[test]
    fn star_is_everything_under_watch_all_without_the_excludes() {
        let filter = TypeFilter {
            watch_all: true,
            excluded: vec!["deployments.apps".to_owned()],
        };
        let found = resolve(&rule(&["*"]), true, &catalog(), &filter);
        assert_eq!(
            names(&found),
            ["configmaps.v1", "horizontalpodautoscalers.v2.autoscaling"]
        );
    }

    #[test]
    fn a_resource_named_outright_is_watched_even_if_excluded() {
        assert_eq!(
            names(&resolve(
                &rule(&["pods"]),
                true,
                &catalog(),
                &TypeFilter::default()
            )),
            ["pods.v1"]
        );
    }

    #[test]
    fn the_preferred_version_unless_another_is_asked_for() {
        let mut item = rule(&["horizontalpodautoscalers"]);
        let filter = TypeFilter::default();
        assert_eq!(
            names(&resolve(&item, true, &catalog(), &filter)),
            ["horizontalpodautoscalers.v2.autoscaling"]
        );
        item.api_versions = Some(vec!["v1".to_owned()]);
        assert_eq!(
            names(&resolve(&item, true, &catalog(), &filter)),
            ["horizontalpodautoscalers.v1.autoscaling"]
        );
    }

    #[test]
    fn what_is_not_served_comes_with_a_suggestion() {
        let found = resolve(
            &rule(&["Deployment", "nodes"]),
            true,
            &catalog(),
            &TypeFilter::default(),
        );
        assert_eq!(found.types, []);
        assert_eq!(
            found.unresolved[0],
            "no resource 'Deployment'; did you mean 'deployments' in apps?"
        );
        assert!(
            found.unresolved[1].contains("cluster-scoped"),
            "{}",
            found.unresolved[1]
        );
    }
}
