//! A pod's volumes as directories of this machine, filled as the kubelet fills them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, KeyToPath, ObjectFieldSelector, PodSpec, Secret, ServiceAccount,
    ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};

/// The kubelet renews tokens long before they end. Nobody does here, so they are asked for with a longer life than the
/// Deployment wants: a day.
const TOKEN_SECONDS: i64 = 86_400;

/// What a downward API field can say.
#[derive(Clone, Debug)]
pub struct PodIdentity {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `spec.serviceAccountName`.
    pub service_account: String,
}

/// Volumes by name.
#[derive(Debug)]
pub struct Volumes {
    directories: HashMap<String, PathBuf>,
}

/// Where a container sees its volumes: path in the container → directory on this machine.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    // Longest path first, so that a mount inside a mount wins.
    mounts: Vec<(String, PathBuf)>,
}

// === impl PodIdentity ===

impl PodIdentity {
    /// The value of a field.
    ///
    /// # Errors
    /// For fields that no process here can have.
    pub fn field(&self, field: &ObjectFieldSelector) -> Result<String> {
        Ok(match field.field_path.as_str() {
            "metadata.name" => self.name.clone(),
            "metadata.namespace" => self.namespace.clone(),
            "spec.serviceAccountName" => self.service_account.clone(),
            "status.podIP" | "status.hostIP" => "127.0.0.1".to_owned(),
            other => bail!("the downward API's {other} has no counterpart here"),
        })
    }
}

// === impl Volumes ===

impl Volumes {
    /// Makes every volume of a pod below `root`.
    ///
    /// # Errors
    /// If a Secret or ConfigMap is missing, or the kind of volume has no counterpart here.
    pub async fn make(
        client: &Client,
        pod: &PodSpec,
        identity: &PodIdentity,
        root: &Path,
    ) -> Result<Self> {
        let mut directories = HashMap::new();
        for volume in pod.volumes.iter().flatten() {
            let directory = root.join(&volume.name);
            make_directory(&directory)?;
            fill(client, volume, identity, &directory)
                .await
                .with_context(|| format!("volume {}", volume.name))?;
            directories.insert(volume.name.clone(), directory);
        }
        Ok(Self { directories })
    }

    /// The directory of a volume.
    #[must_use]
    pub fn directory(&self, name: &str) -> Option<&Path> {
        self.directories.get(name).map(PathBuf::as_path)
    }

    /// What a container mounts.
    ///
    /// # Errors
    /// If it mounts what is no volume of the pod.
    pub fn mounts<'a>(&self, mounts: impl IntoIterator<Item = &'a VolumeMount>) -> Result<Mounts> {
        let mut mapped = Vec::new();
        for mount in mounts {
            let mut directory = self
                .directories
                .get(&mount.name)
                .with_context(|| format!("there is no volume {}", mount.name))?
                .clone();
            if let Some(inner) = &mount.sub_path {
                directory.push(inner);
            }
            let path = mount.mount_path.trim_end_matches('/').to_owned();
            mapped.push((path, directory));
        }
        mapped.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Ok(Mounts { mounts: mapped })
    }
}

async fn fill(
    client: &Client,
    volume: &Volume,
    identity: &PodIdentity,
    directory: &Path,
) -> Result<()> {
    if volume.empty_dir.is_some() {
        Ok(())
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let data = secret(client, &identity.namespace, name).await?;
        write_items(directory, &data, source.items.as_deref())
    } else if let Some(source) = &volume.config_map {
        let data = config_map(client, &identity.namespace, &source.name).await?;
        write_items(directory, &data, source.items.as_deref())
    } else if let Some(projected) = &volume.projected {
        for source in projected.sources.iter().flatten() {
            project(client, source, identity, directory).await?;
        }
        Ok(())
    } else {
        bail!("this kind of volume has no counterpart here")
    }
}

async fn project(
    client: &Client,
    source: &VolumeProjection,
    identity: &PodIdentity,
    directory: &Path,
) -> Result<()> {
    if let Some(token) = &source.service_account_token {
        let text = request_token(client, token, identity).await?;
        write(&directory.join(&token.path), text.as_bytes())?;
    }
    if let Some(map) = &source.config_map {
        let data = config_map(client, &identity.namespace, &map.name).await?;
        write_items(directory, &data, map.items.as_deref())?;
    }
    if let Some(projection) = &source.secret {
        let data = secret(client, &identity.namespace, &projection.name).await?;
        write_items(directory, &data, projection.items.as_deref())?;
    }
    if let Some(downward) = &source.downward_api {
        for item in downward.items.iter().flatten() {
            let field = item
                .field_ref
                .as_ref()
                .context("only fieldRef has a counterpart here")?;
            let value = identity.field(field)?;
            write(&directory.join(&item.path), value.as_bytes())?;
        }
    }
    Ok(())
}

async fn request_token(
    client: &Client,
    token: &ServiceAccountTokenProjection,
    identity: &PodIdentity,
) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &identity.namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: token.audience.iter().cloned().collect(),
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(&identity.service_account, &PostParams::default(), &request)
        .await
        .with_context(|| format!("a token for ServiceAccount {}", identity.service_account))?;
    Ok(answer.status.context("the apiserver gave no token")?.token)
}

async fn secret(client: &Client, namespace: &str, name: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let secret = Api::<Secret>::namespaced(client.clone(), namespace)
        .get(name)
        .await
        .with_context(|| format!("Secret {namespace}/{name}"))?;
    let data = secret.data.unwrap_or_default();
    Ok(data
        .into_iter()
        .map(|(key, value)| (key, value.0))
        .collect())
}

async fn config_map(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let map = Api::<ConfigMap>::namespaced(client.clone(), namespace)
        .get(name)
        .await
        .with_context(|| format!("ConfigMap {namespace}/{name}"))?;
    let name = map.name_any();
    let data = map
        .data
        .with_context(|| format!("ConfigMap {name} is empty"))?;
    Ok(data
        .into_iter()
        .map(|(key, value)| (key, value.into_bytes()))
        .collect())
}

fn write_items(
    directory: &Path,
    data: &BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
) -> Result<()> {
    match items {
        None => data
            .iter()
            .try_for_each(|(key, value)| write(&directory.join(key), value)),
        Some(items) => items.iter().try_for_each(|item| {
            let value = data
                .get(&item.key)
                .with_context(|| format!("there is no key {}", item.key))?;
            write(&directory.join(&item.path), value)
        }),
    }
}

fn make_directory(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .with_context(|| format!("make {}", path.display()))
}

fn write(path: &Path, contents: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(contents))
        .with_context(|| format!("write {}", path.display()))
}

// === impl Mounts ===

impl Mounts {
    /// The directory that a path in the container names, where it is the very path of a mount.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Path> {
        let found = self.mounts.iter().find(|(mount, _)| mount == path)?;
        Some(&found.1)
    }

    /// Replaces the paths of mounts in an argument or a variable by the directories of this machine, wherever one stands on
    /// its own: `--work-dir=/work/x` and `unix:/run/app.sock`, but neither `/workshop` nor `/my/work`.
    #[must_use]
    pub fn localize(&self, text: &str) -> String {
        let mut localized = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('/') {
            let (before, path) = rest.split_at(at);
            localized.push_str(before);
            // Slashes alone are a URL's: unix:///run/app.sock.
            let inside_a_path = localized.trim_end_matches('/').ends_with(is_name_character);
            let mount = self.mounts.iter().find(|(mount, _)| {
                path.strip_prefix(mount.as_str())
                    .is_some_and(|after| !after.starts_with(is_name_character))
            });
            match mount {
                Some((mount, directory)) if !inside_a_path => {
                    localized.push_str(&directory.to_string_lossy());
                    rest = &path[mount.len()..];
                }
                _ => {
                    localized.push('/');
                    rest = &path[1..];
                }
            }
        }
        localized + rest
    }
}

fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts() -> Mounts {
        let volumes = Volumes {
            directories: [("a", "/t/a"), ("b", "/t/b")]
                .map(|(name, path)| (name.to_owned(), PathBuf::from(path)))
                .into(),
        };
        let mount = |name: &str, path: &str| VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            ..VolumeMount::default()
        };
        volumes
            .mounts(&[mount("a", "/run/app"), mount("b", "/run/app/inner/")])
            .unwrap()
    }

    #[test]
    fn paths_below_a_mount_are_replaced() {
        for (in_container, here) in [
            ("--dir=/run/app", "--dir=/t/a"),
            ("unix:/run/app/x.sock", "unix:/t/a/x.sock"),
            ("/run/app:/run/app/inner/y", "/t/a:/t/b/y"),
            ("unix:///run/app/x", "unix:///t/a/x"),
        ] {
            assert_eq!(mounts().localize(in_container), here);
        }
    }

    #[test]
    fn other_text_is_left_alone() {
        for text in [
            "",
            "--x=1",
            "/",
            "/run/apple",
            "/run/app.d",
            "/my/run/app",
            "a/run/app",
        ] {
            assert_eq!(mounts().localize(text), text);
        }
    }
}
