//! What goes wrong while everybody works.

use std::time::{Duration, SystemTime};

use tests::process::Signal;
use tests::reverser::Relay;

use crate::place::Place;

/// Undisturbed, before each fault.
const CALM: Duration = Duration::from_secs(4);

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

/// One after the other.
pub(crate) async fn all(place: &Place) {
    let reverser = &place.reverser;
    announce("a slow stream").await;
    reverser.relay(Relay::Slow(Duration::from_millis(300)));
    seconds(4).await;
    announce("a cut stream").await;
    reverser.relay(Relay::Cut);
    seconds(3).await;
    reverser.relay(Relay::Pass);
    announce("the webhook is killed").await;
    reverser.kill9_webhook();
    seconds(2).await;
    reverser.restart_webhook().await.unwrap();
    announce("the reverser is killed").await;
    reverser.kill9_reverser();
    seconds(2).await;
    reverser.restart_reverser().await.unwrap();
    announce("the reverser hangs").await;
    reverser.signal_reverser(Signal::STOP);
    seconds(3).await;
    reverser.signal_reverser(Signal::CONT);
    announce("the apiserver is restarted, and versions from before are gone").await;
    place.plane.compact_etcd().await.unwrap();
    place.plane.restart_apiserver().await.unwrap();
    announce("the reverser is away while etcd is compacted and the apiserver restarted").await;
    reverser.kill9_reverser();
    seconds(2).await;
    place.plane.compact_etcd().await.unwrap();
    place.plane.restart_apiserver().await.unwrap();
    reverser.restart_reverser().await.unwrap();
    announce("both are killed").await;
    reverser.kill9_webhook();
    reverser.kill9_reverser();
    reverser.restart_reverser().await.unwrap();
    reverser.restart_webhook().await.unwrap();
    announce("the end").await;
}

/// Seconds of the day.
pub(crate) fn clock() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs_f64() % 86_400.0
}

async fn announce(fault: &str) {
    tokio::time::sleep(CALM).await;
    println!("{:.3} {fault}", clock());
}
