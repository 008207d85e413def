//! What a server says beside the protocol: progress, and the words of its hooks.

/// Bytes that are kept.
const MAX: usize = 4096;

/// As a terminal shows it: what comes behind a carriage return takes the place of its line, so that progress does not drown what
/// is of interest. Of what is too long the beginning.
#[derive(Debug, Default)]
pub(super) struct Said {
    text: Vec<u8>,
    /// Where its last line begins.
    line: usize,
    /// A carriage return came last.
    returned: bool,
}

impl Said {
    pub(super) fn write_down(&mut self, said: &[u8]) {
        for &byte in said {
            match byte {
                b'\r' => self.returned = true,
                b'\n' => {
                    self.returned = false;
                    self.keep(byte);
                    self.line = self.text.len();
                }
                _ => {
                    if std::mem::take(&mut self.returned) {
                        self.text.truncate(self.line);
                    }
                    self.keep(byte);
                }
            }
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.text.len() < MAX {
            self.text.push(byte);
        }
    }

    /// On one line. Empty where nothing was said.
    pub(super) fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        let lines: Vec<&str> = text
            .split('\n')
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_does_not_drown_what_the_server_says() {
        let mut said = Said::default();
        said.write_down(b"hello\r\n");
        for percent in 0..100_000 {
            said.write_down(format!("Resolving: {percent}\r").as_bytes());
        }
        said.write_down(b"Resolving: done.\nhook ");
        said.write_down(b"declined\n");
        assert_eq!(said.words(), "hello Resolving: done. hook declined");
    }

    #[test]
    fn a_line_of_progress_that_does_not_fit_makes_room_for_what_comes_instead_of_it() {
        let mut said = Said::default();
        said.write_down(&[&[b'w'; MAX - 10][..], b"\n"].concat());
        said.write_down(b"Resolving: 1 of 100\r");
        said.write_down(b"Resolving: 2 of 100\rno!\n");
        assert!(said.words().ends_with("w no!"), "{}", said.words());
    }

    #[test]
    fn of_what_is_too_long_the_beginning_is_kept() {
        let mut said = Said::default();
        said.write_down(b"first\n");
        said.write_down(&[b'x'; 2 * MAX]);
        said.write_down(b"\nmore\rlast\n");
        assert_eq!(said.words().len(), MAX);
        assert!(said.words().starts_with("first xx"));
    }
}
