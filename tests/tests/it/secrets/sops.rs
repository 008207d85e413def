//! The real sops and age-keygen, and that sops opens what is written.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use manifest::Identity;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reverser::secrets::{Encryptor, Recipients};
use tests::assets::{Assets, Tool};

use super::*;

/// A pair of age keys.
pub(super) struct AgeKey {
    pub(super) file: PathBuf,
    pub(super) recipient: String,
}

/// sops with nothing in its environment but what it is given.
pub(super) struct Sops {
    sops: PathBuf,
    keygen: PathBuf,
    /// For keys and files to look at.
    pub(super) directory: tempfile::TempDir,
}

impl Sops {
    /// Builds them where there are none, which takes some minutes once.
    pub(super) fn find() -> Self {
        let assets = Assets::locate().unwrap();
        Self {
            sops: assets.get(Tool::Sops).unwrap(),
            keygen: assets.get(Tool::AgeKeygen).unwrap(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A command line of the documentation, in a directory.
    pub(super) fn shell(&self, directory: &Path, kubeconfig: &Path, line: &str) -> String {
        let assets = Assets::locate().unwrap();
        let kubectl = assets.get(Tool::Kubectl).unwrap();
        let programs = [&self.sops, &self.keygen, &kubectl];
        let own = programs.map(|program| program.parent().unwrap().to_owned());
        let system = std::env::var_os("PATH").unwrap();
        let path = own.into_iter().chain(std::env::split_paths(&system));
        let output = Command::new("sh")
            .args(["-euc", line])
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.directory.path())
            .env("KUBECONFIG", kubeconfig)
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs sops in a directory, without any key.
    pub(super) fn run(&self, directory: &Path, arguments: &[&str]) {
        let output = Command::new(&self.sops)
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("HOME", self.directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    pub(super) fn key(&self, name: &str) -> AgeKey {
        let file = self.directory.path().join(name);
        self.keygen(&["-o".as_ref(), file.as_ref()]);
        self.key_in(file)
    }

    /// The key that is in a file.
    pub(super) fn key_in(&self, file: PathBuf) -> AgeKey {
        let recipient = self.keygen(&["-y".as_ref(), file.as_ref()]);
        AgeKey {
            file,
            recipient: recipient.trim().to_owned(),
        }
    }

    fn keygen(&self, arguments: &[&std::ffi::OsStr]) -> String {
        let output = Command::new(&self.keygen).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// As Flux's kustomize-controller does: of JSON, in kustomize's order of keys and with labels of its own, for which it leaves the
    /// MAC unchecked.
    pub(super) fn open_as_flux(&self, key: &AgeKey, text: &[u8]) -> Value {
        let mut object: Value = serde_yaml::from_slice(text).unwrap();
        object["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] = "shop".into();
        let file = self.directory.path().join("built.json");
        std::fs::write(&file, object.to_string()).unwrap();
        let opened = self.decrypt_with(key, &["--ignore-mac"], &file).unwrap();
        assert!(opened["sops"].is_null());
        opened
    }

    /// `sops -d` with this key and no other. As JSON: the YAML that sops makes of odd texts is not for every reader.
    pub(super) fn decrypt(&self, key: &AgeKey, file: &Path) -> Result<Value, String> {
        self.decrypt_with(key, &[], file)
    }

    fn decrypt_with(&self, key: &AgeKey, flags: &[&str], file: &Path) -> Result<Value, String> {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(&self.sops)
            .args(["-d", "--output-type", "json"])
            .args(flags)
            .arg(file)
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path())
            .env("SOPS_AGE_KEY_FILE", &key.file)
            .output()
            .unwrap();
        if status.success() {
            Ok(serde_json::from_slice(&stdout).unwrap())
        } else {
            Err(String::from_utf8(stderr).unwrap())
        }
    }

    /// Decrypts a text.
    pub(super) fn open(&self, key: &AgeKey, text: &[u8]) -> Result<Value, String> {
        let file = tempfile::Builder::new()
            .suffix(".yaml")
            .tempfile_in(self.directory.path())
            .unwrap();
        std::fs::write(file.path(), text).unwrap();
        self.decrypt(key, file.path())
    }
}

/// The recipients of these keys.
fn recipients(keys: &[&AgeKey]) -> Recipients {
    keys.iter()
        .map(|key| key.recipient.parse().unwrap())
        .collect()
}

fn encryptor() -> Encryptor {
    Encryptor::with_key(b"0123456789abcdefghijklmnopqrstuvwxyz")
}

fn identity(group: &str, resource: &str) -> Identity {
    Identity {
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        namespace: "lab".to_owned(),
        name: "one".to_owned(),
    }
}

fn secret_of(data: &Value, metadata: &Value) -> Value {
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true, "data": data,
        "metadata": {"namespace": "lab", "name": "one"},
    });
    for (field, value) in metadata.as_object().unwrap() {
        secret["metadata"][field] = value.clone();
    }
    secret
}

/// What is written of an object, after sops has opened it: what was there before.
fn assert_opens(sops: &Sops, key: &AgeKey, identity: &Identity, object: &Value) -> String {
    let plain = manifest::canonicalize(object).unwrap().text;
    let file = encryptor()
        .encrypt(identity, &plain, &recipients(&[key]))
        .unwrap();
    let opened = sops
        .open(key, &file)
        .unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(&file)));
    let wanted = manifest::parse(&plain).unwrap();
    assert_eq!(as_json(&opened), as_json(&wanted));
    String::from_utf8(file.to_vec()).unwrap()
}

/// As an apiserver takes it: 3 and 3.0 are one number.
fn as_json(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.as_i64().is_none() => json!(number.as_f64()),
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(as_json).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(field, value)| (field.clone(), as_json(value)))
            .collect(),
        other => other.clone(),
    }
}

#[test]
fn sops_opens_every_kind_of_value() {
    let sops = Sops::find();
    let key = sops.key("one");
    let large = BASE64.encode(vec![7; 1 << 20]);
    let many: serde_json::Map<String, Value> = (0..500)
        .map(|i| {
            (
                format!("key-{i}"),
                BASE64.encode(format!("value {i}")).into(),
            )
        })
        .collect();
    let secrets = identity("", "secrets");
    for data in [
        json!({"password": BASE64.encode(VALUES[0]), "empty": "", "unicode": BASE64.encode("Grüße, 世界 🔑")}),
        json!({"binary": BASE64.encode([0, 159, 146, 150, 255, 10, 13]), "lines": BASE64.encode("a\nb\r\n\tc\n")}),
        json!({"large": large}),
        Value::Object(many),
        json!({}),
    ] {
        let text = assert_opens(&sops, &key, &secrets, &secret_of(&data, &json!({})));
        assert!(text.contains("\ntype: Opaque\n") && text.contains("\n  name: one\n"));
    }
    // What is not encrypted counts for the MAC, in the order of the text; and names at which an expression matches.
    let metadata = json!({
        "labels": {"app": "shop", "data": "of-a-label", "on": "yes", "zero": "007", "e": "1e3"},
        "annotations": {
            "lines": "a\nb: c\n\n  d # no comment\n", "stringData": "x", "date": "2001-01-01", "null": "~",
            "# key": "- no list", "tilde": "Grüße \u{85}\u{2028}\u{feff}", "cr": "a\r\nb\r", "trailing ": " space ", "empty": "",
        },
        "finalizers": ["example.com/b", "example.com/a"],
    });
    let text = assert_opens(
        &sops,
        &key,
        &secrets,
        &secret_of(&json!({"k": "dg=="}), &metadata),
    );
    assert!(!text.contains("of-a-label") && text.contains("app: shop"));

    // Another type: every field but the kept ones.
    let token = json!({
        "apiVersion": "example.com/v1", "kind": "Token", "metadata": {"namespace": "lab", "name": "one", "labels": {"spec": "label"}},
        "type": "bearer", "a.b+c": ["x"], "immutable": false,
        "spec": {
            "whole": 7, "negative": -7, "big": i64::MAX, "half": 0.5, "huge": 1e300, "tiny": -1.5e-7, "three": 3.0, "beyond": 1e21,
            "yes": true, "no": false, "null": null, "none": {}, "nothing": [], "text": "", "lines": "a\nb\n",
            "list": [1, "1", true, ["deep", {"deeper": VALUES[0]}], null, ""], "metadata": {"kind": VALUES[1]},
        },
    });
    let text = assert_opens(&sops, &key, &identity("example.com", "tokens"), &token);
    for hidden in [VALUES[0], VALUES[1], "bearer", "deep\n"] {
        assert!(!text.contains(hidden), "{text}");
    }
}

#[test]
fn sops_opens_whatever_an_object_holds() {
    let sops = Sops::find();
    let key = sops.key("one");
    let names = prop_oneof!["[a-zA-Z0-9._-]{1,12}", "\\PC{1,12}"];
    let texts = prop_oneof!["[a-z]{0,8}", "\\PC{0,40}", "[ \n\t:#\\-'\"a~0-9]{0,30}"];
    let maps = (
        proptest::collection::btree_map("[-._a-zA-Z0-9]{1,12}", "[A-Za-z0-9+/]{0,40}", 0..6),
        proptest::collection::btree_map(names, texts, 0..6),
    );
    let mut runner = TestRunner::new(Config::with_cases(60));
    runner
        .run(&maps, |(data, annotations)| {
            let object = secret_of(&json!(data), &json!({"annotations": annotations}));
            assert_opens(&sops, &key, &identity("", "secrets"), &object);
            Ok(())
        })
        .unwrap();
}

#[test]
fn each_recipient_opens_it_and_nobody_else_does() {
    let sops = Sops::find();
    let [one, two, three] = ["one", "two", "three"].map(|name| sops.key(name));
    let secrets = identity("", "secrets");
    let object = secret_of(&json!({"k": BASE64.encode(VALUES[0])}), &json!({}));
    let plain = manifest::canonicalize(&object).unwrap().text;
    let file = |keys: &[&AgeKey]| {
        encryptor()
            .encrypt(&secrets, &plain, &recipients(keys))
            .unwrap()
    };
    let both = file(&[&one, &two]);
    assert_eq!(both, file(&[&two, &one, &two]), "the order does not count");
    for key in [&one, &two] {
        assert_eq!(sops.open(key, &both).unwrap(), object);
        let of_flux = sops.open_as_flux(key, &both);
        assert_eq!(
            (&of_flux["data"], &of_flux["type"]),
            (&object["data"], &object["type"])
        );
    }
    let refusal = sops.open(&three, &both).unwrap_err();
    assert!(refusal.contains("data key"), "{refusal}");
    let alone = file(&[&one]);
    assert!(sops.open(&one, &alone).is_ok() && sops.open(&two, &alone).is_err());

    // Nothing can be changed unnoticed, what is in the clear neither.
    let text = String::from_utf8(both.to_vec()).unwrap();
    for (from, to) in [("name: one", "name: two"), ("type: Opaque", "type: opaque")] {
        let refusal = sops
            .open(&one, text.replacen(from, to, 1).as_bytes())
            .unwrap_err();
        assert!(refusal.contains("MAC mismatch"), "{refusal}");
    }
}

/// The file that unit tests compare with, byte for byte.
#[test]
fn what_every_release_writes_opens() {
    let sops = Sops::find();
    let file = sops.directory.path().join("golden");
    // Of this test only.
    let private = "AGE-SECRET-KEY-1MT0VVN4A0ULW7L9E07CHN7XE8MUPVYAT4NS25AVLM69W3NWGLUSSQ0PZM4";
    std::fs::write(&file, private).unwrap();
    let key = AgeKey {
        file,
        recipient: String::new(),
    };
    let golden = include_bytes!("../../../../reverser/src/secrets/sops/golden.yaml");
    let data = json!({"password": "aHVudGVyMg==", "token": "dG9rZW4="});
    assert_eq!(sops.open(&key, golden).unwrap()["data"], data);
}
