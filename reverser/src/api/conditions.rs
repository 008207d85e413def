//! Conditions as kstatus reads them: Ready, and while it lasts Reconciling or Stalled.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The object does what its spec says.
pub const READY: &str = "Ready";
/// Work is going on towards Ready.
pub const RECONCILING: &str = "Reconciling";
/// Nothing will change until somebody acts.
pub const STALLED: &str = "Stalled";

/// `True`, `False` or `Unknown`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It can't be said yet.
    Unknown,
}

/// One observation of an object's state, in the shape of `metav1.Condition`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Ready, Reconciling or Stalled.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// metadata.generation that this was found at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the status last changed, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// One word for programs.
    #[schemars(regex(pattern = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"))]
    pub reason: String,
    /// One sentence for people: what is wrong and what to do.
    pub message: String,
}

/// The three conditions for one finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conditions {
    /// All is as it should be.
    Ready {
        /// One word.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
    /// On the way, or waiting for something that comes by itself.
    Reconciling {
        /// One word.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
    /// Somebody has to act.
    Stalled {
        /// One word.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
}

impl Conditions {
    /// The one word.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Ready { reason, .. }
            | Self::Reconciling { reason, .. }
            | Self::Stalled { reason, .. } => reason,
        }
    }

    /// The one sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Ready { message, .. }
            | Self::Reconciling { message, .. }
            | Self::Stalled { message, .. } => message,
        }
    }

    /// Whether this is [`Conditions::Ready`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// As a list for the status: Ready always, Reconciling or Stalled only while it holds
    /// (kstatus: "abnormal-true" conditions are absent when all is well). A transition time is
    /// kept from `previous` while the status stays the same.
    #[must_use]
    pub fn to_list(
        &self,
        generation: Option<i64>,
        previous: &[Condition],
        now: &str,
    ) -> Vec<Condition> {
        let condition = |type_: &str, status: ConditionStatus| {
            let since = previous
                .iter()
                .find(|p| p.type_ == type_ && p.status == status)
                .map_or(now, |p| p.last_transition_time.as_str());
            Condition {
                type_: type_.to_owned(),
                status,
                observed_generation: generation,
                last_transition_time: since.to_owned(),
                reason: self.reason().to_owned(),
                message: self.message().to_owned(),
            }
        };
        match self {
            Self::Ready { .. } => vec![condition(READY, ConditionStatus::True)],
            Self::Reconciling { .. } => {
                vec![
                    condition(READY, ConditionStatus::False),
                    condition(RECONCILING, ConditionStatus::True),
                ]
            }
            Self::Stalled { .. } => {
                vec![
                    condition(READY, ConditionStatus::False),
                    condition(STALLED, ConditionStatus::True),
                ]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalled(message: &str) -> Conditions {
        Conditions::Stalled {
            reason: "AuthenticationFailed",
            message: message.to_owned(),
        }
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let first = stalled("a").to_list(Some(1), &[], "t1");
        let second = stalled("b").to_list(Some(1), &first, "t2");
        assert_eq!(second[0].last_transition_time, "t1");
        assert_eq!(second[0].message, "b");
        let ready = Conditions::Ready {
            reason: "Synced",
            message: String::new(),
        };
        assert_eq!(
            ready.to_list(Some(1), &second, "t3")[0].last_transition_time,
            "t3"
        );
    }

    #[test]
    fn stalled_is_absent_when_ready() {
        let ready = Conditions::Ready {
            reason: "Synced",
            message: String::new(),
        };
        assert!(
            ready
                .to_list(None, &[], "t")
                .iter()
                .all(|c| c.type_ == READY)
        );
    }
}
