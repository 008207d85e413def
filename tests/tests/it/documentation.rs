//! What the documentation promises to list is listed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(directory: &Path, found: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if !path.to_string_lossy().ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            // Unit tests stand at the end of a file.
            found.push_str(text.split("#[cfg(test)]").next().unwrap_or_default());
        }
    }
}

/// The literal that follows each of these places.
fn literals<'a>(source: &'a str, before: &str) -> Vec<&'a str> {
    let pieces = source.split(before).skip(1);
    let literals = pieces.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    literals
        .filter(|literal| literal.starts_with(|c: char| c.is_ascii_uppercase()))
        .collect()
}

#[test]
fn every_reason_of_a_condition_has_its_line_in_operations() {
    let mut source = String::new();
    sources(&root().join("reverser/src"), &mut source);
    let mut reasons: BTreeSet<&str> = BTreeSet::new();
    for before in [
        "reason: ",
        "stalled(",
        "_), _) => (",
        "is_refused() => (",
        "(None, _) => (",
    ] {
        reasons.extend(literals(&source, before));
    }
    assert!(reasons.len() > 25, "{reasons:?}");
    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let missing: Vec<&&str> = reasons
        .iter()
        .filter(|reason| !operations.contains(&format!("`{reason}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_alert_has_its_line_in_operations() {
    let chart = root().join("charts/gitops-reverser/templates/prometheusrule.yaml");
    let rules = fs::read_to_string(chart).unwrap();
    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 5, "{alerts:?}");
    for alert in alerts {
        assert!(operations.contains(&format!("`{alert}`")), "{alert}");
    }
}
