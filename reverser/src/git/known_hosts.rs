//! The lines of a `known_hosts` file, as sshd(8) describes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// Which host may have which key. Public data: nothing in it is secret.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownHosts {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    revoked: bool,
    hosts: Hosts,
    key_type: String,
    key: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Hosts {
    /// Patterns with `*` and `?`, the flag for those negated by `!`.
    Patterns(Vec<(String, bool)>),
    /// `|1|salt|HMAC-SHA1(salt, name)`.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

/// What the lines say of a host's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Trusted,
    /// The host is there, with other keys, of these types.
    Mismatch(Vec<String>),
    /// The host is not there.
    Unknown,
    Revoked,
}

impl KnownHosts {
    /// Lines that can't be read and certificate authorities are left out: what is not understood trusts nobody.
    pub(super) fn parse(text: &str) -> Self {
        Self {
            lines: text.lines().filter_map(Line::parse).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn verify(&self, host: &str, port: u16, key: &[u8]) -> Verdict {
        let name = name_of(host, port);
        let of_host: Vec<&Line> = self
            .lines
            .iter()
            .filter(|line| line.hosts.contain(&name))
            .collect();
        if of_host.iter().any(|line| line.revoked && line.key == key) {
            return Verdict::Revoked;
        }
        let mut trusted = of_host.iter().filter(|line| !line.revoked).peekable();
        if trusted.peek().is_none() {
            return Verdict::Unknown;
        }
        if trusted.clone().any(|line| line.key == key) {
            return Verdict::Trusted;
        }
        Verdict::Mismatch(trusted.map(|line| line.key_type.clone()).collect())
    }

    pub(super) fn knows(&self, host: &str, port: u16) -> bool {
        let name = name_of(host, port);
        self.lines
            .iter()
            .any(|line| !line.revoked && line.hosts.contain(&name))
    }

    /// The host's lines with its name in the clear, for libgit2 to choose the kind of key it asks for.
    pub(super) fn plain_lines(&self, host: &str, port: u16) -> String {
        use std::fmt::Write as _;
        let name = name_of(host, port);
        let mut out = String::new();
        for line in self
            .lines
            .iter()
            .filter(|line| !line.revoked && line.hosts.contain(&name))
        {
            let _ = writeln!(
                out,
                "{name} {} {}",
                line.key_type,
                STANDARD.encode(&line.key)
            );
        }
        out
    }
}

/// As OpenSSH writes it.
pub(super) fn name_of(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 {
        host
    } else {
        format!("[{host}]:{port}")
    }
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_whitespace();
        let mut hosts = fields.next().filter(|first| !first.starts_with('#'))?;
        let mut revoked = false;
        match hosts {
            "@revoked" => {
                revoked = true;
                hosts = fields.next()?;
            }
            marker if marker.starts_with('@') => return None,
            _ => {}
        }
        let key_type = fields.next()?.to_owned();
        let key = STANDARD.decode(fields.next()?).ok()?;
        // The key begins with its type, as a string with its length: a line that lies about it is not understood.
        let named = key.get(4..4 + key_type.len())?;
        (named == key_type.as_bytes()).then_some(())?;
        Some(Self {
            revoked,
            hosts: Hosts::parse(hosts)?,
            key_type,
            key,
        })
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if let Some(hashed) = text.strip_prefix("|1|") {
            let (salt, hash) = hashed.split_once('|')?;
            let (salt, hash) = (STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?);
            return Some(Self::Hashed { salt, hash });
        }
        let pattern = |part: &str| match part.strip_prefix('!') {
            Some(pattern) => (pattern.to_ascii_lowercase(), true),
            None => (part.to_ascii_lowercase(), false),
        };
        Some(Self::Patterns(
            text.split(',')
                .filter(|part| !part.is_empty())
                .map(pattern)
                .collect(),
        ))
    }

    fn contain(&self, name: &str) -> bool {
        match self {
            Self::Hashed { salt, hash } => {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
                hmac::verify(&key, name.as_bytes(), hash).is_ok()
            }
            Self::Patterns(patterns) => {
                let matching = |negated: bool| {
                    patterns.iter().any(|(pattern, not)| {
                        *not == negated && matches(pattern.as_bytes(), name.as_bytes())
                    })
                };
                matching(false) && !matching(true)
            }
        }
    }
}

/// `*` any bytes, `?` one. Brackets are plain: `[host]:port` is a name.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // Where to go on when the last `*` has to take one byte more.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((after, at)) => {
                    p = after;
                    n = at + 1;
                    star = Some((after, n));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, fill: u8) -> Vec<u8> {
        let mut blob = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        blob.extend_from_slice(kind.as_bytes());
        blob.extend_from_slice(&[fill; 36]);
        blob
    }

    fn line(hosts: &str, kind: &str, fill: u8) -> String {
        format!(
            "{hosts} {kind} {} some comment\n",
            STANDARD.encode(key(kind, fill))
        )
    }

    const ED: &str = "ssh-ed25519";

    #[test]
    fn a_plain_name_is_found_at_its_port_only() {
        let hosts = KnownHosts::parse(&line("git.example.com,10.0.0.1", ED, 1));
        assert_eq!(
            hosts.verify("git.example.com", 22, &key(ED, 1)),
            Verdict::Trusted
        );
        assert_eq!(
            hosts.verify("GIT.example.com", 22, &key(ED, 1)),
            Verdict::Trusted
        );
        assert_eq!(
            hosts.verify("git.example.com", 2222, &key(ED, 1)),
            Verdict::Unknown
        );
        assert_eq!(hosts.verify("other", 22, &key(ED, 1)), Verdict::Unknown);
        let hosts = KnownHosts::parse(&line("[127.0.0.1]:2222", ED, 1));
        assert_eq!(
            hosts.verify("127.0.0.1", 2222, &key(ED, 1)),
            Verdict::Trusted
        );
    }

    #[test]
    fn another_key_is_a_mismatch_that_names_the_known_types() {
        let hosts = KnownHosts::parse(&line("h", "ssh-rsa", 1));
        assert_eq!(
            hosts.verify("h", 22, &key(ED, 1)),
            Verdict::Mismatch(vec!["ssh-rsa".to_owned()])
        );
    }

    #[test]
    fn hashed_names_are_found() {
        let salt = [7_u8; 20];
        let mac = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt),
            b"[h]:2222",
        );
        let name = format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(mac));
        let hosts = KnownHosts::parse(&line(&name, ED, 1));
        assert_eq!(hosts.verify("h", 2222, &key(ED, 1)), Verdict::Trusted);
        assert_eq!(hosts.verify("h", 22, &key(ED, 1)), Verdict::Unknown);
        assert!(
            hosts
                .plain_lines("h", 2222)
                .starts_with("[h]:2222 ssh-ed25519 ")
        );
    }

    #[test]
    fn revoked_keys_are_never_trusted() {
        let text = format!("{}@revoked {}", line("h", ED, 1), line("*", ED, 1));
        assert_eq!(
            KnownHosts::parse(&text).verify("h", 22, &key(ED, 1)),
            Verdict::Revoked
        );
    }

    #[test]
    fn patterns_match_and_negations_exclude() {
        let hosts = KnownHosts::parse(&line("*.example.com,!bad.example.com", ED, 1));
        assert!(hosts.knows("git.example.com", 22));
        assert!(!hosts.knows("bad.example.com", 22));
        assert!(!hosts.knows("example.com", 22));
    }

    #[test]
    fn what_is_not_understood_trusts_nobody() {
        let text = format!(
            "# comment\n\nh\nh ssh-ed25519\nh ssh-ed25519 !!!\nh ssh-rsa {}\n@cert-authority {}",
            STANDARD.encode(key(ED, 1)),
            line("*", ED, 1)
        );
        assert!(KnownHosts::parse(&text).is_empty());
    }
}
