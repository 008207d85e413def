//! Credentials and signing keys from Secrets, read again now and then so that rotated ones are taken up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::time::Instant;

use crate::git::{Credentials, RepoUrl, Signer, SigningKeyError, secret_fingerprint};
use crate::rules::DestinationPlan;
use crate::status::GitFailure;

/// How long what was read is good for; a refusal by the server ends it early.
const FRESH: Duration = Duration::from_secs(30);

/// What a worker may do, and in whose name.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// How to log in.
    pub(super) credentials: Credentials,
    /// Signs commits, where they are to be signed.
    pub(super) signer: Option<Arc<Signer>>,
}

impl Access {
    fn fingerprint(&self) -> (u64, Option<u64>) {
        let signer = self.signer.as_ref().map(|signer| signer.fingerprint());
        (self.credentials.fingerprint(), signer)
    }
}

/// One worker's credentials.
pub(super) struct CredentialSource {
    client: Client,
    known: Option<(Access, Instant)>,
    /// The key as last read: opening an encrypted one takes its time.
    signer: Option<Arc<Signer>>,
    /// The fingerprint of what was last given out; `None` where nothing could be.
    given: Option<(u64, Option<u64>)>,
}

impl CredentialSource {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            known: None,
            signer: None,
            given: None,
        }
    }

    /// What it takes to write to this destination's repository.
    pub(super) async fn get(&mut self, plan: &DestinationPlan) -> Result<Access, GitFailure> {
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

    async fn read(&mut self, plan: &DestinationPlan) -> Result<Access, GitFailure> {
        let namespace = &plan.key.namespace;
        let secret = plan.signing_secret.as_deref();
        let known = self.signer.take();
        self.signer = read_signer(&self.client, namespace, secret, known).await?;
        let secret = plan.secret_name.as_deref();
        Ok(Access {
            credentials: read(&self.client, namespace, secret, &plan.url).await?,
            signer: self.signer.clone(),
        })
    }

    /// Resolves once the Secrets have others than those last given out, or any where there were none; looked at
    /// in this interval. Never without a Secret.
    pub(super) async fn changed(&mut self, plan: Option<&DestinationPlan>, interval: Duration) {
        let Some(plan) =
            plan.filter(|plan| plan.secret_name.is_some() || plan.signing_secret.is_some())
        else {
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
    let data = read_data(client, namespace, name).await?;
    Credentials::from_secret(url, &data).map_err(|error| GitFailure {
        reason: "InvalidCredentials",
        message: format!("Secret '{name}': {error}"),
        needs_action: true,
    })
}

/// Reads and checks the Secret with the key that signs; without a name, nothing is signed. `known` is used again where
/// the Secret is as it was, until it expires.
pub(super) async fn read_signer(
    client: &Client,
    namespace: &str,
    secret: Option<&str>,
    known: Option<Arc<Signer>>,
) -> Result<Option<Arc<Signer>>, GitFailure> {
    let Some(name) = secret else {
        return Ok(None);
    };
    let data = read_data(client, namespace, name).await?;
    let is_good = |known: &Arc<Signer>| {
        known.fingerprint() == secret_fingerprint(&data) && !known.has_expired()
    };
    if let Some(known) = known.filter(is_good) {
        return Ok(Some(known));
    }
    // Of an encrypted key: some tenths of a second at work.
    let read = tokio::task::spawn_blocking(move || Signer::from_secret(&data)).await;
    match read {
        Ok(Ok(signer)) => Ok(Some(Arc::new(signer))),
        Ok(Err(error)) => Err(unusable(name, error)),
        Err(_) => Err(unusable(name, SigningKeyError::Unsupported)),
    }
}

fn unusable(name: &str, error: SigningKeyError) -> GitFailure {
    GitFailure {
        reason: "InvalidSigningKey",
        message: format!("Secret '{name}': {error}; nothing is committed unsigned"),
        needs_action: true,
    }
}

async fn read_data(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<BTreeMap<String, Vec<u8>>, GitFailure> {
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
    Ok(secret
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.0))
        .collect())
}
