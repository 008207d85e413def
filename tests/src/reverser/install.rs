//! What the chart would install in the cluster: the CRDs and the webhook configuration.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

const FIELD_MANAGER: &str = "gitops-reverser-test-bed";
/// As in the chart's values: what a busy cluster writes by itself, and what is no object.
const EXCLUDED: [&str; 8] = [
    "events",
    "events.events.k8s.io",
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "leases.coordination.k8s.io",
    "tokenreviews.authentication.k8s.io",
    "selfsubjectreviews.authentication.k8s.io",
    "subjectaccessreviews.authorization.k8s.io",
];
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(60);
/// From the first review on, until a write names its author.
const REACHED: Duration = Duration::from_millis(1100);

/// Applies every CRD of the chart, as `apply_crds_of` does.
///
/// # Errors
/// As there.
pub async fn apply_crds(client: &kube::Client) -> Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/gitops-reverser/crds");
    apply_crds_of(client, &directory).await
}

/// Applies every CRD of a directory, with server-side apply, and waits until the apiserver serves them.
///
/// # Errors
/// If there are none, or the apiserver refuses one.
pub(crate) async fn apply_crds_of(client: &kube::Client, directory: &Path) -> Result<()> {
    let files =
        std::fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut names = Vec::new();
    for file in files {
        let path = file.context("list the CRDs")?.path();
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for document in serde_yaml::Deserializer::from_str(&text) {
            let crd: serde_json::Value = serde::Deserialize::deserialize(document)
                .with_context(|| format!("parse {}", path.display()))?;
            let name = crd["metadata"]["name"]
                .as_str()
                .context("a CRD without a name")?
                .to_owned();
            crds.patch(
                &name,
                &PatchParams::apply(FIELD_MANAGER).force(),
                &Patch::Apply(&crd),
            )
            .await
            .with_context(|| format!("apply CRD {name}"))?;
            names.push(name);
        }
    }
    if names.is_empty() {
        bail!("there is no CRD in {}", directory.display());
    }
    for name in &names {
        until(&format!("CRD {name} is not established"), || async {
            let crd = crds.get(name).await?;
            let conditions = crd
                .status
                .and_then(|status| status.conditions)
                .unwrap_or_default();
            let established = conditions
                .iter()
                .any(|it| it.type_ == "Established" && it.status == "True");
            if established {
                Ok(())
            } else {
                bail!("conditions: {conditions:?}")
            }
        })
        .await?;
    }
    Ok(())
}

/// A webhook configuration as the chart has it, with a URL in place of the Service.
pub(super) struct Registration {
    /// The configuration's name.
    pub(super) name: String,
    /// The name of a ConfigMap that can't be created once this configuration is in effect.
    pub(super) probe: String,
    /// Where the apiserver posts reviews.
    pub(super) url: String,
    /// Who signed the webhook's certificate, PEM.
    pub(super) ca_pem: String,
    /// A port on which nothing listens.
    pub(super) closed_port: u16,
}

// === impl Registration ===

impl Registration {
    /// Registers the webhook and waits until the apiserver calls it.
    ///
    /// The apiserver learns of the configuration through a watch of its own, a moment after it was stored. A second
    /// webhook in the same configuration tells when: it can't be reached, fails closed, and matches only a ConfigMap of a
    /// name of its own, created dry. Once that is refused, the whole configuration is in effect.
    pub(super) async fn create(&self, client: &kube::Client) -> Result<()> {
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
        configurations
            .patch(
                &self.name,
                &PatchParams::apply(FIELD_MANAGER).force(),
                &Patch::Apply(self.configuration()),
            )
            .await
            .context("register the webhook")?;
        let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
        let probe: ConfigMap =
            serde_json::from_value(json!({ "metadata": { "name": self.probe } }))?;
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        until("the webhook configuration is not in effect", || async {
            match config_maps.create(&dry, &probe).await {
                Err(kube::Error::Api(status))
                    if status.message.contains("failed calling webhook") =>
                {
                    Ok(())
                }
                Err(error) => Err(error.into()),
                Ok(_) => bail!("the probe was let through"),
            }
        })
        .await?;
        // The probe came to the sidecar too. What comes within a second of its first review is no evidence (`webhook/src/reach.rs`).
        tokio::time::sleep(REACHED).await;
        Ok(())
    }

    /// Takes it back, if it is there. The apiserver may call the webhook for a moment longer.
    pub(super) async fn delete(&self, client: &kube::Client) -> Result<()> {
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
        match configurations
            .delete(&self.name, &DeleteParams::default())
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error).context("unregister the webhook"),
        }
    }

    fn configuration(&self) -> serde_json::Value {
        let ca_bundle = BASE64.encode(&self.ca_pem);
        let excluded = json!(EXCLUDED);
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": self.name },
            "webhooks": [{
                "name": "attribution.configbutler.ai",
                "admissionReviewVersions": ["v1"],
                "clientConfig": { "url": self.url, "caBundle": ca_bundle },
                "failurePolicy": "Ignore",
                "sideEffects": "NoneOnDryRun",
                "matchPolicy": "Equivalent",
                "timeoutSeconds": 1,
                "rules": [{
                    "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*", "*/scale", "pods/eviction"],
                    "operations": ["CREATE", "UPDATE", "DELETE"], "scope": "*",
                }],
                "matchConditions": [{
                    "name": "not-excluded",
                    "expression": format!(
                        "!((request.resource.group == '' ? request.resource.resource : \
                         request.resource.resource + '.' + request.resource.group) in {excluded})"
                    ),
                }],
            }, {
                "name": "in-effect.configbutler.ai",
                "admissionReviewVersions": ["v1"],
                "clientConfig": { "url": format!("https://127.0.0.1:{}/", self.closed_port), "caBundle": ca_bundle },
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "timeoutSeconds": 1,
                "rules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"],
                }],
                "matchConditions": [{ "name": "the-probe", "expression": format!("request.name == '{}'", self.probe) }],
            }],
        })
    }
}

async fn until<F: Future<Output = Result<()>>>(what: &str, attempt: impl Fn() -> F) -> Result<()> {
    let start = std::time::Instant::now();
    loop {
        let Err(error) = attempt().await else {
            return Ok(());
        };
        if start.elapsed() > EFFECTIVE_WITHIN {
            return Err(error.context(format!("{what} after {EFFECTIVE_WITHIN:?}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
