//! The four custom resources of group `configbutler.ai`: what users write, and what they read back.
//!
//! What a schema can check is checked there, so that `kubectl apply` refuses it. The files in
//! `charts/gitops-reverser/crds` are made from these types by the binary `crdgen`.

#![allow(
    clippy::duplicated_attributes,
    reason = "printer columns repeat type_ and json_path, each in its own printcolumn()"
)]
#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats each spec in a private scope"
)]

mod conditions;
mod destination;
mod patterns;
mod repo;
mod rule;

pub use conditions::{Condition, ConditionStatus, Conditions, READY, RECONCILING, STALLED};
pub use destination::{
    DestinationStatus, EncryptionSettings, GitDestination, GitDestinationSpec, RecipientsRef,
    RepoRef, SecretPolicy,
};
pub use repo::{
    CommitSettings, Committer, GitRepoConfig, GitRepoConfigSpec, PushSettings, RepoStatus,
    SecretRef,
};
pub use rule::{
    ClusterDestinationRef, ClusterResourceRule, ClusterWatchRule, ClusterWatchRuleSpec,
    DestinationRef, ResourceRule, RuleOperation, RuleScope, RuleStatus, WatchRule, WatchRuleSpec,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The API group of all four.
pub const GROUP: &str = "configbutler.ai";

/// The four definitions, in the order in which they refer to each other.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        GitRepoConfig::crd(),
        GitDestination::crd(),
        WatchRule::crd(),
        ClusterWatchRule::crd(),
    ]
}

/// Each definition as the chart holds it: file name and YAML text.
///
/// # Errors
/// When a definition can't be written as YAML, which would be an error in a type.
pub fn definition_files() -> Result<Vec<(String, String)>, serde_yaml::Error> {
    definitions()
        .iter()
        .map(|crd| {
            let name = format!("{GROUP}_{}.yaml", crd.spec.names.plural);
            Ok((
                name,
                format!(
                    "# Made by crdgen from reverser/src/api.\n{}",
                    serde_yaml::to_string(crd)?
                ),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_charts_definitions_are_made_from_these_types() {
        const REGENERATE: &str = "cargo run -p reverser --bin crdgen charts/gitops-reverser/crds";
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/gitops-reverser/crds");
        let committed: BTreeMap<String, String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| {
                let file = file.unwrap();
                let text = std::fs::read_to_string(file.path()).unwrap();
                (file.file_name().into_string().unwrap(), text)
            })
            .collect();
        let generated: BTreeMap<String, String> = definition_files().unwrap().into_iter().collect();
        let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            names(&committed),
            names(&generated),
            "charts/gitops-reverser/crds holds other files; delete what is too much, and run `{REGENERATE}`"
        );
        for (name, text) in &generated {
            let differs = text
                .lines()
                .zip(committed[name].lines())
                .find(|(generated, committed)| generated != committed);
            assert!(
                *text == committed[name],
                "{name} is not what the types say, first in {differs:?}; run `{REGENERATE}`"
            );
        }
    }
}
