//! Others who push while the cluster is read.

use std::time::Duration;

use tests::eventually::eventually;
use tests::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{FOLDER, Site, Snapshot, bare};
use crate::lab::{PATIENCE, create, map};

/// Between the snapshot and the apiserver: each piece comes so much later that lists take seconds.
async fn slow(to: String) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&to).await.unwrap();
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::spawn(copy(near_read, far_write));
            tokio::spawn(copy(far_read, near_write));
        }
    });
    port
}

async fn copy(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// A snapshot of the namespace by way of it.
async fn slowly(site: &Site<'_>) -> Snapshot {
    let address = site.plane.url().trim_start_matches("https://").to_owned();
    let port = slow(address.clone()).await;
    let text = std::fs::read_to_string(site.plane.kubeconfig_path()).unwrap();
    let text = text.replace(&address, &format!("127.0.0.1:{port}"));
    let kubeconfig = site.directory.path().join("slow.kubeconfig");
    std::fs::write(&kubeconfig, text).unwrap();
    let flags = [
        format!("--repo={}", site.repo.url()),
        format!("--folder={FOLDER}"),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--credentials-dir={}", site.credentials().display()),
        format!("--namespace={}", site.namespace),
    ];
    Snapshot::new(site.directory.path()).await.flags(&flags)
}

#[tokio::test]
async fn an_edit_that_is_pushed_while_the_cluster_is_read_is_found_and_undone() {
    let site = Site::on(bare().await, "meanwhile").await;
    for name in ["one", "two"] {
        create(&site.maps(), &map(name, "k", "v")).await;
    }
    site.snapshot(&[]).await.ended(0);
    let (edited, ghost) = (site.map_file("one"), site.map_file("ghost"));
    create(&site.maps(), &map("three", "k", "v")).await;

    let requests = site.server.requests();
    let run = slowly(&site).await.run();
    let outsider = async {
        // It has heard of the tip that it reads, and goes on to some 14 lists of 200 ms each.
        eventually(PATIENCE, || async {
            let more = site.server.requests() - requests;
            if more >= 2 { Ok(()) } else { Err(more) }
        })
        .await;
        let repo = site.repo.clone();
        tokio::task::spawn_blocking(move || {
            repo.commit_as_outsider(&edited, "edited: by hand\n");
            repo.commit_as_outsider(&ghost, "data: {}\n");
            repo.commit_as_outsider("README.md", "hello\n");
        })
        .await
        .unwrap();
    };
    let (said, ()) = tokio::join!(run, outsider);
    let said = said.ended(0);
    assert!(said.err.contains("beginning anew"), "{}", said.err);
    site.snapshot(&["--diff"]).await.ended(0);
    assert!(site.repo.file(&site.map_file("ghost")).is_none());
    assert_eq!(site.repo.file("README.md").unwrap(), b"hello\n");
    let subjects: Vec<String> = site.repo.log().into_iter().map(|c| c.subject).collect();
    let snapshots = subjects
        .iter()
        .filter(|s| s.starts_with("Snapshot"))
        .count();
    assert_eq!((subjects.len(), snapshots), (5, 2), "{subjects:?}");
}

#[tokio::test]
async fn who_interrupts_it_finds_nothing_written_and_nothing_left() {
    let site = Site::on(bare().await, "interrupted").await;
    create(&site.maps(), &map("one", "k", "v")).await;
    let mut child = slowly(&site).await.command.spawn().unwrap();
    // It has fetched, and lists.
    eventually(PATIENCE, || async {
        let requests = site.server.requests();
        if requests >= 1 { Ok(()) } else { Err(requests) }
    })
    .await;
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let status = child.wait().await.unwrap();
    assert_eq!(status.code(), Some(130));
    assert_eq!(site.repo.head(), None);
    let left: Vec<_> = std::fs::read_dir(site.directory.path().join("tmp"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
