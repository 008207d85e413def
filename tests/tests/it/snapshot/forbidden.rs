//! What may not be listed, or can't be read, stays as it is.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tests::eventually::eventually;

use super::{Site, bare};
use crate::lab::{PATIENCE, create, delete, map};
use crate::types;

const ONLY: &str = "--resource=configmaps,services";

/// A kubeconfig of somebody who may list (and not watch) ConfigMaps of the namespace, and see which cluster it is, if `knows`.
async fn limited(site: &Site<'_>, name: &str, knows: bool) -> String {
    let (client, ns) = (site.client(), site.namespace.as_str());
    let read = |value: Value| serde_json::from_value(value).unwrap();
    let account: ServiceAccount =
        serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    create(&Api::namespaced(client.clone(), ns), &account).await;
    let subjects = json!([{"kind": "ServiceAccount", "namespace": ns, "name": name}]);
    let role: Role = serde_json::from_value(json!({
        "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}],
    }))
    .unwrap();
    create(&Api::namespaced(client.clone(), ns), &role).await;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": name}, "subjects": subjects,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
    }))
    .unwrap();
    create(&Api::namespaced(client.clone(), ns), &binding).await;
    if knows {
        let whole = format!("{ns}-{name}");
        let role: ClusterRole = read(json!({
            "metadata": {"name": whole},
            "rules": [{"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]}],
        }));
        create(&Api::all(client.clone()), &role).await;
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": whole}, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": whole},
        }))
        .unwrap();
        create(&Api::all(client), &binding).await;
    }
    let token = site.plane.service_account_token(ns, name).await.unwrap();
    let path = site.plane.kubeconfig_for_token(&token).unwrap();
    // The authorizer learns of bindings through a watch of its own.
    let client = site.plane.client_with_token(&token);
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client.clone(), ns);
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client);
    eventually::<(), kube::Error, _, _>(PATIENCE, || async {
        maps.list(&kube::api::ListParams::default()).await?;
        if knows {
            namespaces.get("kube-system").await?;
        }
        Ok(())
    })
    .await;
    path.display().to_string()
}

/// As this user.
async fn run(site: &Site<'_>, kubeconfig: &str, flags: &[&str]) -> super::Said {
    let mut all = vec![
        format!("--repo={}", site.repo.url()),
        format!("--folder={}", super::FOLDER),
        format!("--credentials-dir={}", site.credentials().display()),
        format!("--namespace={}", site.namespace),
        ONLY.to_owned(),
    ];
    all.extend(flags.iter().map(ToString::to_string));
    super::Snapshot::new(site.directory.path())
        .await
        .flags(&all)
        .env("KUBECONFIG", kubeconfig)
        .run()
        .await
}

#[tokio::test]
async fn files_of_a_forbidden_type_stay_the_others_are_written_and_the_exit_code_tells() {
    let site = Site::on(bare().await, "forbidden").await;
    create(&site.maps(), &map("gone", "k", "v")).await;
    site.service("gone").await;
    site.snapshot(&[ONLY]).await.ended(0);
    let kubeconfig = limited(&site, "reader", true).await;
    delete(&site.maps(), "gone").await;
    let services: Api<k8s_openapi::api::core::v1::Service> =
        Api::namespaced(site.client(), &site.namespace);
    services
        .delete("gone", &DeleteParams::default())
        .await
        .unwrap();
    create(&site.maps(), &map("new", "k", "v")).await;

    let said = run(&site, &kubeconfig, &["--diff"]).await.ended(2);
    let differences = [
        format!("D {}", site.map_file("gone")),
        format!("A {}", site.map_file("new")),
    ];
    assert_eq!(said.lines(), differences);

    let said = run(&site, &kubeconfig, &[]).await.ended(2);
    assert!(
        said.err.contains("error: services.v1") && said.err.contains("forbidden"),
        "{}",
        said.err
    );
    let files = site.repo.files();
    assert!(files.contains(&site.file("services", "gone")), "{files:?}");
    assert!(files.contains(&site.map_file("new")), "{files:?}");
    assert!(!files.contains(&site.map_file("gone")), "{files:?}");

    let said = run(&site, &kubeconfig, &["--skip-forbidden"])
        .await
        .ended(0);
    assert!(said.err.contains("note: services.v1"), "{}", said.err);
    assert_eq!(site.repo.files(), files);
    // Whoever may list them sees that it is gone.
    site.snapshot(&[ONLY]).await.ended(0);
    assert!(site.repo.file(&site.file("services", "gone")).is_none());
}

#[tokio::test]
async fn who_may_not_know_which_cluster_it_is_may_compare_and_not_write() {
    let site = Site::on(bare().await, "blind").await;
    create(&site.maps(), &map("one", "k", "v")).await;
    site.snapshot(&["--resource=configmaps"]).await.ended(0);
    let kubeconfig = limited(&site, "blind", false).await;
    let head = site.repo.head();
    let said = run(&site, &kubeconfig, &[]).await;
    assert!(said.refusal().contains("kube-system"), "{}", said.err);
    let said = run(&site, &kubeconfig, &["--diff", "--skip-forbidden"])
        .await
        .ended(0);
    assert!(said.err.contains("can't be told"), "{}", said.err);
    assert_eq!(site.repo.head(), head);
}

/// Deeper than the 128 levels that our JSON parser takes; the apiserver takes many more.
fn deep() -> Value {
    (0..150).fold(json!("bottom"), |inner, _| json!([inner]))
}

#[tokio::test]
async fn the_file_of_an_object_that_can_not_be_read_stays_and_the_others_are_written() {
    let site = Site::on(bare().await, "deep").await;
    let group = format!("{}.example.com", site.namespace);
    types::define(&site.client(), &group, "Nest").await;
    let url = format!("/apis/{group}/v1/namespaces/{}/nests", site.namespace);
    let create = |name: &str, spec: Value| {
        let nest = json!({"apiVersion": format!("{group}/v1"), "kind": "Nest", "metadata": {"name": name}, "spec": spec});
        http::Request::post(&url)
            .header("content-type", "application/json")
            .body(nest.to_string().into_bytes())
            .unwrap()
    };
    let client = site.client();
    eventually(PATIENCE, || client.request_text(create("plain", json!(1)))).await;
    let flag = format!("--resource=nests.{group}");
    // Discovery lags behind the type itself.
    eventually(PATIENCE, || async {
        let said = site.snapshot(&[&flag]).await;
        if said.code == 0 {
            Ok(())
        } else {
            Err(said.err)
        }
    })
    .await;
    let file = |name: &str| {
        format!(
            "{}/{group}/v1/nests/{}/{name}.yaml",
            super::FOLDER,
            site.namespace
        )
    };
    site.repo
        .commit_as_outsider(&file("deep"), "spec: as it was\n");
    let answer = site
        .client()
        .request_text(create("deep", deep()))
        .await
        .unwrap();
    assert!(answer.contains("Nest"), "{answer}");
    site.client()
        .request_text(create("other", json!(2)))
        .await
        .unwrap();

    let said = site.snapshot(&[&flag]).await.ended(2);
    assert!(
        said.err
            .contains(&format!("error: {} can't be written", file("deep"))),
        "{}",
        said.err
    );
    assert_eq!(site.repo.file(&file("deep")).unwrap(), b"spec: as it was\n");
    assert!(site.repo.file(&file("plain")).is_some() && site.repo.file(&file("other")).is_some());
}
