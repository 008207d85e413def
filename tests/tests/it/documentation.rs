//! What the documentation promises to list is listed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below a directory of the repository.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

fn sources(directory: &Path, found: &mut String) {
    let mut all = Vec::new();
    files(directory, &mut all);
    all.retain(|path| !path.to_string_lossy().ends_with("tests.rs"));
    for path in all {
        let text = fs::read_to_string(&path).unwrap();
        // Unit tests stand at the end of a file.
        found.push_str(text.split("#[cfg(test)]").next().unwrap_or_default());
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
        "is_too_large() => (",
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

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let mut all = Vec::new();
    for directory in ["manifest", "webhook", "reverser", "tests", "e2e"] {
        files(&root().join(directory), &mut all);
    }
    let mut code = String::new();
    for file in all
        .iter()
        .filter(|path| path.extension().is_some_and(|it| it == "rs"))
    {
        code.push_str(&fs::read_to_string(file).unwrap());
    }
    let page = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let words = page.split('`').skip(1).step_by(2);
    let is_name = |word: &&str| {
        word.contains('_')
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let named: BTreeSet<&str> = words.filter(is_name).collect();
    assert!(named.len() > 50, "{named:?}");
    let missing: Vec<_> = named
        .into_iter()
        .filter(|name| {
            !code.contains(&format!("fn {name}(")) && !code.contains(&format!("fn {name}<"))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
