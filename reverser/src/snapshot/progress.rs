//! What people see meanwhile, on standard error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line of a terminal is written anew.
const EVERY: Duration = Duration::from_millis(100);

/// Longer lines would wrap, and could not be written over, on the narrowest of usual terminals.
const WIDTH: usize = 79;

/// A line that is written over again and again on a terminal; anywhere else only the lines that stay.
pub(super) struct Progress {
    terminal: bool,
    /// The line that is to be seen is one to be written over.
    passing: bool,
    shown: Option<Instant>,
    doing: String,
    objects: usize,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            passing: false,
            shown: None,
            doing: String::new(),
            objects: 0,
        }
    }

    /// What is being done from now on.
    pub(super) fn doing(&mut self, what: String) {
        self.doing = what;
        self.show();
    }

    /// One more object.
    pub(super) fn object(&mut self) {
        self.objects += 1;
        if self.shown.is_none_or(|shown| shown.elapsed() >= EVERY) {
            self.show();
        }
    }

    fn show(&mut self) {
        if !self.terminal {
            return;
        }
        self.shown = Some(Instant::now());
        self.passing = true;
        let line = format!("{} objects  {}", self.objects, self.doing);
        let line: String = printable(&line).chars().take(WIDTH).collect();
        write(&format!("\r\x1b[K{line}"));
    }

    /// A line that stays.
    pub(super) fn say(&mut self, text: &str) {
        self.clear();
        write(&format!("{}\n", printable(text)));
    }

    /// Takes the passing line away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.passing) {
            write("\r\x1b[K");
        }
    }
}

/// Whoever closed it does not want to know.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

/// In one line, and without what would make a terminal do things: servers may say anything.
pub(super) fn printable(text: &str) -> String {
    let one_line: Vec<&str> = text.lines().map(str::trim).collect();
    let kept = one_line.join(" ");
    kept.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_one_line_that_moves_no_cursor() {
        assert_eq!(printable("a\n  b\r\n\tc\n"), "a b c");
        assert_eq!(printable("x\x1b[2Jy"), "x\u{fffd}[2Jy");
    }
}
