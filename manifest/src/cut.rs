//! Parts of an object to leave out, as a small tree beside it: the writer skips them without
//! copying the object, [`Cut::apply`] removes them for good.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::work;

/// A key of a map. The table's own names need no allocation.
pub(crate) type Key = Cow<'static, str>;

/// One step down into an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(Key),
    Item(usize),
}

/// What to leave out at one place of an object and below.
#[derive(Debug)]
pub(crate) enum Cut {
    /// All of it; what holds nothing else goes with it.
    Whole,
    /// All of it; what holds it stays.
    Silent,
    /// Parts of it.
    Within {
        keys: BTreeMap<Key, Cut>,
        items: BTreeMap<usize, Cut>,
    },
}

impl Default for Cut {
    fn default() -> Self {
        Self::Within {
            keys: BTreeMap::new(),
            items: BTreeMap::new(),
        }
    }
}

impl Cut {
    /// Also leave out what is at the end of `path`.
    pub(crate) fn add(&mut self, path: impl IntoIterator<Item = Step>) {
        self.put(path, Self::Whole);
    }

    /// The same, but what it was in stays even if nothing else is in there.
    pub(crate) fn add_silently(&mut self, path: impl IntoIterator<Item = Step>) {
        self.put(path, Self::Silent);
    }

    fn put(&mut self, path: impl IntoIterator<Item = Step>, cut: Self) {
        let mut place = self;
        for step in path {
            let Self::Within { keys, items } = place else {
                return;
            };
            place = match step {
                Step::Key(key) => keys.entry(key).or_default(),
                Step::Item(index) => items.entry(index).or_default(),
            };
        }
        *place = cut;
    }

    /// Leaves out each map and list below the top that a rule emptied.
    ///
    /// One level only: a map whose maps were emptied stays, since it may be there by intent. Items of
    /// lists stay as well, since they have a place.
    pub(crate) fn drop_emptied(&mut self, value: &Value) {
        let Self::Within { keys, items } = self else {
            return;
        };
        match value {
            Value::Object(map) => {
                for (key, cut) in keys {
                    work::done(1);
                    let Some(child) = map.get(&**key) else {
                        continue;
                    };
                    cut.drop_emptied(child);
                    if cut.empties(child) {
                        *cut = Self::Silent;
                    }
                }
            }
            Value::Array(list) => {
                for (index, cut) in items {
                    work::done(1);
                    if let Some(child) = list.get(*index) {
                        cut.drop_emptied(child);
                    }
                }
            }
            _ => {}
        }
    }

    fn empties(&self, value: &Value) -> bool {
        let Self::Within { keys, items } = self else {
            return false;
        };
        let whole = |cut: &Self| {
            work::done(1);
            matches!(cut, Self::Whole)
        };
        match value {
            Value::Object(map) => {
                keys.values().any(whole)
                    && map.keys().all(|key| {
                        work::done(1);
                        keys.get(&**key).is_some_and(Self::is_all)
                    })
            }
            Value::Array(list) => {
                items.values().any(whole)
                    && (0..list.len()).all(|index| {
                        work::done(1);
                        items.get(&index).is_some_and(Self::is_all)
                    })
            }
            _ => false,
        }
    }

    /// Whether nothing of this place is left.
    pub(crate) fn is_all(&self) -> bool {
        matches!(self, Self::Whole | Self::Silent)
    }

    /// What to leave out below a key of this place.
    pub(crate) fn key(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Within { keys, .. } => keys.get(key),
            Self::Whole | Self::Silent => None,
        }
    }

    /// What to leave out below an item of this place.
    pub(crate) fn item(&self, index: usize) -> Option<&Self> {
        match self {
            Self::Within { items, .. } => items.get(&index),
            Self::Whole | Self::Silent => None,
        }
    }

    /// Removes it all from the object it was made for.
    pub(crate) fn apply(&self, value: &mut Value) {
        let Self::Within { keys, items } = self else {
            return;
        };
        match value {
            Value::Object(map) => {
                for (key, cut) in keys {
                    if cut.is_all() {
                        map.remove(&**key);
                    } else if let Some(child) = map.get_mut(&**key) {
                        cut.apply(child);
                    }
                }
            }
            Value::Array(list) => {
                let mut index = 0;
                list.retain_mut(|child| {
                    let cut = items.get(&index);
                    index += 1;
                    if let Some(cut) = cut {
                        cut.apply(child);
                    }
                    !cut.is_some_and(Self::is_all)
                });
            }
            _ => {}
        }
    }
}
