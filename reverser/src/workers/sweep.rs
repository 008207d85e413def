//! Orphans: files below a destination's folder that stand for objects that are not live.
//!
//! Folders are computed from what is selected, and a file is judged by whether its path is that of
//! a live object; a path is never read as an identity. What an orphan was, its content says.

use std::sync::Arc;

use manifest::Identity;

use super::queue::{Sweep, Unit};
use crate::api::SecretPolicy;
use crate::change::Operation;
use crate::fingerprint::Fingerprint;
use crate::git::{Engine, EngineError, is_within};
use crate::rules::{DestinationPlan, TypeSelection};
use crate::secrets::{Recipients, SensitiveTypes};

/// A file that nothing live stands behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Orphan {
    pub(crate) path: String,
    /// The rules keep it, but not the values that it may hold from under another secretPolicy.
    pub(crate) hide_only: bool,
    group: String,
    version: String,
    resource: String,
}

impl Orphan {
    /// Group, version and resource as its path has them: encoded, and core as nothing.
    pub(crate) fn type_segments(&self) -> [&str; 3] {
        [&self.group, &self.version, &self.resource]
    }

    /// What the file stands for, by its content; where that can't be read, by its path, which is
    /// good enough for a commit message. `None` for a file that is not a manifest of ours.
    pub(crate) fn identity(&self, text: &[u8]) -> Option<Identity> {
        let content = manifest::parse(text).ok();
        let field = |name: &str| {
            content
                .as_ref()
                .and_then(|c| c["metadata"][name].as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let name = match field("name") {
            name if name.is_empty() => self
                .path
                .rsplit('/')
                .next()?
                .strip_suffix(".yaml")?
                .to_owned(),
            name => name,
        };
        Some(Identity {
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
            namespace: field("namespace"),
            name,
        })
    }
}

/// The orphans of one unit.
pub(crate) fn orphans(engine: &Engine, sweep: &Sweep) -> Result<Vec<Orphan>, EngineError> {
    match &sweep.unit {
        Unit::Listed {
            selection,
            namespace,
            live,
            ..
        } => {
            let is_live = |path: &str| live.contains(&Fingerprint::of(path.as_bytes()));
            listed(
                engine,
                &sweep.destination,
                selection,
                namespace.as_deref(),
                &is_live,
            )
        }
        Unit::Unselected => unselected(engine, &sweep.destination),
    }
}

/// Files of one type, at every version, that are not live and may not stay as they are.
fn listed(
    engine: &Engine,
    destination: &DestinationPlan,
    selection: &TypeSelection,
    namespace: Option<&str>,
    is_live: &dyn Fn(&str) -> bool,
) -> Result<Vec<Orphan>, EngineError> {
    let served = &selection.served;
    // A change of secretPolicy rewrites files whatever the operations.
    let omitted = destination.omits(&served.group, &served.resource);
    let hidden = [SecretPolicy::Redact, SecretPolicy::Encrypt]
        .into_iter()
        .any(|policy| destination.treats(policy, &served.group, &served.resource));
    let group_directory = manifest::group_directory(&destination.base_folder, &served.group);
    let mut orphans = Vec::new();
    for version in engine.list_directories(&group_directory)? {
        // The base folder holds core's versions beside other groups; a group's folder holds versions only.
        if served.group.is_empty() && !manifest::is_api_version(&version) {
            continue;
        }
        let directory = manifest::type_directory(
            &destination.base_folder,
            &served.group,
            &version,
            &served.resource,
        );
        for file in engine.list_files(&directory)? {
            let Some(inside) = file.path.strip_prefix(&format!("{directory}/")) else {
                continue;
            };
            let segments: Vec<&str> = inside.split('/').collect();
            let (folder, name) = match (segments.as_slice(), served.namespaced) {
                ([folder, name], true) => (*folder, *name),
                ([name], false) => ("", *name),
                _ => continue,
            };
            let other_namespace = namespace.is_some_and(|n| manifest::encode_segment(n) != folder);
            // A namespace is a DNS label, which a path holds as it is.
            let Some(operations) = selection.operations(folder) else {
                continue;
            };
            let goes = omitted || operations.allows(Operation::Delete);
            if other_namespace
                || !(goes || hidden)
                || !manifest::is_manifest_file_name(name)
                || is_live(&file.path)
            {
                continue;
            }
            orphans.push(Orphan {
                path: file.path.clone(),
                hide_only: !goes,
                group: served.group.clone(),
                version: version.clone(),
                resource: served.resource.clone(),
            });
        }
    }
    Ok(orphans)
}

/// Whether a commit that waits for the remote shows values to somebody who is not to read them, in whatever it wrote and be it
/// gone again: it was made under another policy. Where no destination is left that wants the file, none has asked for values in the
/// clear.
pub(super) fn shows_values(
    engine: &Engine,
    plan: &[Arc<DestinationPlan>],
) -> Result<bool, EngineError> {
    // The same for all of them.
    let Some(secrets) = plan.first().map(|any| &any.secrets) else {
        return Ok(false);
    };
    let sensitive = |path: &str| sensitive(&secrets.types, path);
    for ((path, blob), identity) in engine.unpushed_files(sensitive)? {
        let text = engine.read_blob(blob)?;
        let shows = match plan.iter().find(|d| is_within(&path, &d.base_folder)) {
            Some(destination) => destination.is_shown_by(&identity, &text),
            None => {
                let nobody = Recipients::default();
                secrets.is_as_wanted(SecretPolicy::Plain, &nobody, &identity, &text)
            }
        };
        if shows {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What of sensitive type the file would be, whatever the folder of its destination. A type's values are the same wherever the object is.
fn sensitive(types: &SensitiveTypes, path: &str) -> Option<Identity> {
    let segments: Vec<&str> = path.split('/').collect();
    // The resource, perhaps a namespace, and the file.
    let places = [2, 3].map(|back| segments.len().checked_sub(back));
    let is_of = |group: &str, resource: &str, at: usize| {
        let (Some(version), found) = (at.checked_sub(1), segments[at]) else {
            return None;
        };
        let is_group = if group.is_empty() {
            manifest::is_api_version(segments[version])
        } else {
            let before = version.checked_sub(1).map(|at| segments[at]);
            before == Some(&group_segment(group))
        };
        (is_group && found == manifest::encode_segment(resource)).then(|| Identity {
            group: group.to_owned(),
            version: segments[version].to_owned(),
            resource: resource.to_owned(),
            namespace: String::new(),
            name: String::new(),
        })
    };
    types.iter().find_map(|(group, resource)| {
        let places = places.into_iter().flatten();
        places.into_iter().find_map(|at| is_of(group, resource, at))
    })
}

/// Files of our path grammar whose type or namespace no rule selects.
fn unselected(engine: &Engine, destination: &DestinationPlan) -> Result<Vec<Orphan>, EngineError> {
    let prefix = match destination.base_folder.as_str() {
        "" => String::new(),
        folder => format!("{folder}/"),
    };
    let selected = |group: &str, resource: &str, namespace: &str| {
        destination.selections.iter().any(|((g, r), selection)| {
            group_segment(g) == group
                && manifest::encode_segment(r) == resource
                // A definition that was made anew may have another scope.
                && selection.served.namespaced != namespace.is_empty()
                && selection.operations(namespace).is_some()
        })
    };
    let unseen = |group: &str| destination.unseen.iter().any(|g| group_segment(g) == group);
    let mut orphans = Vec::new();
    for file in engine.list_files(&destination.base_folder)? {
        let Some(inside) = file.path.strip_prefix(&prefix) else {
            continue;
        };
        let segments: Vec<&str> = inside.split('/').collect();
        // A group that is named like a version is escaped in paths.
        let (group, rest) = match segments.as_slice() {
            [version, ..] if manifest::is_api_version(version) => ("", segments.as_slice()),
            [group, _, ..] => (*group, &segments[1..]),
            _ => continue,
        };
        let (version, resource, namespace, name) = match rest {
            [version, resource, name] => (*version, *resource, "", *name),
            [version, resource, namespace, name] => (*version, *resource, *namespace, *name),
            _ => continue,
        };
        let ours = manifest::is_manifest_file_name(name)
            && manifest::is_segment(resource)
            && (namespace.is_empty() || manifest::is_segment(namespace));
        if !ours || unseen(group) || selected(group, resource, namespace) {
            continue;
        }
        orphans.push(Orphan {
            path: file.path.clone(),
            hide_only: false,
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
        });
    }
    Ok(orphans)
}

/// How a group stands in a path: core has no segment.
fn group_segment(group: &str) -> String {
    if group.is_empty() {
        String::new()
    } else {
        manifest::encode_segment(group)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::change::Cause;
    use crate::commit::CommitPlan;
    use crate::discovery::ServedType;
    use crate::git::testing::{Bed, person, write};
    use crate::rules::Operations;

    const MAPS: (&str, &str, bool) = ("", "configmaps", true);
    const DEPLOYMENTS: (&str, &str, bool) = ("apps", "deployments", true);
    const CLASSES: (&str, &str, bool) = ("scheduling.k8s.io", "priorityclasses", false);

    fn selection(
        (group, resource, namespaced): (&str, &str, bool),
        namespaces: &[&str],
    ) -> Arc<TypeSelection> {
        Arc::new(TypeSelection {
            served: Arc::new(ServedType {
                group: group.to_owned(),
                version: "v1".to_owned(),
                resource: resource.to_owned(),
                kind: String::new(),
                namespaced,
                replicas: None,
            }),
            everywhere: namespaces.is_empty().then_some(Operations::ALL),
            namespaces: namespaces
                .iter()
                .map(|n| ((*n).to_owned(), Operations::ALL))
                .collect(),
            rules: Vec::new(),
        })
    }

    fn destination(selections: &[Arc<TypeSelection>]) -> Arc<DestinationPlan> {
        let by_type = |s: &Arc<TypeSelection>| {
            (
                (s.served.group.clone(), s.served.resource.clone()),
                s.clone(),
            )
        };
        Arc::new(DestinationPlan {
            selections: selections.iter().map(by_type).collect(),
            ..crate::workers::claim::tests::destination(None)
        })
    }

    /// The orphans among these files.
    fn swept(files: &[&str], selections: &[Arc<TypeSelection>], unit: Unit) -> Vec<String> {
        swept_from(files, destination(selections), unit)
    }

    fn swept_from(files: &[&str], destination: Arc<DestinationPlan>, unit: Unit) -> Vec<String> {
        let bed = Bed::empty();
        let mut engine = bed.open("main");
        let changes = files.iter().map(|file| write(file, file)).collect();
        engine
            .commit(CommitPlan {
                author: person("p"),
                message: "m".to_owned(),
                changes,
            })
            .unwrap();
        let sweep = Sweep {
            destination,
            unit,
            cause: Cause::Resync,
        };
        let found = orphans(&engine, &sweep).unwrap();
        found.into_iter().map(|orphan| orphan.path).collect()
    }

    fn listed(selection: &Arc<TypeSelection>, namespace: Option<&str>, live: &[&str]) -> Unit {
        Unit::Listed {
            selection: selection.clone(),
            namespace: namespace.map(ToOwned::to_owned),
            version: "".into(),
            live: Arc::new(
                live.iter()
                    .map(|path| Fingerprint::of(path.as_bytes()))
                    .collect::<HashSet<_>>(),
            ),
        }
    }

    #[test]
    fn a_file_of_secret_values_is_known_by_its_path_in_any_folder() {
        let types = ["tokens.example.com".parse().unwrap()];
        let types: SensitiveTypes = types.into_iter().collect();
        let resource = |path: &str| sensitive(&types, path).map(|it| it.resource);
        for path in [
            "v1/secrets/lab/one.yaml",
            "live/v1/secrets/lab/one.yaml",
            "a/b/c/v1/secrets/lab/one.yaml",
        ] {
            assert_eq!(resource(path).as_deref(), Some("secrets"), "{path}");
        }
        for path in [
            "live/example.com/v1/tokens/lab/one.yaml",
            "example.com/v1/tokens/one.yaml",
        ] {
            assert_eq!(resource(path).as_deref(), Some("tokens"), "{path}");
        }
        for path in [
            "README.md",
            "secrets/one.yaml",
            "live/v1/configmaps/secrets/one.yaml",
            "live/other.com/v1/tokens/lab/one.yaml",
        ] {
            assert_eq!(resource(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_not_live_goes_at_every_version() {
        let maps = selection(MAPS, &[]);
        let files = [
            "live/v1/configmaps/a/kept.yaml",
            "live/v1/configmaps/a/gone.yaml",
            "live/v1beta1/configmaps/a/kept.yaml",
        ];
        let unit = listed(&maps, None, &files[..1]);
        assert_eq!(swept(&files, &[maps], unit), files[1..]);
    }

    #[test]
    fn a_list_of_one_namespace_judges_no_other() {
        let maps = selection(MAPS, &["a", "b"]);
        let files = [
            "live/v1/configmaps/a/gone.yaml",
            "live/v1/configmaps/b/unknown.yaml",
        ];
        let unit = listed(&maps, Some("a"), &[]);
        assert_eq!(swept(&files, &[maps], unit), files[..1]);
    }

    #[test]
    fn what_no_rule_selects_goes_and_the_rest_stays() {
        let selections = [
            selection(MAPS, &["a"]),
            selection(DEPLOYMENTS, &[]),
            selection(CLASSES, &[]),
        ];
        let kept = [
            "live/v1/configmaps/a/one.yaml",
            "live/apps/v1/deployments/anywhere/one.yaml",
            "live/scheduling.k8s.io/v1/priorityclasses/one.yaml",
            "live/.gitops-reverser",
            "live/README.md",
            "live/v1/configmaps/b/notes.txt",
            "live/one.yaml",
            "other/v1/configmaps/b/one.yaml",
        ];
        let orphans = [
            "live/apps/v1/statefulsets/a/one.yaml",
            "live/v1/configmaps/b/one.yaml",
            "live/v1/secrets/a/one.yaml",
        ];
        let files: Vec<&str> = kept.iter().chain(&orphans).copied().collect();
        assert_eq!(swept(&files, &selections, Unit::Unselected), orphans);
    }

    #[test]
    fn what_a_type_of_another_scope_left_goes() {
        let files = [
            "live/apps/v1/deployments/one.yaml",
            "live/scheduling.k8s.io/v1/priorityclasses/a/one.yaml",
        ];
        let selections = [selection(DEPLOYMENTS, &[]), selection(CLASSES, &[])];
        assert_eq!(swept(&files, &selections, Unit::Unselected), files);
    }

    #[test]
    fn what_may_be_selected_in_a_group_that_is_away_stays() {
        let files = [
            "live/apps/v1/gadgets/a/one.yaml",
            "live/away.example.com/v1/gadgets/a/one.yaml",
        ];
        let mut away = Arc::unwrap_or_clone(destination(&[selection(MAPS, &[])]));
        away.unseen.insert("away.example.com".to_owned());
        assert_eq!(
            swept_from(&files, Arc::new(away), Unit::Unselected),
            files[..1]
        );
    }
}
