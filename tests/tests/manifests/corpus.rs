//! What people put into a cluster: every built-in kind, odd custom ones, and every text that is hard to write down.

use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::traps::TRAPS;

/// Types and namespaces, which must be there first.
const TYPES: &str = include_str!("corpus/types.yaml");
/// In an order in which nothing comes too early.
const OBJECTS: [&str; 6] = [
    include_str!("corpus/workloads.yaml"),
    include_str!("corpus/storage.yaml"),
    include_str!("corpus/network.yaml"),
    include_str!("corpus/access.yaml"),
    include_str!("corpus/control.yaml"),
    include_str!("corpus/config.yaml"),
];

/// Texts that server-side apply takes from nobody: kubectl sends JSON, which the apiserver reads as YAML, and YAML has no such
/// characters.
pub(crate) const NOT_BY_SERVER_SIDE_APPLY: [(&str, &str); 2] =
    [("ConfigMap", "traps-plain"), ("Box", "traps-plain")];

/// What plain `kubectl apply` can't do: keep a copy of more than 256 KiB in an annotation; and say a second time that a field of a
/// custom resource is null, which in the merge patch that it sends means that the field is to go (RFC 7386).
pub(crate) const NOT_BY_PLAIN_APPLY: [(&str, &str); 3] = [
    ("ConfigMap", "large"),
    ("Box", "nulls"),
    ("Gadget", "nullable"),
];

pub(crate) fn types() -> Vec<Value> {
    documents(TYPES)
}

pub(crate) fn objects() -> Vec<Value> {
    let written = OBJECTS.iter().flat_map(|text| documents(text));
    written.chain(generated()).collect()
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn generated() -> Vec<Value> {
    let (hard, plain): (Vec<&str>, Vec<&str>) = TRAPS.iter().partition(|text| needs_plain(text));
    let map = |name: &str, data: Map<String, Value>| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": data});
    let numbered = |traps: &[&str]| -> Map<String, Value> {
        let one = |(number, trap): (usize, &&str)| (format!("trap-{number:03}"), json!(trap));
        traps.iter().enumerate().map(one).collect()
    };
    let tree = |traps: &[&str]| -> Value {
        let keyed: Map<String, Value> = traps
            .iter()
            .map(|trap| ((*trap).to_owned(), json!({*trap: [trap, [trap]]})))
            .collect();
        json!({"keyed": keyed, "list": traps})
    };
    let boxed = |name: &str, spec: Value| json!({"apiVersion": "round.test/v1", "kind": "Box", "metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    let words = [
        "yes", "no", "on", "off", "y", "n", "true", "false", "null", ".a", "1e3", "0x1F", "12",
        "1.0", "_", "-",
    ];
    let word_keys = words.iter().map(|word| ((*word).to_owned(), json!(word)));
    let many = (0..4000).map(|n| {
        (
            format!("key-{n:05}.properties"),
            json!(format!("on: {n}\nüber = \"{n}\"\n")),
        )
    });
    let line = "0123456789 abcdefghij: #'\"\\ é ".repeat(3000);
    let large = format!(
        "{}\n",
        "a line of text: with a # in it\n  and another\n".repeat(20_000)
    );
    vec![
        map("traps", numbered(&plain)),
        map("traps-plain", numbered(&hard)),
        map("words", word_keys.collect()),
        map("many-keys", many.collect()),
        map(
            "long-line",
            Map::from_iter([("line".to_owned(), json!(line))]),
        ),
        map("large", Map::from_iter([("text".to_owned(), json!(large))])),
        boxed("traps", tree(&plain)),
        boxed("traps-plain", tree(&hard)),
        boxed(
            "deep",
            (0..60).fold(json!("bottom"), |inner, _| json!({"a": [inner]})),
        ),
    ]
}

fn needs_plain(text: &str) -> bool {
    let not_in_yaml = |c| {
        matches!(
            c,
            '\u{7F}'..='\u{9F}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}'
        )
    };
    text.contains(not_in_yaml)
}
