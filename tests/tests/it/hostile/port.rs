//! Everything that can be done to the webhook's port without knowing its path.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::reverser::{Options, Reverser};

use crate::lab::{Lab, PATIENCE, create, map, set};

/// Connections that are held open; four times as many as the sidecar allows.
const HELD: usize = 1024;

/// Opens connections, says the beginning of something on some of them, and lets the oldest go, without end.
async fn flood(address: String) {
    let mut held = VecDeque::new();
    for n in 0_u64.. {
        if let Ok(mut stream) = TcpStream::connect(&address).await {
            let said: &[u8] = match n % 3 {
                0 => b"",
                1 => b"\x16\x03\x01\x02\x00\x01\x00",
                _ => b"POST /process-validating-webhook HTTP/1.1\r\n",
            };
            let _ = stream.write_all(said).await;
            held.push_back(stream);
        }
        if held.len() > HELD {
            held.pop_front();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_costs_nobody_an_author() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "besieged").await;
    let lab = lab.watching(&["configmaps"]).await;
    let flood = tokio::spawn(flood(reverser.webhook_address().to_owned()));
    eventually(PATIENCE, || async {
        let metrics = reverser.webhook_metrics().await;
        let rejected = metrics.sum("gitopsreverser_webhook_connections_rejected_total");
        if rejected > 1000.0 {
            Ok(())
        } else {
            Err(rejected)
        }
    })
    .await;
    for n in 0..30 {
        for user in ["alice", "bob"] {
            let name = format!("{user}-{}", n % 5);
            let maps = lab.maps(user);
            if n < 5 {
                create(&maps, &map(&name, "k", "0")).await;
            } else {
                set(&maps, &name, "k", &n.to_string()).await;
            }
        }
    }
    lab.settle().await;
    assert!(!flood.is_finished());
    flood.abort();
    let mut seen = 0;
    for commit in lab.commits() {
        for file in &commit.files {
            let author = ["alice", "bob", "settle"]
                .into_iter()
                .find(|user| file.path.contains(&format!("/{user}-")));
            let author = match author {
                Some("settle") => "settler",
                Some(author) => author,
                None => continue,
            };
            assert_eq!(commit.author_name, author, "{commit:#?}");
            assert_eq!(commit.trailer("Attribution"), Some("exact"), "{commit:#?}");
            seen += 1;
        }
    }
    assert!(seen >= 11, "{seen}");
    reverser.stop().await.unwrap();
}
