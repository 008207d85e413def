//! What the remote has.

use git2::{AutotagOption, FetchOptions, Oid};

use super::engine::{Engine, EngineOptions};
use super::error::EngineError;
use super::session::Session;
use super::store::Store;
use super::url::Scheme;

/// Matches nothing: connects and hears the list of references.
pub(super) const NOTHING: &str = "+refs/gitops-reverser/nothing:refs/gitops-reverser/nothing";

/// How many commits deep a fetch is that has to show whether ours are among them; where they are not, others have pushed more than
/// this since, and it can't be told.
const HISTORY: i32 = 100;

/// What the remote says of itself; both are in the clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tips {
    /// The branch; `None` where it is missing.
    pub(super) branch: Option<Oid>,
    /// What commits to it stand on: the branch, or else the default branch; `None` where the repository is empty.
    pub(super) base: Option<Oid>,
}

/// What a refresh found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The remote is as we knew it.
    Unchanged,
    /// Somebody pushed to the branch, rewrote, deleted or made it. How is not told: a shallow clone does not know. The
    /// whole of our folders may have changed.
    Moved {
        /// What was read before.
        from: Option<Oid>,
        /// What our commits now stand on.
        to: Option<Oid>,
        /// Commits of ours that were made again on it.
        replayed: usize,
    },
}

impl Engine {
    /// Fetches the tip and puts our own commits, if there are any, onto it; but none to a folder that somebody else has taken
    /// ([`take_taken`](Self::take_taken)).
    ///
    /// # Errors
    /// The remote's and the clone's; everything is then as it was.
    pub fn refresh(&mut self) -> Result<RefreshOutcome, EngineError> {
        let tips = self.fetch()?;
        self.take_up(tips)
    }

    /// Fetches the tip, and what is below it where it can't be told without that which of our commits the remote has: after a push
    /// whose answer was lost, and after a restart.
    pub(super) fn fetch(&mut self) -> Result<Tips, EngineError> {
        let mut fetch = |depth| fetch(&mut self.store, &self.options, depth);
        let tips = match fetch(if self.in_doubt { HISTORY } else { 1 }) {
            Err(error) if self.in_doubt && error.is_too_large() => fetch(1),
            outcome => outcome,
        };
        self.in_doubt &= tips.is_err();
        tips
    }

    pub(super) fn take_up(&mut self, tips: Tips) -> Result<RefreshOutcome, EngineError> {
        let from = self.base;
        if tips.base == from {
            self.remote = tips.branch;
            return Ok(RefreshOutcome::Unchanged);
        }
        self.forget_pushed(tips)?;
        let taken = self.taken_at(tips.base)?;
        let left = self.outside(&taken)?;
        self.store.stands_on(tips.base)?;
        let before = std::mem::replace(&mut self.unpushed, left);
        let replayed = match self.replay(tips.base) {
            Ok(replayed) => replayed,
            Err(error) => {
                self.unpushed = before;
                return Err(error);
            }
        };
        self.taken.extend(taken);
        self.remote = tips.branch;
        self.persist()?;
        self.prune()?;
        self.renew_if_outgrown();
        Ok(RefreshOutcome::Moved {
            from,
            to: tips.base,
            replayed,
        })
    }
}

/// Lists the remote's references, and fetches the commit to stand on where the clone lacks it, so many commits deep.
pub(super) fn fetch(
    store: &mut Store,
    from: &EngineOptions,
    depth: i32,
) -> Result<Tips, EngineError> {
    let EngineOptions { url, branch, .. } = from;
    let session = &Session::new(url, &from.credentials);
    session.prepare()?;
    let failed = |error: &git2::Error| {
        if session.may_go_on() && EngineError::is_local(error) {
            return EngineError::local("cannot fetch into the clone", error);
        }
        session.error(error).into()
    };
    let repository = store.repository();
    let mut remote = repository
        .remote_anonymous(&url.for_transport())
        .map_err(|error| failed(&error))?;
    remote
        .download(&[NOTHING], Some(&mut options(session, 0)))
        .map_err(|error| failed(&error))?;

    let branch = format!("refs/heads/{branch}");
    let mut at_branch = None;
    let mut at_head = None;
    let mut default = None;
    for head in remote.list().map_err(|error| failed(&error))? {
        if head.name() == branch {
            at_branch = Some(head.oid());
        }
        if head.name() == "HEAD" {
            at_head = Some(head.oid());
            default = head.symref_target().map(str::to_owned);
        }
    }
    let tips = Tips {
        branch: at_branch,
        base: at_branch.or(at_head),
    };
    let source = if at_branch.is_some() {
        branch
    } else {
        default.unwrap_or_else(|| "HEAD".to_owned())
    };
    if let Some(wanted) = tips.base
        && !store.has_commit(wanted)
    {
        session.begin_transfer();
        let refspec = format!("+{source}:refs/gitops-reverser/fetched");
        // libgit2's local transport knows no depth.
        let depth = if url.scheme() == Scheme::File {
            0
        } else {
            depth
        };
        remote
            .download(&[&refspec], Some(&mut options(session, depth)))
            .map_err(|error| failed(&error))?;
        let _ = remote.disconnect();
        drop(remote);
        // Also for the commits below which there is nothing, which are read only then.
        store.reopen()?;
        if !store.has_commit(wanted) {
            // The clone told the server that it had what it has not.
            return Err(EngineError::corrupt(
                "cannot fetch into the clone",
                format!("{wanted} is incomplete"),
            ));
        }
    }
    Ok(tips)
}

pub(super) fn options<'a>(session: &'a Session<'_>, depth: i32) -> FetchOptions<'a> {
    let mut options = FetchOptions::new();
    options.remote_callbacks(session.callbacks());
    options.follow_redirects(Session::redirects());
    options.download_tags(AutotagOption::None);
    options.update_fetchhead(false);
    options.depth(depth);
    let headers = session.headers();
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    options.custom_headers(&headers);
    options
}
