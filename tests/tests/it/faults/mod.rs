//! What goes wrong in months of watching, on a real control plane. After each fault Git equals the cluster, nothing that lives
//! was ever deleted, and no commit names the wrong person.

mod aggregated;
mod clocks;
mod compaction;
mod pages;
mod rights;
mod rivals;
mod soak;
mod versions;

use tests::control_plane::{ControlPlane, Gateway, Options as PlaneOptions};
use tests::reverser::{Options, Reverser};

/// A control plane whose apiserver has these flags, and a reverser that reaches it through a gateway.
async fn through_a_gateway(apiserver_args: &[&str]) -> (ControlPlane, Gateway, Reverser) {
    let plane = ControlPlane::start(PlaneOptions {
        apiserver_args: apiserver_args.iter().map(|&arg| arg.to_owned()).collect(),
        ..PlaneOptions::default()
    })
    .await
    .unwrap();
    let gateway = plane.gateway(None).unwrap();
    let options = Options {
        kubeconfig: Some(gateway.kubeconfig()),
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    (plane, gateway, reverser)
}
