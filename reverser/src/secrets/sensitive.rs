//! Whose values are secret.

use std::collections::BTreeSet;
use std::str::FromStr;

/// Core Secrets always, and the types that a flag names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SensitiveTypes(BTreeSet<SensitiveType>);

/// A resource of a group, at every version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SensitiveType {
    group: String,
    resource: String,
}

/// Not `resource` or `resource.group`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a type is written as a plural resource and its group: externalsecrets.external-secrets.io"
)]
pub struct ParseTypeError;

// === impl SensitiveTypes ===

impl SensitiveTypes {
    /// Whether values of this type are secret.
    #[must_use]
    pub fn contains(&self, group: &str, resource: &str) -> bool {
        is_secret(group, resource)
            || self
                .0
                .iter()
                .any(|it| it.group == group && it.resource == resource)
    }

    /// Group and resource of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = self.0.iter();
        std::iter::once(("", "secrets"))
            .chain(named.map(|it| (it.group.as_str(), it.resource.as_str())))
    }
}

impl FromIterator<SensitiveType> for SensitiveTypes {
    fn from_iter<I: IntoIterator<Item = SensitiveType>>(types: I) -> Self {
        Self(types.into_iter().collect())
    }
}

/// Whether this is the core Secret.
pub(super) fn is_secret(group: &str, resource: &str) -> bool {
    group.is_empty() && resource == "secrets"
}

// === impl SensitiveType ===

impl FromStr for SensitiveType {
    type Err = ParseTypeError;

    /// `resource.group`; without a dot, of the core group.
    fn from_str(text: &str) -> Result<Self, ParseTypeError> {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        let ends_well = !group.ends_with('.') && (group.is_empty() != text.contains('.'));
        if resource.is_empty() || !ends_well || !text.chars().all(word) {
            return Err(ParseTypeError);
        }
        Ok(Self {
            group: group.to_owned(),
            resource: resource.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_always_and_whatever_is_named() {
        let types: SensitiveTypes = ["tokens.example.com", "configmaps"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        assert!(types.contains("", "secrets"));
        assert!(types.contains("example.com", "tokens"));
        assert!(types.contains("", "configmaps"));
        assert!(!types.contains("other.example.com", "tokens"));
        assert!(!types.contains("example.com", "secrets"));
        assert!(!SensitiveTypes::default().contains("", "configmaps"));
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for bad in [
            "",
            ".",
            "tokens.",
            ".example.com",
            "Tokens.example.com",
            "a b",
            "a/b",
        ] {
            assert_eq!(bad.parse::<SensitiveType>(), Err(ParseTypeError), "{bad}");
        }
    }
}
