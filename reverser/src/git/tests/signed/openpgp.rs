//! Keys of GnuPG.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{
    Data, assert_a_hundred_commits_verify, assert_every_commit_verifies, assert_refused, engine,
};
use crate::git::testing::{Bed, plan, write};
use crate::git::{Engine, EngineOptions, Signer, SigningKeyError};

const PASSPHRASE: &str = "correct horse";

/// Long gone, and when the keys that have expired were made.
const LONG_AGO: &str = "--faked-system-time=20200101T000000";

/// A home of GnuPG's of its own, with its agent, which ends with it.
struct Gnupg {
    /// In `/tmp`, as the path of the agent's socket has 107 bytes at most.
    home: TempDir,
    passphrase: &'static str,
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .env("GNUPGHOME", self.home.path())
            .args(["--kill", "all"])
            .status();
    }
}

impl Gnupg {
    fn new(passphrase: &'static str) -> Self {
        let home = tempfile::Builder::new()
            .prefix("gpg")
            .tempdir_in("/tmp")
            .unwrap();
        Self { home, passphrase }
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new("gpg")
            .env("GNUPGHOME", self.home.path())
            .args(["--batch", "--quiet", "--no-tty", "--pinentry-mode=loopback"])
            .args(["--passphrase", self.passphrase])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    fn gpg(&self, arguments: &[&str]) -> String {
        self.gpg_with(arguments, "")
    }

    fn gpg_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A new primary key, trusted. Its fingerprint.
    fn generate(&self, algorithm: &str, usage: &str) -> String {
        self.generate_at("--no-greeting", algorithm, usage)
    }

    fn generate_at(&self, time: &str, algorithm: &str, usage: &str) -> String {
        self.gpg(&[
            time,
            "--quick-generate-key",
            "Bot <bot@example.com>",
            algorithm,
            usage,
            "never",
        ]);
        let fingerprint = self.fingerprints().remove(0);
        self.gpg_with(&["--import-ownertrust"], &format!("{fingerprint}:6:\n"));
        fingerprint
    }

    /// Of the primary key and its subkeys, in their order.
    fn fingerprints(&self) -> Vec<String> {
        let list = self.gpg(&["--list-keys", "--with-colons"]);
        let lines = list.lines().filter(|line| line.starts_with("fpr:"));
        lines
            .map(|line| line.split(':').nth(9).unwrap().to_owned())
            .collect()
    }

    fn secret(&self) -> Data {
        self.exported("--export-secret-keys")
    }

    /// A Secret as it is made for Flux.
    fn exported(&self, export: &str) -> Data {
        let mut data = of(&self.gpg(&["--armor", export]));
        if !self.passphrase.is_empty() {
            let passphrase = self.passphrase.as_bytes().to_vec();
            data.insert("passphrase".to_owned(), passphrase);
        }
        data
    }

    /// Git's settings to verify with this home: `git` runs with an environment of its own.
    fn verifying(&self) -> Vec<String> {
        let program = self.home.path().join("verify");
        let home = self.home.path().display();
        let script = format!("#!/bin/sh\nexec gpg --homedir={home} \"$@\"\n");
        std::fs::write(&program, script).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&program, executable).unwrap();
        vec![format!("gpg.program={}", program.display())]
    }

    /// The fingerprint of the key that signed a commit of this Secret's.
    fn signed_by(&self, data: &Data) -> String {
        let bed = Bed::with_readme();
        let mut engine = engine(&bed, data);
        engine
            .commit(plan("alice", "Create a\n", &[write("x/a.yaml", "a\n")]))
            .unwrap();
        engine.push().unwrap();
        let setting = self.verifying().remove(0);
        let log = ["-c", &setting, "log", "-1", "--format=%G? %GF", "main"];
        let line = crate::git::testing::git(&bed.remote(), &log);
        line.strip_prefix("G ").expect(&line).to_owned()
    }
}

fn of(armour: &str) -> Data {
    Data::from([("git.asc".to_owned(), armour.as_bytes().to_vec())])
}

#[test]
fn git_verifies_every_commit_of_every_kind_of_key() {
    for algorithm in [
        "ed25519", "nistp256", "nistp384", "rsa2048", "rsa3072", "rsa4096",
    ] {
        let gnupg = Gnupg::new("");
        gnupg.generate(algorithm, "sign");
        println!("{algorithm}");
        assert_every_commit_verifies(&gnupg.secret(), &gnupg.verifying());
    }
}

#[test]
fn a_passphrase_opens_the_key_and_another_does_not() {
    for algorithm in ["ed25519", "rsa2048"] {
        let gnupg = Gnupg::new(PASSPHRASE);
        gnupg.generate(algorithm, "sign");
        let mut data = gnupg.secret();
        assert_every_commit_verifies(&data, &gnupg.verifying());
        let line = format!("{PASSPHRASE}\n").into_bytes();
        data.insert("passphrase".to_owned(), line);
        Signer::from_secret(&data).unwrap();
        data.insert("passphrase".to_owned(), b"hunter2".to_vec());
        assert_refused(&data, SigningKeyError::Locked("passphrase"));
        data.remove("passphrase");
        assert_refused(&data, SigningKeyError::Locked("passphrase"));
    }
}

#[test]
fn numbers_of_any_length_verify() {
    for algorithm in ["ed25519", "nistp256"] {
        let gnupg = Gnupg::new("");
        gnupg.generate(algorithm, "sign");
        assert_a_hundred_commits_verify(&gnupg.secret(), &gnupg.verifying());
    }
}

/// As one does whose primary key stays offline.
#[test]
fn a_subkey_signs_without_its_primary_key() {
    let gnupg = Gnupg::new(PASSPHRASE);
    let primary = gnupg.generate("ed25519", "cert");
    assert_refused(&gnupg.secret(), SigningKeyError::NotForSigning);
    gnupg.gpg(&["--quick-add-key", &primary, "cv25519", "encr", "never"]);
    gnupg.gpg(&["--quick-add-key", &primary, "ed25519", "sign", "never"]);
    let data = gnupg.exported("--export-secret-subkeys");
    assert_eq!(gnupg.signed_by(&data), gnupg.fingerprints()[2]);
    assert_every_commit_verifies(&data, &gnupg.verifying());
    let encrypting = format!("{}!", gnupg.fingerprints()[1]);
    let data = of(&gnupg.gpg(&["--armor", "--export-secret-subkeys", &encrypting]));
    assert_refused(&data, SigningKeyError::NotForSigning);
}

#[test]
fn the_key_that_gpg_would_take_signs() {
    let gnupg = Gnupg::new("");
    let primary = gnupg.generate_at(LONG_AGO, "rsa2048", "cert,sign");
    assert_eq!(gnupg.signed_by(&gnupg.secret()), primary);
    // The newest of those that are good, wherever it stands, and the primary key where none is.
    let add = ["--quick-add-key", &primary];
    let newer = ["nistp256/ecdsa", "sign", "never"];
    gnupg.gpg(&[&add[..], &newer].concat());
    let older = ["ed25519", "sign", "never"];
    gnupg.gpg(&[&[LONG_AGO], &add[..], &older].concat());
    let [_, newer, older] = <[String; 3]>::try_from(gnupg.fingerprints()).unwrap();
    for (revoked, wanted) in [(None, &newer), (Some(1), &older), (Some(2), &primary)] {
        if let Some(number) = revoked {
            let commands = format!("key {number}\nrevkey\ny\n0\n\ny\nsave\n");
            gnupg.gpg_with(&["--command-fd=0", "--edit-key", &primary], &commands);
        }
        assert_eq!(&gnupg.signed_by(&gnupg.secret()), wanted, "{revoked:?}");
    }
}

#[test]
fn expired_and_revoked_keys_are_refused() {
    let gnupg = Gnupg::new("");
    gnupg.gpg(&[
        LONG_AGO,
        "--quick-generate-key",
        "Bot",
        "ed25519",
        "sign",
        "1y",
    ]);
    assert_refused(&gnupg.secret(), SigningKeyError::Expired);
    // Extended, and the primary key of a subkey that has expired.
    let primary = gnupg.fingerprints().remove(0);
    gnupg.gpg(&["--quick-set-expire", &primary, "0"]);
    gnupg.gpg_with(&["--import-ownertrust"], &format!("{primary}:6:\n"));
    let add = ["--quick-add-key", &primary, "ed25519", "sign", "1y"];
    gnupg.gpg(&[&[LONG_AGO], &add[..]].concat());
    assert_eq!(gnupg.signed_by(&gnupg.secret()), primary);
    let data = gnupg.exported("--export-secret-subkeys");
    assert_refused(&data, SigningKeyError::Expired);

    let directory = gnupg.home.path().join("openpgp-revocs.d");
    let certificate = directory.join(format!("{primary}.rev"));
    let certificate = std::fs::read_to_string(certificate).unwrap();
    gnupg.gpg_with(&["--import"], &certificate.replace(":-----", "-----"));
    assert_refused(&gnupg.secret(), SigningKeyError::Revoked);
}

#[test]
fn a_key_that_expires_at_work_signs_no_more() {
    let gnupg = Gnupg::new("");
    let (kind, expires) = ("ed25519", "seconds=10");
    gnupg.gpg(&["--quick-generate-key", "Bot", kind, "sign", expires]);
    let data = gnupg.secret();
    let signer = Arc::new(Signer::from_secret(&data).unwrap());
    let bed = Bed::with_readme();
    let mut engine = Engine::open(EngineOptions {
        signer: Some(Arc::clone(&signer)),
        ..bed.options("main")
    })
    .unwrap();
    let started = Instant::now();
    while !signer.has_expired() {
        assert!(started.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(100));
    }
    let late = engine.commit(plan("alice", "Create a\n", &[write("x/a.yaml", "a\n")]));
    let error = late.unwrap_err().to_string();
    assert!(error.contains("expired"), "{error}");
    assert_refused(&data, SigningKeyError::Expired);
}

#[test]
fn what_is_no_key_of_ours_is_refused_and_not_quoted() {
    let gnupg = Gnupg::new("");
    gnupg.generate("ed25519", "sign");
    let armour = String::from_utf8(gnupg.secret()["git.asc"].clone()).unwrap();
    let public = gnupg.gpg(&["--armor", "--export"]);
    for (data, wanted) in [
        (of(&public), SigningKeyError::PublicOnly),
        (of("hunter2"), SigningKeyError::NotOpenPgp),
        (of(""), SigningKeyError::NotOpenPgp),
        (of(&armour[..armour.len() / 2]), SigningKeyError::NotOpenPgp),
        (
            of(&armour.replace("PRIVATE KEY BLOCK", "MESSAGE")),
            SigningKeyError::NotOpenPgp,
        ),
    ] {
        assert_refused(&data, wanted);
    }
    gnupg.gpg(&["--quick-generate-key", "Other", "ed25519", "sign", "never"]);
    assert_refused(&gnupg.secret(), SigningKeyError::SeveralKeys);
    for algorithm in ["nistp521", "secp256k1", "dsa2048", "rsa1024"] {
        let gnupg = Gnupg::new("");
        gnupg.gpg(&["--quick-generate-key", "Other", algorithm, "sign", "never"]);
        println!("{algorithm}");
        assert_refused(&gnupg.secret(), SigningKeyError::Unsupported);
    }
    let signer = Signer::from_secret(&of(&armour)).unwrap();
    assert_eq!(format!("{signer:?}"), "Signer { .. }");
}
