//! Which admission made a change: the decision, pure.
//!
//! An admission is no write: it may be refused after us, or lose the race for the version that
//! it was built on. What can be relied upon (`kube-apiserver`, `registry/generic/registry/store.go`):
//!
//! - Validating admission runs inside the compare-and-swap, so of all admissions on one
//!   (uid, resourceVersion) at most one becomes a write; an attempt that lost is admitted again,
//!   on the new version.
//! - Every attempt to create has a uid of its own.
//! - What is admitted is what is stored, `metadata.managedFields` included, in the version in
//!   which the client wrote. Read at another version the content differs; managedFields don't. What the apiserver changes
//!   later, or on reading (the labels of a Job, a field of a Service that becomes an ExternalName), is no part of the canonical
//!   content: a test compares every kind that is served.
//!
//! So **exact** looks at the admissions on precisely the version that was replaced, and takes
//! those that would have led to what is there now. If those are of one user, it was that user.
//! Anything else is nobody: another user could have done it as well.
//!
//! **content** is for a broken chain of versions: then only the content tells, and every user
//! who may have left this content behind counts. All that is known of versions then is that
//! nothing asked for on the present one led to it.
//!
//! # What can't be told apart
//! A write that never reached the sidecar, beside an admission that was refused later, both on
//! one version with the same bytes (or, where it was asked for in another served version and only managedFields can be compared,
//! by one manager in one second): the refused one is credited. After a gap the version can't be compared
//! either, and a scale only by its replicas.
//!
//! Nor a delete that was asked for from one that is not admitted: what may have caused one of those is not a candidate here, and
//! the store knows of it (`removals`).

use crate::change::{Operation, Sighting};

use super::observation::{Observation, Write};

/// What the join found. Indices are into the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// By uid, or by uid and the version replaced.
    Exact(usize),
    /// By content.
    Content(usize),
    /// Several users, and nothing tells them apart.
    Ambiguous,
    /// No admission fits.
    Unseen,
}

/// How the managedFields that were admitted compare with those that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fields {
    Equal,
    Unknown,
    /// Not what was stored.
    Differ,
}

fn fields(sighting: &Sighting, candidate: &Observation) -> Fields {
    match (sighting.managed_fields_hash, candidate.managed_fields_hash) {
        (Some(seen), Some(admitted)) if seen == admitted => Fields::Equal,
        (Some(_), Some(_)) => Fields::Differ,
        _ => Fields::Unknown,
    }
}

/// The managedFields that were admitted are those that are there: nobody has written since, or
/// only in the same second under the same field manager.
pub(super) fn same_managed_fields(sighting: &Sighting, candidate: &Observation) -> bool {
    fields(sighting, candidate) == Fields::Equal
}

/// The admission asked for exactly the content that is there.
pub(super) fn same_bytes(sighting: &Sighting, candidate: &Observation) -> bool {
    match candidate.write {
        Write::Create(hash) | Write::Update(hash) => hash == sighting.spec_hash,
        Write::Scale(replicas) => sighting.scaled_to == Some(replicas),
        Write::Delete(_) | Write::Eviction => false,
    }
}

/// Written at another version: the contents can't be compared, managedFields can.
fn other_version(sighting: &Sighting, candidate: &Observation) -> bool {
    candidate.identity.version != sighting.identity.version
        || candidate.identity.group != sighting.identity.group
}

/// Decides which of `candidates` made the change.
///
/// `candidates` are the pending observations of the sighting's uid, and where the uid or the
/// observation's is unknown those with the sighting's key; oldest first. The order decides only
/// which of one user's equal observations is named.
#[must_use]
pub fn decide(sighting: &Sighting, candidates: &[&Observation]) -> Decision {
    let all = 0..candidates.len();
    match (&sighting.base, sighting.operation) {
        (Some(base), Operation::Delete) => {
            let deletes = all.filter(|&i| {
                matches!(candidates[i].write, Write::Delete(_)) && candidates[i].base == *base
            });
            one_user(candidates, deletes).map_or_else(Decision::from, Decision::Exact)
        }
        (Some(base), _) if base.is_empty() => {
            let creates = all.filter(|&i| matches!(candidates[i].write, Write::Create(_)));
            one_user(candidates, creates).map_or_else(Decision::from, Decision::Exact)
        }
        (Some(base), _) => {
            let rivals: Vec<usize> = all
                .filter(|&i| {
                    matches!(candidates[i].write, Write::Update(_) | Write::Scale(_))
                        && candidates[i].base == *base
                })
                .collect();
            decide_update(sighting, candidates, &rivals)
        }
        (None, Operation::Delete) => {
            let deletes = all.filter(|&i| {
                matches!(candidates[i].write, Write::Delete(_))
                    && !in_future(sighting, candidates[i])
            });
            one_user(candidates, deletes).map_or_else(Decision::from, Decision::Content)
        }
        (None, _) => decide_by_content(sighting, candidates),
    }
}

/// The rivals are on one base, so at most one of them was written.
fn decide_update(sighting: &Sighting, candidates: &[&Observation], rivals: &[usize]) -> Decision {
    let rivals = || rivals.iter().copied();
    let bytes = |i: usize| same_bytes(sighting, candidates[i]);
    let fields = |i: usize| fields(sighting, candidates[i]);

    let fitting = || rivals().filter(|&i| bytes(i) && fields(i) != Fields::Differ);
    if fitting().next().is_some() {
        // One in another version may have led to these bytes too. At the same version other
        // bytes are a lost race, however equal its managedFields (they hold no values, and
        // seconds only).
        let converted = rivals().filter(|&i| {
            !bytes(i) && fields(i) == Fields::Equal && other_version(sighting, candidates[i])
        });
        return one_user(candidates, fitting().chain(converted)).map_or_else(
            Decision::from,
            // Of one user's, the one that is proven best names the field manager.
            |first| {
                Decision::Exact(
                    fitting()
                        .find(|&i| fields(i) == Fields::Equal)
                        .unwrap_or(first),
                )
            },
        );
    }
    // Bytes alone prove nothing where the managedFields differ: they are stored as they were admitted. Nor do equal managedFields
    // where the bytes could be compared, and differ.
    let by_fields =
        rivals().filter(|&i| fields(i) == Fields::Equal && other_version(sighting, candidates[i]));
    one_user(candidates, by_fields).map_or_else(Decision::from, Decision::Exact)
}

/// Whether an observation that comes late speaks against the one who was credited: it is another
/// user's, and would have been chosen as well. In doubt it does.
pub(super) fn is_rival(sighting: &Sighting, credited: &str, late: &Observation) -> bool {
    if &*late.username == credited {
        return false;
    }
    let (bytes, fields) = (same_bytes(sighting, late), fields(sighting, late));
    match (&sighting.base, late.write) {
        (_, Write::Delete(_)) => sighting.operation == Operation::Delete,
        // Of those, and of other deletes that are not admitted, the store keeps account.
        (_, Write::Eviction) => false,
        (_, _) if sighting.operation == Operation::Delete => false,
        (Some(_), _) => {
            let converted = fields == Fields::Equal && other_version(sighting, late);
            (bytes && fields != Fields::Differ) || converted
        }
        (None, Write::Scale(_)) => true,
        (None, _) => fields == Fields::Equal || (bytes && fields != Fields::Differ),
    }
}

/// The chain of versions is broken: any of these may have been written, and in any number.
fn decide_by_content(sighting: &Sighting, candidates: &[&Observation]) -> Decision {
    let writes = || {
        (0..candidates.len()).filter(|&i| {
            !matches!(candidates[i].write, Write::Delete(_)) && !in_future(sighting, candidates[i])
        })
    };
    let bytes = |i: usize| same_bytes(sighting, candidates[i]);
    let fields = |i: usize| fields(sighting, candidates[i]);

    let converted = || {
        writes().filter(|&i| {
            !bytes(i) && fields(i) == Fields::Equal && other_version(sighting, candidates[i])
        })
    };
    let scaled = |i: usize| matches!(candidates[i].write, Write::Scale(_));
    // A scale says nothing of the rest of the object: whatever was asked for after it may have
    // changed that.
    let newest = |i: usize| writes().all(|j| !older(&candidates[i].base, &candidates[j].base));
    // Here the managedFields may refute: no version vouches for the bytes.
    let fitting = || {
        writes().filter(|&i| bytes(i) && fields(i) != Fields::Differ && (!scaled(i) || newest(i)))
    };
    let Some(oldest) = fitting().chain(converted()).next() else {
        return Decision::Unseen;
    };
    // A scale may have led to these bytes too: one to these replicas at any time; if the replicas
    // aren't known, one that came after somebody asked for these very bytes.
    let by_bytes = fitting().next().is_some();
    let scales = writes().filter(|&i| {
        let possible = match sighting.scaled_to {
            Some(_) => bytes(i),
            None => !by_bytes || !older(&candidates[i].base, &candidates[oldest].base),
        };
        scaled(i) && possible
    });
    match one_user(candidates, fitting().chain(converted()).chain(scales)) {
        Err(nobody) => Decision::from(nobody),
        // Nobody but its creator ever asked to write it.
        Ok(_) if writes().all(|i| created(sighting, candidates[i])) => Decision::Exact(oldest),
        Ok(_) => Decision::Content(oldest),
    }
}

fn created(sighting: &Sighting, candidate: &Observation) -> bool {
    sighting.operation == Operation::Create
        && matches!(candidate.write, Write::Create(_))
        && !sighting.uid.is_empty()
        && candidate.uid == sighting.uid
}

/// Asked for on what is there now, or on something later still. Where the present version isn't
/// known, nothing is.
pub(super) fn in_future(sighting: &Sighting, candidate: &Observation) -> bool {
    !sighting.version.is_empty()
        && (candidate.base == sighting.version || older(&sighting.version, &candidate.base))
}

/// Whether one resourceVersion is known to be before another. They compare as numbers
/// (KEP-5504); what isn't a number is not known. That of a create, empty, is before any other.
pub fn older(a: &str, b: &str) -> bool {
    if a.is_empty() {
        return !b.is_empty();
    }
    match (a.parse::<u128>(), b.parse::<u128>()) {
        (Ok(a), Ok(b)) => a < b,
        _ => false,
    }
}

/// Why there is not one user.
enum Nobody {
    NoCandidate,
    SeveralUsers,
}

impl From<Nobody> for Decision {
    fn from(nobody: Nobody) -> Self {
        match nobody {
            Nobody::NoCandidate => Self::Unseen,
            Nobody::SeveralUsers => Self::Ambiguous,
        }
    }
}

/// The first of these, where all of them are of the same user.
fn one_user(
    candidates: &[&Observation],
    mut chosen: impl Iterator<Item = usize>,
) -> Result<usize, Nobody> {
    let first = chosen.next().ok_or(Nobody::NoCandidate)?;
    if chosen.all(|i| candidates[i].username == candidates[first].username) {
        Ok(first)
    } else {
        Err(Nobody::SeveralUsers)
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
