//! Two replicas: who leads, and what becomes of Git when that changes.

mod election;
mod load;
pub(crate) mod pair;

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use reverser::api::{GitDestination, WatchRule};
use serde_json::json;
use tests::eventually::eventually;
use tests::git::Fault;
use tests::process::Signal;
use tests::reverser::Reverser;

use crate::lab::{Lab, PATIENCE, create, delete, map, set};
use load::{Load, converges, nobody_is_wronged};
use pair::{Pair, create_pod};

/// As a pod is given by the chart.
const GRACE: Duration = Duration::from_secs(60);

/// Directories in a work dir: clones and a probe's scratch, but not the home of libgit2.
fn work(pod: &Reverser) -> Vec<String> {
    let entries = std::fs::read_dir(pod.work_dir()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "home").collect()
}

async fn gauge(pod: &Reverser, name: &str) -> Option<f64> {
    let name = format!("gitopsreverser_{name}");
    pod.reverser_metrics().await.get(&name)
}

/// Writes until a commit names the writer: from then on the apiserver calls the leader's sidecar, and nothing is in doubt.
pub(crate) async fn is_attributed(lab: &Lab<'_>, name: &str) {
    let mut count = 0;
    let maps = lab.maps("dora");
    create(&maps, &map(name, "by", "dora-start")).await;
    eventually(PATIENCE, || {
        count += 1;
        let value = format!("dora-{count}");
        let maps = maps.clone();
        async move {
            set(&maps, name, "by", &value).await;
            lab.holds(name, "by", &value).await;
            let last = lab.versions(&lab.path(name)).pop().unwrap();
            match last.trailer("Attribution") {
                Some("exact") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        }
    })
    .await;
}

/// A lab whose ConfigMaps the first pod writes, with their authors.
async fn settled<'a>(pair: &'a Pair, prefix: &str) -> Lab<'a> {
    let lab = Lab::on(&pair.plane, prefix)
        .await
        .watching(&["configmaps"])
        .await;
    pair.is_led_by(0).await;
    is_attributed(&lab, "before").await;
    lab
}

/// Waits until there is a commit of this user, pushed or not.
async fn has_committed(pod: &Reverser, user: &str) {
    eventually(PATIENCE, || async {
        let log = &pod.logs()[0];
        let committed = log
            .lines()
            .any(|line| line.contains("written") && line.contains(user));
        if committed {
            Ok(())
        } else {
            Err("it has committed nothing")
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_takes_over_from_a_leader_that_is_killed() {
    let pair = Pair::start().await;
    let [first, second] = &pair.pods;
    let lab = settled(&pair, "killed").await;
    // The follower is ready and knows everything, but touches nothing.
    assert_eq!(gauge(first, "leader").await, Some(1.0));
    assert_eq!(gauge(second, "leader").await, Some(0.0));
    assert!(gauge(second, "objects_scanned_total").await > Some(0.0));
    assert_eq!(gauge(second, "commits_total").await, Some(0.0));
    assert_eq!(work(second), Vec::<String>::new());

    first.kill9_reverser();
    let killed = Instant::now();
    set(&lab.maps("ben"), "before", "by", "ben-while-nobody-leads").await;
    create(&lab.maps("ben"), &map("new", "by", "ben-new")).await;
    pair.is_led_by(1).await;
    let led = killed.elapsed();
    lab.holds("new", "by", "ben-new").await;
    converges(&lab).await;
    eprintln!(
        "killed: led after {led:?}, in Git after {:?}",
        killed.elapsed()
    );
    is_attributed(&lab, "after").await;
    eprintln!("killed: attributed after {:?}", killed.elapsed());
    assert_eq!(gauge(second, "leader").await, Some(1.0));
    assert_eq!(gauge(second, "failovers_total").await, Some(1.0));
    lab.ready::<GitDestination>("all").await;
    lab.ready::<WatchRule>("rule").await;
    nobody_is_wronged(&lab);

    // The container is started again: it follows, and writes nothing.
    let head = lab.repo.head();
    first.restart_reverser().await.unwrap();
    assert_eq!(pair.holder().await, "pod-1");
    assert_eq!(gauge(first, "commits_total").await, Some(0.0));
    assert_eq!(lab.repo.head(), head);
    delete(&lab.maps("ann"), "new").await;
    lab.lacks("new").await;
    let deleted = lab.versions(&lab.path("new")).pop().unwrap();
    assert_eq!(deleted.author_name, "ann");
    lab.repo.fsck().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_stopped_past_its_lease_pushes_nothing_when_it_wakes() {
    let pair = Pair::start().await;
    let [first, second] = &pair.pods;
    let lab = settled(&pair, "stopped").await;
    let load = Load::start(&lab).await;

    // It has commits that it could not push, and is stopped in trying.
    lab.server.set_fault(Fault::Status(503));
    set(&lab.maps("emil"), "before", "by", "emil-stale").await;
    has_committed(first, "emil").await;
    pair.signal(0, Signal::STOP);
    let frozen = first.logs()[0].len();
    lab.server.set_fault(Fault::None);
    // What it has committed is out of date by now.
    set(&lab.maps("fay"), "before", "by", "fay-fresh").await;
    pair.is_led_by(1).await;
    lab.holds("before", "by", "fay-fresh").await;
    eventually(PATIENCE, || async {
        match gauge(second, "repo_branch_queue_depth").await {
            Some(0.0) => Ok(()),
            depth => Err(format!("{depth:?}")),
        }
    })
    .await;

    pair.signal(0, Signal::CONT);
    let ended = pair.has_ended(0).await;
    assert!(!ended.success(), "{ended}");
    let log = first.logs()[0][frozen..].to_owned();
    assert!(!log.contains("step: pushed"), "{log}");
    assert!(log.contains("the Lease is lost"), "{log}");
    assert!(first.logs()[0][..frozen].contains("step: pushed"));
    let writes = load.stop().await;
    converges(&lab).await;
    // Nobody saw which of the two last writes was whose; the first was never in Git.
    let values = lab.versions(&lab.path("before"));
    let stale = values.iter().filter(|commit| commit.author_name == "emil");
    assert_eq!(stale.count(), 0);
    eprintln!("stopped: {writes} writes, {:?}", nobody_is_wronged(&lab));

    // Its next process follows, and finds the old commits in its clone when it leads again: they are gone.
    first.restart_reverser().await.unwrap();
    assert_eq!(pair.holder().await, "pod-1");
    second.kill9_reverser();
    second.kill9_webhook();
    pair.is_led_by(0).await;
    is_attributed(&lab, "again").await;
    converges(&lab).await;
    let values = lab.versions(&lab.path("before"));
    assert!(values.iter().all(|commit| commit.author_name != "emil"));
    nobody_is_wronged(&lab);
    lab.repo.fsck().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_told_to_end_pushes_what_it_has_and_hands_over_at_once() {
    let pair = Pair::start().await;
    let [first, _] = &pair.pods;
    let lab = settled(&pair, "ended").await;
    let load = Load::start(&lab).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = Instant::now();
    // Both containers are told at once.
    let (reverser, webhook) = tokio::join!(
        first.terminate_reverser(GRACE),
        first.terminate_webhook(GRACE)
    );
    let took = asked.elapsed();
    for ended in [reverser, webhook] {
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    }
    let log = &first.logs()[0];
    assert!(log.contains("the Lease is given back"), "{log}");
    pair.is_led_by(1).await;
    let led = asked.elapsed();
    let lease = pair.lease().await.spec.unwrap();
    assert_eq!(lease.lease_transitions, Some(1));
    is_attributed(&lab, "after").await;
    let writes = load.stop().await;
    converges(&lab).await;
    eprintln!(
        "ended: in {took:?}, led after {led:?}; {writes} writes, {:?}",
        nobody_is_wronged(&lab)
    );
    lab.ready::<GitDestination>("all").await;
    lab.repo.fsck().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_is_started_again_in_time_leads_on() {
    let pair = Pair::start().await;
    let [first, second] = &pair.pods;
    let lab = settled(&pair, "again").await;
    let before = pair.lease().await.spec.unwrap();

    // What is committed is not lost with the process.
    lab.server.set_fault(Fault::Status(503));
    set(&lab.maps("gil"), "before", "by", "gil-committed").await;
    has_committed(first, "gil").await;
    first.restart_reverser().await.unwrap();
    lab.server.set_fault(Fault::None);
    lab.holds("before", "by", "gil-committed").await;
    let last = lab.versions(&lab.path("before")).pop().unwrap();
    assert_eq!(last.author_name, "gil");
    pair.is_led_by(0).await;
    let after = pair.lease().await.spec.unwrap();
    assert_ne!(after.holder_identity, before.holder_identity);
    assert_eq!(after.lease_transitions, before.lease_transitions);
    is_attributed(&lab, "after").await;
    assert_eq!(gauge(second, "commits_total").await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_label_is_put_right_among_the_pods_of_one_release() {
    let pair = Pair::start().await;
    pair.is_led_by(0).await;
    create_pod(&pair.plane, &pair.namespace, "of-another", "another").await;
    let pods: Api<Pod> = Api::namespaced(pair.plane.client(), &pair.namespace);
    let label = async |name: &str, role: serde_json::Value| {
        let patch = json!({"metadata": {"labels": {"configbutler.ai/role": role}}});
        pods.patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    };
    label("of-another", json!("leader")).await;
    label("pod-1", json!("leader")).await;
    label("pod-0", json!(null)).await;
    eventually(PATIENCE, || async {
        let mut labelled = pair.labelled().await;
        labelled.sort();
        if labelled == ["of-another", "pod-0"] {
            Ok(())
        } else {
            Err(format!("{labelled:?}"))
        }
    })
    .await;
}
