//! Metrics and health of both processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use tests::eventually::eventually;
use tests::net::http_get;
use tests::reverser::Reverser;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::lab::{Lab, PATIENCE, create, map};

const PREFIX: &str = "gitopsreverser_";

/// What dashboards and alerts rely on.
const PROMISED: [&str; 11] = [
    "objects_scanned_total",
    "objects_written_total",
    "files_deleted_total",
    "commits_total",
    "commit_bytes_total",
    "rebase_retries_total",
    "repo_branch_active_workers",
    "repo_branch_queue_depth",
    "enrich_hits_total",
    "enrich_misses_total",
    "kv_evictions_total",
];

async fn page(address: &str) -> String {
    let (status, body) = http_get(address, "/metrics").await.unwrap();
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn the_promised_metrics_are_there_under_one_prefix() {
    Lab::shared("names").await;
    let reverser = Reverser::shared().await;
    let [of_reverser, of_webhook] = reverser.metrics_addresses();
    let pages = [page(of_reverser).await, page(of_webhook).await];
    for text in &pages {
        let families: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert!(!families.is_empty());
        for family in &families {
            assert!(family.starts_with(PREFIX), "{family}");
        }
        let helped = text.lines().filter(|l| l.starts_with("# HELP ")).count();
        assert_eq!(helped, families.len());
    }
    for name in PROMISED {
        // From the start, and not only once something was counted.
        let sample = |line: &str| {
            line.strip_prefix(PREFIX)
                .and_then(|line| line.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        assert!(pages[0].lines().any(sample), "{name}:\n{}", pages[0]);
    }
}

/// Names in the chart's alerts and dashboard.
fn charted() -> BTreeSet<String> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/gitops-reverser");
    let files = ["templates/prometheusrule.yaml", "files/dashboard.json"];
    let texts = files.map(|file| fs::read_to_string(chart.join(file)).unwrap());
    let words = texts.iter().flat_map(|text| {
        text.split(|c: char| !c.is_ascii_lowercase() && c != '_')
            .filter(|word| word.starts_with(PREFIX))
    });
    words
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned())
        .collect()
}

#[tokio::test]
async fn alerts_and_dashboard_ask_for_metrics_that_exist() {
    Lab::shared("charted").await;
    let [of_reverser, of_webhook] = Reverser::shared().await.metrics_addresses();
    let pages = page(of_reverser).await + &page(of_webhook).await;
    let families: BTreeSet<&str> = pages
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let charted = charted();
    assert!(charted.len() > 12, "{charted:?}");
    for name in &charted {
        assert!(families.contains(name.as_str()), "{name}: {families:?}");
    }
}

#[tokio::test]
async fn promtool_has_nothing_to_say_about_the_metrics() {
    let lab = Lab::shared("promtool")
        .await
        .watching(&["configmaps"])
        .await;
    // Something in every histogram and labelled counter that a healthy system fills.
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    for address in Reverser::shared().await.metrics_addresses() {
        let text = page(address).await;
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut promtool) = promtool else {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "promtool is not installed"
            );
            eprintln!("promtool is not installed: the metrics were not checked");
            return;
        };
        let mut stdin = promtool.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).await.unwrap();
        drop(stdin);
        let output = promtool.wait_with_output().await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success() && said.is_empty(),
            "{address}: {}",
            String::from_utf8_lossy(&said)
        );
    }
}

#[tokio::test]
async fn an_attributed_write_is_counted_on_its_way() {
    let lab = Lab::shared("counted").await.watching(&["configmaps"]).await;
    let reverser = Reverser::shared().await;
    let hits = async || {
        let metrics = reverser.reverser_metrics().await;
        metrics.sum_where("gitopsreverser_enrich_hits_total", "tier=\"exact\"")
    };
    let sums = async || {
        let of_reverser = reverser.reverser_metrics().await;
        let of_webhook = reverser.webhook_metrics().await;
        let names = [
            "objects_written_total",
            "commits_total",
            "commit_bytes_total",
            "observations_received_total",
            "change_lag_seconds_count",
            "push_duration_seconds_count",
        ];
        let mut sums = names
            .map(|name| of_reverser.sum(&format!("{PREFIX}{name}")))
            .to_vec();
        sums.push(of_webhook.sum("gitopsreverser_webhook_observations_acked_total"));
        sums.push(of_webhook.sum("gitopsreverser_webhook_request_duration_seconds_count"));
        sums
    };
    // Others write too: these only grow.
    let (hits_before, before) = (hits().await, sums().await);
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    assert!(hits().await > hits_before);
    eventually(PATIENCE, || async {
        let after = sums().await;
        if before
            .iter()
            .zip(&after)
            .all(|(before, after)| after > before)
        {
            Ok(())
        } else {
            Err(format!("{before:?} then {after:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn both_processes_say_that_they_are_well() {
    Lab::shared("health").await;
    for address in Reverser::shared().await.health_addresses() {
        for path in ["/healthz", "/readyz"] {
            let (status, body) = http_get(address, path).await.unwrap();
            assert_eq!((status, body.as_str()), (200, "ok\n"), "{address}{path}");
        }
        assert_eq!(http_get(address, "/metrics").await.unwrap().0, 404);
    }
}
