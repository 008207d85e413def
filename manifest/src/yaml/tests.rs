mod pyyaml;
mod traps;
mod values;

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use traps::TRAPS;
use values::{object, value};

fn text_of(value: &Value) -> String {
    let mut out = Vec::new();
    emit(value.as_object().expect("a map"), None, &mut out).expect("not too deep");
    String::from_utf8(out).expect("YAML of ours is UTF-8")
}

/// The text of one value, under the key `v`.
fn line(value: impl Into<Value>) -> String {
    let text = text_of(&json!({"v": value.into()}));
    let value = text.strip_prefix("v: ").expect("a leaf");
    value.strip_suffix('\n').expect("a newline").to_owned()
}

fn traps() -> impl Iterator<Item = String> {
    let long = [
        "k".repeat(1023),
        "k".repeat(1025),
        "\"".repeat(600),
        "é\n".repeat(700),
        "1".repeat(2000),
    ];
    TRAPS.iter().map(|trap| (*trap).to_owned()).chain(long)
}

#[test]
fn every_trap_reads_back_as_value_and_key_in_any_place() {
    for trap in traps() {
        let value = trapped(&trap);
        let text = text_of(&value);
        assert_eq!(
            parse(text.as_bytes()).as_ref(),
            Ok(&value),
            "{trap:?}\n{text}"
        );
        let again: Value = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{trap:?}: {error}\n{text}"));
        assert_eq!(again, value, "YAML 1.2: {trap:?}\n{text}");
    }
}

fn trapped(trap: &str) -> Value {
    json!({
        "a": trap,
        "l": [trap, [trap, [trap], {trap: trap}], {"m": trap, trap: [trap]}, {trap: {trap: trap}}],
        "m": {"n": {"o": trap}, trap: trap},
        trap: {"x": trap, "y": 1},
        "z": [[trap], {}, [], null],
    })
}

#[test]
fn looks_like_kubectl_wrote_it() {
    let object = json!({
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "spec": {
            "template": {"spec": {"containers": [
                {"name": "web", "image": "nginx:1.25", "args": ["--port", "80"], "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}}},
                {"name": "side", "env": [], "securityContext": {}},
            ]}},
            "replicas": 3,
        },
        "metadata": {"labels": {"app": "web", "on": "yes"}, "namespace": "lab", "name": "web"},
        "data": {"script": "#!/bin/sh\n\techo \"$1\"\n\nexit 0\n", "tail": "a\nb", "json": "{\"a\": 1}"},
    });
    let expected = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: lab
  labels:
    app: web
    "on": "yes"
data:
  json: '{"a": 1}'
  script: |
    #!/bin/sh
    	echo "$1"

    exit 0
  tail: |-
    a
    b
spec:
  replicas: 3
  template:
    spec:
      containers:
      - args:
        - "--port"
        - "80"
        image: nginx:1.25
        name: web
        resources:
          limits:
            cpu: 100m
            memory: 64Mi
      - env: []
        name: side
        securityContext: {}
"#;
    assert_eq!(text_of(&object), expected);
}

#[test]
fn numbers_are_numbers_to_every_parser() {
    for (number, text) in [
        (json!(0), "0"),
        (json!(-1), "-1"),
        (json!(i64::MIN), "-9223372036854775808"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!(1.0), "1.0"),
        (json!(-0.0), "-0.0"),
        (json!(0.1), "0.1"),
        (json!(1e100), "1.0e+100"),
        (json!(1.5e-7), "1.5e-7"),
        (json!(f64::MIN_POSITIVE), "2.2250738585072014e-308"),
    ] {
        assert_eq!(line(number), text);
    }
}

#[test]
fn blocks_end_as_the_text_ends() {
    assert_eq!(line("a\nb"), "|-\n  a\n  b");
    assert_eq!(line("a\nb\n"), "|\n  a\n  b");
    assert_eq!(line("a\n\n"), "|+\n  a\n");
    assert_eq!(line(" a\nb"), "|2-\n   a\n  b");
    assert_eq!(line("a \nb"), "|-\n  a \n  b");
    assert_eq!(line("a\n "), r#""a\n ""#);
    assert_eq!(line("a\r\nb"), r#""a\r\nb""#);
    assert_eq!(line("a\u{202e}b"), r#""a\u202Eb""#);
}

#[test]
fn long_keys_are_written_as_explicit_keys() {
    let key = "k".repeat(2000);
    let text = text_of(&json!({"m": [{&key: {"x": 1}}, {&key: [1]}, {&key: "a\nb"}]}));
    let mut expected = "m:\n".to_owned();
    for value in ["\n    x: 1\n", "\n    - 1\n", " |-\n    a\n    b\n"] {
        write!(expected, "- ? {key}\n  :{value}").expect("a String");
    }
    assert_eq!(text, expected);
}

#[test]
fn depth_ends_where_readers_end() {
    let in_map = |value| Value::Object(Map::from_iter([("a".to_owned(), value)]));
    let nested = |depth| (1..depth).fold(json!({}), |inner, _| in_map(inner));
    let in_lists = |depth| in_map((2..depth).fold(json!([]), |inner, _| Value::Array(vec![inner])));
    for value in [nested(MAX_DEPTH), in_lists(MAX_DEPTH)] {
        assert_eq!(parse(text_of(&value).as_bytes()).as_ref(), Ok(&value));
        let json = value.to_string();
        assert_eq!(serde_json::from_str::<Value>(&json).ok(), Some(value));
    }
    for value in [
        nested(MAX_DEPTH + 1),
        in_lists(MAX_DEPTH + 1),
        nested(1000),
        in_lists(1000),
    ] {
        let result = emit(value.as_object().expect("a map"), None, &mut Vec::new());
        assert_eq!(result, Err(TooDeep));
    }
}

#[test]
fn everything_that_serde_json_reads_is_written() {
    let deepest = format!("{}{}", "{\"a\":".repeat(126) + "{}", "}".repeat(126));
    let value: Value = serde_json::from_str(&deepest).expect("serde_json's limit");
    assert_eq!(parse(text_of(&value).as_bytes()), Ok(value));
    let deeper = format!("{{\"a\":{deepest}}}");
    assert!(serde_json::from_str::<Value>(&deeper).is_err());
}

#[test]
fn parse_errors_hold_no_content() {
    for text in [
        "a: [hunter2",
        "hunter2: b: c",
        "a: !x hunter2",
        "hunter2: 1\n---\nb: 2",
        "? [hunter2]\n: 1",
    ] {
        let error = parse(text.as_bytes()).expect_err(text);
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// As the API server writes it, into Git, and read back: the same number to the last bit.
    #[test]
    fn a_float_keeps_every_bit_on_its_way(float in any::<f64>().prop_filter("JSON has finite floats only", |f| f.is_finite())) {
        // Rust writes no exponents, Go does: both are JSON.
        for json in [format!("{{\"v\":{float:e}}}"), format!("{{\"v\":{float:?}}}")] {
            let value: Value = serde_json::from_str(&json).expect("JSON");
            let read = |value: &Value| value["v"].as_f64().map(f64::to_bits);
            // What has no fraction may be an integer, of the same value.
            prop_assert_eq!(value["v"].as_f64(), Some(float), "{}", json);
            let text = text_of(&value);
            let again = parse(text.as_bytes()).expect("YAML");
            prop_assert_eq!(read(&again), read(&value), "{}", text);
        }
    }

    #[test]
    fn any_value_reads_back_exactly(map in object(value())) {
        let value = Value::Object(map);
        let text = text_of(&value);
        prop_assert_eq!(parse(text.as_bytes()), Ok(value.clone()), "{}", text);
        let again: Value = serde_saphyr::from_str(&text)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(again, value, "YAML 1.2:\n{}", text);
    }
}
