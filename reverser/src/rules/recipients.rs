//! Age recipients that a destination takes from a Secret: the one part of a plan that the custom resources don't hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::watch;

use super::configuration::Configuration;
use super::verdict::stalled;
use crate::api::{Conditions, GitDestinationSpec, SecretPolicy};
use crate::secrets::Recipients;

/// How soon a changed Secret is taken up. Secrets are read by their names, as those with credentials are: to watch them takes
/// the right to list all of a namespace.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// How long the apiserver may take for one.
const ANSWER: Duration = Duration::from_secs(5);

/// The key of the Secret where the destination names none.
const DEFAULT_KEY: &str = "recipients";

/// Where recipients are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecipientsSource {
    namespace: String,
    secret: String,
    key: String,
}

/// What the Secrets hold that destinations name, or what is to be said of those destinations.
pub type FoundRecipients = BTreeMap<RecipientsSource, Result<Recipients, Conditions>>;

// === impl RecipientsSource ===

impl RecipientsSource {
    /// Of a destination in this namespace; none where it needs no Secret.
    pub(super) fn of(namespace: &str, spec: &GitDestinationSpec) -> Option<Self> {
        if spec.secret_policy != SecretPolicy::Encrypt {
            return None;
        }
        let named = spec.encryption.as_ref()?.recipients_from.as_ref()?;
        Some(Self {
            namespace: namespace.to_owned(),
            secret: named.name.clone(),
            key: named.key.as_deref().unwrap_or(DEFAULT_KEY).to_owned(),
        })
    }

    /// What is said until the Secret was read.
    pub(super) fn unreadable(&self, why: &str) -> Conditions {
        Conditions::Reconciling {
            reason: "SecretUnreadable",
            message: format!("Secret '{}' can't be read: {why}", self.secret),
        }
    }

    /// `None` where the apiserver does not answer.
    async fn read(&self, client: &Client) -> Result<Result<Recipients, Conditions>, String> {
        let api: Api<Secret> = Api::namespaced(client.clone(), &self.namespace);
        let secret = match tokio::time::timeout(ANSWER, api.get_opt(&self.secret)).await {
            Ok(Ok(secret)) => secret,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the apiserver does not answer".to_owned()),
        };
        Ok(self.parse(secret))
    }

    fn parse(&self, secret: Option<Secret>) -> Result<Recipients, Conditions> {
        let Self {
            namespace,
            secret: name,
            key,
        } = self;
        let Some(secret) = secret else {
            return Err(stalled(
                "SecretNotFound",
                format!(
                    "there is no Secret '{name}' in namespace {namespace}, with the recipients to encrypt for"
                ),
            ));
        };
        let invalid = |why: &str| {
            stalled(
                "InvalidRecipients",
                format!("Secret '{name}', key '{key}': {why}"),
            )
        };
        let data = secret.data.unwrap_or_default();
        let Some(bytes) = data.get(key) else {
            return Err(invalid("there is no such key"));
        };
        let text = std::str::from_utf8(&bytes.0).map_err(|_| invalid("it is not UTF-8 text"))?;
        let recipients =
            Recipients::parse_file(text).map_err(|error| invalid(&error.to_string()))?;
        if recipients.is_empty() {
            return Err(invalid("it lists nobody"));
        }
        Ok(recipients)
    }
}

/// Completes each configuration with the recipients that its destinations take from Secrets.
pub struct RecipientsReader {
    client: Client,
    configuration: watch::Receiver<Option<Arc<Configuration>>>,
    completed: watch::Sender<Option<Arc<Configuration>>>,
}

impl RecipientsReader {
    /// From `configuration` to `completed`.
    #[must_use]
    pub fn new(
        client: Client,
        configuration: watch::Receiver<Option<Arc<Configuration>>>,
        completed: watch::Sender<Option<Arc<Configuration>>>,
    ) -> Self {
        Self {
            client,
            configuration,
            completed,
        }
    }

    /// Runs until no more configurations come.
    pub async fn run(mut self) {
        let mut found = FoundRecipients::new();
        loop {
            let changed = tokio::select! {
                changed = self.configuration.changed() => match changed {
                    Ok(()) => true,
                    Err(_) => return,
                },
                () = tokio::time::sleep(LOOK_AGAIN), if !found.is_empty() => false,
            };
            let Some(configuration) = self.configuration.borrow_and_update().clone() else {
                continue;
            };
            let before = found.clone();
            found = self.read(&configuration, &before).await;
            if changed || found != before {
                let mut completed = (*configuration).clone();
                completed.recipients = found.clone();
                self.completed.send_replace(Some(Arc::new(completed)));
            }
        }
    }

    /// What can't be read now is what it was.
    async fn read(
        &self,
        configuration: &Configuration,
        before: &FoundRecipients,
    ) -> FoundRecipients {
        let specs = configuration.destinations.iter();
        let sources: BTreeSet<RecipientsSource> = specs
            .filter_map(|((namespace, _), object)| {
                RecipientsSource::of(namespace, object.spec.as_ref().ok()?)
            })
            .collect();
        let mut found = FoundRecipients::new();
        for source in sources {
            let read = match source.read(&self.client).await {
                Ok(read) => read,
                Err(why) => before
                    .get(&source)
                    .cloned()
                    .unwrap_or_else(|| Err(source.unreadable(&why))),
            };
            found.insert(source, read);
        }
        found
    }
}
