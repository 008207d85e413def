//! What the attribution store takes of the heap, whatever is sent to it: measured.
//!
//! Every allocation of this process is counted with what malloc adds to it. Each flood is several
//! times what the store holds, and around it there are observations of somebody else, which must
//! still be there.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use manifest::{Identity, SpecHash};
use parking_lot::Mutex;
use prometheus::Registry;
use reverser::attribution::{AttributionMetrics, Limits, Observation, Store, Write};
use reverser::change::{Attribution, Operation, Sighting};

/// The figure in the documentation of [`Limits`].
const BOUND: usize = 24 << 20;

/// The longest that an observation may have, and what is usual.
const WORST: Size = Size {
    name: 1024,
    segment: 253,
    username: 2048,
    field_manager: 512,
    uid: 128,
};
const USUAL: Size = Size {
    name: 40,
    segment: 12,
    username: 30,
    field_manager: 25,
    uid: 36,
};
const SMALLEST: Size = Size {
    name: 1,
    segment: 1,
    username: 1,
    field_manager: 0,
    uid: 1,
};

#[derive(Clone, Copy)]
struct Size {
    name: usize,
    segment: usize,
    username: usize,
    field_manager: usize,
    uid: usize,
}

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// As glibc does it: 8 bytes in front, in steps of 16, 32 at least.
fn chunk(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16).max(32)
}

// SAFETY: all of it is the system's allocator; counting touches no memory that is handed out.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(chunk(layout), Ordering::Relaxed) + chunk(layout);
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(chunk(layout), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// One flood at a time, as all are counted in one place.
static TURN: Mutex<()> = Mutex::new(());

/// `n` in front of as many more letters as it takes.
fn text(n: usize, length: usize) -> String {
    let mut text = format!("{n:x}");
    while text.len() < length {
        text.push('x');
    }
    text
}

/// The `n`th write of a flood: an object, a version and a content of its own.
fn nth(n: usize, user: usize, size: Size) -> Observation {
    Observation {
        identity: Identity {
            group: text(0, size.segment),
            version: text(0, size.segment),
            resource: text(0, size.segment),
            namespace: text(0, size.segment),
            name: text(n, size.name),
        },
        uid: text(n, size.uid),
        write: Write::Update(SpecHash::of(&n.to_le_bytes())),
        base: (1_000_000_000 + n).to_string(),
        managed_fields_hash: Some(SpecHash::of(&n.to_be_bytes())),
        username: text(user, size.username).into(),
        field_manager: text(0, size.field_manager),
        time: SystemTime::UNIX_EPOCH,
        early: false,
    }
}

/// The event that it leads to.
fn event(observation: &Observation) -> Sighting {
    let Write::Update(spec_hash) = observation.write else {
        panic!("a flood is of updates");
    };
    Sighting {
        identity: observation.identity.clone(),
        uid: observation.uid.clone(),
        operation: Operation::Update,
        base: Some(observation.base.clone()),
        version: "9999999999".to_owned(),
        spec_hash,
        managed_fields_hash: observation.managed_fields_hash,
        scaled_to: None,
    }
}

fn alices(n: usize) -> Observation {
    Observation {
        username: "alice".into(),
        uid: format!("alice's {n}"),
        ..nth(n, 0, USUAL)
    }
}

fn is_alices(store: &Store, n: usize) {
    let found = store.join(&event(&alices(n))).attribution;
    let Attribution::Exact(who) = &found else {
        panic!("of alice's write {n}: {found:?}");
    };
    assert_eq!(who.username, "alice");
}

/// A flood with somebody else's writes before, within and after it. What it took of the heap at
/// its height is printed, and must be within the bound.
fn withstand(what: &str, count: usize, mut flood: impl FnMut(&Store, usize)) {
    let _turn = TURN.lock();
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let metrics = AttributionMetrics::register(&Registry::new()).unwrap();
    let store = Store::new(Limits::default(), metrics);
    store.record(alices(0));
    for n in 0..count {
        flood(&store, n);
        if n == count / 2 {
            store.record(alices(1));
        }
    }
    store.record(alices(2));
    let peak = PEAK.load(Ordering::Relaxed) - before;
    let waiting = store.pending_total();
    println!(
        "{what}: {waiting} wait; {:.1} MiB at most",
        peak as f64 / f64::from(1 << 20)
    );
    assert!(peak <= BOUND, "{what}: {peak} bytes");
    for n in 0..3 {
        is_alices(&store, n);
    }
}

/// Refused writes: no event will claim them.
fn denied(count: usize, users: usize, size: Size) -> impl FnMut(&Store, usize) {
    move |store, n| {
        store.record(nth(n % count, n % users, size));
    }
}

#[test]
fn a_flood_by_one_user_is_bounded() {
    for (what, size, count) in [
        ("one user, longest names", WORST, 20_000),
        ("one user, usual names", USUAL, 30_000),
        ("one user, shortest names", SMALLEST, 30_000),
    ] {
        withstand(what, count, denied(count, 1, size));
    }
}

#[test]
fn a_flood_by_a_thousand_users_is_bounded() {
    for (what, size, count) in [
        ("1,000 users, longest names", WORST, 20_000),
        ("1,000 users, usual names", USUAL, 30_000),
    ] {
        withstand(what, count, denied(count, 1000, size));
    }
}

#[test]
fn a_flood_under_one_key_is_bounded() {
    withstand("one key", 30_000, |store, n| {
        let mut observation = nth(0, 1, USUAL);
        observation.base = n.to_string();
        store.record(observation);
    });
}

#[test]
fn tables_that_many_small_ones_have_grown_leave_room_for_large_ones() {
    let mut small = denied(20_000, 1, SMALLEST);
    let mut large = denied(20_000, 7, WORST);
    withstand("small, then large", 30_000, |store, n| {
        if n < 20_000 {
            small(store, n);
        } else {
            large(store, n);
        }
    });
}

#[test]
fn a_flood_of_verdicts_is_bounded() {
    for (what, size, count) in [
        ("verdicts, longest names", WORST, 20_000),
        ("verdicts, usual names", USUAL, 30_000),
        ("verdicts, shortest names", SMALLEST, 30_000),
    ] {
        withstand(what, count, |store, n| {
            // Each write by a user of its own, and joined.
            let observation = nth(n, n, size);
            let event = event(&observation);
            store.record(observation);
            assert!(matches!(
                store.join(&event).attribution,
                Attribution::Exact(_)
            ));
        });
    }
}

#[test]
fn everything_at_once_is_bounded() {
    withstand("all of it", 30_000, |store, n| {
        let written = nth(2 * n, n % 3000, WORST);
        let seen = event(&written);
        store.record(written);
        store.join(&seen);
        let size = if n < 15_000 { SMALLEST } else { WORST };
        store.record(nth(2 * n + 1, n % 5, size));
    });
}
