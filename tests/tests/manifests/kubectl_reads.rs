//! The text that is written, read by kubectl.

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Number, Value, json};
use tests::ControlPlane;

use crate::kubectl::Kubectl;
use crate::traps::TRAPS;
use crate::values::{object, value};

const GENERATED: usize = 400;

/// A number as Kubernetes holds it: an int64 or a float64, whatever it looked like. Neither JSON nor the API tells 1.0 from 1,
/// and no API server keeps the sign of zero.
fn as_held(value: &mut Value) {
    match value {
        Value::Number(number) if !number.is_i64() => {
            let float = number.as_f64().unwrap();
            let is_integer = float.fract() == 0.0 && float.abs() < 1e15;
            #[allow(clippy::cast_possible_truncation, reason = "it has no fraction")]
            let integer = is_integer.then_some(float as i64);
            *number = integer
                .map(Number::from)
                .or_else(|| Number::from_f64(float))
                .unwrap();
        }
        Value::Array(items) => items.iter_mut().for_each(as_held),
        Value::Object(map) => map.values_mut().for_each(as_held),
        _ => {}
    }
}

/// As value and key, in every place that the writer tells apart.
fn trapped(trap: &str) -> Value {
    json!({
        "a": trap,
        "l": [trap, [trap, [trap], {trap: trap}], {"m": trap, trap: [trap]}, {trap: {trap: trap}}],
        "m": {"n": {"o": trap}, trap: trap},
        trap: {"x": trap, "y": 1},
        "z": [[trap], {}, [], null],
    })
}

fn long() -> [String; 4] {
    [
        "k".repeat(1023),
        "k".repeat(1025),
        "\"".repeat(600),
        "é\n".repeat(700),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_reads_every_value_as_it_is() {
    let mut runner = TestRunner::deterministic();
    let strategy = object(value());
    let generated =
        (0..GENERATED).map(|_| Value::Object(strategy.new_tree(&mut runner).unwrap().current()));
    let traps = TRAPS.iter().map(|trap| (*trap).to_owned()).chain(long());
    let traps: Vec<Value> = traps.map(|trap| trapped(&trap)).collect();
    let trap_count = traps.len();
    // kubectl looks up the kind, and then takes what it is given.
    let objects: Vec<Value> = traps
        .into_iter()
        .chain(generated)
        .enumerate()
        .map(|(number, value)| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("value-{number}"), "namespace": "default"}, "value": value})
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("values.yaml");
    let texts = objects
        .iter()
        .map(|it| manifest::canonicalize(it).unwrap().text);
    std::fs::write(&file, texts.collect::<Vec<_>>().join(&b"---\n"[..])).unwrap();

    let kubectl = Kubectl::of(ControlPlane::shared().await).await;
    let args = [
        "create",
        "--dry-run=client",
        "--validate=false",
        "-o",
        "json",
    ];
    let said = kubectl.run(&args, Some(&file)).await;
    assert!(said.success, "{}", said.stderr);
    let mut read: Vec<Value> = serde_json::Deserializer::from_str(&said.stdout)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    if let [list] = &read[..]
        && list["kind"] == "List"
    {
        read = list["items"].as_array().unwrap().clone();
    }
    assert_eq!(read.len(), objects.len());
    for (wanted, read) in objects.iter().zip(&read) {
        assert_eq!(read["metadata"]["name"], wanted["metadata"]["name"]);
        let (mut wanted, mut read) = (wanted.clone(), read["value"].clone());
        as_held(&mut wanted);
        as_held(&mut read);
        let text = manifest::canonicalize(&wanted).unwrap().text;
        assert_eq!(read, wanted["value"], "{}", String::from_utf8_lossy(&text));
    }
    eprintln!(
        "kubectl read {} documents as they were: {trap_count} of traps, {GENERATED} generated",
        read.len()
    );
}
