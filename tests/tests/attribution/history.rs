//! What Git says happened.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use manifest::SpecHash;
use tests::git::Repo;

use crate::truth::Text;

/// One version of one file.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) text: Text,
    /// None: the bot's.
    pub(crate) user: Option<String>,
    /// For the reader of a finding.
    #[allow(dead_code, reason = "printed")]
    pub(crate) note: String,
}

/// All versions of all files, in order.
pub(crate) fn read(repo: &Repo) -> BTreeMap<String, Vec<Kept>> {
    let mut versions: BTreeMap<String, Vec<Kept>> = BTreeMap::new();
    let mut wanted = Vec::new();
    for commit in repo.log() {
        for file in &commit.files {
            let kept = Kept {
                text: Text::Gone,
                user: commit.trailer("Kubernetes-User").map(decoded),
                note: format!(
                    "{} {:?}",
                    commit.hash,
                    ["Attribution", "Attribution-Reason", "Reason"]
                        .map(|name| commit.trailer(name).unwrap_or_default())
                ),
            };
            let chain = versions.entry(file.path.clone()).or_default();
            if file.status != 'D' {
                wanted.push((file.path.clone(), chain.len(), commit.hash.clone()));
            }
            chain.push(kept);
        }
    }
    for ((path, at, _), text) in wanted.iter().zip(contents(repo, &wanted)) {
        versions.get_mut(path).unwrap()[*at].text = Text::Is(SpecHash::of(&text));
    }
    versions
}

/// Every file at the tip.
pub(crate) fn at_tip(repo: &Repo) -> BTreeMap<String, SpecHash> {
    let Some(tip) = repo.head() else {
        return BTreeMap::new();
    };
    let files = repo.files();
    let wanted: Vec<(String, usize, String)> = files
        .into_iter()
        .map(|path| (path, 0, tip.clone()))
        .collect();
    let texts = contents(repo, &wanted);
    let hashes = texts.iter().map(|text| SpecHash::of(text));
    wanted
        .into_iter()
        .map(|(path, ..)| path)
        .zip(hashes)
        .collect()
}

/// The files' contents, in the order asked for.
fn contents(repo: &Repo, wanted: &[(String, usize, String)]) -> Vec<Vec<u8>> {
    let mut git = Command::new("git")
        .arg("-C")
        .arg(repo.path())
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = git.stdin.take().unwrap();
    let names: String = wanted
        .iter()
        .map(|(path, _, commit)| format!("{commit}:{path}\n"))
        .collect();
    let feeder = std::thread::spawn(move || stdin.write_all(names.as_bytes()));
    let output = git.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    let mut rest = output.stdout.as_slice();
    let mut texts = Vec::with_capacity(wanted.len());
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        let size: usize = head
            .rsplit(' ')
            .next()
            .and_then(|size| size.parse().ok())
            .unwrap_or_else(|| panic!("git cat-file says {head}"));
        texts.push(rest[end + 1..end + 1 + size].to_vec());
        rest = &rest[end + 2 + size..];
    }
    assert_eq!(texts.len(), wanted.len());
    texts
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(hex.unwrap_or(*first));
        rest = if hex.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap()
}
