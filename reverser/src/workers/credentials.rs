//! Credentials from Secrets, read again now and then so that rotated ones are taken up.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::time::Instant;

use crate::git::{Credentials, RepoUrl};
use crate::rules::DestinationPlan;
use crate::status::GitFailure;

/// How long what was read is good for; a refusal by the server ends it early.
const FRESH: Duration = Duration::from_secs(30);

/// One worker's credentials.
pub(super) struct CredentialSource {
    client: Client,
    known: Option<(Credentials, Instant)>,
    /// The fingerprint of what was last given out; `None` where nothing could be.
    given: Option<u64>,
}

impl CredentialSource {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            known: None,
            given: None,
        }
    }

    /// The credentials of this destination's repository.
    pub(super) async fn get(&mut self, plan: &DestinationPlan) -> Result<Credentials, GitFailure> {
        if let Some((known, since)) = &self.known
            && since.elapsed() < FRESH
        {
            return Ok(known.clone());
        }
        self.given = None;
        let read = self.read(plan).await?;
        self.given = Some(read.fingerprint());
        self.known = Some((read.clone(), Instant::now()));
        Ok(read)
    }

    async fn read(&self, plan: &DestinationPlan) -> Result<Credentials, GitFailure> {
        let secret = plan.secret_name.as_deref();
        read(&self.client, &plan.key.namespace, secret, &plan.url).await
    }

    /// Resolves once the Secret has other credentials than those last given out, or any where there were none; looked at
    /// in this interval. Never without a Secret.
    pub(super) async fn changed(&mut self, plan: Option<&DestinationPlan>, interval: Duration) {
        let Some(plan) = plan.filter(|plan| plan.secret_name.is_some()) else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(interval).await;
            if let Ok(read) = self.read(plan).await
                && self.given != Some(read.fingerprint())
            {
                self.known = None;
                return;
            }
        }
    }

    /// Read again next time.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }
}

/// Reads and checks one Secret; without a name, no credentials.
pub(super) async fn read(
    client: &Client,
    namespace: &str,
    secret: Option<&str>,
    url: &RepoUrl,
) -> Result<Credentials, GitFailure> {
    let Some(name) = secret else {
        return Ok(Credentials::none());
    };
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = match api.get_opt(name).await {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            let message = format!("there is no Secret '{name}' in namespace {namespace}");
            return Err(GitFailure {
                reason: "SecretNotFound",
                message,
                needs_action: true,
            });
        }
        Err(error) => {
            let message = format!("Secret '{name}' can't be read: {error}");
            return Err(GitFailure {
                reason: "SecretUnreadable",
                message,
                needs_action: false,
            });
        }
    };
    let data: BTreeMap<String, Vec<u8>> = secret
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.0))
        .collect();
    Credentials::from_secret(url, &data).map_err(|error| GitFailure {
        reason: "InvalidCredentials",
        message: format!("Secret '{name}': {error}"),
        needs_action: true,
    })
}
