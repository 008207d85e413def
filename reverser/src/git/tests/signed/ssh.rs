//! Keys of `ssh-keygen`.

use std::path::Path;
use std::process::Command;

use ssh_key::private::{KeypairData, SkEd25519};
use ssh_key::public::{self, Ed25519PublicKey};
use ssh_key::{LineEnding, PrivateKey};

use super::{
    Data, assert_a_hundred_commits_verify, assert_every_commit_verifies, assert_refused, engine,
    judged,
};
use crate::git::testing::{Bed, plan, write};
use crate::git::{Signer, SigningKeyError};

/// Of a key that was made until there was one.
const WITH_LEADING_ZERO: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS
1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQR3QR5KaHAZWMEocrV2rQdZK7mJA/1R
SIP2C8/zk65s1q+gConaOpNQXenrwAE6DrjZmLZrmFQyD/DkQHK6d1ynAAAAoIMyYcyDMm
HMAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHdBHkpocBlYwShy
tXatB1kruYkD/VFIg/YLz/OTrmzWr6AKido6k1Bd6evAAToOuNmYtmuYVDIP8ORAcrp3XK
cAAAAfSsmM9SI946Bx0I2rpR6wVc9uwA6qTidQ8ozVyAiL8wAAAANib3QBAgMEBQY=
-----END OPENSSH PRIVATE KEY-----
";

/// A new key, with the file that says whose signatures are good. Of ECDSA keys, one that can be read.
fn keygen(directory: &Path, arguments: &[&str], passphrase: &str) -> Data {
    loop {
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
        let mut data = Data::from([("ssh-privatekey".to_owned(), std::fs::read(&file).unwrap())]);
        data.insert("ssh-password".to_owned(), passphrase.into());
        if Signer::from_secret(&data).err() != Some(SigningKeyError::LeadingZero) {
            data.remove("ssh-password");
            return data;
        }
        std::fs::remove_file(&file).unwrap();
    }
}

fn trusting(directory: &Path) -> Vec<String> {
    let allowed = directory.join("allowed");
    vec![format!("gpg.ssh.allowedSignersFile={}", allowed.display())]
}

#[test]
fn git_verifies_every_commit_of_every_kind_of_key() {
    for (arguments, passphrase) in [
        (&["-t", "ed25519"][..], ""),
        (&["-t", "ecdsa", "-b", "256"], ""),
        (&["-t", "ecdsa", "-b", "384"], ""),
        (&["-t", "rsa", "-b", "2048"], ""),
        (&["-t", "rsa", "-b", "3072"], ""),
        (&["-t", "ed25519", "-a", "1"], "correct horse"),
        (&["-t", "ecdsa", "-a", "1"], "correct horse"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut data = keygen(directory.path(), arguments, passphrase);
        if !passphrase.is_empty() {
            assert_refused(&data, SigningKeyError::Locked("ssh-password"));
            let line = format!("{passphrase}\n");
            data.insert("ssh-password".to_owned(), line.into_bytes());
        }
        println!("{arguments:?}");
        assert_every_commit_verifies(&data, &trusting(directory.path()));
    }
}

/// R and S begin with a zero byte, or need one in front, in some signatures only.
#[test]
fn numbers_of_any_length_verify() {
    let directory = tempfile::tempdir().unwrap();
    let data = keygen(directory.path(), &["-t", "ecdsa"], "");
    assert_a_hundred_commits_verify(&data, &trusting(directory.path()));
}

#[test]
fn a_signature_of_another_key_is_not_good() {
    let bed = Bed::with_readme();
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = keygen(ours.path(), &["-t", "ed25519"], "");
    keygen(theirs.path(), &["-t", "ed25519"], "");
    let mut engine = engine(&bed, &data);
    engine
        .commit(plan("alice", "Create a\n", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    engine.push().unwrap();
    assert_eq!(judged(&bed, &trusting(ours.path()), "alice"), ["G"]);
    assert_ne!(judged(&bed, &trusting(theirs.path()), "alice"), ["G"]);
}

/// What ssh-keygen makes of a FIDO token: a handle, which signs with the token only.
fn security_key() -> Data {
    let public = public::SkEd25519::new(Ed25519PublicKey([7; 32]), "ssh:");
    let pair = SkEd25519::new(public, 1, [1, 2, 3]).unwrap();
    let key = PrivateKey::new(KeypairData::SkEd25519(pair), "bot").unwrap();
    let pem = key.to_openssh(LineEnding::LF).unwrap();
    Data::from([("identity".to_owned(), pem.as_bytes().to_vec())])
}

#[test]
fn keys_that_can_not_sign_are_refused_and_not_quoted() {
    let made = |arguments: &[&str]| {
        let directory = tempfile::tempdir().unwrap();
        keygen(directory.path(), arguments, "")
    };
    let of = |pem: &str| Data::from([("identity".to_owned(), pem.as_bytes().to_vec())]);
    let good = made(&["-t", "ed25519"]);
    let text = String::from_utf8(good["ssh-privatekey"].clone()).unwrap();
    for (data, wanted) in [
        (of("hunter2"), SigningKeyError::NotOpenSsh),
        (of(&text[..text.len() / 2]), SigningKeyError::NotOpenSsh),
        (
            made(&["-t", "ecdsa", "-b", "521"]),
            SigningKeyError::Unsupported,
        ),
        (
            made(&["-t", "rsa", "-b", "1024"]),
            SigningKeyError::Unsupported,
        ),
        (security_key(), SigningKeyError::Unsupported),
        (of(WITH_LEADING_ZERO), SigningKeyError::LeadingZero),
    ] {
        assert_refused(&data, wanted);
    }
    let signer = Signer::from_secret(&of(&text)).unwrap();
    assert_eq!(format!("{signer:?}"), "Signer { .. }");
}
