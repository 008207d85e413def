//! The chart, installed on a real control plane, and its pod, run as local processes.
//!
//! | module | gives |
//! | --- | --- |
//! | [`cluster`] | the test bed's control plane, or the cluster that `KUBECONFIG` names |
//! | [`chart`] | what `helm template` renders, as objects that can be looked into and applied |
//! | [`volumes`] | a pod's volumes as directories, as the kubelet would fill them |
//! | [`pod`] | the Deployment's two containers as processes, with its arguments, mounts and ServiceAccount |
//! | [`engine`] | the same from their images, where there is a container engine |
//! | [`install`] | all of that in one call |
//! | [`reference`] | `docs/configuration.md`, from what it describes |
//! | [`scenario`] | what the demo's people do, and what must be in Git afterwards |

pub mod chart;
pub mod cluster;
pub mod engine;
pub mod install;
pub mod pod;
pub mod reference;
pub mod scenario;
pub mod volumes;
