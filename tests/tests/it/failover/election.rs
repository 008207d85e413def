//! The election itself, on a real Lease.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use prometheus::Registry;
use reverser::git::{Denied, Permit};
use reverser::leadership::{Candidate, Elector, ElectorError, Fence, LeadershipMetrics, Role};
use serde_json::json;
use tests::control_plane::{ControlPlane, Options};
use tests::eventually::eventually;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::pair::LEASE;
use crate::lab::PATIENCE;

/// An elector at work.
struct Standing {
    fence: Arc<Fence>,
    role: watch::Receiver<Role>,
    resign: CancellationToken,
    task: JoinHandle<Result<(), ElectorError>>,
}

impl Standing {
    fn start(client: Client, namespace: &str, pod: &str) -> Self {
        let candidate = Candidate {
            namespace: namespace.to_owned(),
            lease: LEASE.to_owned(),
            pod: pod.to_owned(),
        };
        let fence = Arc::new(Fence::following());
        let (sender, role) = watch::channel(Role::Following);
        let metrics = Arc::new(LeadershipMetrics::register(&Registry::new()).unwrap());
        let elector = Elector::new(client, &candidate, fence.clone(), sender, metrics);
        let resign = CancellationToken::new();
        Self {
            fence,
            role,
            task: tokio::spawn(elector.run(resign.clone())),
            resign,
        }
    }

    async fn is(&self, wanted: impl Fn(&Role) -> bool) {
        eventually(PATIENCE, || async {
            let role = self.role.borrow().clone();
            if wanted(&role) {
                Ok(())
            } else {
                Err(format!("{role:?}"))
            }
        })
        .await;
    }

    async fn leads(&self) {
        self.is(|role| matches!(role, Role::Leading(_))).await;
    }

    async fn check(&self) -> Result<(), Denied> {
        let fence = self.fence.clone();
        tokio::task::spawn_blocking(move || fence.check())
            .await
            .unwrap()
    }
}

fn leases(plane: &ControlPlane, namespace: &str) -> Api<Lease> {
    Api::namespaced(plane.client(), namespace)
}

/// Waits for the renewal after the next: the first may have been on its way.
async fn is_renewed(leases: &Api<Lease>) {
    for _ in 0..2 {
        let renewed = async || {
            let lease = leases.get_opt(LEASE).await.map_err(|e| e.to_string())?;
            Ok::<_, String>(lease.and_then(|lease| lease.spec?.renew_time))
        };
        let before = renewed().await.unwrap();
        eventually(PATIENCE, || async {
            match renewed().await? {
                Some(now) if Some(&now) != before.as_ref() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn one_of_several_candidates_leads_and_another_one_when_it_resigns() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("election").await;
    let mut candidates: Vec<Standing> = (0..4)
        .map(|n| Standing::start(plane.client(), &namespace, &format!("pod-{n}")))
        .collect();
    let mut terms = Vec::new();
    while !candidates.is_empty() {
        let leader = eventually(PATIENCE, || async {
            let leads = |one: &Standing| one.role.borrow().leads();
            candidates.iter().position(leads).ok_or("nobody leads")
        })
        .await;
        let open = candidates.iter().filter(|one| one.fence.is_open()).count();
        assert_eq!(open, 1);
        let leader = candidates.swap_remove(leader);
        assert_eq!(leader.check().await, Ok(()));
        terms.extend(leader.role.borrow().term().cloned());
        leader.resign.cancel();
        leader.task.await.unwrap().unwrap();
        assert_eq!(leader.fence.check(), Err(Denied::Lost));
    }
    terms.dedup();
    assert_eq!(terms.len(), 4, "{terms:?}");
}

#[tokio::test]
async fn a_follower_that_resigns_leaves_the_lease_alone() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("election").await;
    let leader = Standing::start(plane.client(), &namespace, "pod-0");
    leader.leads().await;
    let follower = Standing::start(plane.client(), &namespace, "pod-1");
    is_renewed(&leases(plane, &namespace)).await;
    follower.resign.cancel();
    follower.task.await.unwrap().unwrap();
    assert_eq!(leader.check().await, Ok(()));
    leader.resign.cancel();
    leader.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lease_that_somebody_edits_or_deletes_stays_the_leaders() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("election").await;
    let leader = Standing::start(plane.client(), &namespace, "pod-0");
    leader.leads().await;
    let leases = leases(plane, &namespace);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"by": "somebody"}}}));
    leases
        .patch(LEASE, &PatchParams::default(), &patch)
        .await
        .unwrap();
    is_renewed(&leases).await;
    leases
        .delete(LEASE, &DeleteParams::default())
        .await
        .unwrap();
    is_renewed(&leases).await;
    leader.leads().await;
    assert_eq!(leader.check().await, Ok(()));
    leader.resign.cancel();
    leader.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_leader_whose_lease_was_taken_ends_and_says_whose_it_is() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("election").await;
    let leader = Standing::start(plane.client(), &namespace, "pod-0");
    leader.leads().await;
    let patch = Patch::Merge(json!({"spec": {"holderIdentity": "usurper"}}));
    leases(plane, &namespace)
        .patch(LEASE, &PatchParams::default(), &patch)
        .await
        .unwrap();
    let ElectorError::Lost(holder) = leader.task.await.unwrap().unwrap_err();
    assert_eq!(holder, "usurper");
    assert_eq!(leader.fence.check(), Err(Denied::Lost));
}

#[tokio::test]
async fn an_apiserver_that_is_away_puts_the_leader_in_doubt_and_no_more() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let namespace = plane.create_namespace("election").await;
    let leader = Standing::start(plane.client(), &namespace, "pod-0");
    leader.leads().await;
    let term = leader.role.borrow().term().cloned();
    plane.stop_apiserver();
    leader.is(|role| matches!(role, Role::InDoubt(_))).await;
    assert!(!leader.fence.is_open());
    assert_eq!(leader.check().await, Err(Denied::Unconfirmed));
    plane.restart_apiserver().await.unwrap();
    leader.leads().await;
    assert_eq!(leader.role.borrow().term().cloned(), term);
    assert_eq!(leader.check().await, Ok(()));
    leader.resign.cancel();
    leader.task.await.unwrap().unwrap();
}
