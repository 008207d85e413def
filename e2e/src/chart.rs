//! The chart, rendered by Helm itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, Resource, ResourceExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Who applies the chart: what Helm calls itself, so that a later `helm upgrade` meets no conflict.
const HELM: &str = "helm";

/// A release of this repository's chart.
#[derive(Clone, Debug)]
pub struct Release {
    /// The release's name, part of the names of its objects.
    pub name: String,
    /// Where its pod runs.
    pub namespace: String,
    /// What differs from `values.yaml`.
    pub values: Value,
}

/// Everything that a release consists of, in the order in which Helm installs it: CRDs first.
#[derive(Clone, Debug)]
pub struct Rendered {
    namespace: String,
    objects: Vec<DynamicObject>,
    hooks: Vec<DynamicObject>,
}

/// The chart in this checkout.
#[must_use]
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/gitops-reverser")
}

// === impl Release ===

impl Release {
    /// Runs `helm template`.
    ///
    /// # Errors
    /// What Helm said: values that the schema refuses, for one.
    pub fn render(&self, helm: &Path) -> Result<Rendered> {
        let mut child = Command::new(helm)
            .args(["template", &self.name])
            .arg(directory())
            .args(["--namespace", &self.namespace])
            .args(["--include-crds", "--values", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", helm.display()))?;
        let mut values = child.stdin.take().context("helm has no standard input")?;
        values
            .write_all(self.values.to_string().as_bytes())
            .context("give helm its values")?;
        drop(values);
        let output = child.wait_with_output().context("wait for helm")?;
        if !output.status.success() {
            bail!(
                "helm template: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Rendered::parse(&self.namespace, &output.stdout)
    }
}

// === impl Rendered ===

impl Rendered {
    fn parse(namespace: &str, yaml: &[u8]) -> Result<Self> {
        let mut objects = Vec::new();
        for document in serde_yaml::Deserializer::from_slice(yaml) {
            let value = Value::deserialize(document).context("read what helm rendered")?;
            if !value.is_null() {
                objects.push(serde_json::from_value(value).context("rendered object")?);
            }
        }
        let (hooks, mut objects): (Vec<DynamicObject>, Vec<_>) = objects
            .into_iter()
            .partition(|object: &DynamicObject| object.annotations().contains_key("helm.sh/hook"));
        // The chart's templates run for themselves; CRDs have to be there before anyone asks for them.
        objects.sort_by_key(|object| kind(object) != "CustomResourceDefinition");
        Ok(Self {
            namespace: namespace.to_owned(),
            objects,
            hooks,
        })
    }

    /// What `helm test` would make, and an installation does not.
    ///
    /// # Errors
    /// If there is no such pod, or more than one.
    pub fn test_pod(&self) -> Result<Pod> {
        let [pod] = self.hooks.as_slice() else {
            bail!("the chart renders {} hooks", self.hooks.len());
        };
        serde_json::to_value(pod)
            .and_then(serde_json::from_value)
            .context("the chart's test")
    }

    /// All objects but hooks, which Helm keeps for itself.
    #[must_use]
    pub fn objects(&self) -> &[DynamicObject] {
        &self.objects
    }

    /// The only object of a type.
    ///
    /// # Errors
    /// If there is none, or more than one, or it is not what its kind says.
    pub fn only<K>(&self) -> Result<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let mut found = self.objects.iter().filter(|object| {
            object.types.as_ref().is_some_and(|types| {
                types.kind == K::kind(&()) && types.api_version == K::api_version(&())
            })
        });
        match (found.next(), found.next()) {
            (Some(object), None) => serde_json::to_value(object)
                .and_then(serde_json::from_value)
                .with_context(|| format!("the chart's {}", K::kind(&()))),
            (None, _) => bail!("the chart renders no {}", K::kind(&())),
            (Some(_), Some(_)) => bail!("the chart renders several {}s", K::kind(&())),
        }
    }

    /// Makes the namespace and applies everything, server-side, waiting for the CRDs before what may need them.
    ///
    /// # Errors
    /// If an object is refused, with its name.
    pub async fn apply(&self, client: &Client) -> Result<()> {
        let namespace = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.namespace }
        }))
        .context("namespace")?;
        apply(client, HELM, &namespace).await?;
        let (crds, others): (Vec<_>, Vec<_>) = self
            .objects
            .iter()
            .partition(|object| kind(object) == "CustomResourceDefinition");
        for object in &crds {
            apply(client, HELM, object).await?;
        }
        for object in &crds {
            let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
            let established = await_condition(crds, name(object), conditions::is_crd_established());
            tokio::time::timeout(Duration::from_secs(60), established)
                .await
                .with_context(|| format!("{} is not served after 60 s", name(object)))??;
        }
        for object in others {
            apply(client, HELM, object).await?;
        }
        Ok(())
    }

    /// Takes away all but the CRDs and the namespace: those may hold what others made.
    ///
    /// # Errors
    /// If an object can't be deleted. One that is gone already is no error.
    pub async fn delete(&self, client: &Client) -> Result<()> {
        for object in self.objects.iter().rev() {
            if kind(object) != "CustomResourceDefinition" {
                match api(client, object)?
                    .delete(name(object), &DeleteParams::default())
                    .await
                {
                    Ok(_) => {}
                    Err(kube::Error::Api(status)) if status.is_not_found() => {}
                    Err(error) => return Err(error).with_context(|| describe(object)),
                }
            }
        }
        Ok(())
    }
}

/// Applies one object, server-side, in the name of a field manager.
///
/// # Errors
/// If it is refused, with its name.
pub async fn apply(client: &Client, field_manager: &str, object: &DynamicObject) -> Result<()> {
    api(client, object)?
        .patch(
            name(object),
            &PatchParams::apply(field_manager).force(),
            &Patch::Apply(object),
        )
        .await
        .with_context(|| format!("apply {}", describe(object)))?;
    Ok(())
}

/// The API that an object belongs to: namespaced where it names a namespace.
///
/// # Errors
/// If the object has no type.
pub fn api(client: &Client, object: &DynamicObject) -> Result<Api<DynamicObject>> {
    let types = object.types.as_ref().context("an object without a type")?;
    let kind = GroupVersionKind::try_from(types).context("an object's apiVersion")?;
    let resource = ApiResource::from_gvk(&kind);
    Ok(match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    })
}

pub(crate) fn kind(object: &DynamicObject) -> &str {
    object
        .types
        .as_ref()
        .map_or("", |types| types.kind.as_str())
}

pub(crate) fn name(object: &DynamicObject) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}

pub(crate) fn describe(object: &DynamicObject) -> String {
    match &object.metadata.namespace {
        Some(namespace) => format!("{} {namespace}/{}", kind(object), name(object)),
        None => format!("{} {}", kind(object), name(object)),
    }
}
