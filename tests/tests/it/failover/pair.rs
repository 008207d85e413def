//! Two pods of one release, as the chart would run them with `replicaCount: 2`.

use std::collections::BTreeMap;
use std::process::ExitStatus;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use serde_json::json;
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::process::Signal;
use tests::reverser::{Options, Reverser, Service};

use crate::lab::PATIENCE;

/// The Lease's name is the release's in the chart.
pub(crate) const LEASE: &str = "release";

/// The label that the webhook's Service selects.
const LEADER: &str = "configbutler.ai/role=leader";

/// Two pods, and a Service in front of their sidecars.
pub(crate) struct Pair {
    /// Behind the processes on it.
    pub(crate) plane: ControlPlane,
    pub(crate) pods: [Reverser; 2],
    pub(crate) namespace: String,
    _service: Service,
}

impl Pair {
    /// The first pod leads, and the apiserver calls it.
    pub(crate) async fn start() -> Self {
        Self::start_with([Vec::new(), Vec::new()]).await
    }

    /// With more environment variables for the reverser of each pod.
    pub(crate) async fn start_with([one, two]: [Vec<(String, String)>; 2]) -> Self {
        let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
        let namespace = plane.create_namespace("install").await;
        for name in ["pod-0", "pod-1"] {
            create_pod(&plane, &namespace, name, "one").await;
        }
        let first = start(&plane, &namespace, "pod-0", one).await;
        eventually(PATIENCE, || async {
            match holder(&plane, &namespace).await.as_str() {
                "pod-0" => Ok(()),
                other => Err(format!("led by '{other}'")),
            }
        })
        .await;
        let second = start(&plane, &namespace, "pod-1", two).await;
        let pods = [first, second];
        let addresses = pods.iter().enumerate().map(|(number, pod)| {
            let address = pod.webhook_address().to_owned();
            (format!("pod-{number}"), address)
        });
        let addresses: BTreeMap<String, String> = addresses.collect();
        let service = Service::start(&plane, &namespace, LEADER, addresses).unwrap();
        let url = format!("https://{}/process-validating-webhook", service.address());
        let authorities = pods.each_ref().map(Reverser::webhook_ca_pem).concat();
        pods[0]
            .register_webhook_as(&url, &authorities)
            .await
            .unwrap();
        Self {
            plane,
            pods,
            namespace,
            _service: service,
        }
    }

    /// The pod that holds the Lease; empty: none.
    pub(crate) async fn holder(&self) -> String {
        holder(&self.plane, &self.namespace).await
    }

    pub(crate) async fn lease(&self) -> Lease {
        let leases: Api<Lease> = Api::namespaced(self.plane.client(), &self.namespace);
        leases.get(LEASE).await.unwrap()
    }

    /// Waits until this pod holds the Lease and is the only one with the label.
    pub(crate) async fn is_led_by(&self, number: usize) {
        let wanted = format!("pod-{number}");
        eventually(PATIENCE, || async {
            let (holder, labelled) = (self.holder().await, self.labelled().await);
            if holder == wanted && labelled == [wanted.as_str()] {
                return Ok(());
            }
            Err(format!(
                "led by '{holder}', with the label: {labelled:?}; logs:\n{}",
                self.logs()
            ))
        })
        .await;
    }

    /// Pods with the role label.
    pub(crate) async fn labelled(&self) -> Vec<String> {
        let pods: Api<Pod> = Api::namespaced(self.plane.client(), &self.namespace);
        let labelled = kube::api::ListParams::default().labels(LEADER);
        let list = pods.list(&labelled).await.unwrap();
        list.items.iter().map(ResourceExt::name_any).collect()
    }

    /// Waits until the reverser of this pod has ended by itself.
    pub(crate) async fn has_ended(&self, number: usize) -> ExitStatus {
        eventually(PATIENCE, || async {
            self.pods[number].reverser_ended().ok_or("it still runs")
        })
        .await
    }

    /// Stops the processes of a pod (SIGSTOP), as a node does that hangs, or lets them go on.
    pub(crate) fn signal(&self, number: usize, signal: Signal) {
        self.pods[number].signal_reverser(signal);
        self.pods[number].signal_webhook(signal);
    }

    fn logs(&self) -> String {
        let tail = |pod: &Reverser| {
            let [log, _] = pod.logs();
            let from = log.len().saturating_sub(2000);
            log.get(from..).unwrap_or(&log).to_owned()
        };
        self.pods.each_ref().map(tail).join("\n--\n")
    }
}

async fn holder(plane: &ControlPlane, namespace: &str) -> String {
    let leases: Api<Lease> = Api::namespaced(plane.client(), namespace);
    let lease = leases.get_opt(LEASE).await.unwrap();
    let holder = lease.and_then(|lease| lease.spec?.holder_identity);
    let holder = holder.unwrap_or_default();
    holder.split('_').next().unwrap_or_default().to_owned()
}

/// A pod that no node runs: the processes are there without it.
pub(crate) async fn create_pod(plane: &ControlPlane, namespace: &str, name: &str, release: &str) {
    let pods: Api<Pod> = Api::namespaced(plane.client(), namespace);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {
            "app.kubernetes.io/name": "gitops-reverser", "app.kubernetes.io/instance": release,
        }},
        "spec": {"automountServiceAccountToken": false,
            "containers": [{"name": "reverser", "image": "reverser"}]},
    }))
    .unwrap();
    // Its ServiceAccount comes a moment after the namespace.
    eventually(PATIENCE, || async {
        pods.create(&PostParams::default(), &pod).await.map(|_| ())
    })
    .await;
}

async fn start(
    plane: &ControlPlane,
    namespace: &str,
    name: &str,
    mut env: Vec<(String, String)>,
) -> Reverser {
    for (key, value) in [("POD_NAME", name), ("POD_NAMESPACE", namespace)] {
        env.push((key.to_owned(), value.to_owned()));
    }
    let options = Options {
        reverser_args: vec![
            "--leader-elect".to_owned(),
            format!("--leader-elect-lease={LEASE}"),
        ],
        reverser_env: env,
        register_webhook: false,
        ..Options::default()
    };
    Reverser::start(plane, options).await.unwrap()
}
