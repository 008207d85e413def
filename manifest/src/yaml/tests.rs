mod pyyaml;

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};

use super::*;

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

/// Text that some parser of some version takes for something else, or can not hold.
const TRAPS: &[&str] = &[
    "",
    " ",
    "  ",
    "\n",
    "\n\n",
    " \n",
    "\n ",
    "\t",
    "\r",
    "\r\n",
    "a\r\nb",
    "a\rb",
    "yes",
    "Yes",
    "NO",
    "on",
    "Off",
    "y",
    "N",
    "true",
    "FALSE",
    "null",
    "Null",
    "~",
    "=",
    "<<",
    "<<: *a",
    "1",
    "-1",
    "+1",
    "0777",
    "0o7",
    "0x1F",
    "0b11",
    "1_000",
    "1e3",
    "1E3",
    "1.0",
    "1.",
    ".5",
    "-.5",
    "1e",
    "e3",
    "1.2.3",
    "12:30:45",
    "1:2",
    "190:20:30.15",
    "2001-01-01",
    "2001-01-01T00:00:00Z",
    "2001-12-14t21:59:43.10-05:00",
    "2001-12-14 21:59:43",
    ".inf",
    "-.INF",
    ".nan",
    "inf",
    "NaN",
    "Infinity",
    "nan",
    "0x1p-2",
    "25%",
    "1/2",
    "2001/01/01",
    "1e3%",
    "1__0",
    "_1",
    "0.",
    "00",
    "08",
    "09",
    "1,000",
    "100m",
    "1Gi",
    "64Mi",
    "0x1m",
    "10.0.0.1",
    "10.0.0.0/8",
    "-",
    "- a",
    "-a",
    "--",
    "---",
    "--- a",
    "...",
    "... a",
    "?",
    "? a",
    "?a",
    ":",
    ": a",
    ":a",
    "a:",
    "a: b",
    "a:b",
    "a :b",
    "a\t#b",
    "a #b",
    "a#b",
    "#a",
    "# a",
    "&a",
    "*a",
    "!a",
    "!!str a",
    "|",
    "|-",
    ">",
    ">2",
    "%",
    "%YAML 1.1",
    "@a",
    "`a",
    "'",
    "''",
    "'a'",
    "\"",
    "\"a\"",
    "a'b",
    "a\"b",
    "a'\"b",
    "\\",
    "\\n",
    "a\\",
    "{",
    "{}",
    "{a: b}",
    "{\"a\":\"b\"}",
    "[",
    "[]",
    "]",
    "a]",
    ",",
    "a,b",
    "a, b",
    "a{b}",
    "a ",
    " a",
    "a  b",
    "a\tb",
    "\ta",
    "a\t",
    "a\nb",
    "a\nb\n",
    "a\nb\n\n",
    "a\n\n\nb",
    "\na",
    "\n\na\n",
    " a\nb",
    "a\n b",
    "a \nb",
    "a\n  \nb",
    "a\n ",
    "a\n \n",
    "a\n\t",
    "\ta\nb",
    "a\n\tb\n",
    "a\n\t\n",
    "\n a\nb\n",
    "a\n---\nb\n",
    "a\n...\nb",
    "# a\nb: c\n",
    "- a\n- b",
    "a: |\n  b\n",
    "%a\nb",
    "a\n#b\n",
    "\u{0}",
    "\u{1}",
    "\u{7}",
    "\u{1b}[0m",
    "\u{7f}",
    "\u{80}",
    "\u{85}",
    "a\u{85}b",
    "a\u{85}\nb",
    "\u{a0}",
    "\u{a0}a",
    "a\u{a0}",
    "\u{2028}",
    "a\u{2028}b\n",
    "\u{2029}",
    "\u{feff}",
    "\u{feff}a",
    "a\u{feff}\nb",
    "\u{fffe}",
    "\u{ffff}",
    "\u{fffd}",
    "\u{e000}",
    "\u{d7ff}",
    "\u{10ffff}",
    "\u{1f600}",
    "é",
    "e\u{301}",
    "日本",
    "日本\n語\n",
    "\u{202e}abc",
    "a\u{200b}",
    "\u{3000}a",
    "\u{200d}",
    "key: value # c",
    "http://a/b?c=d&e=f#g",
    "nginx:1.25",
    "a::b",
    "a:\nb",
    "a: \nb",
    "$(A)",
    "${A}",
    "a*",
    "<a>",
    "a=b",
    "a@b",
    "=a",
    "~a",
    "n ",
    "(a)",
    ")",
    "!",
    "&",
    "*",
    "a!",
    "a&b",
    "a%",
    "\u{ad}",
    "0",
    "-0",
    "+",
    "+a",
    ".a",
    "a.",
    "..",
    "/",
    "/a",
    "_",
    "a_b",
    "null ",
    "nullx",
    "Yes!",
    "o n",
];

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

fn value() -> impl Strategy<Value = Value> {
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

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(nasty(), value, 0..6).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

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
