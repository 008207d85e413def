//! From a write's answer to its pushed commit.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tests::git::Repo;
use tests::process::Usage;
use tests::reverser::Reverser;
use tokio::time::MissedTickBehavior;

use crate::args::Args;
use crate::history::History;
use crate::lab::{Lab, PATIENCE, config_map, payload};
use crate::seed::usage;
use crate::tips::{Tip, Tips};

/// The key of a ConfigMap that tells which write it was.
const KEY: &str = "write";

/// What came of so many writes.
pub(crate) struct Outcome {
    pub(crate) writes: usize,
    /// Writes a second, over all of them.
    pub(crate) rate: f64,
    /// From each call to its answer, sorted.
    pub(crate) answers: Vec<Duration>,
    /// From each answer to the push, sorted; for a version that its author overwrote in the same batch, to the push of the one that did.
    pub(crate) lags: Vec<Duration>,
    /// Versions that their author overwrote within one batch.
    pub(crate) overwritten: usize,
    pub(crate) commits: usize,
    pub(crate) pushes: usize,
    /// Files in the folder that is written to.
    pub(crate) files: usize,
    pub(crate) before: (Usage, Usage),
    pub(crate) done: (Usage, Usage),
    /// What is wrong in Git; empty if nothing is.
    pub(crate) faults: Vec<String>,
}

/// One write that the apiserver took.
struct Write {
    object: String,
    user: String,
    /// Numbers an object's writes; the first creates it.
    number: usize,
    /// One sequence over all objects: what etcd numbered it.
    version: u64,
    took: Duration,
    answered: Instant,
}

/// Users write to ConfigMaps of their own; the branch is watched. `name` is that of a destination that is up to date.
pub(crate) async fn measure(
    args: &Args,
    lab: &Lab<'_>,
    reverser: &Reverser,
    name: &str,
    repo: &Repo,
) -> Result<Outcome> {
    let users: Vec<String> = (0..args.users)
        .map(|n| format!("{name}-user-{n}"))
        .collect();
    let tips = Tips::of(repo);
    let created = try_join_all(users.iter().map(|user| create(args, lab, user))).await?;
    let created: Vec<Write> = created.into_iter().flatten().collect();
    complete(repo, &tips, reverser, &created).await?;

    reverser.reset_peaks();
    let before = usage(reverser);
    let commits_before = History::read(repo)?.commits.len();
    let pushes_before = tips.seen().len();
    let start = Instant::now();
    let written = try_join_all(
        users
            .iter()
            .enumerate()
            .map(|(at, user)| write(args, lab, user, at)),
    )
    .await?;
    let took = start.elapsed();
    let written: Vec<Write> = written.into_iter().flatten().collect();
    let history = complete(repo, &tips, reverser, &written).await?;
    let done = usage(reverser);
    repo.fsck()?;

    let tips = tips.seen();
    let mut outcome = Outcome {
        writes: written.len(),
        rate: written.len() as f64 / took.as_secs_f64(),
        answers: written.iter().map(|write| write.took).collect(),
        lags: Vec::new(),
        overwritten: 0,
        commits: history.commits.len() - commits_before,
        pushes: tips.len() - pushes_before,
        files: history.files().len(),
        before,
        done,
        faults: Vec::new(),
    };
    judge(&history, &tips, &written, &mut outcome)?;
    outcome.answers.sort_unstable();
    outcome.lags.sort_unstable();
    Ok(outcome)
}

async fn create(args: &Args, lab: &Lab<'_>, user: &str) -> Result<Vec<Write>> {
    let client = lab.user(user);
    let mut writes = Vec::new();
    for number in 0..args.objects_per_user {
        let object = format!("{user}-{number}");
        let mut map = config_map(&object, &payload(number as usize, args.object_bytes))?;
        map.data
            .get_or_insert_default()
            .insert(KEY.to_owned(), "0".to_owned());
        let asked = Instant::now();
        let maps = lab.maps_for(&client, &object);
        let created = maps.create(&PostParams::default(), &map).await?;
        writes.push(Write::new(&created, object, user, 0, asked)?);
    }
    Ok(writes)
}

/// One user's share of the load, evenly spaced; late calls are caught up with.
async fn write(args: &Args, lab: &Lab<'_>, user: &str, at: usize) -> Result<Vec<Write>> {
    let client = lab.user(user);
    let every = Duration::from_secs(1) * args.users / args.rate;
    // Not all of them at the same moment.
    tokio::time::sleep(every.mul_f64(at as f64 / f64::from(args.users))).await;
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let total = args.rate * args.seconds / args.users;
    let mut writes = Vec::new();
    for turn in 0..total {
        ticks.tick().await;
        let object = format!("{user}-{}", turn % args.objects_per_user);
        let number = (turn / args.objects_per_user + 1) as usize;
        let patch = Patch::Merge(json!({"data": {KEY: number.to_string()}}));
        let asked = Instant::now();
        let patched = lab
            .maps_for(&client, &object)
            .patch(&object, &PatchParams::default(), &patch)
            .await
            .with_context(|| format!("patch {object}"))?;
        writes.push(Write::new(&patched, object, user, number, asked)?);
    }
    Ok(writes)
}

// === impl Write ===

impl Write {
    fn new(
        answer: &ConfigMap,
        object: String,
        user: &str,
        number: usize,
        asked: Instant,
    ) -> Result<Self> {
        let answered = Instant::now();
        let version = answer.metadata.resource_version.as_deref();
        Ok(Self {
            object,
            user: user.to_owned(),
            number,
            version: version
                .unwrap_or_default()
                .parse()
                .context("a resourceVersion that is no number")?,
            took: answered - asked,
            answered,
        })
    }
}

/// Waits until Git holds the last write to each object.
async fn complete(
    repo: &Repo,
    tips: &Tips,
    reverser: &Reverser,
    writes: &[Write],
) -> Result<History> {
    let start = Instant::now();
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for write in writes {
        last.insert(&write.object, write.number);
    }
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        tips.settled(Duration::from_secs(3)).await;
        let history = History::read(repo)?;
        let files = history.files();
        let mut held: HashMap<&str, usize> = HashMap::new();
        for (path, content) in &files {
            held.extend(object_of(path).zip(number_in(content)));
        }
        let missing = last
            .iter()
            .filter(|(object, number)| held.get(*object) != Some(number))
            .count();
        if missing == 0 {
            return Ok(history);
        }
        reverser.must_run()?;
        if start.elapsed() > PATIENCE {
            bail!("Git has not the last version of {missing} objects after {PATIENCE:?}");
        }
    }
}

fn object_of(path: &str) -> Option<&str> {
    path.rsplit('/').next()?.strip_suffix(".yaml")
}

fn number_in(manifest: &[u8]) -> Option<usize> {
    let object: serde_json::Value = serde_yaml::from_slice(manifest).ok()?;
    object["data"][KEY].as_str()?.parse().ok()
}

/// Where Git has a version.
struct Place<'a> {
    author: &'a str,
    /// Which push brought it.
    push: usize,
}

/// Each version is there, once, in its order, by its author, or was overwritten within one batch.
fn judge(history: &History, tips: &[Tip], writes: &[Write], outcome: &mut Outcome) -> Result<()> {
    let places = places(history, tips, &mut outcome.faults)?;
    let mut by_object: BTreeMap<&str, Vec<&Write>> = BTreeMap::new();
    for write in writes {
        by_object.entry(&write.object).or_default().push(write);
    }
    // The newest version that had been pushed by each push. A watch tells changes in their order and a queue keeps it, so
    // what is older was in that batch or in one before it.
    let mut newest_by_push = vec![0; tips.len()];
    for write in writes {
        if let Some(place) = places.get(&(write.object.as_str(), write.number)) {
            let newest = &mut newest_by_push[place.push];
            *newest = write.version.max(*newest);
        }
    }
    for (at, newest) in (1..).zip(newest_by_push.clone()) {
        if let Some(later) = newest_by_push.get_mut(at) {
            *later = newest.max(*later);
        }
    }
    for (object, writes) in by_object {
        // From the last to the first: what a missing one was overwritten by is known then.
        let mut next: Option<usize> = None;
        for write in writes.iter().rev() {
            if let Some(place) = places.get(&(object, write.number)) {
                if place.author != write.user {
                    outcome.faults.push(format!(
                        "version {} of {object} is by {} and not by {}",
                        write.number, place.author, write.user
                    ));
                }
                next = Some(place.push);
            } else {
                outcome.overwritten += 1;
                // Something newer was in a batch before the one that has what overwrote it.
                let earlier = next.and_then(|push| push.checked_sub(1));
                if earlier.is_some_and(|push| newest_by_push[push] > write.version) {
                    outcome.faults.push(format!(
                        "version {} of {object} is missing, and no other of its batch took its place",
                        write.number
                    ));
                }
            }
            let Some(push) = next else {
                outcome
                    .faults
                    .push(format!("the last version of {object} is missing"));
                continue;
            };
            outcome
                .lags
                .push(tips[push].at.saturating_duration_since(write.answered));
        }
    }
    Ok(())
}

fn places<'a>(
    history: &'a History,
    tips: &[Tip],
    faults: &mut Vec<String>,
) -> Result<HashMap<(&'a str, usize), Place<'a>>> {
    let positions = tips
        .iter()
        .map(|tip| history.position(&tip.commit))
        .collect::<Option<Vec<usize>>>()
        .context("something was pushed that is not in the branch any more")?;
    let mut places: HashMap<(&str, usize), Place<'_>> = HashMap::new();
    let mut newest: HashMap<&str, usize> = HashMap::new();
    for (position, commit) in (1..).zip(&history.commits) {
        // What was there before the branch was watched is nobody's here.
        let push = positions.partition_point(|at| *at < position);
        for (path, content) in &commit.files {
            let number = content.as_deref().and_then(number_in);
            let Some((object, number)) = object_of(path).zip(number) else {
                continue;
            };
            let before = newest.insert(object, number);
            if before.is_some_and(|before| before >= number) {
                faults.push(format!(
                    "version {number} of {object} came after {before:?}"
                ));
            }
            let place = Place {
                author: &commit.author,
                push,
            };
            places.insert((object, number), place);
        }
    }
    Ok(places)
}
