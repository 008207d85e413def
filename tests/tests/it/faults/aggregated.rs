//! A type whose group is an aggregated API by now, and nobody answers for it.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, DeleteParams};
use reverser::api::{GitDestination, WatchRule};
use serde_json::{Value, json};
use tests::control_plane::ControlPlane;
use tests::eventually::eventually;
use tests::reverser::Reverser;

use super::through_a_gateway;
use crate::crowd::{Crowd, Sort, custom, maps, sign};
use crate::lab::{Lab, PATIENCE, create};
use crate::truth::{
    git_equals_the_cluster, is_gone, is_signed, last_author, no_live_object_was_deleted,
    nobody_is_wronged,
};
use crate::types;

const GROUP: &str = "away.example.com";

/// Another group that serves a type of the same name.
const TWIN: &str = "here.example.com";

fn gadgets() -> Sort {
    custom(GROUP, "v1", "gadgets", "Gadget")
}

fn services(lab: &Lab<'_>) -> Api<APIService> {
    Api::all(lab.client.clone())
}

/// How discovery speaks of the group: `Current`, `Stale`, or not at all; with the number of its types.
async fn freshness(lab: &Lab<'_>) -> Option<(String, usize)> {
    let groups = lab.client.list_api_groups_aggregated().await.ok()?;
    let group = groups
        .items
        .into_iter()
        .find(|group| group.metadata.as_ref().and_then(|m| m.name.as_deref()) == Some(GROUP))?;
    let version = group.versions.into_iter().next()?;
    Some((
        version.freshness.unwrap_or_default(),
        version.resources.len(),
    ))
}

/// Has a Service that nobody stands behind answer for the group, and waits until discovery knows that it doesn't.
async fn take_over(lab: &Lab<'_>) {
    types::hand_to_nobody(lab, GROUP).await;
    eventually(PATIENCE, || async {
        match freshness(lab).await {
            Some((freshness, _)) if freshness == "Stale" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    types::is_down(&lab.client, GROUP).await;
}

/// The apiserver makes its own anew.
async fn give_back(lab: &Lab<'_>) {
    services(lab)
        .delete(&format!("v1.{GROUP}"), &DeleteParams::default())
        .await
        .unwrap();
    let admin = gadgets().api(lab, "ann");
    eventually(PATIENCE, || async {
        admin.list(&Default::default()).await.map(drop)
    })
    .await;
}

/// Another type is watched and attributed as ever, and what is away is as it was.
async fn others_go_on(lab: &Lab<'_>, round: &str) {
    let path = maps().path(lab, round);
    create(&maps().api(lab, "dan"), &maps().object(round, "dan-1")).await;
    is_signed(lab, &path, "dan-1").await;
    sign(&maps().api(lab, "fay"), round, "fay-2").await.unwrap();
    is_signed(lab, &path, "fay-2").await;
    assert_eq!(
        last_author(lab, &path),
        ("fay".to_owned(), "exact".to_owned())
    );
    for name in ["one", "two"] {
        assert!(
            lab.repo.file(&gadgets().path(lab, name)).is_some(),
            "{name} is gone"
        );
    }
}

async fn is_back(lab: &Lab<'_>, by: &str) {
    lab.ready::<WatchRule>("gadgets").await;
    lab.ready::<GitDestination>("all").await;
    sign(&gadgets().api(lab, "ben"), "one", by).await.unwrap();
    let path = gadgets().path(lab, "one");
    is_signed(lab, &path, by).await;
    assert_eq!(
        last_author(lab, &path),
        ("ben".to_owned(), "exact".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregated_api_that_nobody_answers_for_keeps_its_files_and_holds_up_nothing_else() {
    let (plane, gateway, reverser) = through_a_gateway(&[]).await;
    let lab = Lab::on(&plane, "away").await;
    types::define(&lab.client, GROUP, "Gadget").await;
    let gadget = gadgets().api(&lab, "ann");
    for name in ["one", "two"] {
        eventually(PATIENCE, || async {
            let made = gadget
                .create(&Default::default(), &gadgets().object(name, "ann-0"))
                .await;
            made.map(drop)
        })
        .await;
    }
    let lab = lab.watching(&["configmaps"]).await;
    let rules = json!([{"apiGroups": [GROUP], "resources": ["gadgets"]}]);
    lab.rule("gadgets", rules).await;
    lab.ready::<WatchRule>("gadgets").await;
    git_equals_the_cluster(&lab, &[maps(), gadgets()]).await;
    let crowd = Crowd::start(&lab, &[maps()], 3);

    // It is known what there was, and the watch ends.
    take_over(&lab).await;
    gateway.cut();
    // A watch that was cut says so too, for a moment.
    let away = |ready: &Value| {
        let message = ready["message"].as_str().unwrap_or_default();
        ready["status"] == "False"
            && ready["reason"] == "ListFailed"
            && message.contains("unavailable")
    };
    let told = lab.condition::<WatchRule>("gadgets", away).await;
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("gadgets"), "{message}");
    eprintln!(
        "away: {:?}; the rule says: {message}",
        freshness(&lab).await
    );
    others_go_on(&lab, "running").await;
    lab.ready::<WatchRule>("rule").await;
    give_back(&lab).await;
    is_back(&lab, "ben-1").await;

    // A reverser that is started meanwhile has never heard of the type.
    take_over(&lab).await;
    reverser.restart_reverser().await.unwrap();
    let message = lab
        .not_ready::<WatchRule>("gadgets", "UnresolvedResources")
        .await;
    assert!(message.contains("gadgets"), "{message}");
    eprintln!(
        "away: {:?}; the rule says: {message}",
        freshness(&lab).await
    );
    others_go_on(&lab, "started").await;
    lab.ready::<WatchRule>("rule").await;
    give_back(&lab).await;
    is_back(&lab, "ben-2").await;

    // What is deleted then goes, with its author.
    let path = gadgets().path(&lab, "two");
    gadgets()
        .api(&lab, "cleo")
        .delete("two", &DeleteParams::default())
        .await
        .unwrap();
    is_gone(&lab, &path).await;
    assert_eq!(
        last_author(&lab, &path),
        ("cleo".to_owned(), "exact".to_owned())
    );

    let mut acts = crowd.stop().await;
    assert_eq!(acts.failures, 0);
    acts.deleted(path);
    git_equals_the_cluster(&lab, &[maps(), gadgets()]).await;
    no_live_object_was_deleted(&lab, &acts);
    let named = nobody_is_wronged(&lab);
    eprintln!(
        "away: {} writes, {named} commits with a name of the crowd",
        acts.writes
    );
    lab.repo.fsck().unwrap();
    reverser.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_whose_name_another_group_has_too_keeps_its_files_while_its_api_is_away() {
    let plane = ControlPlane::start(Default::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Default::default()).await.unwrap();
    let lab = Lab::on(&plane, "twins").await;
    let twins = custom(TWIN, "v1", "gadgets", "Gadget");
    for (group, sort) in [(GROUP, gadgets()), (TWIN, twins.clone())] {
        types::define(&lab.client, group, "Gadget").await;
        eventually(PATIENCE, || async {
            let made = sort
                .api(&lab, "ann")
                .create(&Default::default(), &sort.object("one", "ann-0"))
                .await;
            made.map(drop)
        })
        .await;
    }
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.destination("all", json!({})).await;
    lab.rule("gadgets", json!([{"resources": ["gadgets"]}]))
        .await;
    lab.ready::<WatchRule>("gadgets").await;
    git_equals_the_cluster(&lab, &[gadgets(), twins.clone()]).await;

    // Who is started then finds one type of that name, and takes it for all there is.
    take_over(&lab).await;
    reverser.kill9_reverser();
    sign(&twins.api(&lab, "ben"), "one", "ben-1").await.unwrap();
    reverser.restart_reverser().await.unwrap();
    is_signed(&lab, &twins.path(&lab, "one"), "ben-1").await;
    lab.ready::<GitDestination>("all").await;
    lab.ready::<WatchRule>("gadgets").await;
    // What no rule selects goes with the first batch after the list.
    sign(&twins.api(&lab, "ben"), "one", "ben-2").await.unwrap();
    is_signed(&lab, &twins.path(&lab, "one"), "ben-2").await;
    assert!(lab.repo.file(&gadgets().path(&lab, "one")).is_some());

    give_back(&lab).await;
    sign(&gadgets().api(&lab, "cleo"), "one", "cleo-1")
        .await
        .unwrap();
    is_signed(&lab, &gadgets().path(&lab, "one"), "cleo-1").await;
    git_equals_the_cluster(&lab, &[gadgets(), twins]).await;
    reverser.stop().await.unwrap();
}
