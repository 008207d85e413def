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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};
    use crate::snapshot::select;

    /// What becomes of a folder that this one owns, in cluster `here`.
    fn standing(cluster: &str, destination: &str, flags: &[&str]) -> Result<Standing, String> {
        let given = ["x", "snapshot", "--repo=file:///r", "--folder=f"];
        let args = Args::try_parse_from([&given, flags].concat()).unwrap();
        let Some(Command::Snapshot(args)) = args.command else {
            unreachable!()
        };
        let plan = select::destination(&args).unwrap();
        let owner = Owner {
            cluster: cluster.to_owned(),
            destination: destination.to_owned(),
        };
        let here = ClusterId::Known("here".to_owned());
        judge(Some(&owner), &plan, &here, args.diff).map_err(|error| error.to_string())
    }

    #[test]
    fn a_gitdestinations_folder_is_compared_with_and_written_to_by_leave_only() {
        let error = standing("here", "lab/all", &[]).unwrap_err();
        assert!(error.contains("--take-over=lab/all"), "{error}");
        let by_leave = Ok(Standing::AnothersByLeave);
        assert_eq!(standing("here", "lab/all", &["--diff"]), by_leave);
        let leave = ["--take-over=lab/all"];
        assert_eq!(standing("here", "lab/all", &leave), by_leave);
        // Of another cluster, that is not enough.
        assert!(standing("there", "lab/all", &leave).is_err());
        assert!(standing("here", "lab/other", &leave).is_err());
    }

    #[test]
    fn another_snapshot_of_this_cluster_is_ours_and_one_of_another_is_not() {
        assert_eq!(standing("here", "snapshot", &[]), Ok(Standing::Ours));
        for flags in [&[][..], &["--diff"]] {
            let error = standing("there", "snapshot", flags).unwrap_err();
            assert!(error.contains("--take-over=there"), "{error}");
        }
        // Nobody's name is nobody's.
        assert!(standing("", "", &["--take-over="]).is_err());
    }
}
