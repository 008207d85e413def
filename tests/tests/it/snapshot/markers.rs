//! Whose folder it is.

use super::{FOLDER, Site, bare};
use crate::lab::{create, map};

#[tokio::test]
async fn a_folder_of_another_cluster_is_refused_unless_that_cluster_is_named() {
    let site = Site::on(bare().await, "foreign").await;
    create(&site.maps(), &map("one", "k", "v")).await;
    let marker = format!("{FOLDER}/.gitops-reverser");
    site.repo
        .commit_as_outsider(&marker, "cluster: another\ndestination: lab/all\n");
    let head = site.repo.head();
    for flags in [&[][..], &["--diff"], &["--take-over=else"]] {
        let said = site.snapshot(flags).await;
        let refusal = said.refusal();
        assert!(refusal.contains("--take-over=another"), "{refusal}");
    }
    let said = site
        .snapshot(&["--diff", "--take-over=another"])
        .await
        .ended(1);
    assert_eq!(said.lines(), [format!("A {}", site.map_file("one"))]);
    assert_eq!(site.repo.head(), head);
    site.snapshot(&["--take-over=another"]).await.ended(0);
    let taken = String::from_utf8(site.repo.file(&marker).unwrap()).unwrap();
    assert!(taken.contains("destination: snapshot"), "{taken}");
    assert!(!taken.contains("another\n"), "{taken}");
    // It is ours from now on.
    site.snapshot(&[]).await.ended(0);

    site.repo.commit_as_outsider(&marker, "[]\n");
    let said = site.snapshot(&["--take-over=another"]).await;
    assert!(said.refusal().contains("mend or delete"), "{}", said.err);
}
