//! Objects that the cluster makes for itself.

use std::fmt;

use serde_json::Value;

use crate::Identity;

/// Why an object is not written to Git by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeftOut {
    /// The ConfigMap `kube-root-ca.crt` that every namespace gets.
    RootCa,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cluster publishes its CA here")
    }
}

/// Whether the cluster makes this object for itself, and so makes it again after a restore.
#[must_use]
pub fn left_out(identity: &Identity, object: &Value) -> Option<LeftOut> {
    let _ = (identity, object);
    None
}
