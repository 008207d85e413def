//! Text → observations, oldest first.

use std::collections::HashMap;
use std::sync::Arc;

/// The order in which observations came; never reused.
pub(super) type ObservationId = u64;

/// Which observations carry a text (a uid, a key). Holds exactly what the store holds, so its
/// bound is the store's.
#[derive(Debug, Default)]
pub(super) struct Index {
    ids: HashMap<Arc<str>, Vec<ObservationId>>,
}

impl Index {
    /// `id` must be newer than any other here.
    pub(super) fn insert(&mut self, text: &Arc<str>, id: ObservationId) {
        self.ids.entry(Arc::clone(text)).or_default().push(id);
    }

    pub(super) fn remove(&mut self, text: &str, id: ObservationId) {
        let Some(ids) = self.ids.get_mut(text) else {
            return;
        };
        if let Ok(at) = ids.binary_search(&id) {
            ids.remove(at);
        }
        if ids.is_empty() {
            self.ids.remove(text);
        }
    }

    /// Oldest first.
    pub(super) fn get(&self, text: &str) -> &[ObservationId] {
        self.ids.get(text).map_or(&[], Vec::as_slice)
    }

    /// How many texts.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}
