//! What is said of a custom resource.

use super::plan::Finding;
use crate::api::Conditions;

pub(super) fn stalled(reason: &'static str, message: impl Into<String>) -> Conditions {
    Conditions::Stalled {
        reason,
        message: message.into(),
    }
}

pub(super) fn finding(conditions: Conditions) -> Finding {
    Finding {
        conditions,
        judged: (None, None),
        destination: None,
        watched: Vec::new(),
        types: 0,
        unresolved: Vec::new(),
    }
}

pub(super) fn ready() -> Conditions {
    Conditions::Ready {
        reason: "Accepted",
        message: String::new(),
    }
}

pub(super) fn invalid(error: &str) -> Conditions {
    stalled("InvalidSpec", format!("the spec can't be read: {error}"))
}
