//! What this process is among its replicas.

use std::sync::Arc;

use tokio::sync::watch;

/// The role, as last known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Without `--leader-elect`: there is nobody else.
    Alone,
    /// Another one leads, or nobody yet.
    Following,
    /// It holds the Lease.
    Leading(Term),
    /// It held the Lease, and has not been able to renew it for so long that another one may have it by now. Nothing is pushed.
    InDoubt(Term),
}

/// Names a time in which one pod led. Another one's is another, and so is a later one of the same pod after another's.
pub type Term = Arc<str>;

/// Receivers see every change of the role but those that came too fast.
pub type Roles = watch::Receiver<Role>;

impl Role {
    /// Whether it commits, writes statuses and asks repositories. Never again false once it was true: a process that loses the Lease
    /// ends.
    #[must_use]
    pub fn leads(&self) -> bool {
        *self != Self::Following
    }

    /// Whether admissions should come to this pod.
    #[must_use]
    pub fn receives(&self) -> bool {
        matches!(self, Self::Alone | Self::Leading(_))
    }

    /// As introspection names it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Following => "following",
            Self::Leading(_) => "leading",
            Self::InDoubt(_) => "in doubt",
        }
    }

    /// The term, where there are elections.
    #[must_use]
    pub fn term(&self) -> Option<&Term> {
        match self {
            Self::Alone | Self::Following => None,
            Self::Leading(term) | Self::InDoubt(term) => Some(term),
        }
    }
}

/// Resolves once this process leads; never where it never does.
pub(crate) async fn leads(roles: &mut Roles) {
    if roles.wait_for(Role::leads).await.is_err() {
        std::future::pending::<()>().await;
    }
}
