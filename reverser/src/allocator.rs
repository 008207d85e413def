//! jemalloc, for Rust and for the C libraries that are compiled in.
//!
//! A seed of 50,000 objects leaves a heap of which a quarter is in use. The C library's allocator keeps the rest for as long
//! as the process lives; this one gives it back (docs/benchmarks.md has both).

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What jemalloc is told at its start (jemalloc(3), "TUNING"): pages that are free for a second go back, by a thread
/// that sees to it when nothing else happens; two arenas, as few threads have much to do at a time. `MALLOC_CONF` in the
/// environment overrides it.
#[expect(unsafe_code, reason = "jemalloc looks for a C string under this name")]
#[unsafe(export_name = "malloc_conf")]
static CONFIGURATION: &[u8; 70] =
    b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,narenas:2\0";
