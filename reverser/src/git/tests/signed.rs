//! Signatures as Git itself judges them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::git::testing::{Bed, git, plan, write};
use crate::git::{Engine, EngineOptions, PushOutcome, Signer, SigningKeyError};

type Data = BTreeMap<String, Vec<u8>>;

/// A new key, with the file that says whose signatures are good.
fn keygen(directory: &Path, arguments: &[&str], passphrase: &str) -> Data {
    let file = directory.join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-C", "bot", "-N", passphrase, "-f"])
        .arg(&file)
        .args(arguments)
        .status()
        .unwrap();
    assert!(made.success());
    let public = std::fs::read_to_string(directory.join("key.pub")).unwrap();
    std::fs::write(
        directory.join("allowed"),
        format!("bot namespaces=\"git\" {public}"),
    )
    .unwrap();
    BTreeMap::from([("ssh-privatekey".to_owned(), std::fs::read(file).unwrap())])
}

fn engine(bed: &Bed, signer: Option<Signer>) -> Engine {
    Engine::open(EngineOptions {
        signer: signer.map(Arc::new),
        ..bed.options("main")
    })
    .unwrap()
}

/// `%G?` of each commit of main by one author: G is good, N is none.
fn judged(bed: &Bed, directory: &Path, author: &str) -> Vec<String> {
    let allowed = directory.join("allowed");
    let allowed = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    let author = format!("--author={author}");
    let log = ["log", "--format=%G?", &author, "main"];
    let out = git(&bed.remote(), &[&["-c", &allowed], &log[..]].concat());
    out.lines().map(str::to_owned).collect()
}

#[test]
fn git_verifies_every_commit_also_once_it_was_replayed() {
    for (arguments, passphrase) in [
        (&["-t", "ed25519"][..], ""),
        (&["-t", "rsa", "-b", "2048"], ""),
        (&["-t", "rsa", "-b", "3072"], ""),
        (&["-t", "ed25519", "-a", "1"], "correct horse"),
    ] {
        let bed = Bed::with_readme();
        let directory = tempfile::tempdir().unwrap();
        let mut data = keygen(directory.path(), arguments, passphrase);
        if !passphrase.is_empty() {
            assert_eq!(
                Signer::from_secret(&data).unwrap_err(),
                SigningKeyError::Locked
            );
            let line = format!("{passphrase}\n");
            data.insert("ssh-password".to_owned(), line.into_bytes());
        }
        let mut engine = engine(&bed, Some(Signer::from_secret(&data).unwrap()));
        for (author, path) in [("alice", "x/a.yaml"), ("bob", "x/b.yaml")] {
            let message = format!("Create {path}\n\nKubernetes-User: {author}\n");
            engine
                .commit(plan(author, &message, &[write(path, "a\n")]))
                .unwrap();
        }
        bed.somebody_pushes("main", &[("docs/theirs.md", Some("theirs\n"))]);
        assert_eq!(
            engine.push().unwrap(),
            PushOutcome::Pushed {
                commits: 2,
                replays: 1
            }
        );
        for author in ["alice", "bob"] {
            assert_eq!(
                judged(&bed, directory.path(), author),
                ["G"],
                "{arguments:?}"
            );
        }
        assert_eq!(judged(&bed, directory.path(), "Somebody"), ["N", "N"]);
        assert_eq!(
            bed.log("main", "%B")[..],
            [
                "somebody's change",
                "",
                "somebody's change",
                "",
                "Create x/a.yaml",
                "",
                "Kubernetes-User: alice",
                "",
                "Create x/b.yaml",
                "",
                "Kubernetes-User: bob"
            ],
        );
        bed.assert_sound();
    }
}

#[test]
fn a_signature_of_another_key_is_not_good() {
    let bed = Bed::with_readme();
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = keygen(ours.path(), &["-t", "ed25519"], "");
    keygen(theirs.path(), &["-t", "ed25519"], "");
    let mut engine = engine(&bed, Some(Signer::from_secret(&data).unwrap()));
    engine
        .commit(plan("alice", "Create a\n", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    engine.push().unwrap();
    assert_eq!(judged(&bed, ours.path(), "alice"), ["G"]);
    assert_ne!(judged(&bed, theirs.path(), "alice"), ["G"]);
}

#[test]
fn keys_that_can_not_sign_are_refused_and_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let ecdsa = keygen(directory.path(), &["-t", "ecdsa"], "");
    let directory = tempfile::tempdir().unwrap();
    let short = keygen(directory.path(), &["-t", "rsa", "-b", "1024"], "");
    let of = |pem: &str| BTreeMap::from([("identity".to_owned(), pem.as_bytes().to_vec())]);
    let good = tempfile::tempdir().unwrap();
    let good = keygen(good.path(), &["-t", "ed25519"], "");
    let text = String::from_utf8(good["ssh-privatekey"].clone()).unwrap();
    for (data, wanted) in [
        (Data::new(), SigningKeyError::Missing),
        (of("hunter2"), SigningKeyError::Malformed),
        (of(&text[..text.len() / 2]), SigningKeyError::Malformed),
        (ecdsa, SigningKeyError::Malformed),
        (short, SigningKeyError::Unsupported),
    ] {
        let error = Signer::from_secret(&data).unwrap_err();
        assert_eq!(error, wanted);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let signer = Signer::from_secret(&of(&text)).unwrap();
    assert_eq!(format!("{signer:?}"), "Signer { .. }");
}
