//! What is wrong is one line, and nothing is written.

use super::{FOLDER, Site, Snapshot, bare};
use crate::lab::{create, map};

#[tokio::test]
async fn each_mistake_is_one_clear_line() {
    let site = Site::on(bare().await, "mistakes").await;
    create(&site.maps(), &map("one", "k", "v")).await;
    let kubeconfig = site.plane.kubeconfig_path();
    let given = [
        ("--repo", site.repo.url().to_owned()),
        ("--folder", FOLDER.to_owned()),
        ("--kubeconfig", kubeconfig.display().to_string()),
        (
            "--credentials-dir",
            site.credentials().display().to_string(),
        ),
        ("--secret-policy", "Omit".to_owned()),
    ];
    let missing = format!("{}-missing.git", site.repo.url().trim_end_matches(".git"));
    let nothing = site.directory.path().join("nothing").display().to_string();
    let with_password = site.repo.url().replace("https://", "https://u:hunter2@");
    let cases: [(&str, &str, &str); 16] = [
        ("--repo", "ftp://h/a", "must start with https://"),
        ("--repo", "not a url", "spaces"),
        ("--repo", &with_password, "GITOPS_REVERSER_GIT_PASSWORD"),
        ("--repo", &missing, "not found"),
        ("--repo", "https://127.0.0.1:1/a.git", "can't be reached"),
        ("--branch", "a..b", "not a branch name"),
        ("--folder", "../up", "--folder"),
        ("--folder", "", "the path is empty"),
        ("--kubeconfig", &nothing, "no cluster"),
        ("--context", "prod", "prod"),
        ("--credentials-dir", &nothing, "can't be read"),
        (
            "--namespace",
            "no-such-namespace",
            "no namespace 'no-such-namespace'",
        ),
        (
            "--resource",
            "Deployment",
            "did you mean 'deployments' in apps?",
        ),
        (
            "--resource",
            "configmaps,nonsense.example.com",
            "no resource 'nonsense'",
        ),
        ("--redaction-key-file", &nothing, "can't be read"),
        ("--log-level", "loud=loud=loud", "--log-level"),
    ];
    for (flag, value, words) in cases {
        let mut flags: Vec<String> = given
            .iter()
            .filter(|(given, _)| *given != flag)
            .map(|(flag, value)| format!("{flag}={value}"))
            .collect();
        flags.push(format!("{flag}={value}"));
        let command = Snapshot::new(site.directory.path()).await;
        let said = command.flags(&flags).run().await;
        let refusal = said.refusal();
        assert!(refusal.contains(words), "{flag}={value}: {refusal}");
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
    let said = site
        .snapshot(&["--secret-policy=omit", "--diff", "--branch=nowhere"])
        .await;
    assert!(
        said.refusal().contains("branch 'nowhere' does not exist"),
        "{}",
        said.err
    );
    let said = site.snapshot(&["--resource=clusterroles"]).await;
    assert!(said.refusal().contains("cluster-scoped"), "{}", said.err);
    assert_eq!(site.repo.head(), None);
}

#[tokio::test]
async fn without_any_cluster_that_is_said() {
    let site = Site::on(bare().await, "nowhere").await;
    let flags = [
        format!("--repo={}", site.repo.url()),
        format!("--folder={FOLDER}"),
    ];
    let command = Snapshot::new(site.directory.path()).await;
    let said = command.flags(&flags).run().await;
    assert!(
        said.refusal()
            .contains("neither --kubeconfig nor $KUBECONFIG"),
        "{}",
        said.err
    );
    let command = Snapshot::new(site.directory.path()).await.flags(&flags);
    let nobody = site.directory.path().join("kubeconfig");
    std::fs::write(
        &nobody,
        "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n\
         clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: a, user: {}}]\n",
    )
    .unwrap();
    let said = command.env("KUBECONFIG", &nobody).run().await;
    assert!(
        said.refusal().contains("the cluster can't be reached"),
        "{}",
        said.err
    );
}
