//! The webhook's certificate is renewed while it serves.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tests::certs::{Authority, Identity};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::reverser::{Options, Reverser};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::lab::{Lab, PATIENCE, create, map, set};

/// The certificate that the webhook shows now, to somebody who trusts this authority.
async fn shown(reverser: &Reverser, ca_pem: &str) -> std::io::Result<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = reverser
        .webhook_url()
        .trim_start_matches("https://")
        .split('/')
        .next()
        .unwrap();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    Ok(chain[0].clone().into_owned())
}

/// As the kubelet swaps a Secret's files: each whole, one after the other.
fn replace(reverser: &Reverser, identity: &Identity) {
    let [certificate, key] = reverser.certificate_paths();
    for (path, pem) in [(certificate, &identity.certificate), (key, &identity.key)] {
        let new = path.with_extension("new");
        std::fs::write(&new, pem).unwrap();
        std::fs::rename(new, path).unwrap();
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_restart_and_without_losing_a_write() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "renew")
        .await
        .watching(&["configmaps"])
        .await;
    create(&lab.maps("alice"), &map("one", "k", "before")).await;
    let old_ca = reverser.webhook_ca_pem().to_owned();
    assert!(shown(&reverser, &old_ca).await.is_ok());

    // In the order of a renewal that nobody notices: trust both, renew, trust the new one only.
    let authority = Authority::new("the next authority").unwrap();
    let renewed = authority
        .server("gitops-reverser-webhook", &["127.0.0.1"])
        .unwrap();
    reverser
        .register_webhook_trusting(&format!("{old_ca}{}", authority.pem()))
        .await
        .unwrap();
    set(&lab.maps("bob"), "one", "k", "both").await;
    replace(&reverser, &renewed);
    set(&lab.maps("carol"), "one", "k", "meanwhile").await;
    let expected = CertificateDer::from_pem_slice(renewed.certificate.as_bytes()).unwrap();
    eventually(PATIENCE, || async {
        match shown(&reverser, &authority.pem()).await {
            Ok(certificate) if certificate == expected => Ok(()),
            Ok(_) => Err("another certificate".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    assert!(shown(&reverser, &old_ca).await.is_err());
    set(&lab.maps("dave"), "one", "k", "renewed").await;
    reverser
        .register_webhook_trusting(&authority.pem())
        .await
        .unwrap();
    set(&lab.maps("erin"), "one", "k", "after").await;
    lab.holds("one", "k", "after").await;

    let versions = lab.versions(&lab.path("one"));
    let authors: Vec<(&str, Option<&str>)> = versions
        .iter()
        .map(|c| (c.author_name.as_str(), c.trailer("Attribution")))
        .collect();
    let expected = ["alice", "bob", "carol", "dave", "erin"].map(|user| (user, Some("exact")));
    assert_eq!(authors, expected);
    let metrics = reverser.webhook_metrics().await;
    let reloads = |result: &str| {
        metrics.get(&format!(
            "gitopsreverser_webhook_certificate_reloads_total{{result=\"{result}\"}}"
        ))
    };
    assert_eq!(reloads("success"), Some(1.0));

    // What is of no use changes nothing.
    std::fs::write(&reverser.certificate_paths()[0], "not a certificate").unwrap();
    eventually(PATIENCE, || async {
        let metrics = reverser.webhook_metrics().await;
        match metrics.sum_where(
            "gitopsreverser_webhook_certificate_reloads_total",
            "result=\"failure\"",
        ) {
            failures if failures >= 1.0 => Ok(()),
            failures => Err(format!("{failures} failures")),
        }
    })
    .await;
    set(&lab.maps("frank"), "one", "k", "still").await;
    lab.holds("one", "k", "still").await;
    let last = lab.versions(&lab.path("one")).pop().unwrap();
    assert_eq!(last.author_name, "frank");
    assert!(shown(&reverser, &authority.pem()).await.is_ok());
    reverser.stop().await.unwrap();
}
