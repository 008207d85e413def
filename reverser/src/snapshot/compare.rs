//! What is live beside what is in Git: one list at a time.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use git2::Oid;
use manifest::Identity;

use crate::change::{Cause, Operation};
use crate::fingerprint::Fingerprint;
use crate::git::{Engine, EngineError, blob_id};
use crate::rules::{DestinationPlan, Subscription, WatchKey};
use crate::watch::Listed;
use crate::workers::{Orphan, Sweep, Unit, orphans};

/// What a file must become.
pub(super) struct Difference {
    /// `Delete` without a blob, the others with one.
    pub(super) operation: Operation,
    /// Staged in the clone, where something is to be written.
    pub(super) blob: Option<Oid>,
    pub(super) identity: Box<Identity>,
}

/// By path.
pub(super) type Differences = BTreeMap<String, Difference>;

/// A list on its way. Of each object 8 bytes are kept, and more only of what differs.
pub(super) struct ListOnItsWay<'a> {
    engine: &'a mut Engine,
    destination: &'a DestinationPlan,
    /// Nothing is written: what differs need not be kept.
    dry: bool,
    live: HashSet<Fingerprint>,
    differences: Differences,
    unreadable: BTreeMap<String, String>,
    nameless: usize,
    failed: Option<EngineError>,
}

/// A complete list.
pub(super) struct Compared {
    pub(super) live: HashSet<Fingerprint>,
    pub(super) differences: Differences,
    /// Objects that can't be written, and why; their files stay.
    pub(super) unreadable: BTreeMap<String, String>,
    /// Objects of which nobody knows which file they have: nothing may be taken for gone.
    pub(super) nameless: usize,
}

impl<'a> ListOnItsWay<'a> {
    pub(super) fn new(engine: &'a mut Engine, destination: &'a DestinationPlan, dry: bool) -> Self {
        Self {
            engine,
            destination,
            dry,
            live: HashSet::new(),
            differences: Differences::new(),
            unreadable: BTreeMap::new(),
            nameless: 0,
            failed: None,
        }
    }

    /// The next of what the list tells.
    pub(super) fn take(&mut self, listed: Listed) {
        match listed {
            Listed::Live { identity, text } => {
                let path = self.path(&identity);
                self.live.insert(Fingerprint::of(path.as_bytes()));
                self.unreadable.remove(&path);
                match self.destination.text(&identity, &text) {
                    Ok(text) => self.compare(path, identity, &text),
                    Err(error) => self.unreadable(path, error.to_string()),
                }
            }
            Listed::NotLive(identity) => {
                let path = self.path(&identity);
                self.live.remove(&Fingerprint::of(path.as_bytes()));
                self.differences.remove(&path);
                self.unreadable.remove(&path);
            }
            Listed::Unreadable(identity, why) => {
                let path = self.path(&identity);
                self.live.insert(Fingerprint::of(path.as_bytes()));
                self.unreadable(path, why.to_string());
            }
            Listed::Nameless(why) => {
                tracing::warn!(%why, "an object of which not even the name can be read");
                self.nameless += 1;
            }
        }
    }

    fn path(&self, identity: &Identity) -> String {
        manifest::file_path(&self.destination.base_folder, identity)
    }

    fn unreadable(&mut self, path: String, why: String) {
        self.differences.remove(&path);
        self.unreadable.insert(path, why);
    }

    fn compare(&mut self, path: String, identity: Identity, text: &[u8]) {
        let (current, new) = (self.engine.blob_id(&path), blob_id(text));
        if current == Some(new) {
            self.differences.remove(&path);
            return;
        }
        if !self.dry
            && self.failed.is_none()
            && let Err(error) = self.engine.stage(text)
        {
            self.failed = Some(error);
        }
        let operation = match current {
            None => Operation::Create,
            Some(_) => Operation::Update,
        };
        let difference = Difference {
            operation,
            blob: Some(new),
            identity: Box::new(identity),
        };
        self.differences.insert(path, difference);
    }

    /// The list is complete.
    pub(super) fn finish(self) -> Result<Compared, EngineError> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(Compared {
                live: self.live,
                differences: self.differences,
                unreadable: self.unreadable,
                nameless: self.nameless,
            }),
        }
    }
}

/// The files of one type that nothing live stands behind.
pub(super) fn gone(
    engine: &Engine,
    of: &Subscription,
    listed: &WatchKey,
    live: HashSet<Fingerprint>,
) -> Result<Vec<Orphan>, EngineError> {
    let unit = Unit::Listed {
        selection: of.selection.clone(),
        namespace: listed.namespace.clone(),
        version: "".into(),
        live: Arc::new(live),
    };
    sweep(engine, &of.destination, unit)
}

/// The files of what is not selected.
pub(super) fn unselected(
    engine: &Engine,
    destination: &Arc<DestinationPlan>,
) -> Result<Vec<Orphan>, EngineError> {
    sweep(engine, destination, Unit::Unselected)
}

fn sweep(
    engine: &Engine,
    destination: &Arc<DestinationPlan>,
    unit: Unit,
) -> Result<Vec<Orphan>, EngineError> {
    let sweep = Sweep {
        destination: destination.clone(),
        unit,
        cause: Cause::Resync,
    };
    orphans(engine, &sweep)
}

/// These files go.
pub(super) fn delete(
    engine: &Engine,
    orphans: Vec<Orphan>,
    differences: &mut Differences,
) -> Result<(), EngineError> {
    for orphan in orphans {
        let Some(text) = engine.read(&orphan.path)? else {
            continue;
        };
        if let Some(identity) = orphan.identity(&text) {
            let difference = Difference {
                operation: Operation::Delete,
                blob: None,
                identity: Box::new(identity),
            };
            differences.insert(orphan.path, difference);
        }
    }
    Ok(())
}

impl Compared {
    /// Of a type that is not written here.
    pub(super) fn nothing_live() -> Self {
        Self {
            live: HashSet::new(),
            differences: Differences::new(),
            unreadable: BTreeMap::new(),
            nameless: 0,
        }
    }
}
