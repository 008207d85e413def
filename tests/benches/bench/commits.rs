//! What a commit of one file costs in a small tree and in a large one, by the engine itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use reverser::commit::{CommitPlan, PathChange, Signature};
use reverser::git::{Credentials, Engine, EngineOptions, PushOutcome, RepoUrl};
use tests::git::{GitServer, HttpOptions};
use tests::process::{Usage, own_usage, temp_dir};

use crate::lab::payload;

/// Commits that are measured, each of one file.
const COMMITS: usize = 200;

/// Bytes of a file.
const BYTES: usize = 1024;

/// Files of one commit while the tree is filled.
const FILL: usize = 10_000;

/// So many files in so many folders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) files: usize,
    pub(crate) folders: usize,
}

/// For each commit, on average.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Made, in memory.
    pub(crate) made: Duration,
    /// Made, and saved to the clone, all of them at once.
    pub(crate) saved: Duration,
    /// Processor time for that, which others on the machine change less than the clock.
    pub(crate) saved_cpu: Duration,
    /// Made, saved and pushed, all of them with one push.
    pub(crate) pushed: Duration,
    /// Processor time of this process for it, which holds the HTTPS server but not the git behind it.
    pub(crate) cpu: Duration,
    /// Processor time of that git: what a server takes for the same push, whoever makes it.
    pub(crate) server_cpu: Duration,
    /// Saved and pushed one by one, a push for each of some.
    pub(crate) one_by_one: Duration,
}

/// The shapes that are measured.
pub(crate) const SHAPES: [Shape; 3] = [
    Shape {
        files: 500,
        folders: 10,
    },
    Shape {
        files: 50_000,
        folders: 500,
    },
    Shape {
        files: 50_000,
        folders: 10,
    },
];

/// Fills a repository, then commits and pushes.
pub(crate) fn measure(shape: Shape) -> Result<Cost> {
    let server = GitServer::https(HttpOptions::default())?;
    let repo = server.create_repo("commits");
    let directory = temp_dir("commits")?;
    let secret = BTreeMap::from([("ca.crt".to_owned(), server.ca_pem().as_bytes().to_vec())]);
    let url = RepoUrl::parse(repo.url())?;
    let options = EngineOptions {
        signer: None,
        work_dir: directory.path().join("clone"),
        credentials: Credentials::from_secret(&url, &secret)?,
        url,
        branch: "main".to_owned(),
        committer: person("bot"),
        folders: Vec::new(),
        marker: String::new(),
    };
    let mut engine = Engine::open(options.clone())?;
    let numbers: Vec<usize> = (0..shape.files).collect();
    for numbers in numbers.chunks(FILL) {
        let changes = numbers.iter().map(|n| change(shape, *n, *n)).collect();
        engine.commit(plan("filler", changes))?;
        push(&mut engine)?;
    }
    drop(engine);
    std::fs::remove_dir_all(&options.work_dir).context("throw the clone away")?;

    let mut engine = Engine::open(options)?;
    let one = |engine: &mut Engine, turn: usize| {
        // All over the tree.
        let number = turn * 7919 % shape.files;
        engine.commit(plan(
            "writer",
            vec![change(shape, number, number + turn + 1)],
        ))
    };
    one(&mut engine, 0)?;
    push(&mut engine)?;
    let (start, before, own_before) = (Instant::now(), usage(), thread_cpu()?);
    for turn in 1..=COMMITS {
        one(&mut engine, turn)?;
    }
    let made = start.elapsed();
    engine.persist()?;
    let saved = start.elapsed();
    let saved_cpu = thread_cpu()?.saturating_sub(own_before);
    push(&mut engine)?;
    let pushed = start.elapsed();
    let mut after = usage();
    // The server waits for its git a moment longer than the client does.
    std::thread::sleep(Duration::from_millis(200));
    after.ended_children_cpu = usage().ended_children_cpu;
    let start = Instant::now();
    for turn in 1..=COMMITS / 10 {
        one(&mut engine, COMMITS + turn)?;
        push(&mut engine)?;
    }
    let one_by_one = start.elapsed();
    repo.fsck()?;
    if repo.files().len() != shape.files {
        bail!("{} files instead of {}", repo.files().len(), shape.files);
    }
    let count = u32::try_from(COMMITS)?;
    Ok(Cost {
        made: made / count,
        saved: saved / count,
        saved_cpu: saved_cpu / count,
        pushed: pushed / count,
        cpu: after.cpu.saturating_sub(before.cpu) / count,
        server_cpu: after
            .ended_children_cpu
            .saturating_sub(before.ended_children_cpu)
            / count,
        one_by_one: one_by_one * 10 / count,
    })
}

fn push(engine: &mut Engine) -> Result<()> {
    match engine.push()? {
        PushOutcome::Pushed { .. } => Ok(()),
        PushOutcome::UpToDate { .. } => bail!("there was nothing to push"),
    }
}

fn change(shape: Shape, number: usize, content: usize) -> PathChange {
    let folder = number % shape.folders;
    PathChange {
        path: format!("clusters/bench/v1/configmaps/team-{folder:03}/app-{number:06}.yaml"),
        content: Some(Bytes::from(payload(content, BYTES))),
    }
}

fn plan(author: &str, changes: Vec<PathChange>) -> CommitPlan {
    CommitPlan {
        author: person(author),
        message: format!(
            "Change {} files\n\nKubernetes-User: {author}\n",
            changes.len()
        ),
        changes,
    }
}

fn person(name: &str) -> Signature {
    Signature {
        name: name.to_owned(),
        email: format!("{name}@example.com"),
    }
}

fn usage() -> Usage {
    own_usage().unwrap_or_default()
}

/// Of this thread, to the nanosecond (Linux, Documentation/scheduler/sched-stats).
fn thread_cpu() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().unwrap_or_default();
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
