//! How long sanitising, writing and hashing an object takes, as a multiple of parsing its JSON.
//!
//! Ratios of medians of turns that alternate, so that a busy machine slows both alike. Nothing is judged here.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

const TURNS: usize = 61;
const TURN: Duration = Duration::from_millis(8);

/// A ConfigMap as the API server sends it, about 1 KB of JSON.
fn config_map() -> Value {
    let data: Map<_, _> = (0..8)
        .map(|n| {
            (
                format!("setting-{n}"),
                json!(format!("value of setting {n}")),
            )
        })
        .chain([(
            "app.yaml".to_owned(),
            json!("greeting: hello\nretries: 3\nendpoint: \"http://a/b\"\n"),
        )])
        .collect();
    let owned: Map<_, _> = data
        .keys()
        .map(|key| (format!("f:{key}"), json!({})))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "app-config", "namespace": "shop", "uid": "5d1ab4a6-1d62-4c8e-8f0c-6f3ff5ad3e0a", "resourceVersion": "4711",
            "creationTimestamp": "2026-01-01T10:00:00Z", "labels": {"app.kubernetes.io/name": "shop"},
            "managedFields": [{
                "manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-01T10:00:00Z",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:data": owned, "f:metadata": {"f:labels": {"f:app.kubernetes.io/name": {}}}},
            }],
        },
        "data": data,
    })
}

/// The fields of a value as managedFields name them.
fn fields(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (format!("f:{key}"), fields(value)))
            .collect(),
        Value::Array(items) if items.iter().all(|item| item.get("name").is_some()) => items
            .iter()
            .map(|item| (format!("k:{}", json!({"name": item["name"]})), fields(item)))
            .collect(),
        _ => json!({}),
    }
}

/// A Deployment of several containers, about 10 KB of JSON.
fn deployment() -> Value {
    let container = |n: usize| {
        let env: Vec<_> = (0..12)
            .map(|e| json!({"name": format!("VARIABLE_{e}"), "value": format!("http://service-{e}.shop.svc:80{e:02}/path")}))
            .collect();
        json!({
            "name": format!("container-{n}"), "image": format!("registry.example.com/team/app-{n}:1.2{n}"),
            "imagePullPolicy": "IfNotPresent", "command": ["/bin/app"], "args": ["--port=8080", "--verbose"], "env": env,
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "failureThreshold": 3},
        })
    };
    let containers: Vec<_> = (0..4).map(container).collect();
    let spec = json!({
        "replicas": 3, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "template": {
            "metadata": {"labels": {"app": "web"}, "creationTimestamp": null},
            "spec": {"containers": containers, "restartPolicy": "Always", "schedulerName": "default-scheduler", "dnsPolicy": "ClusterFirst"},
        },
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "5d1ab4a6-1d62-4c8e-8f0c-6f3ff5ad3e0a", "resourceVersion": "4711", "generation": 4,
            "creationTimestamp": "2026-01-01T10:00:00Z", "annotations": {"deployment.kubernetes.io/revision": "4"},
            "managedFields": [{
                "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "apps/v1", "time": "2026-01-01T10:00:00Z",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields(&spec)},
            }],
        },
        "spec": spec,
        "status": {"replicas": 3, "readyReplicas": 3, "observedGeneration": 4},
    })
}

/// A Service of many ports: what is allocated is looked up for each.
fn service() -> Value {
    let ports: Vec<_> = (0..80)
        .map(|n| json!({"name": format!("port-{n}"), "port": 8000 + n, "targetPort": 8000 + n, "protocol": "TCP", "nodePort": 30_000 + n}))
        .collect();
    let owned: Map<_, _> = (0..80)
        .map(|n| {
            (
                format!("k:{{\"port\":{},\"protocol\":\"TCP\"}}", 8000 + n),
                json!({".": {}, "f:name": {}, "f:port": {}, "f:targetPort": {}}),
            )
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "many", "namespace": "shop", "managedFields": [{
            "manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:ports": owned}},
        }]},
        "spec": {"type": "NodePort", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": ports},
    })
}

/// Nanoseconds of one call, over one turn.
fn turn(mut call: impl FnMut()) -> f64 {
    let (start, mut calls) = (Instant::now(), 0_u32);
    while start.elapsed() < TURN {
        for _ in 0..16 {
            call();
        }
        calls += 16;
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    println!(
        "| object | JSON, bytes | parsed to a Value, µs | sanitised, written and hashed, µs | ratio (least to most) |"
    );
    println!("| --- | ---: | ---: | ---: | ---: |");
    for (name, object) in [
        ("ConfigMap", config_map()),
        ("Deployment", deployment()),
        ("Service of 80 ports", service()),
    ] {
        let json = object.to_string();
        let value: Value = serde_json::from_str(&json).expect("JSON");
        let (mut parsed, mut written, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let parse = turn(|| drop(black_box(serde_json::from_str::<Value>(black_box(&json)))));
            let write = turn(|| drop(black_box(manifest::canonicalize(black_box(&value)))));
            parsed.push(parse);
            written.push(write);
            ratios.push(write / parse);
        }
        ratios.sort_by(f64::total_cmp);
        println!(
            "| {name} | {} | {:.1} | {:.1} | {:.2} ({:.2} to {:.2}) |",
            json.len(),
            median(parsed) / 1000.0,
            median(written) / 1000.0,
            ratios[TURNS / 2],
            ratios[TURNS / 20],
            ratios[TURNS - 1 - TURNS / 20],
        );
    }
}
