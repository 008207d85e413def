use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use tests::control_plane::Options;
use tests::{ControlPlane, eventually};

const SOON: Duration = Duration::from_secs(60);

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("key".to_owned(), "value".to_owned())])),
        ..ConfigMap::default()
    }
}

#[tokio::test]
async fn an_object_reads_back_as_it_was_written() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("bed").await;
    let config_maps: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace);
    config_maps
        .create(&PostParams::default(), &config_map("one"))
        .await
        .unwrap();
    assert_eq!(
        config_maps.get("one").await.unwrap().data,
        config_map("one").data
    );
}

#[tokio::test]
async fn the_apiserver_tells_the_pinned_version() {
    let version = ControlPlane::shared()
        .await
        .client()
        .apiserver_version()
        .await
        .unwrap();
    assert_eq!(version.major, "1");
    assert!(version.minor.parse::<u32>().unwrap() >= 30, "{version:?}");
}

#[tokio::test]
async fn the_audit_log_names_the_impersonated_user() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("bed").await;
    let jane: Api<ConfigMap> =
        Api::namespaced(plane.client_as("jane", &["system:masters"]), &namespace);
    jane.create(&PostParams::default(), &config_map("hers"))
        .await
        .unwrap();

    let log = plane.audit_log();
    let creates: Vec<_> = log
        .iter()
        .filter(|event| event.verb == "create" && event.is_about("configmaps", &namespace, "hers"))
        .collect();
    assert_eq!(creates.len(), 1, "{creates:?}");
    assert!(creates[0].is_accepted_write());
    assert_eq!(creates[0].acting_user(), "jane");
    assert_eq!(creates[0].user.username, "kubernetes-admin");
}

#[tokio::test]
async fn a_user_without_rights_is_refused() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("bed").await;
    let nobody: Api<ConfigMap> = Api::namespaced(plane.client_as("nobody", &[]), &namespace);
    let error = nobody
        .create(&PostParams::default(), &config_map("mine"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 403),
        "{error}"
    );
}

#[tokio::test]
async fn a_new_namespace_gets_its_default_service_account_whose_token_authenticates() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("bed").await;
    let accounts: Api<ServiceAccount> = Api::namespaced(plane.client(), &namespace);
    eventually(SOON, || accounts.get("default")).await;

    let token = plane
        .service_account_token(&namespace, "default")
        .await
        .unwrap();
    let own: Api<ConfigMap> = Api::namespaced(plane.client_with_token(&token), &namespace);
    let error = own.get("any").await.unwrap_err();
    let expected = format!("system:serviceaccount:{namespace}:default");
    assert!(error.to_string().contains(&expected), "{error}");

    let kubeconfig = plane.kubeconfig_for_token(&token).unwrap();
    let config = kube::config::Kubeconfig::read_from(&kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default())
        .await
        .unwrap();
    let own: Api<ConfigMap> = Api::namespaced(kube::Client::try_from(config).unwrap(), &namespace);
    assert!(
        own.get("any")
            .await
            .unwrap_err()
            .to_string()
            .contains(&expected)
    );
}

#[tokio::test]
async fn a_deleted_namespace_goes() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("bed").await;
    let namespaces: Api<Namespace> = Api::all(plane.client());
    namespaces
        .delete(&namespace, &DeleteParams::default())
        .await
        .unwrap();
    eventually(SOON, || async {
        match namespaces.get_opt(&namespace).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_restarted_apiserver_keeps_what_it_had_and_its_url() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let namespace = plane.create_namespace("bed").await;
    let config_maps: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace);
    config_maps
        .create(&PostParams::default(), &config_map("kept"))
        .await
        .unwrap();

    plane.stop_apiserver();
    assert!(config_maps.get("kept").await.is_err());
    plane.restart_apiserver().await.unwrap();
    eventually(SOON, || config_maps.get("kept")).await;
    plane.stop();
}

#[tokio::test]
async fn etcd_forgets_what_was_before_a_compaction() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let namespace = plane.create_namespace("compact").await;
    let maps: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace);
    let first = maps
        .create(&PostParams::default(), &config_map("one"))
        .await
        .unwrap();
    let version = first.metadata.resource_version.unwrap();
    let at_first = kube::api::ListParams::default()
        .at(&version)
        .matching(kube::api::VersionMatch::Exact);
    maps.create(&PostParams::default(), &config_map("two"))
        .await
        .unwrap();
    assert!(maps.list(&at_first).await.is_ok());
    plane.compact_etcd().await.unwrap();
    // The apiserver has snapshots of its own, and answers from these as long as it runs.
    plane.restart_apiserver().await.unwrap();
    let error = maps.list(&at_first).await.unwrap_err();
    let kube::Error::Api(status) = error else {
        panic!("{error}");
    };
    assert_eq!(status.code, 410, "{status:?}");
}
