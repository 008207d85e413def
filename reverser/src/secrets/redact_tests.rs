use proptest::prelude::*;
use serde_json::json;

use super::*;

const KEY: [u8; 32] = [7; 32];

fn identity(namespace: &str, name: &str) -> Identity {
    Identity {
        group: String::new(),
        version: "v1".to_owned(),
        resource: "secrets".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn secret(identity: &Identity, data: &Value) -> Vec<u8> {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true, "data": data,
        "metadata": {"namespace": identity.namespace, "name": identity.name, "labels": {"app": "shop"}},
    });
    manifest::canonicalize(&object).unwrap().text
}

fn redacted(redactor: &Redactor, identity: &Identity, data: &Value) -> Value {
    let text = redactor.redact(identity, &secret(identity, data)).unwrap();
    manifest::parse(&text).unwrap()
}

fn digest(namespace: &str, name: &str, key: &str, value: &str) -> String {
    let redactor = Redactor::with_key(&KEY);
    let object = redacted(&redactor, &identity(namespace, name), &json!({key: value}));
    object["data"][key].as_str().unwrap().to_owned()
}

#[test]
fn everything_but_the_values_stays() {
    let object = redacted(
        &Redactor::with_key(&KEY),
        &identity("lab", "one"),
        &json!({"password": "aHVudGVyMg=="}),
    );
    let value = object["data"]["password"].as_str().unwrap();
    let digits = value.strip_prefix("redacted:").unwrap();
    assert!(digits.len() == 16 && digits.bytes().all(|c| c.is_ascii_hexdigit()));
    assert_eq!(
        object,
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true, "data": {"password": value},
            "metadata": {"namespace": "lab", "name": "one", "labels": {"app": "shop"}},
        })
    );
}

/// Computed with Python's hmac: a digest of another release must not differ, or every file would be written anew.
#[test]
fn the_digest_is_the_one_that_is_documented() {
    assert_eq!(
        digest("lab", "one", "password", "aHVudGVyMg=="),
        "redacted:85a993be11f829e9"
    );
}

#[test]
fn equal_values_are_linked_nowhere_and_changes_show() {
    let value = digest("a", "b", "c", "dg==");
    for other in [
        digest("x", "b", "c", "dg=="),
        digest("a", "x", "c", "dg=="),
        digest("a", "b", "x", "dg=="),
        digest("a", "b", "c", "eA=="),
        // The same bytes, cut elsewhere.
        digest("a", "bc", "c", "dg=="),
        digest("ab", "c", "c", "dg=="),
    ] {
        assert_ne!(value, other);
    }
    assert_eq!(value, digest("a", "b", "c", "dg=="));
    let other_key = Redactor::with_key(&[8; 32]);
    let object = redacted(&other_key, &identity("a", "b"), &json!({"c": "dg=="}));
    assert_ne!(object["data"]["c"], value);
}

#[test]
fn without_a_key_nothing_depends_on_the_value() {
    let object = redacted(
        &Redactor::default(),
        &identity("a", "b"),
        &json!({"c": "dg==", "d": ""}),
    );
    assert_eq!(object["data"], json!({"c": "redacted:", "d": "redacted:"}));
}

#[test]
fn of_another_type_every_scalar_is_hidden() {
    let token = Identity {
        group: "example.com".to_owned(),
        resource: "tokens".to_owned(),
        ..identity("lab", "one")
    };
    let object = json!({
        "apiVersion": "example.com/v1", "kind": "Token", "metadata": {"namespace": "lab", "name": "one"},
        "type": "bearer", "spec": {"parts": ["abc", 7, {"deep": true}], "none": null},
    });
    let text = manifest::canonicalize(&object).unwrap().text;
    assert!(Redactor::holds_values(&token, &text));
    let text = Redactor::default().redact(&token, &text).unwrap();
    assert!(!Redactor::holds_values(&token, &text));
    let object = manifest::parse(&text).unwrap();
    assert_eq!(object["type"], MARK);
    assert_eq!(object["spec"]["parts"], json!([MARK, MARK, {"deep": MARK}]));
}

#[test]
fn what_can_not_be_read_is_taken_to_hold_values() {
    let one = identity("lab", "one");
    assert!(Redactor::holds_values(&one, b"data: [\n"));
    assert!(Redactor::with_key(&KEY).redact(&one, b"data: [\n").is_err());
    assert!(Redactor::holds_values(
        &one,
        &secret(&one, &json!({"a": "YQ=="}))
    ));
    assert!(!Redactor::holds_values(
        &one,
        &secret(&one, &json!({"a": "redacted:"}))
    ));
}

#[test]
fn the_key_is_not_printed() {
    let printed = format!(
        "{:?}",
        Redactor::with_key(b"0123456789abcdef0123456789abcdef")
    );
    assert!(
        !printed.contains("0123") && !printed.contains("48, 49"),
        "{printed}"
    );
}

proptest! {
    #[test]
    fn no_value_is_left_whatever_it_is(values in proptest::collection::btree_map("[a-z.]{1,8}", "[A-Za-z0-9+/]{8,40}", 1..5)) {
        let one = identity("lab", "one");
        let text = Redactor::with_key(&KEY).redact(&one, &secret(&one, &json!(values))).unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        for value in values.values() {
            prop_assert!(!text.contains(value.as_str()));
        }
        prop_assert!(!Redactor::holds_values(&one, text.as_bytes()));
    }
}
