//! Folders that belong to another cluster.

use super::*;

/// A marker that another cluster has left.
const FOREIGN: &str = "cluster: 0c2f9d0e-another\ndestination: lab/all\n";

#[tokio::test]
async fn a_folder_of_another_cluster() {
    // The worker has its clone already when the other cluster pushes.
    let lab = Lab::shared("foreign").await.watching(&["configmaps"]).await;
    let marker = "theirs/.gitops-reverser";
    lab.repo.commit_as_outsider(marker, FOREIGN);
    lab.repo
        .commit_as_outsider("theirs/v1/configmaps/lab/x.yaml", "kind: ConfigMap\n");
    lab.destination("theirs", json!({"baseFolder": "theirs"}))
        .await;
    let rule =
        json!({"destinationRef": {"name": "theirs"}, "rules": [{"resources": ["configmaps"]}]});
    lab.apply::<WatchRule>("theirs", rule).await.unwrap();
    let message = told::<GitDestination>(&lab, "theirs", "ForeignFolder").await;
    assert!(
        message.contains("belongs to cluster 0c2f9d0e-another")
            && message.contains("set spec.takeOver to 0c2f9d0e-another"),
        "{message}"
    );
    assert!(is_stalled::<GitDestination>(&lab, "theirs").await);
    // A rule that wants more is no reason to write to it.
    let rule = json!({"destinationRef": {"name": "theirs"}, "rules": [{"resources": ["configmaps", "services"]}]});
    lab.apply::<WatchRule>("theirs", rule).await.unwrap();
    lab.ready::<WatchRule>("theirs").await;
    lab.settle().await;
    told::<GitDestination>(&lab, "theirs", "ForeignFolder").await;
    // The other folder of the same branch goes on, and nothing is written to theirs.
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.settle().await;
    let theirs = || -> Vec<String> {
        let files = lab.repo.files().into_iter();
        files.filter(|path| path.starts_with("theirs/")).collect()
    };
    assert_eq!(theirs(), [marker, "theirs/v1/configmaps/lab/x.yaml"]);
    assert_eq!(lab.repo.file(marker).unwrap(), FOREIGN.as_bytes());

    lab.destination(
        "theirs",
        json!({"baseFolder": "theirs", "takeOver": "0c2f9d0e-another"}),
    )
    .await;
    lab.ready::<GitDestination>("theirs").await;
    let ours = format!("theirs/v1/configmaps/{}/one.yaml", lab.namespace);
    assert!(theirs().contains(&ours), "{:?}", theirs());
    assert!(!theirs().contains(&"theirs/v1/configmaps/lab/x.yaml".to_owned()));
    let now = String::from_utf8(lab.repo.file(marker).unwrap()).unwrap();
    assert!(
        now.contains(&format!("destination: {}/theirs", lab.namespace)),
        "{now}"
    );
}

#[tokio::test]
async fn a_folder_that_another_cluster_takes_and_leaves_again() {
    let lab = Lab::shared("taken").await.watching(&["configmaps"]).await;
    lab.settle().await;
    let marker = format!("{FOLDER}/.gitops-reverser");
    lab.repo.commit_as_outsider(&marker, FOREIGN);
    // Found at the next push, which was begun before.
    set(&lab.maps("alice"), "settle-0", "k", "2").await;
    told::<GitDestination>(&lab, "all", "ForeignFolder").await;
    let head = lab.repo.head();
    set(&lab.maps("alice"), "settle-0", "k", "3").await;
    lab.repo.remove_as_outsider(&marker);
    assert_ne!(lab.repo.head(), head);
    lab.holds("settle-0", "k", "3").await;
    lab.ready::<GitDestination>("all").await;
    assert!(lab.repo.file(&marker).is_some());
}
