//! The test bed: a real control plane and real Git servers, started and ended by the tests that use them.
//!
//! | module | gives |
//! | --- | --- |
//! | [`assets`] | the programs: found (`KUBEBUILDER_ASSETS`), or built once from pinned Go modules |
//! | [`process`] | child processes of which none outlives the test process, however it ends |
//! | [`control_plane`] | etcd, kube-apiserver, kube-controller-manager, and clients for any user |
//! | [`git`] | Git over HTTPS, HTTP and SSH, with faults on demand, and repositories to look into |
//! | [`flux`] | Flux's controllers, which apply a folder of a repository to such a control plane |
//! | [`hooks`] | admission and conversion webhooks of a test's own |
//! | [`reverser`] | our own two processes on such a control plane |
//! | [`mod@eventually`] | waiting for what converges, with a failure that says what was there instead |
//!
//! Everything listens on 127.0.0.1 only and writes below one temporary directory, which goes with the process. Set
//! `GITOPS_REVERSER_TEST_KEEP=1` to keep it (its path is printed) and read the logs.

pub mod assets;
pub mod certs;
pub mod control_plane;
pub mod eventually;
pub mod flux;
pub mod git;
pub mod hooks;
pub mod net;
pub mod process;
pub mod reverser;

pub use control_plane::ControlPlane;
pub use eventually::eventually;
pub use git::GitServer;
pub use reverser::Reverser;
