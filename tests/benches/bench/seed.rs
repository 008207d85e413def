//! From a rule to the pushed commit that holds every object.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use k8s_openapi::jiff::Timestamp;
use tests::process::Usage;
use tests::reverser::Reverser;
use tokio::time::Instant;

use crate::args::Args;
use crate::history::History;
use crate::lab::{Lab, PATIENCE, payload, seeded_name};
use crate::limit::{self, Limit};
use crate::tips::{Tip, Tips};

/// Processes that do nothing are looked at after so long.
const REST: Duration = Duration::from_secs(3);

/// One seed.
pub(crate) struct Round {
    /// From the answer to the rule.
    pub(crate) from_rule: Duration,
    /// From the first list request to the last, both seen by the apiserver's audit log.
    pub(crate) list: Duration,
    /// From the first list request.
    pub(crate) from_list: Duration,
    pub(crate) commits: usize,
    pub(crate) pushes: usize,
    pub(crate) limit: Limit,
    pub(crate) reverser: Phases,
    pub(crate) webhook: Phases,
}

/// What a process had taken before, at the end of, and some seconds after the seed; its peak began anew with the seed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Phases {
    pub(crate) idle: Usage,
    pub(crate) done: Usage,
    pub(crate) after: Usage,
}

/// Seeds a new destination by processes that have just started. The objects are there, and older than anybody remembers.
///
/// The destination is left in place.
pub(crate) async fn round(
    args: &Args,
    lab: &Lab<'_>,
    reverser: &Reverser,
    name: &str,
) -> Result<Round> {
    reverser.restart_reverser().await?;
    reverser.restart_webhook().await?;
    tokio::time::sleep(REST).await;
    let idle = usage(reverser);
    let repo = lab.destination(name).await?;
    reverser.reset_peaks();

    let tips = Tips::of(&repo);
    let wall = SystemTime::now();
    lab.rule(name).await?;
    let applied = std::time::Instant::now();
    lab.rule_ready(name).await?;
    let end = Instant::now() + PATIENCE;
    let (history, complete) = loop {
        tips.settled(Duration::from_millis(500)).await;
        let seen = tips.seen();
        let history = History::read(&repo)?;
        if let Some(complete) = first_complete(args, lab, &history, &seen)? {
            break (history, complete);
        }
        reverser.must_run()?;
        if Instant::now() > end {
            let files = history.files().len();
            bail!("{files} files and not every object are in Git after {PATIENCE:?}");
        }
    };
    let done = usage(reverser);
    check(args, lab, &history)?;
    repo.fsck()?;
    tokio::time::sleep(REST).await;
    let after = usage(reverser);

    let (first, last) = lists(lab, wall, complete.wall)?;
    let files = history.files();
    let limit = limit::measure(lab, name, &files).await?;
    let phases = |of: fn(&Usages) -> Usage| Phases {
        idle: of(&idle),
        done: of(&done),
        after: of(&after),
    };
    Ok(Round {
        from_rule: complete.at.saturating_duration_since(applied),
        list: between(first, last),
        from_list: between(first, Timestamp::try_from(complete.wall)?),
        commits: history.commits.len(),
        pushes: tips.seen().len(),
        limit,
        reverser: phases(|both| both.0),
        webhook: phases(|both| both.1),
    })
}

type Usages = (Usage, Usage);

/// Zeros where the system does not tell.
pub(crate) fn usage(reverser: &Reverser) -> Usages {
    (
        reverser.reverser_usage().unwrap_or_default(),
        reverser.webhook_usage().unwrap_or_default(),
    )
}

/// The first tip that holds the file of every object.
fn first_complete(
    args: &Args,
    lab: &Lab<'_>,
    history: &History,
    tips: &[Tip],
) -> Result<Option<Tip>> {
    let paths: Vec<String> = (0..args.objects)
        .map(|n| lab.path(&seeded_name(n)))
        .collect();
    for tip in tips {
        let position = history
            .position(&tip.commit)
            .with_context(|| format!("{} was pushed and is not in the branch", tip.commit))?;
        let files = history.files_after(position);
        if paths.iter().all(|path| files.contains_key(path.as_str())) {
            return Ok(Some(tip.clone()));
        }
    }
    Ok(None)
}

/// Each file says what its object says, and there is no other.
fn check(args: &Args, lab: &Lab<'_>, history: &History) -> Result<()> {
    let files = history.files();
    for number in 0..args.objects {
        let path = lab.path(&seeded_name(number));
        let object: serde_json::Value =
            serde_yaml::from_slice(files[path.as_str()]).with_context(|| format!("read {path}"))?;
        let data = object["data"]["app.properties"].as_str();
        if data != Some(&payload(number, args.object_bytes)) {
            bail!("{path} does not say what its object says: {object}");
        }
    }
    let manifests = files.keys().filter(|path| lab.holds(path)).count();
    if manifests != args.objects {
        bail!("there are {manifests} files for {} objects", args.objects);
    }
    Ok(())
}

/// When the first list of ConfigMaps, or page of one, was asked for between the two moments, and when the last was answered.
fn lists(lab: &Lab<'_>, from: SystemTime, to: SystemTime) -> Result<(Timestamp, Timestamp)> {
    let (from, to) = (Timestamp::try_from(from)?, Timestamp::try_from(to)?);
    let mut lists = Vec::new();
    for event in lab.plane.audit_log() {
        let of_ours = event.object_ref.as_ref().is_some_and(|object| {
            object.resource == "configmaps" && object.namespace == lab.scope()
        });
        // A streaming list is ended by whoever has read it.
        let is_list = event.verb == "list" || event.request_uri.contains("sendInitialEvents=true");
        if !is_list || !of_ours || event.stage != "ResponseComplete" {
            continue;
        }
        let asked: Timestamp = event.request_received_timestamp.parse()?;
        if asked >= from && asked <= to {
            lists.push((asked, event.stage_timestamp.parse::<Timestamp>()?));
        }
    }
    let first = lists.iter().map(|list| list.0).min();
    let last = lists.iter().map(|list| list.1).max();
    first
        .zip(last)
        .context("the audit log knows of no list of the ConfigMaps")
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
