//! The chart on a real control plane. `make test-e2e` runs these; they need the two programs, and Helm, which is built once.

#[path = "e2e/admission.rs"]
mod admission;
#[path = "e2e/pages.rs"]
mod pages;
#[path = "e2e/probe.rs"]
mod probe;
#[path = "e2e/replicas.rs"]
mod replicas;
#[path = "e2e/rights.rs"]
mod rights;
#[path = "e2e/shell.rs"]
mod shell;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use e2e::chart::{Release, Rendered};
use e2e::cluster::Cluster;
use e2e::install::{self, Install, Ports, programs};
use e2e::scenario::{Repository, Scenario};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod as KubePod;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use shell::{Shell, commands};
use tests::assets::Tool;
use tests::git::{GitServer, HttpOptions, Repo};

async fn render(cluster: &Cluster, namespace: &str, values: Value) -> Result<Rendered> {
    let assets = cluster.assets().clone();
    let helm = tokio::task::spawn_blocking(move || assets.get(Tool::Helm)).await??;
    let release = Release {
        // Objects of the cluster are named after the release: tests that run side by side need one each.
        name: namespace.to_owned(),
        namespace: namespace.to_owned(),
        values,
    };
    release.render(&helm)
}

/// A server, a repository on it that has a commit, and how to reach that.
fn repository() -> Result<(GitServer, Repo, Repository)> {
    let git = GitServer::https(HttpOptions::basic("bot", "secret"))?;
    let repo = git.create_seeded_repo("cluster");
    let repository = Repository {
        url: repo.url().to_owned(),
        username: "bot".to_owned(),
        password: "secret".to_owned(),
        ca: git.ca_pem().to_owned(),
    };
    Ok((git, repo, repository))
}

fn values_that_change_what_is_rendered() -> Vec<Value> {
    vec![
        json!({}),
        json!({ "replicaCount": 3 }),
        json!({ "reverser": { "watchAll": true, "leaderElect": true, "discoveryExclude": ["widgets.example.com"] } }),
        json!({ "webhook": { "url": "https://127.0.0.1:9443/process-validating-webhook" } }),
        json!({ "pathToken": { "enabled": false }, "webhook": { "excludedResources": [] } }),
        json!({ "reverser": { "grpcBindAddress": "127.0.0.1:50052" } }),
        json!({ "rbac": { "extraWatch": [{ "apiGroups": ["example.com"], "resources": ["widgets"] }] } }),
        json!({ "networkPolicy": { "enabled": true } }),
        json!({ "networkPolicy": {
            "enabled": true,
            "apiServerCIDRs": ["10.0.0.1/32", "fd00::1/128"],
            "metricsFrom": [{ "namespaceSelector": { "matchLabels": { "name": "monitoring" } } }],
            "webhookFrom": [{ "namespaceSelector": { "matchLabels": { "name": "konnectivity" } } }],
            "dnsPorts": [53, 5353],
            "gitPorts": [22],
            "gitTo": [{ "ipBlock": { "cidr": "10.1.0.0/16" } }],
        } }),
        json!({ "volumes": { "workDir": { "persistence": { "enabled": true, "storageClassName": "fast" } } } }),
        json!({ "volumes": { "workDir": { "persistence": { "enabled": true, "existingClaim": "mine" } } } }),
        json!({ "quickstart": { "enabled": true, "repoUrl": "https://git.example.com/cluster.git" } }),
        json!({ "quickstart": {
            "enabled": true,
            "name": "first",
            "repoUrl": "git@git.example.com:cluster.git",
            "secretName": "git-credentials",
            "wholeCluster": false,
            "resources": ["configmaps"],
        } }),
        json!({ "monitoring": { "dashboard": { "enabled": true } } }),
        json!({
            "certificate": { "existingSecret": "made-by-cert-manager" },
            "webhook": { "annotations": { "cert-manager.io/inject-ca-from": "here/webhook" } },
        }),
        json!({ "replicaCount": 2, "topologySpreadConstraints": [
            { "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule" },
            { "maxSkew": 1, "topologyKey": "node", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": { "matchLabels": { "tier": "audit" } } },
        ] }),
        // As a part of another chart.
        json!({ "enabled": true, "global": {} }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn the_apiserver_accepts_what_is_rendered_under_restricted_pod_security() {
    let cluster = Cluster::shared().await.unwrap();
    let client = cluster.client().unwrap();
    for (number, values) in values_that_change_what_is_rendered()
        .into_iter()
        .enumerate()
    {
        let namespace = format!("rendered-{number}");
        let rendered = render(&cluster, &namespace, values.clone())
            .await
            .unwrap_or_else(|error| panic!("{error:#}"));
        rendered
            .apply(&client)
            .await
            .unwrap_or_else(|error| panic!("{values}: {error:#}"));

        // The Deployment's pod, as the ReplicaSet controller would make it.
        let restricted = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": namespace,
                "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
            },
        });
        e2e::chart::apply(
            &client,
            "kubectl",
            &serde_json::from_value(restricted).unwrap(),
        )
        .await
        .unwrap();
        let template = rendered
            .only::<Deployment>()
            .unwrap()
            .spec
            .unwrap()
            .template;
        let pod = KubePod {
            metadata: kube::core::ObjectMeta {
                name: Some("of-the-deployment".to_owned()),
                ..template.metadata.unwrap()
            },
            spec: template.spec,
            status: None,
        };
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        Api::<KubePod>::namespaced(client.clone(), &namespace)
            .create(&dry_run, &pod)
            .await
            .unwrap_or_else(|error| panic!("{values}: {error:#}"));
        // And that of `helm test`.
        Api::<KubePod>::namespaced(client.clone(), &namespace)
            .create(&dry_run, &rendered.test_pod().unwrap())
            .await
            .unwrap_or_else(|error| panic!("{values}: {error:#}"));
        rendered.delete(&client).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn promtool_finds_nothing_wrong_with_the_alerts() {
    let cluster = Cluster::shared().await.unwrap();
    let monitoring = json!({
        "serviceMonitor": { "enabled": true, "labels": { "release": "prometheus" } },
        "prometheusRule": { "enabled": true, "thresholds": { "missRatio": 0.5 } },
    });
    let values = json!({ "monitoring": monitoring });
    let rendered = render(&cluster, "monitored", values).await.unwrap();
    let of_kind = |kind: &str| {
        let mut objects = rendered.objects().iter();
        objects
            .find(|object| {
                object
                    .types
                    .as_ref()
                    .is_some_and(|types| types.kind == kind)
            })
            .unwrap_or_else(|| panic!("no {kind}"))
    };
    let ports = &of_kind("ServiceMonitor").data["spec"]["endpoints"];
    assert_eq!(ports.as_array().unwrap().len(), 2);

    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.yaml");
    let spec = &of_kind("PrometheusRule").data["spec"];
    std::fs::write(&rules, serde_yaml::to_string(spec).unwrap()).unwrap();
    let output = Command::new("promtool")
        .args(["check", "rules", "--lint=all", "--lint-fatal"])
        .arg(&rules)
        .output()
        .expect("promtool is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("SUCCESS: 10 rules found"), "{said}");

    // Nothing at all is an alert of its own: the others need something to compare.
    let rules_of_it = spec["groups"][0]["rules"].as_array().unwrap();
    let rule = |alert: &str| rules_of_it.iter().find(|rule| rule["alert"] == alert);
    let away = json!({
        "exp_labels": { "alertname": "GitOpsReverserIsAway", "namespace": "monitored", "severity": "critical" },
        "exp_annotations": rule("GitOpsReverserIsAway").unwrap()["annotations"],
    });
    let led = json!({ "series": "gitopsreverser_leader{namespace=\"monitored\", service=\"metrics\"}", "values": "1+0x60" });
    let asks = |series: Value, expected: Value| {
        json!({ "interval": "1m", "input_series": series, "alert_rule_test": [
            { "eval_time": "30m", "alertname": "GitOpsReverserIsAway", "exp_alerts": expected },
            { "eval_time": "30m", "alertname": "GitOpsReverserHasNoLeader", "exp_alerts": [] },
        ] })
    };
    let tests = json!({ "rule_files": [rules], "tests": [asks(json!([]), json!([away])), asks(json!([led]), json!([]))] });
    let asked = directory.path().join("tests.yaml");
    std::fs::write(&asked, serde_yaml::to_string(&tests).unwrap()).unwrap();
    let output = Command::new("promtool")
        .args(["test", "rules"])
        .arg(&asked)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn values_that_can_not_work_are_refused_with_a_reason() {
    let cluster = Cluster::shared().await.unwrap();
    for (values, reason) in [
        (json!({ "replicaCuont": 2 }), "replicaCuont"),
        (
            json!({ "reverser": { "gitBatchLinger": 5 } }),
            "gitBatchLinger",
        ),
        (
            json!({ "quickstart": { "enabled": true } }),
            "quickstart.repoUrl",
        ),
        (
            json!({ "monitoring": { "serviceMonitor": { "enabled": true } }, "services": { "metrics": { "enabled": false } } }),
            "services.metrics.enabled",
        ),
        (
            json!({ "replicaCount": 2, "volumes": { "workDir": { "persistence": { "enabled": true } } } }),
            "replicaCount=1",
        ),
        (
            // Two pods while one takes the other's place.
            json!({ "reverser": { "leaderElect": true }, "volumes": { "workDir": { "persistence": { "enabled": true } } } }),
            "without leaderElect",
        ),
        (
            json!({ "webhook": { "bindAddress": ":9443" } }),
            "bindAddress",
        ),
        (
            json!({ "reverser": { "metricsBindAddress": "999.0.0.1:8090" } }),
            "metricsBindAddress",
        ),
        (
            json!({ "reverser": { "healthProbeBindAddress": "[::]:70000" } }),
            "healthProbeBindAddress",
        ),
        (
            json!({ "certificate": { "existingSecret": "not-there" } }),
            "certificate.caBundle",
        ),
    ] {
        let Err(error) = render(&cluster, "refused", values.clone()).await else {
            panic!("{values} was accepted");
        };
        let error = format!("{error:#}");
        assert!(error.contains(reason), "{values}: {error}");
    }
}

#[test]
#[ignore = "make test-e2e"]
fn every_flag_of_both_programs_is_a_value() {
    let values = std::fs::read(e2e::chart::directory().join("values.yaml")).unwrap();
    let values: Value = serde_yaml::from_slice(&values).unwrap();
    for (program, section) in [
        ("gitops-reverser", "reverser"),
        ("gitops-reverser-webhook", "webhook"),
    ] {
        let help = Command::new(programs().unwrap().join(program))
            .arg("--help")
            .output()
            .unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let flags: Vec<_> = help.lines().filter_map(flag).collect();
        assert!(flags.len() > 8, "{program} has only {flags:?}");
        for flag in flags {
            assert!(
                values[section].get(camel_case(flag)).is_some(),
                "{program} --{flag} is no value of the chart"
            );
        }
    }
}

/// The long flag that a line of `--help` begins with, but for those that clap adds.
fn flag(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line
        .strip_prefix("-h, ")
        .or_else(|| line.strip_prefix("-V, "))
        .unwrap_or(line);
    let flag = line.strip_prefix("--")?;
    let flag = flag
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '-')
        .next()?;
    (!["help", "version", ""].contains(&flag)).then_some(flag)
}

fn camel_case(flag: &str) -> String {
    let mut words = flag.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(1);
        name + &initial.to_uppercase() + rest
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn without_a_url_the_webhook_is_the_service_with_a_secret_path() {
    let cluster = Cluster::shared().await.unwrap();
    let rendered = render(&cluster, "anywhere", json!({})).await.unwrap();
    let configuration: ValidatingWebhookConfiguration = rendered.only().unwrap();
    let webhook = &configuration.webhooks.unwrap()[0];
    let service = webhook.client_config.service.as_ref().unwrap();
    let path = service.path.as_deref().unwrap();
    let token = path.strip_prefix("/process-validating-webhook/").unwrap();
    assert_eq!(token.len(), 40);
    assert_eq!(service.namespace, "anywhere");
    assert_eq!(webhook.failure_policy.as_deref(), Some("Ignore"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn the_pod_as_the_chart_says_commits_under_its_users_names() {
    works_on(&Cluster::shared().await.unwrap(), json!({}))
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn so_does_a_pod_of_other_names_places_sizes_and_times() {
    let endpoint = format!("127.0.0.1:{}", tests::net::free_port());
    let everywhere = || format!("[::]:{}", tests::net::free_port());
    let values = json!({
        "fullnameOverride": "other-name",
        "commonLabels": {"team": "platform"},
        "podLabels": {"tier": "audit"},
        "podAnnotations": {"example.com/note": "kept"},
        "reverser": {
            "discoveryRefresh": "30s",
            "discoveryExclude": ["widgets.example.com"],
            "redactionKeyFile": "/keys/redaction/key",
            "sensitiveResources": ["tokens.example.com"],
            "gitBatchMaxFiles": 50,
            "gitBatchMaxBytesMib": 2,
            "gitBatchMaxWaitSec": 10,
            "gitBatchLingerMs": 300,
            "gitFetchMaxMib": 64,
            "driftCheckInterval": "1m",
            "workersMaxGlobal": 3,
            "workersMaxPerRepo": 1,
            "allowFileUrls": true,
            "workDir": "/var/lib/clones",
            "grpcBindAddress": endpoint,
            "healthProbeBindAddress": everywhere(),
            "logFormat": "text",
            "logLevel": "debug",
        },
        "webhook": {
            "timeoutSeconds": 2,
            "excludedResources": ["events"],
            "extraMatchConditions": [
                {"name": "not-nobody", "expression": "request.userInfo.username != 'nobody'"},
            ],
            "tlsCertFile": "/etc/other/tls.crt",
            "tlsPrivateKeyFile": "/etc/other/tls.key",
            "reverserEndpoint": format!("http://{endpoint}"),
            "healthProbeBindAddress": everywhere(),
            "logFormat": "text",
            "logLevel": "debug",
        },
        "certificate": {"validityDays": 30},
        "serviceAccount": {"name": "somebody"},
        "rbac": {"extraWatch": [{"apiGroups": ["example.com"], "resources": ["widgets"]}]},
        "extraEnv": {"reverser": [{"name": "NO_PROXY", "value": "127.0.0.1"}]},
        "volumes": {"workDir": {"sizeLimit": "1Gi"}, "tmp": {"sizeLimit": "64Mi"}},
        "terminationGracePeriodSeconds": 30,
    });
    works_on(&Cluster::start().await.unwrap(), values)
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
}

/// Installs the chart, runs its pod, lets people work, and finds each of them in the history.
/// Its port is forwarded where there is a kubelet.
fn explain_as_the_readme_does(cluster: &Cluster, port: u16) {
    let mut explain = commands("README.md");
    explain.retain(|command| command.starts_with("grpcurl "));
    assert_eq!(explain.len(), 1, "{explain:?}");
    let said = Shell::new(cluster).run(&explain[0].replace(":50051 ", &format!(":{port} ")));
    assert!(
        said.contains("no rule selects configmaps in namespace 'shop'"),
        "{said}"
    );
}

async fn works_on(cluster: &Cluster, values: Value) -> Result<()> {
    let client = cluster.client()?;
    let (_git, repo, repository) = repository()?;
    let release = Release {
        name: "gitops-reverser".to_owned(),
        namespace: "gitops-reverser".to_owned(),
        values,
    };
    let ports = Ports::free();
    let started = Instant::now();
    let rendered = install::render(cluster, release, ports, "127.0.0.1").await?;
    let mut install = Install::start(cluster, rendered, ports).await?;
    let scenario = Scenario::new("team", &repository)?;
    scenario.prepare(&client).await?;
    let minute = Duration::from_secs(60);
    scenario
        .wait_ready(&client, minute)
        .await
        .with_context(|| install.pod.log_tails())?;
    for (number, act) in scenario.acts().iter().enumerate() {
        act.perform(cluster).await?;
        scenario
            .wait_committed(&repo, number + 1, minute)
            .await
            .with_context(|| format!("{}\n{}", act.describe(), install.pod.log_tails()))?;
        if number == 0 {
            let took = started.elapsed();
            eprintln!("from `helm template` to the first attributed commit: {took:.1?}");
        }
    }
    scenario.check(&repo)?;
    explain_as_the_readme_does(cluster, ports.introspection);
    install.pod.must_run()?;
    install.pod.stop().await?;
    scenario.delete(&client).await?;
    install.rendered.delete(&client).await
}
