//! Who set a field, read from `metadata.managedFields`.
//!
//! Format: "FieldsV1" in the API reference and structured-merge-diff's `fieldpath/serialize-pe.go`: `f:`
//! names a field, `k:` an item of a keyed list by its keys, `v:` one of a set by its value, `i:` by
//! its place; an empty set at a place owns all below it.

use serde_json::{Map, Value};

/// Managers that act for the cluster and not for a person.
///
/// A manager is the first part of a client's User-Agent unless the client names another. Whoever
/// is not listed counts as a person: to keep a value is the smaller error.
const MACHINES: &[&str] = &[
    // Kubernetes itself; k3s and kubelite (MicroK8s) hold all of it in one process.
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "cloud-controller-manager",
    "k3s",
    "kubelite",
    // Field managers that its controllers name in their applies.
    "clusterrole-aggregation-controller",
    "service-cidr-controller-manager",
    // CSI sidecars write volumes for claims.
    "csi-attacher",
    "csi-provisioner",
    "csi-resizer",
    // cert-manager writes its CA into webhook configurations and CRDs.
    "cainjector",
    "cert-manager-cainjector",
    // OpenShift.
    "cluster-policy-controller",
    "openshift-controller-manager",
    "service-ca-operator",
];

/// One step from an object to a field of it.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Field(&'a str),
    Item(usize, &'a Value),
}

/// The field sets of an object's managers that are no machines.
pub(super) struct Owners<'a> {
    tracked: bool,
    people: Vec<&'a Map<String, Value>>,
}

impl<'a> Owners<'a> {
    pub(super) fn of(object: &'a Value) -> Self {
        let entries = entries(object);
        let people = entries
            .iter()
            .filter(|entry| !is_machine(entry))
            .filter_map(|entry| entry.get("fieldsV1")?.as_object())
            .collect();
        Self {
            tracked: !entries.is_empty(),
            people,
        }
    }

    /// Whether a person may have set what is at `place`. So it is where nobody kept track.
    pub(super) fn may_be_meant(&self, place: &[Place<'_>]) -> bool {
        !self.tracked || self.people.iter().any(|fields| owns(fields, place))
    }
}

/// Whether all managers of an object are machines; also where there are none.
pub(crate) fn only_machines(object: &Value) -> bool {
    entries(object).iter().all(is_machine)
}

fn entries(object: &Value) -> &[Value] {
    object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn is_machine(entry: &Value) -> bool {
    let manager = entry.get("manager").and_then(Value::as_str);
    manager.is_some_and(|manager| MACHINES.contains(&manager))
}

fn owns(fields: &Map<String, Value>, place: &[Place<'_>]) -> bool {
    let Some((first, rest)) = place.split_first() else {
        return true;
    };
    fields.iter().any(|(element, below)| {
        matches(element, *first)
            && match below.as_object() {
                Some(below) if !below.is_empty() => owns(below, rest),
                _ => true,
            }
    })
}

fn matches(element: &str, place: Place<'_>) -> bool {
    match (element.split_once(':'), place) {
        (Some(("f", name)), Place::Field(field)) => name == field,
        (Some(("k", keys)), Place::Item(_, item)) => has_keys(item, keys),
        (Some(("v", value)), Place::Item(_, item)) => {
            serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item)
        }
        (Some(("i", number)), Place::Item(index, _)) => number.parse() == Ok(index),
        _ => false,
    }
}

fn has_keys(item: &Value, keys: &str) -> bool {
    let Ok(Value::Object(keys)) = serde_json::from_str(keys) else {
        return false;
    };
    keys.iter().all(|(key, value)| match item.get(key) {
        Some(present) => present == value,
        // The only key of a built-in list that has a default.
        None => key == "protocol" && value == "TCP",
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(manager: &str, fields: Value) -> Value {
        json!({"metadata": {"managedFields": [{"manager": manager, "fieldsV1": fields}]}})
    }

    #[test]
    fn untracked_values_may_be_meant() {
        let place = [Place::Field("spec")];
        assert!(Owners::of(&json!({})).may_be_meant(&place));
        assert!(Owners::of(&json!({"metadata": {"managedFields": []}})).may_be_meant(&place));
    }

    #[test]
    fn machines_mean_nothing() {
        let fields = json!({"f:spec": {"f:volumeName": {}}});
        let place = [Place::Field("spec"), Place::Field("volumeName")];
        let machine = object("kube-controller-manager", fields.clone());
        assert!(!Owners::of(&machine).may_be_meant(&place));
        let person = object("kubectl-edit", fields);
        assert!(Owners::of(&person).may_be_meant(&place));
    }

    #[test]
    fn an_atomic_field_owns_what_is_below_it() {
        let person = object(
            "kubectl",
            json!({"f:spec": {"f:rules": {}, "f:a": {".": {}}}}),
        );
        let owners = Owners::of(&person);
        let below = |name| [Place::Field("spec"), Place::Field(name), Place::Field("x")];
        assert!(owners.may_be_meant(&below("rules")));
        assert!(!owners.may_be_meant(&below("a")), "owns the map, not x");
    }

    #[test]
    fn items_are_found_by_keys_values_and_places() {
        let person = object(
            "kubectl",
            json!({"f:l": {
                "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:nodePort": {}},
                "v:\"x\"": {},
                "i:7": {},
            }}),
        );
        let owners = Owners::of(&person);
        let owned = |index, item: Value| {
            owners.may_be_meant(&[Place::Field("l"), Place::Item(index, &item)])
        };
        assert!(owned(0, json!({"port": 80, "protocol": "TCP"})));
        assert!(owned(0, json!({"port": 80})));
        assert!(!owned(0, json!({"port": 80, "protocol": "UDP"})));
        assert!(owned(0, json!("x")));
        assert!(!owned(0, json!("y")));
        assert!(owned(7, json!("y")));
    }
}
