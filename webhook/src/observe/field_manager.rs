//! Which program a write came through.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// The field manager of a write, empty where nothing names it for certain.
///
/// Named outright in the options, or else (the apiserver then makes the name from the user
/// agent) by managedFields: a manager that took a field gets the time of the write, so it is the
/// newest of those whose time moved. Managers that merely lost a field keep theirs. Two that
/// moved to the same second (the resolution of that time) can't be told apart.
pub(super) fn of(options: Option<&RawValue>, object: &Value, old: Option<&Value>) -> String {
    let named = of_options(options);
    if named.is_empty() {
        newest(object, old).unwrap_or_default().to_owned()
    } else {
        named
    }
}

/// `fieldManager` of CreateOptions, UpdateOptions and PatchOptions; DeleteOptions have none.
pub(super) fn of_options(options: Option<&RawValue>) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Options {
        #[serde(default)]
        field_manager: String,
    }
    options
        .and_then(|raw| serde_json::from_str::<Options>(raw.get()).ok())
        .map(|options| options.field_manager)
        .unwrap_or_default()
}

fn newest<'a>(object: &'a Value, old: Option<&Value>) -> Option<&'a str> {
    let before = old.map(times).unwrap_or_default();
    let moved = entries(object).iter().filter(|entry| {
        entry["subresource"].is_null()
            && before
                .get(&identifier(entry))
                .is_none_or(|before| *before < time(entry))
    });
    let mut newest: Option<&Value> = None;
    let mut tied = false;
    for entry in moved {
        match newest {
            Some(known) if time(known) > time(entry) => {}
            Some(known) if time(known) == time(entry) => {
                tied |= known["manager"] != entry["manager"];
            }
            _ => {
                newest = Some(entry);
                tied = false;
            }
        }
    }
    newest
        .filter(|_| !tied)
        .and_then(|entry| entry["manager"].as_str())
}

fn entries(object: &Value) -> &[Value] {
    object["metadata"]["managedFields"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

/// When each manager wrote last. Looked up, as whoever may write an object may make up 20,000 managers in it: to compare each with
/// each takes seconds, for which others' reviews would wait.
fn times(object: &Value) -> HashMap<Identifier<'_>, &str> {
    let entries = entries(object);
    let mut times = HashMap::with_capacity(entries.len());
    for entry in entries {
        let newest = times.entry(identifier(entry)).or_default();
        *newest = time(entry).max(*newest);
    }
    times
}

/// What tells one entry from another (apimachinery's managedfields: BuildManagerIdentifier).
type Identifier<'a> = [Option<&'a str>; 4];

fn identifier(entry: &Value) -> Identifier<'_> {
    ["manager", "operation", "apiVersion", "subresource"].map(|field| entry[field].as_str())
}

/// RFC 3339 in UTC to the second: it sorts as text.
fn time(entry: &Value) -> &str {
    entry["time"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(manager: &str, time: &str, fields: &str) -> Value {
        json!({"manager": manager, "operation": "Update", "apiVersion": "v1", "time": time,
               "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {fields: {}}}})
    }

    fn object(entries: &[Value]) -> Value {
        json!({"metadata": {"managedFields": entries}})
    }

    const T1: &str = "2026-01-01T00:00:01Z";
    const T2: &str = "2026-01-01T00:00:02Z";

    #[test]
    fn the_options_name_it_outright() {
        let raw = RawValue::from_string(r#"{"fieldManager":"helm"}"#.into()).unwrap();
        let object = object(&[entry("kubectl", T1, "f:a")]);
        assert_eq!(of(Some(&raw), &object, None), "helm");
    }

    #[test]
    fn a_created_object_has_its_creator_as_manager() {
        assert_eq!(of(None, &object(&[entry("curl", T1, "f:a")]), None), "curl");
        assert_eq!(of(None, &object(&[]), None), "");
        assert_eq!(of(None, &json!({}), None), "");
    }

    #[test]
    fn the_manager_whose_time_moved_made_the_update() {
        let old = object(&[entry("a", T1, "f:a"), entry("b", T1, "f:b")]);
        let new = object(&[entry("a", T1, "f:a"), entry("b", T2, "f:b")]);
        assert_eq!(of(None, &new, Some(&old)), "b");
    }

    #[test]
    fn a_manager_that_lost_a_field_did_not_write() {
        let old = object(&[entry("a", T1, "f:a"), entry("b", T1, "f:b")]);
        let taken = object(&[entry("a", T1, ""), entry("b", T2, "f:b")]);
        assert_eq!(of(None, &taken, Some(&old)), "b");
        let removed = object(&[entry("a", T1, ""), entry("b", T1, "f:b")]);
        assert_eq!(of(None, &removed, Some(&old)), "");
    }

    #[test]
    fn two_managers_in_one_second_are_not_told_apart() {
        let new = object(&[entry("a", T2, "f:a"), entry("b", T2, "f:b")]);
        assert_eq!(of(None, &new, Some(&object(&[]))), "");
    }

    /// To compare each with each would be 10^10 steps.
    #[test]
    fn as_many_managers_as_anybody_can_make_up_take_no_time() {
        let managers = |time| -> Vec<Value> {
            (0..100_000)
                .map(|n| json!({"manager": n.to_string(), "time": time}))
                .collect()
        };
        let old = object(&managers(T1));
        let mut new = managers(T1);
        assert_eq!(of(None, &object(&new), Some(&old)), "");
        new[50_000]["time"] = json!(T2);
        assert_eq!(of(None, &object(&new), Some(&old)), "50000");
    }

    #[test]
    fn of_one_manager_that_is_there_twice_the_newest_counts() {
        let old = object(&[entry("a", T2, "f:a"), entry("a", T1, "f:b")]);
        let same = object(&[entry("a", T2, "f:a")]);
        assert_eq!(of(None, &same, Some(&old)), "");
        let old = object(&[entry("a", T1, "f:a"), entry("a", T2, "f:b")]);
        assert_eq!(of(None, &same, Some(&old)), "");
    }

    #[test]
    fn the_writer_of_a_subresource_is_not_the_writer_of_the_object() {
        let mut status = entry("controller", T2, "f:status");
        status["subresource"] = json!("status");
        let new = object(&[entry("a", T1, "f:a"), status]);
        assert_eq!(of(None, &new, None), "a");
    }
}
