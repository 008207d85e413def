//! Asks each repository whether it is there and takes the credentials, so that its GitRepoConfig
//! can say so before anything is written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::credentials;
use crate::api::GitRepoConfigSpec;
use crate::git::{self, RepoUrl, Scheme};
use crate::leadership::{Roles, leads};
use crate::rules::{ConfigObject, Configuration};
use crate::status::{GitFailure, StatusBoard};

/// How often a repository that answered is asked again, and one that did not.
const AGAIN: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(20));

/// Repositories that are asked at once.
const AT_ONCE: usize = 4;

/// Asks, and tells the board.
pub struct Prober {
    client: Client,
    board: Arc<StatusBoard>,
    configuration: watch::Receiver<Option<Arc<Configuration>>>,
    work_dir: PathBuf,
    roles: Roles,
    allow_file_urls: bool,
}

type Name = (String, String);

/// metadata.uid and metadata.generation: a URL or Secret that was changed is asked afresh.
type Version = (Option<String>, Option<i64>);

/// When a repository was asked last, or answered, and whether it did; `None` as long as it is being asked.
struct Asked {
    version: Version,
    at: Instant,
    answer: Option<bool>,
}

// === impl Asked ===

impl Asked {
    /// Whether it is time to ask again.
    fn is_over(&self) -> bool {
        match self.answer {
            // Asking has its own limits, which are shorter.
            None | Some(true) => self.at.elapsed() >= AGAIN.0,
            Some(false) => self.at.elapsed() >= AGAIN.1,
        }
    }
}

impl Prober {
    /// Looks at the GitRepoConfigs in `configuration`; `work_dir` is `--work-dir`, `allow_file_urls` the flag.
    #[must_use]
    pub fn new(
        client: Client,
        board: Arc<StatusBoard>,
        configuration: watch::Receiver<Option<Arc<Configuration>>>,
        work_dir: PathBuf,
        roles: Roles,
        allow_file_urls: bool,
    ) -> Self {
        Self {
            client,
            board,
            configuration,
            work_dir,
            roles,
            allow_file_urls,
        }
    }

    /// Runs until dropped. A follower asks nobody.
    pub async fn run(mut self) {
        leads(&mut self.roles).await;
        let mut asked: BTreeMap<Name, Asked> = BTreeMap::new();
        let mut asking: JoinSet<(Name, Version, Result<(), GitFailure>)> = JoinSet::new();
        loop {
            let configuration = self
                .configuration
                .borrow_and_update()
                .clone()
                .unwrap_or_default();
            let version = |repo: &ConfigObject<GitRepoConfigSpec>| {
                let metadata = &repo.object.metadata;
                (metadata.uid.clone(), metadata.generation)
            };
            asked.retain(|name, last| {
                let repo = configuration.repos.get(name);
                let same = repo.is_some_and(|repo| version(repo) == last.version);
                if !same {
                    self.board.forget_repo(name);
                }
                same
            });
            let mut due: Vec<_> = configuration.repos.iter().collect();
            due.retain(|(name, _)| asked.get(*name).is_none_or(Asked::is_over));
            // Who waits longest comes first: several that never answer must not keep the others from being asked at all.
            due.sort_by_key(|(name, _)| asked.get(*name).map(|last| last.at));
            for (name, repo) in due {
                let (Ok(spec), true) = (&repo.spec, asking.len() < AT_ONCE) else {
                    continue;
                };
                let Ok(url) = RepoUrl::parse(&spec.repo_url) else {
                    continue;
                };
                if url.scheme() == Scheme::File && !self.allow_file_urls {
                    continue;
                }
                let version = version(repo);
                asked.insert(
                    name.clone(),
                    Asked {
                        version: version.clone(),
                        at: Instant::now(),
                        answer: None,
                    },
                );
                let secret = spec.secret_ref.as_ref().map(|r| r.name.clone());
                let signing = spec.signing_secret().map(ToOwned::to_owned);
                let scratch = self.work_dir.join("probe");
                asking.spawn(ask(
                    self.client.clone(),
                    name.clone(),
                    version,
                    [secret, signing],
                    url,
                    scratch,
                ));
            }
            tokio::select! {
                changed = self.configuration.changed() => if changed.is_err() { return },
                Some(Ok((name, version, outcome))) = asking.join_next() => {
                    if let Some(last) = asked.get_mut(&name).filter(|last| last.version == version) {
                        last.at = Instant::now();
                        last.answer = Some(outcome.is_ok());
                        self.board.repo(&name, outcome);
                    }
                }
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
            }
        }
    }
}

async fn ask(
    client: Client,
    name: Name,
    version: Version,
    [secret, signing]: [Option<String>; 2],
    url: RepoUrl,
    scratch: PathBuf,
) -> (Name, Version, Result<(), GitFailure>) {
    let key = credentials::read_signer(&client, &name.0, signing.as_deref(), None).await;
    let read = match key {
        Ok(_) => credentials::read(&client, &name.0, secret.as_deref(), &url).await,
        Err(failure) => Err(failure),
    };
    let outcome = match read {
        Err(failure) => Err(failure),
        Ok(credentials) => {
            match tokio::task::spawn_blocking(move || git::probe(&scratch, &url, &credentials))
                .await
            {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(super::failure::RoundError::from(error).failure()),
                Err(panic) => Err(GitFailure {
                    reason: "GitFailed",
                    message: panic.to_string(),
                    needs_action: false,
                }),
            }
        }
    };
    (name, version, outcome)
}
