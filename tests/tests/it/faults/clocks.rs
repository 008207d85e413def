//! Clocks that are set while everybody works. No decision may rest on the time of day.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::process::temp_dir;
use tests::reverser::{Options, Reverser};

use crate::crowd::{Crowd, maps, sign};
use crate::failover::is_attributed;
use crate::failover::pair::{LEASE, Pair};
use crate::lab::{Lab, PATIENCE, create};
use crate::truth::{
    git_equals_the_cluster, is_signed, last_author, no_live_object_was_deleted, nobody_is_wronged,
};

const SOURCE: &str = include_str!("../../../assets/clock_shift.c");
const HOURS: i64 = 2 * 3600;
/// A machine that does other things too is not two hours late.
const ROUGHLY: i64 = 1800;

/// Of one process.
struct Clock {
    directory: tempfile::TempDir,
    shift: File,
}

impl Clock {
    /// Goes right.
    fn new() -> Self {
        let directory = temp_dir("clock").unwrap();
        let source = directory.path().join("clock_shift.c");
        std::fs::write(&source, SOURCE).unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(directory.path().join("clock_shift.so"))
            .arg(source)
            .status();
        assert!(compiled.unwrap().success(), "there is no C compiler");
        let shift = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(directory.path().join("shift"))
            .unwrap();
        shift.write_all_at(&0_i64.to_ne_bytes(), 0).unwrap();
        Self { directory, shift }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn env(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", "clock_shift.so"),
            ("CLOCK_SHIFT_FILE", "shift"),
        ]
        .map(|(key, file)| (key.to_owned(), self.path(file).display().to_string()))
        .to_vec()
    }

    /// Is off by so many seconds from now on.
    fn set(&self, seconds: i64) {
        self.shift.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap()
}

/// Somebody writes, and a commit says so, at the committer's time.
async fn is_committed_at(lab: &Lab<'_>, name: &str, who: &str, count: usize, shift: i64) {
    let by = format!("{who}-{count}");
    let path = maps().path(lab, name);
    sign(&maps().api(lab, who), name, &by).await.unwrap();
    is_signed(lab, &path, &by).await;
    assert_eq!(
        last_author(lab, &path),
        (who.to_owned(), "exact".to_owned())
    );
    let commit = lab.versions(&path).pop().unwrap();
    let off = commit.commit_time - now();
    assert!(
        (off - shift).abs() < ROUGHLY,
        "{off} s off, where the clock is {shift} s off"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_jump_by_hours_cost_no_author_and_no_watch() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let (ours, sidecars) = (Clock::new(), Clock::new());
    let options = Options {
        reverser_env: ours.env(),
        webhook_env: sidecars.env(),
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let lab = Lab::on(&plane, "clocks")
        .await
        .watching(&["configmaps"])
        .await;
    create(&maps().api(&lab, "ann"), &maps().object("one", "ann-0")).await;
    is_signed(&lab, &maps().path(&lab, "one"), "ann-0").await;
    let crowd = Crowd::start(&lab, &[maps()], 7);
    let jumps = [
        (HOURS, HOURS),
        (-HOURS, -HOURS),
        (HOURS, -HOURS),
        (-HOURS, HOURS),
        (0, 0),
    ];
    for (count, (reversers, webhooks)) in jumps.into_iter().enumerate() {
        let commits = lab.commits().len();
        ours.set(reversers);
        sidecars.set(webhooks);
        is_committed_at(&lab, "one", "ben", count, reversers).await;
        // The others' too.
        eventually(PATIENCE, || async {
            match lab.commits().len() - commits {
                more if more >= 10 => Ok(()),
                more => Err(format!("{more} commits")),
            }
        })
        .await;
    }
    let acts = crowd.stop().await;
    assert_eq!(acts.failures, 0);
    git_equals_the_cluster(&lab, &[maps()]).await;
    no_live_object_was_deleted(&lab, &acts);
    let named = nobody_is_wronged(&lab);
    let nameless: Vec<_> = lab
        .commits()
        .into_iter()
        .filter(|commit| commit.trailer("Attribution") != Some("exact"))
        .collect();
    assert!(nameless.is_empty(), "{nameless:#?}");
    let metrics = reverser.reverser_metrics().await;
    assert_eq!(metrics.sum("gitopsreverser_watch_restarts_total"), 0.0);
    assert_eq!(
        reverser
            .webhook_metrics()
            .await
            .get("gitopsreverser_webhook_connected"),
        Some(1.0)
    );
    eprintln!(
        "clocks: {} writes, {named} commits with a name of the crowd, all exact",
        acts.writes
    );
    lab.repo.fsck().unwrap();
    reverser.stop().await.unwrap();
}

/// Waits until the leader has renewed its Lease for longer than the Lease lasts: 15 s, by 2 s.
async fn is_renewed(pair: &Pair) {
    let leases: Api<Lease> = Api::namespaced(pair.plane.client(), &pair.namespace);
    let renewed = async || {
        let lease = leases.get(LEASE).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(lease.spec.and_then(|spec| spec.renew_time))
    };
    for _ in 0..9 {
        let before = renewed().await.unwrap();
        eventually(PATIENCE, || async {
            match renewed().await? {
                now if now != before => Ok(()),
                now => Err(format!("{now:?}")),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_leads_on_whichever_of_the_clocks_jumps() {
    let clocks = [Clock::new(), Clock::new()];
    let pair = Pair::start_with(clocks.each_ref().map(Clock::env)).await;
    let [_, follower] = &pair.pods;
    let lab = Lab::on(&pair.plane, "jumps")
        .await
        .watching(&["configmaps"])
        .await;
    pair.is_led_by(0).await;
    is_attributed(&lab, "before").await;
    let elected = pair.lease().await.spec.unwrap();
    create(&maps().api(&lab, "ann"), &maps().object("one", "ann-0")).await;
    is_signed(&lab, &maps().path(&lab, "one"), "ann-0").await;
    let crowd = Crowd::start(&lab, &[maps()], 8);
    let jumps = [
        [HOURS, 0],
        [-HOURS, 0],
        [-HOURS, HOURS],
        [HOURS, -HOURS],
        [0, 0],
    ];
    for (count, shifts) in jumps.into_iter().enumerate() {
        for (clock, shift) in clocks.iter().zip(shifts) {
            clock.set(shift);
        }
        is_committed_at(&lab, "one", "ben", count, shifts[0]).await;
        is_renewed(&pair).await;
        let lease = pair.lease().await.spec.unwrap();
        assert_eq!(lease.holder_identity, elected.holder_identity, "{shifts:?}");
        assert_eq!(
            lease.lease_transitions, elected.lease_transitions,
            "{shifts:?}"
        );
        // By the clock of whoever wrote it.
        let renewed = lease.renew_time.unwrap().0.as_second() - now();
        assert!(
            (renewed - shifts[0]).abs() < ROUGHLY,
            "{renewed} s off at {shifts:?}"
        );
        let metrics = follower.reverser_metrics().await;
        for name in ["leader", "failovers_total", "commits_total"] {
            assert_eq!(
                metrics.get(&format!("gitopsreverser_{name}")),
                Some(0.0),
                "{name}"
            );
        }
    }
    pair.is_led_by(0).await;
    let acts = crowd.stop().await;
    assert_eq!(acts.failures, 0);
    git_equals_the_cluster(&lab, &[maps()]).await;
    no_live_object_was_deleted(&lab, &acts);
    let named = nobody_is_wronged(&lab);
    eprintln!(
        "jumps: {} writes, {named} commits with a name of the crowd",
        acts.writes
    );
    lab.repo.fsck().unwrap();
}
