//! `--diff`.

use super::{FOLDER, Site, Snapshot, bare};
use crate::lab::{create, delete, map, set};

#[tokio::test]
async fn differences_are_told_with_gits_letters_and_nothing_is_written() {
    let site = Site::on(bare().await, "diff").await;
    for name in ["b-edited", "c-gone", "d-kept"] {
        create(&site.maps(), &map(name, "k", "v")).await;
    }
    site.snapshot(&[]).await.ended(0);
    let head = site.repo.head();
    let pushes = site.server.push_requests();
    site.snapshot(&["--diff"]).await.ended(0);

    create(&site.maps(), &map("a-new", "k", "v")).await;
    set(&site.maps(), "b-edited", "k", "w").await;
    delete(&site.maps(), "c-gone").await;
    site.service("web").await;
    let said = site.snapshot(&["--diff"]).await.ended(1);
    let expected = [
        format!("A {}", site.map_file("a-new")),
        format!("M {}", site.map_file("b-edited")),
        format!("D {}", site.map_file("c-gone")),
        format!("A {}", site.file("services", "web")),
    ];
    assert_eq!(said.lines(), expected);
    assert!(
        said.err.contains("2 added, 1 modified, 1 deleted"),
        "{}",
        said.err
    );

    // What is asked for is what is compared: the rest of the folder is not selected.
    let only = ["--diff", "--resource=services", "--keep-unselected"];
    let said = site.snapshot(&only).await.ended(1);
    assert_eq!(said.lines(), expected[3..]);
    let excluded = [
        "--diff",
        "--discovery-exclude=configmaps,services",
        "--keep-unselected",
    ];
    site.snapshot(&excluded).await.ended(0);
    // Where nothing was written before, everything is new.
    let elsewhere = [
        format!("--repo={}", site.repo.url()),
        "--folder=elsewhere/".to_owned(),
        format!("--kubeconfig={}", site.plane.kubeconfig_path().display()),
        format!("--credentials-dir={}", site.credentials().display()),
        format!("--namespace={}", site.namespace),
        "--resource=services".to_owned(),
        "--diff".to_owned(),
    ];
    let command = Snapshot::new(site.directory.path()).await;
    let said = command.flags(&elsewhere).run().await.ended(1);
    let service = site.file("services", "web").replace(FOLDER, "elsewhere");
    assert_eq!(said.lines(), [format!("A {service}")]);
    assert!(said.err.contains("no folder 'elsewhere'"), "{}", said.err);

    assert_eq!(
        (site.repo.head(), site.server.push_requests()),
        (head, pushes)
    );
    site.snapshot(&[]).await.ended(0);
    site.snapshot(&["--diff"]).await.ended(0);
    assert!(
        site.repo
            .file(&format!("{FOLDER}/.gitops-reverser"))
            .is_some()
    );
}

#[tokio::test]
async fn an_edit_in_git_is_a_difference() {
    let site = Site::on(bare().await, "edit").await;
    create(&site.maps(), &map("one", "k", "v")).await;
    site.snapshot(&[]).await.ended(0);
    let path = site.map_file("one");
    site.repo.commit_as_outsider(&path, "edited: by hand\n");
    let said = site.snapshot(&["--diff"]).await.ended(1);
    assert_eq!(said.lines(), [format!("M {path}")]);
    site.repo.remove_as_outsider(&path);
    let said = site.snapshot(&["--diff"]).await.ended(1);
    assert_eq!(said.lines(), [format!("A {path}")]);
}
