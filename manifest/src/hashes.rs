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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(replicas: &Value) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "managedFields": [{"manager": "a", "fieldsV1": {"f:x": {}, "f:y": {}}}]},
            "spec": {"replicas": replicas, "paused": true},
        })
    }

    #[test]
    fn managed_fields_hash_is_blind_to_the_order_of_keys() {
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let one = read(r#"{"metadata": {"managedFields": [{"manager": "a", "time": "t"}]}}"#);
        let other =
            read(r#"{"metadata": {"managedFields": [{"time": "t", "manager": "a"}], "x": 1}}"#);
        assert!(managed_fields_hash(&one).is_some());
        assert_eq!(managed_fields_hash(&one), managed_fields_hash(&other));
        let later = read(r#"{"metadata": {"managedFields": [{"manager": "a", "time": "u"}]}}"#);
        assert_ne!(managed_fields_hash(&one), managed_fields_hash(&later));
    }

    #[test]
    fn no_managed_fields_have_no_hash() {
        for object in [
            json!({}),
            json!({"metadata": {"managedFields": []}}),
            json!({"metadata": {"managedFields": null}}),
        ] {
            assert_eq!(managed_fields_hash(&object), None);
        }
    }

    #[test]
    fn a_scale_changes_the_replicas_and_nothing_else() {
        let (one, five) = (deployment(&json!(1)), deployment(&json!(5)));
        assert_eq!((replicas(&one), replicas(&five)), (Some(1), Some(5)));
        assert!(hash_without_replicas(&one).is_some());
        assert_eq!(hash_without_replicas(&one), hash_without_replicas(&five));
        let mut other = five;
        other["spec"]["paused"] = json!(false);
        assert_ne!(hash_without_replicas(&one), hash_without_replicas(&other));
    }

    #[test]
    fn what_has_no_replicas_can_not_be_scaled() {
        for replicas in [json!(null), json!("3"), json!(1.5)] {
            assert_eq!(hash_without_replicas(&deployment(&replicas)), None);
        }
        assert_eq!(
            hash_without_replicas(&json!({"spec": {"replicas": 1}})),
            None,
            "no kind"
        );
    }
}
