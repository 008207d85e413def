//! What may be shown of words that libgit2 and servers say.

/// More than that says nothing more in a status condition.
const MAX_CHARS: usize = 1000;

/// Takes user information out of URLs, control characters out of text, and cuts it.
pub(super) fn scrub(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c == '/' || c.is_whitespace() || matches!(c, '\'' | '"' | '>' | ')'));
        let authority = &after[..end.unwrap_or(after.len())];
        let hidden = authority.rfind('@').map_or(0, |at| at + 1);
        rest = &after[hidden..];
    }
    out.push_str(rest);
    let mut clean = String::with_capacity(out.len().min(MAX_CHARS));
    for (n, c) in out.trim().chars().enumerate() {
        if n == MAX_CHARS {
            clean.push('…');
            break;
        }
        match c {
            '\n' | '\r' | '\t' => clean.push(' '),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_information_is_taken_out() {
        assert_eq!(
            scrub("cannot reach https://bot:s3cret@host/a: gone"),
            "cannot reach https://host/a: gone"
        );
        assert_eq!(
            scrub("'ssh://git@host' and http://t@k@h/x@y"),
            "'ssh://host' and http://h/x@y"
        );
        assert_eq!(scrub("no url, mail a@b"), "no url, mail a@b");
        assert_eq!(scrub("https://a@b"), "https://b");
    }

    #[test]
    fn text_fits_one_line() {
        assert_eq!(scrub("a\nb\u{1b}[31mc\n"), "a b[31mc");
        assert_eq!(scrub(&"x".repeat(5000)).chars().count(), MAX_CHARS + 1);
    }
}
