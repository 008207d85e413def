//! Who set a field, read from `metadata.managedFields`.
//!
//! Format: "FieldsV1" in the API reference and structured-merge-diff's `fieldpath/serialize-pe.go`: `f:`
//! names a field, `k:` an item of a keyed list by its keys, `v:` one of a set by its value, `i:` by
//! its place; an empty set at a place owns all below it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::work;

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
    "k3s",
    "kubelite",
    // Field managers that its controllers name in their writes.
    "ResourceClaimController",
    "api-priority-and-fairness-config-consumer-v1",
    "api-priority-and-fairness-config-producer-v1",
    "clusterrole-aggregation-controller",
    "service-cidr-controller",
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

/// What people own at one place of an object. Made for the top, then followed down.
#[derive(Clone, Default)]
pub(super) struct Owners<'a> {
    /// Here and all below: nobody kept track, or a whole field was set from above.
    all: bool,
    sets: Vec<&'a Map<String, Value>>,
}

impl<'a> Owners<'a> {
    /// At the top of an object.
    pub(super) fn of(object: &'a Value) -> Self {
        let entries = entries(object);
        let sets = entries
            .iter()
            .filter(|entry| !is_machine(entry))
            .filter_map(|entry| entry.get("fieldsV1")?.as_object())
            .collect();
        Self {
            all: entries.is_empty(),
            sets,
        }
    }

    /// Whether a person may have set what is here. So it is where nobody kept track.
    pub(super) fn may_be_meant(&self) -> bool {
        self.all || !self.sets.is_empty()
    }

    pub(super) fn field(&self, name: &str) -> Self {
        if self.sets.is_empty() {
            return self.clone();
        }
        let element = format!("f:{name}");
        let sets = self.sets.iter().filter_map(|set| set.get(&element));
        // No metadata is atomic (apimachinery, meta/v1 ObjectMeta): who applies it as `{}`, as it is written where a rule
        // emptied its labels, owns none of what a controller puts into it.
        let owns =
            |set: &&Value| name != "metadata" || set.as_object().is_some_and(|it| !it.is_empty());
        Self::below(self.all, sets.filter(owns))
    }

    /// For looking at all fields of a map.
    pub(super) fn fields(&self) -> Fields<'a> {
        let mut elements: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for (element, below) in self.sets.iter().copied().flatten() {
            work::done(1);
            if let Some(name) = element.strip_prefix("f:") {
                elements.entry(name).or_default().push(below);
            }
        }
        Fields {
            all: self.all,
            elements,
        }
    }

    pub(super) fn items(&self) -> Items<'a> {
        Items::of(self)
    }

    fn below(all: bool, sets: impl Iterator<Item = &'a Value>) -> Self {
        let mut owners = Self {
            all,
            sets: Vec::new(),
        };
        for set in sets {
            work::done(1);
            match set.as_object() {
                Some(set) if !set.is_empty() => owners.sets.push(set),
                _ => owners.all = true,
            }
        }
        owners
    }
}

/// What people own of a map's fields, indexed once: there may be thousands of fields, and of managers.
pub(super) struct Fields<'a> {
    all: bool,
    elements: BTreeMap<&'a str, Vec<&'a Value>>,
}

impl<'a> Fields<'a> {
    /// At one field of the map.
    pub(super) fn field(&self, name: &str) -> Owners<'a> {
        let found = self.elements.get(name);
        Owners::below(self.all, found.into_iter().flatten().copied())
    }
}

/// What people own of a list's items, indexed once so that each item is one look-up.
pub(super) struct Items<'a> {
    all: bool,
    by_value: bool,
    /// The names of the keys in `k:`, alike for all items of a list unless somebody plays tricks.
    key_names: Vec<Vec<String>>,
    elements: BTreeMap<String, Vec<&'a Value>>,
}

/// Most kinds of keys that are looked up for each item; a list that seems to have more is kept as it is.
const MAX_KEY_KINDS: usize = 4;

impl<'a> Items<'a> {
    fn of(owners: &Owners<'a>) -> Self {
        let mut items = Self {
            all: owners.all,
            by_value: false,
            key_names: Vec::new(),
            elements: BTreeMap::new(),
        };
        for (element, below) in owners.sets.iter().copied().flatten() {
            work::done(element.len());
            let Some((sort, text)) = element.split_once(':') else {
                continue;
            };
            // Read and written again: escapes of another JSON writer may differ.
            let Ok(json) = serde_json::from_str::<Value>(text) else {
                continue;
            };
            match (sort, &json) {
                ("k", Value::Object(keys)) => {
                    let names: Vec<_> = keys.keys().cloned().collect();
                    if !items.key_names.contains(&names) {
                        items.key_names.push(names);
                    }
                }
                ("v", _) => items.by_value = true,
                ("i", _) => {}
                _ => continue,
            }
            if items.key_names.len() > MAX_KEY_KINDS {
                items.all = true;
                break;
            }
            let element = format!("{sort}:{json}");
            items.elements.entry(element).or_default().push(below);
        }
        items
    }

    /// At one item of the list.
    pub(super) fn item(&self, index: usize, item: &Value) -> Owners<'a> {
        let mut names = Vec::new();
        if !self.elements.is_empty() {
            names.push(format!("i:{index}"));
            let keys = self.key_names.iter();
            names.extend(keys.filter_map(|keys| Some(format!("k:{}", keys_of(item, keys)?))));
            if self.by_value {
                names.push(format!("v:{item}"));
            }
        }
        work::done(names.iter().map(String::len).sum());
        let found = names.iter().filter_map(|name| self.elements.get(name));
        Owners::below(self.all, found.flatten().copied())
    }
}

fn keys_of(item: &Value, names: &[String]) -> Option<Value> {
    let mut keys = Map::new();
    for name in names {
        let value = match item.get(name) {
            Some(value) => value.clone(),
            // The only key of a built-in list that has a default.
            None if name == "protocol" => "TCP".into(),
            None => return None,
        };
        keys.insert(name.clone(), value);
    }
    Some(Value::Object(keys))
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

/// Who writes status only means nothing by it, whoever that is.
fn is_machine(entry: &Value) -> bool {
    let text = |key| entry.get(key).and_then(Value::as_str);
    text("subresource") == Some("status")
        || text("manager").is_some_and(|it| {
            // Each cloud's has a name of its own: aws-cloud-controller-manager, and so on.
            MACHINES.contains(&it) || it.ends_with("cloud-controller-manager")
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(manager: &str, fields: &Value) -> Value {
        json!({"metadata": {"managedFields": [{"manager": manager, "fieldsV1": fields}]}})
    }

    #[test]
    fn untracked_values_may_be_meant() {
        for object in [json!({}), json!({"metadata": {"managedFields": []}})] {
            let below = Owners::of(&object)
                .field("spec")
                .items()
                .item(0, &json!({}));
            assert!(below.field("x").may_be_meant());
        }
    }

    #[test]
    fn machines_mean_nothing() {
        let fields = json!({"f:spec": {"f:volumeName": {}}});
        let meant = |manager| {
            let object = object(manager, &fields);
            Owners::of(&object)
                .field("spec")
                .field("volumeName")
                .may_be_meant()
        };
        assert!(!meant("kube-controller-manager"));
        assert!(meant("kubectl-edit"));
    }

    #[test]
    fn an_atomic_field_owns_what_is_below_it() {
        let person = object(
            "kubectl",
            &json!({"f:spec": {"f:rules": {}, "f:a": {".": {}}}}),
        );
        let spec = Owners::of(&person).field("spec");
        assert!(spec.field("rules").field("x").may_be_meant());
        assert!(spec.field("a").may_be_meant());
        assert!(
            !spec.field("a").field("x").may_be_meant(),
            "owns the map, not x"
        );
        assert!(!spec.field("b").may_be_meant());
    }

    /// A Job whose template has no labels but those of the job controller is written with `metadata: {}`, and applied so.
    #[test]
    fn empty_metadata_own_nothing() {
        let person = object(
            "kubectl",
            &json!({"f:spec": {"f:template": {"f:metadata": {}, "f:spec": {}}}}),
        );
        let template = Owners::of(&person).field("spec").field("template");
        assert!(!template.field("metadata").field("labels").may_be_meant());
        assert!(template.field("spec").field("x").may_be_meant());
    }

    #[test]
    fn items_are_found_by_keys_values_and_places() {
        let person = object(
            "kubectl",
            &json!({"f:l": {
                "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:nodePort": {}},
                "k:{\"name\":\"a\\u003cb\"}": {},
                "v:\"x\"": {},
                "i:7": {},
                "odd": {},
                "k:odd": {},
            }}),
        );
        let items = Owners::of(&person).field("l").items();
        let owned = |index, item: Value| items.item(index, &item).may_be_meant();
        assert!(owned(0, json!({"port": 80, "protocol": "TCP"})));
        assert!(owned(0, json!({"port": 80})));
        assert!(!owned(0, json!({"port": 80, "protocol": "UDP"})));
        assert!(owned(0, json!({"name": "a<b"})));
        assert!(owned(0, json!("x")));
        assert!(!owned(0, json!("y")));
        assert!(owned(7, json!("y")));
        let port = items.item(0, &json!({"port": 80}));
        assert!(port.field("nodePort").may_be_meant());
        assert!(!port.field("name").may_be_meant());
    }

    #[test]
    fn a_list_with_odd_keys_is_kept() {
        let sets = ["a", "b", "c", "d", "e"].map(|key| (format!("k:{{\"{key}\":1}}"), json!({})));
        let person = object(
            "kubectl",
            &json!({"f:l": Value::Object(sets.into_iter().collect())}),
        );
        let items = Owners::of(&person).field("l").items();
        assert!(items.item(0, &json!("z")).may_be_meant());
    }
}
