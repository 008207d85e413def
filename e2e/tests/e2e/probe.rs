//! What `helm test` runs, as a process of this machine.

// clippy.toml allows it in test functions only, not in what they share.
#![allow(clippy::unwrap_used)]

use std::process::Output;

use e2e::chart::{Release, Rendered};
use e2e::cluster::Cluster;
use e2e::install::{self, Install, Ports, programs};
use serde_json::json;
use tests::control_plane::Options;
use tests::process::Signal;

const NAME: &str = "gitops-reverser";

/// The container as it is rendered, but for the metrics' Service: no DNS leads to it here.
async fn run(rendered: &Rendered, ca: Option<&str>) -> Output {
    let pod = rendered.test_pod().unwrap();
    let mut containers = pod.spec.unwrap().containers;
    let container = containers.pop().unwrap();
    assert!(containers.is_empty());
    let [program] = container.command.unwrap().try_into().unwrap();
    let service = format!("//{NAME}-metrics.{NAME}.svc:");
    let args = container.args.unwrap().into_iter();
    let mut command = tokio::process::Command::new(programs().unwrap().join(program));
    command
        .args(args.map(|arg| arg.replace(&service, "//127.0.0.1:")))
        .env_clear()
        .kill_on_drop(true);
    for variable in container.env.unwrap() {
        let value = variable.value.unwrap();
        command.env(variable.name, ca.unwrap_or(&value));
    }
    command.output().await.unwrap()
}

fn text(output: &Output) -> String {
    let Output { stdout, stderr, .. } = output;
    format!(
        "{}{}",
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr)
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn helm_test_tells_a_release_that_works_from_one_that_does_not() {
    let cluster = Cluster::start_with(Options::default()).await.unwrap();
    let release = Release {
        name: NAME.to_owned(),
        namespace: NAME.to_owned(),
        values: json!({ "tests": { "timeout": "5s" } }),
    };
    let ports = Ports::free();
    let rendered = install::render(&cluster, release, ports, "127.0.0.1")
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    let mut install = Install::start(&cluster, rendered, ports)
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    let output = run(&install.rendered, None).await;
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines.len() == 3 && lines.iter().all(|line| line.starts_with("ok: ")),
        "{said}"
    );

    // Another CA than that of the certificate.
    let other = tests::certs::Authority::new("another").unwrap();
    let output = run(&install.rendered, Some(&other.pem())).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("certificate"), "{}", text(&output));

    // A sidecar without its reverser.
    install.pod.signal("reverser", Signal::STOP);
    let output = run(&install.rendered, None).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    install.pod.signal("reverser", Signal::KILL);
    let output = run(&install.rendered, None).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains(&format!(":{}/metrics", ports.metrics)),
        "{}",
        text(&output)
    );

    install.pod.signal("webhook", Signal::KILL);
    let output = run(&install.rendered, None).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("Connection refused"),
        "{}",
        text(&output)
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-e2e"]
async fn no_service_leads_to_the_pod_of_helm_test() {
    let cluster = Cluster::shared().await.unwrap();
    let rendered = super::render(
        &cluster,
        "tested",
        // The longest that a label can be.
        json!({"networkPolicy": {"enabled": true}, "nameOverride": "n".repeat(63), "fullnameOverride": "tested-gitops-reverser"}),
    )
    .await
    .unwrap();
    let pod = rendered.test_pod().unwrap();
    let labels = pod.metadata.labels.unwrap();
    let selects = |selector: &serde_json::Value| {
        let selector = selector.as_object().unwrap();
        selector
            .iter()
            .all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
    };
    let mut services = 0;
    for object in rendered.objects() {
        let object = serde_json::to_value(object).unwrap();
        match object["kind"].as_str().unwrap() {
            "Service" => {
                services += 1;
                assert!(!selects(&object["spec"]["selector"]), "{object}");
            }
            "NetworkPolicy" => {
                assert!(!selects(&object["spec"]["podSelector"]["matchLabels"]));
                let rules = object["spec"]["ingress"].as_array().unwrap();
                let from = |rule: &serde_json::Value| {
                    rule.pointer("/from/0/podSelector/matchLabels")
                        .is_some_and(&selects)
                };
                assert!(rules.iter().any(from), "{object}");
            }
            "Deployment" => assert!(!selects(&object["spec"]["selector"]["matchLabels"])),
            _ => {}
        }
    }
    assert_eq!(services, 2);
    // The webhook's Service by its name, which the certificate is for.
    let args = pod.spec.unwrap().containers[0].args.clone().unwrap();
    let webhook = "--webhook-url=https://tested-gitops-reverser-webhook.tested.svc:443/";
    assert!(args.iter().any(|arg| arg == webhook), "{args:?}");

    let off = super::render(&cluster, "untested", json!({"tests": {"enabled": false}}))
        .await
        .unwrap();
    assert!(off.test_pod().is_err());
}
