//! Text as a YAML scalar that every parser, 1.1 or 1.2, reads back as exactly that text.
//!
//! The styles, from the most readable on: plain where nobody could take it for something else,
//! literal block for lines, single quotes where double ones would need backslashes, double quotes.
//! Rules: yaml.org/spec/1.2.2 and /1.1, yaml.org/type, and where parsers differ from them the stricter one.

use crate::work;

/// Longest key in bytes that stands before its `:` on one line. The specification says 1024 characters.
pub(super) const MAX_IMPLICIT_KEY: usize = 1000;

/// Words that some parser takes for a boolean, a null or a float, whatever their case.
const WORDS: &[&str] = &[
    "null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "infinity", "nan",
];

/// Writes text as a value whose block lines stand at column `indent`. A block ends with a newline,
/// nothing else does.
pub(super) fn write(out: &mut Vec<u8>, text: &str, indent: usize) {
    let found = Found::in_text(text);
    if found.newline && !found.unprintable && is_block(text) {
        literal(out, text, indent);
    } else {
        line(out, text, &found);
    }
}

/// Writes text on one line, such as a key.
pub(super) fn write_line(out: &mut Vec<u8>, text: &str) {
    line(out, text, &Found::in_text(text));
}

fn line(out: &mut Vec<u8>, text: &str, found: &Found) {
    if found.is_plain(text) {
        out.extend_from_slice(text.as_bytes());
    } else if found.needs_backslash && !found.single_quote && !found.needs_escape() {
        out.push(b'\'');
        out.extend_from_slice(text.as_bytes());
        out.push(b'\'');
    } else {
        double_quoted(out, text);
    }
}

/// What a text holds that decides about its style.
#[derive(Default)]
struct Found {
    newline: bool,
    tab: bool,
    /// Must be written as an escape: see [`is_unprintable`].
    unprintable: bool,
    /// `"` or `\`.
    needs_backslash: bool,
    single_quote: bool,
    colon: bool,
    hash: bool,
    /// A space that is none of YAML's, but that careless code trims.
    odd_space: bool,
}

impl Found {
    fn in_text(text: &str) -> Self {
        work::done(text.len());
        let mut found = Self::default();
        let mut all = 0;
        // Whole blocks of text go through here: without a branch on a byte the compiler looks at
        // many of them at a time.
        for &byte in text.as_bytes() {
            all |= byte;
            found.newline |= byte == b'\n';
            found.tab |= byte == b'\t';
            found.unprintable |= (byte < b' ') & (byte != b'\n') & (byte != b'\t') | (byte == 0x7F);
            found.needs_backslash |= (byte == b'"') | (byte == b'\\');
            found.single_quote |= byte == b'\'';
            found.colon |= byte == b':';
            found.hash |= byte == b'#';
        }
        if !all.is_ascii() {
            for c in text.chars().filter(|c| !c.is_ascii()) {
                found.unprintable |= is_unprintable(c);
                found.odd_space |= is_odd_space(c);
            }
        }
        found
    }

    fn needs_escape(&self) -> bool {
        self.newline || self.tab || self.unprintable
    }

    fn is_plain(&self, text: &str) -> bool {
        let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().next_back()) else {
            return false;
        };
        if self.needs_escape() || self.odd_space || last == b' ' || self.has_indicator(text) {
            return false;
        }
        match first {
            b'a'..=b'z' | b'A'..=b'Z' => !is_word(text),
            b'/' | b'_' | b'$' | b'(' | 0x80.. => true,
            b'0'..=b'9' => text.bytes().any(is_in_no_number),
            _ => false,
        }
    }

    /// `: ` or ` #`, or a colon at the end. (At the beginning neither is plain anyway.)
    fn has_indicator(&self, text: &str) -> bool {
        let holds = |pair: &[u8; 2]| text.as_bytes().windows(2).any(|bytes| bytes == pair);
        (self.colon && (text.ends_with(':') || holds(b": "))) || (self.hash && holds(b" #"))
    }
}

fn is_word(text: &str) -> bool {
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Characters that no number, date or time of any parser holds. (Others do: `0x1f`, `0o7`, `0b1`, `1e3`,
/// `0x1p4`, `1t`, `2001-01-01T00:00:00Z`.)
fn is_in_no_number(byte: u8) -> bool {
    match byte.to_ascii_lowercase() {
        b'o' | b'p' | b'x' | b't' | b'z' => false,
        b'g'..=b'z' | b'%' | b'/' => true,
        _ => false,
    }
}

/// Characters that YAML forbids, folds as line breaks in one of its versions, or that make a reviewer see
/// another text than the parser (bidirectional controls).
fn is_unprintable(c: char) -> bool {
    matches!(c,
        '\u{7F}'..='\u{9F}'
        | '\u{2028}' | '\u{2029}'
        | '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}')
}

fn is_odd_space(c: char) -> bool {
    matches!(
        c,
        '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200B}' | '\u{202F}' | '\u{205F}' | '\u{3000}'
    )
}

/// Whether text with a newline is readable and safe as a block: it has content, and does not end in
/// blanks that an editor would trim.
fn is_block(text: &str) -> bool {
    let content = text.trim_end_matches('\n');
    !content.is_empty() && !content.ends_with([' ', '\t'])
}

fn literal(out: &mut Vec<u8>, text: &str, indent: usize) {
    work::done(text.len());
    out.push(b'|');
    // Else the reader would take the blanks of the first line for indentation.
    if text.starts_with([' ', '\t', '\n']) {
        out.push(b'2');
    }
    let lines = match text.strip_suffix('\n') {
        None => {
            out.push(b'-');
            text
        }
        Some(lines) => {
            if lines.ends_with('\n') {
                out.push(b'+');
            }
            lines
        }
    };
    out.push(b'\n');
    for line in lines.split('\n') {
        work::done(indent);
        if !line.is_empty() {
            out.resize(out.len() + indent, b' ');
            out.extend_from_slice(line.as_bytes());
        }
        out.push(b'\n');
    }
}

fn double_quoted(out: &mut Vec<u8>, text: &str) {
    work::done(text.len());
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\r' => out.extend_from_slice(b"\\r"),
            // All of these are in the basic plane.
            c if c < ' ' || is_unprintable(c) => {
                let code = u32::from(c) as usize;
                out.extend_from_slice(b"\\u");
                for shift in [12, 8, 4, 0] {
                    out.push(HEX[code >> shift & 0xF]);
                }
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}
