//! The further facts by which an observation is joined with a watch event.

use std::borrow::Cow;

use serde_json::Value;

use crate::SpecHash;
use crate::canonical::text_without;
use crate::cut::Step;
use crate::sanitize::cut_of;

/// Hash of `metadata.managedFields`, but for entries of who wrote nothing but status; `None` if there are no others.
///
/// Equal for one write however the object is served (another version, defaults added on read), and whatever a controller says of it
/// in its status afterwards.
#[must_use]
pub fn managed_fields_hash(object: &Value) -> Option<SpecHash> {
    let fields = object.pointer("/metadata/managedFields")?.as_array()?;
    let fields: Vec<&Value> = fields.iter().filter(|entry| !is_status(entry)).collect();
    if fields.is_empty() {
        return None;
    }
    Some(SpecHash::of(&serde_json::to_vec(&fields).ok()?))
}

/// Some types let a write to their status change annotations too: then its entry owns those as well.
fn is_status(entry: &Value) -> bool {
    let owned = entry.get("fieldsV1").and_then(Value::as_object);
    entry.get("subresource").and_then(Value::as_str) == Some("status")
        && owned.is_some_and(|owned| owned.keys().eq(["f:status"]))
}

/// Where the objects of a type keep how many replicas they want: what a write to their scale
/// subresource changes, and all that it changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicasPath(Vec<String>);

impl Default for ReplicasPath {
    /// `.spec.replicas`, where all types that come with Kubernetes have it.
    fn default() -> Self {
        Self(["spec", "replicas"].map(str::to_owned).into())
    }
}

impl ReplicasPath {
    /// As a CustomResourceDefinition spells it in `subresources.scale.specReplicasPath`: keys, each
    /// after a dot. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let keys: Vec<String> = text
            .strip_prefix('.')?
            .split('.')
            .map(str::to_owned)
            .collect();
        (!keys.iter().any(String::is_empty)).then_some(Self(keys))
    }

    /// The replicas of an object, where they are an integer.
    #[must_use]
    pub fn replicas(&self, object: &Value) -> Option<i64> {
        self.value(object)?.as_i64()
    }

    /// Hash of the canonical manifest with the replicas left out: equal before and after a scale,
    /// also after one that sets them for the first time.
    ///
    /// `None` where they are there and no integer, or the object has no canonical form.
    #[must_use]
    pub fn hash_without(&self, object: &Value) -> Option<SpecHash> {
        if self.value(object).is_some_and(|value| !value.is_i64()) {
            return None;
        }
        let mut cut = cut_of(object);
        let keys = self.0.iter().cloned();
        cut.add(keys.map(|key| Step::Key(Cow::Owned(key))));
        let text = text_without(object, &cut).ok()?;
        Some(SpecHash::of(&text))
    }

    fn value<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(object, |value, key| value.get(key))
    }
}

/// `spec.replicas` of a Scale, where it is an integer.
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
    fn a_status_that_is_written_afterwards_leaves_the_hash_as_it_is() {
        let object = |entries: Value| json!({"metadata": {"managedFields": entries}});
        let write = json!({"manager": "a", "time": "t", "fieldsV1": {"f:spec": {}}});
        let by = |subresource: &str, fields: Value| {
            object(json!([write, {"manager": "c", "subresource": subresource, "fieldsV1": fields}]))
        };
        let before = managed_fields_hash(&object(json!([write])));
        assert_eq!(
            managed_fields_hash(&by("status", json!({"f:status": {}}))),
            before
        );
        for other in [
            by(
                "status",
                json!({"f:status": {}, "f:metadata": {"f:annotations": {}}}),
            ),
            by("status", json!({})),
            by("scale", json!({"f:status": {}})),
            by("", json!({"f:status": {}})),
        ] {
            assert_ne!(managed_fields_hash(&other), before, "{other}");
        }
        let status = json!([{"subresource": "status", "fieldsV1": {"f:status": {}}}]);
        assert_eq!(managed_fields_hash(&object(status)), None);
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
        let path = ReplicasPath::default();
        let (one, five) = (deployment(&json!(1)), deployment(&json!(5)));
        assert_eq!(path.replicas(&one), Some(1));
        assert_eq!(path.replicas(&five), Some(5));
        assert!(path.hash_without(&one).is_some());
        assert_eq!(path.hash_without(&one), path.hash_without(&five));
        let mut other = five;
        other["spec"]["paused"] = json!(false);
        assert_ne!(path.hash_without(&one), path.hash_without(&other));
    }

    #[test]
    fn replicas_are_where_the_definition_says() {
        let object = |workers: &Value, replicas: u32| {
            json!({
                "apiVersion": "example.com/v1", "kind": "Pool", "metadata": {"name": "p"},
                "spec": {"nodes": {"workers": workers, "zone": "a"}, "replicas": replicas},
            })
        };
        let path = ReplicasPath::parse(".spec.nodes.workers").expect("a path");
        let (one, five) = (object(&json!(1), 7), object(&json!(5), 7));
        assert_eq!(path.replicas(&five), Some(5));
        assert_eq!(path.hash_without(&one), path.hash_without(&five));
        let other = object(&json!(5), 8);
        assert_ne!(path.hash_without(&one), path.hash_without(&other));
    }

    #[test]
    fn a_first_scale_is_one_too() {
        let path = ReplicasPath::default();
        let scaled = deployment(&json!(1));
        let mut unset = scaled.clone();
        unset["spec"]
            .as_object_mut()
            .expect("a map")
            .remove("replicas");
        assert_eq!(path.replicas(&unset), None);
        assert!(path.hash_without(&unset).is_some());
        assert_eq!(path.hash_without(&unset), path.hash_without(&scaled));
    }

    #[test]
    fn what_has_other_replicas_can_not_be_scaled() {
        let path = ReplicasPath::default();
        for replicas in [json!(null), json!("3"), json!(1.5)] {
            assert_eq!(path.hash_without(&deployment(&replicas)), None);
        }
        let no_kind = json!({"spec": {"replicas": 1}});
        assert_eq!(path.hash_without(&no_kind), None);
    }

    #[test]
    fn paths_are_those_of_a_definition() {
        assert_eq!(
            ReplicasPath::parse(".spec.replicas"),
            Some(ReplicasPath::default())
        );
        for text in ["", ".", "spec.replicas", ".spec.", ".spec..replicas"] {
            assert_eq!(ReplicasPath::parse(text), None, "{text}");
        }
    }
}
