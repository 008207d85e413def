//! What is to be known of a clone after its process was killed.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::Path;

use git2::Oid;

const FILE: &str = "gitops-reverser-state";

/// Which commits of the clone are ours and not at the remote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recorded {
    /// The last of our commits.
    pub(super) local: Option<Oid>,
    /// What the first of those that were not pushed stands on.
    pub(super) base: Option<Oid>,
    /// File names of the packs that hold them.
    pub(super) packs: Vec<String>,
}

impl Recorded {
    /// Nothing where it can't be read.
    pub(super) fn read(clone: &Path) -> Self {
        let text = std::fs::read_to_string(clone.join(FILE));
        text.ok()
            .and_then(|text| Self::parse(&text))
            .unwrap_or_default()
    }

    /// In one step: a killed process leaves the old record or the new one.
    pub(super) fn write(&self, clone: &Path) -> io::Result<()> {
        let file = clone.join(FILE);
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, self.to_string())?;
        std::fs::rename(&fresh, &file)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut next = || match lines.next()? {
            "none" => Some(None),
            hex => Oid::from_str(hex).ok().map(Some),
        };
        Some(Self {
            local: next()?,
            base: next()?,
            packs: lines.map(str::to_owned).collect(),
        })
    }
}

impl Display for Recorded {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for oid in [self.local, self.base] {
            match oid {
                Some(oid) => writeln!(f, "{oid}")?,
                None => writeln!(f, "none")?,
            }
        }
        self.packs.iter().try_for_each(|pack| writeln!(f, "{pack}"))
    }
}
