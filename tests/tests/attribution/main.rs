//! The attribution corpus: many users, every kind of write, and a judge who knows from the audit log who did what.
//!
//! `ATTRIBUTION_SEED` and `ATTRIBUTION_REQUESTS` replay or resize it; both are printed.

// clippy.toml allows it in test functions only, not in what they share.
#![allow(clippy::unwrap_used)]

mod acts;
mod align;
mod contention;
mod crowd;
mod faults;
mod history;
mod judge;
mod kinds;
mod life;
mod people;
mod place;
mod truth;
mod unlogged;
mod witness;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use contention::Load;
use judge::Verdict;
use place::{FOLDER, Place};
use truth::{Evidence, Truth};
use witness::Attempt;

/// Requests that are to change something, refused ones and dry runs included: some 20,000 are accepted.
const REQUESTS: usize = 24_000;
const SEED: u64 = 4;

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name}={text}"))
    })
}

/// Everybody at work, until there were as many requests as are wanted.
async fn work(place: &Place, load: Load) {
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..20_u64 {
        let namespace = place.namespace(&format!("busy-{}", number % 3)).await;
        workers.spawn(contention::worker(
            Arc::clone(&place.crowd),
            namespace,
            load,
            number,
        ));
    }
    acts::begin(place, load, &mut workers).await;
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
    acts::last(place).await;
}

async fn judge(place: &Place, live: &HashSet<String>, faulty: bool) -> (Truth, Verdict) {
    let (attempts, journal) = (place.witness.attempts(), place.crowd.journal());
    let evidence = Evidence {
        log: &place.plane.audit_log_path(),
        attempts: &attempts,
        journal: &journal,
        initial: &place.initial,
        live,
        faulty,
    };
    let truth = Truth::of(&evidence, &place.client()).await;
    let history = history::read(&place.repo);
    let mut verdict = Verdict {
        faulty,
        ..Verdict::default()
    };
    for (identity, states) in &truth.chains {
        let path = manifest::file_path(FOLDER, identity);
        let kept = history.get(&path).map_or(&[][..], Vec::as_slice);
        let wrong = verdict.wrong.len();
        verdict.compare(&path, kept, states);
        if verdict.wrong.len() > wrong {
            let about =
                |attempt: &&Attempt| attempt.file.as_ref().is_some_and(|(i, _)| i == identity);
            let calls: Vec<&Attempt> = attempts.iter().filter(about).collect();
            println!("{path}\nwas {states:#?}\nis kept as {kept:#?}\nof {calls:#?}");
        }
    }
    let known: HashSet<String> = truth
        .chains
        .keys()
        .map(|i| manifest::file_path(FOLDER, i))
        .collect();
    for path in history
        .keys()
        .filter(|path| !known.contains(*path) && !path.ends_with("/.gitops-reverser"))
    {
        verdict.invented.push(format!("{path}: no such object"));
    }
    (truth, verdict)
}

fn load(requests: usize) -> Load {
    let load = Load {
        seed: setting("ATTRIBUTION_SEED", SEED),
        requests: setting("ATTRIBUTION_REQUESTS", requests),
    };
    println!(
        "ATTRIBUTION_SEED={} ATTRIBUTION_REQUESTS={}",
        load.seed, load.requests
    );
    load
}

async fn report(place: &Place, truth: &Truth, verdict: &Verdict) {
    println!(
        "{} requests, {} accepted, {} versions written\n{}{}",
        place.crowd.journal_len(),
        truth.accepted,
        truth.versions,
        verdict.table(),
        place.counters().await
    );
    for line in truth.undecided.iter().take(10) {
        println!("undecided: {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_that_the_webhook_saw_has_its_author_and_none_is_wrong() {
    let load = load(REQUESTS);
    let place = Place::start().await;
    let start = Instant::now();
    work(&place, load).await;
    println!("worked for {:.0?}", start.elapsed());
    let live = place.settle().await;
    let (truth, verdict) = judge(&place, &live, false).await;
    report(&place, &truth, &verdict).await;
    assert_eq!(truth.undecided.len(), 0);
    let findings = verdict.findings().map(|(name, found)| (name, found.len()));
    assert!(
        findings.iter().all(|(_, found)| *found == 0),
        "{findings:?}"
    );
    place.reverser.must_run().unwrap();
    place.repo.fsck().unwrap();
}

/// Nobody may be missing for another reason than a fault, but then anybody may; and versions may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_makes_an_author_wrong_or_a_file() {
    let load = load(usize::MAX);
    let place = Place::start().await;
    tokio::join!(work(&place, load), async {
        faults::all(&place).await;
        place.crowd.finish();
    });
    let live = place.settle().await;
    let (truth, verdict) = judge(&place, &live, true).await;
    report(&place, &truth, &verdict).await;
    // That each file ends as its object was compared with what is there; the log may lack the last write.
    let Verdict {
        wrong, invented, ..
    } = &verdict;
    assert!(
        wrong.is_empty() && invented.is_empty(),
        "wrong: {wrong:#?}\ninvented: {invented:#?}"
    );
    place.reverser.must_run().unwrap();
    place.repo.fsck().unwrap();
}
