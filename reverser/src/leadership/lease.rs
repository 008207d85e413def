//! The Lease at the apiserver.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};

use super::observed::Identity;
use super::role::Term;

/// Unchanged for this long, a Lease is anybody's. These three are client-go's, which every controller of the control plane uses.
pub(super) const LEASE_DURATION: Duration = Duration::from_secs(15);

/// A leader that has not renewed its Lease for this long does nothing any more. The 5 s until somebody else may have it are for
/// what is on its way, and for clocks that run at different speeds.
pub(super) const RENEW_DEADLINE: Duration = Duration::from_secs(10);

/// How often the leader renews it, and the others look.
pub(super) const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// For one request: two fit into the renew deadline.
const REQUEST: Duration = Duration::from_secs(5);

/// Who stands for election, and for what.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The Lease, and the pods.
    pub namespace: String,
    /// `--leader-elect-lease`.
    pub lease: String,
    /// Of this process.
    pub pod: String,
}

/// Why a request for the Lease came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseError {
    /// Somebody else has changed, made or deleted it since it was read.
    #[error("the Lease has changed meanwhile")]
    Conflict,
    #[error("the apiserver did not answer within {REQUEST:?}")]
    Timeout,
    #[error(transparent)]
    Api(kube::Error),
}

impl From<kube::Error> for LeaseError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if matches!(status.code, 404 | 409) => Self::Conflict,
            error => Self::Api(error),
        }
    }
}

/// Reads and writes one Lease in the name of one process.
pub(super) struct LeaseClient {
    api: Api<Lease>,
    name: String,
    pub(super) me: Identity,
}

impl LeaseClient {
    pub(super) fn new(client: Client, candidate: &Candidate) -> Self {
        Self {
            api: Api::namespaced(client, &candidate.namespace),
            name: candidate.lease.clone(),
            me: Identity::new(&candidate.pod),
        }
    }

    /// `None` where there is none.
    pub(super) async fn read(&self) -> Result<Option<Lease>, LeaseError> {
        within(self.api.get_opt(&self.name)).await
    }

    /// Makes it, ours from the beginning.
    pub(super) async fn create(&self) -> Result<Lease, LeaseError> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(self.taken(0)),
        };
        within(self.api.create(&PostParams::default(), &lease)).await
    }

    /// Takes it over as it was read.
    pub(super) async fn take(&self, read: &Lease, inherited: bool) -> Result<Lease, LeaseError> {
        let before = read.spec.as_ref();
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        // An own predecessor's term goes on.
        let next = transitions.saturating_add(i32::from(!inherited));
        self.replace(read, self.taken(next)).await
    }

    /// Renews it as it was last written or read.
    pub(super) async fn renew(&self, held: &Lease) -> Result<Lease, LeaseError> {
        let spec = LeaseSpec {
            renew_time: Some(now()),
            ..held.spec.clone().unwrap_or_default()
        };
        self.replace(held, spec).await
    }

    /// Gives it back: the next who looks may take it.
    pub(super) async fn release(&self, held: &Lease) -> Result<Lease, LeaseError> {
        let spec = LeaseSpec {
            // An empty string, as in client-go: older readers don't take an absent one for free.
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(now()),
            ..held.spec.clone().unwrap_or_default()
        };
        self.replace(held, spec).await
    }

    /// Whether a Lease as it was read is this process's.
    pub(super) fn is_mine(&self, lease: &Lease) -> bool {
        holder(lease) == self.me.to_string()
    }

    /// With the resourceVersion of what it replaces: refused if anybody was faster.
    async fn replace(&self, old: &Lease, spec: LeaseSpec) -> Result<Lease, LeaseError> {
        let lease = Lease {
            metadata: old.metadata.clone(),
            spec: Some(spec),
        };
        within(self.api.replace(&self.name, &PostParams::default(), &lease)).await
    }

    fn taken(&self, transitions: i32) -> LeaseSpec {
        let now = now();
        LeaseSpec {
            holder_identity: Some(self.me.to_string()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

/// Who holds a Lease; empty: nobody.
pub(super) fn holder(lease: &Lease) -> &str {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}

/// The uid too: a Lease that somebody has deleted counts from the beginning again.
pub(super) fn term(lease: &Lease) -> Term {
    let spec = lease.spec.as_ref();
    let transitions = spec.and_then(|spec| spec.lease_transitions).unwrap_or(0);
    format!("{}/{transitions}", lease.uid().unwrap_or_default()).into()
}

/// For people: nobody compares it.
fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}

async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, LeaseError> {
    match tokio::time::timeout(REQUEST, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(LeaseError::Timeout),
    }
}
