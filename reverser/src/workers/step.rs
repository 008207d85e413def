//! The blocking part of a worker's round: open, commit, push.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use git2::Oid;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::credentials::Access;
use super::failure::RoundError;
use super::queue::{Due, Item, Queue};
use super::registry::WorkerPlan;
use super::{Portion, UnpushedLimits, batch, claim, sops_config, sweep};
use crate::api::SecretPolicy;
use crate::attribution::{Coverage, Store};
use crate::change::{Attribution, Cause, Change, DestinationKey};
use crate::commit::{self, ChangeSummary};
use crate::git::{CommitOutcome, Engine, EngineError, EngineOptions, Permit, PushOutcome};
use crate::observe::Metrics;
use crate::rules::{BranchKey, DestinationPlan};
use crate::status::{CommitNote, StatusBoard};

/// Batches that are committed before they are pushed together: a list of many objects is one push.
/// 50 batches of the default 200 files are 10,000 files.
const BATCHES_PER_PUSH: usize = 50;

/// Changes whose lag is measured; of more that wait for a remote, the first tell enough.
const MAX_SEEN: usize = 100_000;

/// What a round needs from outside.
pub(super) struct Context {
    pub(super) key: BranchKey,
    pub(super) cluster_id: String,
    pub(super) queue: Arc<Queue>,
    /// The plan as it is by now, which is told before anything of it comes to the queue. A round may have begun with an older one.
    pub(super) latest: watch::Receiver<WorkerPlan>,
    pub(super) store: Arc<Store>,
    pub(super) board: Arc<StatusBoard>,
    pub(super) metrics: Arc<Metrics>,
    /// Whether this process may push.
    pub(super) permit: Arc<dyn Permit>,
    /// Exceeded by one batch at most.
    pub(super) unpushed_limits: UnpushedLimits,
}

impl Context {
    /// Whether there is a newer plan than this one.
    fn is_outdated(&self, plan: &[Arc<DestinationPlan>]) -> bool {
        self.latest.borrow().as_slice() != plan
    }
}

/// Set when nobody waits for a round any more: it must take nothing from the queue, whose next
/// round has begun.
pub(super) type GivenUp = Arc<AtomicBool>;

/// By which plan a destination's folder was judged, and whether it is its own.
type Claims = HashMap<DestinationKey, (Arc<DestinationPlan>, bool)>;

/// What a worker keeps from round to round.
#[derive(Default)]
pub(super) struct Work {
    /// The clone, once opened.
    pub(super) engine: Option<Engine>,
    /// A batch that was taken and is not committed yet.
    pub(super) batch: Vec<Item>,
    /// By when it was taken, what was known of its observations. A later round knows nothing more of them.
    coverage: Option<Coverage>,
    /// Committed and not pushed: what to tell once it is.
    unpushed: Unpushed,
    /// Folders whose marker was looked at, with the plan it was judged by.
    claims: Claims,
    /// By which plan the commits that wait were found to show no more than is wanted.
    judged: Option<WorkerPlan>,
    /// The tip was heard from the remote in this round.
    fresh: bool,
    /// Each base folder's tree as our last commit left it. Another one at the tip means that
    /// somebody else wrote to it, or that commits of ours are lost with their clone.
    folders: HashMap<String, Option<Oid>>,
    /// What is known of base folders as a whole.
    whole: HashMap<String, Whole>,
    /// So much waits for the remote that no more is committed; told once.
    held_back: bool,
    /// The remote is to be asked whether the branch has moved, and has not answered yet.
    check: bool,
}

#[derive(Clone, Copy)]
enum Whole {
    /// Everything live is at the remote, and nothing else since then that we know of.
    Complete,
    /// It was not as we left it at that time: a list that was asked for before completes nothing.
    Moved(Instant),
}

#[derive(Default)]
struct Unpushed {
    /// The last commit of each destination.
    commits: BTreeMap<DestinationKey, String>,
    /// By file: bounded by the live objects, however long the remote is away.
    notes: HashMap<(DestinationKey, String), CommitNote>,
    /// When the changes were received.
    seen: Vec<Instant>,
    /// Destinations that are complete once this is pushed, as they were when they were listed.
    listed: BTreeMap<DestinationKey, (Arc<DestinationPlan>, Instant)>,
}

/// What a round came to.
pub(super) struct Round {
    pub(super) outcome: Result<(), RoundError>,
    pub(super) found: Found,
}

/// Destinations that must be compared with what is live, all of it.
#[derive(Default)]
pub(super) struct Found {
    /// Their folder is not as we left it.
    pub(super) moved: Vec<DestinationKey>,
    /// Their folder was somebody else's and is no longer.
    pub(super) freed: Vec<DestinationKey>,
}

impl Work {
    /// Whether there is something to do without anything new from the queue.
    pub(super) fn is_pending(&self) -> bool {
        self.check
            || !self.batch.is_empty()
            || self.engine.as_ref().is_some_and(Engine::has_unpushed)
    }

    /// Has the next round ask the remote whether somebody changed our folders, though there may be nothing to push.
    pub(super) fn check(&mut self) {
        self.check = true;
    }

    /// Whether there are folders as we left them, which somebody may have changed.
    pub(super) fn can_check(&self) -> bool {
        !self.folders.is_empty()
    }

    /// Whether some destination waits for its folder to become free.
    pub(super) fn is_refused(&self) -> bool {
        self.claims.values().any(|(_, held)| !held)
    }

    /// One round for the destinations of `plan`: takes what is due from the queue, commits it, pushes it.
    pub(super) fn round(
        &mut self,
        context: &Context,
        options: EngineOptions,
        portion: &Portion,
        plan: &[Arc<DestinationPlan>],
        given_up: &AtomicBool,
    ) -> Round {
        let mut found = Found::default();
        let outcome = self.commit_and_push(context, options, portion, plan, &mut found, given_up);
        if outcome.as_ref().is_err_and(RoundError::is_corrupt_clone) {
            // The clone is a cache: the next round fetches it afresh, and finds by `folders` what
            // is lost with it.
            self.engine = None;
            self.unpushed = Unpushed::default();
        }
        if outcome.as_ref().is_err_and(RoundError::is_too_large) {
            // Somebody may take away what was too much.
            self.check();
        }
        if outcome.as_ref().is_err_and(RoundError::is_superseded) {
            self.forget(context);
        }
        Round { outcome, found }
    }

    /// Another process leads. It finds out by itself what this one knew, and what was committed here must never be pushed: not
    /// by a later process either.
    fn forget(&mut self, context: &Context) {
        self.batch.clear();
        self.unpushed = Unpushed::default();
        let Some(engine) = self.engine.as_mut().filter(|e| e.has_unpushed()) else {
            return;
        };
        let commits = engine.unpushed();
        match engine.drop_unpushed() {
            Ok(()) => warn!(branch = %context.key, commits, "dropped what was not pushed"),
            // The clone goes as a whole when this pod leads again.
            Err(error) => warn!(branch = %context.key, %error, "cannot drop what was not pushed"),
        }
    }

    fn commit_and_push(
        &mut self,
        context: &Context,
        options: EngineOptions,
        portion: &Portion,
        plan: &[Arc<DestinationPlan>],
        found: &mut Found,
        given_up: &AtomicBool,
    ) -> Result<(), RoundError> {
        // A round begins with what may be a replay, in opening the clone or in looking what the remote has.
        context.permit.check()?;
        self.open(context, options)?;
        self.forget_values(context, plan)?;
        self.claims
            .retain(|key, _| plan.iter().any(|d| d.key == *key));
        self.whole
            .retain(|folder, _| plan.iter().any(|d| d.base_folder == *folder));
        self.notice_moved(plan, found);
        self.look_again(context, plan, found)?;
        if self.check {
            self.refresh(plan, found)?;
            self.check = false;
        }
        for _ in 0..BATCHES_PER_PUSH {
            if given_up.load(Ordering::SeqCst) {
                return Ok(());
            }
            if self.is_at_bound(context) {
                break;
            }
            if self.batch.is_empty() {
                self.batch = context.queue.take(portion);
                self.coverage = Some(portion.coverage);
            }
            if context.is_outdated(plan) {
                // What was taken may be of the newer plan, and would be thrown away as none of this one's. The next round has it.
                break;
            }
            let taken = self.batch.len();
            self.commit_batch(context, plan, found)?;
            self.note_folders(plan);
            // Nothing committed and yet something due: the rest waits for its observations.
            if taken == 0 || context.queue.due(&portion.limits) != Due::Now {
                break;
            }
        }
        if context.is_outdated(plan) {
            // What is to be hidden by now must not be pushed because the round is an older one.
            let latest = context.latest.borrow().clone();
            self.forget_values(context, &latest)?;
        }
        let pushed = self.push(context, plan);
        // Also when it failed: our commits may stand on somebody else's by now.
        self.notice_moved(plan, found);
        pushed?;
        self.note_settled(plan)?;
        if self.engine.as_ref().is_some_and(Engine::is_overgrown) {
            self.engine = None;
        }
        Ok(())
    }

    /// Once nothing in our folders is left of what others did there, a later process need not wonder who it was.
    fn note_settled(&mut self, plan: &[Arc<DestinationPlan>]) -> Result<(), EngineError> {
        let (claims, whole) = (&self.claims, &self.whole);
        let is_settled = |d: &Arc<DestinationPlan>| {
            let refused = claims.get(&d.key).is_some_and(|(_, held)| !held);
            let complete = matches!(whole.get(&d.base_folder), Some(Whole::Complete));
            refused || d.selections.is_empty() || complete
        };
        match &mut self.engine {
            Some(engine) if !engine.has_unpushed() && plan.iter().all(is_settled) => {
                engine.note_settled()
            }
            _ => Ok(()),
        }
    }

    /// Whether the remote has to take something before more is committed.
    fn is_at_bound(&mut self, context: &Context) -> bool {
        let Some(engine) = &self.engine else {
            return false;
        };
        let (commits, bytes) = (engine.unpushed(), engine.unpushed_bytes());
        let bound = &context.unpushed_limits;
        let at_bound = engine.has_unpushed() && (commits >= bound.commits || bytes >= bound.bytes);
        if at_bound && !self.held_back {
            warn!(branch = %context.key, commits, bytes, "nothing more is committed until the remote takes what there is");
        }
        self.held_back = at_bound;
        at_bound
    }

    fn open(&mut self, context: &Context, options: EngineOptions) -> Result<(), EngineError> {
        self.fresh = false;
        match &mut self.engine {
            Some(engine) => engine.set_options(options),
            None => {
                let mut engine = Engine::open(options)?;
                engine.set_permit(context.permit.clone());
                self.engine = Some(engine);
                // Refusals stay, to be looked at again.
                self.claims.retain(|_, (_, held)| !*held);
                self.fresh = true;
                self.judged = None;
            }
        }
        Ok(())
    }

    /// Drops what waits for the remote where it shows values to more than is wanted now: what was not pushed need not become history.
    fn forget_values(
        &mut self,
        context: &Context,
        plan: &[Arc<DestinationPlan>],
    ) -> Result<(), EngineError> {
        self.forget_switched_values(plan)?;
        self.forget_shown_values(context, plan)
    }

    /// By the commits themselves, whenever there is another plan than they were judged by: also of an earlier process, of a
    /// destination that is gone, and of a folder that somebody else has written to since. Everything is compared afresh then.
    fn forget_shown_values(
        &mut self,
        context: &Context,
        plan: &[Arc<DestinationPlan>],
    ) -> Result<(), EngineError> {
        if self.judged.as_deref() == Some(plan) {
            return Ok(());
        }
        if let Some(engine) = self.engine.as_mut().filter(|e| e.has_unpushed())
            && sweep::shows_values(engine, plan)?
        {
            let commits = engine.unpushed();
            warn!(branch = %context.key, commits, "dropped what was not pushed: it shows Secrets to more than is wanted now");
            engine.drop_unpushed()?;
            self.unpushed = Unpushed::default();
        }
        self.judged = Some(plan.to_vec());
        Ok(())
    }

    /// The clone at the remote's tip, once a round.
    fn refresh(
        &mut self,
        plan: &[Arc<DestinationPlan>],
        found: &mut Found,
    ) -> Result<(), EngineError> {
        let Some(engine) = self.engine.as_mut().filter(|_| !self.fresh) else {
            return Ok(());
        };
        engine.refresh()?;
        self.fresh = true;
        self.notice_moved(plan, found);
        Ok(())
    }

    /// By the policies: a destination wrote Secrets in the clear and is no longer to, or for a recipient who has left. Its folder is
    /// found moved then, and all of it compared afresh.
    fn forget_switched_values(&mut self, plan: &[Arc<DestinationPlan>]) -> Result<(), EngineError> {
        let switched = |key: &DestinationKey, old: &DestinationPlan| {
            match plan.iter().find(|d| d.key == *key) {
                Some(new) => new.hides_more_than(old),
                // Stalled, perhaps because it can't be encrypted as wanted. What is behind it is compared afresh when it is back.
                None => old.secret_policy == SecretPolicy::Plain,
            }
        };
        let claims = self.claims.len();
        self.claims.retain(|key, (old, _)| !switched(key, old));
        if let Some(engine) = self.engine.as_mut()
            && self.claims.len() < claims
            && engine.has_unpushed()
        {
            engine.drop_unpushed()?;
            self.unpushed = Unpushed::default();
        }
        Ok(())
    }

    fn note_folders(&mut self, plan: &[Arc<DestinationPlan>]) {
        let Some(engine) = &self.engine else { return };
        self.folders = plan
            .iter()
            .map(|d| (d.base_folder.clone(), engine.folder_id(&d.base_folder)))
            .collect();
    }

    /// Finds the folders that are not as they were noted; their markers are looked at again.
    fn notice_moved(&mut self, plan: &[Arc<DestinationPlan>], found: &mut Found) {
        self.forget_taken(plan);
        let before = std::mem::take(&mut self.folders);
        self.note_folders(plan);
        for destination in plan {
            let folder = &destination.base_folder;
            let claim = self.claims.get(&destination.key);
            if claim.is_some_and(|(_, held)| !held) {
                // Somebody else's, who goes on writing to it: only its marker is of interest.
                continue;
            }
            if before
                .get(folder)
                .is_some_and(|was| self.folders.get(folder) != Some(was))
            {
                self.claims.remove(&destination.key);
                let moved = Whole::Moved(Instant::now());
                self.whole.insert(folder.clone(), moved);
                found.moved.push(destination.key.clone());
            }
        }
    }

    /// Forgets what was committed to folders that somebody else took before it was pushed: it is dropped, and nothing is to be told
    /// of it.
    fn forget_taken(&mut self, plan: &[Arc<DestinationPlan>]) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        let taken = engine.take_taken();
        for destination in plan.iter().filter(|d| taken.contains(&d.base_folder)) {
            let key = &destination.key;
            warn!(destination = %key, "somebody else has claimed the folder; dropped what was not pushed to it");
            self.unpushed.commits.remove(key);
            self.unpushed.notes.retain(|(of, _), _| of != key);
            self.unpushed.listed.remove(key);
        }
    }

    /// Forgets refusals whose reason is gone: somebody took the marker away or mended it.
    fn look_again(
        &mut self,
        context: &Context,
        plan: &[Arc<DestinationPlan>],
        found: &mut Found,
    ) -> Result<(), EngineError> {
        if !self.is_refused() {
            return Ok(());
        }
        self.refresh(plan, found)?;
        for (key, (destination, held)) in &self.claims {
            let foreign = || {
                let judged = self.judge(context, destination)?;
                Ok::<_, EngineError>(matches!(judged, claim::Claim::Foreign { .. }))
            };
            if !held && !foreign()? {
                found.freed.push(key.clone());
            }
        }
        self.claims.retain(|key, _| !found.freed.contains(key));
        Ok(())
    }

    fn judge(
        &self,
        context: &Context,
        destination: &DestinationPlan,
    ) -> Result<claim::Claim, EngineError> {
        let path = claim::marker_path(&destination.base_folder);
        let marker = match &self.engine {
            Some(engine) => engine.read(&path)?,
            None => None,
        };
        Ok(claim::judge(
            marker.as_deref(),
            &context.cluster_id,
            destination,
        ))
    }

    /// As a whole or not at all: a batch that fails is worked out again on the same tip, where a
    /// sweep must not find what the batch itself wrote behind it.
    fn commit_batch(
        &mut self,
        context: &Context,
        plan: &[Arc<DestinationPlan>],
        found: &mut Found,
    ) -> Result<(), EngineError> {
        self.batch.retain(|item| batch::is_current(item, plan));
        self.claim_folders(context, plan, found)?;
        let keep = self.engine.as_ref().map_or(0, Engine::unpushed);
        let outcome = self.commit_items(context);
        if outcome.is_err()
            && let Some(engine) = &mut self.engine
        {
            engine.roll_back_to(keep);
        }
        outcome
    }

    fn commit_items(&mut self, context: &Context) -> Result<(), EngineError> {
        let (Some(engine), Some(coverage)) = (&mut self.engine, self.coverage) else {
            return Ok(());
        };
        let claims = &self.claims;
        self.batch
            .retain(|item| is_held(claims, &item.destination().key));
        let changes = batch::changes(engine, &mut self.batch, &context.store, coverage)?;
        // Before commits, as one message may not speak for two destinations' settings.
        let mut by_destination: BTreeMap<DestinationKey, Vec<Change>> = BTreeMap::new();
        for change in changes {
            by_destination
                .entry(change.destination.clone())
                .or_default()
                .push(change);
        }
        for (key, changes) in by_destination {
            let Some((destination, _)) = self.claims.get(&key) else {
                continue;
            };
            for planned in commit::plan_batch(changes, &destination.commit) {
                let CommitOutcome::Committed {
                    oid,
                    written,
                    deleted,
                    bytes,
                } = engine.commit(planned.plan)?
                else {
                    continue;
                };
                let commit = oid.to_string();
                context.metrics.commits_total.inc();
                context.metrics.objects_written_total.inc_by(written as u64);
                context.metrics.files_deleted_total.inc_by(deleted as u64);
                context.metrics.commit_bytes_total.inc_by(bytes as u64);
                info!(branch = %context.key, destination = %key, commit, written, deleted, "committed");
                self.unpushed.commits.insert(key.clone(), commit.clone());
                for summary in planned.changes {
                    log(&summary, &commit);
                    let note = CommitNote {
                        commit: commit.clone(),
                        attribution: summary.attribution,
                    };
                    let file = (key.clone(), summary.path);
                    self.unpushed.notes.insert(file, note);
                }
            }
        }
        for item in self.batch.drain(..) {
            match item {
                Item::Write(write) if self.unpushed.seen.len() < MAX_SEEN => {
                    self.unpushed.seen.push(write.seen);
                }
                Item::Write(_) | Item::Sweep(_) => {}
                Item::Listed(destination, asked) => {
                    let key = destination.key.clone();
                    self.unpushed.listed.insert(key, (destination, asked));
                }
            }
        }
        Ok(())
    }

    /// Looks at the marker of each folder that the batch writes to, and writes it where it may. A folder is judged by
    /// what the remote has now: a marker that was pushed since would be overwritten by a replay.
    fn claim_folders(
        &mut self,
        context: &Context,
        plan: &[Arc<DestinationPlan>],
        found: &mut Found,
    ) -> Result<(), EngineError> {
        let keys = self.batch_keys();
        // As the plan has it: what is in the batch of an earlier one shows no more than this one wants.
        let destinations: Vec<_> = plan.iter().filter(|d| keys.contains(&d.key)).collect();
        if !destinations.iter().all(|d| self.is_judged(d)) {
            self.refresh(plan, found)?;
        }
        for destination in destinations {
            let key = &destination.key;
            if self.is_judged(destination) {
                let held = is_held(&self.claims, key);
                self.claims.insert(key.clone(), (destination.clone(), held));
                continue;
            }
            let judged = self.judge(context, destination)?;
            let refusal = match (&judged, &mut self.engine) {
                (claim::Claim::Foreign { cluster }, _) => {
                    Some(claim::refusal(destination, cluster))
                }
                (claim::Claim::Free, Some(engine)) => {
                    engine.commit(claim::plan(
                        &context.cluster_id,
                        destination,
                        &destination.commit.bot,
                    ))?;
                    None
                }
                (claim::Claim::Free | claim::Claim::Held, _) => None,
            };
            if let Some(refusal) = &refusal {
                warn!(destination = %key, "{}", refusal.message);
            }
            self.claims
                .insert(key.clone(), (destination.clone(), refusal.is_none()));
            context.board.refusal(key, refusal);
        }
        self.configure_sops(plan)
    }

    /// Writes, rewrites or removes `.sops.yaml` where the batch writes to a folder of ours.
    fn configure_sops(&mut self, plan: &[Arc<DestinationPlan>]) -> Result<(), EngineError> {
        let keys = self.batch_keys();
        let Some(engine) = &mut self.engine else {
            return Ok(());
        };
        // As the plan has it now: items may be of an earlier one.
        for destination in plan.iter().filter(|d| keys.contains(&d.key)) {
            if !is_held(&self.claims, &destination.key) {
                continue;
            }
            let found = engine.read(&sops_config::path(&destination.base_folder))?;
            if let Some(plan) = sops_config::plan(destination, found.as_deref()) {
                engine.commit(plan)?;
            }
        }
        Ok(())
    }

    /// For whom the batch is.
    fn batch_keys(&self) -> BTreeSet<DestinationKey> {
        let destinations = self.batch.iter().map(Item::destination);
        destinations.map(|d| d.key.clone()).collect()
    }

    fn is_judged(&self, destination: &DestinationPlan) -> bool {
        self.claims
            .get(&destination.key)
            .is_some_and(|(judged, _)| claim::is_same(judged, destination))
    }

    fn push(&mut self, context: &Context, plan: &[Arc<DestinationPlan>]) -> Result<(), RoundError> {
        let Some(engine) = &mut self.engine else {
            return Ok(());
        };
        if engine.has_unpushed() {
            let timer = context.metrics.push_duration_seconds.start_timer();
            let pushed = engine.push();
            timer.observe_duration();
            let tip = engine.tip().map(|tip| tip.to_string()).unwrap_or_default();
            self.forget_taken(plan);
            let (commits, replays) = match pushed? {
                PushOutcome::Pushed { commits, replays } => (commits, replays),
                PushOutcome::UpToDate { replays } => (0, replays),
            };
            context.metrics.rebase_retries_total.inc_by(replays.into());
            info!(branch = %context.key, commits, replays, "pushed");
            let commits: Vec<_> = std::mem::take(&mut self.unpushed.commits)
                .into_iter()
                .collect();
            context.board.pushed(&context.key, &tip, &commits);
        }
        for seen in self.unpushed.seen.drain(..) {
            context
                .metrics
                .change_lag_seconds
                .observe(seen.elapsed().as_secs_f64());
        }
        for ((destination, path), note) in self.unpushed.notes.drain() {
            context.board.remember_commit(&destination, &path, note);
        }
        // Held meanwhile: who is told of a newer plan is unsettled after that.
        let latest = context.latest.borrow();
        for (key, (destination, asked)) in std::mem::take(&mut self.unpushed.listed) {
            let folder = &destination.base_folder;
            let has_moved = matches!(self.whole.get(folder), Some(Whole::Moved(at)) if asked < *at);
            // Under a newer one everything may have to be written anew; it is listed again in any case.
            if !has_moved && latest.contains(&destination) {
                context.board.settled(&key);
                self.whole.insert(folder.clone(), Whole::Complete);
            }
        }
        Ok(())
    }
}

/// Whether the destination's folder is its own.
fn is_held(claims: &Claims, destination: &DestinationKey) -> bool {
    claims.get(destination).is_some_and(|(_, held)| *held)
}

/// What was seen live, for the record of who did what; a list's thousands are for debugging.
fn log(change: &ChangeSummary, commit: &str) {
    let (tier, user) = match &change.attribution {
        Attribution::Exact(who) => ("exact", who.username.as_str()),
        Attribution::Content(who) => ("content", who.username.as_str()),
        Attribution::None(_) => ("none", ""),
    };
    let ChangeSummary {
        destination,
        identity,
        operation,
        ..
    } = change;
    match change.cause {
        Cause::Live => {
            info!(object = %identity, %destination, ?operation, tier, user, commit, "written");
        }
        cause => {
            debug!(object = %identity, %destination, ?operation, ?cause, tier, user, commit, "written");
        }
    }
}

/// The options of an engine for the branch of these destinations, of which `first` tells the URL.
pub(super) fn engine_options(
    work_dir: std::path::PathBuf,
    first: &DestinationPlan,
    all: &[Arc<DestinationPlan>],
    access: Access,
) -> EngineOptions {
    EngineOptions {
        work_dir,
        url: first.url.clone(),
        branch: first.branch.branch.clone(),
        credentials: access.credentials,
        committer: first.commit.bot.clone(),
        signer: access.signer,
        folders: all.iter().map(|d| d.base_folder.clone()).collect(),
        marker: claim::MARKER.to_owned(),
    }
}

#[cfg(test)]
#[path = "step_tests.rs"]
pub(super) mod tests;
