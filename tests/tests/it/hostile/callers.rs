//! Somebody in the cluster who calls the webhook as an apiserver does, to put another's name to a write.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tests::certs::{Authority, Identity};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::reverser::{Options, Reverser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::lab::{Lab, PATIENCE, create, map, set};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Posts a review to a path of the webhook, with a certificate or without, and returns the status line.
async fn post(
    reverser: &Reverser,
    path: &str,
    identity: Option<&Identity>,
    review: &str,
) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    let ca = reverser.webhook_ca_pem().as_bytes();
    roots
        .add(CertificateDer::from_pem_slice(ca).unwrap())
        .unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some(identity) => {
            let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
            config
                .with_client_auth_cert(vec![certificate.unwrap()], key.unwrap())
                .unwrap()
        }
    };
    let stream = TcpStream::connect(reverser.webhook_address()).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let length = review.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: webhook\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{review}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// A lab with a ConfigMap `one` of alice's, which is in Git.
async fn with_one(plane: &ControlPlane) -> Lab<'_> {
    let lab = Lab::on(plane, "caller").await;
    let lab = lab.watching(&["configmaps"]).await;
    create(&lab.maps("alice"), &map("one", "k", "0")).await;
    lab.holds("one", "k", "0").await;
    lab
}

/// What the apiserver would say of mallory changing this ConfigMap to this value.
async fn forged(lab: &Lab<'_>, name: &str, value: &str) -> String {
    let mut old = serde_json::to_value(lab.maps("admin").get(name).await.unwrap()).unwrap();
    (old["apiVersion"], old["kind"]) = ("v1".into(), "ConfigMap".into());
    let mut object = old.clone();
    object["data"] = json!({"k": value});
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "00000000-0000-0000-0000-000000000000", "operation": "UPDATE", "dryRun": false,
            "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
            "name": name, "namespace": lab.namespace, "userInfo": {"username": "mallory"},
            "object": object, "oldObject": old, "options": {"fieldManager": "kubectl"},
        },
    })
    .to_string()
}

/// Alice's change has her name, and nothing was heard of mallory.
async fn alice_only(lab: &Lab<'_>, reverser: &Reverser, name: &str, value: &str) {
    set(&lab.maps("alice"), name, "k", value).await;
    lab.holds(name, "k", value).await;
    let commit = lab.versions(&lab.path(name)).pop().unwrap();
    assert_eq!(commit.author_name, "alice");
    assert_eq!(commit.trailer("Attribution"), Some("exact"));
    let observations = reverser.observations();
    assert!(observations.iter().any(|it| it.username == "alice"));
    assert!(observations.iter().all(|it| it.username != "mallory"));
}

#[tokio::test]
async fn a_review_is_taken_on_the_path_that_only_the_apiserver_knows() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let options = Options {
        path_token: Some(TOKEN.to_owned()),
        recorded: true,
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let lab = with_one(&plane).await;
    let review = forged(&lab, "one", "1").await;
    let path = "/process-validating-webhook";
    for path in [
        path.to_owned(),
        format!("{path}/"),
        format!("{path}/{}", TOKEN.replace('0', "1")),
        format!("{path}/{}", &TOKEN[..31]),
        format!("{path}/../{TOKEN}"),
    ] {
        let status = post(&reverser, &path, None, &review).await.unwrap();
        assert_eq!(status, "HTTP/1.1 404 Not Found", "{path}");
    }
    alice_only(&lab, &reverser, "one", "1").await;

    // It is the path that kept it out: who knows it is believed.
    let review = forged(&lab, "one", "2").await;
    let path = format!("{path}/{TOKEN}");
    let status = post(&reverser, &path, None, &review).await.unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK");
    eventually(PATIENCE, || async {
        let observations = reverser.observations();
        let believed = observations.iter().any(|it| it.username == "mallory");
        believed.then_some(()).ok_or("not yet")
    })
    .await;
    reverser.stop().await.unwrap();
}

/// What tells an apiserver to show a certificate to webhooks ("Authenticate API servers", Dynamic Admission Control).
fn admission_configuration(directory: &Path, identity: &Identity) -> String {
    let kubeconfig = directory.join("webhooks.kubeconfig");
    let [certificate, key] = ["apiserver.crt", "apiserver.key"].map(|name| directory.join(name));
    std::fs::write(&certificate, &identity.certificate).unwrap();
    std::fs::write(&key, &identity.key).unwrap();
    let user = json!({"client-certificate": certificate, "client-key": key});
    let config =
        json!({"apiVersion": "v1", "kind": "Config", "users": [{"name": "*", "user": user}]});
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let file = directory.join("admission.json");
    let webhooks = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration", "kubeConfigFile": kubeconfig,
    });
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",
        "plugins": [{"name": "ValidatingAdmissionWebhook", "configuration": webhooks}],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn with_a_client_ca_a_review_is_taken_from_the_apiserver_only() {
    let directory = tempfile::tempdir().unwrap();
    let [authority, other] =
        ["webhook-clients", "webhook-clients"].map(|name| Authority::new(name).unwrap());
    let file = directory.path().join("client-ca.crt");
    std::fs::write(&file, authority.pem()).unwrap();
    let apiserver = authority.client("kube-apiserver", &[]).unwrap();
    let admission = admission_configuration(directory.path(), &apiserver);
    let plane = PlaneOptions {
        apiserver_args: vec![format!("--admission-control-config-file={admission}")],
        ..PlaneOptions::default()
    };
    let plane = ControlPlane::start(plane).await.unwrap();
    let options = Options {
        webhook_args: vec![format!("--client-ca-file={}", file.display())],
        recorded: true,
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let lab = with_one(&plane).await;
    let review = forged(&lab, "one", "1").await;
    let stranger = other.client("kube-apiserver", &[]).unwrap();
    for identity in [None, Some(&stranger)] {
        let answer = post(&reverser, "/process-validating-webhook", identity, &review).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    alice_only(&lab, &reverser, "one", "1").await;
    reverser.stop().await.unwrap();
}
