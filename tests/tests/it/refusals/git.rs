//! What Git would refuse: branches, folders and URLs.

use super::*;

/// What `git check-ref-format --branch` takes, and what it does not.
const BRANCHES: [&str; 48] = [
    "main",
    "feature/x",
    "release-1.2",
    "a.b",
    "a./b",
    "a@b",
    "@a",
    "a@",
    "@/b",
    "a-",
    "a]b",
    "a{b}",
    "a'b",
    "a\"b",
    "!a",
    "#1",
    "%x",
    "x.LOCK",
    "x.locked",
    "head",
    "FETCH_HEAD",
    "a/HEAD",
    "refs/heads/main",
    "ü/漢字",
    "a..b",
    "..",
    ".",
    "a.",
    ".a",
    "a/.b",
    "-x",
    "-",
    "x.lock",
    "x.lock/b",
    "a//b",
    "/a",
    "a/",
    "a b",
    "refs~1",
    "a^",
    "a:b",
    "a?b",
    "a*b",
    "a[b",
    "a\\b",
    "a@{b",
    "HEAD",
    "a\u{1}b",
];

fn git_accepts(branch: &str) -> bool {
    std::process::Command::new("git")
        .args(["check-ref-format", "--branch", branch])
        // Outside a repository, where `@{-1}` means nothing.
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap()
        .status
        .success()
}

#[tokio::test]
async fn branches_are_refused_and_accepted_as_by_git() {
    let client = client().await;
    let mut wrong = Vec::new();
    // git 2.39 accepts `@`, which its manual refuses.
    for (branch, good) in BRANCHES
        .iter()
        .map(|branch| (*branch, git_accepts(branch)))
        .chain([("@", false), ("", false)])
    {
        let destination =
            apply::<GitDestination>(&client, &destination(json!({"branch": branch}))).await;
        let repo =
            apply::<GitRepoConfig>(&client, &repo(json!({"allowedBranches": ["main", branch]})))
                .await;
        for (found, field) in [(destination, "spec.branch"), (repo, "spec.allowedBranches")] {
            let as_it_should = match &found {
                Ok(_) => good,
                Err((422, message)) => !good && message.contains(field),
                Err(_) => false,
            };
            if !as_it_should {
                wrong.push(format!(
                    "{field} {branch:?}, git accepts: {good}: {found:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let refused = BRANCHES
        .iter()
        .filter(|branch| !git_accepts(branch))
        .count();
    assert!(
        (20..30).contains(&refused),
        "{refused} of the table are refused by git"
    );
}

#[tokio::test]
async fn folders_that_leave_the_repository_or_reach_into_git_are_refused() {
    let folders = [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "./a",
        "a/.",
        "../a",
        "a/../b",
        "a/..",
        ".git",
        "a/.git/b",
        ".GIT",
        "a/.Git",
        "git~1",
        "GIT~1/a",
        ".git.",
        ".git ",
        "a\\b",
        "\\a",
        "C:/a",
        "a:b",
        "a*",
        "a?b",
        "a|b",
        "<a>",
        "a\"",
        "a\nb",
        "a\tb",
        "a\u{0}b",
        "a\u{1}",
        ".g\u{200c}it",
        "a\u{202e}b",
        "a./b",
        "a /b",
        " a",
        "a ",
    ];
    all_refused::<GitDestination, _>(
        folders
            .into_iter()
            .map(str::to_owned)
            .chain(["x".repeat(251), "ü".repeat(64), "a/".repeat(300) + "b"])
            .map(|folder| (folder.clone(), destination(json!({"baseFolder": folder})))),
        "spec.baseFolder",
    )
    .await;
}

#[tokio::test]
async fn folders_of_the_repository_are_accepted() {
    let folders = [
        "a",
        "clusters/lab",
        ".github/live",
        "a/.gitx/b",
        "..a",
        "a..b",
        ".hidden",
        "Über uns/漢字",
        "a-b_c.d+e@f,g",
        "git",
        "~a",
    ];
    all_accepted::<GitDestination, _>(
        folders
            .into_iter()
            .map(str::to_owned)
            .chain(["x".repeat(250), "ü".repeat(63)])
            .map(|folder| (folder.clone(), destination(json!({"baseFolder": folder})))),
    )
    .await;
}

#[tokio::test]
async fn urls_of_other_schemes_and_with_credentials_are_refused() {
    let urls = [
        "",
        "git.example.com/a",
        "/srv/git/a",
        "./a",
        "a",
        "git://git.example.com/a",
        "ftp://h/a",
        "ext::sh -c id",
        "javascript://h/a",
        "file:a",
        "file://host/a",
        "file:///",
        "https://",
        "https://h",
        "https://h/",
        "https:///a",
        "https://h/a b",
        "https://h/a\nb",
        "https://h/a\u{1}",
        "https://h/a?token=x",
        "https://h/a#x",
        "https://u:p@h/a",
        "https://token@h/a",
        "http://u:p@h/a",
        "https://u@i:p@h/a",
        "ssh://git:p@h/a",
        "ssh://h",
        "git@host",
        "git@host:",
        "git@host:-oProxyCommand=id",
        "-oProxyCommand=id@h:a",
        "host:path",
    ];
    all_refused::<GitRepoConfig, _>(
        urls.map(|url| (url, repo(json!({"repoUrl": url})))),
        "spec.repoUrl",
    )
    .await;
}

#[tokio::test]
async fn urls_of_git_servers_are_accepted_by_the_schema_and_the_parser_alike() {
    let urls = [
        "https://git.example.com/a/b.git",
        "https://127.0.0.1:8443/a",
        "http://git.example.com/a",
        "https://[::1]:8/a",
        "ssh://git@git.example.com/a/b.git",
        "ssh://git.example.com:2222/~me/a",
        "git@git.example.com:a/b.git",
        "git@[::1]:a/b",
        "git@host:/srv/git/a.git",
        "org-1234@github.com:a/b.git",
        "file:///srv/git/a.git",
        "https://dev.azure.com/o/p%20q/_git/r",
        "https://h/a@b",
    ];
    for url in urls {
        reverser::git::RepoUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    }
    all_accepted::<GitRepoConfig, _>(urls.map(|url| (url, repo(json!({"repoUrl": url}))))).await;
}
