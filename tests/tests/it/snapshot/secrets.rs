//! Secrets: left out, redacted, encrypted or in the clear as asked for, and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::{Value, json};

use super::{Said, Site, bare};
use crate::lab::{PASSWORD, create, map};

/// Somebody's public key.
const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// Not a substring of anything else.
const VALUE: &str = "Tr0ub4dor-and-3-stapled";

fn holds(text: &[u8], value: &str) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains(value) || text.contains(&BASE64.encode(value))
}

fn assert_silent(said: &Said) {
    for value in [VALUE, PASSWORD] {
        assert!(!holds(said.out.as_bytes(), value), "{}", said.out);
        let line = said.err.lines().find(|line| holds(line.as_bytes(), value));
        assert!(line.is_none(), "{line:?}");
    }
}

/// No file below this directory, packed objects included.
fn assert_not_below(directory: &std::path::Path) {
    let mut directories = vec![directory.to_owned()];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        if directory.join("objects").is_dir() {
            let git = std::process::Command::new("git")
                .arg("-C")
                .arg(&directory)
                .args(["cat-file", "--batch", "--batch-all-objects"])
                .output()
                .unwrap();
            assert!(git.status.success() && !git.stdout.is_empty());
            assert!(!holds(&git.stdout, VALUE), "a clone holds it");
        }
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files += 1;
                let bytes = std::fs::read(&path).unwrap();
                assert!(!holds(&bytes, VALUE), "{}", path.display());
            }
        }
    }
    assert!(files > 0);
}

#[tokio::test]
async fn secrets_are_left_out_redacted_encrypted_or_plain_as_asked_and_nowhere_else() {
    let site = Site::on(bare().await, "secrets").await;
    create(&site.maps(), &map("config", "k", "v")).await;
    let secrets: Api<Secret> = Api::namespaced(site.client(), &site.namespace);
    let secret: Secret = serde_json::from_value(
        json!({"metadata": {"name": "one"}, "stringData": {"password": VALUE}}),
    )
    .unwrap();
    create(&secrets, &secret).await;
    let path = site.file("secrets", "one");
    let work = site.directory.path().join("work");
    let work_dir = format!("--work-dir={}", work.display());
    let key = site.directory.path().join("key");
    std::fs::write(&key, "0123456789abcdefghijklmnopqrstuvwxyz\n").unwrap();
    let key = format!("--redaction-key-file={}", key.display());
    let trace = "--log-level=trace";
    let password = || {
        let text = site.repo.file(&path).unwrap();
        let object: Value = serde_yaml::from_slice(&text).unwrap();
        object["data"]["password"].as_str().unwrap().to_owned()
    };

    // Nothing said, and no key: not even read.
    let said = site.snapshot(&[trace, &work_dir]).await.ended(0);
    assert!(said.err.contains("Secrets are left out"), "{}", said.err);
    assert!(!said.err.contains("/secrets?"), "Secrets were listed");
    assert_silent(&said);
    assert!(site.repo.file(&path).is_none());

    // A key: redacted.
    let said = site.snapshot(&[trace, &work_dir, &key]).await.ended(0);
    assert_silent(&said);
    let digest = password();
    assert!(
        digest
            .strip_prefix("redacted:")
            .is_some_and(|it| it.len() == 16),
        "{digest}"
    );
    site.snapshot(&["--diff", &key]).await.ended(0);

    // For somebody's key: encrypted, the same each time.
    let recipient = format!("--age-recipients={RECIPIENT}");
    let said = site
        .snapshot(&[trace, &work_dir, &key, &recipient])
        .await
        .ended(0);
    assert_silent(&said);
    assert!(password().starts_with("ENC[AES256_GCM,"), "{}", password());
    site.snapshot(&["--diff", &key, &recipient]).await.ended(0);
    let said = site.snapshot(&[&key, "--secret-policy=Encrypt"]).await;
    assert!(said.refusal().contains("--age-recipients"), "{}", said.err);

    // Without one: changes don't show.
    let said = site
        .snapshot(&[trace, &work_dir, "--secret-policy=Redact"])
        .await
        .ended(0);
    assert_eq!(password(), "redacted:");
    assert!(said.err.contains("don't show"), "{}", said.err);
    assert_silent(&said);
    assert_not_below(&work);
    let objects = site
        .repo
        .git(&["cat-file", "--batch", "--batch-all-objects"])
        .unwrap();
    assert!(!holds(objects.as_bytes(), VALUE));

    // In the clear, and there alone.
    let said = site
        .snapshot(&[trace, "--secret-policy=Plain", "--diff"])
        .await
        .ended(1);
    assert_eq!(said.lines(), [format!("M {path}")]);
    assert_silent(&said);
    let said = site
        .snapshot(&[trace, "--secret-policy=Plain"])
        .await
        .ended(0);
    assert!(said.err.contains("in the clear"), "{}", said.err);
    assert_silent(&said);
    assert_eq!(password(), BASE64.encode(VALUE));

    // And left out again: the file goes.
    site.snapshot(&["--secret-policy=Omit"]).await.ended(0);
    assert!(site.repo.file(&path).is_none());

    // A short key is refused.
    let short = site.directory.path().join("short");
    std::fs::write(&short, "too-short").unwrap();
    let said = site
        .snapshot(&[&format!("--redaction-key-file={}", short.display())])
        .await;
    assert!(
        said.refusal().contains("shorter than 32 bytes"),
        "{}",
        said.err
    );
    assert!(!said.err.contains("too-short"));
}

#[tokio::test]
async fn types_that_a_flag_names_are_as_secret() {
    let site = Site::on(bare().await, "sensitive").await;
    create(&site.maps(), &map("token", "k", VALUE)).await;
    let sensitive = "--sensitive-resources=configmaps";
    site.snapshot(&[sensitive]).await.ended(0);
    assert!(site.repo.file(&site.map_file("token")).is_none());
    site.snapshot(&[sensitive, "--secret-policy=redact"])
        .await
        .ended(0);
    let text = site.repo.file(&site.map_file("token")).unwrap();
    assert!(!holds(&text, VALUE));
}
