//! What the reverser's rules select.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::RwLock;
use proto::v1;

/// What is worth observing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InterestSet {
    /// Until the reverser has said otherwise.
    #[default]
    Everything,
    /// group → resource → namespaces.
    Only(HashMap<String, HashMap<String, Namespaces>>),
}

/// The namespaces of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// Each of them, and cluster-scoped objects.
    All,
    /// These.
    Named(HashSet<String>),
}

impl InterestSet {
    /// Whether an object of this resource is of interest. `namespace` is empty for
    /// cluster-scoped objects.
    #[must_use]
    pub fn covers(&self, group: &str, resource: &str, namespace: &str) -> bool {
        let only = match self {
            Self::Everything => return true,
            Self::Only(only) => only,
        };
        match only
            .get(group)
            .and_then(|resources| resources.get(resource))
        {
            None => false,
            Some(Namespaces::All) => true,
            Some(Namespaces::Named(names)) => names.contains(namespace),
        }
    }
}

impl From<v1::InterestSet> for InterestSet {
    fn from(set: v1::InterestSet) -> Self {
        let mut only: HashMap<String, HashMap<String, Namespaces>> = HashMap::new();
        for interest in set.interests {
            let namespaces = only
                .entry(interest.group)
                .or_default()
                .entry(interest.resource)
                .or_insert_with(|| Namespaces::Named(HashSet::new()));
            if interest.namespace.is_empty() {
                *namespaces = Namespaces::All;
            } else if let Namespaces::Named(names) = namespaces {
                names.insert(interest.namespace);
            }
        }
        Self::Only(only)
    }
}

/// The set in force. It outlives the stream that brought it: while the reverser is away the
/// last set still holds, and the next stream begins with a new one.
#[derive(Debug, Default)]
pub struct CurrentInterest(RwLock<Arc<InterestSet>>);

impl CurrentInterest {
    /// The set that the next admission is judged by.
    #[must_use]
    pub fn load(&self) -> Arc<InterestSet> {
        self.0.read().clone()
    }

    /// Every admission that starts from now on is judged by this set.
    pub fn store(&self, set: InterestSet) {
        *self.0.write() = Arc::new(set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(interests: &[(&str, &str, &str)]) -> InterestSet {
        v1::InterestSet {
            generation: 1,
            interests: interests
                .iter()
                .map(|(group, resource, namespace)| v1::Interest {
                    group: (*group).to_owned(),
                    resource: (*resource).to_owned(),
                    namespace: (*namespace).to_owned(),
                })
                .collect(),
        }
        .into()
    }

    #[test]
    fn before_the_first_set_everything_is_of_interest() {
        assert!(CurrentInterest::default().load().covers("g", "r", "n"));
    }

    #[test]
    fn an_empty_set_is_interested_in_nothing() {
        assert!(!set(&[]).covers("", "configmaps", "a"));
    }

    #[test]
    fn a_named_namespace_covers_itself_alone() {
        let set = set(&[("", "configmaps", "a"), ("", "configmaps", "b")]);
        assert!(set.covers("", "configmaps", "a"));
        assert!(set.covers("", "configmaps", "b"));
        assert!(!set.covers("", "configmaps", "c"));
        assert!(!set.covers("", "configmaps", ""));
        assert!(!set.covers("apps", "configmaps", "a"));
        assert!(!set.covers("", "secrets", "a"));
    }

    #[test]
    fn no_namespace_covers_all_and_the_cluster_in_any_order() {
        for interests in [
            [("", "configmaps", "a"), ("", "configmaps", "")],
            [("", "configmaps", ""), ("", "configmaps", "a")],
        ] {
            let set = set(&interests);
            assert!(set.covers("", "configmaps", "z"));
            assert!(set.covers("", "configmaps", ""));
        }
    }
}
