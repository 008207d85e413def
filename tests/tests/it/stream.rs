//! The stream between the two processes: cut, slow, and back again.

use std::time::Duration;

use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::reverser::{Options, Relay, Reverser};

use crate::lab::{Lab, create, map, set};

#[tokio::test]
async fn a_cut_or_slow_stream_costs_no_author() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let options = Options {
        tapped: true,
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let lab = Lab::on(&plane, "stream")
        .await
        .watching(&["configmaps"])
        .await;
    create(&lab.maps("start"), &map("one", "k", "0")).await;
    lab.holds("one", "k", "0").await;

    // Twice the time in which an admission waits for its acknowledgement, and as long as a batch lingers.
    for (round, relay) in [
        Relay::Slow(Duration::from_millis(100)),
        Relay::Slow(Duration::from_millis(1000)),
        Relay::Cut,
    ]
    .into_iter()
    .enumerate()
    {
        reverser.relay(relay);
        let (ann, ben) = (lab.maps("ann"), lab.maps("ben"));
        for n in 0..10 {
            let writer = if n % 2 == 0 { &ann } else { &ben };
            set(writer, "one", "k", &format!("{round}-{n}")).await;
        }
        if relay == Relay::Cut {
            // Shorter than the reverser waits for a sidecar that has gone.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        reverser.relay(Relay::Pass);
        lab.holds("one", "k", &format!("{round}-9")).await;
        let versions = lab.versions(&lab.path("one"));
        assert_eq!(versions.len(), 1 + 10 * (round + 1), "{relay:?}");
        for (n, commit) in versions.iter().rev().take(10).rev().enumerate() {
            let expected = if n % 2 == 0 { "ann" } else { "ben" };
            assert_eq!(
                (commit.author_name.as_str(), commit.trailer("Attribution")),
                (expected, Some("exact")),
                "{relay:?}, version {n}"
            );
        }
    }
    reverser.stop().await.unwrap();
}
