//! Getting commits to the remote: forward only, and again on top of whatever others have pushed.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use git2::{ErrorClass, ErrorCode, Oid, PushOptions, Repository};
use rand::Rng as _;

use super::engine::Engine;
use super::error::{EngineError, PushError, RemoteError};
use super::fetch::RefreshOutcome;
use super::permit::Denied;
use super::session::Session;
use super::stand_in;
use super::store::LOCAL_REF;
use super::url::Scheme;
use super::wire::{ADDRESS, Armed, Push};

/// How often a push is tried before it is given up for now.
const ATTEMPTS: u32 = 5;
/// The longest wait before the first retry; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// What a push did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The remote's branch is our tip.
    Pushed {
        /// How many commits of ours it has got.
        commits: usize,
        /// How often they were put onto a new tip first.
        replays: u32,
    },
    /// There was nothing to push, or nothing was left after others' commits.
    UpToDate {
        /// As above.
        replays: u32,
    },
}

/// One try.
enum Attempt {
    Done,
    /// The branch is not where we think it is, or the server said no.
    Rejected {
        message: String,
        by_rule: bool,
    },
    Failed(RemoteError),
    /// Nothing was sent.
    Denied(Denied),
    /// The clone can't be read.
    Broken(EngineError),
}

impl Engine {
    /// Saves all commits to the clone, then pushes them.
    ///
    /// Forward only, and only from the tip that we know: where somebody has moved the branch, our commits are replayed onto the new tip,
    /// and pushed again, five times at most, with short random waits. After an error or timeout the remote is asked what it has: a
    /// push whose answer was lost counts as done.
    ///
    /// The [permit](Self::set_permit) is asked before each attempt, and so before a replay is worth anything, and once more when the
    /// server has told what it has: connecting may take its time.
    ///
    /// # Errors
    /// See [`PushError`]. The commits stay, on disk too, for a later push.
    pub fn push(&mut self) -> Result<PushOutcome, PushError> {
        let mut replays = 0;
        for attempt in 0..ATTEMPTS {
            self.permitted()?;
            self.persist()?;
            let commits = self.unpushed.len();
            let Some(tip) = self.unpushed.last().map(|made| made.commit) else {
                return Ok(PushOutcome::UpToDate { replays });
            };
            let result = match self.try_push(tip) {
                Attempt::Done => {
                    self.pushed(tip)?;
                    return Ok(PushOutcome::Pushed { commits, replays });
                }
                Attempt::Broken(error) => return Err(error.into()),
                Attempt::Denied(denied) => return Err(denied.into()),
                result => result,
            };
            self.in_doubt |= matches!(result, Attempt::Failed(_));
            // Before the fetch: what is fetched and then waited with is out of date again on a busy branch.
            if matches!(result, Attempt::Rejected { by_rule: false, .. }) {
                wait(attempt);
            }
            let tips = match (self.fetch(), &result) {
                (Ok(tips), _) => tips,
                (Err(_), Attempt::Failed(error)) => return Err(error.clone().into()),
                (Err(error), _) => return Err(error.into()),
            };
            if tips.branch == Some(tip) {
                self.pushed(tip)?;
                return Ok(PushOutcome::Pushed { commits, replays });
            }
            let moved = tips.branch != self.remote;
            match result {
                _ if moved => {
                    self.permitted()?;
                    if let RefreshOutcome::Moved { .. } = self.take_up(tips)? {
                        replays += 1;
                    }
                }
                Attempt::Failed(error) => return Err(error.into()),
                Attempt::Rejected { message, by_rule } if by_rule || attempt + 1 == ATTEMPTS => {
                    return Err(PushError::Refused { message });
                }
                // A lock held by somebody who then did not push.
                _ => {}
            }
        }
        Err(PushError::Moved { attempts: ATTEMPTS })
    }

    fn pushed(&mut self, tip: Oid) -> Result<(), PushError> {
        self.remote = Some(tip);
        self.base = Some(tip);
        self.unpushed.clear();
        self.store.pushed()?;
        self.persist()?;
        Ok(())
    }

    fn try_push(&self, tip: Oid) -> Attempt {
        let session = Session::new(&self.options.url, &self.options.credentials);
        if let Err(error) = session.prepare() {
            return Attempt::Failed(error);
        }
        let expected = self.remote.unwrap_or(Oid::ZERO_SHA1);
        let moved = Cell::new(false);
        let refused = RefCell::new(None);
        let denied = Cell::new(None);
        let mut callbacks = session.callbacks();
        // The old value that goes into the update command is the one advertised in this very connection. That it is the one we
        // know is checked here: libgit2 would also go on from any other ancestor, undoing somebody's reset.
        callbacks.push_negotiation(|updates| {
            if updates.iter().all(|update| update.src() == expected) {
                if let Err(why) = self.permitted() {
                    denied.set(Some(why));
                    return Err(git2::Error::new(
                        ErrorCode::User,
                        ErrorClass::Callback,
                        "not permitted",
                    ));
                }
                session.begin_transfer();
                return Ok(());
            }
            moved.set(true);
            Err(git2::Error::new(
                ErrorCode::NotFastForward,
                ErrorClass::Reference,
                "the branch has moved",
            ))
        });
        callbacks.push_update_reference(|_, status| {
            if let Some(status) = status {
                refused.replace(Some(status.to_owned()));
            }
            Ok(())
        });
        let mut options = PushOptions::new();
        options.remote_callbacks(callbacks);
        options.follow_redirects(Session::redirects());
        options.packbuilder_parallelism(1);
        let headers = session.headers();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        options.custom_headers(&headers);
        let pushed = match self.outgoing(tip) {
            Err(error) => return Attempt::Broken(error),
            Ok(outgoing) => {
                let refspec = format!("{}:refs/heads/{}", outgoing.what, self.options.branch);
                let repository = outgoing.stand_in.as_ref();
                let repository = repository.unwrap_or_else(|| self.store.repository());
                let remote = repository.remote_anonymous(&outgoing.address);
                remote.and_then(|mut remote| remote.push(&[&refspec], Some(&mut options)))
            }
        };
        drop(options);
        tracing::debug!(%tip, outcome = ?pushed.as_ref().map_err(git2::Error::code), "pushed");
        let rejected = |by_rule, message: &str| {
            let said = session.said();
            let message = super::scrub::scrub(message);
            Attempt::Rejected {
                by_rule,
                message: if said.is_empty() {
                    message
                } else {
                    format!("{message}: {said}")
                },
            }
        };
        if let (Err(_), Some(why)) = (&pushed, denied.get()) {
            return Attempt::Denied(why);
        }
        match (pushed, refused.into_inner()) {
            (Ok(()), None) => Attempt::Done,
            (Ok(()), Some(status)) => rejected(!is_race(&status), &status),
            (Err(error), _) if moved.get() || error.code() == ErrorCode::NotFastForward => {
                rejected(false, error.message())
            }
            (Err(error), _)
                if error
                    .message()
                    .contains("unpacking the sent packfile failed") =>
            {
                rejected(
                    true,
                    "the server could not unpack what was sent (it may be too large, or the server's disk full)",
                )
            }
            (Err(error), _) if session.may_go_on() && EngineError::is_local(&error) => {
                Attempt::Broken(EngineError::local("cannot push from the clone", &error))
            }
            (Err(error), _) => Attempt::Failed(session.error(&error)),
        }
    }
}

/// What libgit2 is to push where.
struct Outgoing {
    address: String,
    what: String,
    /// From where, if not from the clone.
    stand_in: Option<Repository>,
    /// The push that stands behind it.
    _armed: Option<Armed>,
}

impl Engine {
    fn outgoing(&self, tip: Oid) -> Result<Outgoing, EngineError> {
        let url = self.options.url.for_transport();
        let scheme = self.options.url.scheme();
        if scheme == Scheme::File {
            // libgit2's local transport has nothing below it.
            return Ok(Outgoing {
                address: url,
                what: LOCAL_REF.to_owned(),
                stand_in: None,
                _armed: None,
            });
        }
        let (stand_in, pretended) = stand_in::repository()
            .map_err(|error| EngineError::local("cannot prepare a push", &error))?;
        let objects = self.unpushed.iter().flat_map(|made| &made.objects);
        let push = Push {
            url,
            scheme,
            pretended,
            commit: tip,
            pack: self.store.stream(objects.copied())?,
        };
        Ok(Outgoing {
            address: ADDRESS.to_owned(),
            // Forward it is all the same: libgit2 can't see that, and the server looks for itself.
            what: format!("+{pretended}"),
            stand_in: Some(stand_in),
            _armed: Some(Armed::new(push)),
        })
    }
}

/// What Git's receive-pack says of a reference that is locked, or is not what the update said.
fn is_race(status: &str) -> bool {
    let status = status.to_ascii_lowercase();
    [
        "failed to update ref",
        "failed to lock",
        "cannot lock",
        "stale info",
        "fetch first",
        "non-fast-forward",
        "already exists",
    ]
    .iter()
    .any(|words| status.contains(words))
}

fn wait(attempt: u32) {
    let longest = FIRST_WAIT * 2_u32.pow(attempt.min(6));
    std::thread::sleep(longest.mul_f64(rand::rng().random_range(0.2..1.0)));
}
