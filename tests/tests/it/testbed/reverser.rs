use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tests::eventually::eventually;
use tests::reverser::Options;
use tests::{ControlPlane, Reverser};

use crate::lab::{Lab, create, map};

/// What the webhook has told the reverser, and been thanked for.
async fn acked(reverser: &Reverser) -> f64 {
    let metrics = reverser.webhook_metrics().await;
    metrics.sum("gitopsreverser_webhook_observations_acked_total")
}

/// An answer waits for the acknowledgement for 50 ms only.
async fn more_are_acked(reverser: &Reverser, before: f64) {
    eventually(Duration::from_secs(60), || async {
        match acked(reverser).await {
            now if now > before => Ok(()),
            now => Err(format!("{now} are acknowledged, as before")),
        }
    })
    .await;
}

#[tokio::test]
async fn the_first_write_after_start_and_after_each_restart_reaches_the_reverser() {
    // A plane of its own: the shared one may carry the shared reverser.
    let plane = ControlPlane::start(Default::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    // Only what a rule selects is observed.
    let lab = Lab::on(&plane, "seen")
        .await
        .watching(&["configmaps"])
        .await;
    let writes = AtomicUsize::new(0);
    let write = || async {
        let number = writes.fetch_add(1, Ordering::Relaxed);
        create(&lab.maps("alice"), &map(&format!("m-{number}"), "k", "v")).await;
    };

    let before = acked(&reverser).await;
    write().await;
    more_are_acked(&reverser, before).await;

    reverser.kill9_reverser();
    assert_eq!(reverser.reverser_usage(), None);
    assert!(reverser.webhook_usage().is_some());
    reverser.restart_reverser().await.unwrap();
    let before = acked(&reverser).await;
    write().await;
    more_are_acked(&reverser, before).await;

    reverser.restart_webhook().await.unwrap();
    write().await;
    more_are_acked(&reverser, 0.0).await;

    reverser.unregister_webhook().await.unwrap();
    reverser.register_webhook().await.unwrap();
    let before = acked(&reverser).await;
    write().await;
    more_are_acked(&reverser, before).await;

    reverser.must_run().unwrap();
    reverser.stop().await.unwrap();
}
