//! Identity → path in Git. Never the reverse: identities are read from contents.

use crate::Identity;

/// `{baseFolder}/[{group}/]{version}/{resource}/[{namespace}/]{name}.yaml`, each part encoded by
/// [`encode_segment`].
///
/// `base_folder` is relative, validated, and may be empty (the root of the repository).
#[must_use]
pub fn file_path(base_folder: &str, identity: &Identity) -> String {
    let mut path = type_directory(
        base_folder,
        &identity.group,
        &identity.version,
        &identity.resource,
    );
    if !identity.namespace.is_empty() {
        path.push('/');
        path.push_str(&encode_segment(&identity.namespace));
    }
    path.push('/');
    path.push_str(&encode_segment(&identity.name));
    path.push_str(".yaml");
    path
}

/// The directory of all objects of a type at one version.
#[must_use]
pub fn type_directory(base_folder: &str, group: &str, version: &str, resource: &str) -> String {
    let mut path = group_directory(base_folder, group);
    for segment in [version, resource] {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&encode_segment(segment));
    }
    path
}

/// The directory of a group's versions; for core (the empty group) the base folder itself.
#[must_use]
pub fn group_directory(base_folder: &str, group: &str) -> String {
    match (base_folder, group) {
        (base, "") => base.to_owned(),
        ("", group) => encode_segment(group),
        (base, group) => format!("{base}/{}", encode_segment(group)),
    }
}

/// One name as one file name that every file system holds and tells apart.
#[must_use]
pub fn encode_segment(name: &str) -> String {
    name.to_owned()
}

/// Whether a segment is a version of the core group, such as `v1` or `v2beta1`.
#[must_use]
pub fn is_api_version(segment: &str) -> bool {
    segment.starts_with('v')
}

/// Whether a file name is one that [`file_path`] can end with.
#[must_use]
pub fn is_manifest_file_name(segment: &str) -> bool {
    segment.ends_with(".yaml")
}
