//! Lists, words, defaults, and the definitions themselves.

use super::*;

#[tokio::test]
async fn the_definitions_are_applied_without_a_warning_and_served() {
    let client = client().await;
    for (name, text) in definition_files().unwrap() {
        let definition: Value = serde_yaml::from_str(&text).unwrap();
        let crd = definition["metadata"]["name"].as_str().unwrap();
        let path = format!(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd}\
             ?fieldManager=test&force=true&dryRun=All&fieldValidation=Strict"
        );
        let request = http::Request::patch(path)
            .header("content-type", "application/apply-patch+yaml")
            .body(text.clone().into_bytes().into())
            .unwrap();
        let answer = client.send(request).await.unwrap();
        let warnings: Vec<_> = answer.headers().get_all("warning").iter().collect();
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
        assert!(answer.status().is_success(), "{name}: {}", answer.status());

        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        let stored = api.get(crd).await.unwrap();
        let conditions = stored.status.unwrap().conditions.unwrap();
        for condition in conditions {
            let good = matches!(condition.type_.as_str(), "NamesAccepted" | "Established");
            assert!(good && condition.status == "True", "{name}: {condition:?}");
        }
    }
}

#[tokio::test]
async fn empty_lists_are_refused() {
    all_refused::<GitRepoConfig, _>(
        [
            ("none", repo(json!({"allowedBranches": []}))),
            ("omitted", repo(json!({"allowedBranches": null}))),
        ],
        "spec.allowedBranches",
    )
    .await;
    all_refused::<WatchRule, _>(
        [
            (
                "empty",
                json!({"destinationRef": {"name": "all"}, "rules": []}),
            ),
            ("omitted", json!({"destinationRef": {"name": "all"}})),
        ],
        "spec.rules",
    )
    .await;
    for field in ["resources", "operations", "apiGroups", "apiVersions"] {
        let full = format!("spec.rules[0].{field}");
        all_refused::<WatchRule, _>([("empty", rule(json!({field: []})))], &full).await;
        let item = merged(
            json!({"scope": "Cluster", "resources": ["namespaces"]}),
            json!({field: []}),
        );
        all_refused::<ClusterWatchRule, _>(
            [("empty", cluster_rule(json!({"rules": [item]})))],
            &full,
        )
        .await;
    }
    all_refused::<WatchRule, _>(
        [("omitted", rule(json!({"resources": null})))],
        "spec.rules[0].resources",
    )
    .await;
    all_refused::<ClusterWatchRule, _>(
        [("empty", cluster_rule(json!({"rules": []})))],
        "spec.rules",
    )
    .await;
}

#[tokio::test]
async fn words_that_mean_nothing_are_refused() {
    for policy in ["Seal", "omit", "PLAIN", "redact", "encrypt", ""] {
        all_refused::<GitDestination, _>(
            [(policy, destination(json!({"secretPolicy": policy})))],
            "spec.secretPolicy",
        )
        .await;
    }
    let of_rules = [
        ("operations", vec!["CONNECT", "create", ""]),
        ("apiGroups", vec!["Apps", "apps/v1", "a b", "-a"]),
        ("apiVersions", vec!["", "apps/v1", "V1", "v1 "]),
        (
            "resources",
            vec!["", "deployments/scale", "config maps", "-x"],
        ),
    ];
    for (field, words) in of_rules {
        all_refused::<WatchRule, _>(
            words
                .iter()
                .map(|word| (*word, rule(json!({field: [word]})))),
            &format!("spec.rules[0].{field}"),
        )
        .await;
    }
    for name in ["", "Upper", "a/b", "a b", "-a"] {
        all_refused::<WatchRule, _>(
            [(
                name,
                json!({"destinationRef": {"name": name}, "rules": [{"resources": ["configmaps"]}]}),
            )],
            "spec.destinationRef.name",
        )
        .await;
        all_refused::<GitDestination, _>(
            [(name, destination(json!({"repoRef": {"name": name}})))],
            "spec.repoRef.name",
        )
        .await;
        all_refused::<GitRepoConfig, _>(
            [(name, repo(json!({"secretRef": {"name": name}})))],
            "spec.secretRef.name",
        )
        .await;
    }
    for committer in [" ", "a\nb", "<a>", "."] {
        let with = |name: &str, email: &str| {
            repo(json!({"commit": {"committer": {"name": name, "email": email}}}))
        };
        all_refused::<GitRepoConfig, _>(
            [(committer, with(committer, "a@b"))],
            "spec.commit.committer.name",
        )
        .await;
        all_refused::<GitRepoConfig, _>(
            [(committer, with("a", committer))],
            "spec.commit.committer.email",
        )
        .await;
    }
    let limits = [
        ("maxFiles", 0),
        ("maxBytes", 0),
        ("maxWaitSec", 0),
        ("maxWaitSec", 86400),
        ("lingerMs", -1),
    ];
    for (limit, value) in limits {
        all_refused::<GitRepoConfig, _>(
            [(value, repo(json!({"push": {limit: value}})))],
            &format!("spec.push.{limit}"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_cluster_rule_without_a_namespace_or_scope_is_refused() {
    all_refused::<ClusterWatchRule, _>(
        [(
            "omitted",
            cluster_rule(json!({"destinationRef": {"name": "all"}})),
        )],
        "spec.destinationRef.namespace",
    )
    .await;
    let items = [
        ("omitted", json!({"resources": ["namespaces"]})),
        (
            "unknown",
            json!({"scope": "Everything", "resources": ["namespaces"]}),
        ),
        (
            "lower case",
            json!({"scope": "cluster", "resources": ["namespaces"]}),
        ),
    ];
    all_refused::<ClusterWatchRule, _>(
        items.map(|(case, item)| (case, cluster_rule(json!({"rules": [item]})))),
        "spec.rules[0].scope",
    )
    .await;
}

#[tokio::test]
async fn what_is_misspelt_is_refused_by_name() {
    let client = client().await;
    let refused = [
        apply::<GitRepoConfig>(&client, &repo(json!({"branches": ["main"]}))).await,
        apply::<GitDestination>(&client, &destination(json!({"branches": "x"}))).await,
        apply::<WatchRule>(&client, &rule(json!({"branches": ["x"]}))).await,
        apply::<ClusterWatchRule>(&client, &cluster_rule(json!({"branches": ["x"]}))).await,
    ];
    for refusal in refused {
        let (_, message) = refusal.unwrap_err();
        assert!(message.contains("branches"), "{message}");
    }
}

#[tokio::test]
async fn encryption_names_somebody_who_can_decrypt() {
    const ONE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let client = client().await;
    let with = |encryption: Value| {
        destination(json!({"secretPolicy": "Encrypt", "encryption": encryption}))
    };
    for (name, encryption) in [
        ("absent", Value::Null),
        ("empty", json!({})),
        ("nobody", json!({"ageRecipients": []})),
    ] {
        all_refused::<GitDestination, _>(
            [(name, with(encryption))],
            "ageRecipients, recipientsFrom",
        )
        .await;
    }
    let private = format!("AGE-SECRET-KEY-1{}", "Q".repeat(58));
    let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI".to_owned();
    let upper = ONE.to_uppercase();
    for word in [
        &ONE[..61],
        &format!("{ONE}q"),
        &ONE.replace("ql3z", "qb3z"),
        &upper,
        &private,
        &ssh,
        "",
    ] {
        all_refused::<GitDestination, _>(
            [(word, with(json!({"ageRecipients": [word]})))],
            "spec.encryption.ageRecipients[0]",
        )
        .await;
    }
    all_refused::<GitDestination, _>(
        [("many", with(json!({"ageRecipients": vec![ONE; 33]})))],
        "spec.encryption.ageRecipients",
    )
    .await;
    for (field, from) in [
        ("name", json!({"key": "x"})),
        ("name", json!({"name": ""})),
        ("key", json!({"name": "a", "key": "a/b"})),
    ] {
        all_refused::<GitDestination, _>(
            [(field, with(json!({"recipientsFrom": from})))],
            &format!("spec.encryption.recipientsFrom.{field}"),
        )
        .await;
    }
    for good in [
        with(json!({"ageRecipients": [ONE]})),
        with(json!({"recipientsFrom": {"name": "readers", "key": "all.txt"}})),
        destination(json!({"secretPolicy": "Omit", "encryption": {"ageRecipients": [ONE]}})),
    ] {
        assert_eq!(apply::<GitDestination>(&client, &good).await.unwrap(), good);
    }
}

#[tokio::test]
async fn good_ones_are_accepted_and_get_their_defaults() {
    let client = client().await;
    let stored = apply::<GitDestination>(&client, &destination(json!({})))
        .await
        .unwrap();
    assert_eq!(stored, destination(json!({"secretPolicy": "Redact"})));
    let plain = destination(
        json!({"secretPolicy": "Plain", "takeOver": "0c2f", "repoRef": {"name": "a", "namespace": "b"}}),
    );
    assert_eq!(
        apply::<GitDestination>(&client, &plain).await.unwrap(),
        plain
    );
    let full = repo(json!({
        "allowedBranches": ["main", "live"],
        "secretRef": {"name": "git.credentials"},
        "push": {"maxFiles": 1, "maxBytes": 1024, "maxWaitSec": 1, "lingerMs": 0},
        "commit": {"committer": {"name": "Jörg, Bot (prod).", "email": "bot@example.com"}, "authorEmailDomain": "example.com"},
    }));
    assert_eq!(apply::<GitRepoConfig>(&client, &full).await.unwrap(), full);
    let every = rule(json!({
        "operations": ["CREATE", "UPDATE", "DELETE", "*"], "apiGroups": ["", "*", "apps"], "apiVersions": ["*", "v1", "v1beta1"],
        "resources": ["*", "deployments", "Deployment", "widgets.example.com"],
    }));
    assert_eq!(apply::<WatchRule>(&client, &every).await.unwrap(), every);
    let both = cluster_rule(json!({"rules": [
        {"scope": "Cluster", "resources": ["*"]},
        {"scope": "Namespaced", "resources": ["secrets"], "operations": ["*"]},
    ]}));
    assert_eq!(
        apply::<ClusterWatchRule>(&client, &both).await.unwrap(),
        both
    );
}

#[tokio::test]
async fn an_update_is_judged_as_a_creation_is() {
    let plane = ControlPlane::shared().await;
    let client = client().await;
    let namespace = plane.create_namespace("judged").await;
    let api: Api<GitDestination> = Api::namespaced(client, &namespace);
    let good: GitDestination = serde_json::from_value(json!({
        "apiVersion": "configbutler.ai/v1alpha1", "kind": "GitDestination", "metadata": {"name": "all"},
        "spec": destination(json!({})),
    }))
    .unwrap();
    // A definition that was just applied may take a moment to be served.
    eventually(PATIENCE, || async {
        api.create(&PostParams::default(), &good).await
    })
    .await;
    let patch = Patch::Merge(json!({"spec": {"baseFolder": "../elsewhere"}}));
    match api.patch("all", &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 422, "{}", status.message),
        other => panic!("{other:?}"),
    }
}
