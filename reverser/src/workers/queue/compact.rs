//! What a queue drops when more waits than its bound, as while its remote is away for days: whatever the last version of each
//! file doesn't need.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Bound, Item, LIVE, State, Sweep, Unit, Waiting, Write};
use crate::change::{Cause, DestinationKey, Operation};
use crate::rules::{Operations, TypeSelection};

/// What a later one of the same kind makes needless.
#[derive(PartialEq, Eq, Hash)]
enum Sort {
    Listed(DestinationKey),
    Unselected(DestinationKey),
    OfType {
        of: DestinationKey,
        group: String,
        resource: String,
        namespace: Option<String>,
    },
}

impl Sort {
    /// `None` for a write, and for a sweep by rules that let files go and not come back, or not change: what comes after it may
    /// depend on it.
    fn of(item: &Item) -> Option<Self> {
        let of = item.destination().key.clone();
        match item {
            Item::Write(_) => None,
            Item::Listed(..) => Some(Self::Listed(of)),
            Item::Sweep(Sweep { unit, .. }) => Some(match unit {
                Unit::Unselected => Self::Unselected(of),
                Unit::Listed { selection, .. } if !leaves_no_trace(selection) => {
                    return None;
                }
                Unit::Listed {
                    selection,
                    namespace,
                    ..
                } => Self::OfType {
                    of,
                    group: selection.served.group.clone(),
                    resource: selection.served.resource.clone(),
                    namespace: namespace.clone(),
                },
            }),
        }
    }
}

fn leaves_no_trace(selection: &TypeSelection) -> bool {
    let mut allowed = selection
        .everywhere
        .iter()
        .chain(selection.namespaces.values());
    allowed.all(|it| *it == Operations::ALL || !it.allows(Operation::Delete))
}

impl Waiting {
    /// Whether a newer version of the file makes this one needless; then it has its place.
    pub(super) fn succeeded_by(&mut self, newer: &Write) -> bool {
        let Item::Write(older) = &mut self.item else {
            return false;
        };
        let (before, after) = (&older.change, &newer.change);
        if before.path != after.path || before.destination != after.destination {
            return false;
        }
        let may = |operation| newer.allowed.allows(operation);
        let is_ignored = match (&before.content, &after.content) {
            (_, None) => !may(Operation::Delete),
            (Some(_), Some(_)) => !may(Operation::Update),
            // Whether the file is to be made or to be changed depends on the delete.
            (None, Some(_)) if !may(Operation::Create) || !may(Operation::Update) => return false,
            (None, Some(_)) => false,
        };
        if is_ignored {
            // Another plan may not want the older one.
            return Arc::ptr_eq(&older.destination, &newer.destination);
        }
        // The same version given once more by a list; the one that waits knows its author.
        if after.cause != Cause::Live && before.content == after.content {
            older.destination.clone_from(&newer.destination);
            older.allowed = newer.allowed;
        } else {
            **older = newer.clone();
        }
        true
    }

    /// It deletes a file that is not there yet.
    fn is_vain(&self) -> bool {
        let deletes = matches!(&self.item, Item::Write(write) if write.change.content.is_none());
        self.begins && deletes
    }
}

impl State {
    /// Past the bound, and again whenever there is twice as much as was left the last time, so that it costs little for each item.
    pub(super) fn is_to_be_compacted(&self) -> bool {
        let left = self.compacted.unwrap_or(Bound { bytes: 0, items: 0 });
        self.bytes >= 2 * left.bytes.max(LIVE.bytes)
            || self.items.len() >= 2 * left.items.max(LIVE.items)
    }

    /// How many versions were dropped.
    pub(super) fn compact(&mut self) -> usize {
        let items = std::mem::take(&mut self.items);
        let sorts = items.iter().enumerate();
        let newest: HashMap<Sort, usize> = sorts
            .filter_map(|(at, waiting)| Some((Sort::of(&waiting.item)?, at)))
            .collect();
        let mut dropped = 0;
        let mut kept: VecDeque<Waiting> = VecDeque::new();
        // Since the last sweep, which no write passes.
        let mut latest: HashMap<String, usize> = HashMap::new();
        for (at, waiting) in items.into_iter().enumerate() {
            match &waiting.item {
                Item::Write(write) => {
                    let path = &write.change.path;
                    let older = latest.get(path).and_then(|at| kept.get_mut(*at));
                    if older.is_some_and(|older| older.succeeded_by(write)) {
                        dropped += 1;
                        continue;
                    }
                    latest.insert(path.clone(), kept.len());
                }
                item => {
                    let sort = Sort::of(item);
                    if sort.is_some_and(|sort| newest.get(&sort) != Some(&at)) {
                        continue;
                    }
                    latest.clear();
                }
            }
            kept.push_back(waiting);
        }
        let all = kept.len();
        kept.retain(|waiting| !waiting.is_vain());
        dropped += all - kept.len();
        self.hold(kept.into_iter());
        self.compacted = Some(Bound {
            bytes: self.bytes,
            items: self.items.len(),
        });
        dropped
    }
}
