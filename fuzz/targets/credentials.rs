//! Whatever a Secret with credentials or a signing key holds, `known_hosts` and keys among it: it is taken or refused, and no
//! error shows a value.
//!
//! The input is `key value` on each line, and a 0 byte stands for the end of a line within a value.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use reverser::git::{Credentials, RepoUrl, Signer};

const MARK: &str = "p4ss-of-the-fuzzer";

fuzz_target!(|bytes: &[u8]| {
    let mut data: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut halves = line.splitn(2, |byte| *byte == b' ');
        let (Some(key), Some(value)) = (halves.next(), halves.next()) else {
            continue;
        };
        let value = value
            .iter()
            .map(|byte| if *byte == 0 { b'\n' } else { *byte });
        data.insert(String::from_utf8_lossy(key).into_owned(), value.collect());
    }
    data.insert("passphrase".to_owned(), MARK.into());
    match Signer::from_secret(&data) {
        Ok(signer) => assert_eq!(format!("{signer:?}"), "Signer { .. }"),
        Err(error) => assert!(!format!("{error} {error:?}").contains(MARK), "{error}"),
    }
    data.insert("password".to_owned(), MARK.into());
    for url in [
        "https://git.example.com/a.git",
        "ssh://git@git.example.com:2222/a.git",
    ] {
        let url = RepoUrl::parse(url).expect("it is a URL");
        match Credentials::from_secret(&url, &data) {
            Ok(credentials) => assert!(!format!("{credentials:?}").contains(MARK)),
            Err(error) => assert!(!format!("{error} {error:?}").contains(MARK), "{error}"),
        }
    }
});
