//! Kubernetes user names as Git signatures.

use manifest::SpecHash;

use super::Signature;

/// The domain of addresses made from user names, where nothing else is configured. Not a public
/// domain: mail to it goes nowhere.
pub const DEFAULT_EMAIL_DOMAIN: &str = "cluster.local";

/// Characters of a name that are kept.
const MAX_NAME: usize = 128;
/// Bytes before the `@` (RFC 5321 allows 64), less what a fingerprint takes.
const MAX_LOCAL_PART: usize = 64 - FINGERPRINT;
const MAX_DOMAIN: usize = 253;
/// `~` and 16 hex digits.
const FINGERPRINT: usize = 17;

/// The author for a Kubernetes user.
///
/// The name is the user name as it is, wherever Git takes it. An address is the user name if that
/// is one, else made of it: `system:serviceaccount:shop:deployer` becomes
/// `system+serviceaccount+shop+deployer@{domain}`.
///
/// What had to be altered ends in `~` and a fingerprint of the whole user name, so that no user
/// can take the signature of another by a name that Git would trim or cut to it.
#[must_use]
pub fn author(username: &str, email_domain: &str) -> Signature {
    Signature {
        name: name(username),
        email: if is_plain_email(username) {
            username.to_owned()
        } else {
            let local = local_part(username);
            format!("{local}@{}", domain(email_domain))
        },
    }
}

fn name(username: &str) -> String {
    let kept: String = username
        .chars()
        .map(|c| match c {
            '<' => '(',
            '>' => ')',
            c if is_invisible(c) => ' ',
            c => c,
        })
        .take(MAX_NAME)
        .collect();
    let kept = kept.trim_matches(is_crud);
    if kept == username && !kept.is_empty() && !has_fingerprint(username) {
        return kept.to_owned();
    }
    let kept = if kept.is_empty() { "unnamed" } else { kept };
    format!("{kept} {}", fingerprint(username))
}

fn local_part(username: &str) -> String {
    let mut altered = has_fingerprint(username);
    let mut kept = String::new();
    for c in username.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') => kept.push(c),
            '.' if !kept.is_empty() && !kept.ends_with('.') => kept.push(c),
            // `+` stands for nothing else.
            ':' => kept.push('+'),
            _ => {
                altered = true;
                if !kept.ends_with('-') {
                    kept.push('-');
                }
            }
        }
        if kept.len() >= MAX_LOCAL_PART {
            break;
        }
    }
    let trimmed = kept.trim_end_matches('.');
    // Each character that stayed is one byte.
    if !altered && trimmed.len() == username.len() && !trimmed.is_empty() {
        return trimmed.to_owned();
    }
    let trimmed = trimmed.trim_matches(['-', '.']);
    let trimmed = if trimmed.is_empty() {
        "unnamed"
    } else {
        trimmed
    };
    format!("{trimmed}{}", fingerprint(username))
}

/// The configured domain without what an address can't hold.
fn domain(configured: &str) -> String {
    let kept: String = configured
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        .take(MAX_DOMAIN)
        .collect();
    match kept.trim_matches(['-', '.']) {
        "" => DEFAULT_EMAIL_DOMAIN.to_owned(),
        kept => kept.to_owned(),
    }
}

fn is_plain_email(username: &str) -> bool {
    let Some((local, domain)) = username.split_once('@') else {
        return false;
    };
    let dotted = |text: &str, allowed: fn(char) -> bool| {
        text.split('.')
            .all(|part| !part.is_empty() && part.chars().all(allowed))
    };
    // No `~`: such an address could be one that we made for somebody else.
    local.len() <= 64
        && domain.len() <= MAX_DOMAIN
        && dotted(local, |c| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+')
        })
        && dotted(domain, |c| c.is_ascii_alphanumeric() || c == '-')
}

/// What Git cuts off both ends of a name or address (`crud` in git's ident.c).
fn is_crud(c: char) -> bool {
    c <= ' '
        || matches!(c, '.' | ',' | ':' | ';' | '<' | '>' | '"' | '\\' | '\'')
        || c.is_whitespace()
}

/// Control characters, and those that change how the text around them reads.
pub(super) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200c}' | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn fingerprint(username: &str) -> String {
    format!("~{}", SpecHash::of(username.as_bytes()))
}

fn has_fingerprint(username: &str) -> bool {
    username
        .rsplit_once('~')
        .is_some_and(|(_, hash)| hash.parse::<SpecHash>().is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signed(username: &str) -> (String, String) {
        let Signature { name, email } = author(username, DEFAULT_EMAIL_DOMAIN);
        (name, email)
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for (username, email) in [
            ("alice", "alice@cluster.local"),
            ("alice@example.com", "alice@example.com"),
            (
                "system:serviceaccount:shop:deployer",
                "system+serviceaccount+shop+deployer@cluster.local",
            ),
            (
                "system:kube-controller-manager",
                "system+kube-controller-manager@cluster.local",
            ),
            ("j.doe", "j.doe@cluster.local"),
        ] {
            assert_eq!(signed(username), (username.to_owned(), email.to_owned()));
        }
        let (name, email) = signed("jürgen 🦀");
        assert_eq!(name, "jürgen 🦀");
        assert!(email.starts_with("j-rgen~"), "{email}");
    }

    #[test]
    fn nobody_signs_as_somebody_else() {
        let alice = signed("alice");
        for other in [
            "alice ",
            "alice.",
            " alice",
            "alice\n",
            "\"alice\"",
            "alice\0",
            "alice\u{200b}",
            "alice <alice@cluster.local>",
            "alice\nSigned-off-by: bob",
            "ALICE~",
            "alice>",
        ] {
            let (name, email) = signed(other);
            assert_ne!(name, alice.0, "{other:?}");
            assert_ne!(email, alice.1, "{other:?}");
        }
        let altered = signed("alice ");
        assert_ne!(signed(&altered.0), altered);
        assert_ne!(signed(&altered.1).1, altered.1);
    }

    #[test]
    fn odd_domains_give_addresses_all_the_same() {
        assert_eq!(author("a", "ex>am<ple.org\n").email, "a@example.org");
        assert_eq!(author("a", "").email, "a@cluster.local");
    }

    fn odd_username() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[ .,:;<>\"'\\\\\n\0a@~-]{0,8}",
            "[a-z]{1,3}(~[0-9a-f]{16})?",
            Just("x".repeat(1024)),
            Just("🦀".repeat(300)),
        ]
    }

    proptest! {
        #[test]
        fn git_takes_any_signature_as_it_is(username in odd_username()) {
            let Signature { name, email } = author(&username, DEFAULT_EMAIL_DOMAIN);
            let signature = git2::Signature::now(&name, &email).unwrap();
            prop_assert_eq!(signature.name().unwrap(), &name);
            prop_assert_eq!(signature.email().unwrap(), &email);
            prop_assert!(!name.contains(is_invisible) && !email.contains(is_invisible));
            prop_assert!(name.len() < 600 && email.len() < 400);
        }

        #[test]
        fn different_users_sign_differently(a in odd_username(), b in odd_username()) {
            prop_assume!(a != b);
            prop_assert_ne!(signed(&a).0, signed(&b).0);
            // An address is a name of its own: whoever has it as user name may share it.
            if !is_plain_email(&a) && !is_plain_email(&b) {
                prop_assert_ne!(signed(&a).1, signed(&b).1);
            }
        }
    }
}
