//! What a control plane serves, by its own account, and plain requests for it.

use kube::Client;
use manifest::Identity;
use serde_json::Value;

/// One stored type, at the version that the cluster prefers: the one that is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Served {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
}

// === impl Served ===

impl Served {
    /// `{resource}.{group}`, or the resource alone in core.
    pub(crate) fn name(&self) -> String {
        if self.group.is_empty() {
            self.resource.clone()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub(crate) fn identity(&self, object: &Value) -> Identity {
        Identity {
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
            namespace: text(&object["metadata"]["namespace"]).to_owned(),
            name: text(&object["metadata"]["name"]).to_owned(),
        }
    }

    /// What a ClusterWatchRule says to select it.
    pub(crate) fn rule(&self) -> Value {
        let scope = if self.namespaced {
            "Namespaced"
        } else {
            "Cluster"
        };
        serde_json::json!({"apiGroups": [self.group], "resources": [self.resource], "scope": scope})
    }

    /// Whether an object of this apiVersion and kind is one, whatever its version.
    fn is_of(&self, object: &Value) -> bool {
        let group = text(&object["apiVersion"])
            .split_once('/')
            .map_or("", |(group, _)| group);
        self.group == group && self.kind == text(&object["kind"])
    }

    /// The collection that an object belongs to, at the object's own version.
    fn collection_of(&self, object: &Value) -> String {
        let root = if self.group.is_empty() {
            "/api"
        } else {
            "/apis"
        };
        let (version, resource) = (text(&object["apiVersion"]), &self.resource);
        if self.namespaced {
            let namespace = text(&object["metadata"]["namespace"]);
            format!("{root}/{version}/namespaces/{namespace}/{resource}")
        } else {
            format!("{root}/{version}/{resource}")
        }
    }
}

/// All types that are stored: what can be created and watched. (Reviews, bindings and the like can't be watched.)
pub(crate) async fn all(client: &Client) -> Vec<Served> {
    let mut all = Vec::new();
    let core = get(client, "/api/v1").await.unwrap();
    add(&mut all, "", "v1", &core);
    // Asked for what an APIService promises and nobody serves, the client would try again and again.
    let services = get(client, "/apis/apiregistration.k8s.io/v1/apiservices")
        .await
        .unwrap();
    let is_available = |group: &str, version: &str| {
        let name = format!("{version}.{group}");
        let services = services["items"].as_array().unwrap();
        let service = services.iter().find(|it| it["metadata"]["name"] == *name);
        let conditions = service.and_then(|it| it["status"]["conditions"].as_array());
        conditions
            .into_iter()
            .flatten()
            .all(|it| it["type"] != "Available" || it["status"] == "True")
    };
    let groups = get(client, "/apis").await.unwrap();
    for group in groups["groups"].as_array().unwrap() {
        let name = text(&group["name"]);
        let preferred = text(&group["preferredVersion"]["version"]);
        let versions = group["versions"].as_array().unwrap().iter();
        let others = versions.map(|version| text(&version["version"]));
        for version in std::iter::once(preferred).chain(others.filter(|it| *it != preferred)) {
            if is_available(name, version) {
                let path = format!("/apis/{name}/{version}");
                add(&mut all, name, version, &get(client, &path).await.unwrap());
            }
        }
    }
    all
}

fn add(all: &mut Vec<Served>, group: &str, version: &str, resources: &Value) {
    for resource in resources["resources"].as_array().into_iter().flatten() {
        let name = text(&resource["name"]);
        let verbs = resource["verbs"].as_array().unwrap();
        let known = all
            .iter()
            .any(|it| it.group == group && it.resource == name);
        let is_stored = verbs.contains(&"create".into()) && verbs.contains(&"watch".into());
        if is_stored && !known && !name.contains('/') {
            all.push(Served {
                group: group.to_owned(),
                version: version.to_owned(),
                resource: name.to_owned(),
                kind: text(&resource["kind"]).to_owned(),
                namespaced: resource["namespaced"] == true,
            });
        }
    }
}

/// The type of an object.
pub(crate) fn type_of<'a>(all: &'a [Served], object: &Value) -> &'a Served {
    all.iter()
        .find(|served| served.is_of(object))
        .unwrap_or_else(|| panic!("not served: {} {}", object["apiVersion"], object["kind"]))
}

/// All objects of a type.
pub(crate) async fn list(client: &Client, served: &Served) -> Vec<Value> {
    let root = if served.group.is_empty() {
        "/api"
    } else {
        "/apis"
    };
    let path = format!("{root}/{}/{}", served.api_version(), served.resource);
    let list = get(client, &path).await.unwrap();
    let items = list["items"].as_array().unwrap().clone();
    let completed = |mut object: Value| {
        object["apiVersion"] = served.api_version().into();
        object["kind"] = served.kind.as_str().into();
        object
    };
    items.into_iter().map(completed).collect()
}

/// The object of the same name as it is read now, at the given object's version.
pub(crate) async fn read(client: &Client, served: &Served, object: &Value) -> Value {
    let path = format!(
        "{}/{}",
        served.collection_of(object),
        escaped(&object["metadata"]["name"])
    );
    get(client, &path).await.unwrap()
}

pub(crate) async fn create(client: &Client, served: &Served, object: &Value) -> Value {
    create_by(client, "kubectl-create", served, object).await
}

/// By a field manager.
pub(crate) async fn create_by(
    client: &Client,
    manager: &str,
    served: &Served,
    object: &Value,
) -> Value {
    let path = format!("{}?fieldManager={manager}", served.collection_of(object));
    send(client, "POST", &path, "application/json", object)
        .await
        .unwrap_or_else(|error| {
            panic!(
                "create {} {}: {}",
                served.name(),
                object["metadata"]["name"],
                reason(&error)
            )
        })
}

/// A JSON merge patch of an object, or of one of its subresources (`/status`).
pub(crate) async fn merge(
    client: &Client,
    served: &Served,
    object: &Value,
    subresource: &str,
    manager: &str,
    patch: &Value,
) -> Value {
    let name = escaped(&object["metadata"]["name"]);
    let path = format!(
        "{}/{name}{subresource}?fieldManager={manager}",
        served.collection_of(object)
    );
    send(
        client,
        "PATCH",
        &path,
        "application/merge-patch+json",
        patch,
    )
    .await
    .unwrap_or_else(|error| panic!("patch {path}: {}", reason(&error)))
}

pub(crate) async fn get(client: &Client, path: &str) -> kube::Result<Value> {
    client
        .request(http::Request::get(path).body(Vec::new()).unwrap())
        .await
}

pub(crate) async fn send(
    client: &Client,
    method: &str,
    path: &str,
    content_type: &str,
    body: &Value,
) -> kube::Result<Value> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("Content-Type", content_type)
        .body(serde_json::to_vec(body).unwrap())
        .unwrap();
    client.request(request).await
}

/// What the apiserver said, without the rest of its answer.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// RBAC names hold what a path can't.
fn escaped(name: &Value) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    text(name)
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
