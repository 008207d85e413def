use serde_json::{Value, json};

use super::*;

const ONE: &str = "age1v5qlu6egzhs6plh2u99v7hznkv4hthx4zqzy5gguzcctywe9v5qs4rk0nt";
const TWO: &str = "age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z";

/// Opened by the real sops in the integration tests.
const GOLDEN: &str = include_str!("golden.yaml");

fn identity(name: &str) -> Identity {
    Identity {
        group: String::new(),
        version: "v1".to_owned(),
        resource: "secrets".to_owned(),
        namespace: "lab".to_owned(),
        name: name.to_owned(),
    }
}

fn plain(name: &str, data: &Value) -> Vec<u8> {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
        "metadata": {"namespace": "lab", "name": name, "labels": {"app": "shop"}},
    });
    manifest::canonicalize(&object).unwrap().text
}

fn for_all(recipients: &[&str]) -> Recipients {
    recipients
        .iter()
        .map(|text| text.parse().unwrap())
        .collect()
}

fn file(key: u8, name: &str, data: &Value, recipients: &[&str]) -> Value {
    let encryptor = Encryptor::with_key(&[key; 32]);
    let text = encryptor
        .encrypt(&identity(name), &plain(name, data), &for_all(recipients))
        .unwrap();
    manifest::parse(&text).unwrap()
}

/// The parts of a value: data, iv, tag.
fn parts(value: &Value) -> Vec<&str> {
    let value = value.as_str().unwrap();
    let inner = value.strip_prefix("ENC[AES256_GCM,").unwrap();
    let parts = inner.trim_end_matches(']').split(',');
    parts.map(|part| part.split_once(':').unwrap().1).collect()
}

/// If another release wrote other bytes, every encrypted file would be written anew.
#[test]
fn the_bytes_are_the_same_in_every_release() {
    let data = json!({"password": "aHVudGVyMg==", "token": "dG9rZW4="});
    let text = Encryptor::with_key(&[7; 32])
        .encrypt(
            &identity("golden"),
            &plain("golden", &data),
            &for_all(&[TWO, ONE]),
        )
        .unwrap();
    assert_eq!(String::from_utf8(text.to_vec()).unwrap(), GOLDEN);
}

#[test]
fn nothing_is_used_twice() {
    let data = json!({"a": "dg==", "b": "dg=="});
    let one = file(7, "one", &data, &[ONE, TWO]);
    assert_eq!(one, file(7, "one", &data, &[ONE, TWO]));
    let [a, b] = ["a", "b"].map(|key| parts(&one["data"][key]));
    assert!(a[0] != b[0] && a[1] != b[1], "one value at two keys");
    let wraps = |file: &Value| {
        let age = file["sops"]["age"].as_array().unwrap();
        age.iter().map(|it| it["enc"].clone()).collect::<Vec<_>>()
    };
    assert_ne!(wraps(&one)[0], wraps(&one)[1]);
    for other in [
        file(8, "one", &data, &[ONE, TWO]),
        file(7, "two", &data, &[ONE, TWO]),
        file(7, "one", &data, &[ONE]),
        // Another value elsewhere in the file.
        file(7, "one", &json!({"a": "dg==", "b": "eA=="}), &[ONE, TWO]),
    ] {
        let changed = parts(&other["data"]["a"]);
        assert!((0..3).all(|part| changed[part] != a[part]), "{changed:?}");
        assert!(wraps(&other).iter().all(|enc| !wraps(&one).contains(enc)));
    }
}

#[test]
fn a_file_is_known_for_what_it_is() {
    let data = json!({"a": "dg==", "empty": ""});
    let one = file(7, "one", &data, &[ONE, TWO]);
    let both = for_all(&[ONE, TWO]);
    assert!(is_encrypted_for(&identity("one"), &one, &both));
    assert!(!is_encrypted_for(&identity("one"), &one, &for_all(&[ONE])));
    assert_eq!(readers(&identity("one"), &one), Some(both.clone()));
    let mut partly = one.clone();
    partly["data"]["b"] = "dg==".into();
    assert!(is_ours(&partly) && !is_encrypted_for(&identity("one"), &partly, &both));
    assert_eq!(readers(&identity("one"), &partly), None);
    let mut stripped = one.clone();
    strip(&mut stripped);
    assert!(!is_ours(&stripped) && stripped["data"] == one["data"]);
    let text = plain("one", &data);
    assert!(!is_ours(&manifest::parse(&text).unwrap()));
}

#[test]
fn what_would_be_lost_or_read_by_nobody_is_refused() {
    let encryptor = Encryptor::with_key(&[7; 32]);
    let text = plain("one", &json!({}));
    assert_eq!(
        encryptor.encrypt(&identity("one"), &text, &Recipients::default()),
        Err(EncryptError::NoRecipients)
    );
    let sops = manifest::canonicalize(&file(7, "one", &json!({}), &[ONE])).unwrap();
    assert_eq!(
        encryptor.encrypt(&identity("one"), &sops.text, &for_all(&[ONE])),
        Err(EncryptError::HasSops)
    );
    let beside =
        json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "one"}, "name": "x"});
    let text = manifest::canonicalize(&beside).unwrap().text;
    assert_eq!(
        encryptor.encrypt(&identity("one"), &text, &for_all(&[ONE])),
        Err(EncryptError::NamedAsMetadata("name"))
    );
    let printed = format!("{encryptor:?}");
    assert!(!printed.contains('7'), "{printed}");
}
