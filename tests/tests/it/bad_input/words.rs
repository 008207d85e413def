//! Rules, destinations and references that say what can't be.

use super::*;

#[tokio::test]
async fn resources_that_no_watch_rule_can_select() {
    let lab = Lab::shared("words").await.watching(&["configmaps"]).await;
    let rules = json!([{"resources": ["configmaps", "deploymets", "namespaces"]}, {"apiGroups": ["apps"], "resources": ["secrets"]}]);
    lab.rule("rule", rules).await;
    let message = told::<WatchRule>(&lab, "rule", "UnresolvedResources").await;
    for words in [
        "no resource 'deploymets'; did you mean 'deployments' in apps?",
        "'namespaces' is cluster-scoped; select it with a ClusterWatchRule of scope Cluster",
        "no resource 'secrets' in apiGroups [\"apps\"]; did you mean 'secrets' in the core group",
    ] {
        assert!(message.contains(words), "{message}");
    }
    // The rest of the rule is at work.
    lab.settle().await;
    lab.ready::<GitDestination>("all").await;
    lab.rule(
        "rule",
        json!([{"resources": ["configmaps", "deployments"]}]),
    )
    .await;
    lab.ready::<WatchRule>("rule").await;
    lab.settle().await;
}

#[tokio::test]
async fn a_namespaced_resource_in_cluster_scope() {
    let lab = Lab::shared("scope").await.watching(&["configmaps"]).await;
    let name = format!("{}-scope", lab.namespace);
    let api: Api<ClusterWatchRule> = Api::all(lab.client.clone());
    let rule: ClusterWatchRule = serde_json::from_value(json!({
        "apiVersion": "configbutler.ai/v1alpha1", "kind": "ClusterWatchRule", "metadata": {"name": name},
        "spec": {"destinationRef": {"name": "all", "namespace": lab.namespace},
            "rules": [{"scope": "Cluster", "resources": ["secrets"]}]},
    }))
    .unwrap();
    create(&api, &rule).await;
    let message = eventually(PATIENCE, || async {
        let rule = api.get(&name).await.map_err(|error| error.to_string())?;
        let conditions = rule.status.map(|s| s.conditions).unwrap_or_default();
        conditions
            .iter()
            .find(|c| c.reason == "UnresolvedResources")
            .map(|c| c.message.clone())
            .ok_or_else(|| format!("{conditions:?}"))
    })
    .await;
    assert!(
        message.contains("'secrets' is namespaced; select it with scope Namespaced"),
        "{message}"
    );
    lab.settle().await;
    api.delete(&name, &Default::default()).await.unwrap();
}

#[tokio::test]
async fn a_branch_that_is_not_allowed() {
    let lab = Lab::shared("branch").await.watching(&["configmaps"]).await;
    lab.destination("other", json!({"branch": "release", "baseFolder": "other"}))
        .await;
    let rule =
        json!({"destinationRef": {"name": "other"}, "rules": [{"resources": ["configmaps"]}]});
    lab.apply::<WatchRule>("other", rule).await.unwrap();
    let message = told::<GitDestination>(&lab, "other", "BranchNotAllowed").await;
    assert!(
        message.contains("'release'") && message.contains("'repo': main"),
        "{message}"
    );
    let message = told::<WatchRule>(&lab, "other", "DestinationNotReady").await;
    assert!(
        message.contains(&format!("{}/other", lab.namespace)),
        "{message}"
    );
    lab.settle().await;

    lab.repo_config(lab.repo.url(), &["main", "release"]).await;
    lab.ready::<GitDestination>("other").await;
    lab.ready::<WatchRule>("other").await;
    assert!(lab.repo.tip("release").is_some());
    // And back: what is there stays, and is no longer written to.
    lab.repo_config(lab.repo.url(), &["main"]).await;
    told::<GitDestination>(&lab, "other", "BranchNotAllowed").await;
    let tip = lab.repo.tip("release");
    lab.settle().await;
    assert_eq!(lab.repo.tip("release"), tip);
}

#[tokio::test]
async fn folders_that_overlap() {
    let lab = Lab::shared("overlap").await.watching(&["configmaps"]).await;
    let rule =
        json!({"destinationRef": {"name": "inner"}, "rules": [{"resources": ["configmaps"]}]});
    lab.apply::<WatchRule>("inner", rule).await.unwrap();
    let message = told::<WatchRule>(&lab, "inner", "DestinationNotReady").await;
    assert!(message.contains("inner"), "{message}");
    for folder in [
        FOLDER.to_owned(),
        format!("{FOLDER}/inner"),
        "clusters".to_owned(),
        FOLDER.to_uppercase(),
    ] {
        lab.destination("inner", json!({"baseFolder": folder}))
            .await;
        let message = told::<GitDestination>(&lab, "inner", "FolderOverlap").await;
        assert!(
            message.contains(&folder) && message.contains(&format!("{}/all", lab.namespace)),
            "{message}"
        );
        lab.ready::<GitDestination>("all").await;
    }
    lab.settle().await;
    lab.destination("inner", json!({"baseFolder": "clusters/labour"}))
        .await;
    lab.ready::<GitDestination>("inner").await;
    lab.ready::<WatchRule>("inner").await;
    lab.settle().await;
}

#[tokio::test]
async fn references_into_other_namespaces() {
    let (lab, healthy) = labs("references").await;
    let lab = lab.watching(&["configmaps"]).await;
    let elsewhere = &healthy.namespace;
    let rule = json!({
        "destinationRef": {"name": "all", "namespace": elsewhere}, "rules": [{"resources": ["configmaps"]}],
    });
    lab.apply::<WatchRule>("stray", rule).await.unwrap();
    let message = told::<WatchRule>(&lab, "stray", "CrossNamespaceReference").await;
    assert!(message.contains("of its own namespace only"), "{message}");
    lab.destination(
        "stray",
        json!({"repoRef": {"name": "repo", "namespace": elsewhere}, "baseFolder": "stray"}),
    )
    .await;
    let message = told::<GitDestination>(&lab, "stray", "CrossNamespaceReference").await;
    assert!(message.contains(&lab.namespace), "{message}");

    create(&lab.maps("alice"), &map("mine", "k", "1")).await;
    lab.holds("mine", "k", "1").await;
    healthy.settle().await;
    let strays = healthy
        .repo
        .files()
        .into_iter()
        .filter(|path| path.contains(&lab.namespace))
        .count();
    assert_eq!(strays, 0);

    lab.destination(
        "stray",
        json!({"repoRef": {"name": "repo"}, "baseFolder": "stray"}),
    )
    .await;
    lab.ready::<GitDestination>("stray").await;
    let rule =
        json!({"destinationRef": {"name": "stray"}, "rules": [{"resources": ["configmaps"]}]});
    lab.apply::<WatchRule>("stray", rule).await.unwrap();
    lab.ready::<WatchRule>("stray").await;
}

#[tokio::test]
async fn a_repository_configuration_that_does_not_exist() {
    let (lab, healthy) = labs("absent").await;
    lab.destination("all", json!({})).await;
    lab.rule("rule", json!([{"resources": ["configmaps"]}]))
        .await;
    let message = told::<GitDestination>(&lab, "all", "RepoConfigNotFound").await;
    assert!(
        message.contains("'repo'") && message.contains(&lab.namespace),
        "{message}"
    );
    told::<WatchRule>(&lab, "rule", "DestinationNotReady").await;
    goes_on_elsewhere(&lab, &healthy).await;
    lab.repo_config(lab.repo.url(), &["main"]).await;
    recovers(&lab).await;
}
