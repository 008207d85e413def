//! From what waited in the queue to what really changes Git.

use std::collections::HashMap;
use std::sync::Arc;

use git2::Oid;
use manifest::{Identity, SpecHash};

use super::queue::{Item, Sweep, Unit, Unsettled, Write};
use super::sweep;
use crate::attribution::{Coverage, Store};
use crate::change::{Attribution, Cause, Change, Miss, Operation, Sighting};
use crate::fingerprint::Fingerprint;
use crate::git::{Engine, EngineError, blob_id};
use crate::rules::DestinationPlan;

/// The branch as it will be once the changes found so far are committed.
struct Overlay<'a> {
    engine: &'a mut Engine,
    changed: HashMap<String, Option<Oid>>,
    /// What stands in a group's folder as a version, by folder.
    versions: HashMap<String, Arc<[String]>>,
}

impl Overlay<'_> {
    fn blob(&mut self, path: &str) -> Option<Oid> {
        match self.changed.get(path) {
            Some(known) => *known,
            None => self.engine.blob_id(path),
        }
    }

    /// The versions of a group of which there is or was a file.
    fn versions(&mut self, base_folder: &str, group: &str) -> Result<Arc<[String]>, EngineError> {
        let folder = manifest::group_directory(base_folder, group);
        if let Some(known) = self.versions.get(&folder) {
            return Ok(known.clone());
        }
        let mut found = self.engine.list_directories(&folder)?;
        // The base folder holds core's versions beside other groups; a group's folder holds versions only.
        found.retain(|name| !group.is_empty() || manifest::is_api_version(name));
        let found: Arc<[String]> = found.into();
        self.versions.insert(folder, found.clone());
        Ok(found)
    }
}

/// The changes of a batch that have an effect on a file and are allowed to, in order.
///
/// `items` keep what was found out about authors, so that a batch that fails and is worked out
/// again asks nobody twice.
pub(super) fn changes(
    engine: &mut Engine,
    items: &mut [Item],
    store: &Store,
    coverage: Coverage,
) -> Result<Vec<Change>, EngineError> {
    let mut overlay = Overlay {
        engine,
        changed: HashMap::new(),
        versions: HashMap::new(),
    };
    let mut changes = Vec::new();
    for item in items {
        match item {
            Item::Write(write) => {
                let change = effective(&mut overlay, write, store, coverage)?;
                let moved = match &change {
                    Some(change) => moved(&mut overlay, write, change)?,
                    None => Vec::new(),
                };
                changes.extend(change.into_iter().chain(moved));
            }
            Item::Sweep(sweep) => changes.extend(swept(&mut overlay, sweep, store)?),
            Item::Listed(..) => {}
        }
    }
    Ok(changes)
}

fn effective(
    overlay: &mut Overlay<'_>,
    write: &mut Write,
    store: &Store,
    coverage: Coverage,
) -> Result<Option<Change>, EngineError> {
    let new = write.change.content.as_ref().map(|text| blob_id(text));
    let current = overlay.blob(&write.change.path);
    let effect = match (current, new) {
        (None, None) => return Ok(None),
        (Some(current), Some(new)) if current == new => return Ok(None),
        (None, Some(_)) => Operation::Create,
        (Some(_), Some(_)) => Operation::Update,
        (Some(_), None) => Operation::Delete,
    };
    if !write.allowed.allows(effect) && !is_of_another_policy(overlay, write, effect)? {
        return Ok(None);
    }
    let change = &mut write.change;
    overlay.changed.insert(change.path.clone(), new);
    if change.cause != Cause::Live {
        // What a list found, only Git can tell apart from what was there before.
        change.operation = effect;
    }
    match write.unsettled.take() {
        None => {}
        Some(Unsettled::Unseen(sighting)) => {
            change.attribution = store.rejoin(&sighting);
            if let Coverage::LostSince(lost) = coverage
                && sighting.may_have_rivals()
                && write.seen >= lost
                && !matches!(change.attribution, Attribution::None(_))
            {
                change.attribution = Attribution::None(Miss::Unconfirmed);
            }
        }
        Some(Unsettled::Credited(credit)) => {
            if let Some(objection) = credit.objection() {
                change.attribution = Attribution::None(objection);
            }
        }
        Some(Unsettled::Found(mut sighting)) => {
            sighting.operation = change.operation;
            if !overlay.engine.is_foreign(&change.path) {
                let found = store.recall(&sighting);
                if found.who().is_some() {
                    change.attribution = found;
                }
            }
        }
    }
    if effect == Operation::Delete {
        // An object that lives on, but is left out from now on: of its file that is a delete.
        change.operation = effect;
    }
    Ok(Some(change.clone()))
}

/// The files of an object at other versions, which go with the change that writes it at this one: a sweep comes at the end of a
/// list, many commits later.
fn moved(
    overlay: &mut Overlay<'_>,
    write: &Write,
    change: &Change,
) -> Result<Vec<Change>, EngineError> {
    let base_folder = &write.destination.base_folder;
    let arrives = change.content.is_some() && write.allowed.allows(Operation::Delete);
    if !arrives {
        return Ok(Vec::new());
    }
    let mut gone = Vec::new();
    let versions = overlay.versions(base_folder, &change.identity.group)?;
    for version in versions.iter().filter(|v| **v != change.identity.version) {
        let identity = Identity {
            version: version.clone(),
            ..change.identity.clone()
        };
        let path = manifest::file_path(base_folder, &identity);
        if overlay.blob(&path).is_none() {
            continue;
        }
        overlay.changed.insert(path.clone(), None);
        gone.push(Change {
            identity,
            path,
            content: None,
            operation: Operation::Delete,
            ..change.clone()
        });
    }
    Ok(gone)
}

/// Whether the change replaces a file that was written under another secretPolicy, which is done whatever the operations.
fn is_of_another_policy(
    overlay: &Overlay<'_>,
    write: &Write,
    effect: Operation,
) -> Result<bool, EngineError> {
    let Change { path, identity, .. } = &write.change;
    // What this batch writes, it writes under this policy.
    if effect != Operation::Update || overlay.changed.contains_key(path) {
        return Ok(false);
    }
    let file = overlay.engine.read(path)?;
    Ok(file.is_some_and(|file| write.destination.is_of_another_policy(identity, &file)))
}

/// Deletes of files whose objects are not live, or not wanted. What the rules keep is hidden where it must be.
fn swept(
    overlay: &mut Overlay<'_>,
    sweep: &Sweep,
    store: &Store,
) -> Result<Vec<Change>, EngineError> {
    let mut changes = Vec::new();
    for orphan in sweep::orphans(overlay.engine, sweep)? {
        if overlay.blob(&orphan.path).is_none() {
            continue;
        }
        let Some(text) = overlay.engine.read(&orphan.path)? else {
            continue;
        };
        let Some(identity) = orphan.identity(&text) else {
            continue;
        };
        if orphan.hide_only {
            changes.extend(hidden(overlay, sweep, orphan.path, identity, &text));
            continue;
        }
        let attribution = if overlay.engine.is_foreign(&orphan.path) {
            Attribution::None(Miss::Reconciled)
        } else {
            deleter(sweep, &orphan.path, &identity, &text, store)
        };
        overlay.changed.insert(orphan.path.clone(), None);
        changes.push(Change {
            destination: sweep.destination.key.clone(),
            identity,
            path: orphan.path,
            content: None,
            operation: Operation::Delete,
            attribution,
            cause: sweep.cause,
        });
    }
    Ok(changes)
}

/// Whoever deleted an object while nobody watched may still be known, by the content that its file holds (not of hidden ones).
fn deleter(
    sweep: &Sweep,
    path: &str,
    identity: &Identity,
    text: &[u8],
    store: &Store,
) -> Attribution {
    let Some(listed_at) = deleted_before(sweep, path, identity) else {
        return Attribution::None(Miss::Reconciled);
    };
    let sighting = Sighting {
        identity: identity.clone(),
        uid: String::new(),
        operation: Operation::Delete,
        base: None,
        version: listed_at.to_owned(),
        spec_hash: SpecHash::of(text),
        managed_fields_hash: None,
        scaled_to: None,
    };
    match store.recall(&sighting) {
        Attribution::None(_) => Attribution::None(Miss::Reconciled),
        found => found,
    }
}

/// The version of the list that lacks a file's object, where the file goes for that, and for nothing that somebody did to the rules,
/// to the destination or in Git: of an object that lives on, there may be a delete that was asked for and refused.
fn deleted_before<'a>(sweep: &'a Sweep, path: &str, identity: &Identity) -> Option<&'a str> {
    let Unit::Listed {
        selection,
        version,
        live,
        ..
    } = &sweep.unit
    else {
        return None;
    };
    let destination = &sweep.destination;
    let path_of = |identity: &Identity| manifest::file_path(&destination.base_folder, identity);
    let as_selected = Identity {
        version: selection.served.version.clone(),
        ..identity.clone()
    };
    let deleted = sweep.cause != Cause::Drift
        && !destination.omits(&identity.group, &identity.resource)
        // A copy of another file is nobody's object.
        && path_of(identity) == path
        && !live.contains(&Fingerprint::of(path_of(&as_selected).as_bytes()));
    deleted.then_some(&**version)
}

/// What the rules keep of an object that is gone, without its values in the clear. `None` where it holds none, and where it can't
/// be read: that file is none of ours.
fn hidden(
    overlay: &mut Overlay<'_>,
    sweep: &Sweep,
    path: String,
    identity: Identity,
    text: &[u8],
) -> Option<Change> {
    let destination = &sweep.destination;
    let content = destination.hidden(&identity, text).ok()??;
    overlay
        .changed
        .insert(path.clone(), Some(blob_id(&content)));
    Some(Change {
        destination: destination.key.clone(),
        identity,
        path,
        content: Some(content),
        operation: Operation::Update,
        attribution: Attribution::None(Miss::Reconciled),
        cause: sweep.cause,
    })
}

/// Whether an item still is what its destination wants. What a list under way or the queue brings of
/// an earlier plan is not: another folder, what no rule selects any more, Secrets that are to be left out now, a sweep of
/// what is selected now. Each such change of plan lists everything again.
pub(super) fn is_current(item: &Item, plan: &[Arc<DestinationPlan>]) -> bool {
    let old = item.destination();
    let Some(new) = plan.iter().find(|d| d.key == old.key && d.uid == old.uid) else {
        return false;
    };
    if new.base_folder != old.base_folder {
        return false;
    }
    match item {
        Item::Write(write) => {
            let identity = &write.change.identity;
            let Identity {
                group, resource, ..
            } = identity;
            let secret = new.secrets.types.contains(group, resource);
            let written = write.change.content.is_some();
            // A list goes on behind the sweep of what is selected no more. What happened is history, also of a type that is gone by now: its
            // end comes behind it.
            let wanted = write.change.cause == Cause::Live || new.operations(identity).is_some();
            !written || (wanted && (!secret || new.hides_as(old)))
        }
        Item::Sweep(sweep) => match &sweep.unit {
            Unit::Unselected => {
                new.resolved && new.selections == old.selections && new.unseen == old.unseen
            }
            Unit::Listed { selection, .. } => {
                let served = &selection.served;
                let of_type = (served.group.clone(), served.resource.clone());
                new.selections.contains_key(&of_type) && new.hides_as(old)
            }
        },
        // What was listed is not what is wanted now; each change of plan tells anew what is complete.
        Item::Listed(..) => new == old,
    }
}
