//! Custom resources of two versions, their scale and status; autoscalers; a type that goes.

use serde_json::{Value, json};

use super::Stage;
use crate::kinds::{AUTOSCALERS, PASSING, WIDGETS};
use crate::place::Place;

fn widget(size: u32, colour: &str) -> Value {
    json!({"metadata": {}, "spec": {"dimensions": {"size": size}, "paint": colour}})
}

/// The same object at the version that nobody watches.
fn older(stage: &Stage) -> String {
    let collection = WIDGETS.collection_at("v1", &stage.namespace);
    format!("{collection}/{}", stage.name)
}

pub(super) async fn two_versions(stage: &mut Stage) {
    let act = "another served version";
    stage.create(act, WIDGETS, widget(1, "red")).await;
    let (newer, older) = (stage.path(WIDGETS), older(stage));
    for n in 2..4 {
        let patch = json!({"spec": {"size": n}});
        stage.actor(act).merge(&older, &patch).await;
        let patch = json!({"spec": {"paint": format!("shade-{n}")}});
        stage.actor(act).merge(&newer, &patch).await;
    }
    // Both at once: whoever comes second is called again on what the first has left.
    let act = "two versions at once";
    let (one, two) = (stage.actor(act), stage.actor(act));
    let (paint, colour) = (
        json!({"spec": {"paint": "blue"}}),
        json!({"spec": {"colour": "green"}}),
    );
    tokio::join!(one.merge(&newer, &paint), two.merge(&older, &colour));
    stage.actor(act).delete(&older, &json!({})).await;
}

pub(super) async fn scaled(stage: &mut Stage) {
    let act = "scale of a custom resource";
    stage.create(act, WIDGETS, widget(1, "red")).await;
    for (n, path) in [stage.path(WIDGETS), older(stage)].into_iter().enumerate() {
        let patch = json!({"spec": {"replicas": n + 5}});
        stage
            .actor(act)
            .merge(&format!("{path}/scale"), &patch)
            .await;
        let patch = json!({"metadata": {"labels": {"n": n.to_string()}}});
        stage.actor(act).merge(&path, &patch).await;
    }
    let path = stage.path(WIDGETS);
    stage.actor(act).delete(&path, &json!({})).await;
}

/// Its status moves the version between other people's writes.
pub(super) async fn status(stage: &mut Stage) {
    let act = "status in between";
    stage.create(act, WIDGETS, widget(1, "red")).await;
    let path = stage.path(WIDGETS);
    for n in 0..3 {
        let (status, spec) = (
            json!({"status": {"size": n}}),
            json!({"spec": {"dimensions": {"size": n + 10}}}),
        );
        let (controller, person) = (stage.actor(act), stage.actor(act));
        let status_path = format!("{path}/status");
        tokio::join!(
            controller.merge(&status_path, &status),
            person.merge(&path, &spec)
        );
    }
    stage.actor(act).delete(&path, &json!({})).await;
}

pub(super) async fn autoscaler(stage: &mut Stage) {
    let act = "autoscaling/v1 and v2";
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"});
    let mut old = AUTOSCALERS.object(&stage.name, json!({"metadata": {}, "spec": {
        "scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}}));
    old["apiVersion"] = "autoscaling/v1".into();
    let collection = AUTOSCALERS.collection_at("v1", &stage.namespace);
    stage.actor(act).create(&collection, &old).await;
    let (first, second) = (
        format!("{collection}/{}", stage.name),
        stage.path(AUTOSCALERS),
    );
    stage
        .actor(act)
        .merge(&second, &json!({"spec": {"maxReplicas": 5}}))
        .await;
    let patch = json!({"spec": {"targetCPUUtilizationPercentage": 70}});
    stage.actor(act).merge(&first, &patch).await;
    stage.actor(act).delete(&first, &json!({})).await;
}

/// With the type, its objects go, and no webhook is called for them. It was for whoever wanted to delete one, and was refused.
pub(super) async fn type_goes(place: &Place) {
    let act = "removal of a CRD";
    let namespace = place.namespace("passing").await;
    for n in 0..5 {
        let user = format!("passer-{n}");
        let object = PASSING.object(
            &format!("passing-{n}"),
            json!({"metadata": {}, "spec": {"n": n}}),
        );
        let actor = place.crowd.actor(act, &user);
        assert!(
            actor
                .create(&PASSING.collection(&namespace), &object)
                .await
                .is_ok()
        );
        let patch = json!({"spec": {"n": n + 10}});
        let path = PASSING.path(&namespace, &format!("passing-{n}"));
        assert!(
            place
                .crowd
                .actor(act, "editor")
                .merge(&path, &patch)
                .await
                .is_ok()
        );
        let refused = place.crowd.actor(act, "refused-remover").refused();
        assert!(!refused.delete(&path, &json!({})).await.is_ok());
    }
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/passings.passing.test";
    let actor = place.crowd.actor(act, "remover");
    assert!(actor.delete(crd, &json!({})).await.is_ok());
}
