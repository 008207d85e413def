//! How everything is asked for.

use serde_json::json;
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::reverser::{Options, Reverser};

use crate::lab::{Lab, create, map};

/// What was asked of the apiserver about the ConfigMaps of the lab's namespace: streams of everything, and pages.
fn asked(lab: &Lab<'_>) -> (usize, usize) {
    let (mut streams, mut pages) = (0, 0);
    for event in lab.plane.audit_log() {
        let of_ours = event.object_ref.is_some_and(|object| {
            object.resource == "configmaps" && object.namespace == lab.namespace
        });
        let accepted = event
            .response_status
            .is_some_and(|status| status.code == 200);
        match &*event.verb {
            "list" if of_ours => pages += 1,
            "watch" if of_ours && event.stage == "ResponseStarted" && accepted => {
                streams += usize::from(event.request_uri.contains("sendInitialEvents=true"));
            }
            _ => {}
        }
    }
    (streams, pages)
}

async fn fill(lab: &Lab<'_>, objects: usize) {
    let maps = lab.maps("alice");
    for first in (0..objects).step_by(50) {
        let some: Vec<_> = (first..objects.min(first + 50))
            .map(|number| {
                let maps = maps.clone();
                tokio::spawn(
                    async move { create(&maps, &map(&format!("m-{number}"), "k", "v")).await },
                )
            })
            .collect();
        for one in some {
            one.await.unwrap();
        }
    }
}

async fn all_are_in_git(lab: &Lab<'_>, objects: usize) {
    let files = lab.repo.files();
    let prefix = lab.path("m-");
    let prefix = prefix.strip_suffix(".yaml").unwrap();
    let written = files.iter().filter(|path| path.starts_with(prefix)).count();
    assert_eq!(written, objects);
}

#[tokio::test]
async fn a_list_is_a_stream_where_the_server_has_such_lists() {
    let lab = Lab::shared("streamed").await;
    fill(&lab, 700).await;
    let lab = lab.watching(&["configmaps"]).await;
    all_are_in_git(&lab, 700).await;
    assert_eq!(asked(&lab), (1, 0));
    // A list beside the open watch waits for Git, which a stream can't.
    lab.destination("more", json!({"baseFolder": "clusters/more"}))
        .await;
    let rule =
        json!({"destinationRef": {"name": "more"}, "rules": [{"resources": ["configmaps"]}]});
    lab.apply::<reverser::api::WatchRule>("more", rule)
        .await
        .unwrap();
    lab.ready::<reverser::api::GitDestination>("more").await;
    assert_eq!(asked(&lab), (1, 3));
}

#[tokio::test]
async fn a_list_is_read_page_by_page_where_the_server_has_no_others() {
    let plane = ControlPlane::start(PlaneOptions {
        apiserver_args: vec!["--feature-gates=WatchList=false".to_owned()],
        ..PlaneOptions::default()
    })
    .await
    .unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "paged").await;
    fill(&lab, 700).await;
    let lab = lab.watching(&["configmaps"]).await;
    all_are_in_git(&lab, 700).await;
    // 100, then 500, then the rest.
    assert_eq!(asked(&lab), (0, 3));
    create(&lab.maps("alice"), &map("later", "k", "v")).await;
    lab.holds("later", "k", "v").await;
    reverser.stop().await.unwrap();
}
