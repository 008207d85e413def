//! `.sops.yaml` in the folder of a destination that encrypts: for whom `sops` encrypts what people add or rewrite there.

use bytes::Bytes;
use serde_json::Value;

use super::claim;
use crate::api::SecretPolicy;
use crate::commit::{CommitPlan, PathChange};
use crate::rules::DestinationPlan;

/// Its file name; not of our path grammar, so that no sweep takes it. Flux's source-controller leaves it out, unless somebody has rules
/// of their own of what to leave out; it then comes to kustomize, which takes every `.yaml` for an object.
const NAME: &str = ".sops.yaml";

/// What ours begins with. A file that does not is somebody else's.
const OURS: &str = "# Written by GitOps Reverser";

/// Where it stands.
pub(super) fn path(base_folder: &str) -> String {
    claim::in_folder(base_folder, NAME)
}

/// The commit that brings the file that was found to what the destination wants; none where it is somebody else's, or as wanted.
pub(super) fn plan(destination: &DestinationPlan, found: Option<&[u8]>) -> Option<CommitPlan> {
    if found.is_some_and(|found| !found.starts_with(OURS.as_bytes())) {
        return None;
    }
    let wanted = (destination.secret_policy == SecretPolicy::Encrypt).then(|| text(destination));
    if found == wanted.as_deref().map(str::as_bytes) {
        return None;
    }
    let (key, folder) = (&destination.key, &destination.base_folder);
    let verb = if wanted.is_some() {
        "Tell"
    } else {
        "No longer tell"
    };
    Some(CommitPlan {
        author: destination.commit.bot.clone(),
        message: format!(
            "{verb} sops who decrypts in {folder}\n\nDestination: {key}\nReason: claim\n"
        ),
        changes: vec![PathChange {
            path: path(folder),
            content: wanted.map(Bytes::from),
        }],
    })
}

fn text(destination: &DestinationPlan) -> String {
    let recipients: Vec<&str> = destination.recipients.iter().map(AsRef::as_ref).collect();
    // Kustomize takes no two objects of one name. In JSON it is good YAML, whatever the folder is called.
    let name = Value::String(path(&destination.base_folder));
    format!(
        "{OURS} for the GitDestination {}; without this line the file is yours, and is left as it is.\n\
         creation_rules:\n\
         - path_regex: \\.yaml$\n  encrypted_regex: ^(data|stringData)$\n  age: {}\n\
         # What sops does not read: it tells kustomize, and so Flux, that this is no object to apply.\n\
         apiVersion: configbutler.ai/v1alpha1\n\
         kind: SopsConfiguration\n\
         metadata:\n  name: {name}\n  annotations:\n    config.kubernetes.io/local-config: \"true\"\n",
        destination.key,
        recipients.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ours_is_rewritten_and_goes_with_the_policy() {
        let recipient = |text: &str| text.parse().unwrap();
        let mut destination = super::super::claim::tests::destination(None);
        assert!(plan(&destination, None).is_none());
        destination.secret_policy = SecretPolicy::Encrypt;
        destination.recipients = [recipient(
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        )]
        .into_iter()
        .collect();
        let written = plan(&destination, None).unwrap().changes.remove(0);
        assert_eq!(written.path, "live/.sops.yaml");
        let ours = written.content.unwrap();
        let parsed: Value = serde_yaml::from_slice(&ours).unwrap();
        assert_eq!(parsed["metadata"]["name"], "live/.sops.yaml");
        assert!(plan(&destination, Some(&ours)).is_none());
        for theirs in [&b"creation_rules: []\n"[..], b"", b"\xff"] {
            assert!(plan(&destination, Some(theirs)).is_none());
        }
        destination.recipients = [recipient(
            "age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z",
        )]
        .into_iter()
        .collect();
        let rewritten = plan(&destination, Some(&ours)).unwrap().changes.remove(0);
        assert!(rewritten.content.is_some_and(|text| text != ours));
        destination.secret_policy = SecretPolicy::Redact;
        assert_eq!(
            plan(&destination, Some(&ours)).unwrap().changes[0].content,
            None
        );
    }
}
