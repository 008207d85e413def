use super::super::claim::{Chance, Joined};
use super::super::fixtures::*;
use super::super::metrics::HitTier;
use super::*;
use crate::change::{Attribution, Miss, Operation, Sighting, Who};

const TTL: Duration = Duration::from_secs(60);

fn store(limits: Limits) -> Store {
    Store::new(limits, metrics())
}

fn exact(username: &str) -> Attribution {
    Attribution::Exact(Who {
        username: username.into(),
        field_manager: "kubectl".into(),
    })
}

const UNSEEN: Attribution = Attribution::None(Miss::Unseen);
const AMBIGUOUS: Attribution = Attribution::None(Miss::Ambiguous);

/// An update of an object of its own.
fn elsewhere(username: &str, object: &str) -> Observation {
    let mut observation = update(username, "5", "x");
    observation.uid = format!("uid-{object}");
    observation.identity.name = object.into();
    observation
}

fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<String> = store
        .pending(usize::MAX)
        .into_iter()
        .map(|pending| pending.username)
        .collect();
    names.reverse();
    names
}

fn keys(store: &Store) -> Vec<String> {
    let mut keys: Vec<String> = store
        .pending(usize::MAX)
        .into_iter()
        .map(|pending| pending.key)
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

#[test]
fn an_observation_is_consumed_once_and_its_rivals_go_with_it() {
    let store = store(Limits::default());
    store.record(update("alice", "5", "x"));
    store.record(update("loser", "5", "y"));
    store.record(update("next", "6", "z"));
    assert_eq!(store.join(&updated("5", "x")), exact("alice"));
    assert_eq!(names(&store), ["next"]);
    assert_eq!(store.metrics.evictions(EvictionReason::BasePassed), 1);
    assert_eq!(store.metrics.hits(HitTier::Exact), 1);
}

#[test]
fn an_event_that_comes_twice_gets_the_same_answer_and_counts_once() {
    let store = store(Limits::default());
    store.record(update("alice", "5", "x"));
    for _ in 0..3 {
        assert_eq!(store.join(&updated("5", "x")), exact("alice"));
    }
    assert_eq!(store.metrics.hits(HitTier::Exact), 1);
}

#[test]
fn a_late_observation_is_found_when_the_batch_closes() {
    let store = store(Limits::default());
    store.record(update("loser", "5", "y"));
    assert_eq!(store.join(&updated("5", "x")), UNSEEN);
    assert_eq!(store.metrics.misses(Miss::Unseen), 0);
    assert_eq!(store.record(update("alice", "5", "x")), Recorded::Stored);
    // Other versions pass meanwhile.
    store.record(update("bob", "6", "z"));
    assert_eq!(store.join(&updated("6", "z")), exact("bob"));
    store.base_passed("u1", "7");
    assert_eq!(store.rejoin(&updated("5", "x")), exact("alice"));
    assert_eq!(store.pending_total(), 0);
}

#[test]
fn after_the_last_chance_a_base_is_settled() {
    let store = store(Limits::default());
    assert_eq!(store.join(&updated("5", "x")), UNSEEN);
    assert_eq!(store.rejoin(&updated("5", "x")), UNSEEN);
    assert_eq!(store.metrics.misses(Miss::Unseen), 1);
    assert_eq!(
        store.record(update("alice", "5", "x")),
        Recorded::BasePassed
    );
    assert_eq!(store.rejoin(&updated("5", "x")), UNSEEN);
    assert_eq!(store.metrics.misses(Miss::Unseen), 1);
}

#[test]
fn a_third_rival_does_not_make_two_distinguishable() {
    let store = store(Limits::default());
    store.record(update("alice", "5", "x"));
    store.record(update("bob", "5", "x"));
    assert_eq!(store.join(&updated("5", "x")), AMBIGUOUS);
    store.record(update("carol", "5", "x"));
    assert_eq!(store.rejoin(&updated("5", "x")), AMBIGUOUS);
    assert_eq!(store.metrics.misses(Miss::Ambiguous), 1);
}

#[test]
fn oscillation_between_two_users_keeps_every_author() {
    let store = store(Limits::default());
    let turn = |n: u32| {
        if n.is_multiple_of(2) {
            ("alice", "a")
        } else {
            ("bob", "b")
        }
    };
    // The watch lags eight writes behind.
    for n in 0..100 {
        let (user, content) = turn(n);
        store.record(update(user, &n.to_string(), content));
        if let Some(seen) = n.checked_sub(8) {
            let (user, content) = turn(seen);
            assert_eq!(
                store.join(&updated(&seen.to_string(), content)),
                exact(user)
            );
        }
    }
}

#[test]
fn a_refused_write_left_on_an_older_version_credits_nobody() {
    let store = store(Limits::default());
    store.record(update("refused", "5", "x"));
    store.base_passed("u1", "5");
    assert_eq!(store.pending_total(), 0);
    store.record(update("refused", "6", "x"));
    store.record(update("alice", "7", "x"));
    assert_eq!(store.join(&updated("7", "x")), exact("alice"));
    assert_eq!(store.pending_total(), 0);
}

#[test]
fn a_delete_refused_and_then_done_by_another_is_nobodys() {
    let store = store(Limits::default());
    store.record(delete("refused", "5", "x"));
    store.record(delete("alice", "5", "x"));
    let deleted = seen(Operation::Delete, Some("5"), "x");
    assert_eq!(store.join(&deleted), AMBIGUOUS);
}

#[test]
fn a_deleted_object_is_found_by_its_content_when_its_uid_is_forgotten() {
    let store = store(Limits::default());
    store.record(delete("alice", "5", "x"));
    let mut gone = seen(Operation::Delete, None, "x");
    gone.uid = String::new();
    assert!(matches!(
        store.join(&gone).attribution,
        Attribution::Content(_)
    ));
    assert_eq!(store.join(&gone), UNSEEN);
}

#[test]
fn content_is_consumed_first_in_first_out() {
    let store = store(Limits::default());
    store.record(update("alice", "5", "x"));
    store.record(update("alice", "7", "x"));
    let mut found = seen(Operation::Update, None, "x");
    found.version = String::new();
    assert!(matches!(
        store.join(&found).attribution,
        Attribution::Content(_)
    ));
    assert_eq!(store.pending(9)[0].base, "7");
    assert_eq!(store.metrics.hits(HitTier::Content), 1);
}

#[test]
fn what_a_list_showed_accounts_for_all_that_was_asked_before() {
    let store = store(Limits::default());
    for (user, base) in [("alice", "5"), ("alice", "7"), ("next", "100")] {
        store.record(update(user, base, "x"));
    }
    let found = seen(Operation::Update, None, "x");
    let Attribution::Content(who) = store.join(&found).attribution else {
        panic!("not found");
    };
    assert_eq!(
        (who.username.as_str(), names(&store)),
        ("alice", vec!["next".to_owned()])
    );
}

#[test]
fn after_a_gap_a_late_observation_is_found_whatever_passes_meanwhile() {
    let store = store(Limits::default());
    let found = seen(Operation::Update, None, "x");
    assert_eq!(store.join(&found), UNSEEN);
    store.record(update("alice", "5", "x"));
    store.record(update("bob", "100", "x"));
    store.base_passed("u1", "100");
    store.record(update("carol", "101", "x"));
    assert!(matches!(
        store.rejoin(&found),
        Attribution::Content(who) if who.username == "alice"
    ));
    assert_eq!(names(&store), ["carol"]);
}

fn content(username: &str) -> Attribution {
    Attribution::Content(Who {
        username: username.into(),
        field_manager: "kubectl".into(),
    })
}

/// As a list at this version shows it.
fn listed(version: &str, content: &str) -> Sighting {
    Sighting {
        version: version.into(),
        ..seen(Operation::Update, None, content)
    }
}

/// A file whose object isn't live.
fn swept(content: &str) -> Sighting {
    Sighting {
        uid: String::new(),
        version: String::new(),
        ..seen(Operation::Delete, None, content)
    }
}

#[test]
fn what_one_destination_recalls_is_there_for_every_other_and_for_the_live_event() {
    let store = store(Limits::default());
    store.record(delete("alice", "5", "x"));
    for _ in 0..2 {
        assert_eq!(store.recall(&swept("x")), content("alice"));
    }
    let deleted = seen(Operation::Delete, Some("5"), "x");
    assert_eq!(store.join(&deleted), exact("alice"));
    assert_eq!(store.pending_total(), 0);
    // One observation, one hit.
    assert_eq!(store.metrics.hits(HitTier::Content), 1);
    assert_eq!(store.metrics.hits(HitTier::Exact), 0);
}

#[test]
fn a_delete_that_was_asked_for_after_the_list_did_not_remove_what_it_lacks() {
    let store = store(Limits::default());
    let swept_at = |version: &str| Sighting {
        version: version.into(),
        ..swept("x")
    };
    store.record(delete("alice", "5", "x"));
    for version in ["4", "5"] {
        assert_eq!(store.recall(&swept_at(version)), UNSEEN);
    }
    assert_eq!(store.recall(&swept_at("6")), content("alice"));
    // Nor does it say that an earlier one of other content did.
    let store = self::store(Limits::default());
    store.record(delete("alice", "5", "y"));
    store.record(delete("alice", "7", "x"));
    assert_eq!(store.recall(&swept_at("6")), UNSEEN);
}

#[test]
fn a_recall_takes_nothing_from_writes_that_are_still_on_their_way() {
    let store = store(Limits::default());
    for (user, base, content) in [("alice", "5", "x"), ("bob", "6", "y"), ("carol", "7", "z")] {
        store.record(update(user, base, content));
    }
    // The list is ahead of the events.
    assert_eq!(store.recall(&listed("8", "z")), content("carol"));
    assert_eq!(store.recall(&listed("8", "nobody's")), UNSEEN);
    assert_eq!(names(&store), ["alice", "bob", "carol"]);
    for (user, base, content) in [("alice", "5", "x"), ("bob", "6", "y"), ("carol", "7", "z")] {
        assert_eq!(store.join(&updated(base, content)), exact(user));
    }
    assert_eq!(store.metrics.misses(Miss::Unseen), 0);
}

#[test]
fn a_recall_that_finds_rivals_or_nobody_counts_nothing() {
    let store = store(Limits::default());
    store.record(update("alice", "5", "x"));
    store.record(update("bob", "5", "x"));
    assert_eq!(store.recall(&listed("8", "x")), AMBIGUOUS);
    assert_eq!(store.recall(&listed("8", "y")), UNSEEN);
    assert_eq!(store.metrics.misses(Miss::Ambiguous), 0);
    assert_eq!(store.metrics.misses(Miss::Unseen), 0);
    assert_eq!(store.pending_total(), 2);
}

#[test]
fn what_was_found_for_one_list_is_found_for_another_only_if_managed_fields_prove_it() {
    let proven = |version| Sighting {
        managed_fields_hash: Some(hash("m")),
        ..listed(version, "x")
    };
    let store = store(Limits::default());
    store.record(update("alice", "5", "x"));
    for _ in 0..2 {
        assert_eq!(store.recall(&listed("8", "x")), content("alice"));
    }
    // Somebody may have written y and x again in between.
    assert_eq!(store.recall(&listed("20", "x")), UNSEEN);
    assert_eq!(store.recall(&proven("20")), UNSEEN);
    assert_eq!(store.recall(&listed("8", "x")), content("alice"));

    let store = self::store(Limits::default());
    store.record(managed(update("alice", "5", "x"), "m"));
    assert_eq!(store.recall(&proven("8")), content("alice"));
    assert_eq!(store.recall(&proven("20")), content("alice"));
    assert_eq!(store.metrics.hits(HitTier::Content), 1);
}

#[test]
fn webhook_configurations_are_never_admitted() {
    let store = store(Limits::default());
    let mut sighting = updated("5", "x");
    sighting.identity.group = "admissionregistration.k8s.io".into();
    assert_eq!(
        store.join(&sighting),
        Attribution::None(Miss::NeverAdmitted)
    );
}

#[test]
fn an_observation_expires_at_its_time_to_live() {
    let store = store(Limits::default());
    let start = Instant::now();
    store.record_at(update("alice", "5", "x"), start);
    let almost = start + TTL - Duration::from_millis(1);
    assert_eq!(store.lock(almost).held.len(), 1);
    assert_eq!(
        store.join_at(&updated("5", "x"), Chance::MoreToCome, start + TTL),
        UNSEEN
    );
    assert_eq!(store.metrics.evictions(EvictionReason::Expired), 1);
}

#[test]
fn a_verdict_expires_too() {
    let store = store(Limits::default());
    let start = Instant::now();
    store.record_at(update("alice", "5", "x"), start);
    let sighting = updated("5", "x");
    assert_eq!(
        store.join_at(&sighting, Chance::MoreToCome, start),
        exact("alice")
    );
    assert_eq!(
        store.join_at(&sighting, Chance::MoreToCome, start + TTL),
        UNSEEN
    );
}

#[test]
fn a_full_fifo_drops_its_oldest() {
    let store = store(Limits::default());
    for attempt in 0..12 {
        store.record(managed(update("alice", "5", "x"), &attempt.to_string()));
    }
    let state = store.lock(Instant::now());
    let held: Vec<_> = state
        .held
        .values()
        .map(|held| held.observation.managed_fields_hash)
        .collect();
    let attempts: Vec<_> = (2..12).map(|n: u32| Some(hash(&n.to_string()))).collect();
    assert_eq!(held, attempts);
    assert_eq!(store.metrics.evictions(EvictionReason::Fifo), 2);
}

#[test]
fn whoever_swings_an_object_while_the_watch_lags_keeps_every_write() {
    let store = store(Limits::default());
    let contents = ["on", "off"];
    for n in 0..200_usize {
        store.record(update("alice", &n.to_string(), contents[n % 2]));
    }
    for n in 0..200_usize {
        let seen = updated(&n.to_string(), contents[n % 2]);
        assert_eq!(store.join(&seen), exact("alice"), "write {n}");
    }
    assert_eq!(store.pending_total(), 0);
}

#[test]
fn whoever_creates_and_deletes_an_object_while_the_watch_lags_keeps_every_write() {
    let store = store(Limits::default());
    let of = |n: u32, observation: Observation| Observation {
        uid: format!("u{n}"),
        ..observation
    };
    for n in 0..200 {
        store.record(of(n, create("alice", "x")));
        store.record(of(n, delete("alice", &n.to_string(), "x")));
    }
    for n in 0..200_u32 {
        let uid = format!("u{n}");
        for (operation, base) in [
            (Operation::Create, ""),
            (Operation::Delete, &*n.to_string()),
        ] {
            let seen = Sighting {
                uid: uid.clone(),
                ..seen(operation, Some(base), "x")
            };
            assert_eq!(store.join(&seen), exact("alice"), "{operation:?} {n}");
        }
    }
}

#[test]
fn what_was_least_recently_added_to_goes_first() {
    let store = store(Limits {
        keys: 3,
        ..Limits::default()
    });
    for object in ["a", "b", "c"] {
        store.record(elsewhere("alice", object));
    }
    // Used again, and younger than b now.
    store.record(elsewhere("alice", "a"));
    store.record(elsewhere("alice", "d"));
    let held: Vec<_> = keys(&store)
        .iter()
        .map(|key| key.split(['/', ':']).nth(4).unwrap().to_owned())
        .collect();
    assert_eq!(held, ["a", "c", "d"]);
    assert_eq!(store.metrics.evictions(EvictionReason::Capacity), 1);
}

#[test]
fn a_flood_costs_only_the_one_who_floods() {
    let store = store(Limits {
        keys: 100,
        ..Limits::default()
    });
    for n in 0..10 {
        store.record(elsewhere(&format!("user-{n}"), &format!("own-{n}")));
    }
    for n in 0..1000 {
        store.record(elsewhere("mallory", &format!("flood-{n}")));
    }
    // On the others' keys as well.
    for _ in 0..100 {
        store.record(elsewhere("mallory", "own-3"));
    }
    let users = names(&store);
    assert_eq!(users.iter().filter(|user| *user != "mallory").count(), 10);
    assert_eq!(store.lock(Instant::now()).by_key.len(), 100);
}

#[test]
fn bytes_are_bounded_however_few_the_keys() {
    let limits = Limits {
        bytes: 50_000,
        ..Limits::default()
    };
    let store = store(limits);
    for n in 0..500 {
        let mut observation = elsewhere(&format!("user-{}", n % 7), &format!("o-{}", n % 20));
        observation.base = n.to_string();
        observation.field_manager = "m".repeat(n % 500);
        store.record(observation);
        assert!(store.lock(Instant::now()).shares.bytes() <= limits.bytes);
    }
    assert!(store.pending_total() > 20);
}

#[test]
fn whoever_holds_the_most_bytes_makes_room() {
    let store = store(Limits {
        bytes: 40_000,
        ..Limits::default()
    });
    for n in 0..12 {
        store.record(elsewhere("alice", &format!("own-{n}")));
    }
    // Fewer than hers, and larger.
    for n in 0..100 {
        let mut observation = elsewhere("mallory", &format!("large-{n}"));
        observation.field_manager = "m".repeat(5000);
        store.record(observation);
    }
    let users = names(&store);
    let alices = users.iter().filter(|user| *user == "alice").count();
    assert_eq!((alices, users.len() - alices), (12, 3));
}

#[test]
fn one_observation_is_kept_however_large() {
    let store = store(Limits {
        bytes: 1,
        ..Limits::default()
    });
    for base in ["5", "6"] {
        store.record(update("alice", base, "x"));
        assert_eq!(store.join(&updated(base, "x")), exact("alice"));
    }
    store.record(update("alice", "7", "x"));
    store.record(update("bob", "7", "y"));
    assert_eq!(names(&store), ["bob"]);
}

#[test]
fn nothing_is_left_in_any_index() {
    let store = store(Limits::default());
    let start = Instant::now();
    for n in 0..50 {
        store.record_at(elsewhere(&format!("user-{}", n % 7), &n.to_string()), start);
    }
    store.join(&updated("5", "x"));
    let state = store.lock(start + TTL);
    assert_eq!(
        (state.held.len(), state.by_uid.len(), state.by_key.len()),
        (0, 0, 0)
    );
    assert!(state.shares.victims().is_empty());
    assert_eq!(state.shares.bytes(), 0);
}

#[test]
fn pending_lists_the_newest_first() {
    let store = store(Limits::default());
    store.record(elsewhere("alice", "a"));
    store.record(elsewhere("bob", "b"));
    let pending = store.pending(1);
    assert_eq!(pending.len(), 1);
    assert_eq!(
        (pending[0].username.as_str(), pending[0].base.as_str()),
        ("bob", "5")
    );
    assert_eq!(
        pending[0].key,
        format!("apps/v1/deployments/shop/b:UPDATE:{}", hash("x"))
    );
}

/// Once the sidecar has confirmed what it saw.
fn objection(store: &Store, joined: &Joined) -> Option<Miss> {
    store.mark_sent(1);
    store.mark_reached(1);
    joined.credit.as_ref().unwrap().objection()
}

const AMBIGUITY: Option<Miss> = Some(Miss::Ambiguous);
const DOUBT: Option<Miss> = Some(Miss::Unconfirmed);

#[test]
fn a_rival_that_comes_late_withdraws_the_name() {
    let store = store(Limits::default());
    store.record(managed(update("refused", "5", "x"), "fields"));
    let sighting = Sighting {
        managed_fields_hash: Some(hash("fields")),
        ..updated("5", "x")
    };
    let joined = store.join(&sighting);
    assert_eq!(joined, exact("refused"));
    // A lost race, another version, another attempt of the same user: none of them speaks against it.
    store.record(managed(update("loser", "5", "y"), "fields"));
    store.record(managed(update("loser", "5", "x"), "others"));
    store.record(managed(update("next", "6", "x"), "fields"));
    store.record(managed(update("refused", "5", "x"), "fields"));
    assert_eq!(objection(&store, &joined), None);
    let writer = managed(update("writer", "5", "x"), "fields");
    assert_eq!(store.record(writer.clone()), Recorded::BasePassed);
    assert_eq!(objection(&store, &joined), AMBIGUITY);
    assert_eq!(store.join(&sighting), AMBIGUOUS);
    store.record(writer);
    assert_eq!(store.metrics.misses(Miss::Ambiguous), 1);
}

#[test]
fn a_rival_of_what_a_list_showed_withdraws_the_name_as_well() {
    let store = store(Limits::default());
    store.record(update("refused", "5", "x"));
    let joined = store.join(&seen(Operation::Update, None, "x"));
    assert_eq!(objection(&store, &joined), None);
    store.record(update("later", "100", "x"));
    assert_eq!(objection(&store, &joined), None);
    store.record(update("writer", "7", "x"));
    assert_eq!(objection(&store, &joined), AMBIGUITY);
}

#[test]
fn a_late_delete_of_another_user_withdraws_the_name() {
    let store = store(Limits::default());
    store.record(delete("refused", "5", "x"));
    let joined = store.join(&seen(Operation::Delete, Some("5"), "x"));
    store.record(delete("writer", "5", "x"));
    assert_eq!(objection(&store, &joined), AMBIGUITY);
}

#[test]
fn a_create_is_its_own_proof() {
    let store = store(Limits::default());
    store.record(create("alice", "x"));
    store.sidecar_left();
    store.sidecar_returned(false);
    let joined = store.join(&seen(Operation::Create, Some(""), "x"));
    assert_eq!(joined, exact("alice"));
    assert!(joined.credit.is_none());
}

#[test]
fn a_name_stands_once_a_mark_that_was_sent_after_its_event_is_answered() {
    let store = store(Limits::default());
    store.record(update("alice", "5", "x"));
    store.mark_sent(1);
    let joined = store.join(&updated("5", "x"));
    let objection = || joined.credit.as_ref().unwrap().objection();
    store.mark_reached(1);
    assert_eq!(objection(), DOUBT);
    store.mark_sent(2);
    store.mark_sent(3);
    assert_eq!(objection(), DOUBT);
    store.mark_reached(3);
    assert_eq!(objection(), None);
}

#[test]
fn a_sidecar_that_comes_back_with_what_it_saw_leaves_no_doubt() {
    let store = store(Limits::default());
    store.record(update("alice", "5", "x"));
    store.sidecar_left();
    let joined = store.join(&updated("5", "x"));
    // Cut once more before it told all.
    store.sidecar_returned(true);
    store.sidecar_left();
    store.sidecar_returned(true);
    assert_eq!(objection(&store, &joined), None);
}

#[test]
fn what_a_dead_sidecar_did_not_confirm_names_nobody() {
    let store = store(Limits::default());
    store.record(update("before", "4", "w"));
    let before = store.join(&updated("4", "w"));
    assert_eq!(objection(&store, &before), None);
    store.record(update("last", "5", "x"));
    let last = store.join(&updated("5", "x"));
    store.record(update("refused", "6", "y"));
    store.record(update("listed", "8", "z"));
    store.sidecar_left();
    store.sidecar_returned(false);
    let meanwhile = store.join(&updated("6", "y"));
    store.sidecar_replayed();
    // Tried on a version that was replaced while nobody saw it.
    let mut stale = update("stale", "7", "y");
    stale.early = true;
    store.record(stale);
    let stale = store.join(&updated("7", "y"));
    assert_eq!(objection(&store, &before), None);
    assert_eq!(objection(&store, &last), DOUBT);
    // The one who asked may have asked again, and be heard of late.
    for (joined, sighting) in [(meanwhile, updated("6", "y")), (stale, updated("7", "y"))] {
        assert_eq!(joined, Attribution::None(Miss::Unseen));
        let doubted = store.rejoin(&sighting);
        assert_eq!(doubted, Attribution::None(Miss::Unconfirmed));
    }
    // A list may show what was written at any time since.
    let listed = seen(Operation::Update, None, "z");
    assert_eq!(store.join(&listed), Attribution::None(Miss::Unseen));
    assert_eq!(store.rejoin(&listed), Attribution::None(Miss::Unconfirmed));
    store.record(update("after", "9", "y"));
    let after = store.join(&updated("9", "y"));
    assert_eq!(objection(&store, &after), None);
}

#[test]
fn who_created_an_object_is_not_named_for_what_a_list_shows_where_others_wrote_unseen() {
    let store = store(Limits::default());
    // At another version, so that only managedFields tell; a second holds many writes of one manager.
    store.record(at_v2(managed(create("alice", "x"), "m")));
    let listed = Sighting {
        managed_fields_hash: Some(hash("m")),
        ..seen(Operation::Create, None, "y")
    };
    assert_eq!(store.recall(&listed), exact("alice"));
    store.sidecar_left();
    store.sidecar_returned(false);
    store.sidecar_replayed();
    let nobody = Attribution::None(Miss::Unconfirmed);
    assert_eq!(store.recall(&listed), nobody);
    let created = Sighting {
        base: Some(String::new()),
        ..listed
    };
    assert_eq!(store.join(&created), exact("alice"));
}

#[test]
fn while_admissions_may_go_elsewhere_only_creates_have_a_name() {
    let store = store(Limits::default());
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    // Recorded then, and never confirmed by a better one.
    let joined = |base: &str, millis| {
        store.record_at(update("rival", base, "x"), at(millis));
        store.join_at(&updated(base, "x"), Chance::Last, at(millis))
    };
    let nobody = Attribution::None(Miss::Unconfirmed);
    store.admissions_go(Routed::Elsewhere);
    assert_eq!(joined("1", 0), nobody);
    store.record_at(create("alice", "x"), at(0));
    let created = seen(Operation::Create, Some(""), "x");
    let created = store.join_at(&created, Chance::MoreToCome, at(0));
    assert_eq!(created, exact("alice"));

    // An attempt on a version that was replaced a second ago may have come to us alone.
    store.admissions_go(Routed::HereSince(at(5000)));
    assert_eq!(joined("2", 5999), nobody);
    assert_eq!(joined("3", 6000), exact("rival"));
    // What is replayed was seen up to a minute before.
    store.sidecar_left();
    store.sidecar_returned(true);
    store.record_at(update("replayed", "4", "x"), at(65_999));
    store.sidecar_replayed();
    let replayed = store.join_at(&updated("4", "x"), Chance::Last, at(66_000));
    assert_eq!(replayed, nobody);
    store.admissions_go(Routed::Here);
    assert_eq!(joined("5", 66_001), exact("rival"));
}

/// A delete that the CRD, the Service or the eviction of another user may have caused.
fn removal(username: &str, group: &str, resource: &str, name: &str, write: Write) -> Observation {
    let mut observation = delete(username, "900", "its own");
    observation.uid = "u9".into();
    observation.write = write;
    observation.identity = Identity {
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        namespace: "shop".into(),
        name: name.into(),
    };
    observation
}

/// The three ways, each with what goes.
fn removals(username: &str) -> [(Observation, &'static str, &'static str); 3] {
    let definition = removal(
        username,
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "widgets.example.com",
        Write::Delete(hash("its own")),
    );
    let service = removal(
        username,
        "",
        "services",
        "web",
        Write::Delete(hash("its own")),
    );
    let eviction = removal(username, "", "pods", "web", Write::Eviction);
    [
        (definition, "example.com", "widgets"),
        (service, "", "endpoints"),
        (eviction, "", "pods"),
    ]
}

fn of(group: &str, resource: &str, identity: &mut Identity) {
    identity.group = group.into();
    identity.resource = resource.into();
}

#[test]
fn a_refused_delete_gets_no_credit_for_one_that_calls_no_webhook() {
    for (cause, group, resource) in removals("carol") {
        let store = store(Limits::default());
        let mut refused = delete("alice", "5", "x");
        of(group, resource, &mut refused.identity);
        store.record(refused);
        store.record(cause);
        for base in [Some("5"), None] {
            let mut gone = seen(Operation::Delete, base, "x");
            of(group, resource, &mut gone.identity);
            assert_eq!(store.recall(&gone), UNSEEN, "{resource}");
            assert_eq!(store.join(&gone), UNSEEN, "{resource}");
            assert_eq!(store.rejoin(&gone), UNSEEN, "{resource}");
        }
    }
}

#[test]
fn what_may_have_removed_an_object_withdraws_the_name_when_it_comes_late() {
    for (cause, group, resource) in removals("carol") {
        for base in [Some("5"), None] {
            let store = store(Limits::default());
            let mut refused = delete("alice", "5", "x");
            of(group, resource, &mut refused.identity);
            store.record(refused);
            let mut gone = seen(Operation::Delete, base, "x");
            of(group, resource, &mut gone.identity);
            let joined = store.join(&gone);
            assert_eq!(objection(&store, &joined), None, "{resource}");
            store.record(cause.clone());
            assert_eq!(objection(&store, &joined), AMBIGUITY, "{resource}");
            assert_eq!(store.join(&gone), AMBIGUOUS, "{resource}");
        }
    }
}

#[test]
fn who_deletes_an_object_and_what_takes_it_along_keeps_the_name() {
    for (cause, group, resource) in removals("alice") {
        let store = store(Limits::default());
        let mut first = delete("alice", "5", "x");
        of(group, resource, &mut first.identity);
        store.record(first);
        let mut gone = seen(Operation::Delete, Some("5"), "x");
        of(group, resource, &mut gone.identity);
        let joined = store.join(&gone);
        assert_eq!(joined, exact("alice"));
        store.record(cause);
        assert_eq!(objection(&store, &joined), None, "{resource}");
    }
}

#[test]
fn what_goes_with_another_object_says_nothing_of_this_one() {
    for (cause, _, _) in removals("carol") {
        let store = store(Limits::default());
        store.record(delete("alice", "5", "x"));
        store.record(cause);
        let gone = seen(Operation::Delete, Some("5"), "x");
        assert_eq!(store.join(&gone), exact("alice"));
    }
}

#[test]
fn a_definition_that_nobody_was_seen_to_delete_takes_its_objects_along() {
    let gone = || {
        let mut gone = seen(Operation::Delete, Some("5"), "x");
        of("example.com", "widgets", &mut gone.identity);
        gone
    };
    let refused = || {
        let mut refused = delete("alice", "5", "x");
        of("example.com", "widgets", &mut refused.identity);
        refused
    };
    let known = store(Limits::default());
    known.record(refused());
    known.definition_goes("widgets.example.com");
    assert_eq!(known.join(&gone()), UNSEEN);

    let late = store(Limits::default());
    late.record(refused());
    let joined = late.join(&gone());
    assert_eq!(objection(&late, &joined), None);
    late.definition_goes("widgets.example.com");
    assert_eq!(objection(&late, &joined), AMBIGUITY);
}
