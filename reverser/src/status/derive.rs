//! From facts to what a custom resource says of itself. Pure.

use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;

use super::board::{DestinationReport, GitFailure, Snapshot};
use super::view::View;
use crate::api::{Conditions, SecretPolicy};
use crate::change::DestinationKey;
use crate::rules::{DestinationPlan, Finding, Kind, ObjectKey};

const SYNCED: &str = "Synced";

/// In order and yet worth a warning.
pub(super) const IN_THE_CLEAR: &str = "SecretsInTheClear";

/// Everything about one custom resource but the history of its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) conditions: Conditions,
    pub(super) counts: Counts,
}

/// The fields of a status besides conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    Repo,
    Destination {
        objects: i64,
        pending: usize,
        last_commit: Option<String>,
        last_push: Option<String>,
    },
    Rule {
        types: usize,
        unresolved: Vec<String>,
    },
}

/// What to say of one object; `pending` counts the changes that wait for a destination.
pub(super) fn derive(
    key: &ObjectKey,
    finding: &Finding,
    view: &View<'_>,
    pending: impl Fn(&DestinationKey) -> usize,
) -> Verdict {
    let facts = view.facts;
    match key.kind {
        Kind::Repo => Verdict {
            conditions: repo(key, finding, facts),
            counts: Counts::Repo,
        },
        Kind::Destination => {
            let name = DestinationKey {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
            };
            let report = facts.destinations.get(&name).cloned().unwrap_or_default();
            let pending = pending(&name);
            Verdict {
                conditions: destination(&name, finding, view, &report, pending),
                counts: Counts::Destination {
                    objects: facts.objects(&name),
                    pending,
                    last_commit: report.last_commit,
                    last_push: report.last_push.map(rfc3339),
                },
            }
        }
        Kind::Rule | Kind::ClusterRule => Verdict {
            conditions: rule(finding, view),
            counts: Counts::Rule {
                types: finding.types,
                unresolved: finding.unresolved.clone(),
            },
        },
    }
}

/// Whole seconds, as metav1.Time has them.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    i64::try_from(seconds)
        .ok()
        .and_then(|s| Timestamp::from_second(s).ok())
        .unwrap_or_default()
        .to_string()
}

fn failed(failure: &GitFailure) -> Conditions {
    let (reason, message) = (failure.reason, failure.message.clone());
    if failure.needs_action {
        Conditions::Stalled { reason, message }
    } else {
        Conditions::Reconciling { reason, message }
    }
}

fn repo(key: &ObjectKey, finding: &Finding, facts: &Snapshot) -> Conditions {
    if !finding.conditions.is_ready() {
        return finding.conditions.clone();
    }
    match facts.repos.get(&(key.namespace.clone(), key.name.clone())) {
        None => Conditions::Reconciling {
            reason: "Checking",
            message: "the repository has not been asked yet".to_owned(),
        },
        Some(Ok(())) => Conditions::Ready {
            reason: "Reachable",
            message: "the repository answers and accepts the credentials".to_owned(),
        },
        Some(Err(failure)) => failed(failure),
    }
}

fn destination(
    key: &DestinationKey,
    finding: &Finding,
    view: &View<'_>,
    report: &DestinationReport,
    pending: usize,
) -> Conditions {
    let facts = view.facts;
    if !finding.conditions.is_ready() {
        return finding.conditions.clone();
    }
    let Some(plan) = facts.plan.destinations.get(key) else {
        return Conditions::Reconciling {
            reason: "Accepted",
            message: "waiting for its worker".to_owned(),
        };
    };
    if let Some(refusal) = &report.refusal {
        return failed(refusal);
    }
    if let Some(failure) = facts
        .branches
        .get(&plan.branch)
        .and_then(|b| b.failure.as_ref())
    {
        return failed(failure);
    }
    if plan.selections.is_empty() {
        // Nothing is written, so that no worker would say it.
        let repo = (key.namespace.clone(), plan.repo_name.clone());
        if let Some(Err(failure)) = facts.repos.get(&repo) {
            return failed(failure);
        }
        return Conditions::Ready {
            reason: "NothingSelected",
            message: "no working rule names this destination; the folder is left as it is"
                .to_owned(),
        };
    }
    if let Some(error) = view.watch_error(key) {
        return Conditions::Reconciling {
            reason: "ListFailed",
            message: error,
        };
    }
    if !view.is_listed(key) || !report.settled {
        return Conditions::Reconciling {
            reason: "Seeding",
            message: format!("writing what is live; {pending} changes to go"),
        };
    }
    let (reason, of_secrets) = secrets(plan);
    Conditions::Ready {
        reason,
        message: format!("{} objects are in Git{of_secrets}", facts.objects(key)),
    }
}

/// The reason of a destination that is in order, and what must not go unsaid of its Secrets.
fn secrets(plan: &DestinationPlan) -> (&'static str, &'static str) {
    let mut types = plan.selections.keys();
    if !types.any(|(group, resource)| plan.secrets.types.contains(group, resource)) {
        return (SYNCED, "");
    }
    match plan.secret_policy {
        SecretPolicy::Plain => (
            IN_THE_CLEAR,
            "; Secrets are written in the clear (secretPolicy: Plain): whoever can read the repository can read them",
        ),
        SecretPolicy::Redact if !plan.secrets.redactor.shows_changes() => (
            SYNCED,
            "; there is no redaction key (--redaction-key-file), so that changes of Secrets' values don't show",
        ),
        SecretPolicy::Redact | SecretPolicy::Omit | SecretPolicy::Encrypt => (SYNCED, ""),
    }
}

fn rule(finding: &Finding, view: &View<'_>) -> Conditions {
    if !finding.conditions.is_ready() {
        return finding.conditions.clone();
    }
    for key in &finding.watched {
        match view.open(key) {
            Some((open, report)) => {
                if let Some(error) = &report.error {
                    return Conditions::Reconciling {
                        reason: "ListFailed",
                        message: format!("{open}: {error}"),
                    };
                }
                if !report.synced {
                    return Conditions::Reconciling {
                        reason: "Listing",
                        message: format!("listing {open}"),
                    };
                }
            }
            None => {
                return Conditions::Reconciling {
                    reason: "Listing",
                    message: format!("about to list {key}"),
                };
            }
        }
    }
    if !finding.watched.iter().all(|key| view.is_observed(key)) {
        let message = if view.facts.sidecar_connected {
            "the webhook sidecar does not observe it yet"
        } else {
            "the webhook sidecar is not connected: changes are written, but nobody would know who made them"
        };
        return Conditions::Reconciling {
            reason: "WaitingForWebhook",
            message: message.to_owned(),
        };
    }
    Conditions::Ready {
        reason: "Watching",
        message: format!("{} types are watched and observed", finding.types),
    }
}
