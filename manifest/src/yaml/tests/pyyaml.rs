//! The writer against PyYAML, which follows YAML 1.1, as do older tools in Go and Ruby.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::values::{object, value};
use super::{text_of, trapped, traps};

/// Reads pairs of JSON and YAML as lines of JSON strings; prints the number of the first pair that differs.
const PYYAML_READER: &str = r#"
import json, math, sys, yaml
def same(a, b):
    if type(a) is not type(b): return False
    if isinstance(a, dict): return list(sorted(a)) == list(sorted(b)) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list): return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float): return a == b and math.copysign(1, a) == math.copysign(1, b)
    return a == b
loaders = [yaml.SafeLoader] + ([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])
for number, line in enumerate(sys.stdin):
    data, text = map(json.loads, (line.split("\x1f")))
    for loader in loaders:
        try: read = yaml.load(text, Loader=loader)
        except Exception as error: read = error
        if not same(json.loads(data), read):
            sys.exit("%s differs in pair %d: %r\n%s" % (loader.__name__, number, read, text))
print("%d pairs, %d loaders" % (number + 1, len(loaders)))
"#;

/// Debian's python3-yaml is for Debian's own python3, which need not be the first on the path.
fn python() -> &'static str {
    let imports = |python: &&str| {
        let output = Command::new(python).args(["-c", "import yaml"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(imports);
    found.expect("PyYAML is needed: python3-yaml on Debian")
}

#[test]
fn a_yaml_1_1_parser_reads_the_same() {
    let mut python = Command::new(python())
        .args(["-c", PYYAML_READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut runner = TestRunner::deterministic();
    let strategy = object(value());
    let random = (0..400).map(|_| {
        let tree = strategy.new_tree(&mut runner).expect("a value");
        Value::Object(tree.current())
    });
    let mut input = String::new();
    for value in traps().map(|trap| trapped(&trap)).chain(random) {
        let (data, text) = (json!(value.to_string()), json!(text_of(&value)));
        writeln!(input, "{data}\u{1f}{text}").expect("a String");
    }
    let mut stdin = python.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = python.wait_with_output().expect("python3 ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    writer
        .join()
        .expect("no panic")
        .expect("python3 read it all");
    eprint!("{}", String::from_utf8_lossy(&output.stdout));
}
