use tests::reverser::Options;
use tests::{ControlPlane, Reverser};

/// What the webhook has told the reverser, and been thanked for.
async fn acked(reverser: &Reverser) -> f64 {
    let metrics = reverser.webhook_metrics().await;
    metrics.sum("gitopsreverser_webhook_observations_acked_total")
}

#[tokio::test]
async fn the_first_write_after_start_and_after_each_restart_reaches_the_reverser() {
    // A plane of its own: the shared one may carry the shared reverser.
    let plane = ControlPlane::start(Default::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();

    plane.create_namespace("seen").await;
    assert!(acked(&reverser).await >= 1.0);

    reverser.kill9_reverser();
    assert_eq!(reverser.reverser_usage(), None);
    assert!(reverser.webhook_usage().is_some());
    reverser.restart_reverser().await.unwrap();
    let before = acked(&reverser).await;
    plane.create_namespace("seen").await;
    assert!(acked(&reverser).await > before);

    reverser.restart_webhook().await.unwrap();
    plane.create_namespace("seen").await;
    assert!(acked(&reverser).await >= 1.0);

    reverser.unregister_webhook().await.unwrap();
    reverser.register_webhook().await.unwrap();
    let before = acked(&reverser).await;
    plane.create_namespace("seen").await;
    assert!(acked(&reverser).await > before);

    reverser.must_run().unwrap();
    reverser.stop().await.unwrap();
}
