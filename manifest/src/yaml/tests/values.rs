//! Arbitrary values, as a JSON parser gives them. Also read by the integration tests.

use proptest::prelude::*;
use serde_json::{Map, Number, Value};

use super::traps::TRAPS;

/// Strings near every rule of the scalar writer.
fn nasty() -> impl Strategy<Value = String> {
    let trap = prop::sample::select(TRAPS.to_vec());
    prop_oneof![
        3 => trap.clone().prop_map(str::to_owned),
        3 => prop::collection::vec(trap, 1..5).prop_map(|parts| parts.concat()),
        2 => "[-+.0-9_:eExXobTZ ]{1,8}",
        2 => "[ \\t\\n\\r#:a'\"|>\\\\-]{0,12}",
        1 => "\\PC{0,20}",
        1 => any::<String>(),
        1 => "[a1\"é ]{990,1040}",
    ]
}

fn number() -> impl Strategy<Value = Value> {
    let float = any::<f64>().prop_filter_map("JSON has finite floats only", Number::from_f64);
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        float.prop_map(Value::Number),
    ]
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => number(),
        4 => nasty().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            object(inner).prop_map(Value::Object),
        ]
    })
}

pub(crate) fn object(
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(nasty(), value, 0..6).prop_map(|map| map.into_iter().collect())
}
