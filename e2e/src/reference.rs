//! `docs/configuration.md`: everything that can be configured, from where it is defined.

mod flags;
mod kinds;
mod values;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory as _;

use crate::chart;

/// Where the page stands.
#[must_use]
pub fn path() -> PathBuf {
    chart::directory().join("../../docs/configuration.md")
}

/// The page as it should be.
///
/// # Errors
/// If a file of the chart can't be read.
pub fn page() -> Result<String> {
    let mut page = String::from(
        "# Configuration

This page is made by `make docs` from the types, the flags and the chart's values; a test holds it against them.

- [Custom resources](#custom-resources): what goes where
- [Flags](#flags) of both programs, each with an environment variable
- [Chart values](#chart-values), of which each flag is one

## Custom resources

All are of `configbutler.ai/v1alpha1`. What a schema can check, it checks: `kubectl apply` refuses the rest with the reason. The reasons of
conditions are in [operations.md](operations.md).
",
    );
    for definition in reverser::api::definitions() {
        page.push_str(&kinds::section(&definition));
    }
    page.push_str("\n## Flags\n");
    for command in [
        reverser::args::Args::command(),
        webhook::args::Args::command(),
    ] {
        page.push_str(&flags::section(command));
    }
    let file = chart::directory().join("values.yaml");
    let values =
        std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    page.push_str(&values::section(&values));
    Ok(page)
}

/// One row of a table.
fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escape(cell)).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn escape(cell: &str) -> String {
    let words: Vec<&str> = cell.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("`{text}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_made_from_what_it_describes() {
        let committed = std::fs::read_to_string(path()).unwrap();
        let made = page().unwrap();
        let differs = made.lines().zip(committed.lines()).find(|(a, b)| a != b);
        assert!(
            made == committed,
            "docs/configuration.md is out of date, first in {differs:?}; run `make docs`"
        );
    }
}
