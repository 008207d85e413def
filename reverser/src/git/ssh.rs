//! Keys of ours and of hosts.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use ssh_key::{Kdf, PrivateKey};

use super::credentials::Secret;
use super::known_hosts::{KnownHosts, Verdict, name_of};

/// A private key and the hosts it may be used with.
#[derive(Clone)]
pub(super) struct SshIdentity {
    pub(super) key: Secret,
    pub(super) passphrase: Option<Secret>,
    pub(super) known_hosts: KnownHosts,
}

/// Why a private key is of no use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyFlaw {
    NotAKey,
    NeedsPassphrase,
    Slow,
}

/// Of bcrypt, to open a key with: `ssh-keygen` takes 16 or 24 where it is not told otherwise, at some 10 ms each. The key says how
/// many, up to years of them.
const MAX_ROUNDS: u32 = 500;

/// Text of a private key as libssh2 takes it: LF only, one at the end.
pub(super) fn read_key(text: &str, passphrase: bool) -> Result<String, KeyFlaw> {
    let key: String = text.trim().replace("\r\n", "\n") + "\n";
    let header = key.lines().next().unwrap_or_default();
    if !header.starts_with("-----BEGIN ")
        || !header.ends_with("PRIVATE KEY-----")
        || !key.contains("\n-----END ")
    {
        return Err(KeyFlaw::NotAKey);
    }
    if !passphrase && is_encrypted(&key) {
        return Err(KeyFlaw::NeedsPassphrase);
    }
    if takes_too_long(key.as_bytes()) {
        return Err(KeyFlaw::Slow);
    }
    Ok(key)
}

/// Whether nobody can wait for this key to be opened. Of a key that can't be read: no.
pub(super) fn takes_too_long(pem: &[u8]) -> bool {
    let key = PrivateKey::from_openssh(pem);
    key.is_ok_and(|key| matches!(key.kdf(), Kdf::Bcrypt { rounds, .. } if *rounds > MAX_ROUNDS))
}

/// PKCS#8 and PEM say so in a header; OpenSSH's own format names a cipher (openssh/PROTOCOL.key).
fn is_encrypted(key: &str) -> bool {
    if key.contains("ENCRYPTED") {
        return true;
    }
    if !key.starts_with("-----BEGIN OPENSSH") {
        return false;
    }
    const MAGIC: &[u8] = b"openssh-key-v1\0";
    let body: String = key
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(str::trim)
        .collect();
    STANDARD.decode(body).is_ok_and(|bytes| {
        bytes
            .strip_prefix(MAGIC)
            .is_some_and(|rest| !rest.starts_with(b"\0\0\0\x04none"))
    })
}

impl SshIdentity {
    /// The host key as the server sent it.
    ///
    /// # Errors
    /// What to do about it, for a person.
    pub(super) fn verify_host(&self, host: &str, port: u16, key: &[u8]) -> Result<(), String> {
        let name = name_of(host, port);
        match self.known_hosts.verify(host, port, key) {
            Verdict::Trusted => Ok(()),
            Verdict::Unknown => Err(format!(
                "the Secret's known_hosts has no line for {name}: add what `{}` prints",
                scan(host, port)
            )),
            Verdict::Revoked => Err(format!(
                "the host key of {name} is marked @revoked in the Secret's known_hosts"
            )),
            Verdict::Mismatch(types) => Err(format!(
                "the host key of {name} ({}) is not in the Secret's known_hosts, which has {}",
                key_type(key),
                types.join(", ")
            )),
        }
    }
}

/// The command that prints a host's lines.
pub(super) fn scan(host: &str, port: u16) -> String {
    if port == 22 {
        format!("ssh-keyscan {host}")
    } else {
        format!("ssh-keyscan -p {port} {host}")
    }
}

fn key_type(key: &[u8]) -> String {
    let length = key
        .first_chunk::<4>()
        .map_or(0, |bytes| u32::from_be_bytes(*bytes) as usize);
    let name = key.get(4..4 + length.min(64)).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

// === the hint file ===

/// `$HOME/.ssh/known_hosts` of libgit2's own home.
static HINT_FILE: OnceLock<PathBuf> = OnceLock::new();
static HINTS: Mutex<String> = Mutex::new(String::new());

pub(super) fn set_hint_home(home: &Path) {
    let _ = HINT_FILE.set(home.join(".ssh").join("known_hosts"));
}

/// Tells libgit2 which kinds of host key to ask for: it looks for them in its home's `known_hosts` and nowhere else.
///
/// A hint only. What is trusted is decided by [`SshIdentity::verify_host`] alone. The file is the process's: where two
/// Secrets list different kinds of keys for one host and their workers connect in the same instant, one of them may be shown
/// a key that it doesn't list; it fails closed and succeeds when tried again.
pub(super) fn hint(identity: &SshIdentity, host: &str, port: u16) -> std::io::Result<()> {
    let Some(file) = HINT_FILE.get() else {
        return Ok(());
    };
    let name = format!("{} ", name_of(host, port));
    let mut hints = HINTS.lock();
    let mut lines: String = hints
        .lines()
        .filter(|line| !line.starts_with(&name))
        .flat_map(|line| [line, "\n"])
        .collect();
    lines.push_str(&identity.known_hosts.plain_lines(host, port));
    if *hints == lines && file.exists() {
        return Ok(());
    }
    if let Some(directory) = file.parent() {
        super::limits::make_private_directory(directory)?;
    }
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, &lines)?;
    std::fs::rename(&fresh, file)?;
    *hints = lines;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_normalised_and_others_refused() {
        let key =
            "-----BEGIN OPENSSH PRIVATE KEY-----\r\nAAAA\r\n-----END OPENSSH PRIVATE KEY-----";
        assert!(
            read_key(key, false)
                .unwrap()
                .ends_with("-----END OPENSSH PRIVATE KEY-----\n")
        );
        assert!(!read_key(key, false).unwrap().contains('\r'));
        assert_eq!(
            read_key("PuTTY-User-Key-File-3: ssh-ed25519", false),
            Err(KeyFlaw::NotAKey)
        );
        assert_eq!(
            read_key("ssh-ed25519 AAAA me", false),
            Err(KeyFlaw::NotAKey)
        );
        assert_eq!(read_key("", false), Err(KeyFlaw::NotAKey));
    }

    #[test]
    fn encrypted_key_needs_a_passphrase() {
        let body = STANDARD.encode(b"openssh-key-v1\0\0\0\0\x0aaes256-ctr");
        let key = format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n"
        );
        assert_eq!(read_key(&key, false), Err(KeyFlaw::NeedsPassphrase));
        assert!(read_key(&key, true).is_ok());
    }

    /// What `ssh-keygen` would write if it were told to take so many rounds.
    #[test]
    fn a_key_that_takes_years_to_open_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-a", "1", "-N", "secret", "-f"])
            .arg(&file)
            .status()
            .unwrap();
        assert!(made.success());
        let key = std::fs::read_to_string(file).unwrap();
        assert!(read_key(&key, true).is_ok());
        let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
        let mut bytes = STANDARD.decode(body).unwrap();
        // The name of the function, the length of its options, that of the salt, the salt, the rounds.
        let at = memchr::memmem::find(&bytes, b"bcrypt").unwrap() + 6 + 4 + 4 + 16;
        assert_eq!(bytes[at..at + 4], [0, 0, 0, 1]);
        bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
        let body = STANDARD.encode(bytes);
        let lines: Vec<_> = body
            .as_bytes()
            .chunks(70)
            .map(String::from_utf8_lossy)
            .collect();
        let slow = format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
            lines.join("\n")
        );
        assert_eq!(read_key(&slow, true), Err(KeyFlaw::Slow));
        let data = [("ssh-privatekey", &*slow), ("ssh-password", "secret")];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let signer = crate::git::Signer::from_secret(&data.into());
        assert_eq!(signer.err(), Some(crate::git::SigningKeyError::Slow));
    }
}
