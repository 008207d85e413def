//! Identity → path in Git. Never the reverse: identities are read from contents.
//!
//! No two identities share a path on any file system, and none is a directory on the other's way:
//! - a segment is lower-case ASCII, and each `%` starts an escape of fixed case, so that folding
//!   case or normalising Unicode changes nothing; escapes decode, so names stay apart;
//! - below a base folder, `v1`-like directories are versions of core and all others are groups: a
//!   group that looks like a version has its first letter escaped;
//! - a directory never ends in `.yaml`, a file always does.
//!
//! Core is taken to serve versions of that grammar only; it serves `v1` and nothing else.

use std::fmt::Write as _;

use crate::{Identity, SpecHash};

/// Longest encoded name in bytes. File systems hold 255; `.yaml` and a lock's suffix need some.
const MAX_SEGMENT: usize = 240;

/// Starts the hash at the end of a cut name. No escape looks like it: `~` is no hex digit.
const CUT_MARK: &str = "%~";

const HASH_DIGITS: usize = 16;

/// `{baseFolder}/[{group}/]{version}/{resource}/[{namespace}/]{name}.yaml`, each part encoded by
/// [`encode_segment`].
///
/// `base_folder` is relative, validated, and may be empty (the root of the repository).
#[must_use]
pub fn file_path(base_folder: &str, identity: &Identity) -> String {
    let Identity {
        group,
        version,
        resource,
        namespace,
        name,
    } = identity;
    let mut path = type_directory(base_folder, group, version, resource);
    if !namespace.is_empty() {
        push(&mut path, &encode_segment(namespace));
    }
    push(&mut path, &encode_segment(name));
    path.push_str(".yaml");
    path
}

/// The directory of all objects of a type at one version.
#[must_use]
pub fn type_directory(base_folder: &str, group: &str, version: &str, resource: &str) -> String {
    let mut path = group_directory(base_folder, group);
    push(&mut path, &encode_segment(version));
    push(&mut path, &encode_segment(resource));
    path
}

/// The directory of a group's versions; for core (the empty group) the base folder itself.
///
/// Within the base folder, the directories for which [`is_api_version`] holds are core's versions.
/// Within a named group's directory each directory is a version, whatever it looks like.
#[must_use]
pub fn group_directory(base_folder: &str, group: &str) -> String {
    let mut path = base_folder.to_owned();
    if is_api_version(group) {
        push(&mut path, &escape_first(group));
    } else if !group.is_empty() {
        push(&mut path, &encode_segment(group));
    }
    path
}

fn push(path: &mut String, segment: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(segment);
}

/// One name as one file name that every file system holds and tells apart.
///
/// Lower-case letters, digits, `-`, `_` and `.` stay. Every other byte of the UTF-8 becomes `%` and
/// two upper-case hex digits. Escaped too: a dot at the start (`.git`, hidden files), at the end
/// (Windows drops it) and of a last `.yaml`; the first letter of names with a meaning elsewhere
/// (Windows' devices, `kustomization.yaml`, `cloudbuild.yaml`).
///
/// A result of more than 240 bytes is cut between characters and ends in `%~` and the
/// [`SpecHash`] of the full name. The empty name, which no object has, is `%`.
#[must_use]
pub fn encode_segment(name: &str) -> String {
    if name.is_empty() {
        return "%".to_owned();
    }
    let mut out = String::with_capacity(name.len() + 16);
    let last_dot = match name.strip_suffix(".yaml") {
        Some(stem) => stem.len(),
        None => name.len() - 1,
    };
    // Where to cut if the whole turns out too long.
    let mut cut = 0;
    for (at, c) in name.char_indices() {
        let escape = match c {
            'a'..='z' => at == 0 && has_other_meaning(name),
            '0'..='9' | '-' | '_' => false,
            '.' => at == 0 || at == last_dot,
            _ => true,
        };
        if escape {
            push_escaped(&mut out, c);
        } else {
            out.push(c);
        }
        if out.len() <= MAX_SEGMENT - CUT_MARK.len() - HASH_DIGITS {
            cut = out.len();
        }
    }
    if out.len() > MAX_SEGMENT {
        out.truncate(cut);
        out.push_str(CUT_MARK);
        push_display(&mut out, SpecHash::of(name.as_bytes()));
    }
    out
}

fn push_escaped(out: &mut String, c: char) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        push_display(out, format_args!("%{byte:02X}"));
    }
}

fn push_display(out: &mut String, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("writing to a String never fails");
}

fn escape_first(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    let mut chars = name.chars();
    if let Some(first) = chars.next() {
        push_escaped(&mut out, first);
    }
    out.push_str(&encode_segment(chars.as_str()));
    out
}

/// Names that mean something to a system that a repository is checked out on.
fn has_other_meaning(name: &str) -> bool {
    // kustomize, and so Flux and Argo CD, reads any kustomization.yaml as a build instruction, and Flux's source-controller leaves
    // out any cloudbuild.yaml, without a word: the only file on its list that could be one of ours.
    if matches!(name, "kustomization" | "cloudbuild") {
        return true;
    }
    // Windows reserves these with any extension: "Naming Files, Paths, and Namespaces".
    let stem = name.split('.').next().unwrap_or(name);
    match stem {
        "con" | "prn" | "aux" | "nul" => true,
        _ => stem
            .strip_prefix("com")
            .or_else(|| stem.strip_prefix("lpt"))
            .is_some_and(|port| port.len() == 1 && port.as_bytes()[0].is_ascii_digit()),
    }
}

/// Whether a segment follows Kubernetes' grammar of versions: `v1`, `v2beta1`, `v1alpha12`.
///
/// Core's versions do. Those of other groups may be any DNS label.
#[must_use]
pub fn is_api_version(segment: &str) -> bool {
    fn number(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
    }
    let Some(rest) = segment.strip_prefix('v') else {
        return false;
    };
    match rest.split_once("alpha").or_else(|| rest.split_once("beta")) {
        Some((major, minor)) => number(major) && number(minor),
        None => number(rest),
    }
}

/// Whether a file name is one that [`file_path`] can end with; any other file is not ours.
#[must_use]
pub fn is_manifest_file_name(segment: &str) -> bool {
    segment.strip_suffix(".yaml").is_some_and(is_segment)
}

/// Whether [`encode_segment`] can have made this of some name; any other folder is not ours.
#[must_use]
pub fn is_segment(segment: &str) -> bool {
    match segment.split_once(CUT_MARK) {
        None if segment == "%" => true,
        None => decode(segment).is_some_and(|name| encode_segment(&name) == segment),
        Some((head, hash)) => {
            // Any name that starts like this and goes on beyond the limit is cut at this place.
            let cut_here = |name: String| {
                let longer = name + &"\u{10FFFF}".repeat(MAX_SEGMENT / 12);
                let encoded = encode_segment(&longer);
                encoded.split_once(CUT_MARK).map(|(head, _)| head.len()) == Some(head.len())
                    && encoded.starts_with(head)
            };
            hash.parse::<SpecHash>().is_ok() && decode(head).is_some_and(cut_here)
        }
    }
}

/// Undoes the escapes; `None` where something is no escape or the bytes are no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            rest = tail;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
