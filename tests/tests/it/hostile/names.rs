//! Names of people and objects that would like to be something else in a commit.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, DeleteParams, ListParams};
use reverser::api::{ClusterWatchRule, GitDestination};
use serde_json::json;
use tests::eventually::eventually;

use crate::lab::{FOLDER, Lab, PATIENCE, create, map};

/// Each ends the line that it stands on, and goes on as something that Git, a forge or we ourselves would read.
const FORGERIES: [&str; 4] = [
    "eve\nauthor mallory <mallory@example.com> 0 +0000",
    "eve\n\nKubernetes-User: alice\nAttribution: exact",
    "eve <alice@cluster.local>\r\ngpgsig forged",
    "\u{1b}[2Jeve\u{202e}ecila\nCo-authored-by: alice <alice@example.com>",
];

#[tokio::test]
async fn a_user_forges_no_line_of_a_commit() {
    let lab = Lab::shared("forged").await.watching(&["configmaps"]).await;
    for (n, user) in FORGERIES.into_iter().enumerate() {
        let client = lab.plane.client_certified(user, &["system:masters"]);
        let maps: Api<ConfigMap> = Api::namespaced(client.unwrap(), &lab.namespace);
        let name = format!("by-{n}");
        create(&maps, &map(&name, "k", "v")).await;
        lab.holds(&name, "k", "v").await;
        let commits = lab.versions(&lab.path(&name));
        assert_eq!(commits.len(), 1, "{commits:#?}");
        let commit = &commits[0];
        let users: Vec<&str> = commit
            .trailers
            .iter()
            .filter(|(key, _)| key == "Kubernetes-User")
            .map(|(_, value)| value.as_str())
            .collect();
        // Decoded, it is the very name.
        let [shown] = users[..] else {
            panic!("{user:?}: {commit:#?}");
        };
        assert!(
            shown.starts_with("eve") || shown.starts_with('%'),
            "{shown}"
        );
        assert!(shown.contains("%0A"), "{shown}");
        assert!(
            !commit
                .author_name
                .contains(['\n', '\r', '\u{1b}', '<', '>'])
        );
        assert_ne!(commit.author_name, "mallory");
        assert!(
            commit.author_email.ends_with("@cluster.local"),
            "{commit:#?}"
        );
        let keys: Vec<&str> = commit
            .trailers
            .iter()
            .map(|(key, _)| key.as_str())
            .collect();
        assert!(!keys.contains(&"Co-authored-by"), "{keys:?}");
        assert_eq!(keys.iter().filter(|key| **key == "Attribution").count(), 1);
    }
    lab.repo.fsck().unwrap();
}

/// A ClusterRole's name is what may stand between two slashes of a URL: anything but `/` and `%`.
#[tokio::test]
async fn an_object_forges_no_line_of_a_commit_and_leaves_no_folder() {
    let lab = Lab::shared("roles").await;
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.destination("all", json!({})).await;
    let rule = format!("hostile-{}", lab.namespace);
    let rules: Api<ClusterWatchRule> = Api::all(lab.client.clone());
    let spec = json!({
        "metadata": {"name": rule},
        "spec": {
            "destinationRef": {"name": "all", "namespace": lab.namespace},
            "rules": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "scope": "Cluster"}],
        },
    });
    create(&rules, &serde_json::from_value(spec).unwrap()).await;
    lab.ready::<GitDestination>("all").await;
    let roles: Api<ClusterRole> = Api::all(lab.user("alice"));
    let mark = &lab.namespace;
    let names = [
        format!("{mark}\n\nKubernetes-User: bob"),
        format!("{mark}..\\..\\.git\\config"),
        format!("{mark} .git "),
        format!("-{mark} --upload-pack=touch"),
        format!("{mark}:\u{202e}\u{0}x").replace('\u{0}', "\u{1}"),
        format!("{}-CON.{mark}", "é".repeat(60)),
    ];
    for name in &names {
        let role = json!({"metadata": {"name": name, "labels": {"hostile": mark}}, "rules": []});
        create(&roles, &serde_json::from_value(role).unwrap()).await;
    }
    let folder = format!("{FOLDER}/rbac.authorization.k8s.io/v1/clusterroles/");
    let ours = eventually(PATIENCE, || async {
        let mut found = Vec::new();
        for (path, text) in lab.repo.contents() {
            let object: serde_json::Value = serde_yaml::from_slice(&text).unwrap_or_default();
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            if names.iter().any(|it| it == name) {
                found.push(path);
            }
        }
        if found.len() == names.len() {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    for path in &ours {
        let name = path.strip_prefix(&folder).unwrap();
        assert!(!name.contains('/') && name.ends_with(".yaml"), "{path:?}");
        assert!(
            name.is_ascii() && !name.contains(|c: char| c.is_control() || " \\:".contains(c)),
            "{path:?}"
        );
    }
    for commit in lab.commits() {
        let users = commit
            .trailers
            .iter()
            .filter(|(key, _)| key == "Kubernetes-User");
        assert!(
            users.map(|(_, user)| user).all(|user| user != "bob"),
            "{commit:#?}"
        );
    }
    lab.repo.fsck().unwrap();
    // Of some names kube makes no URL.
    let all = ListParams::default().labels(&format!("hostile={mark}"));
    let deleted = roles
        .delete_collection(&DeleteParams::default(), &all)
        .await;
    deleted.unwrap();
    eventually(PATIENCE, || async {
        let files = lab.repo.files();
        let left: Vec<_> = files
            .into_iter()
            .filter(|path| ours.contains(path))
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    rules.delete(&rule, &DeleteParams::default()).await.unwrap();
}
