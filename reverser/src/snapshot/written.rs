//! The commit.

use super::compare::{Difference, Differences};
use super::export::Outcome;
use crate::change::{Attribution, Cause, Change, DestinationKey, Miss, Operation};
use crate::commit::{CommitGroup, GroupKey, MAX_LISTED, Tier, message_of};
use crate::git::{Engine, EngineError};
use crate::rules::DestinationPlan;
use crate::workers::{marker, marker_path};
use manifest::Identity;

/// The message: which cluster, how much, the first changes, and trailers as the operator's commits have them.
pub(super) fn message(
    subject: Option<&str>,
    cluster: &str,
    outcome: &Outcome,
    first: bool,
) -> String {
    let Outcome {
        objects,
        differences,
        ..
    } = outcome;
    let plural = if *objects == 1 { "" } else { "s" };
    let default = format!("Snapshot of cluster {cluster}: {objects} object{plural}");
    let cause = if first { Cause::Seed } else { Cause::Resync };
    let attribution = Attribution::None(Miss::Reconciled);
    let change = |(path, difference): (&String, &Difference)| Change {
        destination: DestinationKey::snapshot(),
        identity: Identity::clone(&difference.identity),
        path: path.clone(),
        content: None,
        operation: difference.operation,
        attribution: attribution.clone(),
        cause,
    };
    let group = CommitGroup {
        key: GroupKey {
            username: None,
            cause,
        },
        changes: differences.iter().take(MAX_LISTED).map(change).collect(),
        field_managers: Vec::new(),
        tier: Tier::None,
        misses: vec![Miss::Reconciled],
    };
    message_of(subject.unwrap_or(&default), &group, differences.len())
}

/// Adds the marker to what is to be written.
pub(super) fn claim(
    engine: &mut Engine,
    destination: &DestinationPlan,
    cluster: &str,
    differences: &mut Differences,
) -> Result<(), EngineError> {
    let key = &destination.key;
    let blob = engine.stage(&marker(cluster, key))?;
    let identity = Identity {
        group: String::new(),
        version: String::new(),
        resource: String::new(),
        namespace: String::new(),
        name: String::new(),
    };
    let difference = Difference {
        operation: Operation::Create,
        blob: Some(blob),
        identity: Box::new(identity),
    };
    differences.insert(marker_path(&destination.base_folder), difference);
    Ok(())
}

/// Everything as one commit.
pub(super) fn commit(
    engine: &mut Engine,
    destination: &DestinationPlan,
    message: String,
    differences: &Differences,
) -> Result<(), EngineError> {
    let files = differences
        .iter()
        .map(|(path, difference)| (path.as_str(), difference.blob));
    engine
        .commit_staged(&destination.commit.bot, message, files)
        .map(drop)
}
