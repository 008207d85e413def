//! Whose folder it is.

use super::cluster::ClusterId;
use super::error::SnapshotError;
use crate::change::DestinationKey;
use crate::git::Engine;
use crate::rules::DestinationPlan;
use crate::workers::{Owner, marker_path};

/// What the marker says of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// An earlier snapshot of this cluster wrote it.
    Ours,
    /// There is none.
    Free,
    /// It may be taken over, or only looked into.
    AnothersByLeave,
    /// Which cluster this is is not known, and nothing is to be written.
    Unknown,
}

/// Looks at the marker.
///
/// # Errors
/// Where it forbids what is asked for: to write into another's folder, or to compare with another cluster's.
pub(super) fn look(
    engine: &Engine,
    destination: &DestinationPlan,
    cluster: &ClusterId,
    diff: bool,
) -> Result<Standing, SnapshotError> {
    let path = marker_path(&destination.base_folder);
    let owner = engine.read(&path)?.map(|marker| Owner::read(&marker));
    judge(owner.as_ref(), destination, cluster, diff)
}

fn judge(
    owner: Option<&Owner>,
    destination: &DestinationPlan,
    cluster: &ClusterId,
    diff: bool,
) -> Result<Standing, SnapshotError> {
    let here = match cluster {
        ClusterId::Known(here) => here,
        ClusterId::Forbidden(_) if diff => return Ok(Standing::Unknown),
        ClusterId::Forbidden(why) => return Err(SnapshotError::NoClusterId(why.clone())),
    };
    let Some(owner) = owner else {
        return Ok(Standing::Free);
    };
    let folder = &destination.base_folder;
    let given = |name: &str| destination.take_over.as_deref() == Some(name);
    if owner.cluster.is_empty() {
        return Err(SnapshotError::UnreadableMarker(marker_path(folder)));
    }
    if owner.cluster != *here {
        if given(&owner.cluster) {
            return Ok(Standing::AnothersByLeave);
        }
        return Err(SnapshotError::ForeignFolder {
            folder: folder.clone(),
            cluster: owner.cluster.clone(),
            here: here.clone(),
        });
    }
    if owner.destination == DestinationKey::snapshot().to_string() {
        Ok(Standing::Ours)
    } else if diff || given(&owner.destination) {
        Ok(Standing::AnothersByLeave)
    } else {
        Err(SnapshotError::OperatorsFolder {
            folder: folder.clone(),
            destination: owner.destination.clone(),
        })
    }
}
