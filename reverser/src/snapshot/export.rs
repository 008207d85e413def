//! The whole way, once: list, compare, commit, push.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::block_in_place;

use super::args::SnapshotArgs;
use super::claim::{self, Standing};
use super::cluster::{Cluster, ClusterId};
use super::compare::{self, Compared, Differences, ListOnItsWay};
use super::credentials;
use super::error::SnapshotError;
use super::progress::Progress;
use super::select;
use super::written;
use crate::args::cluster_made;
use crate::discovery::{Catalog, ServedType, is_gone};
use crate::git::{Engine, EngineError, EngineOptions, RefreshOutcome};
use crate::rules::{DestinationPlan, WatchKey, open_watches};
use crate::watch::{ListError, list_once};
use crate::workers::Orphan;

/// How often a list is tried.
const LIST_ATTEMPTS: u32 = 4;

/// How often it is begun anew because somebody else changed the folder meanwhile.
const ATTEMPTS: u32 = 3;

/// What it came to.
pub(super) struct Outcome {
    /// Live objects that are written, those of types that could not be listed whole not counted.
    pub(super) objects: usize,
    pub(super) differences: Differences,
    /// Something could not be read, or not be told from what is gone.
    pub(super) incomplete: bool,
    /// The commit; `None` where nothing was to be written.
    pub(super) commit: Option<String>,
}

/// What a run works with.
struct Run<'a> {
    args: &'a SnapshotArgs,
    cluster: Cluster,
    id: ClusterId,
    catalog: Catalog,
    destination: Arc<DestinationPlan>,
    progress: &'a mut Progress,
    /// To be said once it is clear that anything is done.
    notes: Vec<String>,
}

/// What is known once everything was listed.
#[derive(Default)]
struct Findings {
    objects: usize,
    differences: Differences,
    incomplete: bool,
}

/// Exports once, or compares.
pub(super) async fn export(
    args: &SnapshotArgs,
    clone: &Path,
    progress: &mut Progress,
) -> Result<Outcome, SnapshotError> {
    let destination = select::destination(args)?;
    let credentials = credentials::read(
        args.credentials_dir.as_deref(),
        |name| std::env::var(name).ok(),
        &destination.url,
    )?;
    progress.doing("reading what the cluster serves".to_owned());
    let cluster = Cluster::connect(args).await?;
    let catalog = cluster.discover().await?;
    let id = cluster.id().await?;
    cluster.check_namespaces(&args.namespace).await?;
    let destination = Arc::new(select::select(destination, args, &catalog)?);
    let mut notes: Vec<String> = select::note_on_secrets(args, &destination)
        .map(ToOwned::to_owned)
        .into_iter()
        .collect();
    progress.doing(format!("fetching {}", destination.url));
    let options = EngineOptions {
        work_dir: clone.to_owned(),
        url: destination.url.clone(),
        branch: args.branch.clone(),
        credentials,
        committer: destination.commit.bot.clone(),
        signer: None,
        folders: vec![destination.base_folder.clone()],
        // Whoever changes the folder meanwhile, marker and all, has it begun anew.
        marker: String::new(),
    };
    let mut engine = block_in_place(|| open(options))?;
    if engine.remote_tip().is_none() {
        if args.diff {
            return Err(SnapshotError::NoBranch(args.branch.clone()));
        }
        notes.push(format!("note: branch '{}' is new", args.branch));
    }
    let mut run = Run {
        args,
        cluster,
        id,
        catalog,
        destination,
        progress,
        notes,
    };
    for _ in 0..ATTEMPTS {
        if let Some(outcome) = run.attempt(&mut engine).await? {
            return Ok(outcome);
        }
        run.progress
            .say("note: others changed the folder meanwhile; beginning anew");
    }
    Err(SnapshotError::Moved(run.destination.base_folder.clone()))
}

/// At the remote's tip: what an earlier run committed and could not push is no longer what the cluster is like.
fn open(options: EngineOptions) -> Result<Engine, EngineError> {
    let mut engine = Engine::open(options)?;
    if engine.has_unpushed() {
        engine.drop_unpushed()?;
    }
    Ok(engine)
}

impl Run<'_> {
    /// `None` where somebody else changed the folder meanwhile.
    async fn attempt(&mut self, engine: &mut Engine) -> Result<Option<Outcome>, SnapshotError> {
        let standing = claim::look(engine, &self.destination, &self.id, self.args.diff)?;
        for note in std::mem::take(&mut self.notes) {
            self.progress.say(&note);
        }
        if standing == Standing::Unknown {
            self.progress.say(
                "note: whose folder it is can't be told, as this user may not get namespace kube-system",
            );
        }
        let before = engine.folder_id(&self.destination.base_folder);
        if self.args.diff && before.is_none() {
            let folder = &self.destination.base_folder;
            self.progress
                .say(&format!("note: there is no folder '{folder}'"));
        }
        let Findings {
            objects,
            differences,
            incomplete,
        } = self.compare(engine).await?;
        let mut outcome = Outcome {
            objects,
            differences,
            incomplete,
            commit: None,
        };
        let as_it_is = outcome.differences.is_empty() && standing == Standing::Ours;
        if self.args.diff || as_it_is {
            return Ok(Some(outcome));
        }
        let ClusterId::Known(id) = &self.id else {
            return Ok(Some(outcome));
        };
        let text = written::message(
            self.args.message.as_deref(),
            self.cluster.name.as_deref().unwrap_or(id),
            &outcome,
            standing == Standing::Free,
        );
        let folder = &self.destination.base_folder;
        self.progress
            .doing(format!("pushing to {}", self.args.branch));
        block_in_place(|| -> Result<_, SnapshotError> {
            if standing != Standing::Ours {
                written::claim(engine, &self.destination, id, &mut outcome.differences)?;
            }
            written::commit(engine, &self.destination, text, &outcome.differences)?;
            let moved = matches!(engine.refresh()?, RefreshOutcome::Moved { .. });
            if moved && engine.remote_folder_id(folder) != before {
                engine.drop_unpushed()?;
                return Ok(None);
            }
            engine.push()?;
            outcome
                .differences
                .remove(&crate::workers::marker_path(folder));
            outcome.commit = engine.tip().map(|tip| tip.to_string());
            Ok(Some(outcome))
        })
    }

    async fn compare(&mut self, engine: &mut Engine) -> Result<Findings, SnapshotError> {
        let mut findings = Findings::default();
        let destinations =
            BTreeMap::from([(self.destination.key.clone(), self.destination.clone())]);
        let lists = open_watches(&destinations);
        let all = lists.len();
        for (number, (key, subscriptions)) in lists.iter().enumerate() {
            self.progress.doing(format!("[{}/{all}] {key}", number + 1));
            let served = &key.served;
            // Not even read.
            let compared = if self.destination.omits(&served.group, &served.resource) {
                Some(Compared::nothing_live())
            } else {
                self.list(engine, key, &mut findings).await?
            };
            let Some(compared) = compared else { continue };
            findings.objects += compared.live.len();
            findings.differences.extend(compared.differences);
            for (path, why) in &compared.unreadable {
                findings.incomplete = true;
                self.progress
                    .say(&format!("error: {path} can't be written: {why}"));
            }
            if compared.nameless > 0 {
                findings.incomplete = true;
                self.progress.say(&format!(
                    "error: {} objects of {key} have no name; its files stay as they are",
                    compared.nameless
                ));
                continue;
            }
            // Ours, as there is one destination only.
            let Some(subscription) = subscriptions.first() else {
                continue;
            };
            let orphans = compare::gone(engine, subscription, key, compared.live)?;
            compare::delete(engine, orphans, &mut findings.differences)?;
        }
        if !self.args.keep_unselected {
            self.sweep_unselected(engine, &mut findings).await?;
        }
        Ok(findings)
    }

    /// `None` where it can't be listed whole, which was said.
    async fn list(
        &mut self,
        engine: &mut Engine,
        key: &WatchKey,
        findings: &mut Findings,
    ) -> Result<Option<Compared>, SnapshotError> {
        let cluster_made = cluster_made(self.args.write_cluster_made);
        let mut streamed = true;
        let mut attempt = 1;
        loop {
            let mut list = ListOnItsWay::new(engine, &self.destination, self.args.diff);
            let client = self.cluster.client.clone();
            let listed = list_once(client, key, cluster_made, streamed, |listed| {
                self.progress.object();
                list.take(listed);
            });
            match listed.await {
                Ok(()) => return Ok(Some(list.finish()?)),
                // A stream is a watch, which somebody who may list need not be allowed.
                Err(ListError::Unfinished | ListError::Forbidden(_)) if streamed => {
                    streamed = false;
                }
                Err(ListError::Forbidden(why)) if self.args.skip_forbidden => {
                    self.progress
                        .say(&format!("note: {key} is left as it is in Git: {why}"));
                    return Ok(None);
                }
                Err(error @ (ListError::Unavailable(_) | ListError::Expired(_)))
                    if attempt < LIST_ATTEMPTS =>
                {
                    self.progress
                        .say(&format!("note: listing {key} again: {error}"));
                    tokio::time::sleep(Duration::from_millis(500) * 2_u32.pow(attempt - 1)).await;
                    attempt += 1;
                }
                Err(error) => {
                    findings.incomplete = true;
                    self.progress.say(&format!(
                        "error: {key} can't be listed, its files stay as they are: {error}"
                    ));
                    return Ok(None);
                }
            }
        }
    }

    /// Files of types and namespaces that are not selected. What is not served may be an API that is away: only a type that
    /// the apiserver does not know goes.
    async fn sweep_unselected(
        &mut self,
        engine: &mut Engine,
        findings: &mut Findings,
    ) -> Result<(), SnapshotError> {
        if !self.destination.resolved {
            findings.incomplete = true;
            let stale: BTreeSet<&str> = self.catalog.stale_groups().collect();
            self.progress.say(&format!(
                "error: API groups are not available now ({}); files of types that are not selected stay as they are",
                Vec::from_iter(stale).join(", ")
            ));
            return Ok(());
        }
        let mut orphans = compare::unselected(engine, &self.destination)?;
        for served in self.not_served(&orphans) {
            if is_gone(&self.cluster.client, &served).await {
                continue;
            }
            findings.incomplete = true;
            self.progress.say(&format!(
                "error: {served} is not served now, and may come back; its files stay as they are"
            ));
            orphans.retain(|orphan| of_path(orphan) != served);
        }
        compare::delete(engine, orphans, &mut findings.differences)?;
        Ok(())
    }

    /// The types of these files, as far as the cluster serves them at no version.
    fn not_served(&self, orphans: &[Orphan]) -> BTreeSet<ServedType> {
        let unknown = |served: &ServedType| {
            let versions = self.catalog.versions(&served.group, &served.resource);
            versions.is_empty()
        };
        orphans.iter().map(of_path).filter(unknown).collect()
    }
}

/// As far as a path tells. It is percent-encoded, as a path of the API is.
fn of_path(orphan: &Orphan) -> ServedType {
    let [group, version, resource] = orphan.type_segments().map(ToOwned::to_owned);
    ServedType {
        group,
        version,
        resource,
        kind: String::new(),
        namespaced: false,
        replicas: None,
    }
}
