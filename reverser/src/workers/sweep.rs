//! Orphans: files below a destination's folder that stand for objects that are not live.
//!
//! Folders are computed from what is selected, and a file is judged by whether its path is that of
//! a live object; a path is never read as an identity. What an orphan was, its content says.

use manifest::{Identity, SpecHash};

use super::queue::{Sweep, Unit};
use crate::change::Operation;
use crate::git::{Engine, EngineError};
use crate::rules::{DestinationPlan, TypeSelection};

/// A file that must go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Orphan {
    pub(super) path: String,
    group: String,
    version: String,
    resource: String,
}

impl Orphan {
    /// What the file stands for, by its content; where that can't be read, by its path, which is
    /// good enough for a commit message. `None` for a file that is not a manifest of ours.
    pub(super) fn identity(&self, text: &[u8]) -> Option<Identity> {
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
pub(super) fn orphans(engine: &Engine, sweep: &Sweep) -> Result<Vec<Orphan>, EngineError> {
    match &sweep.unit {
        Unit::Listed {
            selection,
            namespace,
            live,
        } => {
            let is_live = |path: &str| live.contains(&SpecHash::of(path.as_bytes()));
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

/// Files of one type, at every version, that are not live.
fn listed(
    engine: &Engine,
    destination: &DestinationPlan,
    selection: &TypeSelection,
    namespace: Option<&str>,
    is_live: &dyn Fn(&str) -> bool,
) -> Result<Vec<Orphan>, EngineError> {
    let served = &selection.served;
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
            let allowed = selection
                .operations(folder)
                .is_some_and(|o| o.allows(Operation::Delete));
            if other_namespace
                || !allowed
                || !manifest::is_manifest_file_name(name)
                || is_live(&file.path)
            {
                continue;
            }
            orphans.push(Orphan {
                path: file.path.clone(),
                group: served.group.clone(),
                version: version.clone(),
                resource: served.resource.clone(),
            });
        }
    }
    Ok(orphans)
}

/// Files of our path grammar whose type or namespace no rule selects.
fn unselected(engine: &Engine, destination: &DestinationPlan) -> Result<Vec<Orphan>, EngineError> {
    let prefix = match destination.base_folder.as_str() {
        "" => String::new(),
        folder => format!("{folder}/"),
    };
    let selected = |group: &str, resource: &str, namespace: &str| {
        destination.selections.iter().any(|((g, r), selection)| {
            manifest::encode_segment(g) == group
                && manifest::encode_segment(r) == resource
                && selection.operations(namespace).is_some()
        })
    };
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
        if !manifest::is_manifest_file_name(name) || selected(group, resource, namespace) {
            continue;
        }
        orphans.push(Orphan {
            path: file.path.clone(),
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
        });
    }
    Ok(orphans)
}
