//! Months in a minute, or in as long as one likes: steady churn on several types, and a kill every few seconds.
//!
//! `SOAK_SECONDS` says for how long (45 by default; `make soak` takes half an hour). A quarter of the time goes to warming up, in which
//! the reverser is killed as well; from then on it has to stay as it is, while its sidecar and the apiserver are killed, its watches
//! break and etcd is compacted.

use std::fmt;
use std::time::{Duration, Instant};

use reverser::api::WatchRule;
use serde_json::json;
use tests::control_plane::Gateway;
use tests::process::Usage;
use tests::reverser::Reverser;

use super::through_a_gateway;
use crate::crowd::{Crowd, Sort, custom, maps, quotas};
use crate::lab::Lab;
use crate::truth::{git_equals_the_cluster, no_live_object_was_deleted, nobody_is_wronged};
use crate::types;

const GROUP: &str = "soaked.example.com";
const SAMPLE: Duration = Duration::from_millis(500);
/// What comes and goes with a push, a list or a connection that is being opened.
const HANDLES: f64 = 12.0;
/// What an allocator keeps of what comes and goes.
const SLACK_KIB: f64 = 8192.0;

fn gadgets() -> Sort {
    custom(GROUP, "v1", "gadgets", "Gadget")
}

fn seconds() -> u64 {
    let given = std::env::var("SOAK_SECONDS").ok();
    given.map_or(45, |text| {
        text.parse().expect("SOAK_SECONDS is a number of seconds")
    })
}

/// What is done to the processes, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Reverser,
    Sidecar,
    Apiserver,
    Watches,
    Compaction,
}

impl Fault {
    /// The `count`th one. The reverser itself is left alone once it is warm.
    fn choose(count: usize, warm: bool) -> Self {
        let all = [
            Self::Reverser,
            Self::Sidecar,
            Self::Watches,
            Self::Compaction,
            Self::Apiserver,
        ];
        match all[count % all.len()] {
            Self::Reverser if warm => Self::Watches,
            fault => fault,
        }
    }

    async fn strike(self, lab: &Lab<'_>, reverser: &Reverser, gateway: &Gateway) {
        match self {
            Self::Reverser => {
                reverser.kill9_reverser();
                lab.repo.remove_stale_locks();
                reverser.restart_reverser().await.unwrap();
            }
            Self::Sidecar => reverser.restart_webhook().await.unwrap(),
            Self::Apiserver => lab.plane.restart_apiserver().await.unwrap(),
            Self::Watches => gateway.cut(),
            Self::Compaction => lab.plane.compact_etcd().await.unwrap(),
        }
    }
}

/// What the reverser held at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    anonymous_kib: f64,
    descriptors: f64,
    threads: f64,
    tasks: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} KiB, {} descriptors, {} threads, {} tasks",
            self.anonymous_kib, self.descriptors, self.threads, self.tasks
        )
    }
}

impl Sample {
    async fn take(reverser: &Reverser) -> Self {
        let usage: Usage = reverser.reverser_usage().unwrap();
        let metrics = reverser.reverser_metrics().await;
        Self {
            anonymous_kib: usage.anonymous_kib as f64,
            descriptors: usage.descriptors as f64,
            threads: usage.threads as f64,
            tasks: metrics.get("gitopsreverser_tasks").unwrap(),
        }
    }

    /// Each figure's own median: what a moment took is not counted.
    fn median(samples: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<f64> = samples.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Self {
            anonymous_kib: of(|s| s.anonymous_kib),
            descriptors: of(|s| s.descriptors),
            threads: of(|s| s.threads),
            tasks: of(|s| s.tasks),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn churn_with_kills_loses_nothing_wrongs_nobody_and_leaves_memory_descriptors_and_threads_flat()
 {
    let whole = Duration::from_secs(seconds());
    let pause = (whole / 10).clamp(Duration::from_secs(3), Duration::from_secs(30));
    let (plane, gateway, reverser) = through_a_gateway(&[]).await;
    let lab = Lab::on(&plane, "soak").await;
    types::define(&lab.client, GROUP, "Gadget").await;
    let lab = lab.watching(&["configmaps", "resourcequotas"]).await;
    let rules = json!([{"apiGroups": [GROUP], "resources": ["gadgets"]}]);
    lab.rule("gadgets", rules).await;
    lab.ready::<WatchRule>("gadgets").await;
    let sorts = [maps(), quotas(), gadgets()];
    let crowd = Crowd::start(&lab, &sorts, 9);

    let started = Instant::now();
    let mut quarters: [Vec<Sample>; 4] = Default::default();
    let mut faults = Vec::new();
    let mut next = pause;
    while started.elapsed() < whole {
        let quarter = started.elapsed().as_millis() * 4 / whole.as_millis();
        let quarter = usize::try_from(quarter).unwrap().min(3);
        if started.elapsed() >= next {
            let fault = Fault::choose(faults.len(), quarter > 0);
            fault.strike(&lab, &reverser, &gateway).await;
            faults.push(fault);
            next = started.elapsed() + pause;
            let now = Sample::take(&reverser).await;
            eprintln!("soak: {:>5.0?} {fault:?}: {now}", started.elapsed());
        }
        reverser.must_run().unwrap();
        quarters[quarter].push(Sample::take(&reverser).await);
        tokio::time::sleep(SAMPLE).await;
    }
    let acts = crowd.stop().await;
    git_equals_the_cluster(&lab, &sorts).await;
    reverser.must_run().unwrap();
    no_live_object_was_deleted(&lab, &acts);
    let named = nobody_is_wronged(&lab);
    let commits = lab.commits();
    let nameless = commits
        .iter()
        .filter(|c| c.trailer("Attribution") == Some("none"));
    eprintln!(
        "soak: {whole:?}, {} faults; {} writes, {} failed; {} commits, {named} with a name of the crowd, {} without",
        faults.len(),
        acts.writes,
        acts.failures,
        commits.len(),
        nameless.count(),
    );
    assert!(named > 0, "nobody was named");
    let [_, second, _, fourth] = quarters.map(|quarter| Sample::median(&quarter));
    eprintln!("soak: second quarter: {second}\nsoak: fourth quarter: {fourth}");
    for (what, before, after) in [
        ("descriptors", second.descriptors, fourth.descriptors),
        ("threads", second.threads, fourth.threads),
        ("tasks", second.tasks, fourth.tasks),
    ] {
        assert!(after <= before + HANDLES, "{after} {what}, {before} before");
    }
    let most = second.anonymous_kib + second.anonymous_kib / 5.0 + SLACK_KIB;
    assert!(
        fourth.anonymous_kib <= most,
        "{} KiB, {} before",
        fourth.anonymous_kib,
        second.anonymous_kib
    );
    lab.repo.fsck().unwrap();
    reverser.stop().await.unwrap();
}
