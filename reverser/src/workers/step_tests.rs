//! Rounds on a real repository.

use manifest::{Identity, SpecHash};
use prometheus::{IntCounter, Registry};

use super::super::BatchLimits;
use super::super::fixtures::{everywhere, write};
use super::super::queue::{Sweep, Unit, Unsettled, Write};
use super::*;
use crate::attribution::{AttributionMetrics, Limits, Observation, Write as Admitted};
use crate::change::{Miss, Operation, Sighting};
use crate::fingerprint::Fingerprint;
use crate::git::Denied;
use crate::git::testing::{Bed, git};
use crate::leadership::Fence;
use crate::rules::{Operations, TypeSelection};

/// A worker's work, its queue and its remote.
struct Bench {
    bed: Bed,
    context: Context,
    work: Work,
    plan: Vec<Arc<DestinationPlan>>,
    latest: watch::Sender<WorkerPlan>,
    dropped: IntCounter,
}

impl Bench {
    /// With one destination, that writes to `live`.
    fn new(unpushed_limits: UnpushedLimits) -> Self {
        let bed = Bed::with_readme();
        let destination = DestinationPlan {
            url: bed.options("main").url,
            ..claim::tests::destination(None)
        };
        let registry = Registry::new();
        let attribution = AttributionMetrics::register(&registry).unwrap();
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let plan = vec![Arc::new(destination.clone())];
        let (latest, told) = watch::channel(plan.clone());
        let context = Context {
            key: destination.branch.clone(),
            cluster_id: "c1".to_owned(),
            queue: Arc::new(Queue::new(dropped.clone())),
            latest: told,
            store: Arc::new(Store::new(Limits::default(), attribution)),
            board: Arc::default(),
            metrics: Arc::new(Metrics::register(&registry).unwrap()),
            permit: Arc::new(Fence::alone()),
            unpushed_limits,
        };
        Self {
            bed,
            context,
            work: Work::default(),
            plan,
            latest,
            dropped,
        }
    }

    fn change(&self, name: &str, content: &str, username: &str) {
        let write = write(&self.plan[0], name, content, username);
        self.context.queue.push(Item::Write(Box::new(write)));
    }

    fn round(&mut self) -> Round {
        self.latest.send_replace(self.plan.clone());
        self.round_begun_with(&self.plan.clone())
    }

    /// A round that began when this was the plan.
    fn round_begun_with(&mut self, plan: &[Arc<DestinationPlan>]) -> Round {
        let mut options = engine_options(
            self.bed.work_dir(),
            &plan[0],
            plan,
            Access {
                credentials: crate::git::Credentials::none(),
                signer: None,
            },
        );
        options.url = self.bed.options("main").url;
        let portion = Portion {
            limits: BatchLimits {
                max_files: 2,
                ..BatchLimits::default()
            },
            coverage: Coverage::Until(Instant::now()),
        };
        let going_on = AtomicBool::new(false);
        self.work
            .round(&self.context, options, &portion, plan, &going_on)
    }

    /// What a check finds.
    fn moved(&mut self) -> Vec<DestinationKey> {
        self.work.check();
        assert!(self.work.is_pending());
        let round = self.round();
        round.outcome.unwrap();
        assert!(!self.work.is_pending());
        round.found.moved
    }

    fn unpushed(&self) -> (usize, u64) {
        let engine = self.work.engine.as_ref().unwrap();
        (engine.unpushed(), engine.unpushed_bytes())
    }

    fn remote_goes_away(&self) {
        std::fs::rename(self.bed.remote(), self.bed.room.path().join("away")).unwrap();
    }

    fn remote_comes_back(&self) {
        std::fs::rename(self.bed.room.path().join("away"), self.bed.remote()).unwrap();
    }

    fn rounds_until_all_is_pushed(&mut self) {
        while self.work.is_pending() || !self.context.queue.is_empty() {
            self.round().outcome.unwrap();
        }
    }

    fn content(&self, name: &str) -> String {
        let path = format!("live/v1/configmaps/lab/{name}.yaml");
        self.bed.content("main", &path)
    }
}

/// A Secret's file, as `write` has a ConfigMap's.
fn secret(destination: &Arc<DestinationPlan>, name: &str, content: &str) -> Write {
    let mut secret = write(destination, name, content, "alice");
    secret.change.identity.resource = "secrets".to_owned();
    secret.change.path = manifest::file_path("live", &secret.change.identity);
    secret
}

fn users(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| format!("user-{n}")).collect()
}

#[test]
fn a_remote_that_is_away_is_committed_for_up_to_the_bound_and_no_final_state_is_lost() {
    const BOUND: usize = 10;
    let mut bench = Bench::new(UnpushedLimits {
        commits: BOUND,
        ..UnpushedLimits::default()
    });
    bench.change("one", "first", "user-0");
    bench.round().outcome.unwrap();
    bench.remote_goes_away();
    for n in 1..40 {
        bench.change("one", &format!("{n}"), &format!("user-{n}"));
        bench.change(&format!("other-{n}"), "x", &format!("user-{n}"));
        bench.round().outcome.unwrap_err();
    }
    let (commits, bytes) = bench.unpushed();
    assert!((BOUND..BOUND + 2).contains(&commits), "{commits}");
    let waiting = bench.context.queue.len();
    assert_eq!(waiting, 2 * 39 - 2 * commits);

    // And for hours: the queue is at its bound too.
    bench.context.queue.fill_up();
    for n in 40..200 {
        bench.change("one", &format!("{n}"), &format!("user-{n}"));
        bench.round().outcome.unwrap_err();
    }
    assert_eq!(bench.unpushed(), (commits, bytes));
    assert_eq!(bench.context.queue.len(), waiting);
    assert_eq!(bench.dropped.get(), 160);

    bench.remote_comes_back();
    bench.rounds_until_all_is_pushed();
    assert_eq!(bench.content("one"), "199");
    for n in 1..40 {
        assert_eq!(bench.content(&format!("other-{n}")), "x");
    }
    // Theirs, the marker, the first; one for each user while there was room.
    let authors = bench.bed.log("main", "%an");
    assert_eq!(authors[2..=40], users(0, 39));
    assert!(
        authors[41..].contains(&"user-199".to_owned()),
        "{authors:?}"
    );
    bench.bed.assert_sound();
}

#[test]
fn what_waits_for_the_remote_is_not_put_into_a_folder_that_another_cluster_took_meanwhile() {
    let mut bench = Bench::new(UnpushedLimits::default());
    let marker = "live/.gitops-reverser";
    let theirs = "cluster: c2\ndestination: lab/all\n";
    bench.change("one", "1", "alice");
    bench.round().outcome.unwrap();
    bench.remote_goes_away();
    bench.change("two", "2", "bob");
    bench.round().outcome.unwrap_err();
    bench.remote_comes_back();
    bench
        .bed
        .somebody_pushes("main", &[(marker, Some(theirs)), ("live/x", Some("x"))]);
    let tip = bench.bed.tip("main");
    let round = bench.round();
    round.outcome.unwrap();
    assert_eq!(round.found.moved, [bench.plan[0].key.clone()]);
    assert_eq!(bench.unpushed(), (0, 0));
    // And what comes then finds whose it is.
    bench.change("three", "3", "carol");
    bench.round().outcome.unwrap();
    assert!(bench.work.is_refused());
    assert_eq!(bench.bed.tip("main"), tip);
    assert_eq!(bench.bed.content("main", marker), theirs.trim_end());
    bench.bed.assert_sound();
}

#[test]
fn a_file_at_another_version_goes_with_the_commit_that_writes_it_at_the_present_one() {
    let mut bench = Bench::new(UnpushedLimits::default());
    let old = |name: &str| format!("live/v1beta1/configmaps/lab/{name}.yaml");
    let files = ["one", "two", "three"].map(old);
    let theirs: Vec<_> = files.iter().map(|f| (f.as_str(), Some("old"))).collect();
    bench.bed.somebody_pushes("main", &theirs);
    for name in ["one", "two", "three"] {
        bench.change(name, "new", &format!("user-{name}"));
    }
    bench.rounds_until_all_is_pushed();
    // Two files a batch.
    for name in ["one", "two", "three"] {
        let author = format!("--author=user-{name}");
        let log = ["log", "--format=", "--name-status", &author, "main"];
        let changed = git(&bench.bed.remote(), &log);
        let mut changed: Vec<&str> = changed.lines().collect();
        changed.sort_unstable();
        let new = format!("live/v1/configmaps/lab/{name}.yaml");
        // The one is much like the other.
        let as_move = format!("R100\t{}\t{new}", old(name));
        let as_two = [format!("A\t{new}"), format!("D\t{}", old(name))];
        assert!(
            changed == [as_move.as_str()] || changed == as_two,
            "{changed:?}"
        );
    }
    bench.bed.assert_sound();
}

#[test]
fn bytes_are_bounded_too() {
    let mut bench = Bench::new(UnpushedLimits {
        bytes: 1,
        ..UnpushedLimits::default()
    });
    bench.change("one", "first", "user-0");
    bench.round().outcome.unwrap();
    bench.remote_goes_away();
    for n in 1..6 {
        bench.change("one", &format!("{n}"), &format!("user-{n}"));
        bench.round().outcome.unwrap_err();
    }
    assert_eq!(bench.unpushed().0, 1);
    // A bound that one batch exceeds holds nothing up once the remote is back.
    bench.remote_comes_back();
    bench.rounds_until_all_is_pushed();
    assert_eq!(bench.bed.log("main", "%an")[2..], users(0, 6));
    assert_eq!(bench.content("one"), "5");
}

/// Killed and started again: what was within the bound is still there, and goes on from there.
#[test]
fn a_restart_at_the_bound_keeps_the_authors_of_what_was_committed() {
    let mut bench = Bench::new(UnpushedLimits {
        commits: 4,
        ..UnpushedLimits::default()
    });
    bench.change("one", "first", "user-0");
    bench.round().outcome.unwrap();
    bench.remote_goes_away();
    for n in 1..10 {
        bench.change("one", &format!("{n}"), &format!("user-{n}"));
        bench.round().outcome.unwrap_err();
    }
    bench.work = Work::default();
    bench.round().outcome.unwrap_err();
    bench.remote_comes_back();
    bench
        .bed
        .somebody_pushes("main", &[("README", Some("t\n"))]);
    bench.rounds_until_all_is_pushed();
    let authors = bench.bed.log("main", "%an");
    assert_eq!(authors[3], "Somebody Else");
    assert_eq!(authors[4..], users(1, 10));
    git(&bench.bed.remote(), &["fsck", "--strict"]);
}

#[test]
fn a_check_finds_what_somebody_changed_in_our_folders_and_nothing_else() {
    let mut bench = Bench::new(UnpushedLimits::default());
    bench.change("one", "ours", "alice");
    bench.round().outcome.unwrap();
    assert_eq!(bench.moved(), []);
    bench
        .bed
        .somebody_pushes("main", &[("elsewhere", Some("t\n"))]);
    assert_eq!(bench.moved(), []);
    let path = "live/v1/configmaps/lab/one.yaml";
    bench
        .bed
        .somebody_pushes("main", &[(path, Some("theirs\n"))]);
    assert_eq!(bench.moved(), [bench.plan[0].key.clone()]);
    assert_eq!(bench.moved(), []);
}

#[test]
fn a_check_that_gets_no_answer_is_made_again() {
    let mut bench = Bench::new(UnpushedLimits::default());
    bench.change("one", "ours", "alice");
    bench.round().outcome.unwrap();
    let path = "live/v1/configmaps/lab/one.yaml";
    bench.bed.somebody_pushes("main", &[(path, None)]);
    bench.remote_goes_away();
    bench.work.check();
    bench.round().outcome.unwrap_err();
    assert!(bench.work.is_pending());
    bench.remote_comes_back();
    let round = bench.round();
    round.outcome.unwrap();
    assert_eq!(round.found.moved.len(), 1);
}

/// Lost as soon as it is set.
#[derive(Debug, Default)]
struct Lease(AtomicBool);

impl Permit for Lease {
    fn check(&self) -> Result<(), Denied> {
        if self.0.load(Ordering::SeqCst) {
            return Err(Denied::Lost);
        }
        Ok(())
    }
}

#[test]
fn what_was_committed_and_not_pushed_is_dropped_with_the_lease() {
    let lease = Arc::new(Lease::default());
    let mut bench = Bench::new(UnpushedLimits::default());
    bench.context.permit = lease.clone();
    bench.change("a", "a: 1\n", "alice");
    bench.rounds_until_all_is_pushed();
    let tip = bench.bed.tip("main");
    bench.remote_goes_away();
    bench.change("a", "a: 2\n", "bob");
    assert!(bench.round().outcome.is_err());
    assert_eq!(bench.unpushed().0, 1);

    lease.0.store(true, Ordering::SeqCst);
    bench.remote_comes_back();
    bench.change("a", "a: 3\n", "bob");
    let error = bench.round().outcome.unwrap_err();
    assert!(error.is_superseded(), "{error}");
    assert_eq!(bench.unpushed(), (0, 0));
    assert_eq!(bench.bed.tip("main"), tip);
    // Not for a later process either.
    bench.work = Work::default();
    lease.0.store(false, Ordering::SeqCst);
    bench.context.queue.close();
    bench.round().outcome.unwrap();
    assert_eq!(bench.bed.tip("main"), tip);
    assert_eq!(bench.content("a"), "a: 1");
}

/// The same destination under another secretPolicy.
fn under(plan: &DestinationPlan, secret_policy: SecretPolicy) -> Arc<DestinationPlan> {
    Arc::new(DestinationPlan {
        secret_policy,
        ..plan.clone()
    })
}

#[test]
fn what_comes_of_a_newer_plan_than_the_rounds_is_left_for_the_next_one() {
    let mut bench = Bench::new(UnpushedLimits::default());
    let begun_with = bench.plan.clone();
    bench.change("one", "1", "alice");
    bench.round().outcome.unwrap();
    // While a round waits for the remote: hidden from now on, and a neighbour.
    let mut neighbour = (*bench.plan[0]).clone();
    neighbour.key.name = "neighbour".to_owned();
    neighbour.base_folder = "beside".to_owned();
    let neighbour = Arc::new(neighbour);
    bench.plan = vec![
        under(&bench.plan[0], SecretPolicy::Redact),
        neighbour.clone(),
    ];
    bench.latest.send_replace(bench.plan.clone());
    let redacted = secret(&bench.plan[0], "two", "redacted");
    let path = redacted.change.path.clone();
    let mut beside = write(&neighbour, "three", "3", "carol");
    beside.change.path = "beside/v1/configmaps/lab/three.yaml".to_owned();
    for write in [redacted, beside] {
        bench.context.queue.push(Item::Write(Box::new(write)));
    }
    let tip = bench.bed.tip("main");
    bench.round_begun_with(&begun_with).outcome.unwrap();
    assert_eq!(bench.bed.tip("main"), tip);
    assert!(bench.work.is_pending());
    assert_eq!(bench.context.queue.len(), 0);
    // And what comes meanwhile stays where it is.
    bench.change("four", "4", "alice");
    bench.round_begun_with(&begun_with).outcome.unwrap();
    assert_eq!(bench.context.queue.len(), 1);

    bench.rounds_until_all_is_pushed();
    assert_eq!(bench.bed.content("main", &path), "redacted");
    let beside = "beside/v1/configmaps/lab/three.yaml";
    assert_eq!(bench.bed.content("main", beside), "3");
    assert_eq!(bench.content("four"), "4");
    // Each once: theirs, two markers, and these.
    assert_eq!(bench.bed.log("main", "%an").len(), 1 + 2 + 4);
    bench.bed.assert_sound();
}

#[test]
fn what_a_newer_plan_hides_is_not_pushed_by_a_round_of_an_older_one() {
    let mut bench = Bench::new(UnpushedLimits::default());
    bench.plan = vec![under(&bench.plan[0], SecretPolicy::Plain)];
    bench.change("one", "1", "alice");
    bench.rounds_until_all_is_pushed();
    let tip = bench.bed.tip("main");
    bench.remote_goes_away();
    bench.change("two", "2", "alice");
    assert!(bench.round().outcome.is_err());
    bench.remote_comes_back();
    let redacting = under(&bench.plan[0], SecretPolicy::Redact);
    bench.latest.send_replace(vec![redacting]);
    let round = bench.round_begun_with(&bench.plan.clone());
    round.outcome.unwrap();
    assert_eq!(bench.bed.tip("main"), tip);
    assert_eq!(round.found.moved, [bench.plan[0].key.clone()]);
}

#[test]
fn what_waited_when_secrets_became_hidden_keeps_its_author() {
    let mut bench = Bench::new(UnpushedLimits::default());
    bench.plan = vec![under(&bench.plan[0], SecretPolicy::Plain)];
    bench.change("one", "1", "alice");
    bench.rounds_until_all_is_pushed();
    bench.remote_goes_away();
    bench.change("two", "2", "bob");
    bench.plan = vec![under(&bench.plan[0], SecretPolicy::Redact)];
    assert!(bench.round().outcome.is_err());
    bench.remote_comes_back();
    bench.rounds_until_all_is_pushed();
    assert_eq!(bench.bed.log("main", "%an").last().unwrap(), "bob");
    assert_eq!(bench.moved(), []);
}

#[test]
fn what_no_rule_selects_any_more_is_not_written() {
    let mut bench = Bench::new(UnpushedLimits::default());
    bench.change("one", "1", "alice");
    bench.rounds_until_all_is_pushed();
    let mut listed = write(&bench.plan[0], "two", "2", "");
    listed.change.cause = Cause::Seed;
    bench.context.queue.push(Item::Write(Box::new(listed)));
    bench.change("three", "3", "carol");
    // Elsewhere it is still selected.
    let mut narrowed = (*bench.plan[0]).clone();
    let selection = narrowed.selections.values_mut().next().unwrap();
    let namespaces = [("other".to_owned(), Operations::ALL)].into();
    *selection = Arc::new(TypeSelection {
        everywhere: None,
        namespaces,
        ..(**selection).clone()
    });
    bench.plan = vec![Arc::new(narrowed)];
    let mut deleted = write(&bench.plan[0], "one", "", "bob");
    deleted.change.content = None;
    bench.context.queue.push(Item::Write(Box::new(deleted)));
    let mut ended = write(&bench.plan[0], "three", "", "dave");
    ended.change.content = None;
    bench.context.queue.push(Item::Write(Box::new(ended)));
    bench.rounds_until_all_is_pushed();
    let files = bench.bed.files("main");
    assert!(
        !files.iter().any(|file| file.contains("configmaps")),
        "{files:?}"
    );
    // But what happened to it before is told.
    let authors = bench.bed.log("main", "%an");
    assert!(
        authors.iter().any(|author| author == "carol"),
        "{authors:?}"
    );
    assert!(authors.iter().any(|author| author == "dave"), "{authors:?}");
}

/// What a first list found of an object, of which somebody is known to have asked for just that.
fn found(bench: &Bench, name: &str, content: &str, username: &str) -> Item {
    let mut found = write(&bench.plan[0], name, content, "");
    found.change.cause = Cause::Seed;
    found.change.attribution = Attribution::None(Miss::Reconciled);
    let spec_hash = SpecHash::of(content.as_bytes());
    let identity = found.change.identity.clone();
    bench.context.store.record(Observation {
        identity: identity.clone(),
        uid: name.to_owned(),
        write: Admitted::Update(spec_hash),
        base: "1".to_owned(),
        managed_fields_hash: None,
        username: username.into(),
        field_manager: String::new(),
        time: std::time::SystemTime::UNIX_EPOCH,
        early: false,
    });
    found.unsettled = Some(Unsettled::Found(Box::new(Sighting {
        identity,
        uid: name.to_owned(),
        operation: Operation::Update,
        base: None,
        version: "2".to_owned(),
        spec_hash,
        managed_fields_hash: None,
        scaled_to: None,
    })));
    Item::Write(Box::new(found))
}

/// With `one` and `two` in Git, and all of it known to be ours.
fn complete() -> Bench {
    let mut bench = Bench::new(UnpushedLimits::default());
    bench.change("one", "1", "carol");
    bench.change("two", "1", "carol");
    let listed = Item::Listed(bench.plan[0].clone(), Instant::now());
    bench.context.queue.push(listed);
    bench.rounds_until_all_is_pushed();
    bench
}

#[test]
fn a_list_that_was_asked_for_before_somebody_changed_git_does_not_make_that_ours() {
    let one = "live/v1/configmaps/lab/one.yaml";
    let mut bench = complete();
    let before = Instant::now();
    bench.bed.somebody_pushes("main", &[(one, Some("theirs"))]);
    bench.change("two", "2", "carol");
    let listed = |bench: &Bench, asked| Item::Listed(bench.plan[0].clone(), asked);
    bench.context.queue.push(listed(&bench, before));
    assert_eq!(bench.moved(), [bench.plan[0].key.clone()]);
    let is_foreign = |bench: &mut Bench| {
        bench.work = Work::default();
        bench.round().outcome.unwrap();
        bench.work.engine.as_ref().unwrap().is_foreign(one)
    };
    assert!(is_foreign(&mut bench));
    bench.change("one", "1", "carol");
    bench.context.queue.push(listed(&bench, Instant::now()));
    bench.rounds_until_all_is_pushed();
    assert!(!is_foreign(&mut bench));
}

impl Bench {
    /// Started again, it finds `one` with this content, that somebody asked for. Whose commit that is.
    fn author_after_a_restart(&mut self, content: &str) -> String {
        self.work = Work::default();
        let found = found(self, "one", content, "alice");
        self.context.queue.push(found);
        self.rounds_until_all_is_pushed();
        assert_eq!(self.content("one"), content);
        self.bed.log("main", "%an").pop().unwrap()
    }
}

#[test]
fn after_a_restart_who_changed_the_cluster_is_named_and_who_would_only_undo_a_change_of_git_is_not()
{
    let one = "live/v1/configmaps/lab/one.yaml";
    let two = "live/v1/configmaps/lab/two.yaml";
    assert_eq!(complete().author_after_a_restart("2"), "alice");

    let mut edited = complete();
    edited.bed.somebody_pushes("main", &[(one, Some("theirs"))]);
    assert_eq!(edited.author_after_a_restart("1"), "bot");

    // Of another file, that says nothing.
    let mut beside = complete();
    beside.bed.somebody_pushes("main", &[(two, Some("theirs"))]);
    assert_eq!(beside.author_after_a_restart("2"), "alice");

    // Noticed, and built upon, but not put right yet.
    let mut noticed = complete();
    noticed
        .bed
        .somebody_pushes("main", &[(one, Some("theirs"))]);
    noticed.change("two", "2", "bob");
    noticed.rounds_until_all_is_pushed();
    assert_eq!(noticed.author_after_a_restart("1"), "bot");

    // With the clone went what was known of it.
    let mut forgotten = complete();
    std::fs::remove_dir_all(forgotten.bed.work_dir()).unwrap();
    assert_eq!(forgotten.author_after_a_restart("2"), "bot");

    // Nobody has written to it yet.
    let mut new = Bench::new(UnpushedLimits::default());
    assert_eq!(new.author_after_a_restart("1"), "alice");
}

/// What becomes of a file, of which somebody has asked to delete the object.
struct Swept {
    resource: &'static str,
    /// Under which name the file stands.
    file: &'static str,
    /// Somebody puts the file into Git, and not the cluster's change.
    restored: bool,
    /// In the plan that has the file swept.
    selected: &'static [&'static str],
    policy: SecretPolicy,
    /// The list is of this version; of the whole type, or of what nothing selects.
    version: &'static str,
    listed: bool,
    /// The delete is asked for on version 5.
    listed_at: &'static str,
    live: &'static [&'static str],
    cause: Cause,
}

impl Swept {
    /// Whose commit removes the file, and what it says of the tier.
    fn author(&self) -> String {
        let mut bench = Bench::new(UnpushedLimits::default());
        bench.plan = vec![under(&bench.plan[0], SecretPolicy::Plain)];
        let text = "apiVersion: v1\nkind: Any\nmetadata:\n  name: x\n  namespace: lab\n";
        let mut written = write(&bench.plan[0], self.file, text, "carol");
        written.change.identity.resource = self.resource.to_owned();
        written.change.path = manifest::file_path("live", &written.change.identity);
        let asked_for = Identity {
            name: "x".to_owned(),
            ..written.change.identity.clone()
        };
        let file = written.change.path.clone();
        let listed = Item::Listed(bench.plan[0].clone(), Instant::now());
        if self.restored {
            written.change.content = None;
        }
        for item in [Item::Write(Box::new(written)), listed] {
            bench.context.queue.push(item);
        }
        bench.rounds_until_all_is_pushed();
        if self.restored {
            bench.bed.somebody_pushes("main", &[(&file, Some(text))]);
            bench.work = Work::default();
        }
        bench.context.store.record(Observation {
            identity: asked_for,
            uid: "u".to_owned(),
            write: Admitted::Delete(SpecHash::of(text.as_bytes())),
            base: "5".to_owned(),
            managed_fields_hash: None,
            username: "alice".into(),
            field_manager: String::new(),
            time: std::time::SystemTime::UNIX_EPOCH,
            early: false,
        });
        let mut plan = (*under(&bench.plan[0], self.policy)).clone();
        plan.selections = everywhere(self.selected, self.version);
        let plan = Arc::new(plan);
        bench.plan = vec![plan.clone()];
        let of_type = (String::new(), self.resource.to_owned());
        let unit = if self.listed {
            let live = self
                .live
                .iter()
                .map(|path| Fingerprint::of(path.as_bytes()));
            Unit::Listed {
                selection: plan.selections[&of_type].clone(),
                namespace: None,
                version: self.listed_at.into(),
                live: Arc::new(live.collect()),
            }
        } else {
            Unit::Unselected
        };
        bench.context.queue.push(Item::Sweep(Sweep {
            destination: plan,
            unit,
            cause: self.cause,
        }));
        bench.rounds_until_all_is_pushed();
        let files = bench.bed.files("main");
        assert!(
            !files.iter().any(|file| file.ends_with(".yaml")),
            "{files:?}"
        );
        let told = "%an %(trailers:key=Attribution,valueonly,separator=%x2C)";
        bench.bed.log("main", told).pop().unwrap()
    }
}

#[test]
fn a_file_that_is_swept_is_deleted_by_who_deleted_its_object_and_else_by_nobody() {
    let deleted = || Swept {
        resource: "configmaps",
        file: "x",
        restored: false,
        selected: &["configmaps"],
        policy: SecretPolicy::Plain,
        version: "v1",
        listed: true,
        listed_at: "6",
        live: &[],
        cause: Cause::Seed,
    };
    assert_eq!(deleted().author(), "alice content");
    let lives = [
        // No rule selects it any more.
        Swept {
            selected: &["secrets"],
            listed: false,
            cause: Cause::Resync,
            ..deleted()
        },
        // Written at another version.
        Swept {
            version: "v2",
            live: &["live/v2/configmaps/lab/x.yaml"],
            ..deleted()
        },
        // Left out.
        Swept {
            resource: "secrets",
            selected: &["secrets"],
            policy: SecretPolicy::Omit,
            ..deleted()
        },
        // Made anew after the list.
        Swept {
            listed_at: "4",
            ..deleted()
        },
        // Put there by somebody else, or copied.
        Swept {
            cause: Cause::Drift,
            ..deleted()
        },
        Swept {
            file: "copy",
            ..deleted()
        },
        Swept {
            restored: true,
            ..deleted()
        },
    ];
    let authors = lives.each_ref().map(Swept::author);
    assert_eq!(authors, ["bot none"; 7]);
}

#[test]
fn a_list_of_an_older_plan_completes_nothing() {
    let bench = Bench::new(UnpushedLimits::default());
    let listed = Item::Listed(bench.plan[0].clone(), Instant::now());
    assert!(batch::is_current(&listed, &bench.plan));
    let newer = [under(&bench.plan[0], SecretPolicy::Plain)];
    assert!(!batch::is_current(&listed, &newer));
}

#[test]
fn secrets_in_the_clear_that_wait_are_dropped_when_they_are_to_be_hidden() {
    let mut bench = Bench::new(UnpushedLimits::default());
    let policy = |bench: &mut Bench, secret_policy| {
        let destination = DestinationPlan {
            secret_policy,
            ..(*bench.plan[0]).clone()
        };
        bench.plan = vec![Arc::new(destination)];
    };
    policy(&mut bench, SecretPolicy::Plain);
    bench.change("one", "1", "alice");
    bench.rounds_until_all_is_pushed();
    bench.remote_goes_away();
    bench.change("two", "2", "alice");
    assert!(bench.round().outcome.is_err());
    let (commits, _) = bench.unpushed();
    assert_eq!(commits, 1);
    policy(&mut bench, SecretPolicy::Redact);
    let moved = bench.round().found.moved;
    assert_eq!(bench.unpushed(), (0, 0));
    assert_eq!(moved, [bench.plan[0].key.clone()]);
    bench.remote_comes_back();
    bench.change("two", "redacted", "alice");
    bench.rounds_until_all_is_pushed();
    assert_eq!(bench.content("two"), "redacted");
}

/// Two recipients; the shorter list comes first in neither order.
const RECIPIENTS: [&str; 2] = [
    "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
    "age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z",
];

#[test]
fn what_waits_is_dropped_where_fewer_may_read_it_now_and_kept_where_more_may() {
    let encrypted = |plan: &DestinationPlan, recipients: &[&str]| DestinationPlan {
        secret_policy: SecretPolicy::Encrypt,
        recipients: recipients.iter().map(|it| it.parse().unwrap()).collect(),
        ..plan.clone()
    };
    let plain = |plan: &DestinationPlan| DestinationPlan {
        secret_policy: SecretPolicy::Plain,
        ..plan.clone()
    };
    // What a plan becomes, `None` for a destination that is stalled and whose branch goes on for another one.
    type Plans<'a> = [Box<dyn Fn(&DestinationPlan) -> Option<DestinationPlan> + 'a>; 2];
    let cases: [(Plans<'_>, bool); 5] = [
        (
            [
                Box::new(|it| Some(plain(it))),
                Box::new(|it| Some(encrypted(it, &RECIPIENTS))),
            ],
            true,
        ),
        ([Box::new(|it| Some(plain(it))), Box::new(|_| None)], true),
        (
            [
                Box::new(|it| Some(encrypted(it, &RECIPIENTS))),
                Box::new(|it| Some(encrypted(it, &RECIPIENTS[..1]))),
            ],
            true,
        ),
        (
            [
                Box::new(|it| Some(encrypted(it, &RECIPIENTS[1..]))),
                Box::new(|it| Some(encrypted(it, &RECIPIENTS))),
            ],
            false,
        ),
        (
            [
                Box::new(|it| Some(encrypted(it, &RECIPIENTS))),
                Box::new(|it| Some(plain(it))),
            ],
            false,
        ),
    ];
    for (index, ([before, after], dropped)) in cases.into_iter().enumerate() {
        let mut bench = Bench::new(UnpushedLimits::default());
        let original = bench.plan[0].clone();
        bench.plan = vec![Arc::new(before(&original).unwrap())];
        bench.change("one", "1", "alice");
        bench.rounds_until_all_is_pushed();
        bench.remote_goes_away();
        bench.change("two", "2", "alice");
        assert!(bench.round().outcome.is_err());
        assert_eq!(bench.unpushed().0, 1, "{index}");
        let other = || {
            let mut other = (*original).clone();
            other.key.name = "other".to_owned();
            other.base_folder = "elsewhere".to_owned();
            other
        };
        bench.plan = vec![Arc::new(after(&original).unwrap_or_else(other))];
        let _ = bench.round();
        assert_eq!(bench.unpushed().0 == 0, dropped, "{index}");
    }
}

/// A Secret with a value in the clear.
const IN_THE_CLEAR: &str =
    "apiVersion: v1\nkind: Secret\nmetadata:\n  name: two\ndata:\n  k: dg==\n";

/// With `one` in Git, and a Secret in the clear that is committed and not pushed.
fn waiting_in_the_clear() -> (Bench, String) {
    let mut bench = Bench::new(UnpushedLimits::default());
    bench.plan = vec![under(&bench.plan[0], SecretPolicy::Plain)];
    bench.change("one", "1", "alice");
    bench.rounds_until_all_is_pushed();
    bench.remote_goes_away();
    let secret = secret(&bench.plan[0], "two", IN_THE_CLEAR);
    let path = secret.change.path.clone();
    bench.context.queue.push(Item::Write(Box::new(secret)));
    assert!(bench.round().outcome.is_err());
    assert_eq!(bench.unpushed().0, 1);
    (bench, path)
}

impl Bench {
    /// Whether the remote has a commit that changes the file, once all that waits is pushed.
    fn was_ever_pushed(&mut self, path: &str) -> bool {
        self.remote_comes_back();
        self.round().outcome.unwrap();
        self.rounds_until_all_is_pushed();
        let log = ["log", "--format=%H", "main", "--", path];
        !git(&self.bed.remote(), &log).trim().is_empty()
    }

    /// Another destination of the branch, of whose folder that of the first is no part.
    fn neighbour(&self) -> Arc<DestinationPlan> {
        let mut neighbour = (*self.plan[0]).clone();
        neighbour.key.name = "neighbour".to_owned();
        neighbour.base_folder = "beside".to_owned();
        Arc::new(neighbour)
    }
}

#[test]
fn what_waits_in_the_clear_is_dropped_with_its_destination_over_a_restart() {
    let (mut bench, path) = waiting_in_the_clear();
    bench.plan = vec![bench.neighbour()];
    bench.work = Work::default();
    assert!(!bench.was_ever_pushed(&path));

    // Not while it is there, and wants it so.
    let (mut bench, path) = waiting_in_the_clear();
    bench.plan.push(bench.neighbour());
    bench.work = Work::default();
    assert!(bench.was_ever_pushed(&path));
}

#[test]
fn what_waits_in_the_clear_is_dropped_though_it_is_gone_again() {
    let (mut bench, path) = waiting_in_the_clear();
    let mut gone = secret(&bench.plan[0], "two", "");
    gone.change.content = None;
    bench.context.queue.push(Item::Write(Box::new(gone)));
    assert!(bench.round().outcome.is_err());
    assert_eq!(bench.unpushed().0, 2);
    bench.plan = vec![under(&bench.plan[0], SecretPolicy::Redact)];
    bench.work = Work::default();
    assert!(!bench.was_ever_pushed(&path));
}

#[test]
fn what_waits_in_the_clear_is_dropped_though_somebody_has_written_to_the_folder() {
    let (mut bench, path) = waiting_in_the_clear();
    // By now nothing says any more under which policy it was written.
    bench.work.claims.clear();
    bench.plan = vec![under(&bench.plan[0], SecretPolicy::Redact)];
    assert!(!bench.was_ever_pushed(&path));
}

#[test]
fn what_an_earlier_process_left_is_dropped_where_it_shows_values_that_are_to_be_hidden() {
    for (policy, kept) in [
        (SecretPolicy::Plain, true),
        (SecretPolicy::Redact, false),
        (SecretPolicy::Encrypt, false),
        (SecretPolicy::Omit, false),
    ] {
        let (mut bench, path) = waiting_in_the_clear();
        // Killed, and started again with another policy, once the remote is back.
        bench.work = Work::default();
        bench.plan = vec![under(&bench.plan[0], policy)];
        assert_eq!(bench.was_ever_pushed(&path), kept, "{policy:?}");
    }
}
