//! A thousand rules in five hundred namespaces, each with a folder of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Client, Resource};
use reverser::api::{GitDestination, GitRepoConfig, WatchRule};
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::git::{GitServer, HttpOptions};
use tests::reverser::{Options, Reverser};

use crate::grpcurl::Grpcurl;
use crate::lab::map;

const NAMESPACES: usize = 500;
/// Requests under way at once.
const AT_ONCE: usize = 16;
/// 3,500 requests, 1,000 lists and as many watches, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(300);

fn namespace(number: usize) -> String {
    format!("tenant-{number:03}")
}

async fn apply<K: Resource<DynamicType = ()>>(
    client: &Client,
    namespace: &str,
    name: &str,
    spec: Value,
) {
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let object = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec,
    });
    let by_force = PatchParams::apply("test").force();
    api.patch(name, &by_force, &Patch::Apply(object))
        .await
        .unwrap();
}

async fn tenant(client: &Client, url: &str, number: usize) {
    let namespace = namespace(number);
    let object: Namespace =
        serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
    Api::all(client.clone())
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
    let repo = json!({"repoUrl": url, "allowedBranches": ["main"]});
    apply::<GitRepoConfig>(client, &namespace, "repo", repo).await;
    let destination = json!({"repoRef": {"name": "repo"}, "branch": "main", "baseFolder": format!("tenants/{namespace}")});
    apply::<GitDestination>(client, &namespace, "all", destination).await;
    for resource in ["configmaps", "deployments"] {
        let rule = json!({"destinationRef": {"name": "all"}, "rules": [{"resources": [resource]}]});
        apply::<WatchRule>(client, &namespace, resource, rule).await;
    }
}

/// How many of the kind are Ready.
async fn ready<K: Resource<DynamicType = ()>>(client: &Client) -> usize {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<K>(&()));
    let objects = api.list(&ListParams::default()).await.unwrap();
    let is_ready = |object: &&DynamicObject| {
        let conditions = object.data["status"]["conditions"].as_array();
        conditions.is_some_and(|c| {
            c.iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True")
        })
    };
    objects.items.iter().filter(is_ready).count()
}

async fn all_ready(client: &Client, rules: usize) {
    eventually(PATIENCE, || async {
        let (destinations, watching) = (
            ready::<GitDestination>(client).await,
            ready::<WatchRule>(client).await,
        );
        if (destinations, watching) == (NAMESPACES, rules) {
            Ok(())
        } else {
            Err(format!(
                "{destinations} destinations and {watching} rules are Ready"
            ))
        }
    })
    .await;
}

/// Restarts by resource and namespace.
async fn watches(grpcurl: &Grpcurl) -> BTreeMap<(String, String), String> {
    let answer = grpcurl.ask("ListWatches", json!({})).await;
    let watches = answer["watches"].as_array().cloned().unwrap_or_default();
    let text = |watch: &Value, field: &str| watch[field].as_str().unwrap_or_default().to_owned();
    let of = |watch: &Value| {
        let key = (text(watch, "resource"), text(watch, "namespace"));
        (key, text(watch, "restarts"))
    };
    watches.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_rules_in_five_hundred_namespaces_work_and_touch_only_their_own_watches() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let options = Options {
        reverser_args: vec!["--allow-file-urls=true".to_owned()],
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let grpcurl = Grpcurl::of(&plane, &reverser).await;
    let server = GitServer::https(HttpOptions::basic("nobody", "asks")).unwrap();
    let repo = server.create_repo("tenants");
    // Without a Secret all tenants share one worker, as they share the branch.
    let url = format!("file://{}", repo.path().display());
    let client = plane.client();

    let started = Instant::now();
    stream::iter(0..NAMESPACES)
        .for_each_concurrent(AT_ONCE, |number| tenant(&client, &url, number))
        .await;
    eprintln!("applied after {:?}", started.elapsed());
    all_ready(&client, 2 * NAMESPACES).await;
    eprintln!("Ready after {:?}", started.elapsed());
    let open = watches(&grpcurl).await;
    assert_eq!(open.len(), 2 * NAMESPACES);
    assert!(open.keys().all(|(_, namespace)| !namespace.is_empty()));

    // One tenant goes without one of its rules, and one gets another: nobody else's watch is touched.
    let rules: Api<WatchRule> = Api::namespaced(client.clone(), &namespace(7));
    rules
        .delete("deployments", &DeleteParams::default())
        .await
        .unwrap();
    let rule = json!({"destinationRef": {"name": "all"}, "rules": [{"resources": ["services"]}]});
    apply::<WatchRule>(&client, &namespace(8), "services", rule).await;
    all_ready(&client, 2 * NAMESPACES).await;
    let mut expected = open;
    expected.remove(&("deployments".to_owned(), namespace(7)));
    let added = (("services".to_owned(), namespace(8)), "0".to_owned());
    expected.extend([added]);
    eventually(PATIENCE, || async {
        let now = watches(&grpcurl).await;
        if now == expected {
            Ok(())
        } else {
            let differ = |(key, restarts): &(&(String, String), &String)| {
                expected.get(*key) != Some(*restarts)
            };
            let differing: Vec<_> = now.iter().filter(differ).take(5).collect();
            Err(format!("{} watches, and {differing:?}", now.len()))
        }
    })
    .await;

    let writer = plane.client_as("alice", &["system:masters"]);
    stream::iter(0..NAMESPACES)
        .for_each_concurrent(AT_ONCE, |number| {
            let maps: Api<ConfigMap> = Api::namespaced(writer.clone(), &namespace(number));
            async move {
                let map = map("settings", "tenant", &number.to_string());
                maps.create(&PostParams::default(), &map).await.unwrap();
            }
        })
        .await;
    eventually(PATIENCE, || async {
        let files = repo.files();
        let of = |number: &usize| {
            let namespace = namespace(*number);
            format!("tenants/{namespace}/v1/configmaps/{namespace}/settings.yaml")
        };
        let missing = (0..NAMESPACES)
            .filter(|number| !files.contains(&of(number)))
            .count();
        if missing == 0 {
            Ok(())
        } else {
            Err(format!("{missing} files are missing"))
        }
    })
    .await;
    let nameless: Vec<_> = repo
        .log()
        .into_iter()
        .filter(|commit| {
            commit
                .paths()
                .iter()
                .any(|path| path.ends_with("/settings.yaml"))
        })
        .filter(|commit| commit.author_name != "alice")
        .collect();
    assert!(nameless.is_empty(), "{nameless:#?}");
    reverser.must_run().unwrap();
    reverser.stop().await.unwrap();
}
