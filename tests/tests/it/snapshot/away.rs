//! APIs that are away.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use tests::eventually::eventually;

use super::{FOLDER, Site, bare};
use crate::lab::{PATIENCE, create};
use crate::types;

#[tokio::test]
async fn files_of_an_api_that_is_away_stay_and_go_once_it_is_gone() {
    let site = Site::on(bare().await, "away").await;
    let group = format!("{}.example.com", site.namespace);
    let path = format!("{FOLDER}/{group}/v1/things/{}/one.yaml", site.namespace);
    site.repo
        .commit_as_outsider(&path, "metadata: {name: one}\n");
    let services: Api<APIService> = Api::all(site.client());
    let name = format!("v1.{group}");
    let service: APIService = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "group": group, "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 10,
            "insecureSkipTLSVerify": true, "service": {"namespace": site.namespace, "name": "nobody"},
        },
    }))
    .unwrap();
    create(&services, &service).await;
    types::is_down(&site.client(), &group).await;
    let only = ["--resource=configmaps"];
    let said = site.snapshot(&only).await.ended(2);
    assert!(
        said.err
            .contains(&format!("things.v1.{group} is not served now")),
        "{}",
        said.err
    );
    assert!(site.repo.file(&path).is_some());

    services
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    // Until then it answers 503, and nobody knows.
    let url = format!("/apis/{group}/v1/things?limit=1");
    eventually(PATIENCE, || async {
        let request = http::Request::get(&url).body(Vec::new()).unwrap();
        match site.client().request_text(request).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    site.snapshot(&only).await.ended(0);
    assert!(site.repo.file(&path).is_none());
}
