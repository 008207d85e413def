//! An hour of a cluster's life, compressed: what machines write makes no commit.

mod machines;
mod people;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::control_plane;
use tests::eventually::eventually;
use tests::reverser;

use crate::PATIENCE;
use crate::export::{Cluster, FOLDER, established, server};
use crate::served::{self, Served, type_of};

/// Rounds of what comes every few seconds or minutes in a real hour.
const ROUNDS: usize = 30;

/// All writes but Events, which nobody could want in Git.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
  "rules": [
    { "level": "None", "resources": [{ "group": "", "resources": ["events"] }, { "group": "events.k8s.io" }] },
    { "level": "None", "nonResourceURLs": ["*"] },
    { "level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"] },
    { "level": "None" }
  ]
}
"#;

/// What `*` never selects, not even with `--watch-all`, is named beside it. Only Events are left out.
const NAMED: [(&str, &str); 9] = [
    ("", "pods"),
    ("", "endpoints"),
    ("apps", "controllerrevisions"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("coordination.k8s.io", "leases"),
    ("discovery.k8s.io", "endpointslices"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    (
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
    ),
];

/// What one commit did to one file: path, `A`, `M` or `D`, and whose it was.
type Deed = (String, char, String);

/// A cluster in which people and machines write.
struct Life {
    cluster: Cluster,
    types: Vec<Served>,
    meant: Vec<Deed>,
}

// === impl Life ===

impl Life {
    fn type_of(&self, object: &Value) -> Served {
        type_of(&self.types, object).clone()
    }

    fn means(&mut self, user: &str, change: char, object: &Value) {
        let identity = self.type_of(object).identity(object);
        let path = manifest::file_path(FOLDER, &identity);
        self.meant.push((path, change, user.to_owned()));
    }

    async fn create(&mut self, user: &str, object: &Value) {
        let client = self.cluster.user(user);
        served::create(&client, &self.type_of(object), object).await;
        self.means(user, 'A', object);
    }

    async fn change(&mut self, user: &str, object: &Value, patch: &Value) {
        let client = self.cluster.user(user);
        served::merge(
            &client,
            &self.type_of(object),
            object,
            "",
            "kubectl-edit",
            patch,
        )
        .await;
        self.means(user, 'M', object);
    }

    /// A write by somebody who means nothing by it.
    async fn machine(
        &self,
        user: &str,
        manager: &str,
        object: &Value,
        subresource: &str,
        patch: &Value,
    ) {
        let client = self.cluster.user(user);
        served::merge(
            &client,
            &self.type_of(object),
            object,
            subresource,
            manager,
            patch,
        )
        .await;
    }
}

fn object(api_version: &str, kind: &str, namespace: &str, name: &str, rest: Value) -> Value {
    let mut object = rest;
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    object["metadata"]["name"] = name.into();
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    object
}

async fn begin() -> (tests::GitServer, Life) {
    let server = server();
    let plane = control_plane::Options {
        audit_policy: Some(AUDIT_POLICY.to_owned()),
        ..control_plane::Options::default()
    };
    let options = reverser::Options {
        reverser_args: vec!["--watch-all=true".to_owned()],
        ..reverser::Options::default()
    };
    let cluster = Cluster::start(&server, "quiet", plane, options).await;
    let client = cluster.client();
    let mut types = served::all(&client).await;
    for (manager, object) in machines::before() {
        served::create_by(&client, manager, type_of(&types, &object), &object).await;
        if object["kind"] == "CustomResourceDefinition" {
            established(&client, &object).await;
            types = served::all(&client).await;
        }
    }
    let mut rules = vec![
        json!({"scope": "Cluster", "resources": ["*"]}),
        json!({"scope": "Namespaced", "resources": ["*"]}),
    ];
    let is_named = |it: &&Served| NAMED.contains(&(it.group.as_str(), it.resource.as_str()));
    let named: Vec<Value> = types.iter().filter(is_named).map(Served::rule).collect();
    assert_eq!(named.len(), NAMED.len());
    rules.extend(named);
    cluster.rule("all", Value::Array(rules)).await;
    types.retain(|it| it.resource != "events");
    cluster.exported(&types).await;
    let life = Life {
        cluster,
        types,
        meant: Vec::new(),
    };
    (server, life)
}

/// How often each was done.
fn counted(deeds: impl IntoIterator<Item = Deed>) -> BTreeMap<Deed, usize> {
    let mut counts = BTreeMap::new();
    for deed in deeds {
        *counts.entry(deed).or_insert(0) += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_of_machines_makes_no_commit_and_each_persons_change_makes_its_own() {
    let (_server, mut life) = begin().await;
    let before = life.cluster.commits().len();
    let logged = life.cluster.plane.audit_log().len();
    for round in 0..ROUNDS {
        people::act(&mut life, round).await;
        machines::act(&life, round).await;
    }
    machines::worked(&life).await;
    let last = object(
        "v1",
        "ConfigMap",
        "shop",
        "last",
        json!({"data": {"a": "b"}}),
    );
    life.create("zoe", &last).await;
    life.cluster.exported(&life.types).await;

    let done = eventually(PATIENCE, || async {
        let commits = life.cluster.commits().split_off(before);
        let deeds: Vec<Deed> = commits
            .iter()
            .flat_map(|commit| {
                let user = commit.trailer("Kubernetes-User").unwrap_or("(nobody)");
                commit
                    .files
                    .iter()
                    .map(|file| (file.path.clone(), file.status, user.to_owned()))
            })
            .collect();
        if deeds.len() >= life.meant.len() {
            Ok((deeds, commits.len()))
        } else {
            Err(format!("{} of {} changes", deeds.len(), life.meant.len()))
        }
    });
    let (deeds, commits) = done.await;
    let people: Vec<&str> = life
        .meant
        .iter()
        .map(|(_, _, user)| user.as_str())
        .collect();
    let mut by_machines: BTreeMap<String, usize> = BTreeMap::new();
    for event in &life.cluster.plane.audit_log()[logged..] {
        // The test bed's own user writes nothing meanwhile but what the reverser writes with its rights.
        let user = event.acting_user();
        let is_status = event
            .object_ref
            .as_ref()
            .is_some_and(|it| it.subresource == "status");
        if event.is_accepted_write() && (is_status || !people.contains(&user)) {
            *by_machines.entry(user.to_owned()).or_insert(0) += 1;
        }
    }
    eprintln!(
        "quiet: {commits} commits of {} changes by {} users, beside {} machine writes: {by_machines:#?}",
        deeds.len(),
        people
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        by_machines.values().sum::<usize>(),
    );
    let (meant, done) = (counted(life.meant.clone()), counted(deeds));
    let more: Vec<_> = done
        .iter()
        .filter(|(deed, n)| meant.get(*deed) != Some(n))
        .collect();
    let less: Vec<_> = meant
        .iter()
        .filter(|(deed, n)| done.get(*deed) != Some(n))
        .collect();
    for ((path, _, _), _) in &more {
        let patch = life
            .cluster
            .repo
            .git(&["log", "--patch", "-2", "main", "--", path]);
        eprintln!("{}", patch.unwrap());
    }
    assert!(
        more.is_empty() && less.is_empty(),
        "in Git, and not meant: {more:#?}\nmeant, and not in Git: {less:#?}"
    );
    assert!(
        by_machines.values().sum::<usize>() >= 500,
        "machines hardly worked"
    );
    life.cluster.reverser.must_run().unwrap();
}
