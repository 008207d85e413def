//! The further facts by which an observation is joined with a watch event.

use std::borrow::Cow;

use serde_json::Value;

use crate::SpecHash;
use crate::canonical::text_without;
use crate::cut::Step;
use crate::sanitize::cut_of;

/// Hash of `metadata.managedFields`; `None` if there are none.
///
/// Equal for one write however the object is served (another version, defaults added on read).
#[must_use]
pub fn managed_fields_hash(object: &Value) -> Option<SpecHash> {
    let fields = object.pointer("/metadata/managedFields")?.as_array()?;
    if fields.is_empty() {
        return None;
    }
    Some(SpecHash::of(&serde_json::to_vec(fields).ok()?))
}

/// Hash of the canonical manifest with `spec.replicas` left out: equal before and after a scale.
///
/// `None` where `spec.replicas` is no integer, or the object has no canonical form.
#[must_use]
pub fn hash_without_replicas(object: &Value) -> Option<SpecHash> {
    replicas(object)?;
    let mut cut = cut_of(object);
    cut.add(["spec", "replicas"].map(|key| Step::Key(Cow::Borrowed(key))));
    let text = text_without(object, &cut).ok()?;
    Some(SpecHash::of(&text))
}

/// `spec.replicas`, where it is an integer.
#[must_use]
pub fn replicas(object: &Value) -> Option<i64> {
    object.pointer("/spec/replicas")?.as_i64()
}
